"""Ways to search for an answer: beams, best first, best of several samples; each is a strategy and wraps models."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeVar, cast

from synthon.core.errors import Unsupported, UserError
from synthon.core.identity import canonical, digest, dumps, with_sample
from synthon.core.protocols import Emit, Model, discard
from synthon.core.running import current_run
from synthon.core.settings import MODEL, Slot, ambient, current
from synthon.core.values import Capability, Completion, Request, Usage
from synthon.wrappers.demands import extra_of
from synthon.wrappers.journaled import emit_once
from synthon.wrappers.placement import attempts_of
from synthon.wrappers.soundness import Judge, soundness_of

if TYPE_CHECKING:
    from synthon.core.step import Step

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decoder:
    """How an answer is searched for; made by `beam`, `best_k` and `best_of`, any number may be a knob.

    As a step's strategy it searches for each of the step's answers; `over` makes a model of a model. Scorings of
    given texts pass by it, since nothing is generated.
    """

    kind: Literal["beam", "best_k", "best_of"]
    width: int
    budget: int = 0
    temperature: float = 0.0

    def __post_init__(self) -> None:
        if current(self.width) < 1 or (self.kind == "best_k" and current(self.budget) < 1):
            raise UserError(f"{self!r} searches for nothing. Pass numbers of at least 1.")

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, asked of its model with this search."""
        settings, own = ambient(), Slot(step.fn, "model")
        model = current(settings.get(own, step.model)) or current(settings.get(MODEL))
        if model is None:
            return step
        return replace(step, settings={**step.settings, own: self.over(cast("Model", model))})

    @property
    def now(self) -> Decoder:
        """The same, with its knobs as they are set here."""
        return replace(self, **{name: current(getattr(self, name)) for name in ("width", "budget", "temperature")})

    def over(self, model: Model) -> Model:
        """The model, whose every answer is searched for like this; it stands outside of journaled models."""
        return _Decoded(model, self)


def beam(width: int) -> Decoder:
    """Beam search: of all texts that the `width` likeliest beginnings lead to, the likeliest.

    The local engine searches, under the request's constraint, in one batch; other models raise `Unsupported`. The
    search goes by the model's own probabilities, so the request's temperature, top-p, top-k and min-p do not count.
    """
    return Decoder("beam", width)


def best_k(width: int, budget: int) -> Decoder:
    """Best-first search: the `width` likeliest unfinished texts go on, whatever their length (LMQL's `best_k`).

    It ends with a finished text likelier than all unfinished ones, or before it would compute more than `budget`
    tokens. See `beam` for who can.
    """
    return Decoder("best_k", width, budget)


def best_of(width: int, *, temperature: float = 0.7) -> Decoder:
    """The best of `width` samples drawn at once: the highest mean log-probability of its tokens, the first of equals.

    What keeps to the request's constraint comes before what does not. It costs `width` calls, streams the winner
    when all are there, and needs a model that reports log-probabilities.

    Args:
        temperature: of requests that name none; one that names 0 is refused, since all samples would be equal.
    """
    return Decoder("best_of", width, temperature=temperature)


@dataclass(frozen=True)
class _Decoded:
    model: Model
    decoder: Decoder

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def identity(self) -> str:
        return f"{self.decoder.now!r}({self.model.identity})"

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self.model.capabilities

    @property
    def soundness(self) -> Judge | None:
        return soundness_of([self.model])

    @property
    def attempts(self) -> int:
        return attempts_of(self.model) * (self.decoder.now.width if self.decoder.kind == "best_of" else 1)

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        decoder = self.decoder.now
        if request.continuations:
            return await self.model.complete(request, emit)
        if decoder.kind == "best_of":
            return await self._best(decoder, request, emit)
        budget = {"budget": decoder.budget} if decoder.kind == "best_k" else {}
        wanted = {"kind": decoder.kind, "width": decoder.width, **budget}
        extra = dumps({"decoder": wanted, **extra_of(request.extra)})
        searched = replace(request, temperature=0.0, top_p=None, top_k=None, min_p=None, extra=extra)
        return await self.model.complete(searched, emit)

    async def _best(self, decoder: Decoder, request: Request, emit: Emit) -> Completion:
        temperature = decoder.temperature if request.temperature is None else request.temperature
        self._check(decoder, temperature)
        asked = replace(request, temperature=temperature, logprobs=max(request.logprobs, 1))
        first = 1 + decoder.width * self._number(request)  # 0 would have the journal number them after each other
        tasks = [
            asyncio.ensure_future(self.model.complete(replace(asked, sample=sample)))
            for sample in range(first, first + decoder.width)
        ]
        try:
            completions = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        best = max(completions, key=lambda completion: (not completion.unmet, _mean(completion)))
        emit_once(best, emit)
        return replace(best, usage=sum((completion.usage for completion in completions), Usage(attempts=0)))

    def _number(self, request: Request) -> int:
        """Which of the equal requests of this run it is: the next gets other samples."""
        run = current_run()
        text = with_sample(canonical(self.identity, request), request.sample)
        return request.sample + (0 if run is None else run.sample(digest(f"samples of {text}")))

    def _check(self, decoder: Decoder, temperature: float) -> None:
        if temperature == 0:
            raise UserError(
                f"{decoder!r} over {self.name!r} was asked with temperature 0, at which all samples are equal. "
                "Pass a temperature above 0, or use sy.beam."
            )
        if "logprobs" not in self.capabilities:
            raise Unsupported(
                f"The model {self.name!r} reports no log-probabilities, by which {decoder!r} chooses. Use "
                "sy.local(), or sy.openai(..., server='vllm')."
            )


def _mean(completion: Completion) -> float:
    logprobs = [token.logprob for token in completion.logprobs]
    return sum(logprobs) / len(logprobs) if logprobs else -math.inf
