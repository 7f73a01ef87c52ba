"""Cosine search over the chunks' vectors: exact, or over candidates from a usearch file beside the index."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import json
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from synthon.core.errors import MissingExtra, UserError
from synthon.models.embedders import refuse_uneven

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from usearch.index import Index as Graph

    from synthon.core.protocols import Embedder, FloatArray
    from synthon.retrieval.store import Store

#: Above this many chunks a graph answers in place of a scan of all vectors.
EXACT_CHUNKS = 50_000
#: Neighbours looked at while searching the graph: of the true ten, 64 (the library's) finds 0.947, 256 0.992, 512 0.997
#: (66,548 passages, static vectors), for 1, 2.4 and 5 ms.
_EXPANSION = 512
#: Of the 16 bits that a number of a vector is kept in.
_LARGEST = 65_504


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The usearch file, opened; `mean` is the mean vector of all chunks."""

    graph: Graph
    mean: FloatArray

    def vectors(self, keys: NDArray[np.int64]) -> FloatArray:
        """The chunks' vectors, shape (len(keys), dimension): the store's numbers, read faster."""
        return np.asarray(self.graph.get(keys.astype(np.uint64)), np.float32)

    def nearest(self, vector: FloatArray, count: int) -> NDArray[np.int64]:
        """Keys of about the `count` nearest chunks."""
        return np.asarray(self.graph.search(vector, count).keys, np.int64)


def checked(embedder: Any) -> Embedder:
    """An embedder that embeds and says which it is.

    Raises:
        UserError: names what it lacks.
    """
    has = {
        "async embed(texts)": callable(getattr(embedder, "embed", None)),
        "identity that is a text": isinstance(getattr(embedder, "identity", None), str),
    }
    if not all(has.values()):
        lacks = " and no ".join(name for name, there in has.items() if not there)
        msg = f"The embedder {embedder!r:.200} has no {lacks}. Give it what is missing (identities differ where"
        raise UserError(f"{msg} vectors do), or pass a packaged embedder's name.")
    return cast("Embedder", embedder)


async def embedded(embedder: Embedder, texts: Sequence[str], *, unit: bool = True) -> FloatArray:
    """The texts' vectors, shape (len(texts), dimension), of unit length or nothing unless that may be otherwise.

    Raises:
        UserError: `embed` is not async, or gave no row of finite numbers for each text, or rows of another length.
    """
    identity, answer = getattr(embedder, "identity", type(embedder).__name__), embedder.embed(texts)
    if not inspect.isawaitable(answer):
        msg = (
            f"The embedder {identity!r} answered at once, which nobody can await. Write `async def embed(self, texts)`."
        )
        raise UserError(msg)
    vectors = _vectors(await answer, texts, identity)
    if unit:
        refuse_uneven(vectors, texts, embedder)
    return vectors


def _vectors(answer: object, texts: Sequence[str], identity: str) -> FloatArray:
    try:
        with np.errstate(over="ignore"):
            matrix = np.asarray(answer, np.float32)
    except (TypeError, ValueError):  # no numbers, or rows of several lengths
        matrix = np.zeros(0, np.float32)
    if matrix.ndim != 2 or len(matrix) != len(texts) or not matrix.size:  # noqa: PLR2004 - a matrix
        msg = (
            f"The embedder {identity!r} gave no vectors for {len(texts)} texts, but an answer of shape {matrix.shape}. "
            "Its embed() must give an array with a row of numbers for each text."
        )
        raise UserError(msg)
    odd = ~(np.abs(matrix) <= _LARGEST).all(axis=1)
    if odd.any():
        text = texts[int(odd.argmax())]
        msg = (
            f"The embedder {identity!r} gave a vector with NaN, infinity or a number above {_LARGEST:,} for the text "
            f"{text[:80]!r}. Mend the embedder, or leave that text out."
        )
        raise UserError(msg)
    return matrix


def neighbours(store: Store, keys: NDArray[np.int64], dimension: int) -> Neighbours:
    """Open the file beside the index, first bringing it to the store's state.

    The file is derived: it is made anew when its manifest names another index, another size or another digest, and
    changed by the chunks that came and went since. A chunk's vector never changes under its key.

    Raises:
        MissingExtra: usearch is not installed.
    """
    version = store.version()
    file, manifest_file = (_beside(store, suffix) for suffix in (".usearch", ".usearch.json"))
    manifest = _manifest(manifest_file)
    graph = _graph(dimension)
    sound = manifest.get("index") == store.meta("id") and manifest.get("sha256") == _sha256(file)
    if sound:
        graph.load(str(file))
        if manifest.get("version") == version:
            return Neighbours(graph, np.array(manifest["mean"], np.float32))
    _bring_up(graph, store, keys, dimension)
    mean = _mean(store, keys, dimension)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    mode = stat.S_IMODE(store.path.stat().st_mode)  # who may read the index may read this
    partial.touch(mode)
    graph.save(str(partial))
    digest = _sha256(partial)
    partial.replace(file)
    text = json.dumps({"index": store.meta("id"), "version": version, "sha256": digest, "mean": mean.tolist()})
    partial.touch(mode)
    partial.write_text(text)
    partial.replace(manifest_file)
    return Neighbours(graph, mean)


def is_kept(store: Store) -> bool:
    """Whether there is a file beside the index that a few changes can be added to."""
    return _beside(store, ".usearch").exists()


def _beside(store: Store, suffix: str) -> Path:
    return store.path.with_name(f"{store.path.name}{suffix}")


def _bring_up(graph: Graph, store: Store, keys: NDArray[np.int64], dimension: int) -> None:
    there = np.asarray(graph.keys, np.int64) if len(graph) else np.zeros(0, np.int64)
    gone, new = np.setdiff1d(there, keys), np.setdiff1d(keys, there)
    if len(gone):
        graph.remove(gone.astype(np.uint64))
    for start in range(0, len(new), 10_000):
        batch = new[start : start + 10_000]
        graph.add(batch.astype(np.uint64), store.vectors(batch, dimension))


def _mean(store: Store, keys: NDArray[np.int64], dimension: int) -> FloatArray:
    total = np.zeros(dimension, np.float64)
    for start in range(0, len(keys), 10_000):
        total += store.vectors(keys[start : start + 10_000], dimension).sum(axis=0, dtype=np.float64)
    return (total / max(1, len(keys))).astype(np.float32)


def _manifest(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""


def _graph(dimension: int) -> Graph:
    # usearch 2.26 loaded before onnxruntime 1.32 crashes the process when the latter is imported
    if importlib.util.find_spec("onnxruntime") is not None:
        import onnxruntime  # noqa: F401, PLC0415
    try:
        from usearch.index import Index  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        msg = (
            f"An index of more than {EXACT_CHUNKS:,} chunks needs usearch, which is not installed. "
            "Run: pip install 'synthon[index]'"
        )
        raise MissingExtra(msg) from error
    return Index(ndim=dimension, metric="cos", dtype="f16", expansion_search=_EXPANSION)


__all__ = ["EXACT_CHUNKS", "Neighbours", "checked", "embedded", "is_kept", "neighbours"]
