"""Answer a step's question in several calls of its model: the step still reads, checks and streams the answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ParamSpec, TypeAlias, TypeVar, cast

from synthon.core.budget import counts
from synthon.core.errors import UserError
from synthon.core.protocols import Emit, discard
from synthon.core.settings import MODEL, Slot, ambient, current, entered
from synthon.core.values import Delta

if TYPE_CHECKING:
    from synthon.core.protocols import Model
    from synthon.core.step import Step
    from synthon.core.values import Capability, Completion, Request

P = ParamSpec("P")
T = TypeVar("T")
Way: TypeAlias = "Callable[[Model, Request], Awaitable[Completion]]"


@dataclass(frozen=True, slots=True)
class Through:
    """A model whose answer is made by `way`, which may call `model` as often as it likes."""

    model: Model
    way: Way
    capabilities: frozenset[Capability]

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def identity(self) -> str:
        """The model's identity; what it is asked on the way has rows of its own."""
        return self.model.identity

    @property
    def counts(self) -> bool:
        """Whether budgets see the model."""
        return counts(self.model)

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        """What the way ends in, as one piece."""
        completion = await self.way(self.model, request)
        emit(Delta(text=completion.text))
        return completion


def through(step: Step[P, T], way: Way, *capabilities: Capability) -> Step[P, T]:
    """The step, answered by `way`; called where the step's settings hold.

    Without the capability `schema` the answer's shape is checked after, and the way is told what does not fit.

    Raises:
        UserError: no model was named.
    """
    with entered(step.settings):
        own = step.setting("model")
        model = cast("Model | None", current(ambient().get(MODEL)) if own is None else own)
    if model is None:
        msg = f"Step {step.name!r} has no model. Pass @sy.step(model=...), or call program.using(model=...)."
        raise UserError(msg)
    answered = Through(model, way, frozenset({"chat", *capabilities}))
    return replace(step, settings={**step.settings, Slot(step.fn, "model"): answered})
