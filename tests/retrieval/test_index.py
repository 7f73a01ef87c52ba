"""`Index`: what is added is found, unchanged is not embedded again, and the same content answers the same."""

from __future__ import annotations

import asyncio
import random
import threading
from typing import TYPE_CHECKING

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthon.core.errors import UserError
from synthon.retrieval import Document, Index
from tests.retrieval.embedding import WordEmbedder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from synthon.core.progress import Progress
    from synthon.core.protocols import FloatArray
    from synthon.core.values import Passage
    from synthon.retrieval.searching import Mode

MODES: list[Mode] = ["hybrid", "rrf", "dense", "bm25"]
ANIMALS = [
    Document("Cats sleep for most of the day.", "cat", metadata={"legs": 4, "tame": True, "year": 2019}),
    Document("Dogs bark at strangers at night.", "dog", metadata={"legs": 4, "tame": True, "year": 2021}),
    Document("Eagles fly over the mountains.", "eagle", metadata={"legs": 2, "tame": False, "year": 2023}),
    Document("Snakes have no legs at all.", "snake", metadata={"legs": 0, "tame": False, "year": "unknown"}),
]


def fresh(folder: Path) -> Path:
    """A file that no earlier example of a property used."""
    return folder / f"{len(list(folder.iterdir()))}.db"


def ids(passages: list[Passage]) -> list[str]:
    return [passage.document for passage in passages]


@pytest.mark.parametrize("mode", MODES)
async def test_the_passage_with_the_words_asked_for_comes_first(tmp_path: Path, mode: Mode) -> None:
    with Index(tmp_path / "i.db", embedder=WordEmbedder()) as index:
        await index.add(ANIMALS)
        assert ids(await index.search("dogs that bark at night", k=2, mode=mode))[0] == "dog"


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=400), min_size=1, max_size=5))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
async def test_a_passage_is_exactly_its_place_in_its_document(tmp_path: Path, texts: list[str]) -> None:
    with Index(fresh(tmp_path), embedder=WordEmbedder(), chunk_characters=100) as index:
        report = await index.add(Document(text, f"d{number}") for number, text in enumerate(texts))
        assert len(report.failed) == sum(not text.strip() for text in texts)
        for passage in await index.search("a\0b", k=100):
            number = int(passage.document.removeprefix("d"))
            assert passage.text == texts[number][passage.start : passage.end] != ""
            assert index.document(passage.document).text == texts[number]


async def test_adding_a_folder_again_embeds_only_what_changed(tmp_path: Path) -> None:
    folder, embedder = tmp_path / "docs", WordEmbedder()
    (folder / "sub").mkdir(parents=True)
    (folder / "a.md").write_text("# Apples\n\nThey are red.\n\n# Pears\n\nThey are green.\n")
    (folder / "sub/b.txt").write_text("Plums are blue.")
    (folder / "c.rst").write_text("Cherries\n========\n\nSmall and round.\n")
    with Index(tmp_path / "i.db", embedder=embedder) as index:
        first = await index.add(folder)
        assert (first.added, first.embedded) == (("a.md", "c.rst", "sub/b.txt"), 4)
        assert (await index.add(folder)).unchanged == first.added
        (folder / "a.md").write_text("# Apples\n\nThey are red.\n\n# Pears\n\nThey are yellow.\n")
        (folder / "sub/b.txt").rename(folder / "moved.txt")
        (folder / "c.rst").unlink()
        embedder.texts.clear()
        second = await index.add(folder)
        assert (second.changed, second.added, second.removed) == (("a.md",), ("moved.txt",), ("c.rst", "sub/b.txt"))
        assert embedder.texts == ["# Pears\n\nThey are yellow.", "moved\nPlums are blue."]
        assert index.documents() == ["a.md", "moved.txt"]
        assert ids(await index.search("plums", k=1)) == ["moved.txt"]


async def test_two_documents_with_one_text_are_embedded_once_and_kept_while_one_is_left(tmp_path: Path) -> None:
    embedder = WordEmbedder()
    with Index(tmp_path / "i.db", embedder=embedder) as index:
        await index.add([Document("same text", "a"), Document("same text", "b")])
        assert await index.remove("a", "no such document") == ["a"]
        assert ids(await index.search("same text", k=5)) == ["b"]
        await index.add(Document("same text", "c"))
        assert embedder.texts.count("same text") == 2  # once as a chunk, once as the query
        assert await index.remove("b", "c") == ["b", "c"]
        assert await index.search("same text") == []


