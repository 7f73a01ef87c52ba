"""The space a program spans: one dimension a knob, one point a candidate."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
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
    """All combinations of the dimensions' values."""

    dimensions: list[Dimension]

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(self.shape)

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
        return itertools.product(*map(range, self.shape))

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
        """A point drawn uniformly."""
        return tuple(int(generator.integers(size)) for size in self.shape)

    def stem(self, point: Point) -> Point:
        """A point without its offline dimensions: points of one stem make the same calls."""
        return tuple(place for place, each in zip(point, self.dimensions, strict=True) if each.kind != "offline")

    def siblings(self, point: Point) -> list[Point]:
        """The points of the same stem, itself among them."""
        choices = [
            range(len(each.values)) if each.kind == "offline" else (place,)
            for place, each in zip(point, self.dimensions, strict=True)
        ]
        return list(itertools.product(*choices))

    def neighbours(self, point: Point) -> list[Point]:
        """The points that differ from one in one dimension, those of the kinds tried first in front."""
        by_kind = sorted(range(len(point)), key=lambda number: ORDER.index(self.dimensions[number].kind))
        return [
            (*point[:number], place, *point[number + 1 :])
            for number in by_kind
            for place in range(self.shape[number])
            if place != point[number]
        ]


__all__ = ["ORDER", "Dimension", "Kind", "Point", "Space"]
