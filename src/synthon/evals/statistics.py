"""What the numbers of few cases allow to say: intervals, paired tests, fronts. Seeded, nothing assumed normal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np

from synthon.core.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.float64]

RESAMPLES = 10_000
_EXACT = 16  # differing pairs of which all 65,536 sign patterns are tried
_NORMAL = NormalDist()
_FEW = 8  # different values
_SAME = 1e-9  # differences that rounding makes, as a share of the largest number
_BLOCK = 4_000_000  # numbers of a block of resamples: 32 MB


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval, from `n` cases; a bound that is not known is infinite, and nan where `n` is 0.

    It is formatted like a number: `f"{estimate:.6f}"`.
    """

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return format(self, ".3f")

    def __format__(self, spec: str) -> str:
        value, low, high = (format(each, spec or ".3f") for each in (self.value, self.low, self.high))
        return f"{value} [{low}, {high}]"


def wilson(successes: float, n: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """Bounds of a share of `n` cases (Wilson 1927); never empty, not even for none or all.

    Raises:
        UserError: more successes than cases, or fewer than none.
    """
    if n == 0:
        return math.nan, math.nan
    if not 0 <= successes <= n:
        raise UserError(f"wilson got {successes!r} successes of n={n}. Pass 0 to n of them.")
    z, share = _NORMAL.inv_cdf(0.5 + confidence / 2), successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else middle - half  # exactly, which the rounding of the sum is not
    return low, 1.0 if successes == n else middle + half


def bootstrap(
    values: ArrayLike, *, confidence: float = 0.95, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Bounds of a mean from resampled means, bias-corrected and accelerated (Efron 1987), widened for small n.

    The widening is Student's (Hesterberg 2015, arXiv:1411.5279). Of 100 bounds on skewed scores 92 to 98 cover the mean
    from n = 10 on, where plain percentiles cover 85 to 95; of values that are nearly all the same down to 80, see
    `paired`. Values that are all the same give bounds of that value, fewer than two infinite ones.
    """
    numbers = np.asarray(values, float)
    n = numbers.size
    if n < 2:  # noqa: PLR2004 - one value says nothing of how values differ
        return -math.inf, math.inf
    means, middle = _means(numbers, resamples, seed), numbers.mean()
    away = numbers - middle
    away /= np.abs(away).max() or 1.0  # the cubes of tiny numbers are 0
    skew = float((away**3).sum()) / (6 * max(1.0, float((away**2).sum())) ** 1.5)
    below = float(((means < middle).mean() + (means <= middle).mean()) / 2)
    bias = _NORMAL.inv_cdf(min(max(below, 1 / resamples), 1 - 1 / resamples))
    wide = math.sqrt(n / (n - 1)) * _student(0.5 + confidence / 2, n - 1)
    shares = [_NORMAL.cdf(bias + (bias + z) / max(1e-9, 1 - skew * (bias + z))) for z in (-wide, wide)]
    low, high = np.quantile(means, shares)
    return float(low), float(high)


def _student(share: float, freedom: int) -> float:
    """A quantile of Student's t, to 1 % from 3 degrees of freedom on (Fisher and Cornish 1960)."""
    z = _NORMAL.inv_cdf(share)
    first, second = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def _means(numbers: Floats, resamples: int, seed: int) -> Floats:
    """Means of resamples; of few different values their counts are drawn, which is the same and fifty times faster."""
    generator, n = np.random.default_rng(seed), numbers.size
    values, counts = np.unique(numbers, return_counts=True)
    if values.size <= _FEW:
        drawn: Floats = generator.multinomial(n, counts / n, resamples) @ values / n
        return drawn
    rows = max(1, _BLOCK // n)
    blocks = [
        numbers[generator.integers(0, n, (min(rows, resamples - start), n))].mean(axis=1)
        for start in range(0, resamples, rows)
    ]
    return np.concatenate(blocks)


def mean(values: ArrayLike, *, scores: bool = True, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """The mean and its interval: Wilson's for scores that are all 0 or 1, else from the bootstrap.

    One value says only what it can be: a score in 0..1, dollars, calls and tokens from 0 on. Scores in 0..1 that are
    all the same say how many others there can be at most (Wilson's bound), and these may be anything.

    Args:
        values: one a case.
        scores: False for dollars, calls and tokens, of which a 0 or 1 is no share.
        confidence: of the interval.
        seed: of the resamples.
    """
    numbers = np.asarray(values, float)
    n = numbers.size
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    if scores and np.isin(numbers, (0.0, 1.0)).all():
        low, high = wilson(float(numbers.sum()), n, confidence=confidence)
    else:
        is_known = bool(numbers.min() >= 0 and (numbers.max() <= 1 or not scores))
        limits = (0.0, 1.0 if scores else math.inf) if is_known else (-math.inf, math.inf)
        low, high = _bounds(numbers, limits, confidence, seed)
    return Estimate(float(numbers.mean()), low, high, n)


def _bounds(numbers: Floats, limits: tuple[float, float], confidence: float, seed: int) -> tuple[float, float]:
    """Bounds of the mean of values that lie between limits; the bootstrap's where values differ."""
    (least, most), n = limits, numbers.size
    if n > 1 and math.isfinite(most) and float(np.ptp(numbers)) < _SAME:
        value, others = float(numbers.mean()), wilson(0, n, confidence=confidence)[1]
        return value - others * (value - least), value + others * (most - value)
    low, high = bootstrap(numbers, confidence=confidence, seed=seed)
    return max(low, least), min(high, most)


def dollars(cost: Estimate) -> str:
    """Dollars with their interval, in six places or as many more as it takes to tell small ones apart."""
    small = 0 < cost.value < 1e-4  # noqa: PLR2004 - of which six places show fewer than three digits
    return f"{cost:.{2 - math.floor(math.log10(cost.value)) if small else 6}f}"


def quantile(values: ArrayLike, share: float, *, confidence: float = 0.95, least: float = -math.inf) -> Estimate:
    """A quantile with bounds that are values of the sample, whatever it is drawn from (Thompson 1936).

    A bound that so few values do not show is infinite: of the 95 % quantile, the upper one below 72 values. The lower
    one is `least` then, which no value can be below.

    Raises:
        UserError: the share is not between 0 and 1.
    """
    if not 0 < share < 1:
        raise UserError(f"A quantile was asked for at {share!r}. Pass a share between 0 and 1, such as 0.95.")
    numbers = np.sort(np.asarray(values, float))
    n = numbers.size
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    places = np.arange(n + 1)
    logs = np.array([math.lgamma(k + 1) for k in places])
    chances = np.exp(logs[n] - logs - logs[::-1] + places * math.log(share) + places[::-1] * math.log1p(-share))
    below = np.cumsum(chances)  # that at most k values are below the quantile
    tail = (1 - confidence) / 2
    low, high = int(np.searchsorted(below, tail, "right")), int(np.searchsorted(below, 1 - tail))
    value = float(np.quantile(numbers, share))
    return Estimate(value, float(numbers[low - 1]) if low else least, float(numbers[high]) if high < n else math.inf, n)


def paired(one: ArrayLike, other: ArrayLike, *, confidence: float = 0.95, seed: int = 0) -> Estimate:
    """The mean of `one - other` over the same cases, with its interval from resampled cases.

    Of one case it is -1..1 where the scores are in 0..1, else infinite. Of differences that are all the same it is as
    wide as `mean` says of scores; else it reaches as far as Student's interval, for where few cases differ the
    bootstrap is too sure.

    Raises:
        UserError: the two are not of the same cases.
    """
    differences = gains(one, other)
    both = np.concatenate([np.asarray(one, float), np.asarray(other, float)])
    reach = 1.0 if ((both >= 0) & (both <= 1)).all() else math.inf
    n = differences.size
    if not n:
        return Estimate(math.nan, math.nan, math.nan, 0)
    value, (low, high) = float(differences.mean()), _bounds(differences, (-reach, reach), confidence, seed)
    half = _student(0.5 + confidence / 2, max(1, n - 1)) * float(differences.std()) / math.sqrt(max(1, n - 1))
    return Estimate(value, max(-reach, min(low, value - half)), min(reach, max(high, value + half)), n)


def permutation_p(one: ArrayLike, other: ArrayLike, *, seed: int = 0, resamples: int = RESAMPLES) -> float:
    """The chance of a mean difference as far from 0, were the two names of each pair exchangeable; two-sided.

    Exact where at most 16 pairs differ, or all by the same amount (scores of 0 and 1: McNemar's exact test); else from
    `resamples` seeded sign patterns, and then never below 1 / (resamples + 1).

    Raises:
        UserError: the two are not of the same cases.
    """
    differences = gains(one, other)
    differences = differences[differences != 0]
    n = int(differences.size)
    if n == 0:
        return 1.0
    sizes = np.abs(differences)
    if np.ptp(sizes) <= _SAME * sizes.max():
        fewer = int(min((differences > 0).sum(), (differences < 0).sum()))
        return min(1.0, 2 * _subsets(n, fewer) / (1 << n))
    if n <= _EXACT:
        signs = 1.0 - 2.0 * ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1)
        return int(_as_far(signs @ differences, differences).sum()) / (1 << n)
    generator, hits = np.random.default_rng(seed), 0
    rows = max(1, _BLOCK // n)
    for start in range(0, resamples, rows):
        signs = generator.integers(0, 2, (min(rows, resamples - start), n)) * 2.0 - 1.0
        hits += int(_as_far(signs @ differences, differences).sum())
    return (hits + 1) / (resamples + 1)


def _subsets(n: int, most: int) -> int:
    """How many subsets of n things have at most so many."""
    total = term = 1
    for k in range(most):
        term = term * (n - k) // (k + 1)
        total += term
    return total


def _as_far(sums: Floats, differences: Floats) -> NDArray[np.bool_]:
    """Which sums are at least as far from 0 as that of the differences; sums that only rounding tells apart are."""
    far: NDArray[np.bool_] = np.abs(sums) >= abs(differences.sum()) - 1e-9 * np.abs(differences).sum()
    return far


def gains(one: ArrayLike, other: ArrayLike) -> Floats:
    """`one - other`, case by case; what rounding makes of equal numbers is 0.

    Raises:
        UserError: the two are not of the same cases, or a difference is not known.
    """
    first, second = np.asarray(one, float), np.asarray(other, float)
    if first.shape != second.shape or first.ndim != 1:
        msg = (
            f"Scores of {first.shape} and of {second.shape} cannot be paired. Score the same cases, in the same order."
        )
        raise UserError(msg)
    differences: Floats = first - second
    if np.isnan(differences).any():
        place = int(np.flatnonzero(np.isnan(differences))[0])
        raise UserError(f"Scores {first[place]} and {second[place]} of case {place} have no difference. Pass numbers.")
    most = max(np.abs(first).max(initial=0.0), np.abs(second).max(initial=0.0))
    differences[np.abs(differences) < _SAME * most] = 0.0
    return differences


def pareto(points: ArrayLike) -> list[int]:
    """The places of points that no other is as good as in everything and better in something; lower is better.

    Args:
        points: shape (n, objectives). Negate what is to be large. Equal points stay together.
    """
    table = np.asarray(points, float)
    if table.size == 0:
        return []
    no_worse = (table[:, None, :] <= table[None, :, :]).all(axis=2)
    better = (table[:, None, :] < table[None, :, :]).any(axis=2)
    return [int(place) for place in np.flatnonzero(~(no_worse & better).any(axis=0))]


def hypervolume(points: ArrayLike, reference: Sequence[float]) -> float:
    """How much of the space below `reference` the points dominate; lower is better in each of 1 to 3 objectives.

    Args:
        points: shape (n, objectives); those that are not below the reference in everything count nothing.
        reference: the worst value of each objective.

    Raises:
        UserError: more than three objectives.
    """
    corner = np.asarray(reference, float)
    if corner.size not in {1, 2, 3}:
        raise UserError(f"The hypervolume of {corner.size} objectives is not computed here. Pass 1, 2 or 3.")
    table = np.asarray(points, float).reshape(-1, corner.size)
    table = table[(table < corner).all(axis=1)]
    return _volume(table[np.argsort(table[:, -1], kind="stable")], corner)


def _volume(table: Floats, corner: Floats) -> float:
    """Slices between neighbours of the last objective, by which the rows are sorted."""
    if not len(table):
        return 0.0
    if corner.size == 1:
        return float(corner[0] - table[:, 0].min())
    heights = np.diff(np.append(table[:, -1], corner[-1]))
    total = 0.0
    for place, height in enumerate(heights):
        if height > 0:
            below = table[: place + 1, :-1]
            total += float(height) * _volume(below[np.argsort(below[:, -1], kind="stable")], corner[:-1])
    return total


def holm(values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, in the given order (Holm 1979); each still says "below 0.05" for itself."""
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, floor = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        floor = max(floor, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = floor
    return corrected


def minimum_detectable_effect(
    n: int, *, discordant: float | None = None, sd: float | None = None, power: float = 0.8, confidence: float = 0.95
) -> float:
    """The smallest true mean difference that a paired test of `n` cases finds with probability `power`.

    Args:
        n: cases.
        discordant: the share of cases whose scores of 0 and 1 differ, or more where the effect is larger; or
        sd: the standard deviation of the differences.
        power: how often it is to be found, and
        confidence: of the test, which is exact: of few cases, as many have to be better as are a proof.

    Raises:
        UserError: neither or both were given, or there is no case.
    """
    if n < 1 or (discordant is None) == (sd is None):
        msg = f"minimum_detectable_effect got n={n}, discordant={discordant}, sd={sd}. Pass n >= 1 and one of the two."
        raise UserError(msg)
    enough = _NORMAL.inv_cdf(power)
    if sd is not None:
        return (_student(0.5 + confidence / 2, max(1, n - 1)) + enough) * sd / math.sqrt(n)
    share = discordant or 0.0
    far = _NORMAL.inv_cdf(0.5 + confidence / 2) * math.sqrt(n * share) + 1  # the exact test's steps cost about one case
    middle = enough * math.sqrt(max(0.0, share * (n + enough**2) - far * far / n))  # the variance is share - effect²
    return min(1.0, max((far + middle) / (n + enough**2), _least_share(n, power, confidence)))


def _least_share(n: int, power: float, confidence: float) -> float:
    """The share of cases that have to be better, if none is worse, for as many as are a proof to be among n cases."""
    proof = math.floor(2 - math.log2(1 - confidence))  # 0.5 to the power of one less is below the level
    return 1.0 if proof > n else wilson(proof - 0.5, n, confidence=2 * power - 1)[1]


def detectable_gain(differences: ArrayLike, *, level: float = 0.05) -> float:
    """The smallest true mean difference that such cases show in 80 of 100 times; infinite where they can show none.

    How often scores of 0 and 1 differ is taken at the upper bound of its 95 % interval: that none did on few cases does
    not say that they never do. So is how often other differences are another one, where all are the same.

    Args:
        differences: of scores, one a case.
        level: of the two-sided test.
    """
    values = np.asarray(differences, float)
    n = values.size
    if 2.0 ** (1 - n) >= level:  # not even all of them better would be a proof
        return math.inf
    if np.isin(values, (-1.0, 0.0, 1.0)).all():
        share = wilson(float((values != 0).sum()), n)[1]
        return minimum_detectable_effect(n, discordant=share, confidence=1 - level)
    if float(np.ptp(values)) < _SAME:
        return minimum_detectable_effect(n, discordant=wilson(0, n)[1], confidence=1 - level)
    size = float(np.abs(values[values != 0]).mean())  # of which a gain is made, where few cases differ
    least = _least_share(n, 0.8, 1 - level) * size
    return max(least, minimum_detectable_effect(n, sd=float(values.std(ddof=1)), confidence=1 - level))
