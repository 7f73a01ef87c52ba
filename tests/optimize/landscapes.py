"""A small program that is only simulated: what each point scores, costs and takes is known."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from synthon.core.errors import BudgetExceeded
from synthon.optimize import Ask, Dimension, Kind, Measure, Point, Space


def two_steps(*, offline: bool = True) -> Space:
    """Two models, three values of k, three thresholds, two strategies: 36 points; the first of each is the default."""
    threshold: Kind = "offline" if offline else "other"
    return Space([
        Dimension("answer.strategy", ("predict", "vote"), "strategy"),
        Dimension("route.model", ("small", "large"), "model"),
        Dimension("support.k", (2, 4, 8), "retrieval", ordered=True),
        Dimension("route.accept", (0.5, 0.7, 0.9), threshold, ordered=True),
    ])  # fmt: skip


@dataclass
class Landscape:
    """Answers asks: a case is right if the point's quality passes the case's difficulty; 0/1 scores.

    Args:
        calls: calls that one case of the cheapest point needs; a vote needs three times as many.
        limit: evaluations after which the budget is exceeded, in the middle of a batch.
        workers: asks that are answered at once.
    """

    space: Space
    cases: int = 60
    seed: int = 0
    calls: int = 1
    limit: int | None = None
    workers: int = 1
    asked: list[Sequence[Ask]] = field(default_factory=list)
    answered: int = 0

    def quality(self, point: Point) -> float:
        vote, model, k, accept = point
        return -0.4 + 0.5 * vote + 0.9 * model + (0.0, 0.5, 0.3)[k] + (0.0, 0.3, 0.1)[accept] * (1 + model)

    def cost(self, point: Point) -> float:
        vote, model, k, _ = point
        return (1 + 4 * model) * (1 + 2 * vote) + 0.2 * k

    def measure(self, point: Point, case: int) -> Measure:
        generator = np.random.default_rng((self.seed, case))
        difficulty, luck = generator.normal(0.2, 0.6), np.random.default_rng((self.seed, case, *point)).normal(0, 0.3)
        cost = self.cost(point)
        return Measure(
            float(self.quality(point) + luck > difficulty), cost, 0.1 + cost / 10, self.calls * (1 + 2 * point[0])
        )

    def expected(self, point: Point) -> float:
        """The score of a point over all cases there could be."""
        return 0.5 * (1 + math.erf((self.quality(point) - 0.2) / math.hypot(0.6, 0.3) / math.sqrt(2)))

    async def __call__(self, asks: Sequence[Ask]) -> Sequence[Mapping[int, Measure]]:
        self.asked.append(asks)
        free = asyncio.Semaphore(self.workers)

        async def one(ask: Ask) -> Mapping[int, Measure]:
            async with free:
                await asyncio.sleep(0)
                return {case: self._counted(ask.point, case) for case in ask.cases}

        return await asyncio.gather(*map(one, asks))

    def _counted(self, point: Point, case: int) -> Measure:
        if self.limit is not None and self.answered >= self.limit:
            msg = "the budget is spent"
            raise BudgetExceeded(msg, limit=f"calls={self.limit}")
        self.answered += 1
        return self.measure(point, case)
