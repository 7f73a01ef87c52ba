"""An embedder whose vectors follow from the words alone, so that tests need no weights."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthon.core.protocols import FloatArray


class WordEmbedder:
    """The mean of random word vectors; counts what it is given."""

    def __init__(self, identity: str = "words-32", dimension: int = 32) -> None:
        self.identity = identity
        self.texts: list[str] = []
        self._dimension = dimension
        self._known: dict[str, FloatArray] = {}

    async def embed(self, texts: Sequence[str]) -> FloatArray:
        self.texts += texts
        words = (["", *re.findall(r"\w+", text.lower())] for text in texts)
        rows = [np.sum([self._word(word) for word in each], axis=0) for each in words]
        matrix = np.array(rows, np.float32)
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        return matrix

    def _word(self, word: str) -> FloatArray:
        if word not in self._known:
            seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
            drawn = np.random.default_rng(seed).normal(size=self._dimension)
            self._known[word] = np.asarray(drawn, np.float32)
        return self._known[word]
