"""The usearch file beside a large index: derived, checked, brought up to date, made anew when it is not ours."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from synthon.retrieval import Document, Index
from tests.retrieval.embedding import WordEmbedder

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENTS = [Document(f"animal {n} likes food {n * 7 % 300} in town {n * 11 % 300}", f"{n:03}") for n in range(300)]


def large(path: Path) -> Index:
    return Index(path, embedder=WordEmbedder(), exact_chunks=100)


async def test_the_graph_answers_like_the_exact_scan(tmp_path: Path) -> None:
    with Index(tmp_path / "exact.db", embedder=WordEmbedder()) as exact, large(tmp_path / "large.db") as index:
        await exact.add(DOCUMENTS)
        await index.add(DOCUMENTS)
        assert (tmp_path / "large.db.usearch").exists()
        assert not (tmp_path / "exact.db.usearch").exists()
        for mode in ("dense", "hybrid"):
            for n in range(0, 300, 30):
                query = f"food {n} town {n + 7}"
                ours, theirs = [await each.search(query, k=10, mode=mode) for each in (index, exact)]
                assert len({p.document for p in ours} & {p.document for p in theirs}) >= 9
                assert ours[0].score == pytest.approx(theirs[0].score, abs=1e-4)


async def test_a_few_changes_wait_for_the_next_search(tmp_path: Path) -> None:
    file = tmp_path / "i.db.usearch"
    with large(tmp_path / "i.db") as index:
        await index.add(DOCUMENTS)
        made = file.stat().st_mtime_ns
        for n in range(3):
            await index.add([Document(f"a walrus likes clams {n}", f"walrus {n}")])
        await index.remove("007")
        assert file.stat().st_mtime_ns == made
        found = await index.search("a walrus likes clams 2", k=3, mode="dense")
        assert {each.document for each in found} == {"walrus 0", "walrus 1", "walrus 2"}
        assert file.stat().st_mtime_ns > made
        made = file.stat().st_mtime_ns
        await index.add([Document(f"a heron likes fish {n}", f"heron {n}") for n in range(9)])
        assert file.stat().st_mtime_ns > made


@pytest.mark.parametrize("harm", ["gone", "damaged", "of another index", "no manifest"])
async def test_a_file_that_does_not_fit_is_made_anew(tmp_path: Path, harm: str) -> None:
    file, manifest = tmp_path / "i.db.usearch", tmp_path / "i.db.usearch.json"
    with large(tmp_path / "i.db") as index:
        await index.add(DOCUMENTS)
        expected = await index.search("food 14", k=10)
    if harm == "gone":
        file.unlink()
    elif harm == "damaged":
        file.write_bytes(file.read_bytes()[:-1_000] + b"x" * 1_000)
    elif harm == "no manifest":
        manifest.write_text("{")
    else:
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "index": "other"}))
    with large(tmp_path / "i.db") as index:
        found = await index.search("food 14", k=10)
        # several threads build a graph, so two of the same rows may differ in a neighbour
        assert len({each.document for each in found} & {each.document for each in expected}) >= 9
    assert json.loads(manifest.read_text())["index"] != "other"


async def test_a_file_that_fits_is_opened_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "i.db.usearch"
    with large(tmp_path / "i.db") as index:
        await index.add(DOCUMENTS)
        expected = await index.search("food 14", k=10)
    before = file.stat()
    with large(tmp_path / "i.db") as index:
        assert await index.search("food 14", k=10) == expected
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_only_the_owner_may_read_an_index(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with large(tmp_path / "new" / "i.db") as index:
            await index.add(DOCUMENTS)
            modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "new").iterdir()}
    finally:
        os.umask(before)
    beside = ("", "-shm", "-wal", ".usearch", ".usearch.json")
    assert modes == {f"i.db{suffix}": "0o600" for suffix in beside}
    assert oct((tmp_path / "new").stat().st_mode & 0o777) == "0o700"


async def test_the_file_follows_what_is_added_and_removed(tmp_path: Path) -> None:
    with large(tmp_path / "i.db") as index:
        await index.add(DOCUMENTS)
        await index.remove("005", "006")
        await index.add([Document("a walrus in the bath", "walrus"), Document("other words", "007")])
        assert [p.document for p in await index.search("walrus bath", k=1, mode="dense")] == ["walrus"]
        found = {p.document for p in await index.search("animal", k=299, mode="dense")}
        assert len(found) == 299
        assert not found & {"005", "006"}
    with Index(tmp_path / "i.db", embedder=WordEmbedder()) as exact:
        assert {p.document for p in await exact.search("animal", k=299, mode="dense")} == found
