"""Choose among several answers, or better one by criticism."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast, overload

from synthon.core.errors import UserError
from synthon.core.settings import current
from synthon.models.decoders import Decoder
from synthon.models.decoders import best_of as likeliest_of
from synthon.strategies.thinking import After, predict

if TYPE_CHECKING:
    from synthon.core.step import Step, Strategy

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BestOf:
    """The answer of `n` samples that a scorer likes best; made by `best_of`."""

    n: int
    scorer: Callable[..., Awaitable[float] | float]
    of: Strategy = predict
    temperature: float = 0.7

    @property
    def name(self) -> str:
        """How saved programs name it."""
        return f"best_of({self.n}, {getattr(self.scorer, '__name__', getattr(self.scorer, 'name', self.scorer))})"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, answered by the best of its samples."""
        asked = self.of(step.using(temperature=self.temperature))

        async def chosen(*args: P.args, **kwargs: P.kwargs) -> T:
            n = current(self.n)
            if n < 1:
                raise UserError(f"The best of {n} answers is none. Pass `n` of at least 1.")
            answers = await asyncio.gather(*(asked(*args, **kwargs) for _ in range(n)))
            inputs = step.bound(*args, **kwargs)
            scores = await asyncio.gather(*(_called(self.scorer, answer, inputs) for answer in answers))
            return answers[max(range(n), key=lambda place: cast("float", scores[place]))]

        return chosen


@overload
def best_of(n: int, /, *, temperature: float = 0.7) -> Decoder: ...
@overload
def best_of(
    n: int, scorer: Callable[..., Awaitable[float] | float], /, *, of: Strategy = predict, temperature: float = 0.7
) -> BestOf: ...
def best_of(
    n: int,
    scorer: Callable[..., Awaitable[float] | float] | None = None,
    /,
    *,
    of: Strategy = predict,
    temperature: float = 0.7,
) -> Decoder | BestOf:
    """The best of `n` samples, the first of equals (Stiennon 2020, arXiv:2009.01325).

    Args:
        n: samples.
        scorer: takes the answer, and inputs of the step by name, and gives a number; a step may be one. Without it the
            model's own mean log-probability decides, and what is returned is a `Decoder`.
        of: how each sample is made.
        temperature: of the samples.
    """
    return likeliest_of(n, temperature=temperature) if scorer is None else BestOf(n, scorer, of, temperature)


@dataclass(frozen=True, slots=True)
class refine:  # noqa: N801 - users call it as a function
    """An answer, bettered by criticism for some rounds (Self-Refine, Madaan 2023, arXiv:2303.17651).

    Attributes:
        critic: takes the answer, and inputs of the step by name, and says what is wrong; None or nothing ends the
            rounds. A step may be one.
        rounds: of criticism, at most; each costs the critic and the step once.
    """

    critic: Callable[..., Awaitable[str | None] | str | None]
    rounds: int = 2
    of: Strategy = predict

    @property
    def name(self) -> str:
        """How saved programs name it."""
        return f"refine({getattr(self.critic, '__name__', getattr(self.critic, 'name', self.critic))}, {self.rounds})"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, criticised and asked again."""

        async def refined(*args: P.args, **kwargs: P.kwargs) -> T:
            inputs = step.bound(*args, **kwargs)
            answer = await self.of(step)(*args, **kwargs)
            for _ in range(current(self.rounds)):
                criticism = await _called(self.critic, answer, inputs)
                if not criticism:
                    break
                again = After(step.render, "Answer.", step.output.written(answer), f"{criticism}\nAnswer again.")
                answer = await replace(step, render=again)(*args, **kwargs)
            return answer

        return refined


async def _called(function: Callable[..., object], answer: object, inputs: dict[str, object]) -> object:
    """A user's function or step, given the answer first and of the inputs those it names."""
    fn = getattr(function, "fn", function)
    wanted = list(inspect.signature(fn).parameters)[1:]
    found = function(answer, **{name: inputs[name] for name in wanted if name in inputs})
    return await found if inspect.isawaitable(found) else found
