"""Whether a gain is real: a program against another on cases that nobody chose by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from synthon.core.errors import UserError
from synthon.evals.statistics import RESAMPLES, Estimate, detectable_gain, mean, paired, permutation_p

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Verdict = Literal["better", "no real gain", "worse"]
Costs: TypeAlias = tuple[Estimate | None, Estimate | None]
"""A measure of the program and of the baseline; None where it is not known."""
LEVEL = 0.05


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a paired test on held-out cases says of a program and a baseline.

    Attributes:
        verdict: `better` or `worse` only where the corrected p-value is below 0.05 and the interval keeps off 0.
        gain: mean difference of the scores on the same cases, with its paired bootstrap interval.
        p: two-sided permutation p-value, corrected for the looks.
        looks: certificates asked of these cases so far, this one with them: who tries ten programs on one test set
            has picked a winner there too. The k-th look's p-value is multiplied by k (k + 1), of which the reciprocals
            sum to 1: however often the same rows are asked, in 95 of 100 test sets no verdict is false.
        detectable: the smallest true gain that as many cases find in 80 of 100 times; infinite where so few cases can
            show nothing.
        quality: of the program, and `baseline` of the other, on the test cases.
        promised: what validation had shown of the program, and `expected` the same without the luck of having been
            picked, where it was picked by a search.
        warnings: rows that train, validation and test share, and the like.
        costs: other measures by name, of the program and of the baseline.
    """

    verdict: Verdict
    gain: Estimate
    p: float
    looks: int
    detectable: float
    quality: Estimate
    baseline: Estimate
    promised: float | None = None
    expected: float | None = None
    warnings: Sequence[str] = ()
    costs: Mapping[str, Costs] = field(default_factory=dict)

    def __str__(self) -> str:
        looks = f" over {self.looks} looks" if self.looks > 1 else ""
        shown = [
            f"{self.verdict}: {self.gain:+.3f} on {self.gain.n} held-out cases, p = {self.p:.2g}{looks}",
            f"  program {self.quality}, baseline {self.baseline}",
            f"  a true gain below {self.detectable:.3f} is likely to be missed with so many cases"
            if math.isfinite(self.detectable)
            else "  so few cases can show nothing, whatever they score",
        ]
        if self.promised is not None and self.expected is not None:
            shown.append(f"  validation showed {self.promised:.3f}, without the luck of the pick {self.expected:.3f}")
        shown += [
            f"  {name}: {_amount(ours)}, baseline {_amount(theirs)}" for name, (ours, theirs) in self.costs.items()
        ]
        return "\n".join(shown + [f"  warning: {warning}" for warning in self.warnings])


def _amount(value: Estimate | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"


def certificate(
    ours: ArrayLike,
    theirs: ArrayLike,
    *,
    looks: int = 1,
    seed: int = 0,
    promised: float | None = None,
    expected: float | None = None,
    warnings: Sequence[str] = (),
    costs: Mapping[str, Costs] | None = None,
) -> Certificate:
    """Judge scores of a program against a baseline's on the same cases, in the same order.

    Paired bootstrap (Efron 1979) and sign-flip permutation test, both corrected for `looks` (see `Certificate`).

    Args:
        ours: a score a case.
        theirs: the baseline's.
        looks: how often these cases were asked so far, this time with them.
        seed: of the resamples.
        promised: the mean that the program's choice was made by, if any; see `Certificate`.
        expected: the same without the luck of the pick.
        warnings: to be kept with it.
        costs: other measures, of the program and of the baseline, by name.

    Raises:
        UserError: there are no scores, or they are not of the same cases.
    """
    one, other = np.asarray(ours, float), np.asarray(theirs, float)
    if not one.size:
        raise UserError("A certificate was asked of no scores. Pass one a case, of both programs.")
    weight = looks * (looks + 1)
    gain = paired(one, other, confidence=1 - LEVEL / weight, seed=seed)
    resamples = max(RESAMPLES, math.ceil(20 * weight / LEVEL))  # fewer could not show a p-value this small
    p = min(1.0, weight * permutation_p(one, other, seed=seed, resamples=resamples))
    detectable = detectable_gain(one - other, level=LEVEL / weight)
    verdict: Verdict = "no real gain"
    if p < LEVEL and gain.low > 0:
        verdict = "better"
    elif p < LEVEL and gain.high < 0:
        verdict = "worse"
    about = (promised, expected, tuple(warnings), dict(costs or {}))
    return Certificate(verdict, gain, p, looks, detectable, mean(one), mean(other), *about)


def without_luck(scores: ArrayLike, *, seed: int = 0, resamples: int = 1000) -> float:
    """What the best of several programs scores on new cases, where the same cases had picked it as the best.

    Cases are resampled, the winner is picked on those drawn and judged on those left out (bootstrap bias corrected
    cross-validation, Tsamardinos 2018, doi:10.1007/s10994-018-5714-4). A little too low rather than too high.

    Args:
        scores: shape (programs, cases), of the same cases; nan where a program was not measured on one.
    """
    table: NDArray[np.float64] = np.asarray(scores, float)
    programs, n = table.shape
    if programs < 2 or n < 2:  # noqa: PLR2004 - nothing was picked, or nothing is left out
        return float(np.nanmean(table))
    known = ~np.isnan(table)
    filled = np.where(known, table, 0.0)
    generator, shown = np.random.default_rng(seed), []
    for _ in range(resamples):
        drawn = np.bincount(generator.integers(0, n, n), minlength=n)
        times = known @ drawn
        winner = int(np.where(times > 0, filled @ drawn / np.maximum(times, 1), -np.inf).argmax())
        out = known[winner] & (drawn == 0)
        if out.any():
            shown.append(float(table[winner, out].mean()))
    return float(np.mean(shown)) if shown else float(np.nanmean(table))


__all__ = ["LEVEL", "Certificate", "Costs", "certificate", "without_luck"]
