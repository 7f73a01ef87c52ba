"""What a search would do, before a cent is spent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from synthon.core.budget import Budget, worst_case
from synthon.core.errors import SynthonError
from synthon.core.settings import Knob
from synthon.core.values import Request
from synthon.optimize.learning import labelled
from synthon.optimize.tuning import tuning_of

if TYPE_CHECKING:
    from synthon.core.program import Program
    from synthon.core.protocols import Embedder, Model
    from synthon.core.render import Demo
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
        call_usd: the most that one call of a step whose inputs are known can cost; None where a model has no price.
        proposer: who would write instructions, empty if nobody.
    """

    tuning: Tuning
    unknown: Sequence[str]
    cases: int
    budget: Budget | None
    call_usd: float | None
    proposer: str = ""

    @property
    def calls(self) -> int:
        """The most calls: the budget's, else every point on every row with one call of each step."""
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
        price = "unknown, for a model has no price" if self.usd is None else f"${self.usd:.6f}"
        lines.append(f"at most {self.calls:,} calls; at most {price}")
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
    return Plan(tuning, unknown, len(validation), budget, await _dearest(tuning, examples, models), name)


async def _dearest(tuning: Tuning, examples: Mapping[str, Sequence[Demo]], models: Sequence[Model]) -> float | None:
    """The most that one call can cost, of the steps whose inputs are known, with the most examples shown."""
    dearest = 0.0
    for step in tuning.parts.steps:
        rows = sorted(examples.get(step.name, ()), key=lambda demo: -len(str(demo.inputs)))[:_LONGEST]
        prices = [_price(model) for model in _models(step, models)]
        if any(price is None for price in prices):
            return None
        for demo in rows[:1]:
            shown = step.using(demos=tuple(rows[:8]))
            try:
                messages = (await shown.explain(**demo.inputs)).messages
            except SynthonError:
                continue
            request = Request(tuple(messages), max_tokens=_tokens(step), continuations=_options(step))
            amounts = [worst_case([Budget(usd=math.inf)], request, price, 1, step.name) for price in prices]
            dearest = max([dearest, *(amount.usd for amount in amounts)])
    return dearest or None


def _models(step: Step[..., Any], models: Sequence[Model]) -> list[Model]:
    own: Any = step.model
    given: list[Any] = [*(own.values if isinstance(own, Knob) else (own,)), *models]
    leaves = [leaf for model in given for leaf in (getattr(model, "models", None) or (model,))]
    return [leaf for leaf in leaves if leaf is not None]


def _price(model: Model) -> Price | None:
    own: Price | None = getattr(model, "price", None)
    return own or getattr(getattr(model, "model", None), "price", None)


def _tokens(step: Step[..., Any]) -> int:
    value = step.sampling.get("max_tokens")
    return value if isinstance(value, int) else 1024


def _options(step: Step[..., Any]) -> tuple[str, ...]:
    return () if step.output.choice is None else tuple(step.output.choice.options)


__all__ = ["Plan", "plan"]
