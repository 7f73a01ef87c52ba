"""Random search: what every other method has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from synthon.optimize.history import Ask, History
from synthon.optimize.space import Point

_TRIES = 64


@dataclass(frozen=True, slots=True)
class RandomSearch:
    """See `random_search`."""

    cases: int | None = None
    name: str = "random"

    async def propose(self, history: History) -> Sequence[Ask]:
        point = unmeasured(history)
        return [] if point is None else [Ask(point, history.unseen(point, self.cases))]


def unmeasured(history: History) -> Point | None:
    """The default, then points drawn among those not measured yet; None when there are none."""
    space = history.space
    if space.default not in history.rows:
        return space.default
    if len(history.rows) >= space.size:
        return None
    generator = np.random.default_rng((history.seed, len(history.rows)))
    for _ in range(_TRIES):
        point = space.drawn(generator)
        if point not in history.rows and not history.is_out(point):
            return point
    left = [point for point in space.points() if point not in history.rows and not history.is_out(point)]
    return left[int(generator.integers(len(left)))] if left else None


def random_search(*, cases: int | None = None) -> RandomSearch:
    """Points drawn one by one, each measured on `cases` cases (None: all); the default is the first.

    It is done when no point is left (Bergstra and Bengio 2012, Random Search for Hyper-Parameter Optimization).
    """
    return RandomSearch(cases)


__all__ = ["RandomSearch", "random_search", "unmeasured"]
