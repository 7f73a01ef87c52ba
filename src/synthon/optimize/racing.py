"""Racing: few cases for many points, many cases for the few that somebody may want."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from synthon.optimize.history import Ask, History
from synthon.optimize.outlook import Outlook
from synthon.optimize.space import Point, Space

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController

_BLOCK = (4, 8)  # cases that a point gets at a time: least, most
_BLOCKS = 50  # that a budget pays for, if it can: of 50 or 200 calls, blocks of 4 find more than blocks of 8
_FIRST = 0.5  # of the budget, at most, for the first round
_ASKS = 8  # of a round, at least
_GROWTH = 0.06  # of a round, as a share of all there was before
_ROUNDS = 12  # that the rest of a budget is made to last, at least


@dataclass(frozen=True, slots=True)
class Racing:
    """See `racing`."""

    tolerance: float = 1e-5
    name: str = "racing"

    async def propose(self, history: History) -> Sequence[Ask]:
        generator = np.random.default_rng((history.seed, history.evaluations))
        if not history.rows:  # what a call costs must be known before a budget can be shared out
            return self._family(history, history.space.default)
        if history.evaluations <= len(history.space.siblings(history.space.default)) * _block(history):
            return self._first(history, generator)
        # several threads only wait for each other over matrices this small, and they may round otherwise
        with _libraries().limit(limits=1, user_api="blas"):
            outlook = Outlook.of(history, generator)
            value = outlook.value_of_measuring(history, generator)
        value[[n for n, point in enumerate(outlook.points) if history.is_out(point)]] = 0.0
        if value.sum() < self.tolerance:
            front = [point for point in history.front() if not history.is_out(point)]
            return [Ask(point, cases) for point in front if (cases := history.unseen(point))]
        worthy = np.argsort(-value / outlook.calls, kind="stable")[: self._asks(history, outlook)]
        return [ask for n in worthy if value[n] > 0 for ask in self._family(history, outlook.points[n])]

    def _first(self, history: History, generator: np.random.Generator) -> list[Ask]:
        """What needs no call, then what differs from the default in one dimension, and points drawn from all over."""
        space = history.space
        near = space.neighbours(space.default)
        far = _balanced(space, 2 * len(near) + 1, generator)
        mixed = [point for pair in itertools.zip_longest(far, near) for point in pair if point is not None]
        points = [point for point in dict.fromkeys([*mixed, space.default]) if not history.is_out(point)]
        points.sort(key=history.is_free, reverse=True)
        asks = [ask for point in points for ask in self._family(history, point)]
        return history.affordable(asks, share=_FIRST) or history.affordable(asks[:1])

    def _asks(self, history: History, outlook: Outlook) -> int:
        many = max(_ASKS, int(_GROWTH * history.evaluations / _block(history)))
        if history.left is None:
            return many
        one = _block(history) * float(np.median(outlook.calls))
        return max(1, min(many, int(history.left / one / _ROUNDS)))

    def _family(self, history: History, point: Point) -> list[Ask]:
        """A point with those that its calls answer too; where calls are free all cases at once."""
        size = None if history.is_free(point) else _block(history)
        return [Ask(each, cases) for each in history.space.siblings(point) if (cases := history.unseen(each, size))]


@cache
def _libraries() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415 - only a search needs it

    return ThreadpoolController()


def _balanced(space: Space, n: int, generator: np.random.Generator) -> list[Point]:
    """Points from all over, among which every value of a dimension comes equally often."""
    columns = [generator.permutation(np.arange(n) % size) for size in space.shape]
    return [space.plain(tuple(int(column[number]) for column in columns)) for number in range(n)]


def _block(history: History) -> int:
    least, most = _BLOCK
    return most if history.calls is None else min(most, max(least, history.calls // _BLOCKS))


def racing(*, tolerance: float = 1e-5) -> Racing:
    """Few cases for many points, then more for those on which it depends what somebody would take.

    All points see the cases in one order, so any two are compared on the same ones. The first round is the default, its
    neighbours (offline dimensions first, then demos, retrieval, models, strategies; instructions last) and points from
    all over in which every value comes equally often. Then a Bayesian linear model of single dimensions and pairs says
    what each point, measured or not, may score, cost and take; joint draws from it say for users with limits of cost
    and time, a quarter of them with none, which point would be best for them, and what they lose by the one that now
    looks best. The next cases go where a call can lower that loss most (as in knowledge gradients: Frazier, Powell and
    Dayanik 2009, The Knowledge-Gradient Policy for Correlated Normal Beliefs). Points that others beat get nothing
    more, which is a race (Maron and Moore 1993, Hoeffding Races). Points that differ offline only are measured
    together, those that need no call on all cases at once.

    Args:
        tolerance: share of the score, over the worst point's, that all users together may still gain by the next
            cases; below it the front is measured on all cases and the search is done.
    """
    return Racing(tolerance)


__all__ = ["Racing", "racing"]
