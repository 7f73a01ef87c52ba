"""What may still be found: what each point may be worth, to whom, and what measuring it would decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthon.optimize.dominance import nondominated
from synthon.optimize.features import Features
from synthon.optimize.history import History
from synthon.optimize.space import Point
from synthon.optimize.surrogate import Means, Surrogate, paired_logs, paired_means

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_POINTS = 2048  # that are looked at in a round
_PARENTS = 32
_DRAWS = 48
_USERS = 64
_WITHOUT = 16  # of them, who have no limit but the search's: a program is taken by `best()` more than by the dial
_BLOCK = 8  # cases
_SURE = 2.5  # standard deviations


@dataclass(frozen=True)
class Outlook:
    """Points, what they are believed to score, cost, take and need in calls, and joint draws of their scores.

    Args:
        points: candidates, measured or not.
        cases: on how many cases each was measured, shape (points,).
        variance: of a score from case to case, what points have in common taken off.
        scores: mean belief, shape (points,).
        draws: of the scores, shape (points, draws).
        cost: as measured, else hoped for, like `seconds` and `calls`.
    """

    points: Sequence[Point]
    cases: NDArray[np.int64]
    variance: float
    scores: Floats
    draws: Floats
    cost: Floats
    seconds: Floats
    calls: Floats

    @classmethod
    def of(cls, history: History, generator: np.random.Generator) -> Outlook:
        """What a history lets expect."""
        points = candidates(history, generator)
        features = Features(history.space)
        rows = features.of(points)
        where = {point: n for n, point in enumerate(points)}
        places = np.array([where[point] for point in history.rows])
        table = history.table()
        cases = np.zeros(len(points), np.int64)
        cases[places] = [len(seen) for seen in history.rows.values()]
        values = [paired_means(table[:, :, 0]), *(paired_logs(table[:, :, n]) for n in (1, 2, 3))]
        fits = [Surrogate.fitted(rows[places], features.blocks, each) for each in values]
        scores, draws = fits[0].drawn(rows, places, values[0], _DRAWS, generator)
        cost, seconds, calls = (
            _hoped(fit.drawn(rows, places, each, _DRAWS, generator), each, places)
            for fit, each in zip(fits[1:], values[1:], strict=True)
        )
        variance = float(values[0].noise[0]) * len(next(iter(history.rows.values())))
        return cls(points, cases, variance, scores, draws, cost, seconds, calls)

    def value_of_measuring(self, history: History, generator: np.random.Generator) -> Floats:
        """For each point the regret that hangs on it, as a share of what users have over the worst; shape (points,).

        A user has a limit of cost and of seconds, drawn over all there are, or as who asks for the best has none, and
        takes the measured point with the highest mean that keeps them. In each draw some point would have been the best
        for him; what he loses by not taking it hangs on that point and on the one he took, by as much as eight more
        cases would tell of it. Points measured on all cases have nothing left to tell.
        """
        kept = self._contenders()
        cost, seconds, scores, draws = self.cost[kept], self.seconds[kept], self.scores[kept], self.draws[kept]
        is_measured, unsure = self.cases[kept] > 0, draws.var(axis=1) + 1e-12
        told = unsure**2 / (unsure + self.variance / _BLOCK)
        regret, level = np.zeros(len(self.points)), 0.0
        for most, longest in self.users(history, generator):
            able = np.flatnonzero((cost <= most) & (seconds <= longest))
            if not len(able):
                continue
            winners = draws[able].argmax(axis=0)
            top = draws[able][winners, np.arange(draws.shape[1])]
            mine = able[is_measured[able]]
            if not len(mine):
                np.add.at(regret, kept[able[winners]], np.maximum(top, 0.0))
                continue
            taken = mine[scores[mine].argmax()]
            lost = np.bincount(able[winners], np.maximum(top - draws[taken], 0.0), len(kept)) / (unsure + unsure[taken])
            regret[kept] += lost * told
            # not the sum: knowing it better settles no more than one rival
            regret[kept[taken]] += lost.max() * told[taken]
            level += scores[taken] - self.scores.min()
        value: Floats = np.where(self.cases < history.cases, regret, 0.0) / draws.shape[1] / max(level, 1e-9)
        return value

    def _contenders(self) -> NDArray[np.int64]:
        """The points that none surely beats among those measured."""
        losses = np.stack([-self.scores, self.cost, self.seconds], axis=1)
        measured = np.flatnonzero(self.cases)
        front = measured[nondominated(losses[measured])]
        hopes = losses.copy()
        hopes[:, 0] -= _SURE * self.draws.std(axis=1)
        beaten = np.ones((len(hopes), len(front)), np.bool_)
        for objective in range(3):
            beaten &= losses[front, objective] <= hopes[:, objective, None]
        beaten[front, np.arange(len(front))] = False
        return np.flatnonzero(~beaten.any(axis=1))

    def users(self, history: History, generator: np.random.Generator) -> Sequence[tuple[float, float]]:
        """Limits, of a quarter those of the search alone; else half even in the amount, half in its logarithm."""
        limits, longest = history.limits, np.inf
        if limits.p95_s is not None:
            shown = map(history.mean, history.rows)
            longest = limits.p95_s / float(np.median([each.p95_s / max(each.latency_s, 1e-9) for each in shown]))
        most = np.inf if limits.usd is None else limits.usd
        usd, seconds = _drawn(self.cost, most, generator), _drawn(self.seconds, longest, generator)
        seconds[: _USERS // 2] = longest
        seconds = generator.permutation(seconds)
        usd[:_WITHOUT], seconds[:_WITHOUT] = most, longest
        return list(zip(usd.tolist(), seconds.tolist(), strict=True))


def _hoped(believed: tuple[Floats, Floats], measured: Means, places: NDArray[np.int64]) -> Floats:
    """Amounts as measured; of the other points a standard deviation below what is believed, or they are never tried."""
    logs = believed[0] - believed[1].std(axis=1)
    logs[places] = measured.values - np.sqrt(measured.noise)
    amounts: Floats = np.exp(logs)
    return amounts


def _drawn(amounts: Floats, most: float, generator: np.random.Generator) -> Floats:
    low, high = float(amounts.min()), max(float(amounts.min()), min(float(amounts.max()), most))
    even = generator.uniform(low, high, _USERS)
    even[::2] = np.exp(generator.uniform(np.log(low), np.log(high), _USERS))[::2]
    return even


def candidates(history: History, generator: np.random.Generator) -> list[Point]:
    """All points of a small space; of a large one those measured, their neighbours, and some from all over."""
    space, measured = history.space, list(history.rows)
    if space.size <= _POINTS:
        return list(space.points())
    good = sorted(measured, key=lambda point: (-history.mean(point).score, point))[:_PARENTS]
    near = [other for point in [*history.front(), *good] for other in space.neighbours(point)]
    far = [space.drawn(generator) for _ in range(_POINTS // 2)]
    return list(dict.fromkeys([*measured, *near, *far]))[: max(_POINTS, len(measured))]


__all__ = ["Outlook", "candidates"]
