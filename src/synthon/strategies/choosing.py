"""Choose among several answers, or better one by criticism."""

from __future__ import annotations

import inspect
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ParamSpec, SupportsFloat, TypeVar, overload

from synthon.core.errors import UserError
from synthon.core.identity import to_json
from synthon.core.settings import current
from synthon.strategies.thinking import After, named, predict
from synthon.strategies.together import together
from synthon.wrappers.decoders import Decoder
from synthon.wrappers.decoders import best_of as likeliest_of

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
        return f"best_of({self.n!r}, {named(self.scorer)})"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, answered by the best of its samples."""
        asked = current(self.of)(step.using(temperature=current(self.temperature)))

        async def chosen(*args: P.args, **kwargs: P.kwargs) -> T:
            n = current(self.n)
            if n < 1:
                raise UserError(f"The best of {n} answers is none. Pass `n` of at least 1.")
            answers = await together(asked(*args, **kwargs) for _ in range(n))
            inputs = step.bound(*args, **kwargs)
            scores = await together(scored(self.scorer, inputs, answer) for answer in answers)
            # of equals not the first: they come in another order when a run is read from its journal
            return answers[min(range(n), key=lambda at: (-scores[at], to_json(answers[at])))]

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
    """The best of `n` samples, of equals the one whose JSON sorts first (Stiennon 2020, arXiv:2009.01325).

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
        return f"refine({named(self.critic)}, {self.rounds!r})"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, criticised and asked again."""

        async def refined(*args: P.args, **kwargs: P.kwargs) -> T:
            inputs = step.bound(*args, **kwargs)
            answer = await current(self.of)(step)(*args, **kwargs)
            for _ in range(current(self.rounds)):
                criticism = await called(self.critic, inputs, answer)
                if not criticism:
                    break
                again = After(step.render, "Answer.", step.output.written(answer), f"{criticism}\nAnswer again.")
                answer = await replace(step, render=again)(*args, **kwargs)
            return answer

        return refined


async def scored(scorer: Callable[..., Awaitable[float] | float], inputs: dict[str, object], answer: object) -> float:
    """What a scorer gives an answer.

    Raises:
        UserError: it is no number, or not a number.
    """
    found = await called(scorer, inputs, answer)
    score = float(found) if isinstance(found, SupportsFloat) else math.nan
    if math.isnan(score):
        msg = f"The scorer {named(scorer)} gave {found!r:.200} to the answer {answer!r:.200}. Let it return a number."
        raise UserError(msg)
    return score


async def called(function: Callable[..., object], inputs: dict[str, object], *first: object) -> object:
    """A user's function or step, given `first` by place and of the inputs those it names."""
    wanted = list(inspect.signature(getattr(function, "fn", function)).parameters)[len(first) :]
    found = function(*first, **{name: inputs[name] for name in wanted if name in inputs})
    return await found if inspect.isawaitable(found) else found
