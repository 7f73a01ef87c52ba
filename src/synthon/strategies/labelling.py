"""Answers that labelled examples give, without any model call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from synthon.core.errors import UserError
from synthon.core.identity import to_json
from synthon.core.settings import Slot, current
from synthon.core.values import Completion
from synthon.models.doubles import FunctionModel
from synthon.retrieval.probing import Probe
from synthon.strategies.thinking import named

if TYPE_CHECKING:
    from synthon.core.constraints import Constraint
    from synthon.core.protocols import Embedder
    from synthon.core.render import Demo
    from synthon.core.settings import Selector
    from synthon.core.step import Step
    from synthon.core.values import Request

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class neighbour_vote:  # noqa: N801 - users call it as a function
    """The answer that most of the `k` nearest examples have, of equally many the nearest one's; no model is asked.

    The k-nearest-neighbour rule (Cover and Hart 1967). The step still reads, checks and guards the answer.

    Attributes:
        k: examples that vote; may be a knob.
        selector: what finds them, `sy.nearest(examples)`.
    """

    k: int
    selector: Selector

    def saved(self) -> dict[str, object]:
        """What a saved program keeps of it: the number as it is set here, and the selector with its examples."""
        return {"k": current(self.k), "selector": self.selector}

    @property
    def name(self) -> str:
        """How saved programs name it."""
        return f"neighbour_vote({self.k!r}, {named(self.selector)})"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, answered by its neighbours."""

        async def voted(inputs: Mapping[str, object]) -> object:
            k = current(self.k)
            nearest = await self.selector.nearest(inputs, k) if k > 0 else ()
            if not nearest:
                raise UserError(f"No example votes in {self.name}: k is {k}. Pass k of at least 1, and examples.")
            answers = [demo.output for demo in reversed(nearest)]  # the nearest first, as `max` takes of equals
            votes = Counter(map(to_json, answers))
            return max(answers, key=lambda answer: votes[to_json(answer)])

        return _answered(step, self.name, voted)


@dataclass(frozen=True, slots=True)
class LinearProbe:
    """The answer that a linear classifier over labelled examples gives; made by `linear_probe`."""

    probe: Probe

    def saved(self) -> dict[str, object]:
        """What a saved program keeps of it: the examples, and the packaged embedder's name."""
        return {"probe": self.probe}

    @property
    def name(self) -> str:
        """How saved programs name it."""
        return f"linear_probe({self.probe.digest})"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, answered by the classifier."""
        return _answered(step, self.name, self.probe.label)


def linear_probe(examples: Sequence[Demo], *, embedder: Embedder | str | None = None) -> LinearProbe:
    """The label that linear discriminant analysis of the examples' vectors gives, see `Probe`; no model is asked.

    It never abstains. An example asked about itself is answered from itself too, so measure it on other rows.

    Args:
        examples: inputs and their outputs; only what is among these is ever answered.
        embedder: or a packaged one's name; None takes the packaged MiniLM. A program is saved with named ones only.

    Raises:
        UserError: there are no examples.
    """
    return LinearProbe(Probe(examples, embedder))


def _answered(
    step: Step[P, T], name: str, label: Callable[[Mapping[str, object]], Awaitable[object]]
) -> Callable[P, Awaitable[T]]:
    """The step with `label` in its model's place: it still reads, checks and streams the answer."""

    async def answered(*args: P.args, **kwargs: P.kwargs) -> T:
        inputs = step.bound(*args, **kwargs)

        async def say(request: Request) -> Completion:
            text = step.output.written(await label(inputs))
            return Completion(text, model=name, unmet=_unmet(request.constraint, text) if request.constraint else "")

        model = FunctionModel(say, name, capabilities=frozenset({"chat", "grammar"}), counts=True)
        settings = {**step.settings, Slot(step.fn, "model"): model, Slot(step.fn, "demos"): ()}
        return await replace(step, settings=settings)(*args, **kwargs)

    return answered


def _unmet(constraint: Constraint, text: str) -> str:
    from synthon.decoding import predicates, unmet  # noqa: PLC0415 - loaded where something is constrained only

    predicates.refuse_to_count(constraint, "What answers in a model's place")
    return unmet(constraint, text)
