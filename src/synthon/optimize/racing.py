"""Racing: few cases for many points, many cases for the few that may still be on the front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from synthon.optimize.history import Ask, History
from synthon.optimize.space import Point

_FEW = 8


@dataclass(frozen=True, slots=True)
class Racing:
    """See `racing`."""

    block: int = _FEW
    name: str = "racing"

    async def propose(self, history: History) -> Sequence[Ask]:
        space = history.space
        if space.default not in history.rows:
            first = [
                Ask(point, history.unseen(point, self.block))
                for point in [space.default, *space.neighbours(space.default)]
            ]
            return history.affordable(first, share=0.5)
        near = [other for point in history.front() for other in space.neighbours(point) if other not in history.rows]
        fresh = [Ask(point, history.unseen(point, self.block)) for point in dict.fromkeys(near)]
        running = [Ask(point, self._next(history, point)) for point in survivors(history)]
        return [*(ask for ask in running if ask.cases), *fresh[: max(1, len(running))]]

    def _next(self, history: History, point: Point) -> tuple[int, ...]:
        """A point whose calls are free gets all cases at once."""
        return history.unseen(point, None if history.mean(point).calls == 0 else self.block)


def survivors(history: History) -> list[Point]:
    """The measured points that none surely beats: at no more cost and latency, on the same cases."""
    shown = {point: history.mean(point) for point in history.rows}

    def beats(other: Point, point: Point) -> bool:
        mine, theirs = shown[point], shown[other]
        is_dearer = theirs.cost > mine.cost or theirs.latency_s > mine.latency_s
        return other != point and not is_dearer and history.difference(other, point, level=0.9).low > 0

    return [point for point in shown if not any(beats(other, point) for other in shown)]


def racing(*, block: int = _FEW) -> Racing:
    """Coordinate search with paired racing."""
    return Racing(block)


__all__ = ["Racing", "racing", "survivors"]
