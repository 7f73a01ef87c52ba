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
    order = np.lexsort(losses.T[::-1])  # a row is beaten only by rows before it in this order
    kept: list[int] = []
    open_ = losses[order]
    while len(order):
        first = open_[0]
        kept.append(int(order[0]))
        stays = (open_ < first).any(axis=1)
        order, open_ = order[stays], open_[stays]
    flags = np.zeros(len(losses), np.bool_)
    flags[kept] = True
    return flags


__all__ = ["nondominated"]
