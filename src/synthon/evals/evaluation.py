"""What an evaluation found: every mean with its interval, slices, failures, and the paired difference to another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, cast

from synthon.core.errors import UserError
from synthon.core.identity import to_json
from synthon.evals._given import whole
from synthon.evals.cases import Case, Cases
from synthon.evals.plotting import plot
from synthon.evals.statistics import Estimate, detectable_gain, dollars, gains, mean, paired, permutation_p, quantile

_SURE = 0.05


@dataclass(frozen=True, slots=True)
class Measured:
    """One case's result.

    `score` is the first metric's, `scores` has all by name, `feedback` what they said in words. Cost, latency, calls
    and tokens are what production would pay, whatever was a hit; `cost_usd` is None where a call has no known price.
    `error` is empty unless the program failed; then all scores are 0.0 and `output` is None. `run` is its id.
    """

    score: float
    scores: Mapping[str, float]
    feedback: str = ""
    cost_usd: float | None = None
    latency_s: float = 0.0
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    error: str = ""
    output: object = field(default=None, compare=False)
    run: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One program against another on the same cases: `difference` is the mean of the first's score minus the second's.

    `p` is two-sided, from a permutation test; `discordant` counts cases that score differently; `detectable` is the
    smallest true difference that so many cases show in 80 of 100 evaluations, infinite where they can show none.
    """

    one: str
    other: str
    difference: Estimate
    p: float
    discordant: int
    detectable: float

    def __str__(self) -> str:
        verdict = "a difference" if self.p < _SURE else "no difference that these cases show"
        found = f"detectable: {self.detectable:.3f}" if isfinite(self.detectable) else "so few can show none"
        return (
            f"{self.one} - {self.other}: {self.difference:+.3f}, p = {self.p:.3g}, "
            f"{self.discordant} of {self.difference.n} cases differ; {verdict} ({found})"
        )

    def json(self) -> dict[str, object]:
        """The same as JSON types."""
        return {
            "one": self.one,
            "other": self.other,
            "difference": listed(self.difference),
            "p": self.p,
            "discordant": self.discordant,
            "detectable": self.detectable if isfinite(self.detectable) else None,
        }


def listed(estimate: Estimate) -> list[float | None]:
    """A mean and its bounds; None where there are none."""
    return [each if isfinite(each) else None for each in (estimate.value, estimate.low, estimate.high)]


class Clocked(ABC):
    """Quantiles of how long the rows of a program took."""

    @abstractmethod
    def _seconds(self) -> Sequence[float]: ...

    @property
    def p50_s(self) -> float:
        """The median latency, in seconds; `latency_s(0.5)` has its interval."""
        return self.latency_s(0.5).value

    @property
    def p95_s(self) -> float:
        """The latency that 95 of 100 rows do not pass, in seconds; `latency_s(0.95)` has its interval."""
        return self.latency_s(0.95).value

    def latency_s(self, share: float) -> Estimate:
        """A quantile of the latencies, in seconds; few rows do not show its bounds, which are 0 and infinite then."""
        return quantile(self._seconds(), share, least=0.0)


