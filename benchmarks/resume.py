"""Searches that are killed and go on, and what replay saves: `python -m benchmarks.resume [--json]`.

A search over a program of four steps, each with two models, runs in a process of its own. The models are local
functions whose answers hang on all they are asked and take 0.1 s, as a small model's do; every call is appended to a
file before it is answered. Five searches run at once. The artifact is the best program's file and the search's summary.

    kill.*      20 searches, each killed with SIGKILL once, at a random call and up to 0.1 s behind it, and started
                again: `same` is the share whose artifact is that of the uninterrupted search, byte for byte; `extra`
                counts calls beyond those of the uninterrupted search, at most the calls in flight were promised
    kills.*     one search that is killed 20 times
    replay.*    one step's instruction is changed after the program has run on all rows: `saved` is the share of calls
                that need not be made again. In `replay` each of the changed step's answers changes, so what stands
                before it is all that can be saved; in `replay_half` half of them do
    search.*    the calls of the whole search against those of running every row of every candidate in full
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import synthon as sy
from benchmarks.report import Measure, parse, report, skip
from benchmarks.statistics import interval, share
from synthon.core.errors import MissingExtra
from synthon.evals import Case, Cases
from synthon.optimize import optimize

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthon.core.program import Program

KILLS, CALLS, WORKERS, ANSWER_S = 20, 120, 4, 0.1
TRAIN, VALIDATION, STEPS = 12, 16, 4
AT_ONCE = 5
_FORK = multiprocessing.get_context("fork")  # the parent has imported, and never runs a loop before the last fork


def chance(*parts: object) -> float:
    """A number in 0..1 that hangs on these parts alone."""
    return int(hashlib.sha256(":".join(map(str, parts)).encode()).hexdigest()[:8], 16) / 16**8


@dataclass(frozen=True)
class Provider:
    """A model that appends + to a text where it does well, as often as its skill, and - elsewhere.

    Attributes:
        log: where each call is written before it is answered.
        heeds: share of the texts whose answer hangs on the instruction too.
    """

    name: str
    skill: float
    log: Path
    seconds: float = 0.0
    heeds: float = 1.0

    async def __call__(self, request: sy.Request) -> str:
        text = request.messages[-1].text
        line = hashlib.sha256("\0".join(each.text for each in request.messages).encode()).hexdigest()[:16]
        descriptor = os.open(self.log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(descriptor, f"{self.name} {line}\n".encode())
        os.close(descriptor)
        await asyncio.sleep(self.seconds)
        heard = request.messages[0].text if chance("heeds", text) < self.heeds else ""
        mark = "+" if chance(self.name, text, heard) < self.skill else "-"
        return f"{text} {mark}{chance(text, heard):.4f}"

    def model(self, usd: float) -> sy.Journaled:
        """It, journaled, at this price for a million tokens."""
        return sy.Journaled(sy.FunctionModel(self, name=self.name), price=sy.Price(usd, usd))


def chain(log: Path, seconds: float = 0.0, heeds: float = 1.0) -> tuple[Program[[str], str], list[sy.Step[[str], str]]]:
    """Four steps, each of which says what it thinks of the text before it, and the steps."""
    small = Provider("small", 0.5, log, seconds, heeds).model(1)
    large = Provider("large", 0.8, log, seconds, heeds).model(20)

    @sy.step(model=sy.one_of(small, large), temperature=0.0)
    async def read(text: str) -> str:
        """Read the text."""
        raise NotImplementedError

    @sy.step(model=sy.one_of(small, large), temperature=0.0)
    async def find(text: str) -> str:
        """Find what matters."""
        raise NotImplementedError

    @sy.step(model=sy.one_of(small, large), temperature=0.0)
    async def write(text: str) -> str:
        """Write an answer."""
        raise NotImplementedError

    @sy.step(model=sy.one_of(small, large), temperature=0.0)
    async def shorten(text: str) -> str:
        """Make it shorter."""
        raise NotImplementedError

    @sy.program
    async def answer(text: str) -> str:
        return await shorten(await write(await find(await read(text))))

    return answer, [read, find, write, shorten]


def cases(n: int, start: int) -> Cases[str]:
    """Texts; what is expected of them is in the metric."""
    return Cases(Case({"text": f"row {number}"}, "") for number in range(start, start + n))


def pluses(case: Case[str], output: str) -> float:
    """The share of steps that did well."""
    return output.count("+") / STEPS


def live(folder: Path) -> None:
    """Search in this process and write the artifact."""

    async def searched() -> None:
        program, _ = chain(folder / "calls", ANSWER_S)
        run = await optimize(
            program, cases(TRAIN, 1000), cases(VALIDATION, 0), metric=pluses, budget=sy.Budget(calls=CALLS), seed=1,
            journal=folder / "journal.db", workers=WORKERS, embedder="wordllama-256", watch=lambda _: None,
        )  # fmt: skip
        run.best().save(folder / "best.json")
        whole = sum(each.calls for rows in run.history.rows.values() for each in rows.values())
        (folder / "spent.json").write_text(json.dumps([run.budget.spent.calls, whole]))
        (folder / "summary.json").write_text(json.dumps(run.summary(), sort_keys=True))

    asyncio.run(searched())


def life(folder: Path) -> None:
    """All that a process does; it has no threads to wait for, as the one it was forked from has."""
    live(folder)
    os._exit(0)


def artifact(folder: Path) -> bytes:
    return (folder / "best.json").read_bytes() + (folder / "summary.json").read_bytes()


def logged(folder: Path) -> int:
    """Calls that reached a model."""
    path = folder / "calls"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def lived(folder: Path, *, kill_at: int = 0, wait_s: float = 0.0) -> bool:
    """A life; killed once as many calls are logged, and a while later. Whether it was."""
    process = _FORK.Process(target=life, args=(folder,))
    process.start()
    while kill_at and process.is_alive() and logged(folder) < kill_at:
        time.sleep(0.002)
    if kill_at:
        time.sleep(wait_s)
        process.kill()
    process.join()
    if process.exitcode not in {0, -9}:
        msg = f"A search in {folder} ended with {process.exitcode}; see its message above."
        raise RuntimeError(msg)
    return process.exitcode != 0


@dataclass(frozen=True)
class Ending:
    """What kills led to: calls beyond the uninterrupted search's, and whether its artifact came out."""

    extra: int
    same: bool


