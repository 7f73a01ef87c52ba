"""What a search has measured so far, and what it may conclude from that."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from synthon.optimize.dominance import nondominated
from synthon.optimize.space import Point, Space

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FIELDS = 4  # score, cost, latency, calls
_PRIOR = 8.0  # cases that the mean of all points weighs against a point's own


@dataclass(frozen=True, slots=True)
class Measure:
    """One point on one case, as production has it: score (higher is better), cost in dollars, seconds, model calls."""

    score: float
    cost: float
    latency_s: float
    calls: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a call of the program may cost on average, and take at the 95th percentile; None is no limit."""

    usd: float | None = None
    p95_s: float | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """Measure a point on cases, given by their places in the validation set."""

    point: Point
    cases: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """A point on the `n` cases it was measured on: plain means, and the 95th percentile of the seconds."""

    score: float
    cost: float
    latency_s: float
    p95_s: float
    calls: float
    n: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean score of one point minus another's on the `n` cases both have seen, with bounds; of none all is open."""

    mean: float
    low: float
    high: float
    n: int


@dataclass
class History:
    """All measurements of a search.

    Args:
        space: what is searched.
        cases: size of the validation set.
        seed: of the order of the cases and of all that is drawn.
        limits: what a chosen point has to keep.
        calls: model calls that may be spent, None without end.
        price: most model calls one case of a point needs, where that is known; else it is judged from what was seen.
        meter: calls spent so far, as the budget counts them; else the sum of all that was measured.
    """

    space: Space
    cases: int
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    calls: int | None = None
    price: Callable[[Point], int] | None = None
    meter: Callable[[], int] | None = None
    rows: dict[Point, dict[int, Measure]] = field(default_factory=dict, init=False)
    evaluations: int = field(default=0, init=False)
    _tables: dict[Point, Floats] = field(default_factory=dict, init=False, repr=False)
    _summed: int = field(default=0, init=False, repr=False)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The cases in the order in which every point gets them, so that any two points have seen the same ones."""
        return tuple(np.random.default_rng(self.seed).permutation(self.cases).tolist())

    @property
    def spent(self) -> int:
        """Model calls so far."""
        return self._summed if self.meter is None else self.meter()

    @property
    def left(self) -> int | None:
        """Model calls that may still be spent, None without end."""
        return None if self.calls is None else max(0, self.calls - self.spent)

    def add(self, point: Point, measured: Mapping[int, Measure]) -> None:
        """Keep what was measured; a case measured before is replaced."""
        rows = self.rows.setdefault(point, {})
        table = self._tables.setdefault(point, np.full((self.cases, _FIELDS), np.nan))
        for case, each in measured.items():
            rows[case] = each
            table[case] = each.score, each.cost, each.latency_s, each.calls
            self._summed += each.calls
        self.evaluations += len(measured)

    def unseen(self, point: Point, n: int | None = None) -> tuple[int, ...]:
        """The next `n` cases (None: all) that a point has not been measured on."""
        seen = self.rows.get(point, {})
        return tuple(case for case in self.order if case not in seen)[:n]

    def worst_case(self, ask: Ask) -> int:
        """The most calls an ask can need: by `price`, else what the point, or else any point, was seen to need."""
        n = sum(case not in self.rows.get(ask.point, {}) for case in ask.cases)
        if self.price is not None:
            return n * self.price(ask.point)
        seen = [self.rows[ask.point]] if ask.point in self.rows else list(self.rows.values())
        return n * max((each.calls for rows in seen for each in rows.values()), default=1)

    def affordable(self, asks: Sequence[Ask], *, share: float = 1.0) -> list[Ask]:
        """The asks from the front whose worst cases fit together into a share of what is left."""
        left, taken = math.inf if self.left is None else self.left * share, []
        for ask in asks:
            left -= self.worst_case(ask)
            if left < 0:
                break
            taken.append(ask)
        return taken

    def mean(self, point: Point) -> Summary:
        """What a measured point showed."""
        table = self._tables[point][list(self.rows[point])]
        score, cost, latency_s, calls = table.mean(axis=0).tolist()
        return Summary(score, cost, latency_s, float(np.quantile(table[:, 2], 0.95)), calls, len(table))

    def difference(self, point: Point, other: Point, *, level: float = 0.95) -> Difference:
        """How much higher a point scores than another on the cases both have seen.

        The bounds are the normal ones of a paired mean, with one case more on either side of it (so that three equal
        rows do not decide a race).
        """
        both = [case for case in self.rows.get(point, {}) if case in self.rows.get(other, {})]
        if not both:
            return Difference(0.0, -math.inf, math.inf, 0)
        gaps = self._tables[point][both, 0] - self._tables[other][both, 0]
        padded = np.concatenate([gaps, [1.0, -1.0]])
        half = NormalDist().inv_cdf((1 + level) / 2) * float(padded.std()) / math.sqrt(len(padded))
        return Difference(float(gaps.mean()), float(padded.mean()) - half, float(padded.mean()) + half, len(both))

    def scores(self) -> tuple[list[Point], Floats]:
        """The measured points and what each scores surely enough: a bound, not the mean.

        Scores are corrected for the cases a point has seen, drawn to the mean of all, and lowered by half their
        standard error. So a point seen on few cases does not win by luck.
        """
        points = list(self.rows)
        table = np.stack([self._tables[point][:, 0] for point in points])
        seen = ~np.isnan(table)
        filled = np.where(seen, table, 0.0)
        level = float(filled.sum() / seen.sum())
        cases = np.zeros(self.cases)
        counts = seen.sum(axis=1)
        shrunk = np.full(len(points), level)
        for _ in range(3):
            residual = np.where(seen, table - shrunk[:, None], 0.0)
            cases = residual.sum(axis=0) / (seen.sum(axis=0) + 1.0)
            own = np.where(seen, table - cases, 0.0).sum(axis=1)
            shrunk = (own + _PRIOR * level) / (counts + _PRIOR)
        spread = float(np.sqrt(np.where(seen, (table - cases - shrunk[:, None]) ** 2, 0.0).sum() / seen.sum()))
        return points, shrunk - spread / (2 * np.sqrt(counts + _PRIOR))

    def feasible(self, point: Point, limits: Limits | None = None) -> bool:
        """Whether what a measured point showed keeps the limits."""
        wanted, shown = limits or self.limits, self.mean(point)
        return (wanted.usd is None or shown.cost <= wanted.usd) and (
            wanted.p95_s is None or shown.p95_s <= wanted.p95_s
        )

    def front(self) -> list[Point]:
        """The measured points that keep the limits and that no other beats: score up, cost and latency down.

        By score, the highest first.
        """
        points, scores = self.scores() if self.rows else ([], np.empty(0))
        kept = [number for number, point in enumerate(points) if self.feasible(point)]
        if not kept:
            return []
        shown = [self.mean(points[number]) for number in kept]
        losses = np.array([(-scores[n], each.cost, each.latency_s) for n, each in zip(kept, shown, strict=True)])
        chosen = [n for n, is_best in zip(kept, nondominated(losses), strict=True) if is_best]
        return [points[number] for number in sorted(chosen, key=lambda number: (-scores[number], points[number]))]

    def best(self, limits: Limits | None = None) -> Point | None:
        """The measured point to take: the highest of `scores` within the limits, of equal ones the cheapest.

        None where no measured point keeps them.
        """
        points, scores = self.scores() if self.rows else ([], np.empty(0))
        kept = [number for number, point in enumerate(points) if self.feasible(point, limits)]
        if not kept:
            return None
        return points[min(kept, key=lambda number: (-scores[number], self.mean(points[number]).cost, points[number]))]


__all__ = ["Ask", "Difference", "History", "Limits", "Measure", "Summary"]
