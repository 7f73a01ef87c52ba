"""What makes no sense is refused where it is passed, with what to pass in its place."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import synthon as sy
from synthon.core.errors import UserError
from synthon.retrieval import Document, Index
from synthon.retrieval.quotes import quote
from tests.retrieval.embedding import WordEmbedder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthon.core.protocols import FloatArray


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index(tmp_path / "i.db", embedder="none") as made:
        yield made


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"mode": "BM25"}, r"mode='BM25'\): it is one of 'hybrid', 'rrf', 'dense', 'bm25'"),
        ({"k": 1.5}, "k=1.5, .*k, depth >= 1"),
        ({"depth": "3"}, "depth='3', .*k, depth >= 1"),
        ({"weight": "0.5"}, "weight='0.5'.*weight 0..1"),
        ({"weight": None}, "weight=None.*weight 0..1"),
        ({"rerank": 5}, r"search\(rerank=5\): that judges nothing. Pass a Reranker"),
        ({"query": None}, r"search\(None, .*give words to look for"),
        ({"where": "year=2020"}, "'year=2020' cannot be used: pass a dict"),
        ({"where": {"year ==": 2020}}, "'year ==': there is no operator '=='. .* for equality, none"),
        ({"where": {"year=": 2020}}, "there is no operator '='"),
        ({"where": {"year <>": 2020}}, "there is no operator '<>'"),
        ({"where": {1: 2}}, "filter 1: 2 cannot be used"),
        ({"where": {"n": 2**63}}, r"cannot be used: a value is a text, a number \(64 bits\)"),
        ({"where": {"n": [1, -(2**63) - 1]}}, "cannot be used"),
        ({"where": {"n": b"1"}}, "filter 'n': b'1' cannot be used"),
        ({"where": {"n": "\ud800"}}, "cannot be used"),
        ({"where": {"\ud800": 1}}, "cannot be used"),
        ({"where": {"n": range(40_000)}}, "1 entries and 40,000 values"),
        ({"where": {str(n): n for n in range(901)}}, "901 entries and 901 values"),
    ],
    ids=str,
)
async def test_a_search(index: Index, arguments: dict[str, Any], reason: str) -> None:
    await index.add(Document("hello", "a"))
    with pytest.raises(UserError, match=reason):
        await index.search(**{"query": "hello", **arguments})


async def test_the_largest_filters_are_none(index: Index) -> None:
    await index.add(Document("hello", "a", metadata={str(n): n for n in range(900)}))
    every: dict[str, int] = {str(n): n for n in range(900)}
    assert len(await index.search("hello", where=every)) == 1
    assert len(await index.search("hello", where={"7": list(range(29_999))})) == 1
    assert await index.search("hello", where={"7": [2**63 - 1, -(2**63), "é"]}) == []


@pytest.mark.parametrize(
    "source", [["a.txt"], [Path("a.txt")], {"a": "text"}, 5, None, Document("text", 5), b"text"],  # type: ignore[arg-type]
    ids=str,
)  # fmt: skip
async def test_what_is_no_document(index: Index, source: Any) -> None:
    with pytest.raises(UserError, match=r"Cannot add .*: it is no Document with a text as its id"):
        await index.add(source)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (Document("text", "x", None), "a title that is no str"),  # type: ignore[arg-type]
        (Document(None, "x"), "has a text or a title that is no str"),  # type: ignore[arg-type]
        (Document("text", "x", form="md"), "has the form 'md'. It is one of 'markdown', 'rst', 'code', 'plain'"),  # type: ignore[arg-type]
        (Document("text", "x", metadata={1: "a"}), r"has metadata .*: \[1\]"),  # type: ignore[dict-item]
    ],
    ids=str,
)
async def test_a_document_with_odd_parts_fails_alone(index: Index, document: Document, reason: str) -> None:
    added = await index.add([document, Document("fine", "y")])
    assert added.added == ("y",)
    with pytest.raises(UserError, match=reason):
        raise UserError(added.failed[0].reason)


async def test_ids_in_a_list(index: Index) -> None:
    with pytest.raises(UserError, match=r"Pass each as an argument of its own: remove\('a', 'b'\)"):
        await index.remove(["a", "b"])  # type: ignore[arg-type]  # the point of the test


async def test_what_is_no_embedder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Index\(embedder=5\): that embeds nothing"):
        Index(tmp_path / "i.db", embedder=5)  # type: ignore[arg-type]  # the point of the test
    with Index(tmp_path / "i.db", embedder="smollm2-135m") as index, pytest.raises(UserError, match="does not embed"):
        await index.add(Document("text", "a"))


class Nameless:
    async def embed(self, texts: Sequence[str]) -> FloatArray:
        return np.ones((len(texts), 1), np.float32)


class Misnamed(Nameless):
    def identity(self) -> str:
        return "a method"


@pytest.mark.parametrize("embedder", [Nameless(), Misnamed(), Nameless], ids=["none", "method", "class"])
async def test_an_embedder_that_does_not_say_which_it_is(tmp_path: Path, embedder: Any) -> None:
    reason = r"has no identity that is a text\. Give it what is missing"
    with Index(tmp_path / "i.db", embedder=embedder) as index:
        with pytest.raises(UserError, match=reason):
            await index.add(Document("text", "a"))
        with pytest.raises(UserError, match=reason):
            await index.search("text")
    with pytest.raises(UserError, match=reason):
        await sy.nearest([sy.Demo({"text": "a"}, "b")], embedder=embedder).nearest({"text": "c"}, 1)


class Waiting:
    identity = "waiting"

    def embed(self, texts: Sequence[str]) -> FloatArray:
        return np.ones((len(texts), 1), np.float32)


async def test_an_embedder_that_is_not_async(tmp_path: Path) -> None:
    embedder: Any = Waiting()
    reason = r"'waiting' answered at once, which nobody can await\. Write `async def embed"
    with Index(tmp_path / "i.db", embedder=embedder) as index:
        with pytest.raises(UserError, match=reason):
            await index.add(Document("text", "a"))
        with pytest.raises(UserError, match=reason):
            await index.search("text")
    examples = [sy.Demo({"text": each}, each) for each in "ab"]
    with pytest.raises(UserError, match=reason):
        await sy.nearest(examples, embedder=embedder).nearest({"text": "c"}, 1)
    with pytest.raises(UserError, match=reason):
        await quote("text", [sy.Passage("Some text.", "a", 0, 10)], embedder)


async def test_examples_with_what_is_no_embedder() -> None:
    with pytest.raises(UserError, match=r"The embedder 5 has no async embed\(texts\) and no identity that is a text"):
        await sy.nearest([sy.Demo({"text": "a"}, "b")], embedder=5).nearest({"text": "c"}, 1)  # type: ignore[arg-type]  # the point of the test


async def test_a_weight_of_any_type_of_number(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", embedder=WordEmbedder()) as index:
        await index.add([Document("hello", "a"), Document("hello there", "b")])
        found = [await index.search("hello", weight=each) for each in (0.5, np.float32(0.5), Fraction(1, 2))]  # type: ignore[arg-type]  # the point of the test
        assert found[0] == found[1] == found[2] != []


async def test_an_embedder_may_be_named(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", embedder="wordllama-256") as index:
        await index.add([Document("Cats sleep.", "cat"), Document("Refunds take five days.", "refund")])
    with Index(tmp_path / "i.db", embedder=sy.embedder("wordllama-256")) as index:
        assert [found.document for found in await index.search("kittens", k=1)] == ["cat"]


async def test_an_index_among_its_documents_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello words")
    (tmp_path / "i.db.usearch.json").write_text("{}")
    with Index(tmp_path / "i.db", embedder="none") as index:
        assert (await index.add(tmp_path)).added == ("a.txt",)


@pytest.mark.parametrize("scores", [[1.0], [math.nan, 1.0], [None, 1.0], None], ids=str)
async def test_a_reranker_that_does_not_score_each_passage(index: Index, scores: Any) -> None:
    class Broken:
        identity = "broken"

        async def scores(self, query: str, passages: Sequence[sy.Passage]) -> list[float]:
            return scores  # type: ignore[no-any-return]  # the point of the test

    await index.add([Document("hello you", "a"), Document("hello", "b")])
    with pytest.raises(UserError, match=r"'broken' gave .* a finite number for each of 2 passages"):
        await index.search("hello", rerank=Broken())
