"""One index file, used by several threads and processes at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import synthon as sy
from synthon.core.errors import UserError
from synthon.retrieval import Document, Index
from tests.retrieval.embedding import WordEmbedder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from synthon.core.protocols import FloatArray

_WRITE = """
import select, sys, apsw
database = apsw.Connection(sys.argv[1])
database.execute("BEGIN IMMEDIATE")
print("writing", flush=True)
select.select([sys.stdin], [], [], 10)
database.execute("COMMIT")
"""


@contextmanager
def another_process_writing(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Holds the file's write lock for 10 s, or until its stdin is closed."""
    command = [sys.executable, "-c", _WRITE, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        yield process


async def test_the_loop_goes_on_while_another_process_writes(tmp_path: Path) -> None:
    with Index(tmp_path / "i.db", embedder="none") as index:
        await index.add(Document("first", "a"))
        with another_process_writing(tmp_path / "i.db") as process:
            adding = asyncio.create_task(index.add(Document("second", "b")))
            for _ in range(20):
                await asyncio.sleep(0.02)
            assert process.poll() is None
            assert not adding.done()
            assert process.stdin is not None
            process.stdin.close()
            assert (await adding).added == ("b",)


async def test_who_cannot_write_in_time_is_told_why_and_can_still_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("synthon.retrieval.database.BUSY_TIMEOUT_MS", 50)
    with Index(tmp_path / "i.db", embedder="none") as index:
        await index.add(Document("first", "a"))
    with another_process_writing(tmp_path / "i.db") as process, Index(tmp_path / "i.db", embedder="none") as index:
        with pytest.raises(UserError, match="Another process is writing this index: try again when it is done"):
            await index.add(Document("second", "b"))
        assert [passage.document for passage in await index.search("first")] == ["a"]
        assert process.stdin is not None
        process.stdin.close()


async def test_a_new_index_waits_for_another_process_that_makes_it(tmp_path: Path) -> None:
    (tmp_path / "i.db").touch()
    with another_process_writing(tmp_path / "i.db") as process:
        opening = asyncio.create_task(asyncio.to_thread(Index, tmp_path / "i.db", embedder="none"))
        await asyncio.sleep(0.2)
        assert process.stdin is not None
        process.stdin.close()
        (await opening).close()


def test_threads_open_one_file_at_once(tmp_path: Path) -> None:
    def use(number: int) -> None:
        for turn in range(5):
            with Index(tmp_path / "i.db", embedder="none") as index:
                asyncio.run(index.add(Document(f"text {number}", f"{number}-{turn}")))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(4)))
    with Index(tmp_path / "i.db", embedder="none") as index:
        assert len(index.documents()) == 20


async def test_an_add_keeps_what_another_one_found_meanwhile(tmp_path: Path) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "old.txt").write_text("old words")

    class Slow(WordEmbedder):
        async def embed(self, texts: Sequence[str]) -> FloatArray:
            (folder / "new.txt").write_text("new words")
            with Index(tmp_path / "i.db", embedder=WordEmbedder()) as other:
                assert (await other.add(folder)).added == ("new.txt", "old.txt")
            return await super().embed(texts)

    with Index(tmp_path / "i.db", embedder=Slow()) as index:
        assert (await index.add(folder)).removed == ()
        assert index.documents() == ["new.txt", "old.txt"]
        (folder / "new.txt").unlink()
        assert (await index.add(folder)).removed == ("new.txt",)


async def test_a_search_that_a_change_overtakes_is_kept_for_the_documents_it_found(tmp_path: Path) -> None:
    class Overtaken(WordEmbedder):
        """While it embeds a query, another document comes."""

        async def embed(self, texts: Sequence[str]) -> FloatArray:
            if texts == ["secret"]:
                await index.add(Document(f"the secret {len(self.texts)}", f"s{len(self.texts)}"))
            return await super().embed(texts)

    async def ask() -> list[str]:
        return [passage.document for passage in await index.search("secret")]

    embedder, journal = Overtaken(), sy.MemoryJournal()
    with Index(tmp_path / "i.db", embedder=embedder) as index:
        await index.add(Document("alpha", "a"))
        found = await sy.run(ask, journal=journal, policy="cache")
        assert found == ["s1", "a"]
        assert embedder.texts.count("secret") == 1  # asked once, however often documents change
        assert await sy.run(ask, journal=journal, policy="replay_only") == found
        await index.remove("s1")
        embedder.texts.clear()
        assert await sy.run(ask, journal=journal, policy="cache") == ["s0", "a"]

        async def twice() -> list[list[str]]:
            return list(await asyncio.gather(ask(), ask()))

        assert await sy.run(twice, policy="fresh", journal=journal) == [["s2", "s0", "a"]] * 2
