"""The dearest call that a search may make, and whether anything may cost more."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from synthon.core.asking import Asking
from synthon.core.budget import Budget, worst_case
from synthon.core.errors import UserError
from synthon.core.render import Demo, render
from synthon.core.settings import MODEL, Knob, Nearest, Slot, ambient, current, entered
from synthon.core.values import Message, Price, Request
from synthon.optimize.reflecting import TOKENS, longest_asked
from synthon.optimize.tuning import asks_no_model, tuning_of
from synthon.strategies.thinking import Predict, named
from synthon.wrappers.budgeted import Budgeted
from synthon.wrappers.cascading import cascade
from synthon.wrappers.journaled import Journaled

if TYPE_CHECKING:
    from synthon.core.program import Program
    from synthon.core.protocols import Model
    from synthon.core.settings import Setting
    from synthon.core.step import Step
    from synthon.evals import Case
    from synthon.optimize.tuning import Tuning

_GUESSED = 1024  # tokens of an answer that nothing limits
_AGAIN = Message("user", "That does not fit: it is none of them\nAnswer again.")
_ALL = (Budget(usd=math.inf),)
_FREE = Price(0, 0)


@dataclass(frozen=True)
class Dearest:
    """What one call may cost.

    Attributes:
        usd: of the dearest call that can be foreseen, a token a byte going in and all of `max_tokens` coming out; None
            where a price is unknown, and `unpriced` says which.
        unbounded: why a call may cost more; empty where none can. An answer that is sent back is taken to need as many
            tokens as it took to write.
        unlimited: steps that may ask without `max_tokens`, which a budget of tokens or dollars refuses.
    """

    usd: float | None
    unpriced: str = ""
    unbounded: str = ""
    unlimited: Sequence[str] = ()


async def dearest(
    program: Program[..., Any] | Step[..., Any],
    tuning: Tuning,
    examples: Mapping[str, Sequence[Demo]],
    cases: Sequence[Case[Any]],
    proposer: Model | None = None,
) -> Dearest:
    """The dearest call of a program's steps at any point of a space, and of who writes instructions; nobody is asked.

    Args:
        program: a program or a step.
        tuning: what is searched in it.
        examples: of its steps, by step.
        cases: all rows that it may be run on.
        proposer: as of `optimize`.
    """
    steps = [_Foreseen.of(step, program, tuning, examples.get(step.name, ()), proposer) for step in tuning.parts.steps]
    is_alone = len(steps) == 1 and steps[0].step.fn is program.fn
    unbounded = "" if is_alone else "a program's own code decides what its steps are asked"
    given = [] if proposer is None else leaves(proposer)
    models = [leaf for each in steps for model in each.models for leaf in leaves(model)]
    unpriced = [f"the model {model.name!r} has no price" for model in (*models, *given) if price_of(model) is None]
    bare = [each.step.name for each in steps if None in each.values("model")]
    unpriced += [f"step {name!r} has no model" for name in bare if f"{name}.model" not in tuning.sets]
    unlimited = [each.step.name for each in steps if each.is_unlimited]
    if unpriced:
        return Dearest(None, unpriced[0], unbounded, unlimited)
    amounts = [_most_usd(longest_asked(each.longest_instruction), given) for each in steps if given]
    for each in steps:
        unbounded = unbounded or each.unbounded()
        try:
            amounts.append(await each.usd(cases))
        except UserError as error:  # of an input that no budget can bound
            unbounded = unbounded or str(error).partition(". ")[0]
    return Dearest(max(amounts, default=0.0), "", unbounded, unlimited)


@dataclass(frozen=True)
class _Foreseen:
    """A step, with the settings in force at each value of each dimension, the program's own first."""

    step: Step[..., Any]
    settings: Sequence[Mapping[Setting, object]]
    examples: Sequence[Demo]
    written: Sequence[str]

    @classmethod
    def of(
        cls,
        step: Step[..., Any],
        program: Program[..., Any] | Step[..., Any],
        tuning: Tuning,
        examples: Sequence[Demo],
        proposer: Model | None,
    ) -> _Foreseen:
        """A step of a program."""
        own = {} if step.fn is program.fn else step.settings
        places = [tuning.parts.resolve([each], {}) for options in tuning.sets.values() for each in options]
        every = [{**program.settings, **place, **own} for place in ({}, *places)]
        return cls(step, every, examples, [] if proposer is None else ["x" * TOKENS])

    def values(self, name: str) -> list[Any]:
        """All that an attribute or a sampling parameter of the step may be."""
        found: dict[int, Any] = {}
        for settings in self.settings:
            with entered(settings):
                value = self.step.setting(name, getattr(self.step, name, self.step.sampling.get(name)))
                if value is None and name == "model":
                    value = current(ambient().get(MODEL))
            found[id(value)] = value
        return list(found.values())

    @property
    def models(self) -> list[Model]:
        """All that may answer."""
        return [model for model in self.values("model") if model is not None]

    @property
    def instructions(self) -> list[str]:
        """Its own, and one as long as may be written."""
        return [*self.values("instruction"), *self.written]

    @property
    def longest_instruction(self) -> str:
        """The one of most bytes."""
        return max(self.instructions, key=lambda text: len(text.encode()))

    @property
    def is_unlimited(self) -> bool:
        """Whether it may write an answer without `max_tokens`."""
        return None in self.values("max_tokens") and not all(map(self._scores, self.models))

    def _scores(self, model: Model) -> bool:
        return self.step.output.choice is not None and "score" in model.capabilities

    def unbounded(self) -> str:
        """Why a call of it may cost more than its longest row tells; empty where none can."""
        step, output = self.step, self.step.output
        name = f"step {step.name!r}"
        strategies = [named(each) for each in self.values("strategy") if not _asks_once(each)]
        strange = [model.name for model in self.models if not _is_known(model)]
        is_shaped = any(each is not None for each in self.values("constraint"))
        is_asked_again = step.retries and (is_shaped or not (output.is_text or output.choice))
        found = {
            f"{name} sets no max_tokens": self.is_unlimited,
            f"{name} may be asked by {''.join(strategies[:1])}, which writes prompts of its own": strategies,
            f"{name} writes its prompts by a function of its own": step.render is not render,
            f"{name} has checks or guards, whose words are sent back": step.checks or step.guards,
            f"{name} is told what is wrong with its answer": is_asked_again,
            f"the model {''.join(strange[:1])!r} is no journaled one, or asks others in its own way": strange,
            f"{name} is shown examples that nobody knows yet": None in map(self._shown, self.values("demos")),
        }
        return next((reason for reason, holds in found.items() if holds), "")

    def _shown(self, demos: object) -> tuple[Sequence[Demo], int] | None:
        """The examples that may be shown, and how many of them at once; None where that is not known."""
        if isinstance(demos, list | tuple):
            return demos, len(demos)
        if not isinstance(demos, Nearest):
            return None
        k: Any = demos.k
        most: int = max(k.values if isinstance(k, Knob) else (k,))
        known: Sequence[Demo] = getattr(demos.selector, "examples", () if demos.selector else self.examples)
        return None if most and not known else (known, most)

    async def usd(self, cases: Sequence[Case[Any]]) -> float:
        """Of its dearest call: the longest row, the longest examples, the dearest model, the worst settings."""
        inputs, _ = await self._longest([(inputs, ()) for inputs in self._rows(cases)])
        every: list[tuple[Mapping[str, object], Sequence[Demo]]] = [(inputs, ())]
        for demos, most in filter(None, map(self._shown, self.values("demos"))):
            sizes = [await self._size(inputs, [demo]) for demo in demos]
            longest = sorted(range(len(demos)), key=sizes.__getitem__)[-most:] if most else []
            every.append((inputs, [demos[place] for place in longest]))
        _, demos = await self._longest(every)
        amounts = [0.0]
        for model, *values in itertools.product(self.models, *(self.values(name) for name in ("layout", "constraint"))):
            for instruction in self.instructions:
                request = await self._request(model, inputs, demos, (instruction, *values))
                twice = 2 if request.continuations and any(self.values("calibrate")) else 1
                amounts.append(twice * _most_usd(request, leaves(model)))
        return max(amounts)

    def _rows(self, cases: Sequence[Case[Any]]) -> list[Mapping[str, object]]:
        """The inputs that rows hold; where none does, each is guessed to be as long as a whole row."""
        shape = inspect.signature(self.step.fn).parameters
        needed = {name for name, each in shape.items() if each.default is each.empty}
        rows = [{name: case.inputs[name] for name in shape if name in case.inputs} for case in cases]
        known: list[Mapping[str, object]] = [row for row in rows if needed <= row.keys()]
        if known:
            return known
        longest = max((str(dict(case.inputs)) for case in cases), key=len, default="")
        talks = {name: [Message("user", longest)] for name in self.step.talks}
        return [{**dict.fromkeys(shape, longest), **talks}]

    async def _longest(
        self, every: Sequence[tuple[Mapping[str, object], Sequence[Demo]]]
    ) -> tuple[Mapping[str, object], Sequence[Demo]]:
        sizes = [await self._size(inputs, demos) for inputs, demos in every]
        return every[max(range(len(every)), key=sizes.__getitem__)]

    async def _size(self, inputs: Mapping[str, object], demos: Sequence[Demo]) -> int:
        """Tokens of a prompt, at most."""
        with entered({**self.settings[0], Slot(self.step.fn, "demos"): tuple(demos)}):
            messages = await Asking(self.step, self.step.bound(**inputs)).messages()
        return worst_case(_ALL, Request(tuple(messages), max_tokens=0), _FREE, 1, self.step.name).tokens

    async def _request(
        self, model: Model, inputs: Mapping[str, object], demos: Sequence[Demo], values: Sequence[object]
    ) -> Request:
        """A call with these settings; where an answer may be refused, the last one, after as many as may be."""
        names = ("model", "demos", "instruction", "layout", "constraint")
        own: dict[Setting, object] = {
            Slot(self.step.fn, name): value for name, value in zip(names, (model, demos, *values), strict=True)
        }
        told = await replace(self.step, settings={**self.settings[0], **own}).explain(**inputs)
        tokens = max(_GUESSED if each is None else each for each in self.values("max_tokens"))
        choice = self.step.output.choice
        if choice is not None and told.constraint is None and self._scores(model):
            return Request(tuple(told.messages), continuations=choice.options)
        again = 0 if self.step.output.is_text and told.constraint is None else self.step.retries
        messages = [*told.messages, *[Message("assistant", "x" * tokens), _AGAIN] * again]
        return Request(tuple(messages), max_tokens=tokens, constraint=told.constraint)


