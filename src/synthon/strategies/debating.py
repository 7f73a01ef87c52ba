"""Let several answers argue before one stands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from synthon.core.errors import UserError
from synthon.core.settings import current
from synthon.strategies.thinking import After, Asked, ChainOfThought
from synthon.strategies.together import together
from synthon.strategies.voting import Votes

if TYPE_CHECKING:
    from synthon.core.render import Render
    from synthon.core.step import Step

P = ParamSpec("P")
T = TypeVar("T")
_FIRST = ChainOfThought()
_OTHERS = (
    "These are the solutions of others:\n\n{}\n\nUsing them as additional information, say where you were right or "
    "wrong, and give your updated solution. Do not answer yet."
)


@dataclass(frozen=True, slots=True)
class debate:  # noqa: N801 - users call it as a function
    """`n` reasonings that see each other's for some rounds, then vote (Du 2023, arXiv:2305.14325).

    Costs n x (2 + rounds) calls: each reasons, reasons again in each round, and then gives its typed answer. Of equally
    many votes the answer wins whose JSON sorts first.

    Attributes:
        n: debaters, at least 2.
        rounds: in which each hears the others, at least 1.
        temperature: of the first reasonings, so that they differ.
    """

    n: int = 3
    rounds: int = 2
    temperature: float = 0.7

    @property
    def name(self) -> str:
        """How saved programs name it."""
        return f"debate({self.n!r}, {self.rounds!r})"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, answered after a debate."""

        async def argued(*args: P.args, **kwargs: P.kwargs) -> T:
            n = current(self.n)
            if n < 2:  # noqa: PLR2004 - one cannot debate
                raise UserError(f"A debate of {n} has no other side. Pass `n` of at least 2.")
            sampled = step.using(temperature=current(self.temperature))
            said = await together(_FIRST.thinking(sampled)(*args, **kwargs) for _ in range(n))
            for _ in range(current(self.rounds)):
                again = [
                    sampled.returning(str, render=_heard(step.render, own, said[:place] + said[place + 1 :]))
                    for place, own in enumerate(said)
                ]
                said = await together(each(*args, **kwargs) for each in again)
            answers = await together(_FIRST.answering(step, own)(*args, **kwargs) for own in said)
            votes: Votes[T] = Votes(n)
            for answer in answers:
                votes.cast(answer)
            return votes.leader[0]

        return argued


def _heard(render: Render, own: str, others: Sequence[str]) -> Render:
    """A step's messages with an own reasoning and those of others after it."""
    return Asked(After(render, _FIRST.prompt, own, _OTHERS.format("\n\n".join(others))))
