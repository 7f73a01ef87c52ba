"""Try again: the same model after a wait, or the next model."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, is_dataclass, replace
from math import ceil
from typing import cast

from synthon.core.errors import ProviderError, Unsupported, UserError
from synthon.core.protocols import Emit, Model, discard
from synthon.core.running import log
from synthon.core.stream import Draft
from synthon.core.values import Capability, Completion, Price, Request, Usage
from synthon.wrappers.demands import refuse_what_is_lacking
from synthon.wrappers.placement import Wrapper, attempts_of, inside, price_of, temperature_of
from synthon.wrappers.soundness import Judge, may_be_checked, soundness_at, soundness_of

_SILENT_S = 60.0


class FailedAttempts:
    """The attempts that failed, and how many of them may be billed."""

    def __init__(self) -> None:
        self.attempts = self.billable = 0

    def count(self, error: ProviderError | UserError) -> None:
        """Count a failure; it is told of those before it."""
        self.attempts += error.attempts
        self.billable += error.billable
        error.attempts, error.billable = self.attempts, self.billable

    def beside(self, completion: Completion, request: Request, price: Price | None) -> Completion:
        """The answer, with what they used: of each that may be billed, the answer's prompt and `max_tokens`."""
        if not self.attempts:
            return completion
        used = completion.usage
        share = self.billable / max(1, used.attempts)
        going_in, coming_out = ceil((used.tokens - used.output_tokens) * share), ceil(used.output_tokens * share)
        if request.max_tokens is not None and not request.continuations:
            coming_out = request.max_tokens * self.billable
        lost = Usage(going_in, output_tokens=coming_out, attempts=self.attempts)
        if used.cost_usd is not None:
            lost = replace(lost, cost_usd=price.cost_usd(lost) if price else used.cost_usd * share)
        return replace(completion, usage=used + lost)


def _saying(error: ProviderError | UserError, more: str) -> ProviderError | UserError:
    """The same error that says more; a model may raise one and the same again, so that one stays as it is."""
    told = copy(error)
    told.args = (f"{error} {more}", *error.args[1:])
    return told.with_traceback(error.__traceback__)


def wait_s(error: ProviderError | UserError, tried: int, base_s: float = 0.5, cap_s: float = 30.0) -> float:
    """How long to wait after a failure before the next try."""
    if isinstance(error, ProviderError) and error.retry_after_s is not None:
        if error.retry_after_s > _SILENT_S:
            log.warning("a model is asked again in %.0f s, as its endpoint asked: %s", error.retry_after_s, error)
        return error.retry_after_s
    return random.uniform(0, min(cap_s, base_s * 2 ** (tried - 1)))


@dataclass(frozen=True)
class _Retrying(Wrapper):
    tries: int
    base_s: float
    cap_s: float

    @property
    def attempts(self) -> int:
        return self.tries * attempts_of(self.model)

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        draft = Draft(emit, hold=False)
        heard = emit if emit is discard else draft
        failed = FailedAttempts()
        for tried in range(1, self.tries + 1):
            try:
                completion = await self.model.complete(request, heard)
            except (ProviderError, UserError) as error:
                failed.count(error)
                if tried == self.tries or not error.retryable or not draft.withdraw():
                    if tried > 1:
                        raise _saying(error, f"It was tried {tried} times.") from error.__cause__
                    raise
                await asyncio.sleep(wait_s(error, tried, self.base_s, self.cap_s))
            else:
                return failed.beside(completion, request, self.price)
        raise AssertionError


def Retrying(model: Model, *, tries: int = 4, base_s: float = 0.5, cap_s: float = 30.0) -> Model:  # noqa: N802 - a wrapper
    """The model, asked up to `tries` times while its failures may pass.

    Waits as long as the endpoint asks (`Retry-After`; above a minute a warning is logged), else a random time up to
    `base_s * 2**n`, at most `cap_s` seconds ("full jitter", Brooker 2015). A journaled model stays journaled, around
    the whole. Once streamed text is out that cannot be taken back, the failure is raised.

    Raises:
        ProviderError: the last failure; its `attempts` counts them all.
        UserError: `tries` is below 1.
    """
    if tries < 1:
        raise UserError(f"Retrying was given tries={tries}. Pass at least 1.")
    return inside([model], lambda bare: _Retrying(bare[0], tries, base_s, cap_s))


def each_try(model: Model, wrap: Callable[[Model], Model]) -> Model:
    """The model with that wrapped which each try of its `Retrying` asks; all of it where it has none."""
    around = cast("_Retrying", model)  # or a wrapper around one
    return replace(around, model=each_try(around.model, wrap)) if _retries(model) else wrap(model)


def _retries(model: object) -> bool:
    return isinstance(model, _Retrying) or (is_dataclass(model) and _retries(getattr(model, "model", None)))


@dataclass(frozen=True)
class _Fallback:
    models: tuple[Model, ...]

    @property
    def name(self) -> str:
        return self.models[0].name

    @property
    def identity(self) -> str:
        return f"fallback({','.join(model.identity for model in self.models)})"

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset.intersection(*(model.capabilities for model in self.models))

    @property
    def attempts(self) -> int:
        return sum(attempts_of(model) for model in self.models)

    @property
    def price(self) -> Price | None:
        return price_of(self.models)

    @property
    def temperature(self) -> float | None:
        return temperature_of(self.models)

    @property
    def soundness(self) -> Judge | None:
        return soundness_of(self.models)

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        draft = Draft(emit, hold=False)
        heard = emit if emit is discard else draft
        failed = FailedAttempts()
        before: list[str] = []
        for model in self.models:
            told = () if request.constraint is None else soundness_at(model, request.constraint)
            is_lost = any(each.how == "unsupported" and each.keyword != "layout" for each in told)
            asked = replace(request, constraint=None) if told and not is_lost else request
            refuse_what_is_lacking(asked, model.capabilities, repr(model.name))
        for tried, model in enumerate(self.models, 1):
            try:
                try:
                    completion = await model.complete(request, heard)
                except Unsupported as error:
                    if error.attempts or not may_be_checked(request):
                        raise
                    completion = await model.complete(replace(request, constraint=None), heard)
            except (ProviderError, UserError) as error:
                failed.count(error)
                if isinstance(error, UserError) or tried == len(self.models) or not draft.withdraw():
                    if before:
                        raise _saying(error, f"Before it, {' '.join(before)}") from error.__cause__
                    raise
                before.append(f"{model.name!r} failed: {error}")
                log.warning("a model failed, so the next one is asked: %s", before[-1])
            else:
                return failed.beside(completion, request, self.price)
        raise AssertionError


def Fallback(*models: Model) -> Model:  # noqa: N802 - a wrapper
    """The first model that answers, in the order given; it can do what all of them can.

    Journaled models become one journaled whole, so a resumed run sees the answer that was recorded, whichever
    model gave it.

    Raises:
        ProviderError: the last model's failure; it tells of those before, which are logged as they happen.
        UserError: no model was given. A call raises what one refuses: what one lacks, before any is asked.
    """
    if not models:
        raise UserError("Fallback was given no model. Pass at least one; the first is asked first.")
    return inside(models, lambda bare: _Fallback(tuple(bare)))
