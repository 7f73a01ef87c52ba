"""What a search would do, before a cent is spent."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthon.core.budget import Budget, worst_case
from synthon.core.errors import SynthonError
from synthon.core.render import Demo
from synthon.core.settings import Knob
from synthon.core.values import Request
from synthon.optimize.learning import labelled
from synthon.optimize.tuning import tuning_of

if TYPE_CHECKING:
    from synthon.core.program import Program
    from synthon.core.protocols import Embedder, Model
    from synthon.core.step import Step
    from synthon.core.values import Price
    from synthon.evals import Case
    from synthon.optimize.tuning import Tuning

_LONGEST = 20  # rows whose prompts are written to find the longest


@dataclass(frozen=True)
class Plan:
    """A search as it would be.

    Attributes:
        tuning: what would be searched.
        unknown: steps whose examples only a recorded pass can tell; their demonstrations are searched too.
        cases: validation rows.
        budget: the limit, if one was given.
        call_usd: the most that one call of a step whose inputs are known can cost; None where that is not known, and
            `unpriced` says why.
        proposer: who would write instructions, empty if nobody.
    """

    tuning: Tuning
    unknown: Sequence[str]
    cases: int
    budget: Budget | None
    call_usd: float | None
    proposer: str = ""
    unpriced: str = ""

    @property
    def calls(self) -> int:
        """The budget's, else every point on every row with one call of each step: a strategy may take more."""
        every = self.tuning.space.size * self.cases * len(self.tuning.parts.steps)
        return every if self.budget is None or self.budget.calls is None else self.budget.calls

    @property
    def usd(self) -> float | None:
        """The most dollars: the budget's, or the most calls at the most a known one can cost."""
        worst = None if self.call_usd is None else self.call_usd * self.calls
        limits = [each for each in (worst, None if self.budget is None else self.budget.usd) if each is not None]
        return min(limits) if limits else None

    def __str__(self) -> str:
        space = self.tuning.space
        lines = [f"{self.tuning.parts.root}: {space.size} programs, compared on {self.cases} rows"]
        width = max((len(each.name) for each in space.dimensions), default=0)
        for each in space.dimensions:
            values = ", ".join(map(str, each.values))
            lines.append(f"  {each.name:<{width}}  {each.kind:<11}  {len(each.values)}: {values}")
        lines += [f"  {name}.demos: from a recorded pass over training rows" for name in self.unknown]
        lines.append(f"  instructions: {self.proposer or 'as they are, for no proposer was given'}")
        price = f"at a price unknown, for {self.unpriced}" if self.usd is None else f"at most ${self.usd:.6f}"
        if self.budget is not None and self.budget.calls is not None:
            lines.append(f"at most {self.calls:,} calls; {price}")
        else:
            lines.append(f"about {self.calls:,} calls if each step asks once a row; {price}")
        return "\n".join(lines)


async def plan(
    program: Program[..., Any] | Step[..., Any],
    train: Sequence[Case[Any]],
    validation: Sequence[Case[Any]],
    *,
    budget: Budget | None = None,
    models: Sequence[Model] = (),
    proposer: Model | None = None,
    seed: int = 0,
    embedder: Embedder | str | None = None,
) -> Plan:
    """The space, the worst-case number of calls and the worst-case price of a search; no model is called.

    Arguments as of `optimize`.
    """
    parts = program.parts()
    examples = labelled(program, parts, train)
    tuning = tuning_of(parts, examples, models, seed=seed, embedder=embedder)
    unknown = [step.name for step in parts.steps if step.name not in examples and train and not step.demos]
    name = "" if proposer is None else proposer.name
    dearest, why = await _dearest(tuning, examples, [*train, *validation], models)
    return Plan(tuning, unknown, len(validation), budget, dearest, name, why)


def _rows(step: Step[..., Any], cases: Sequence[Case[Any]]) -> list[Demo]:
    """Inputs of a step that a row holds; what it would answer does not matter here."""
    names = list(inspect.signature(step.fn).parameters)
    return [Demo({name: case.inputs[name] for name in names}, "") for case in cases if set(names) <= set(case.inputs)]


async def _dearest(
    tuning: Tuning, examples: Mapping[str, Sequence[Demo]], cases: Sequence[Case[Any]], models: Sequence[Model]
) -> tuple[float | None, str]:
    """The most that a call of a step with known inputs can cost, with the most examples shown; or why not."""
    dearest = 0.0
    for step in tuning.parts.steps:
        prices = {model.name: _price(model) for model in _models(step, models)}
        if nameless := [name for name, price in prices.items() if price is None]:
            return None, f"the model {nameless[0]!r} has no price"
        known = examples.get(step.name, ()) or _rows(step, cases)
        rows = sorted(known, key=lambda demo: -len(str(demo.inputs)))[:_LONGEST]
        shown = step.using(demos=tuple(rows[:8])) if step.name in examples else step
        for demo in rows[:1]:
            try:
                messages = (await shown.explain(**demo.inputs)).messages
            except SynthonError:
                continue
            request = Request(tuple(messages), max_tokens=_tokens(step), continuations=_options(step))
            amounts = [worst_case([Budget(usd=math.inf)], request, price, 1, step.name) for price in prices.values()]
            dearest = max([dearest, *(amount.usd for amount in amounts)])
    return (dearest, "") if dearest else (None, "no row holds what a step takes")


def _models(step: Step[..., Any], models: Sequence[Model]) -> list[Model]:
    own: Any = step.model
    given = [*(own.values if isinstance(own, Knob) else (own,)), *models]
    return [leaf for model in given if model is not None for leaf in _leaves(model)]


def _leaves(model: Any) -> list[Model]:
    """The models that a router or a cascade asks; else the model."""
    inner = getattr(model, "models", None) or [
        getattr(model, name) for name in ("cheap", "dear") if hasattr(model, name)
    ]
    return [leaf for each in inner for leaf in _leaves(each)] or [model]


def _price(model: Model) -> Price | None:
    own: Price | None = getattr(model, "price", None)
    return own or getattr(getattr(model, "model", None), "price", None)


def _tokens(step: Step[..., Any]) -> int:
    value = step.sampling.get("max_tokens")
    return value if isinstance(value, int) else 1024


def _options(step: Step[..., Any]) -> tuple[str, ...]:
    return () if step.output.choice is None else tuple(step.output.choice.options)


__all__ = ["Plan", "plan"]
