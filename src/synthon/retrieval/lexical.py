"""BM25 over postings in memory, built from the word counts that the store keeps with each chunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from synthon.core.protocols import FloatArray

#: The values of Anserini, good without tuning (Yang, Fang, Lin 2017); bm25s and Lucene take 1.2-1.5 and 0.75.
K1 = 0.9
B = 0.4


@dataclass(frozen=True, slots=True)
class Postings:
    """For term t, chunks `rows[starts[t]:starts[t + 1]]` and what a query with t adds to their scores."""

    size: int
    starts: NDArray[np.int64]
    rows: NDArray[np.int32]
    weights: FloatArray

    def scores(self, terms: Sequence[int]) -> FloatArray:
        """BM25 of every chunk for a query's terms, shape (size,); a repeated term counts each time."""
        found = np.zeros(self.size, np.float32)
        for term in terms:  # in the query's order, not that of numbers: equal content gives equal scores
            if 0 <= term < len(self.starts) - 1:
                span = slice(self.starts[term], self.starts[term + 1])
                found[self.rows[span]] += self.weights[span]
        return found


def postings(terms: NDArray[np.int32], counts: NDArray[np.int32], distinct: NDArray[np.int64]) -> Postings:
    """Invert the chunks' word counts.

    Scores are those of Robertson's BM25 with the never negative idf ln(1 + (N - df + 0.5) / (df + 0.5)), as in Lucene
    and in bm25s's default.

    Args:
        terms: term numbers of all chunks, one chunk after the other, each term once a chunk.
        counts: how often each occurs in its chunk.
        distinct: number of different terms of each chunk, shape (chunks,).
    """
    size = len(distinct)
    if not len(terms):
        return Postings(size, np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))
    owner = np.repeat(np.arange(size, dtype=np.int32), distinct)
    lengths = np.bincount(owner, counts, minlength=size)
    norm = (K1 * (1 - B + B * lengths / lengths.mean())).astype(np.float32)
    frequency = np.bincount(terms)
    idf = np.log1p((size - frequency + 0.5) / (frequency + 0.5)).astype(np.float32)
    weights = idf[terms] * (counts / (counts + norm[owner])).astype(np.float32)
    order = np.argsort(terms, kind="stable")
    starts = np.concatenate(([0], np.cumsum(frequency))).astype(np.int64)
    return Postings(size, starts, owner[order], weights[order])


__all__ = ["K1", "B", "Postings", "postings"]
