"""The space a program spans: one dimension a knob, one point a candidate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from synthon.core.errors import UserError

Point = tuple[int, ...]
"""A candidate: for each dimension the place of its value."""

Kind = Literal["offline", "demos", "retrieval", "model", "strategy", "decoding", "instruction", "other"]

#: What is tried first where the budget does not pay for all of it.
ORDER: tuple[Kind, ...] = (
    "offline", "demos", "retrieval", "model", "strategy", "decoding", "other", "instruction",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Dimension:
    """One thing that can be set.

    Args:
        name: as in `program.using`, `answer.model`.
        values: what it can be set to, two or more to matter.
        kind: what it changes; `offline` means that the calls of one value answer for all others.
        ordered: neighbouring values act alike (numbers, thresholds).
        default: the place of the value the program has now.
    """

    name: str
    values: tuple[object, ...]
    kind: Kind = "other"
    ordered: bool = False
    default: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.default < len(self.values):
            msg = (
                f"Dimension {self.name!r} has {len(self.values)} values and the default {self.default!r}. "
                f"Give it a value, and as default the place of one."
            )
            raise UserError(msg)


@dataclass(slots=True)
class Space:
    """All combinations of the dimensions' values that differ in what they do.

    Args:
        dimensions: what can be set.
        idle: for values (a dimension's name and the value's place) beside which other dimensions change nothing, how
            the names of those begin; they stay at their defaults there.
    """

    dimensions: list[Dimension]
    idle: dict[tuple[str, int], str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Number of points."""
        found, sizes = 1, {each.name: len(each.values) for each in self.dimensions}
        for (name, _), start in self.idle.items():
            if name in sizes:
                places = sum(other == name for other, _ in self.idle)
                within = [size for other, size in sizes.items() if other != name and other.startswith(start)]
                found *= places + (sizes[name] - places) * math.prod(within)
                sizes = {other: size for other, size in sizes.items() if not other.startswith(start)}
        return found * math.prod(sizes.values())

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of values of each dimension."""
        return tuple(len(dimension.values) for dimension in self.dimensions)

    @property
    def default(self) -> Point:
        """The program as it is."""
        return tuple(dimension.default for dimension in self.dimensions)

    def points(self) -> Iterator[Point]:
        """Every point, the last dimension turning fastest."""
        every = itertools.product(*map(range, self.shape))
        return (point for point in every if self.plain(point) == point) if self.idle else every

    def plain(self, point: Point) -> Point:
        """The point that does the same, with all that changes nothing at its default."""
        named = zip(self.dimensions, point, strict=True)
        over = [(each.name, start) for each, place in named if (start := self.idle.get((each.name, place)))]
        if not over:
            return point
        return tuple(
            each.default if any(each.name != name and each.name.startswith(start) for name, start in over) else place
            for each, place in zip(self.dimensions, point, strict=True)
        )

    def settings(self, point: Point) -> dict[str, object]:
        """The values at a point, by name."""
        return {each.name: each.values[place] for each, place in zip(self.dimensions, point, strict=True)}

    def add(self, name: str, value: object) -> int:
        """Give a dimension one more value and get its place; the points there are stay as they are.

        Raises:
            UserError: there is no dimension of that name.
        """
        for number, dimension in enumerate(self.dimensions):
            if dimension.name == name:
                self.dimensions[number] = replace(dimension, values=(*dimension.values, value))
                return len(dimension.values)
        known = ", ".join(each.name for each in self.dimensions)
        msg = f"No dimension is named {name!r}; there are {known or 'none'}. Add values to one of these."
        raise UserError(msg)

    def drawn(self, generator: np.random.Generator) -> Point:
        """A point whose values are drawn uniformly."""
        return self.plain(tuple(int(generator.integers(size)) for size in self.shape))

    def stem(self, point: Point) -> Point:
        """A point without its offline dimensions: points of one stem make the same calls."""
        return tuple(place for place, each in zip(point, self.dimensions, strict=True) if each.kind != "offline")

    def siblings(self, point: Point) -> list[Point]:
        """The points of the same stem, itself among them."""
        choices = [
            range(len(each.values)) if each.kind == "offline" else (place,)
            for place, each in zip(point, self.dimensions, strict=True)
        ]
        return list(dict.fromkeys(map(self.plain, itertools.product(*choices))))

    def neighbours(self, point: Point) -> list[Point]:
        """The points that differ from one in one dimension, those of the kinds tried first in front."""
        by_kind = sorted(range(len(point)), key=lambda number: ORDER.index(self.dimensions[number].kind))
        others = (
            self.plain((*point[:number], place, *point[number + 1 :]))
            for number in by_kind
            for place in range(self.shape[number])
        )
        return [other for other in dict.fromkeys(others) if other != point]


__all__ = ["ORDER", "Dimension", "Kind", "Point", "Space"]