async def test_adding_an_id_again_replaces_its_document(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", embedder=WordEmbedder()) as index:
        await index.add(ANIMALS)
        report = await index.add(Document("Cows eat grass.", "cat", metadata={"legs": 4}))
        assert (report.changed, report.added) == (("cat",), ())
        assert index.document("cat").text == "Cows eat grass."
        assert len(index) == 4
        assert all("sleep" not in passage.text for passage in await index.search("cats sleep", k=9))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"legs": 4}, {"cat", "dog"}),
        ({"legs": [0, 2]}, {"eagle", "snake"}),
        ({"legs": []}, set()),
        ({"tame": True, "legs": 4}, {"cat", "dog"}),
        ({"year >=": 2021}, {"dog", "eagle"}),
        ({"year >": 2019, "year<=": 2021}, {"dog"}),
        ({"year >=": "a"}, {"snake"}),
        ({"legs !=": 4}, {"eagle", "snake"}),
        ({"wings": 2}, set()),
        ({"legs' OR '1'='1": 4}, set()),
        ({}, {"cat", "dog", "eagle", "snake"}),
    ],
)
@pytest.mark.parametrize("mode", MODES)
async def test_a_filter_gives_all_that_fit_and_nothing_else(
    tmp_path: Path, where: dict[str, str | int | list[int]], expected: set[str], mode: Mode
) -> None:
    with Index(tmp_path / "i.db", embedder=WordEmbedder()) as index:
        await index.add(ANIMALS)
        assert set(ids(await index.search("dogs", k=10, where=where, mode=mode))) == expected


