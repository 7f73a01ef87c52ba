"""Answer at once, or reason first."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from synthon.core.settings import current
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

    Demonstrations that carry a `thought` show how to reason.

    Attributes:
        prompt: what asks for the reasoning.
        max_tokens: of the reasoning; None leaves the step's own.
    """

    prompt: str = "Let's think step by step. Do not answer yet."
    max_tokens: int | None = None
    name: str = "chain_of_thought"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, answered after its reasoning."""
        thinking = self.thinking(step)

        async def reasoned(*args: P.args, **kwargs: P.kwargs) -> T:
            return await self.answering(step, await thinking(*args, **kwargs))(*args, **kwargs)

        return reasoned

    def thinking(self, step: Step[P, T], /) -> Step[P, str]:
        """The step, reasoning only."""
        thinking = step.returning(str, render=Asked(step.render, self.prompt))
        return thinking if self.max_tokens is None else thinking.using(max_tokens=current(self.max_tokens))

    def answering(self, step: Step[P, T], thought: str, /) -> Step[P, T]:
        """The step, answered after this reasoning."""
        return replace(step, render=Reasoned(After(step.render, self.prompt, thought)))


@dataclass(frozen=True, slots=True)
class Asked:
    """A step's messages without the shape of the answer, and a request of our own at their end.

    Demonstrations show their thoughts in place of their outputs; those without one are left out.
    """

    render: Render
    prompt: str = ""

    def __call__(self, rendering: Rendering) -> list[Message]:
        shown = [demo for demo in rendering.demos if demo.thought]
        bare = replace(rendering, expected="", demos=shown, answers=[demo.thought for demo in shown])
        return [*self.render(bare), *([Message("user", self.prompt)] if self.prompt else [])]


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


@dataclass(frozen=True, slots=True)
class Reasoned:
    """The same, with each demonstration that carries a thought worked out in the same turns before the question."""

    after: After

    def __call__(self, rendering: Rendering) -> list[Message]:
        bare = replace(rendering, demos=(), answers=(), history=())
        example = replace(self.after, render=getattr(self.after.render, "example", self.after.render))
        worked: list[Message] = []
        for demo, answer in zip(rendering.demos, rendering.answers, strict=True):
            if demo.thought:
                turns = replace(example, said=demo.thought)(replace(bare, inputs=demo.inputs, expected=""))
                worked += [*(turn for turn in turns if turn.role != "system"), Message("assistant", answer)]
        plain = [
            (demo, said) for demo, said in zip(rendering.demos, rendering.answers, strict=True) if not demo.thought
        ]
        demos, answers = [demo for demo, _ in plain], [said for _, said in plain]
        messages = self.after(replace(rendering, demos=demos, answers=answers))
        start = next((at for at, turn in enumerate(messages) if turn.role != "system"), 0)
        return [*messages[:start], *worked, *messages[start:]]


def named(part: object) -> str:
    """What a saved program calls a strategy, a step or a function."""
    return str(getattr(part, "name", None) or getattr(part, "__name__", None) or repr(part))


predict = Predict()
"""One call, the step's own: what a step without a strategy makes. See `Predict`."""
chain_of_thought = ChainOfThought()
"""Reasoning first, then the typed answer: two calls. See `ChainOfThought`."""
