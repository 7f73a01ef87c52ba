"""Embeddings from any endpoint that speaks OpenAI's `/embeddings`."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from synthon.core.errors import MissingExtra, ProviderError, UserError
from synthon.models._http import checked_headers, checked_key, endpoint, joined, normalised
from synthon.models._json import count, found, items
from synthon.models.openai_model import OPENAI_URL, bearer
from synthon.wrappers.retrying import wait_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import ModuleType

    from synthon.core.protocols import FloatArray
    from synthon.models._http import Endpoint

_BATCH_CHARACTERS = 400_000
_AT_ONCE = 4


def _numpy() -> ModuleType:
    try:
        import numpy as np  # noqa: PLC0415 - comes with the extra
    except ImportError as error:
        msg = "Embeddings need the package 'numpy', which is missing. Run `pip install 'synthon[index]'`."
        raise MissingExtra(msg) from error
    return np


@dataclass(frozen=True)
class OpenAIEmbedder:
    """A model behind `{base_url}/embeddings`.

    Args:
        model: the endpoint's name for it.
        dimensions: of the vectors, for models that can shorten them; None leaves the model's own.
        batch: texts per request; fewer where they are long (400,000 characters). Four requests go at once.
        tries: times a request is sent at most while its failures may pass; in between it waits as `Retrying` does.

    `api_key`, `headers`, `timeout_s` and `max_connections` are those of `OpenAIChat`.
    """

    model: str
    base_url: str = OPENAI_URL
    api_key: str | None = field(default=None, repr=False)
    dimensions: int | None = None
    batch: int = 128
    timeout_s: float = 120.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False, hash=False)
    max_connections: int = 100
    tries: int = 4

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise UserError(f"The embedder {self.model!r} was given tries={self.tries}. Pass at least 1.")
        object.__setattr__(self, "base_url", normalised(self.base_url))
        object.__setattr__(self, "api_key", checked_key(self.api_key))
        checked_headers(self.headers)

    @property
    def identity(self) -> str:
        """The normalised URL, the model and the dimensions asked for; never a key."""
        shortened = f"[{self.dimensions}]" if self.dimensions else ""
        return f"{self._url}#{self.model}{shortened}"

    @cached_property
    def _url(self) -> str:
        return joined(self.base_url, "/embeddings")

    def _endpoint(self) -> Endpoint:
        headers = bearer(self.base_url, self.api_key) | dict(self.headers)
        return endpoint(self._url, frozenset(headers.items()), self.timeout_s, self.max_connections)

    async def embed(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of shape (len(texts), dim), float32, each of unit length; (0, 0) for no texts.

        Raises:
            ProviderError: the endpoint failed, or its vectors are too few, uneven, not finite or zero.
        """
        np = _numpy()
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(batch: list[str]) -> FloatArray:
            async with room:
                for tried in range(1, self.tries):
                    try:
                        return await self._one(batch)
                    except ProviderError as error:
                        if not error.retryable:
                            raise
                        await asyncio.sleep(wait_s(error, tried))
                return await self._one(batch)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(batch)) for batch in self._batches(texts)]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        parts = [task.result() for task in tasks]
        if len({part.shape[1] for part in parts}) > 1:
            raise self._refused("vectors of different lengths")
        vectors: FloatArray = np.concatenate(parts) if parts else np.zeros((0, 0), dtype=np.float32)
        return vectors

    def _batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        size = 0
        for text in texts:
            if batch and (len(batch) == self.batch or size + len(text) > _BATCH_CHARACTERS):
                yield batch
                batch, size = [], 0
            batch.append(text)
            size += len(text)
        if batch:
            yield batch

    async def _one(self, texts: list[str]) -> FloatArray:
        np = _numpy()
        body: dict[str, object] = {"model": self.model, "input": texts, "encoding_format": "float"}
        if self.dimensions:
            body["dimensions"] = self.dimensions
        rows = sorted(items(await self._endpoint().send(body), "data"), key=lambda row: count(row, "index"))
        try:
            vectors: FloatArray = np.asarray([found(row, "embedding") for row in rows], dtype=np.float32)
        except (TypeError, ValueError):
            raise self._refused("what are no vectors") from None
        if len(rows) != len(texts):
            raise self._refused(f"{len(rows)} vectors for {len(texts)} texts")
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True) if vectors.ndim == 2 else np.zeros(1)  # noqa: PLR2004
        if not np.isfinite(lengths).all() or not lengths.all():
            raise self._refused("a vector that is empty, zero or not finite")
        unit: FloatArray = vectors / lengths
        return unit

    def _refused(self, what: str) -> ProviderError:
        msg = f"{self._url} answered with {what}. Check that {self.model!r} is an embedding model."
        return ProviderError(msg, retryable=False)


def openai_embedder(
    model: str,
    base_url: str = OPENAI_URL,
    *,
    api_key: str | None = None,
    dimensions: int | None = None,
    batch: int = 128,
    timeout_s: float = 120.0,
    headers: Mapping[str, str] | None = None,
    max_connections: int = 100,
    tries: int = 4,
) -> OpenAIEmbedder:
    """An embedder behind an OpenAI-compatible endpoint; see `OpenAIEmbedder`. Nothing is sent before the first text."""
    return OpenAIEmbedder(
        model,
        base_url,
        api_key,
        dimensions,
        batch,
        timeout_s=timeout_s,
        headers=headers or {},
        max_connections=max_connections,
        tries=tries,
    )
