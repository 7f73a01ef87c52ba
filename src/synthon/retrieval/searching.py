"""Rank the chunks of one committed state of the store."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from synthon.retrieval.dense import EXACT_CHUNKS, Neighbours, neighbours
from synthon.retrieval.filters import condition
from synthon.retrieval.fusion import convex, reciprocal_rank
from synthon.retrieval.lexical import Postings, postings
from synthon.retrieval.words import words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthon.core.protocols import Filter, FloatArray
    from synthon.retrieval.store import Rows, Store

Mode = Literal["hybrid", "rrf", "dense", "bm25"]

#: Candidates taken from each side where the graph is used; more than ten times the usual k.
_CANDIDATES = 200
#: Fewer chunks than this part of the exact scan's limit fit a filter: they are scanned, graph or not.
_SELECTIVE = 10


@dataclass(frozen=True, slots=True)
class Question:
    """One search, in values that JSON can hold."""

    query: str
    k: int
    where: Filter | None
    mode: Mode
    weight: float


class Snapshot:
    """The chunks as they were at one version, in memory: word counts always, vectors when first needed.

    About 0.6 kB a chunk for the words, and 4 bytes a dimension for the vectors up to `exact_chunks`.
    """

    def __init__(self, store: Store, dimension: int, exact_chunks: int = EXACT_CHUNKS) -> None:
        self.rows: Rows = store.rows()
        self._store, self._dimension, self._exact_chunks = store, dimension, exact_chunks

    @cached_property
    def _postings(self) -> Postings:
        return postings(self.rows.terms, self.rows.counts, self.rows.distinct)

    @cached_property
    def _matrix(self) -> FloatArray:
        return self._store.vectors(self.rows.keys, self._dimension)

    @cached_property
    def _neighbours(self) -> Neighbours:
        return neighbours(self._store, self.rows.keys, self._dimension)

    @cached_property
    def _by_key(self) -> NDArray[np.int64]:
        return np.argsort(self.rows.keys)

    @property
    def is_large(self) -> bool:
        return len(self.rows.keys) > self._exact_chunks

    def warm(self) -> None:
        """Bring the graph's file up to date."""
        if self._dimension:
            _ = self._neighbours

    def best(self, question: Question, vector: FloatArray | None) -> list[tuple[int, float]]:
        """Key and score of the best chunks, best first; equal scores by document id, then place.

        `vector` is the query's, None where the dense side is not asked.
        """
        allowed = self._allowed(question.where)
        if not (len(self.rows.keys) if allowed is None else len(allowed)):
            return []
        lexical = None if question.mode == "dense" else self._lexical(question.query)
        selective = allowed is not None and len(allowed) <= self._exact_chunks // _SELECTIVE
        positions, mean = allowed, None
        if vector is not None and self.is_large and not selective:
            positions, mean = self._candidates(question.k, vector, lexical, allowed)
        if positions is None:
            positions = np.arange(len(self.rows.keys))
        scores = self._scores(question, vector, lexical, positions, mean)
        return [(int(self.rows.keys[positions[row]]), float(scores[row])) for row in _top(scores, question.k)]

    def _allowed(self, where: Filter | None) -> NDArray[np.int64] | None:
        if not where:
            return None
        clause, values = condition(where)
        with self._store.state() as reader:
            keys = [row[0] for row in reader.execute(f"SELECT key FROM documents WHERE {clause}", values)]  # noqa: S608
        return np.flatnonzero(np.isin(self.rows.documents, np.array(keys, np.int64)))

    def _lexical(self, query: str) -> FloatArray:
        return self._postings.scores(self._store.term_keys(words(query)))

    def _scores(
        self,
        question: Question,
        vector: FloatArray | None,
        lexical: FloatArray | None,
        positions: NDArray[np.int64],
        mean: float | None,
    ) -> FloatArray:
        """Scores of these chunks, rounded: below 1e-6 the order would hang on how a machine adds up."""
        left = np.zeros(len(positions), np.float32) if lexical is None else lexical[positions]
        if vector is None:
            return np.round(left, 6)
        right = self._cosines(vector, positions)
        if question.mode == "dense":
            return np.round(right, 6)
        if question.mode == "rrf":
            return np.round(reciprocal_rank(np.round(left, 6), np.round(right, 6)), 6)
        return np.round(convex(left, right, weight=question.weight, mean=mean), 6)

    def _cosines(self, vector: FloatArray, positions: NDArray[np.int64]) -> FloatArray:
        if self.is_large:
            return self._neighbours.vectors(self.rows.keys[positions]) @ vector
        if len(positions) == len(self.rows.keys):
            return self._matrix @ vector
        return self._matrix[positions] @ vector

    def _candidates(
        self, k: int, vector: FloatArray, lexical: FloatArray | None, allowed: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.int64] | None, float | None]:
        """The best of either side; all that fit the filter where the graph finds too few of those."""
        wanted = max(_CANDIDATES, 4 * k)
        size = len(self.rows.keys)
        share = 1.0 if allowed is None else len(allowed) / size
        near = self._neighbours.nearest(vector, min(size, int(1.5 * wanted / share) if share < 1 else wanted))
        found = self._by_key[np.searchsorted(self.rows.keys, near, sorter=self._by_key)]
        if allowed is not None:
            found = np.intersect1d(found, allowed)
        if len(found) < min(wanted, size if allowed is None else len(allowed)):  # a graph may have lost sight of some
            return allowed, None
        if lexical is not None:
            among = lexical if allowed is None else lexical[allowed]
            top = _top(among, wanted)
            found = np.concatenate((found, top if allowed is None else allowed[top]))
        return np.unique(found), float(self._neighbours.mean @ vector)


def _top(scores: FloatArray, k: int) -> NDArray[np.int64]:
    """Positions of the k best, best first, ties by position."""
    if k < len(scores):
        limit = np.partition(scores, len(scores) - k)[len(scores) - k]
        places = np.flatnonzero(scores >= limit)
    else:
        places = np.arange(len(scores))
    return places[np.argsort(-scores[places], kind="stable")][:k]


__all__ = ["Mode", "Question", "Snapshot"]
