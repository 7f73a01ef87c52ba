"""What a search found: a front of programs, and the one to take."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

import numpy as np

from synthon.core.errors import UserError
from synthon.core.portal import sync
from synthon.core.saved import save
from synthon.evals.evaluation import Clocked
from synthon.evals.statistics import Estimate, dollars, mean
from synthon.optimize.certificate import Certificate, without_luck
from synthon.optimize.certifying import certify
from synthon.optimize.diffing import differences
from synthon.optimize.front import Front

if TYPE_CHECKING:
    from synthon.core.budget import Budget
    from synthon.core.program import Program
    from synthon.core.protocols import Journal
    from synthon.core.step import Step
    from synthon.evals import Case, Metric
    from synthon.optimize.history import History, Limits
    from synthon.optimize.reflecting import Evidence
    from synthon.optimize.space import Point
    from synthon.optimize.tuning import Tuning

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Optimized(Clocked, Generic[P, T]):
    """One program of a front, with what validation showed of it.

    Attributes:
        program: a copy with its settings, called like the one it was made from.
        changes: its settings in a few words.
        quality: mean score with its interval. The one of a chosen program is the luckiest of many: see `certify`.
        cost: of a call, in `unit`: `usd`, or `tokens` where no price is known.
        seconds: how long each row took; `p50_s`, `p95_s` and `latency_s` are of these.
        scores: the mean of each metric, the first one first.
        failures: rows that failed, of `quality.n`, and what the first of them said.
        sure: what a front is ordered by: the mean score as far as it can be told from the luck of few rows.
        expected: the mean score without the luck of having been picked; None where nothing was picked from.
        certificate: of `certify`.
    """

    program: Program[P, T] | Step[P, T]
    changes: str
    quality: Estimate
    cost: Estimate
    unit: str
    seconds: Sequence[float] = field(repr=False)
    scores: Mapping[str, Estimate] = field(default_factory=dict)
    failures: tuple[int, str] = (0, "")
    sure: float = math.nan
    expected: float | None = None
    certificate: Certificate | None = None
    origin: Optimization[P, T] | None = field(default=None, repr=False)

    def _seconds(self) -> Sequence[float]:
        return self.seconds

    @property
    def price(self) -> str:
        """The cost of a call in words, with its interval."""
        return f"${dollars(self.cost)}" if self.unit == "usd" else f"{self.cost:.0f} tokens"

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the program."""
        return await self.program(*args, **kwargs)

    def sync(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it from ordinary code."""
        return self.program.sync(*args, **kwargs)

    def save(self, path: str | Path) -> None:
        """Write its settings as plain JSON; `program.using(path)` reads them, in any process."""
        save(self.program, path)

    def certify(
        self,
        test: Sequence[Case[Any]],
        *,
        against: Program[P, T] | Step[P, T] | None = None,
        budget: Budget | None = None,
    ) -> Optimized[P, T]:
        """The same with a certificate: judged on rows that nothing was chosen by, against a baseline.

        Waits on Synthon's background loop; `await synthon.optimize.certify(...)` is the same in async code.

        Args:
            test: held-out rows; both programs answer each of them once.
            against: the program as it was, if None.
            budget: these calls count against it; that of the search does not hold here.

        Raises:
            UserError: no rows, or this program came from no search.
            BudgetExceeded: a call would pass the budget.
        """
        if self.origin is None:
            raise UserError("This program came from no search. Use synthon.optimize.certify(program, test, against=).")
        origin = self.origin
        job = certify(
            self.program, test, against=against or origin.program, metric=origin.metric, journal=origin.journal,
            budget=budget, workers=origin.workers, known={"training": origin.train, "validation": origin.validation},
            promised=self.quality.value, expected=self.expected,
        )  # fmt: skip
        return replace(self, certificate=sync(lambda: job))

    def diff(self, baseline: Program[P, T] | Step[P, T] | Optimized[P, T]) -> str:
        """What is set otherwise than in another program, one setting after the other, as text.

        Long lists of examples are told by their number, a digest and the first.
        """
        return differences(self.program, baseline.program if isinstance(baseline, Optimized) else baseline)

    @property
    def failed(self) -> str:
        """How many rows failed, and why the first did."""
        failed, why = self.failures
        return f"{failed} of {self.quality.n} rows failed, the first by {why:.200}"

    def __str__(self) -> str:
        seconds = f"p50 {self.latency_s(0.5)} s, p95 {self.latency_s(0.95)} s"
        shown = f"{self.quality}, {self.price}, {seconds}  {self.changes}"
        shown += f"\n  {self.failed}" if self.failures[0] else ""
        return shown if self.certificate is None else f"{shown}\n{self.certificate}"


@dataclass(frozen=True, eq=False)
class Optimization(Generic[P, T]):
    """A finished search.

    Attributes:
        program: it started from.
        tuning: what was searched.
        history: everything measured; `evidence` is the same with outputs and feedback, by point and validation row.
        unit: of costs, `usd` or `tokens`.
        methods: what searched, and `why` it was chosen.
        budget: with what was spent of it.
        calls: spent on what was kept; a batch that the budget stops on its way is not.
        warnings: rows that training and validation share or that no step could answer, and what could not be run.
    """

    program: Program[P, T] | Step[P, T]
    tuning: Tuning
    history: History
    evidence: Evidence
    unit: str
    methods: Sequence[str]
    why: str
    budget: Budget
    train: Sequence[Case[Any]] = field(repr=False)
    validation: Sequence[Case[Any]] = field(repr=False)
    metric: Metric[Any, T] = field(repr=False)
    journal: Journal | Path = field(repr=False)
    calls: int = 0
    workers: int = 8
    warnings: Sequence[str] = ()

    @property
    def front(self) -> Front[P, T]:
        """The programs that no other beats, `best()` first; at least the one started from."""
        points, best = self.history.front() or [self.tuning.space.default], self.history.best()
        sure = dict(zip(self.history.rows, self.history.judged()[:, 0].tolist(), strict=True))
        points.sort(key=lambda point: point != best)
        return Front([replace(self._optimized(point), sure=min(1.0, max(0.0, sure[point]))) for point in points])

    def best(self, *, within: Limits | None = None) -> Optimized[P, T]:
        """The program that surely scores highest within the limits, of equals the cheapest.

        Raises:
            UserError: none measured keeps the limits; says the nearest. Or they limit time, which the search did not.
        """
        limits = within or self.history.limits
        if not hasattr(limits, "p95_s"):
            raise UserError(f"best was given within={limits!r:.200}. Pass sy.Limits(usd=..., p95_s=...).")
        timed = self.history.limits.p95_s is not None
        if limits.p95_s is not None and not timed:
            msg = f"The search measured no time, and best was given {limits}. Search with within=sy.Limits(p95_s=...),"
            raise UserError(f"{msg} or take front.dial().at(latency_s={limits.p95_s}).")
        point = self.history.best(limits)
        if point is None:
            least = min(self.history.rows, key=lambda each: self.history.mean(each).cost)
            shown = self.history.mean(least)
            at = f" at p95 {shown.p95_s:.3f} s" if timed else ""
            msg = f"No program measured keeps {limits}; the cheapest costs {shown.cost:.6g} {self.unit} a call{at}."
            raise UserError(f"{msg} Loosen the limits, or search with a larger budget.")
        return replace(self._optimized(point), expected=self._without_luck(point, limits))

    def _without_luck(self, picked: Point, limits: Limits) -> float:
        """What a pick scores on rows it was not picked by, from programs within the limits that have half its rows."""
        rows = self.history.rows
        cases = sorted(rows[picked])
        able = [point for point in rows if self.history.feasible(point, limits)]
        rivals = [rows[point] for point in able if 2 * len(rows[picked].keys() & rows[point].keys()) >= len(cases)]
        table = np.array([[seen[case].score if case in seen else math.nan for case in cases] for seen in rivals])
        return without_luck(table, seed=self.history.seed)

    def _optimized(self, point: Point) -> Optimized[P, T]:
        rows = [self.evidence[point][case] for case in sorted(self.evidence[point])]
        costs = [row.cost_usd or 0.0 if self.unit == "usd" else row.tokens_in + row.tokens_out for row in rows]
        failed = [row.error for row in rows if row.error]
        return Optimized(
            self.tuning.applied(self.program, point),
            self.tuning.words(point),
            mean([row.score for row in rows]),
            mean(np.array(costs, float), scores=False),
            self.unit,
            [row.latency_s for row in rows],
            {name: mean([row.scores[name] for row in rows]) for name in rows[0].scores},
            (len(failed), failed[0] if failed else ""),
            origin=self,
        )

    def _broken(self, told: set[Point]) -> list[str]:
        """Programs beside those told of which all rows failed, in one line; such as those of a model that is down."""
        errors = {point: [row.error for row in rows.values()] for point, rows in self.evidence.items()}
        broken = [point for point, seen in errors.items() if point not in told and all(seen)]
        if not broken:
            return []
        more = f" and {len(broken) - 1} more" if broken[1:] else ""
        return [f"{self.tuning.words(broken[0])}{more}: all rows failed, the first by {errors[broken[0]][0]:.200}"]

    def summary(self) -> dict[str, object]:
        """What a journal keeps of it, without times: the same for the same seed and answers."""
        rows = self.history
        front = [
            {"changes": each.changes, "quality": each.quality.value, "cost": each.cost.value} for each in self.front
        ]
        return {
            "method": list(self.methods), "programs": len(rows.rows), "rows": rows.evaluations, "front": front,
            "calls": self.calls,
        }  # fmt: skip

    def __str__(self) -> str:
        history = self.history
        head = (
            f"{self.program.name}: {len(history.rows)} of {self.tuning.space.size} programs on "
            f"{history.evaluations} rows by {', then '.join(self.methods)} ({self.why}); spent {self.budget.spent}"
        )
        front = self.front
        failed = [f"{each.changes}: {each.failed}" for each in front if each.failures[0]]
        failed += self._broken(set(history.front()))
        return "\n".join([head, str(front), *(f"warning: {each}" for each in (*failed, *self.warnings))])


__all__ = ["Optimization", "Optimized"]
