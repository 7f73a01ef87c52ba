from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

import synthon as sy
from synthon.core.errors import MissingExtra, ProviderError
from tests.models.loopback import Loopback, Reply, answering

if TYPE_CHECKING:
    import asyncio


def rows(*vectors: object) -> Reply:
    """An answer whose rows come in reverse order."""
    return Reply({"data": [{"index": at, "embedding": vector} for at, vector in enumerate(vectors)][::-1]})


class Echo(Loopback):
    """Embeds a text of n letters as (n, 1)."""

    async def _answer(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        texts = self.received[-1].body["input"]
        return await super()._answer(rows(*[[len(text), 1] for text in texts]), reader, writer)


async def test_vectors_have_unit_length_and_the_order_of_the_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.models.loopback.Loopback", Echo)
    texts = ["x" * n for n in range(1, 24)]
    async with answering(Reply({})) as loopback:
        vectors = await sy.openai_embedder("e", loopback.url, batch=5).embed(texts)
    assert vectors.shape == (23, 2)
    assert vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1)
    assert np.allclose(vectors[:, 0] / vectors[:, 1], np.arange(1, 24))
    assert sorted(len(received.body["input"]) for received in loopback.received) == [3, 5, 5, 5, 5]
    assert loopback.received[0].path == "/v1/embeddings"


async def test_long_texts_go_in_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.models.loopback.Loopback", Echo)
    async with answering(Reply({})) as loopback:
        await sy.openai_embedder("e", loopback.url).embed(["x" * 150_000] * 5)
    assert sorted(len(received.body["input"]) for received in loopback.received) == [1, 2, 2]


async def test_no_texts_are_no_vectors_and_no_request() -> None:
    async with answering(Reply({})) as loopback:
        assert (await sy.openai_embedder("e", loopback.url).embed([])).shape == (0, 0)
    assert loopback.received == []


async def test_dimensions_are_asked_for_and_part_of_the_identity() -> None:
    async with answering(rows([3, 4])) as loopback:
        embedder = sy.openai_embedder("e", loopback.url, dimensions=2)
        assert (await embedder.embed(["a"])).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]
    assert loopback.received[0].body == {"model": "e", "input": ["a"], "encoding_format": "float", "dimensions": 2}
    assert embedder.identity == f"{loopback.url}/embeddings#e[2]"
    assert embedder.identity != sy.openai_embedder("e", loopback.url).identity


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        (rows([1, 2]), "1 vectors for 2 texts"),
        (rows([1, 2], [3]), "no vectors"),
        (rows([1, 2], "text"), "no vectors"),
        (rows([1, 2], None), "no vectors"),
        (rows([], []), "empty, zero or not finite"),
        (rows(1, 2), "empty, zero or not finite"),
        (rows([1, 2], [0, 0]), "empty, zero or not finite"),
        (rows([1, 2], [math.nan, 1]), "empty, zero or not finite"),
        (Reply({}), "0 vectors for 2 texts"),
    ],
)
async def test_what_are_no_vectors_is_an_error(reply: Reply, complaint: str) -> None:
    async with answering(reply) as loopback:
        with pytest.raises(ProviderError, match=complaint):
            await sy.openai_embedder("e", loopback.url).embed(["a", "b"])


async def test_a_missing_numpy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MissingExtra, match=r"pip install 'synthon\[index\]'"):
        await sy.openai_embedder("e", "http://127.0.0.1:9").embed(["a"])


async def test_batches_of_different_dimensions_are_an_error() -> None:
    async with answering(rows([1, 2]), rows([1, 2, 3])) as loopback:
        with pytest.raises(ProviderError, match="vectors of different lengths"):
            await sy.openai_embedder("e", loopback.url, batch=1).embed(["a", "b"])


async def test_a_failed_batch_fails_the_call_with_its_own_error() -> None:
    async with answering(Reply({"error": {"message": "no such model"}}, status=404)) as loopback:
        with pytest.raises(ProviderError, match="no such model"):
            await sy.openai_embedder("e", loopback.url, batch=1).embed(["a", "b"])


async def test_a_request_is_sent_again_where_its_failure_may_pass() -> None:
    busy = Reply({"error": {"message": "slow down"}}, status=429, headers={"retry-after": "0"})
    async with answering(busy, busy, rows([3, 4])) as loopback:
        assert np.allclose(await sy.openai_embedder("e", loopback.url).embed(["a"]), [[0.6, 0.8]])
        assert len(loopback.received) == 3
    async with answering(busy, busy, rows([3, 4])) as loopback:
        with pytest.raises(sy.TooManyRequests):
            await sy.openai_embedder("e", loopback.url, tries=2).embed(["a"])
        assert len(loopback.received) == 2
    with pytest.raises(sy.UserError, match="tries=0"):
        sy.openai_embedder("e", tries=0)
