"""Kills and power cuts, and what they cost: used by the tests and by `benchmarks/journal.py`.

Run as `python tests/journal/disasters.py FILE`, it writes rows until it is killed, and prints each id that is durable.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from synthon.core.protocols import CallRecord, Key, Span
from synthon.journal import SQLiteJournal

if TYPE_CHECKING:
    from collections.abc import Callable

    from synthon.journal.schema import Synchronous

WRITERS = 16
FILLER = "x" * 1000


@dataclass(frozen=True, slots=True)
class Loss:
    """Rows acknowledged before a disaster; how many of them were gone after it, and how many rows were there twice."""

    acknowledged: int
    lost: int
    duplicated: int


async def write_for_ever(journal: SQLiteJournal, acknowledge: Callable[[str], None]) -> None:
    """Sixteen tasks that write spans and calls, each row acknowledged when it is durable."""

    async def work(worker: int) -> None:
        for n in itertools.count():
            id_ = f"{worker}-{n}"
            span = Span(id_, f"run-{worker}", "", "answer", "step", time.time(), time.time(), attributes=FILLER)
            journal.write(CallRecord(Key("", id_), id_, "{}", span) if n % 2 else span)
            await journal.durable()
            acknowledge(id_)

    async with asyncio.TaskGroup() as group:
        for worker in range(WRITERS):
            group.create_task(work(worker))


def loss(path: Path, acknowledged: list[str]) -> Loss:
    """What the file at `path` still has of the acknowledged rows."""
    with SQLiteJournal(path):
        pass
    with apsw.Connection(str(path)) as connection:
        spans = Counter(id_ for (id_,) in connection.execute("SELECT id FROM spans"))
        calls = Counter(digest for (digest,) in connection.execute("SELECT digest FROM calls"))
    connection.close()
    odd = [id_ for id_ in acknowledged if int(id_.partition("-")[2]) % 2]
    lost = sum(id_ not in spans for id_ in acknowledged) + sum(id_ not in calls for id_ in odd)
    twice = sum(count > 1 for count in [*spans.values(), *calls.values()])
    return Loss(len(acknowledged), lost, twice)


def killed(path: Path, after: int) -> Loss:
    """The loss by `kill -9`, once a process of its own has acknowledged `after` rows."""
    with subprocess.Popen([sys.executable, __file__, str(path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [line.strip() for line in itertools.islice(process.stdout, after)]
        process.send_signal(signal.SIGKILL)
        acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
    return loss(path, acknowledged)


def cut(folder: Path, *, synchronous: Synchronous, cuts: int, seed: int, every_s: float = 0.1) -> list[Loss]:
    """The losses by power cuts at random moments of one long session, checkpoints of the log among them."""
    from tests.journal.power_cut import ForgetfulDisk  # noqa: PLC0415 - the killed process does without

    disk = ForgetfulDisk(f"forgetful-{synchronous}-{folder.name}")
    chance = random.Random(seed)
    acknowledged: list[str] = []
    copies: list[tuple[Path, list[str]]] = []

    async def session() -> None:
        writing = asyncio.create_task(write_for_ever(journal, acknowledged.append))
        for number in range(cuts):
            await asyncio.sleep(chance.uniform(0.2, 1.8) * every_s)
            if number % 4 == 1:
                checkpointing.wal_checkpoint()
                await asyncio.sleep(chance.uniform(0.0, 0.02))
            known = list(acknowledged)
            place = folder / f"cut-{number}"
            disk.cut(place)
            copies.append((place, known))
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)

    with SQLiteJournal(folder / "journal.db", synchronous=synchronous, vfs=disk.name) as journal:
        checkpointing = apsw.Connection(str(journal.path), vfs=disk.name)
        asyncio.run(session())
        checkpointing.close()
    return [loss(place / "journal.db", known) for place, known in copies]


if __name__ == "__main__":
    with SQLiteJournal(Path(sys.argv[1])) as endless:
        asyncio.run(write_for_ever(endless, lambda id_: print(id_, flush=True)))  # noqa: T201 - read by the killer
