"""Intervals and paired tests, without any dependency but numpy; seeded, so a second run prints the same figures.

    interval(scores)                        # 95 % bootstrap interval of a mean (BCa)
    share(88, 100)                          # 95 % interval of a share (Wilson)
    paired(ours, theirs)                    # difference of means on the same rows: interval and p-value
    stratified(list_of_differences)         # interval of a mean over sets, each set weighing the same

A mean over n rows is resampled by rows. Rows that are not independent (several questions on one paragraph) are given
with `groups`, and whole groups are resampled. Fewer than two rows (or groups) have no interval: it is (nan, nan).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Difference:
    """Mean of ours minus theirs with its interval; `p` is two-sided, from random sign flips."""

    mean: float
    interval: tuple[float, float]
    p: float
    n: int


def interval(
    values: Sequence[float],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 7,
    groups: Sequence[object] | None = None,
) -> tuple[float, float]:
    """Interval of the mean, bias-corrected and accelerated (BCa; Efron 1987, Better Bootstrap Confidence Intervals)."""
    sums, counts = _grouped(values, groups)
    if len(sums) < 2:
        return nan, nan
    if np.ptp(sums / counts) == 0:
        return (float(sums[0] / counts[0]),) * 2
    means = _resampled(sums, counts, resamples, seed)
    observed = float(sums.sum() / counts.sum())
    # ties with the observed mean count half, else shares of few rows are pushed to one side
    below = float(np.mean(means < observed) + np.mean(means == observed) / 2)
    bias = _NORMAL.inv_cdf(min(max(below, 1 / resamples), 1 - 1 / resamples))
    left_out = (sums.sum() - sums) / (counts.sum() - counts)
    spread = left_out.mean() - left_out
    acceleration = float((spread**3).sum() / (6 * (spread**2).sum() ** 1.5))
    low, high = (_bca(bias, acceleration, side) for side in ((1 - level) / 2, (1 + level) / 2))
    found = np.quantile(means, [low, high])
    return float(found[0]), float(found[1])


def percentile(
    values: Sequence[float], *, level: float = 0.95, resamples: int = 10_000, seed: int = 7
) -> tuple[float, float]:
    """Interval of the mean by the plain percentile bootstrap."""
    sums, counts = _grouped(values, None)
    if len(sums) < 2:
        return nan, nan
    low, high = np.quantile(_resampled(sums, counts, resamples, seed), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def share(successes: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of a share (Wilson 1927); holds at 0 and at 1, where a bootstrap has no width."""
    if n == 0:
        return nan, nan
    z = _NORMAL.inv_cdf((1 + level) / 2)
    observed = successes / n
    middle = (observed + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(observed * (1 - observed) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    low = 0.0 if successes == 0 else middle - half  # exactly, which the rounding of the sum is not
    return max(0.0, low), 1.0 if successes == n else min(1.0, middle + half)


def paired(
    ours: Sequence[float],
    theirs: Sequence[float],
    *,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 7,
    groups: Sequence[object] | None = None,
) -> Difference:
    """Compare two systems on the same rows: BCa interval of the mean difference, sign-flip permutation test."""
    difference = np.asarray(ours, np.float64) - np.asarray(theirs, np.float64)
    bounds = interval(difference.tolist(), level=level, resamples=resamples, seed=seed, groups=groups)
    sums, _ = _grouped(difference.tolist(), groups)
    generator = np.random.default_rng(seed)
    at_least = 0
    for start in range(0, resamples, 1_000):
        signs = generator.choice((-1.0, 1.0), size=(min(1_000, resamples - start), len(sums)))
        at_least += int((np.abs(signs @ sums) >= abs(sums.sum()) - 1e-12).sum())
    return Difference(float(difference.mean()), bounds, (at_least + 1) / (resamples + 1), len(difference))


def stratified(
    sets: Sequence[Sequence[float]], *, level: float = 0.95, resamples: int = 10_000, seed: int = 7
) -> tuple[float, float]:
    """Interval of the mean of the sets' means; rows are resampled within their set, each set weighs the same."""
    if any(len(values) < 2 for values in sets):
        return nan, nan
    means = np.zeros(resamples)
    for number, values in enumerate(sets):
        sums, counts = _grouped(values, None)
        means += _resampled(sums, counts, resamples, seed + number) / len(sets)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _grouped(values: Sequence[float], groups: Sequence[object] | None) -> tuple[Floats, Floats]:
    """Sum and count of each group, in order of first appearance; every row is its own group by default."""
    array = np.asarray(values, np.float64)
    if groups is None:
        return array, np.ones(len(array))
    if len(groups) != len(array):
        msg = f"{len(groups)} groups for {len(array)} values; give one group a value"
        raise ValueError(msg)
    number: dict[object, int] = {}
    member = np.array([number.setdefault(group, len(number)) for group in groups], np.int64)
    return np.bincount(member, array).astype(np.float64), np.bincount(member).astype(np.float64)


def _resampled(sums: Floats, counts: Floats, resamples: int, seed: int) -> Floats:
    generator = np.random.default_rng(seed)
    means = np.empty(resamples)
    for start in range(0, resamples, 500):  # bounds memory: 500 x n indices at once
        drawn = generator.integers(len(sums), size=(min(500, resamples - start), len(sums)))
        means[start : start + len(drawn)] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means


def _bca(bias: float, acceleration: float, side: float) -> float:
    shifted = bias + _NORMAL.inv_cdf(side)
    return _NORMAL.cdf(bias + shifted / (1 - acceleration * shifted))


__all__ = ["Difference", "interval", "paired", "percentile", "share", "stratified"]
