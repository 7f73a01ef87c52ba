"""Answer parts of a long input apart, then all of it from their answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from synthon.core.errors import UserError
from synthon.core.render import shown
from synthon.core.settings import current
from synthon.strategies.choosing import called
from synthon.strategies.thinking import Asked, named, predict
from synthon.strategies.together import together

if TYPE_CHECKING:
    from synthon.core.step import Step, Strategy

P = ParamSpec("P")
T = TypeVar("T")
_PART = "This is only a part of it. Write down what of this part is needed, and nothing else."


@dataclass(frozen=True, slots=True)
class map_reduce:  # noqa: N801 - users call it as a function
    """The step over a long list: notes on its parts, made at once, then the answer from the notes in the list's place.

    Dean 2004 (MapReduce) by prompts. Notes that are still more than a part are noted again, until they are one.

    Attributes:
        over: the step's input that is a list.
        size: items of a part.
        each: a step, or a function, that makes a note of a part: it takes the part, and inputs of the step by name.
            Without it the step itself is asked for notes in text.
        reduce: takes the list of notes, and inputs by name, and gives the answer; without it the step itself answers.
        of: how the step's own answer is made.
    """

    over: str
    size: int = 1
    each: Callable[..., object] | None = None
    reduce: Callable[..., object] | None = None
    of: Strategy = predict

    @property
    def name(self) -> str:
        """How saved programs name it."""
        return f"map_reduce({self.over!r}, {self.size!r}, of={named(self.of)})"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, answered from its parts."""
        answer = cast("Callable[..., Awaitable[T]]", current(self.of)(step))
        noted = cast("Callable[..., Awaitable[object]]", step.returning(str, render=Asked(step.render, _PART)))

        async def divided(*args: P.args, **kwargs: P.kwargs) -> T:
            inputs, size = step.bound(*args, **kwargs), current(self.size)
            if size < 1 or isinstance(inputs.get(self.over, ""), str):
                msg = (
                    f"map_reduce({self.over!r}, {size}) cannot divide the inputs {list(inputs)} of step {step.name!r}. "
                    "Name an input that is a list, and a size of at least 1."
                )
                raise UserError(msg)

            async def note(part: Sequence[object]) -> object:
                if self.each is not None:
                    return await called(self.each, inputs, part)
                return await noted(**inputs | {self.over: part})

            notes = list(cast("Sequence[object]", inputs[self.over]))
            is_first = True
            while is_first or (self.reduce is None and 1 < size < len(notes)):
                parts = [notes[at : at + size] for at in range(0, len(notes), size)]
                notes = await together(map(note, parts))
                is_first = False
            if self.reduce is not None:
                return cast("T", await called(self.reduce, inputs, notes))
            return await answer(**inputs | {self.over: [shown(each) for each in notes]})

        return divided
