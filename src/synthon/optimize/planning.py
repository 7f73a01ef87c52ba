"""What a search would do, before a cent is spent."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from synthon.core.budget import Budget
from synthon.evals import Cases
from synthon.evals.grading import called
from synthon.optimize.dearest import Dearest, dearest
from synthon.optimize.learning import labelled
from synthon.optimize.refusing import refuse_odd
from synthon.optimize.tuning import tuning_of

if TYPE_CHECKING:
    from synthon.core.program import Program
    from synthon.core.protocols import Embedder, Model
    from synthon.core.step import Step
    from synthon.evals import Case, Metric
    from synthon.optimize.tuning import Tuning


@dataclass(frozen=True)
class Plan:
    """A search as it would be.

    Attributes:
        tuning: what would be searched.
        unknown: steps whose examples only a recorded pass can tell; what is made of these is searched too.
        cases: validation rows.
        budget: the limit, if one was given.
        dearest: what one call may cost.
        proposer: who would write instructions, empty if nobody.
    """

    tuning: Tuning
    unknown: Sequence[str]
    cases: int
    budget: Budget | None
    dearest: Dearest
    proposer: str = ""

    @property
    def calls(self) -> int:
        """The most calls, by the budget; without such a limit each known point on every row, if a step asks once."""
        every = self.tuning.space.size * self.cases * len(self.tuning.parts.steps)
        return every if self.budget is None or self.budget.calls is None else self.budget.calls

    @property
    def unbounded(self) -> str:
        """Why nobody knows the most that calls may cost, but for a budget of dollars; empty where it is known."""
        is_open = self.budget is None or self.budget.calls is None
        return self.dearest.unpriced or ("no number of calls was given" if is_open else self.dearest.unbounded)

    @property
    def usd(self) -> float | None:
        """The most dollars: the budget's, or the most calls at the most that one can cost; None where none is known."""
        worst = None if self.unbounded else self.about_usd
        limits = [each for each in (worst, None if self.budget is None else self.budget.usd) if each is not None]
        return min(limits) if limits else None

    @property
    def about_usd(self) -> float | None:
        """What `calls` would cost if each were the dearest that can be foreseen; None where a price is unknown."""
        return None if self.dearest.usd is None else self.dearest.usd * self.calls

    @property
    def refused(self) -> str:
        """Why the budget would refuse calls of the search, empty where it would not."""
        budget, unlimited = self.budget, ", ".join(self.dearest.unlimited)
        if budget is not None and budget.usd is not None and self.dearest.unpriced:
            return f"a budget of dollars needs every price, and {self.dearest.unpriced}"
        if budget is not None and unlimited and (budget.usd is not None or budget.tokens is not None):
            return f"a budget of dollars or tokens needs max_tokens=, which {unlimited} may ask without"
        return ""

    def __str__(self) -> str:
        space = self.tuning.space
        least = "at least " * bool(self.unknown)
        lines = [f"{self.tuning.parts.root}: {least}{space.size} programs, compared on {self.cases} rows"]
        width = max((len(each.name) for each in space.dimensions), default=0)
        for each in space.dimensions:
            values = ", ".join(map(str, each.values))
            lines.append(f"  {each.name:<{width}}  {each.kind:<11}  {len(each.values)}: {values}")
        closed = {step.name for step in self.tuning.parts.steps if step.output.choice is not None}
        for name in self.unknown:
            beside = ", and answers without a model" * (name in closed)
            lines.append(f"  {name}.demos{beside}: from a recorded pass over training rows")
        lines.append(f"  instructions: {self.proposer or 'as they are, for no proposer was given'}")
        lines += [f"  refused: {self.refused}"] if self.refused else []
        if self.budget is not None and self.budget.calls is not None:
            calls = f"at most {self.calls:,} calls"
        else:
            others = f"strategies, retries and loops ask more often{', and the proposer beside' * bool(self.proposer)}"
            calls = f"about {self.calls:,} calls if each step asks once a row ({others})"
        return "\n".join([*lines, f"{calls}; {self._price()}"])

    def _price(self) -> str:
        if self.usd is not None:
            return f"at most ${self.usd:.6f}"
        if self.about_usd is None:
            return f"at a price unknown, for {self.dearest.unpriced}"
        about = f"about ${self.about_usd:.6f} if all are the dearest foreseen"
        return f"{about}; no upper bound known: {self.unbounded}"


async def plan(
    program: Program[..., Any] | Step[..., Any],
    train: Sequence[Case[Any]],
    validation: Sequence[Case[Any]],
    *,
    metric: Metric[Any, Any] | None = None,
    metrics: Mapping[str, Metric[Any, Any]] | None = None,
    budget: Budget | None = None,
    models: Sequence[Model] = (),
    proposer: Model | None = None,
    seed: int = 0,
    embedder: Embedder | str | None = None,
) -> Plan:
    """The space, the worst-case number of calls and the worst-case price of a search; no model is called.

    Where nobody can tell the most that calls cost, `Plan.unbounded` says why and `Plan.about_usd` is an estimate.

    Arguments as of `optimize`. Without `metric` nobody knows whether a judge would ask a model, so there is no bound.
    """
    refuse_odd(
        program, seed=seed, models=models, proposer=proposer, budget=Budget(calls=0) if budget is None else budget
    )
    train, validation = Cases(train), Cases(validation)
    parts = program.parts()
    examples = labelled(program, parts, train)
    tuning = tuning_of(program, parts, examples, models, seed=seed, embedder=embedder)
    open_ = [step.name for step in parts.steps if not step.demos or getattr(step.demos, "selector", step) is None]
    unknown = [name for name in open_ if name not in examples and train]
    foreseen = await dearest(program, tuning, examples, [*train, *validation], proposer)
    beside = [f"the examples of {each} come from a recorded pass" for each in unknown]
    beside += ["the metric is not known here"] if metric is None else []
    given = (metric, *(metrics or {}).values())
    beside += [f"the metric {called(each)!r} may ask a model too" for each in given if each is not None and _asks(each)]
    foreseen = replace(foreseen, unbounded=next(filter(None, [foreseen.unbounded, *beside]), ""))
    return Plan(tuning, unknown, len(validation), budget, foreseen, "" if proposer is None else proposer.name)


def _asks(metric: Any) -> bool:
    """Whether a metric is one that waits for an answer, as judges do."""
    while hasattr(metric, "metric"):
        metric = metric.metric
    return inspect.iscoroutinefunction(metric) or inspect.iscoroutinefunction(type(metric).__call__)


__all__ = ["Plan", "plan"]