def _most_usd(request: Request, models: Sequence[Model]) -> float:
    return max(worst_case(_ALL, request, price_of(model), 1, model.name).usd for model in models)


def _asks_once(strategy: object) -> bool:
    """Whether a strategy asks a step as it is, or nobody."""
    return strategy is None or isinstance(strategy, Predict) or asks_no_model(strategy)


def _is_known(model: Any) -> bool:
    """Whether it is journaled, or built of such in a way that changes no prompt."""
    inner = [getattr(model, name) for name in ("model", "cheap", "dear") if hasattr(model, name)]
    return isinstance(model, Journaled) or (isinstance(model, Budgeted | cascade) and all(map(_is_known, inner)))


def leaves(model: Any) -> list[Model]:
    """The models that one built of others asks; else the model."""
    if isinstance(model, Journaled):
        return [model]
    held = [each if isinstance(each, list | tuple) else [each] for each in getattr(model, "__dict__", {}).values()]
    inner = [each for several in held for each in several if hasattr(each, "complete")]
    return [leaf for each in inner for leaf in leaves(each)] or [model]


def askable(program: Program[..., Any] | Step[..., Any], models: Sequence[Model] = ()) -> list[Model]:
    """All that the steps of a program may ask in a search, without what is built around it."""
    tuning = tuning_of(program, program.parts(), {}, models)
    steps = [_Foreseen.of(step, program, tuning, (), None) for step in tuning.parts.steps]
    return [leaf for each in steps for model in each.models for leaf in leaves(model)]


def price_of(model: Model) -> Price | None:
    """Its own, or that of the model it keeps the journal of."""
    own: Price | None = getattr(model, "price", None)
    return own or getattr(getattr(model, "model", None), "price", None)


__all__ = ["Dearest", "askable", "dearest", "leaves", "price_of"]