def killed(folder: Path, moments: Sequence[tuple[int, float]], calm: Path) -> Ending:
    """Kill a search at these moments, the n-th one in its n-th life, and let it end."""
    folder.mkdir()
    for calls, wait_s in moments:
        if not lived(folder, kill_at=calls, wait_s=wait_s):
            msg = f"The search in {folder} ended before it could be killed at call {calls}."
            raise RuntimeError(msg)
    lived(folder)
    return Ending(logged(folder) - logged(calm), artifact(folder) == artifact(calm))


def kill_measures(folder: Path, seed: int, kills: int) -> dict[str, Measure]:
    """Searches killed once each, and one killed as often."""
    calm, drawn = folder / "calm", random.Random(seed)
    calm.mkdir(parents=True)
    lived(calm)
    whole = logged(calm)
    points = sorted(drawn.sample(range(1, whole - WORKERS), kills))
    once = [[(point, drawn.uniform(0, ANSWER_S))] for point in points]
    many = [(point, drawn.uniform(0, ANSWER_S / 2)) for point in points]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        last = pool.submit(killed, folder / "many", many, calm)
        tasks = [pool.submit(killed, folder / str(number), moments, calm) for number, moments in enumerate(once)]
        endings, all_kills = [task.result() for task in tasks], last.result()
    extra = [float(each.extra) for each in endings]
    same = sum(each.same for each in endings)
    spent, full = json.loads((calm / "spent.json").read_text())
    return {
        "kill.same": Measure(same / kills, share(same, kills), kills, 1.0, unit="of searches"),
        "kill.extra_mean": Measure(sum(extra) / kills, interval(extra), kills, op="<=", unit="calls"),
        "kill.extra_max": Measure(max(extra), None, kills, WORKERS, "<=", "calls"),
        "kills.same": Measure(float(all_kills.same), None, 1, 1.0),
        "kills.extra_a_kill": Measure(all_kills.extra / kills, None, kills, WORKERS, "<=", "calls"),
        "search.calls": Measure(spent, n=1, target=CALLS, op="<=", unit="calls"),
        "search.calls_run_in_full": Measure(full, n=1, unit="calls"),
        "search.saved": Measure(1 - spent / full, n=full, unit="of calls"),
    }


async def replayed(folder: Path, heeds: float) -> list[float]:
    """The share of calls that is saved when the first, second, ... step is changed; over all rows."""
    log, rows = folder / "calls", cases(VALIDATION * 4, 0)
    program, steps = chain(log, 0.0, heeds)
    saved = []
    for step in steps:
        journal = sy.MemoryJournal()
        changed = program.using({f"{step.name}.instruction": "Think first."})
        for each in (program, changed):
            log.write_bytes(b"")
            for case in rows:
                await sy.run(each, str(case.inputs["text"]), journal=journal, policy="cache")
        saved.append(1 - logged(folder) / (len(rows) * len(steps)))
    return saved


def replay_measures(folder: Path) -> dict[str, Measure]:
    measures: dict[str, Measure] = {}
    n = VALIDATION * 4 * STEPS
    for name, heeds in (("replay", 1.0), ("replay_half", 0.5)):
        (folder / name).mkdir()
        for number, saved in enumerate(asyncio.run(replayed(folder / name, heeds))):
            target = number / STEPS  # what stands before it
            measures[f"{name}.step_{number + 1}.saved"] = Measure(saved, None, n, target, unit="of calls")
    return measures


def main() -> None:
    if "OPENBLAS_NUM_THREADS" not in os.environ:  # else searches side by side wait for each other's threads
        os.execve(sys.executable, sys.orig_argv, os.environ | {"OPENBLAS_NUM_THREADS": "1"})  # noqa: S606 - this program
    arguments = parse(__doc__)
    with tempfile.TemporaryDirectory(prefix="synthon-resume-") as name:
        folder = Path(name)
        try:
            measures = kill_measures(folder / "kills", arguments.seed, KILLS * (5 if arguments.full else 1))
        except MissingExtra as missing:
            skip("resume", str(missing), arguments)
            return
        measures |= replay_measures(folder)
    report("resume", arguments.seed, measures, as_json=arguments.json, readme=arguments.readme)


if __name__ == "__main__":
    main()
