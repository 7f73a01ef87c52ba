"""Time around a call: a limit, a rate, a second request for the slow ones."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf
from operator import le, truediv
from threading import Lock

from synthon.core.errors import ProviderError, ProviderTimeout, UserError
from synthon.core.protocols import Emit, Model, discard
from synthon.core.values import Completion, Request, Usage
from synthon.wrappers.journaled import emit_once
from synthon.wrappers.placement import Wrapper, attempts_of, inside
from synthon.wrappers.retrying import FailedAttempts, each_try

_MINUTE_S = 60.0


@dataclass(frozen=True)
class _Timed(Wrapper):
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
            failed = error.__cause__ and error.__cause__.__context__  # a try that a `Retrying` was to repeat
            if isinstance(failed, ProviderError):
                msg = f"{msg} It waited to try again after this: {failed}"
            raise ProviderTimeout(msg, attempts=self.attempts) from error


def Timed(model: Model, *, timeout_s: float) -> Model:  # noqa: N802 - a wrapper
    """The model, cancelled after `timeout_s` seconds.

    Raises:
        ProviderTimeout: it did not answer in time.
    """
    return inside([model], lambda bare: _Timed(bare[0], timeout_s))


@dataclass
class _Call:
    """When a call was let through, its requests and tokens, and whether they count."""

    at: float
    amounts: tuple[float, float]
    counts: bool = False


class _Window:
    """The calls let through in the last minute, against limits of their sums; usable from any loop and thread.

    Calls are let through in the order they came, so that small ones do not keep a large one waiting for ever. A call
    beyond a limit goes alone, and counts for as many minutes as the limit would have allowed it.
    """

    def __init__(self, limits: tuple[float, float]) -> None:
        self.limits = limits
        self.sums = 0.0, 0.0
        self.lock = Lock()
        self.calls: deque[_Call] = deque()
        self.waiting: dict[asyncio.Event, asyncio.AbstractEventLoop] = {}

    async def let(self, call: _Call) -> None:
        """Wait until the call fits."""
        woken = asyncio.Event()
        try:
            while wait_s := self._wait_s(call, woken):
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await woken.wait()
                woken.clear()
        finally:
            with self.lock:
                self.waiting.pop(woken, None)
                self._wake()

    def _wait_s(self, call: _Call, woken: asyncio.Event) -> float:
        """Seconds until the call may fit, unless it is `woken` before; 0 when it fits, and counts from now on."""
        with self.lock:
            call.at = time.monotonic()
            while self.calls and self._end(self.calls[0]) <= call.at:
                self._count(self.calls.popleft(), counts=False)
            if is_first := self._first() in {None, woken}:
                self._count(call, counts=True)
                if not self.calls or all(map(le, self.sums, self.limits)):
                    self.calls.append(call)
                    return 0.0
                self._count(call, counts=False)
            self.waiting.setdefault(woken, asyncio.get_running_loop())
            return self._end(self.calls[0]) - call.at if is_first else _MINUTE_S  # who is first wakes the next

    def _count(self, call: _Call, *, counts: bool) -> None:
        """Add a call to the sums, or take it off: of halves and quarters, so exactly."""
        call.counts = counts
        requests, tokens = call.amounts
        sign = 1 if counts else -1
        self.sums = self.sums[0] + sign * requests, self.sums[1] + sign * tokens

    def _first(self) -> asyncio.Event | None:
        """Who waits longest, on a loop that runs."""
        return next((woken for woken, loop in self.waiting.items() if loop.is_running()), None)

    def _wake(self) -> None:
        """Have the first of those who wait look again."""
        woken = self._first()
        if woken is not None:
            with suppress(RuntimeError):  # its loop was closed
                self.waiting[woken].call_soon_threadsafe(woken.set)

    def _end(self, call: _Call) -> float:
        minutes: float = max(1.0, *map(truediv, call.amounts, self.limits))
        return call.at + _MINUTE_S * minutes

    def correct(self, call: _Call, usage: Usage) -> None:
        """Count what the call used in place of its estimate; who waits first looks again."""
        with self.lock:
            counts = call.counts
            if counts:
                self._count(call, counts=False)
            call.amounts = float(usage.attempts), float(usage.tokens)
            if counts:
                self._count(call, counts=True)
            self._wake()


@dataclass(frozen=True)
class _RateLimited(Wrapper):
    window: _Window

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        size = sum(len(message.text) for message in request.messages) / 4 + (request.max_tokens or 0)
        call = _Call(0.0, (1.0, size))
        await self.window.let(call)
        completion = await self.model.complete(request, emit)
        self.window.correct(call, completion.usage)
        return completion


def RateLimited(  # noqa: N802 - a wrapper
    model: Model, *, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
) -> Model:
    """The model, asked no faster than an endpoint allows; calls wait in turn for a place in the last 60 seconds.

    Tokens are estimated before (four characters each, plus `max_tokens`) and corrected after. Limits may be below 1.
    Around a `Retrying`, each try waits for a place of its own; a second request of `Hedged` or `Fallback` counts after.

    Raises:
        UserError: neither limit was given, or one that is not above 0.
    """
    given = [limit for limit in (requests_per_minute, tokens_per_minute) if limit is not None]
    if not given or not all(limit > 0 for limit in given):
        said = f"{requests_per_minute=}, {tokens_per_minute=}: one is no limit" if given else "no limit"
        raise UserError(f"RateLimited was given {said}. Pass requests_per_minute= or tokens_per_minute=, above 0.")
    window = _Window((requests_per_minute or inf, tokens_per_minute or inf))
    return inside([model], lambda bare: each_try(bare[0], lambda tried: _RateLimited(tried, window)))


@dataclass(frozen=True)
class _Hedged(Wrapper):
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
            winner = await _first(tasks)
            completion = winner.result()
        except (ProviderError, UserError) as error:
            error.attempts = sum(getattr(task.exception(), "attempts", 1) for task in tasks)
            error.billable = sum(getattr(task.exception(), "billable", 1) for task in tasks)
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        for loser in tasks:
            if loser is not winner:
                completion = self._beside(completion, request, loser)
        emit_once(completion, emit)
        return completion

    def _beside(self, completion: Completion, request: Request, loser: asyncio.Task[Completion]) -> Completion:
        """The answer, with what the loser used: as much as the winner, unless it failed by itself."""
        error = None if loser.cancelled() else loser.exception()
        if isinstance(error, ProviderError | UserError):
            failed = FailedAttempts()
            failed.count(error)
            return failed.beside(completion, request, self.price)
        used = replace(completion.usage, attempts=attempts_of(self.model))
        return replace(completion, usage=completion.usage + used)


async def _first(tasks: list[asyncio.Task[Completion]]) -> asyncio.Task[Completion]:
    waiting = set(tasks)
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        good = [task for task in tasks if task in done and not task.cancelled() and task.exception() is None]
        if good or not waiting:
            return (good or tasks)[0]


def Hedged(model: Model, *, after_s: float) -> Model:  # noqa: N802 - a wrapper
    """The model, asked a second time when it has not answered after `after_s` seconds; the first answer counts.

    The loser is cancelled and counted as having used what the winner used, in every attempt it could make, since it
    may have been billed; one that failed by itself counts what of it may be billed. Streamed text comes at once, at
    the end (Dean and Barroso 2013, "The Tail at Scale").
    """
    return inside([model], lambda bare: _Hedged(bare[0], after_s))
