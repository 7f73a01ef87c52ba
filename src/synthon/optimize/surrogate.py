"""What all points are worth, judged from the few that were measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]

_ROUNDS = 4  # of taking turns between points and cases; the third changes nothing visible
#: Variances that are tried, as shares of that of the measured: of single dimensions, of pairs, of a point by itself.
_ALONE, _TOGETHER, _OWN = (0.25, 1.0, 4.0), (0.02, 0.1, 0.4), (0.01, 0.05, 0.2, 0.5)
_SPREAD, _PRIOR = 0.02, 4.0  # variance over points before any was measured, and the points it weighs as much as
_LEVEL = 0.3  # the same for the level of all
_POOLED = 4.0  # cases that the spread of all points weighs as much as, in that of one


class Means(NamedTuple):
    """A value a point, and the variance of its error; shape (points,) both."""

    values: Floats
    noise: Floats


def paired_means(table: Floats) -> Means:
    """What points have in common with a case is taken off before their mean, so seeing easy cases is no merit.

    Args:
        table: points by cases, NaN where a case was not measured.
    """
    points, cases, values = _measured(table)
    counts, per_case = np.bincount(points), np.bincount(cases, minlength=table.shape[1])
    ease = np.zeros(table.shape[1])
    means = np.bincount(points, values) / counts
    for _ in range(_ROUNDS):
        ease = np.bincount(cases, values - means[points], len(ease)) / (per_case + 1.0)
        means = np.bincount(points, values - ease[cases]) / counts
    rest = values - ease[cases] - means[points]
    freedom = max(1.0, float(len(values) - len(table) - (per_case > 0).sum()))
    return Means(means, max(float(rest @ rest) / freedom, 1e-12) / counts)


def paired_logs(table: Floats) -> Means:
    """Logarithms of points' means where a case makes all of them larger by one factor: costs, seconds, calls."""
    points, cases, values = _measured(table)
    values = np.maximum(values, 1e-9 + 1e-3 * float(values.max()))
    counts, per_case = np.bincount(points), np.bincount(cases, minlength=table.shape[1])
    means = np.bincount(points, values) / counts
    most = (counts * 2 > counts.max())[points]  # they know how the cases differ, with which taking turns begins
    known = np.bincount(cases[most], minlength=len(per_case))
    factors = (np.bincount(cases[most], (values / means[points])[most], len(per_case)) + 1.0) / (known + 1.0)
    means = np.bincount(points, values) / np.bincount(points, factors[cases])
    for _ in range(_ROUNDS):
        factors = (np.bincount(cases, values / means[points], len(per_case)) + 1.0) / (per_case + 1.0)
        means = np.bincount(points, values) / np.bincount(points, factors[cases])
    rest = values / means[points] / factors[cases] - 1.0
    freedom = max(1.0, float(len(values) - len(table) - (per_case > 0).sum()))
    pooled = max(float(rest @ rest) / freedom, 1e-6)
    # of a cascade a few cases cost most, of one model none: each has a spread of its own
    variance = (_POOLED * pooled + np.bincount(points, rest**2)) / (_POOLED + counts)
    return Means(np.log(means), variance / counts)


def _measured(table: Floats) -> tuple[Places, Places, Floats]:
    """Point, case and value of all that was measured, which is little of the table."""
    places = np.flatnonzero(~np.isnan(table))
    points, cases = np.divmod(places, table.shape[1])
    return points, cases, table.ravel()[places]