@dataclass(frozen=True)
class Evaluation(Clocked):
    """A program's results, in the order of its cases."""

    name: str
    cases: Cases[Any]
    rows: Sequence[Measured]

    def _seconds(self) -> Sequence[float]:
        return [row.latency_s for row in self.rows]

    @property
    def mean(self) -> Estimate:
        """The mean score with its 95 % interval."""
        return mean([row.score for row in self.rows])

    @property
    def scores(self) -> dict[str, Estimate]:
        """The mean of each metric, the first one first."""
        names = self.rows[0].scores if self.rows else {}
        return {name: mean([row.scores[name] for row in self.rows]) for name in names}

    @property
    def cost_usd(self) -> Estimate | None:
        """Dollars a case; None where a price is not known."""
        known = [row.cost_usd for row in self.rows if row.cost_usd is not None]
        return mean(known, scores=False) if len(known) == len(self.rows) else None

    @property
    def calls(self) -> Estimate:
        """Calls of models a case."""
        return mean([row.calls for row in self.rows], scores=False)

    @property
    def tokens_in(self) -> Estimate:
        """Tokens a case that go in."""
        return mean([row.tokens_in for row in self.rows], scores=False)

    def slices(self, key: str) -> dict[str, Estimate]:
        """The mean score for each value of a metadata key, by value.

        Raises:
            UserError: no case has the key.
        """
        found: dict[str, list[float]] = {}
        for case, row in zip(self.cases, self.rows, strict=True):
            if key in case.metadata:
                found.setdefault(str(case.metadata[key]), []).append(row.score)
        if not found:
            known = sorted({name for case in self.cases for name in case.metadata})
            raise UserError(f"No case of {self.name!r} has metadata {key!r}. They have: {', '.join(known) or 'none'}.")
        return {value: mean(found[value]) for value in sorted(found)}

    def failures(self, below: float = 1.0) -> list[tuple[Case[Any], Measured]]:
        """The cases that failed or scored below, the worst first."""
        found = [pair for pair in zip(self.cases, self.rows, strict=True) if pair[1].error or pair[1].score < below]
        return sorted(found, key=lambda pair: (not pair[1].error, pair[1].score))

    def compare(self, other: Evaluation, *, metric: str = "", seed: int = 0) -> Comparison:
        """The paired difference to another program's results, by the first metric or the named one.

        Raises:
            UserError: the two are not of the same cases in the same order, or not by that metric.
        """
        seed, given = whole("seed=", seed, 0), cast("object", other)
        if not isinstance(given, Evaluation):
            kind = type(given).__name__
            raise UserError(f"{self.name!r} was compared to {given!r:.200}, a {kind}. Pass what sy.evaluate returned.")
        mine, theirs = ([(case.id, to_json(case.expected)) for case in each.cases] for each in (self, other))
        if mine != theirs:
            msg = f"{self.name!r} and {other.name!r} were evaluated on different cases. Evaluate both on the same ones."
            raise UserError(msg)
        first, second = (metric or next(iter(each.rows[0].scores), "") for each in (self, other))
        if first != second:
            msg = f"{self.name!r} was scored by {first!r} first and {other.name!r} by {second!r}."
            raise UserError(f"{msg} Pass metric=, one that both have.")
        one, two = self._by(first), other._by(first)
        differences = gains(one, two)
        return Comparison(
            self.name, other.name, paired(one, two, seed=seed), permutation_p(one, two, seed=seed),
            int((differences != 0).sum()), detectable_gain(differences),
        )  # fmt: skip

    def _by(self, metric: str) -> list[float]:
        if any(metric not in row.scores for row in self.rows):
            raise UserError(f"{self.name!r} was not scored by {metric!r}. It has: {', '.join(self.scores)}.")
        return [row.scores[metric] for row in self.rows]

    def plot(self, path: str | Path, *, beside: Sequence[Evaluation] = (), by: str = "") -> None:
        """Write a picture of the scores and latencies as .png, .svg or .pdf, see `plotting.plot`."""
        plot([self, *beside], path, by=by)

    def json(self) -> dict[str, object]:
        """All numbers as JSON types: means as [value, low, high], in the order of `table`, and what failed."""
        cost = self.cost_usd
        return {
            "name": self.name,
            "cases": len(self.rows),
            "failed": sum(bool(row.error) for row in self.rows),
            "scores": {name: listed(estimate) for name, estimate in self.scores.items()},
            "cost_usd": None if cost is None else listed(cost),
            "p50_s": listed(self.latency_s(0.5)),
            "p95_s": listed(self.latency_s(0.95)),
            "calls": listed(self.calls),
            "tokens_in": listed(self.tokens_in),
            "failures": [
                {"case": case.id, "score": row.score, "error": row.error, "feedback": row.feedback, "run": row.run}
                for case, row in self.failures()
            ],
        }

    def table(self) -> str:
        """All numbers with their 95 % intervals, one line each."""
        lines = [f"{self.name}: {len(self.rows)} cases, {sum(bool(row.error) for row in self.rows)} failed"]
        lines += [f"  {name:<16} {estimate}" for name, estimate in self.scores.items()]
        cost = self.cost_usd
        lines += [
            f"  {'cost_usd':<16} "
            + ("unknown: a call has no price, or a model no journal" if cost is None else dollars(cost))
        ]
        lines += [f"  {'latency_s':<16} p50 {self.latency_s(0.5)}, p95 {self.latency_s(0.95)}"]
        lines += [f"  {'calls':<16} {self.calls:.2f}", f"  {'tokens_in':<16} {self.tokens_in:.0f}"]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.table()
