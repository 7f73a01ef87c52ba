"""Journals whose file is taken away, or held by another."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from synthon.core.errors import JournalError
from synthon.core.running import run
from synthon.journal import SQLiteJournal
from tests.journal.rows import a_call, a_span, rows_locked

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


async def test_a_journal_deleted_while_it_is_open_begins_anew(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = a_call('{"q":1}', "first"), a_call('{"q":2}', "second")
    with SQLiteJournal(path) as journal:
        journal.write(first)
        await journal.durable()
        os.remove(path)  # noqa: PTH107 - not async either
        journal.write(second)
        await journal.durable()
        assert "was moved or deleted" in caplog.text
        assert (journal.read(first.key), journal.read(second.key)) == (None, "second")
        with SQLiteJournal(path) as other:
            assert other.read(second.key) == "second"


async def test_a_journal_deleted_before_it_was_read_is_read(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def one() -> int:
        return 1

    with SQLiteJournal(path) as journal:
        assert await run(one, journal=journal) == 1
        os.remove(path)  # noqa: PTH107 - not async either
        assert await run(one, journal=journal, run_id="named") == 1
        assert "was moved or deleted" in caplog.text
        found = journal.run("named")
        assert found is not None
        assert found.status == "done"


def test_a_reader_of_a_file_that_was_deleted_meanwhile_is_not_used_again(path: Path) -> None:
    first, second = a_call('{"q":1}', "first"), a_call('{"q":2}', "second")
    with SQLiteJournal(path) as journal:
        journal.write(first)
        journal.flush()
        readers, reader = journal._reader()  # noqa: SLF001 - as a thread has it that reads
        path.unlink()
        journal.write(second)
        journal.flush()
        readers.append(reader)
        assert (journal.read(first.key), journal.read(second.key)) == (None, "second")


async def test_a_journal_whose_folder_is_gone_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    journal = SQLiteJournal(folder / "journal.db")
    journal.write(a_span("one"))
    await journal.durable()
    shutil.rmtree(folder)
    journal.write(a_span("two"))
    with pytest.raises(JournalError, match=r"cannot be opened: FileNotFoundError.* a folder that exists"):
        await journal.durable()
    with pytest.raises(JournalError, match="cannot be opened"):
        journal.close()


async def test_a_named_run_that_waits_for_the_lock_lets_others_run(path: Path) -> None:
    async def one() -> int:
        return 1

    locked, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with rows_locked(path):
            locked.set()
            enough.wait(5)

    with SQLiteJournal(path) as journal:
        holding = threading.Thread(target=hold)
        holding.start()
        locked.wait()
        journal.write(a_span("pending"))
        waiting = asyncio.create_task(run(one, run_id="named", journal=journal))
        await asyncio.sleep(0.1)
        assert holding.is_alive()
        assert not waiting.done()
        enough.set()
        assert await waiting == 1