@dataclass(frozen=True)
class Surrogate:
    """Bayesian linear regression on features, with an effect of its own for each point.

    The variances of single dimensions, of pairs and of points by themselves are chosen, one after the other, from
    three each so that what was measured is most likely (type-II maximum likelihood; MacKay 1992, Bayesian
    Interpolation).

    Args:
        scales: prior standard deviation of each feature's weight, the level's first; shape (1 + features,).
        own: prior variance of a point's own effect.
        level: mean of the measured values.
    """

    scales: Floats
    own: float
    level: float

    @classmethod
    def fitted(cls, features: Floats, blocks: Floats, measured: Means) -> Surrogate:
        """The surrogate whose variances suit the measured best.

        Args:
            features: of the measured points, shape (measured, features).
            blocks: which columns have one variance: 1 or 2, shape (features,).
            measured: their values.
        """
        values, noise = measured
        level = float(np.average(values, weights=1 / (noise + float(values.var()) + 1e-12)))
        shown = max(float(values.var() - noise.mean()), 0.1 * float(values.var()), 1e-10)
        spread = (_PRIOR * _SPREAD + len(values) * shown) / (_PRIOR + len(values))

        def tried(alone: float, together: float, own: float) -> Surrogate:
            variances = np.concatenate([[_LEVEL * alone], np.where(blocks == 1, alone, together)]) * spread
            return cls(np.sqrt(variances), own * spread, level)

        alone, together, own = (shares[1] for shares in (_ALONE, _TOGETHER, _OWN))
        if np.ptp(values) > 0:
            alone = max(_ALONE, key=lambda share: tried(share, together, own).likelihood(features, measured))
            together = max(_TOGETHER, key=lambda share: tried(alone, share, own).likelihood(features, measured))
            own = max(_OWN, key=lambda share: tried(alone, together, share).likelihood(features, measured))
        return tried(alone, together, own)

    def variances(self, features: Floats) -> Floats:
        """Prior variance of points, shape (points,)."""
        found: Floats = self.own + self.scales[0] ** 2 + features**2 @ self.scales[1:] ** 2
        return found

    def likelihood(self, features: Floats, measured: Means) -> float:
        """Logarithm of how likely the measured is, but for a constant."""
        factor = self._factor(features, measured)
        of_errors = 0.5 * float(np.log(self.own + measured.noise).sum())
        return -0.5 * float(factor[-1, -1] ** 2) - float(np.log(np.diag(factor)[:-1]).sum()) - of_errors

    def _factor(self, features: Floats, measured: Means) -> Floats:
        """Cholesky factor of the weights' precision, bordered by the measured.

        Its last row holds the factor's inverse times what speaks for the weights, its corner what they leave open.
        """
        precision = 1 / (self.own + measured.noise)
        columns = np.concatenate(
            [np.ones((len(features), 1)), features, (measured.values - self.level)[:, None]], axis=1
        ) * np.append(self.scales, 1.0)
        matrix = (columns.T * precision) @ columns
        matrix[np.diag_indices(len(matrix))] += np.append(np.ones(len(self.scales)), 1e-9)
        factor: Floats = np.linalg.cholesky(matrix)
        return factor

    def drawn(
        self, features: Floats, places: Places, measured: Means, draws: int, generator: np.random.Generator
    ) -> tuple[Floats, Floats]:
        """The mean of every point and joint draws of what they may be worth, shapes (points,) and (points, draws).

        Args:
            features: of all points.
            places: which of them were measured.
            measured: their values, in that order.
            draws: how many.
            generator: draws them.
        """
        values, noise = measured
        factor = self._factor(features[places], measured)
        right = np.concatenate([factor[-1:, :-1].T, generator.standard_normal((len(self.scales), draws))], axis=1)
        weights = np.linalg.solve(factor[:-1, :-1].T, right)
        weights[:, 1:] += weights[:, :1]
        weights *= self.scales[:, None]
        worth: Floats = self.level + weights[0] + features @ weights[1:]
        kept = self.own / (self.own + noise)
        worth[places] += kept[:, None] * (values[:, None] - worth[places])
        spread = np.full(len(features), self.own)
        spread[places] = kept * noise
        worth[:, 1:] += generator.standard_normal((len(features), draws)) * np.sqrt(spread)[:, None]
        return worth[:, 0], worth[:, 1:]


__all__ = ["Means", "Surrogate", "paired_logs", "paired_means"]
