"""Which of many points no other one beats, and what they are worth together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]


def nondominated(losses: Floats) -> Flags:
    """Which rows no other row beats: none is as low everywhere and lower somewhere; of equal rows the first.

    Args:
        losses: lower is better, shape (points, objectives).
    """
    kept = np.zeros(len(losses), np.bool_)
    best = np.empty((0, losses.shape[1]))
    for row in np.lexsort(losses.T[::-1]):  # a row is beaten only by rows before it in this order
        if not (best <= losses[row]).all(axis=1).any():
            kept[row] = True
            best = np.vstack([best, losses[row]])
    return kept


__all__ = ["nondominated"]