@given(
    tags=st.lists(st.integers(0, 3), min_size=1, max_size=60),
    wanted=st.integers(0, 3),
    k=st.integers(1, 20),
    large=st.booleans(),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
async def test_a_filter_never_gives_fewer_than_k_while_k_exist(
    tmp_path: Path, tags: list[int], wanted: int, k: int, *, large: bool
) -> None:
    with Index(fresh(tmp_path), embedder=WordEmbedder(), exact_chunks=5 if large else 1_000) as index:
        await index.add(Document(f"text number {n}", f"{n:03}", metadata={"tag": tag}) for n, tag in enumerate(tags))
        for mode in MODES:
            found = await index.search("number 3", k=k, where={"tag": wanted}, mode=mode)
            assert len(found) == min(k, tags.count(wanted))
            assert all(passage.metadata["tag"] == wanted for passage in found)


async def test_equal_content_has_one_digest_and_one_answer_however_it_came(tmp_path: Path) -> None:
    documents = [Document(f"The {n % 7} cats met {n % 5} dogs.", f"d{n:02}") for n in range(40)]
    answers, digests = [], []
    for name, order in (("a", documents), ("b", documents[::-1])):
        with Index(tmp_path / f"{name}.db", embedder=WordEmbedder()) as index:
            await index.add(order[:25])
            await index.add([*order[25:], Document("gone", "gone")])
            await index.remove("gone")
            answers.append([await index.search("3 cats", k=40, mode=mode) for mode in MODES])
            digests.append(index.digest)
    assert digests[0] == digests[1]
    assert answers[0] == answers[1]
    scores = [(-passage.score, passage.document) for passage in answers[0][3]]
    assert scores == sorted(scores)


async def test_scores_by_words_do_not_depend_on_the_order_of_adding(tmp_path: Path) -> None:
    drawn = random.Random(3)
    words = [f"term{n}" for n in range(300)]
    documents = [Document(" ".join(drawn.choices(words, k=60)), f"d{n:03}") for n in range(200)]
    queries = [" ".join(drawn.choices(words, k=40)) for _ in range(20)]
    answers = []
    for order in (documents, documents[::-1]):
        with Index(fresh(tmp_path), embedder="none") as index:
            await index.add(order)
            answers.append([await index.search(query, k=20) for query in queries])
    assert answers[0] == answers[1]


async def test_the_digest_changes_with_text_title_metadata_and_removal(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", embedder="none") as index:
        seen = [index.digest]
        for document in (
            Document("a", "x"), Document("b", "x"), Document("b", "x", "t"), Document("b", "x", "t", {"y": 1}),
        ):  # fmt: skip
            await index.add(document)
            seen.append(index.digest)
        assert len(set(seen)) == 5
        await index.add(Document("b", "x", "t", {"y": 1}))
        assert index.digest == seen[-1]
        await index.remove("x")
        await index.add(Document("a", "x"))
        assert index.digest == seen[1]


async def test_without_an_embedder_words_are_searched_and_vectors_refused(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", embedder="none") as index:
        await index.add(ANIMALS)
        assert ids(await index.search("eagle", k=1)) == ["eagle"]
        with pytest.raises(UserError, match="keeps no vectors"):
            await index.search("eagle", mode="dense")


async def test_vectors_of_two_embedders_never_mix(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", embedder=WordEmbedder("one")) as index:
        await index.add(ANIMALS)
    with Index(tmp_path / "i.db", embedder=WordEmbedder("two")) as index:
        with pytest.raises(UserError, match="made with the embedder 'one', not 'two'"):
            await index.search("cats")
        with pytest.raises(UserError, match="made with the embedder 'one'"):
            await index.add(Document("more", "more"))
        assert ids(await index.search("cats", k=1, mode="bm25")) == ["cat"]
    other = Index(tmp_path / "i.db", embedder="none")
    with other as index, pytest.raises(UserError, match="made with the embedder 'one', not 'none'"):
        await index.add(Document("more", "more"))


async def test_an_embedder_that_changes_its_dimension_is_refused(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", embedder=WordEmbedder()) as index:
        await index.add(ANIMALS)
    other = Index(tmp_path / "i.db", embedder=WordEmbedder(dimension=16))
    with other as index, pytest.raises(UserError, match="holds vectors of 32 numbers"):
        await index.search("cats")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda made: made[:-1], r"no vectors for 2 texts, but an answer of shape \(1, 32\)"),
        (lambda _: [[1.0], [1.0, 2.0]], r"an answer of shape \(0,\)"),
        (lambda made: made[0], r"an answer of shape \(32,\)"),
        (lambda made: made * [[1.0], [float("nan")]], "NaN, infinity or a number above 65,504 for the text 'second"),
        (lambda made: made * 1e30, "a number above 65,504 for the text 'first"),
        (lambda made: made * [[1.001], [3.0]], "a vector of length 3, not 1, for 'second text'"),
    ],
)
async def test_what_is_no_vector_is_refused_and_binds_the_index_to_nothing(
    tmp_path: Path, answer: Callable[[FloatArray], FloatArray], reason: str
) -> None:
    class Odd(WordEmbedder):
        async def embed(self, texts: Sequence[str]) -> FloatArray:
            return answer(await super().embed(texts))

    documents = [Document("first text", "a"), Document("second text", "b")]
    with Index(tmp_path / "i.db", embedder=Odd("odd")) as index:
        with pytest.raises(UserError, match=rf"The embedder 'odd' gave .*{reason}"):
            await index.add(documents)
        assert index.documents() == []
    with Index(tmp_path / "i.db", embedder=WordEmbedder("right", dimension=16)) as index:
        await index.add(documents)
        assert ids(await index.search("second", k=1)) == ["b"]


async def test_a_text_may_have_a_vector_of_nothing(tmp_path: Path) -> None:
    class Blank(WordEmbedder):
        async def embed(self, texts: Sequence[str]) -> FloatArray:
            return await super().embed(texts) * [["..." not in text] for text in texts]

    with Index(tmp_path / "i.db", embedder=Blank()) as index:
        await index.add([Document("...", "dots"), *ANIMALS])
        assert ids(await index.search("dogs bark", k=1, mode="dense")) == ["dog"]


async def test_an_embedder_may_give_lists(tmp_path: Path) -> None:
    class Lists(WordEmbedder):
        async def embed(self, texts: Sequence[str]) -> FloatArray:
            return (await super().embed(texts)).tolist()  # type: ignore[no-any-return]  # the point of the test

    with Index(tmp_path / "i.db", embedder=Lists()) as index:
        await index.add(ANIMALS)
        assert ids(await index.search("dogs bark", k=1, mode="dense")) == ["dog"]


async def test_an_embedder_that_fails_at_once_does_not_bind_the_index(tmp_path: Path) -> None:
    class Failing(WordEmbedder):
        async def embed(self, texts: Sequence[str]) -> FloatArray:
            message = f"no key for {len(texts)} texts"
            raise ConnectionError(message)

    with Index(tmp_path / "i.db", embedder=Failing("failing")) as index:
        with pytest.raises(ConnectionError, match="no key"):
            await index.search("cats")
        with pytest.raises(ConnectionError, match="no key"):
            await index.add(ANIMALS)
    with Index(tmp_path / "i.db", embedder=WordEmbedder("right")) as index:
        assert len((await index.add(ANIMALS)).added) == 4


@pytest.mark.parametrize("arguments", [{"query": " "}, {"query": "a", "k": 0}, {"query": "a", "weight": 1.5}])
async def test_a_search_that_makes_no_sense_is_refused(tmp_path: Path, arguments: dict[str, str | float]) -> None:
    made = Index(tmp_path / "i.db", embedder="none")
    with made as index, pytest.raises(UserError, match="give words to look for"):
        await index.search(**arguments)  # type: ignore[arg-type]  # the point of the test


async def test_a_filter_that_makes_no_sense_is_refused(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", embedder="none") as index:
        await index.add(ANIMALS)
        with pytest.raises(UserError, match="cannot be used"):
            await index.search("cats", where={"legs >": [1, 2]})


async def test_a_file_that_is_no_index_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, " * 100)
    with pytest.raises(UserError, match="as an index"):
        Index(tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "not a database, " * 100


@pytest.mark.parametrize("tables", ["CREATE TABLE customers (name)", "CREATE TABLE meta (k, v)"])
async def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path, tables: str) -> None:
    database = apsw.Connection(str(tmp_path / "other.db"))
    database.execute(tables)
    database.close()
    before = (tmp_path / "other.db").read_bytes()
    with pytest.raises(UserError, match="is a database, but no index of Synthon's"):
        Index(tmp_path / "other.db", embedder="none")
    assert (tmp_path / "other.db").read_bytes() == before


async def test_an_index_in_memory_is_refused() -> None:
    with pytest.raises(UserError, match="cannot be kept in ':memory:'"):
        Index(":memory:", embedder="none")


async def test_an_index_below_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"as an index: .*File exists"):
        Index(tmp_path / "file" / "i.db", embedder="none")


async def test_a_closed_index_says_so(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", embedder="none") as index:
        await index.add(ANIMALS)
    with pytest.raises(UserError, match="This Index was closed: make a new one of the file"):
        await index.search("cats")
    with pytest.raises(UserError, match="This Index was closed"):
        await index.add(Document("more", "more"))


async def test_a_damaged_index_says_so(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", embedder="none") as index:
        await index.add(Document(f"hello world {n} " * 100, f"{n}") for n in range(50))
    with (tmp_path / "i.db").open("r+b") as file:
        for page in range(8_192, (tmp_path / "i.db").stat().st_size, 4_096):
            file.seek(page)
            file.write(b"\xff" * 200)
    with Index(tmp_path / "i.db", embedder="none") as index:
        with pytest.raises(UserError, match="The file is damaged: delete it, and index the documents again"):
            await index.search("hello")
        with pytest.raises(UserError, match="The file is damaged"):
            await index.add(Document("more", "more"))


async def test_an_index_whose_beginning_is_damaged_says_what_helps(tmp_path: Path) -> None:
    path = tmp_path / "i.db"
    Index(path, embedder="none").close()
    path.write_bytes(b"\xff" * 200)
    with pytest.raises(UserError, match=r"i\.db' as an index.*damaged: delete it and index the documents again; else"):
        Index(path, embedder="none")
    path.unlink()
    with Index(path, embedder="none") as index:
        await index.add(ANIMALS)
        assert await index.search("cats")


async def test_an_index_of_a_later_version_is_refused(tmp_path: Path) -> None:
    Index(tmp_path / "i.db", embedder="none").close()
    database = apsw.Connection(str(tmp_path / "i.db"))
    database.execute("UPDATE meta SET value = 99 WHERE name = 'schema'")
    database.close()
    with pytest.raises(UserError, match="has schema 99, this version of Synthon reads 1"):
        Index(tmp_path / "i.db", embedder="none")


async def test_what_was_embedded_before_a_failure_is_kept(tmp_path: Path) -> None:
    class Failing(WordEmbedder):
        async def embed(self, texts: Sequence[str]) -> FloatArray:
            if len(self.texts) > 600:
                message = "the embedder is gone"
                raise ConnectionError(message)
            return await super().embed(texts)

    documents = [Document(f"text number {n}", f"{n:04}") for n in range(1_200)]
    with Index(tmp_path / "i.db", embedder=Failing()) as index:
        with pytest.raises(ConnectionError, match="gone"):
            await index.add(documents)
        assert len(index) == 512
    embedder = WordEmbedder()
    with Index(tmp_path / "i.db", embedder=embedder) as index:
        assert len((await index.add(documents)).unchanged) == 512
        assert (len(index), len(embedder.texts)) == (1_200, 1_200 - 512)


async def test_four_calls_of_texts_are_on_their_way_at_once(tmp_path: Path) -> None:
    class Waiting(WordEmbedder):
        """Answers nothing before four calls wait."""

        waiting, most, asked, four = 0, 0, 0, asyncio.Event()

        async def embed(self, texts: Sequence[str]) -> FloatArray:
            self.asked, self.waiting = self.asked + 1, self.waiting + 1
            self.most = max(self.most, self.waiting)
            if self.waiting == 4:
                self.four.set()
            await self.four.wait()
            await asyncio.sleep(0.01)
            self.waiting -= 1
            return await super().embed(texts)

    embedder = Waiting()
    with Index(tmp_path / "i.db", embedder=embedder) as index:
        async with asyncio.timeout(30):
            await index.add([Document(f"number {n} of all", f"{n}") for n in range(600)])
        assert (embedder.most, embedder.asked, sorted(embedder.texts)) == (4, 10, sorted(set(embedder.texts)))
        assert ids(await index.search("number 517", k=1, mode="dense")) == ["517"]


async def test_only_marks_and_stop_words_still_give_an_answer(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", embedder="none") as index:
        await index.add(Document("... !!!", "marks"))
        assert [(each.document, each.score) for each in await index.search("the ?", k=2)] == [("marks", 0.0)]


async def test_another_chunk_size_is_refused(tmp_path: Path) -> None:
    Index(tmp_path / "i.db", embedder="none", chunk_characters=500).close()
    Index(tmp_path / "i.db", embedder="none").close()
    with pytest.raises(UserError, match="has chunks of 500 characters, not 700"):
        Index(tmp_path / "i.db", embedder="none", chunk_characters=700)


async def test_an_unknown_document_and_a_missing_folder_are_named(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", embedder="none") as index:
        with pytest.raises(UserError, match="No document 'x'"):
            index.document("x")
        with pytest.raises(UserError, match="No documents at"):
            await index.add(tmp_path / "nowhere")
        with pytest.raises(UserError, match="The id 'x' is given to 2 documents"):
            await index.add([Document("a", "x"), Document("b", "x")])


async def test_progress_ends_at_all_documents(tmp_path: Path) -> None:
    seen: list[Progress] = []
    with Index(tmp_path / "i.db", embedder="none") as index:
        await index.add((Document(f"text {n}", str(n)) for n in range(1_200)), progress=seen.append)
    assert [each.done for each in seen] == sorted(each.done for each in seen)
    assert (seen[-1].done, seen[-1].total) == (1_200, 1_200)
    assert len(seen) > 1


async def test_one_index_serves_two_loops_and_their_threads_while_it_grows(tmp_path: Path) -> None:
    index = Index(tmp_path / "i.db", embedder=WordEmbedder())
    await index.add(ANIMALS)
    errors: list[BaseException] = []

    async def use(name: str) -> None:
        for number in range(15):
            await index.add(Document(f"Text {number} by {name}", f"{name}{number}"))
            found = await asyncio.gather(*(index.search(f"by {name}", k=3) for _ in range(3)))
            assert all(len(each) == 3 for each in found)

    def run(name: str) -> None:
        try:
            asyncio.run(use(name))
        except BaseException as error:  # noqa: BLE001  # shown below, in the test's own thread
            errors.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        await asyncio.to_thread(thread.join)
    assert errors == []
    assert len(index.documents()) == 4 + 30
    index.close()
