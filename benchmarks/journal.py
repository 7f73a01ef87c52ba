"""What a durable row costs, and what kills and power cuts lose: `python -m benchmarks.journal [--json]`.

Spans carry 1 kB of attributes and stand in two indexes (run; name and start). Durable: 32 tasks write a span each and
wait until it is fsynced, over and over; CPU time is that of the whole process, event loop, writer thread and kernel.
Behind: one thread writes spans without waiting; its own CPU time is the caller's cost, with the span's making.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.report import Measure, parse, report
from synthon.core.protocols import CallRecord, Key, Span
from synthon.journal import SQLiteJournal
from tests.journal.disasters import Loss, cut, killed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WRITERS = 32
ATTRIBUTES = "x" * 1000
SPANS_A_RUN = 10
REPEATS = 9  # the 2nd and 8th of nine bound the median with 96 %
DISASTERS = 20


def a_span(n: int) -> Span:
    now = time.time()
    run = f"5f1a9c03d2{n // (WRITERS * SPANS_A_RUN) * WRITERS + n % WRITERS:06x}"
    return Span(f"5f1a9c03d2{n:06x}", run, "5f1a9c03d2ffffff", "answer", "step", now, now, attributes=ATTRIBUTES)


def durable_per_cpu_s(path: Path, each: int) -> float:
    """Spans a CPU second, each waited for by its writer."""

    async def work(journal: SQLiteJournal, worker: int) -> None:
        for n in range(each):
            journal.write(a_span(n * WRITERS + worker))
            await journal.durable()

    async def work_all(journal: SQLiteJournal) -> None:
        await asyncio.gather(*(work(journal, worker) for worker in range(WRITERS)))

    with SQLiteJournal(path) as journal:
        start = time.process_time()
        asyncio.run(work_all(journal))
        return each * WRITERS / (time.process_time() - start)


def behind_us(path: Path, count: int) -> tuple[float, float]:
    """CPU microseconds a span on the caller and in the writer, nobody waiting."""
    with SQLiteJournal(path) as journal:
        journal.write(a_span(count))
        journal.flush()
        process, thread = time.process_time(), time.thread_time()
        for n in range(count):
            journal.write(a_span(n))
            if n % 64 == 0:
                time.sleep(0.002)  # a caller at a busy program's pace, so that commits fall between its writes
        thread = time.thread_time() - thread
        journal.flush()
        process = time.process_time() - process
    return thread / count * 1e6, (process - thread) / count * 1e6


def read_us(path: Path, count: int, chance: random.Random) -> float:
    """CPU microseconds for one of 10,000 calls' completions, in random order."""
    with SQLiteJournal(path) as journal:
        keys = [Key("", f"{chance.getrandbits(256):064x}") for _ in range(10_000)]
        for key in keys:
            journal.write(CallRecord(key, "{}", '{"text":"yes"}', a_span(0)))
        journal.flush()
        wanted = chance.choices(keys, k=count)
        start = time.thread_time()
        for key in wanted:
            journal.read(key)
        return (time.thread_time() - start) / count * 1e6


def middle(values: Sequence[float], **target: object) -> Measure:
    """The median of the repeats and its interval."""
    found = sorted(values)
    edge = 1 if len(found) > 2 else 0
    measure = Measure(found[len(found) // 2], interval=(found[edge], found[-1 - edge]), n=len(found))
    return replaced(measure, target)


def replaced(measure: Measure, target: dict[str, object]) -> Measure:
    return Measure(measure.value, measure.interval, measure.n, **target)  # type: ignore[arg-type] # target, op, unit


def lost_and_twice(name: str, losses: Sequence[Loss]) -> dict[str, Measure]:
    rows = sum(loss.acknowledged for loss in losses)
    return {
        f"{name}.lost": Measure(sum(loss.lost for loss in losses), n=rows, target=0, op="<=", unit="rows"),
        f"{name}.duplicated": Measure(sum(loss.duplicated for loss in losses), n=rows, target=0, op="<=", unit="rows"),
    }


def costs(folder: Path, *, full: bool, chance: random.Random) -> dict[str, Measure]:
    scale = 4 if full else 1
    durable_per_cpu_s(folder / "warm.db", 20)

    def repeated(measure: Callable[[Path], float]) -> list[float]:
        return [measure(folder / f"{chance.getrandbits(64):x}.db") for _ in range(REPEATS)]

    durable = repeated(lambda path: durable_per_cpu_s(path, 400 * scale))
    behind = [behind_us(folder / f"behind-{n}.db", 4000 * scale) for n in range(REPEATS)]
    read = repeated(lambda path: read_us(path, 10_000 * scale, chance))
    return {
        "spans.durable_per_cpu_s": middle(durable, target=20_000, op=">=", unit="spans/s"),
        "caller.us_per_span": middle([caller for caller, _ in behind], target=10, op="<=", unit="us"),
        "writer.us_per_span": middle([writer for _, writer in behind], op="<=", unit="us"),
        "read.us_per_call": middle(read, op="<=", unit="us"),
    }


def disasters(folder: Path, *, full: bool, seed: int) -> dict[str, Measure]:
    chance, count = random.Random(seed), DISASTERS * (5 if full else 1)
    kills = [killed(folder / f"killed-{n}.db", chance.randrange(1, 3000)) for n in range(count)]
    measures = lost_and_twice("kill", kills)
    for synchronous in ("FULL", "NORMAL"):
        (folder / synchronous).mkdir()
    measures |= lost_and_twice("power_cut", cut(folder / "FULL", synchronous="FULL", cuts=count, seed=seed))
    unsafe = cut(folder / "NORMAL", synchronous="NORMAL", cuts=count, seed=seed)
    rows = sum(loss.acknowledged for loss in unsafe)
    lost = sum(loss.lost for loss in unsafe)
    measures["power_cut.lost_with_normal"] = Measure(lost, n=rows, target=1, op=">=", unit="rows")
    return measures


def main() -> None:
    arguments = parse(__doc__)
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="synthon-journal-") as name:
        measures = costs(Path(name), full=arguments.full, chance=chance)
        measures |= disasters(Path(name), full=arguments.full, seed=arguments.seed)
    report("journal", arguments.seed, measures, as_json=arguments.json, readme=arguments.readme)


if __name__ == "__main__":
    main()
