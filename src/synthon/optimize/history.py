"""What a search has measured so far, and what it may conclude from that."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from synthon.core.errors import UserError
from synthon.optimize.dominance import nondominated
from synthon.optimize.features import Features
from synthon.optimize.space import Point, Space
from synthon.optimize.surrogate import Surrogate, paired_logs, paired_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_FIELDS = 4  # score, cost, latency, calls
_CAUTION = 0.5  # standard deviations
_DIGITS = 12  # equal points are equal


@dataclass(frozen=True, slots=True)
class Measure:
    """One point on one case, as production has it: score (higher is better), cost in dollars, seconds, model calls."""

    score: float
    cost: float
    latency_s: float
    calls: int


@dataclass(frozen=True, slots=True)
class Limits:
    """What a call of the program may cost on average, and take at the 95th percentile; None is no limit.

    Raises:
        UserError: one is no number, or negative.
    """

    usd: float | None = None
    p95_s: float | None = None

    def __post_init__(self) -> None:
        for limit in (self.usd, self.p95_s):
            if limit is not None and not (hasattr(limit, "__float__") and limit >= 0):
                raise UserError(f"Limits(usd={self.usd!r:.99}, p95_s={self.p95_s!r:.99}): pass numbers from 0 on.")


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
        room: calls that other limits than one of calls still pay for; None without end.

    Attributes:
        closed: nothing may be spent any more, since what is left depends on what went on at once.
        aside: points that the budget does not pay for any more.
        unfit: points that cannot be run, and why.
    """

    space: Space
    cases: int
    seed: int = 0
    limits: Limits = field(default_factory=Limits)
    calls: int | None = None
    price: Callable[[Point], int] | None = None
    meter: Callable[[], int] | None = None
    room: Callable[[], int | None] | None = None
    rows: dict[Point, dict[int, Measure]] = field(default_factory=dict, init=False)
    evaluations: int = field(default=0, init=False)
    closed: bool = field(default=False, init=False)
    aside: set[Point] = field(default_factory=set, init=False)
    unfit: dict[Point, str] = field(default_factory=dict, init=False)
    _tables: dict[Point, Floats] = field(default_factory=dict, init=False, repr=False)
    _paid: dict[tuple[Point, int], int] = field(default_factory=dict, init=False, repr=False)
    _spent: int = field(default=0, init=False, repr=False)
    _most: dict[Point, int] = field(default_factory=dict, init=False, repr=False)

    @cached_property
    def order(self) -> tuple[int, ...]:
        """The cases in the order in which every point gets them, so that any two points have seen the same ones."""
        return tuple(np.random.default_rng(self.seed).permutation(self.cases).tolist())

    @property
    def spent(self) -> int:
        """Model calls so far; points that differ offline only share theirs."""
        return self._spent if self.meter is None else self.meter()

    @property
    def left(self) -> int | None:
        """Model calls that may still be spent, None without end."""
        if self.closed:
            return 0
        own = None if self.calls is None else max(0, self.calls - self.spent)
        other = None if self.room is None else self.room()
        return min((each for each in (own, other) if each is not None), default=None)

    def add(self, point: Point, measured: Mapping[int, Measure]) -> None:
        """Keep what was measured; a case measured before is replaced."""
        rows, stem = self.rows.setdefault(point, {}), self.space.stem(point)
        table = self._tables.setdefault(point, np.full((self.cases, _FIELDS), np.nan))
        for case, each in measured.items():
            rows[case] = each
            table[case] = each.score, each.cost, each.latency_s, each.calls
            before = self._paid.get((stem, case), 0)
            self._paid[stem, case] = most = max(each.calls, before)
            self._spent += most - before
            self._most[stem] = max(each.calls, self._most.get(stem, 0))
        self.evaluations += len(measured)

    def unseen(self, point: Point, n: int | None = None) -> tuple[int, ...]:
        """The next `n` cases (None: all) that a point has not been measured on."""
        seen = self.rows.get(point, {})
        return tuple(itertools.islice((case for case in self.order if case not in seen), n))

    def is_free(self, point: Point) -> bool:
        """Whether a point needs no call: so it was measured, or so its price says where others need some."""
        if point in self.rows:
            return self._most[self.space.stem(point)] == 0
        return self.price is not None and any(self._most.values()) and self.price(point) == 0

    def is_out(self, point: Point) -> bool:
        """Whether a point is not to be asked for any more."""
        return point in self.aside or point in self.unfit

    def leave_out(self, point: Point, why: str) -> None:
        """Forget a point that cannot be run."""
        self.unfit[point] = why
        self.rows.pop(point, None)
        self._tables.pop(point, None)

    def worst_case(self, asks: Sequence[Ask]) -> int:
        """The most calls that asks can need together.

        One case needs what `price` says, else the most that was seen of the point, or of any; points that differ
        offline only need it once.
        """
        default = max(self._most.values(), default=1)
        needed: dict[tuple[Point, int], int] = {}
        for ask in asks:
            stem = self.space.stem(ask.point)
            each = self._most.get(stem, default) if self.price is None else self.price(ask.point)
            for case in ask.cases:
                needed[stem, case] = max(each, needed.get((stem, case), 0))
        return sum(max(0, most - self._paid.get(key, 0)) for key, most in needed.items())

    def affordable(self, asks: Sequence[Ask], *, share: float = 1.0) -> list[Ask]:
        """The asks from the front whose worst cases fit together into a share of what is left."""
        if self.left is None or self.worst_case(asks) <= share * self.left:
            return list(asks)
        n = bisect.bisect_right(range(len(asks)), share * self.left, key=lambda n: self.worst_case(asks[: n + 1]))
        return list(asks[:n])

    def fitting(self, asks: Sequence[Ask]) -> list[Ask]:
        """The asks, each with as many of its cases as fit, beside those of the asks before it, into what is left."""
        if self.left is None or self.worst_case(asks) <= self.left:
            return list(asks)
        kept: list[Ask] = []
        for ask in asks:
            parts = [Ask(ask.point, ask.cases[: n + 1]) for n in range(len(ask.cases))]
            n = bisect.bisect_right(parts, self.left, key=lambda part: self.worst_case([*kept, part]))
            kept += parts[n - 1 : n] if n else []
        return kept

    def mean(self, point: Point) -> Summary:
        """What a measured point showed."""
        table = self._tables[point][list(self.rows[point])]
        score, cost, latency_s, calls = table.mean(axis=0).tolist()
        return Summary(score, cost, latency_s, float(np.quantile(table[:, 2], 0.95)), calls, len(table))

    def table(self) -> Floats:
        """All that was measured: points (in the order of `rows`) by cases by score, cost, seconds, calls; else NaN."""
        return np.stack(list(self._tables.values()))

    def judged(self) -> Floats:
        """Score, cost and seconds of the measured points, shape (points, 3), as far as they can be told from luck.

        Each is corrected for the cases a point has seen. The score is what a surrogate believes then
        (`surrogate.Surrogate`): drawn, the fewer cases the more, to what points like it have shown; and it is lowered
        by half a standard deviation of what the point's own cases leave open.
        """
        table, features = self.table(), Features(self.space)
        rows, places = features.of(list(self.rows)), np.arange(len(self.rows))
        scores, costs, seconds = (paired_means(table[:, :, 0]), *(paired_logs(table[:, :, n]) for n in (1, 2)))
        fit = Surrogate.fitted(rows, features.blocks, scores)
        score, _ = fit.drawn(rows, places, scores, 0, np.random.default_rng(self.seed))
        prior = fit.variances(rows)
        sure = score - _CAUTION * np.sqrt(prior * scores.noise / (prior + scores.noise))
        return np.round(np.stack([sure, np.exp(costs.values), np.exp(seconds.values)], axis=1), _DIGITS)

    def feasible(self, point: Point, limits: Limits | None = None) -> bool:
        """Whether what a measured point showed keeps the limits."""
        wanted, shown = limits or self.limits, self.mean(point)
        return (wanted.usd is None or shown.cost <= wanted.usd) and (
            wanted.p95_s is None or shown.p95_s <= wanted.p95_s
        )

    def front(self) -> list[Point]:
        """The measured points that keep the limits and that no other beats: score up, cost and seconds down.

        They are compared as `judged`; the highest score is first.
        """
        judged = self._unbeaten(self.limits)
        return sorted(judged, key=lambda point: (-judged[point][0], point))

    def best(self, limits: Limits | None = None) -> Point | None:
        """The point to take: the highest score, as `judged`, that keeps the limits; of equal ones the cheapest.

        It is left for one of the front that saw all cases, costs less and did no worse on those that it saw itself:
        nothing measured speaks for it. None where no measured point keeps the limits.
        """
        judged = self._unbeaten(limits or self.limits)
        rank = lambda point: (-judged[point][0], *judged[point][1:])  # noqa: E731 - it is used twice
        first = min(judged, key=rank, default=None)
        if first is None:
            return None
        seen = list(self.rows[first])
        score = self._tables[first][seen, 0].mean()
        as_good = [
            point
            for point in judged
            if len(self.rows[point]) == self.cases and self._tables[point][seen, 0].mean() >= score
        ]
        return min((point for point in as_good if judged[point][1] < judged[first][1]), key=rank, default=first)

    def _unbeaten(self, limits: Limits) -> dict[Point, list[float]]:
        """What is judged of the points within the limits that no other beats; of equal ones the first measured."""
        if not self.rows:
            return {}
        measured = zip(self.rows, self.judged().tolist(), strict=True)
        judged = {point: values for point, values in measured if self.feasible(point, limits)}
        losses = np.array([[-score, cost, seconds] for score, cost, seconds in judged.values()]).reshape(-1, 3)
        kept = zip(judged.items(), nondominated(losses), strict=True)
        return {point: values for (point, values), is_best in kept if is_best}


__all__ = ["Ask", "History", "Limits", "Measure", "Summary"]
