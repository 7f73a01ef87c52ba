"""Embeddings kept by content, so that a second run of a benchmark computes none.

    cached = Cached(embedder, arguments.cache / "embeddings.db")       # an `Embedder` itself
    vectors = await cached.embed(texts)

The file is SQLite with one table, `vectors(identity TEXT, digest BLOB, vector BLOB)`, primary key (identity, digest):
the embedder's identity, sha256 of the text's UTF-8, the vector as little-endian float32. Rows are only ever added, in
batches of 256 texts, so a killed run continues where it was and two processes may fill one file.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import apsw
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from synthon.core.protocols import Embedder, FloatArray

_BATCH = 256


class Cached:
    """An embedder that remembers; a failure to embed leaves all finished batches in the file."""

    def __init__(self, embedder: Embedder, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._embedder = embedder
        self._database = apsw.Connection(str(path))
        self._database.set_busy_timeout(60_000)
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS vectors"
            "(identity TEXT, digest BLOB, vector BLOB, PRIMARY KEY (identity, digest)) WITHOUT ROWID"
        )

    @property
    def identity(self) -> str:
        return self._embedder.identity

    async def embed(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of the texts, from the file where it has them."""
        digests = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
        known = {digest: vector for digest in set(digests) if (vector := self._read(digest)) is not None}
        missing = {digest: text for digest, text in zip(digests, texts, strict=True) if digest not in known}
        # short ones together: batches of one length waste no padding
        order = sorted(missing, key=lambda digest: len(missing[digest]))
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            vectors = await self._embedder.embed([missing[digest] for digest in batch])
            with self._database:
                self._database.executemany(
                    "INSERT OR IGNORE INTO vectors VALUES (?, ?, ?)",
                    [
                        (self.identity, digest, np.asarray(vector, "<f4").tobytes())
                        for digest, vector in zip(batch, vectors, strict=True)
                    ],
                )
            known.update(zip(batch, np.asarray(vectors, np.float32), strict=True))
        return np.array([known[digest] for digest in digests], np.float32)

    def _read(self, digest: bytes) -> FloatArray | None:
        found = self._database.execute(
            "SELECT vector FROM vectors WHERE identity = ? AND digest = ?", (self.identity, digest)
        ).get
        return None if found is None else np.frombuffer(found, "<f4")


__all__ = ["Cached"]
