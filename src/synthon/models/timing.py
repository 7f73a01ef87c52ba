"""Time around a call: a limit, a rate, a second request for the slow ones."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, replace
from threading import Lock

from synthon.core.errors import ProviderError, ProviderTimeout, UserError
from synthon.core.protocols import Emit, Model, discard
from synthon.core.values import Capability, Completion, Price, Request
from synthon.models._constraints import Judge, soundness_of
from synthon.models.journaled import emit_once
from synthon.models.placement import attempts_of, inside, price_of, temperature_of

_MINUTE_S = 60.0


@dataclass(frozen=True)
class _Wrapper:
    model: Model

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def identity(self) -> str:
        return self.model.identity

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self.model.capabilities

    @property
    def attempts(self) -> int:
        return attempts_of(self.model)

    @property
    def price(self) -> Price | None:
        return price_of([self.model])

    @property
    def temperature(self) -> float | None:
        return temperature_of([self.model])

    @property
    def soundness(self) -> Judge | None:
        return soundness_of([self.model])


@dataclass(frozen=True)
class _Timed(_Wrapper):
    timeout_s: float

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        try:
            async with asyncio.timeout(self.timeout_s) as limit:
                return await self.model.complete(request, emit)
        except TimeoutError as error:
            if not limit.expired():
                raise
            msg = (
                f"Model {self.name!r} did not answer in {self.timeout_s} s. Raise timeout_s, or retry with sy.Retrying."
            )
            raise ProviderTimeout(msg, attempts=self.attempts) from error


def Timed(model: Model, *, timeout_s: float) -> Model:  # noqa: N802 - a wrapper
    """The model, cancelled after `timeout_s` seconds.

    Raises:
        ProviderTimeout: it did not answer in time.
    """
    return inside([model], lambda bare: _Timed(bare[0], timeout_s))


class _Window:
    """What was started in the last minute, against a limit; usable from any loop and thread."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.lock = Lock()
        self.used: deque[list[float]] = deque()

    def wait_s(self, amount: float) -> tuple[float, list[float] | None]:
        """Seconds until `amount` fits, and when that is now, its entry (time, amount) to correct later."""
        now = time.monotonic()
        with self.lock:
            while self.used and self.used[0][0] <= now - _MINUTE_S:
                self.used.popleft()
            total = sum(entry[1] for entry in self.used)
            if total + amount <= self.limit or not self.used:
                entry = [now, amount]
                self.used.append(entry)
                return 0.0, entry
            return self.used[0][0] + _MINUTE_S - now, None


@dataclass(frozen=True)
class _RateLimited(_Wrapper):
    requests: _Window | None
    tokens: _Window | None

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        size = sum(len(message.text) for message in request.messages) / 4 + (request.max_tokens or 0)
        if self.requests is not None:
            await _fits(self.requests, 1)
        entry = await _fits(self.tokens, size) if self.tokens is not None else None
        completion = await self.model.complete(request, emit)
        if entry is not None:
            entry[1] = float(completion.usage.tokens)
        return completion


async def _fits(window: _Window, amount: float) -> list[float]:
    while True:
        wait_s, entry = window.wait_s(amount)
        if entry is not None:
            return entry
        await asyncio.sleep(max(wait_s, 0.001))


def RateLimited(  # noqa: N802 - a wrapper
    model: Model, *, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
) -> Model:
    """The model, asked no faster than an endpoint allows; calls wait for their place in the last 60 seconds.

    Tokens are estimated before (four characters each, plus `max_tokens`) and corrected after.

    Raises:
        UserError: neither limit was given.
    """
    if requests_per_minute is None and tokens_per_minute is None:
        raise UserError("RateLimited was given no limit. Pass requests_per_minute= or tokens_per_minute=.")
    requests = None if requests_per_minute is None else _Window(requests_per_minute)
    tokens = None if tokens_per_minute is None else _Window(tokens_per_minute)
    return inside([model], lambda bare: _RateLimited(bare[0], requests, tokens))


@dataclass(frozen=True)
class _Hedged(_Wrapper):
    after_s: float

    @property
    def attempts(self) -> int:
        return 2 * attempts_of(self.model)

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        tasks = [asyncio.create_task(self.model.complete(request))]
        try:
            done, _ = await asyncio.wait(tasks, timeout=self.after_s)
            if not done:
                tasks.append(asyncio.create_task(self.model.complete(request)))
            completion = await _first(tasks)
        except ProviderError as error:
            error.attempts = sum(getattr(task.exception(), "attempts", 1) for task in tasks)
            error.billable = sum(getattr(task.exception(), "billable", 1) for task in tasks)
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if len(tasks) > 1:
            loser = replace(completion.usage, attempts=attempts_of(self.model))
            completion = replace(completion, usage=completion.usage + loser)
        emit_once(completion, emit)
        return completion


async def _first(tasks: list[asyncio.Task[Completion]]) -> Completion:
    waiting = set(tasks)
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        good = [task for task in tasks if task in done and not task.cancelled() and task.exception() is None]
        if good or not waiting:
            return (good or tasks)[0].result()


def Hedged(model: Model, *, after_s: float) -> Model:  # noqa: N802 - a wrapper
    """The model, asked a second time when it has not answered after `after_s` seconds; the first answer counts.

    The loser is cancelled and counted as having used what the winner used, in every attempt it could make, since it
    may have been billed. Streamed text comes at once, at the end (Dean and Barroso 2013, "The Tail at Scale").
    """
    return inside([model], lambda bare: _Hedged(bare[0], after_s))
