"""Answer at once, or reason first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from synthon.core.values import Message

if TYPE_CHECKING:
    from synthon.core.render import Render, Rendering
    from synthon.core.step import Step

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Predict:
    """One call, the step's own."""

    name: str = "predict"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step as it is."""
        return step


@dataclass(frozen=True, slots=True)
class ChainOfThought:
    """Reasoning in free text first, then the typed answer after it: two calls.

    Chain-of-thought prompting (Wei 2022, arXiv:2201.11903), in the two calls of its zero-shot form (Kojima 2022,
    arXiv:2205.11916), so that it holds for every output type: a closed set is still scored, JSON still masked.

    Attributes:
        prompt: what asks for the reasoning.
        max_tokens: of the reasoning; None leaves the step's own.
    """

    prompt: str = "Let's think step by step. Do not answer yet."
    max_tokens: int | None = None
    name: str = "chain_of_thought"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, answered after its reasoning."""
        thinking = step.returning(str, render=Asked(step.render, self.prompt))
        if self.max_tokens is not None:
            thinking = thinking.using(max_tokens=self.max_tokens)

        async def reasoned(*args: P.args, **kwargs: P.kwargs) -> T:
            thought = await thinking(*args, **kwargs)
            return await replace(step, render=After(step.render, self.prompt, thought))(*args, **kwargs)

        return reasoned


@dataclass(frozen=True, slots=True)
class Asked:
    """A step's messages without the shape of the answer, with a request of our own at their end."""

    render: Render
    prompt: str

    def __call__(self, rendering: Rendering) -> list[Message]:
        return [*self.render(replace(rendering, expected="", demos=(), answers=())), Message("user", self.prompt)]


@dataclass(frozen=True, slots=True)
class After:
    """A step's messages after something was asked and said on the way; the shape of the answer comes last."""

    render: Render
    prompt: str
    said: str
    then: str = "Now answer."

    def __call__(self, rendering: Rendering) -> list[Message]:
        asked = f"{self.then}\n{rendering.expected}" if rendering.expected else self.then
        way = [Message("user", self.prompt), Message("assistant", self.said), Message("user", asked)]
        return [*self.render(replace(rendering, expected="")), *way]


predict = Predict()
chain_of_thought = ChainOfThought()
