"""A space's points as numbers: an effect of each dimension, and of each two together."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from synthon.optimize.space import ORDER, Point, Space

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_MOST = 250  # features; a fit takes their third power
_REACH = 2.0  # places over which the values of an ordered dimension act alike


@dataclass(frozen=True)
class Features:
    """Columns that describe a point; each block of columns has mean square 1, so one variance rules it.

    Pairs of dimensions beyond 250 columns are left out, those of different steps first: what one step does hangs
    together most.
    """

    space: Space

    @cached_property
    def bases(self) -> list[Floats]:
        """For each dimension a row of numbers a value, summing to 0 over the values."""
        return [_basis(len(each.values), is_ordered=each.ordered) for each in self.space.dimensions]

    @cached_property
    def pairs(self) -> list[tuple[int, int]]:
        """The dimensions that are seen together."""
        room, kept = _MOST - sum(basis.shape[1] for basis in self.bases), []
        for pair in sorted(itertools.combinations(range(len(self.bases)), 2), key=self._closeness):
            room -= self.bases[pair[0]].shape[1] * self.bases[pair[1]].shape[1]
            if room < 0:
                break
            kept.append(pair)
        return kept

    def _closeness(self, pair: tuple[int, int]) -> tuple[bool, int]:
        first, second = (self.space.dimensions[number] for number in pair)
        is_apart = first.name.partition(".")[0] != second.name.partition(".")[0]
        return is_apart, ORDER.index(first.kind) + ORDER.index(second.kind)

    @cached_property
    def blocks(self) -> Floats:
        """1 for a column of one dimension, 2 for one of a pair; shape (features,)."""
        alone = sum(basis.shape[1] for basis in self.bases)
        together = sum(self.bases[a].shape[1] * self.bases[b].shape[1] for a, b in self.pairs)
        return np.repeat([1.0, 2.0], [alone, together])

    def of(self, points: Sequence[Point]) -> Floats:
        """The features of points, shape (points, features)."""
        places = np.array(points, np.int64).reshape(len(points), len(self.bases))
        found, column = np.empty((len(points), len(self.blocks))), 0
        for number, basis in enumerate(self.bases):
            found[:, column : column + basis.shape[1]] = basis[places[:, number]] / np.sqrt(len(self.bases))
            column += basis.shape[1]
        for a, b in self.pairs:
            both = np.kron(self.bases[a], self.bases[b]) / np.sqrt(len(self.pairs))
            found[:, column : column + both.shape[1]] = both[places[:, a] * len(self.bases[b]) + places[:, b]]
            column += both.shape[1]
        return found


def _basis(size: int, *, is_ordered: bool) -> Floats:
    """A square root of the covariance of a dimension's effects: equal for any two values, or falling with distance.

    By Cholesky's way, which has one answer on every machine; equal eigenvalues have many.
    """
    places = np.arange(size)
    covariance = np.exp(-np.abs(places[:, None] - places) / _REACH) if is_ordered else np.eye(size)
    centring = np.eye(size) - 1 / size
    root = np.linalg.cholesky((centring @ covariance @ centring)[:-1, :-1])
    basis: Floats = np.concatenate([root, -root.sum(axis=0, keepdims=True)])
    return basis / np.sqrt((basis**2).sum(axis=1).mean()) if size > 1 else basis


__all__ = ["Features"]
