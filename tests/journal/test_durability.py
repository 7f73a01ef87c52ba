from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import apsw
import pytest

from synthon.core.errors import JournalError
from synthon.journal import SQLiteJournal
from tests.journal.disasters import cut, killed
from tests.journal.rows import a_call, a_span

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_a_kill_loses_and_doubles_no_acknowledged_row(tmp_path: Path) -> None:
    chance = random.Random(7)
    losses = [killed(tmp_path / f"{n}.db", chance.randrange(1, 1500)) for n in range(6)]
    assert all(loss.acknowledged for loss in losses)
    assert [(loss.lost, loss.duplicated) for loss in losses] == [(0, 0)] * 6


@pytest.mark.slow
def test_a_killed_journal_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    before = killed(path, 200)
    with SQLiteJournal(path) as journal:
        journal.write(a_span("after"))
    with apsw.Connection(str(path)) as connection:
        assert connection.execute("SELECT count(*) FROM spans").get > before.acknowledged
    connection.close()


@pytest.mark.slow
def test_a_power_cut_loses_and_doubles_no_acknowledged_row(tmp_path: Path) -> None:
    losses = cut(tmp_path, synchronous="FULL", cuts=20, seed=7)
    assert losses[-1].acknowledged > 100
    assert [(loss.lost, loss.duplicated) for loss in losses] == [(0, 0)] * 20


@pytest.mark.slow
def test_the_same_power_cut_without_fsync_loses_some(tmp_path: Path) -> None:
    losses = cut(tmp_path, synchronous="NORMAL", cuts=5, seed=7)
    assert sum(loss.lost for loss in losses) > 0


class FullDisk(apsw.VFS):
    """Has room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.name = f"full-{id(self)}"
        self.room = room
        super().__init__(self.name, "")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's
        disk = self

        class File(apsw.VFSFile):
            def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's
                disk.room -= len(data)
                if disk.room < 0:
                    raise apsw.FullError
                super().xWrite(data, offset)

        return File("", name, flags)


async def test_a_full_disk_fails_all_who_wait_and_write_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    path, disk = tmp_path / "journal.db", FullDisk(400_000)
    journal = SQLiteJournal(path, vfs=disk.name)
    acknowledged: list[str] = []

    async def work(worker: int) -> None:
        for n in range(1000):
            journal.write(a_span(f"{worker}-{n}", attributes="the secret " * 100))
            await journal.durable()
            acknowledged.append(f"{worker}-{n}")

    ended = await asyncio.gather(*(work(worker) for worker in range(8)), return_exceptions=True)
    assert acknowledged
    assert {type(error) for error in ended} == {JournalError}
    message = r"journal\.db' failed: FullError: .*What it acknowledged is on disk.*resume the run"
    with pytest.raises(JournalError, match=message) as caught:
        journal.write(a_span("later"))
    assert "secret" not in str(caught.value)
    with pytest.raises(JournalError, match="FullError"):
        await journal.durable()
    with pytest.raises(JournalError, match="FullError"):
        journal.flush()
    with pytest.raises(JournalError, match="FullError"):
        journal.close()
    with SQLiteJournal(path) as again:
        again.write(a_span("after"))
    with apsw.Connection(str(path)) as connection:
        kept = [id_ for (id_,) in connection.execute("SELECT id FROM spans")]
    assert set(acknowledged) <= set(kept)
    assert len(kept) == len(set(kept))
    assert "later" not in kept


def test_leaving_a_block_by_an_error_shows_that_error_and_not_the_disks(tmp_path: Path) -> None:
    disk = FullDisk(400_000)

    def fail() -> None:
        with SQLiteJournal(tmp_path / "j.db", vfs=disk.name) as journal:
            disk.room = 0
            journal.write(a_span())
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()


RACER = """
import asyncio, sys
from synthon.journal import SQLiteJournal
from tests.journal.rows import a_call

async def main():
    with SQLiteJournal(sys.argv[1]) as journal:
        print("ready", flush=True)
        sys.stdin.readline()
        won = []
        for n in range(100):
            call = a_call(str(n), sys.argv[2])
            journal.write(call)
            if n % 10 == 0:
                await journal.durable()
        await journal.durable()
        print(",".join(journal.read(a_call(str(n)).key) for n in range(100)), flush=True)

asyncio.run(main())
"""


def test_three_processes_on_a_cold_file_all_read_the_row_that_won(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(path), name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name in "abc"
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    answers = [racer.communicate(timeout=60)[0].strip() for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0, 0]
    assert set(answers[0].split(",")) <= set("abc")
    assert answers[0] == answers[1] == answers[2]
    with apsw.Connection(str(path)) as connection:
        assert connection.execute("SELECT count(*) FROM calls").get == 100


def test_what_was_written_last_is_kept_when_the_program_ends(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    program = (
        "import sys; from synthon.journal import SQLiteJournal; from tests.journal.rows import a_span\n"
        "SQLiteJournal(sys.argv[1], linger_s=60).write(a_span())"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True, timeout=60)
    with apsw.Connection(str(path)) as connection:
        assert connection.execute("SELECT id FROM spans").get == "s1"


def test_a_program_that_ends_on_a_full_disk_says_so(tmp_path: Path) -> None:
    program = (
        "import sys, logging; logging.basicConfig()\n"
        "from synthon.journal import SQLiteJournal; from tests.journal.rows import a_span\n"
        "from tests.journal.test_durability import FullDisk\n"
        "disk = FullDisk(400_000); journal = SQLiteJournal(sys.argv[1], vfs=disk.name, linger_s=60)\n"
        "disk.room = 0; journal.write(a_span())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "j.db")], check=True, timeout=60, capture_output=True, text=True
    )
    assert "rows written last are not in the journal" in ended.stderr


def test_closing_while_others_write_keeps_all_they_were_told_is_durable(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    journal = SQLiteJournal(path)
    told: list[str] = []

    def work(worker: int) -> None:
        for n in range(10_000):
            try:
                journal.write(a_call(f"{worker}-{n}"))
                journal.flush()
            except JournalError:
                return
            told.append(f"{worker}-{n}")

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    while len(told) < 20:
        threading.Event().wait(0.01)
    journal.close()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    with SQLiteJournal(path) as again:
        assert all(again.read(a_call(request).key) for request in told)
