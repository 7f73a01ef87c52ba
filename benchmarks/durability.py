"""What kills cost a durable agent, beside LangGraph and DBOS on SQLite: `python -m benchmarks.durability [--json]`.

One agent makes 20 calls: 14 of a model, a local function whose answer hangs on all before, and 6 acts on the world,
whose receiver is a file appended to at once. It is killed with SIGKILL once at each of 46 points: before and after each
model call, inside each act before and after the receiver is reached, and after it; then it is started again until it
ends. Each library's agent is written as its documentation has it: `benchmarks/peers/agent_*.py`. LangGraph's is there
twice, as a StateGraph with a node a call and in the functional API with a task a call, both with `durability="sync"`;
ours too, `synthon_durable` with `sy.run(durable=True)`, which has each call on disk before its answer is used.

    keyed      the receiver ignores a key it has seen; each library's best key: run and call, thread and task, workflow
               and step
    unkeyed    it knows no keys. Ours then stops as Uncertain where it cannot know (`uncertain`, a share of the kills):
               a person looks at the receiver and settles it, and the run goes on; the others end by themselves
    at_once    as unkeyed, killed at once; above, 0.25 s after the point is reached, while the library's threads go on:
               rows of ours are on disk some 30 ms after a call, unless the call is an act or the run is durable

Measured, a kill: model calls that had ended and were made again (mean and most); in all: acts that the receiver never
saw (lost), or saw again as new (twice); the share of runs that ended in the result of the uninterrupted one (same).
`process` is a new process that imports, runs the agent uninterrupted and ends; `step` is a further call of a run of 220
calls, with everything the library does until the run's end; `fsyncs` counts the system calls fsync and fdatasync of a
step, where strace is installed. Libraries take turns; intervals there are the lowest and highest round.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, Self, cast

from benchmarks import peer
from benchmarks.report import Measure, parse, report
from benchmarks.statistics import interval, share

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LIBRARIES = {
    "synthon": "",
    "synthon_durable": "",
    "langgraph": "langgraph",
    "langgraph_graph": "langgraph",
    "dbos": "dbos",
}  # with their environments, ours where there is none
VERSIONS = {"langgraph": ("langgraph", "langgraph-checkpoint-sqlite"), "dbos": ("dbos",)}
HERE = Path(__file__).parent / "peers"
ACTS, CALLS = 6, 20
POINTS = 14 * 2 + ACTS * 3
KEPT_AFTER_S = 0.25
ROUNDS, FULL_ROUNDS = 7, 15
LAPS = 11  # of the longer run
FULL_REPEATS = 5


class Lived(NamedTuple):
    """What one life took."""

    wall_s: float
    cpu_s: float


class Case(NamedTuple):
    """What the receiver knows, and how long after reaching its point the agent is killed."""

    name: str
    honours_key: bool
    wait_s: float


CASES = (Case("keyed", True, KEPT_AFTER_S), Case("unkeyed", False, KEPT_AFTER_S), Case("at_once", False, 0.0))


class Agents:
    """A library's agent, to be run again and again, each life in a process of its own."""

    def __init__(self, library: str, *before: str) -> None:
        environment = LIBRARIES[library]
        python = str(peer.python(environment)) if environment else sys.executable
        command = [*before, python, str(HERE / f"agent_{library}.py")]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.jobs, self.told = cast("IO[str]", self.process.stdin), cast("IO[str]", self.process.stdout)  # both piped

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def live(
        self, folder: Path, case: Case = CASES[0], *, kill_at: int = 0, settles: bool = False, laps: int = 1
    ) -> Lived:
        """Run the agent of a folder until it ends or is killed.

        Raises:
            RuntimeError: it failed; its own message is on stderr.
        """
        job = {
            "folder": str(folder), "laps": laps, "honours_key": case.honours_key, "settles": settles,
            "kill_at": kill_at, "wait_s": case.wait_s,
        }  # fmt: skip
        self.jobs.write(json.dumps(job) + "\n")
        told = json.loads(self.told.readline())
        if told["status"] != (signal.SIGKILL if kill_at else 0):
            msg = f"{self.process.args!r} ended with {told['status']} on {job!r}; see its message above."
            raise RuntimeError(msg)
        return Lived(told["wall_s"], told["cpu_s"])

    def close(self) -> float:
        """Let it end; returns the CPU seconds of all its lives and itself."""
        self.jobs.close()
        _, status, used = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        self.told.close()
        return used.ru_utime + used.ru_stime


@dataclass(frozen=True)
class Ending:
    """What one kill led to."""

    repeated: int
    lost: int
    twice: int
    uncertain: bool
    same: bool


def rows(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def killed(agents: Agents, folder: Path, case: Case, kill_at: int, calm: str) -> Ending:
    """Kill the agent once and run it to its end."""
    folder.mkdir()
    agents.live(folder, case, kill_at=kill_at)
    agents.live(folder, case)
    uncertain = (folder / "out").read_text() == "null"
    if uncertain:
        agents.live(folder, case, settles=True)
    received = [tuple(json.loads(row)) for row in rows(folder / "sent")]
    acts = Counter(what for what, _ in (set(received) if case.honours_key else received))
    return Ending(
        repeated=sum(times - 1 for times in Counter(rows(folder / "calls")).values()),
        lost=ACTS - len(acts),
        twice=acts.total() - len(acts),
        uncertain=uncertain,
        same=(folder / "out").read_text() == calm,
    )


def all_killed(library: str, folder: Path, seed: int, repeats: int) -> dict[str, list[Ending]]:
    """What a kill at each point led to, by case; the points in random order."""
    chance = random.Random(seed)
    endings: dict[str, list[Ending]] = {}
    with Agents(library) as agents:
        (folder / "calm").mkdir(parents=True)
        agents.live(folder / "calm")
        calm = (folder / "calm" / "out").read_text()
        for case in CASES:
            points = [(kill_at, repeat) for kill_at in range(1, POINTS + 1) for repeat in range(repeats)]
            chance.shuffle(points)
            endings[case.name] = [
                killed(agents, folder / f"{case.name}-{kill_at}-{repeat}", case, kill_at, calm)
                for kill_at, repeat in points
            ]
    return endings


def kill_measures(folder: Path, seed: int, repeats: int) -> dict[str, Measure]:
    """Two libraries at a time, the longest first."""
    with ThreadPoolExecutor(2) as pool:
        running = {
            library: pool.submit(all_killed, library, folder / library, seed, repeats)
            for library in reversed(LIBRARIES)
        }
    measures: dict[str, Measure] = {}
    for case in CASES:
        for library, environment in LIBRARIES.items():
            name, endings = f"{case.name}.{library}", running[library].result()[case.name]
            measures |= {f"{name}.{key}": each for key, each in summed(endings, ours=not environment).items()}
            if case.honours_key:
                del measures[f"{name}.uncertain"]  # nobody is
    return measures


def summed(endings: Sequence[Ending], *, ours: bool) -> dict[str, Measure]:
    n = len(endings)

    def zero(value: float, spread: tuple[float, float] | None, unit: str) -> Measure:
        return Measure(value, spread, n, 0 if ours else None, "<=", unit)

    def part(values: Iterable[bool], target: float | None = None) -> Measure:
        found = list(values)
        return Measure(sum(found) / n, share(sum(found), n), n, target, unit="of kills")

    repeated = [float(each.repeated) for each in endings]
    return {
        "repeated_mean": zero(statistics.fmean(repeated), interval(repeated), "calls"),
        "repeated_max": zero(max(repeated), None, "calls"),
        "lost": zero(sum(each.lost for each in endings), None, "acts"),
        "twice": zero(sum(each.twice for each in endings), None, "acts"),
        "uncertain": part(each.uncertain for each in endings),
        "same": part((each.same for each in endings), 1.0 if ours else None),
    }


def cost_measures(folder: Path, rounds: int) -> dict[str, Measure]:
    """CPU and wall clock of a whole process and of one further step, by library; nothing else runs meanwhile."""
    found: dict[str, list[float]] = {}
    steps = CALLS * (LAPS - 1)
    for number in range(rounds + 1):
        for library in LIBRARIES:
            whole, short = uninterrupted(library, folder / f"{library}-{number}-short", 1)
            _, long = uninterrupted(library, folder / f"{library}-{number}-long", LAPS)
            if number:  # the first fills the disk's cache
                found.setdefault(f"process.{library}.cpu_s", []).append(whole.cpu_s)
                found.setdefault(f"process.{library}.wall_s", []).append(whole.wall_s)
                found.setdefault(f"step.{library}.cpu_ms", []).append((long.cpu_s - short.cpu_s) / steps * 1e3)
                found.setdefault(f"step.{library}.wall_ms", []).append((long.wall_s - short.wall_s) / steps * 1e3)
    return {
        name: Measure(statistics.median(values), (min(values), max(values)), rounds, unit=name.rpartition("_")[2])
        for name, values in found.items()
    }


def uninterrupted(library: str, folder: Path, laps: int) -> tuple[Lived, Lived]:
    """A process that imports, runs the agent once and ends: the whole of it, and the run alone."""
    folder.mkdir()
    start = time.perf_counter()
    agents = Agents(library)
    run = agents.live(folder, laps=laps)
    cpu_s = agents.close()
    return Lived(wall_s=time.perf_counter() - start, cpu_s=cpu_s), run


def fsync_measures(folder: Path) -> dict[str, Measure]:
    """System calls that wait for the disk, of one further step; none where they cannot be counted."""
    if shutil.which("strace") is None:
        return {}
    measures: dict[str, Measure] = {}
    for library in LIBRARIES:
        counts = []
        for laps in (1, LAPS):
            place = folder / f"{library}-{laps}"
            place.mkdir(parents=True)
            strace = ("strace", "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", str(place / "strace"))
            with Agents(library, *strace) as agents:
                agents.live(place, laps=laps)
            counts.append(sum("sync(" in row for row in rows(place / "strace")))
        steps = CALLS * (LAPS - 1)
        measures[f"step.{library}.fsyncs"] = Measure((counts[1] - counts[0]) / steps, n=steps, op="<=")
    return measures


def versions() -> dict[str, str]:
    """Of the libraries as they are installed."""
    found: dict[str, str] = {}
    for environment, packages in VERSIONS.items():
        for package in packages:
            code = f"import importlib.metadata as m; print(m.version({package!r}))"
            done = subprocess.run([peer.python(environment), "-c", code], capture_output=True, text=True, check=True)
            found[package] = done.stdout.strip()
    return found


def main() -> None:
    arguments = parse(__doc__)
    peers = versions()
    with tempfile.TemporaryDirectory(prefix="synthon-durability-") as name:
        folder = Path(name)
        measures = kill_measures(folder / "kills", arguments.seed, FULL_REPEATS if arguments.full else 1)
        (folder / "costs").mkdir()
        measures |= cost_measures(folder / "costs", FULL_ROUNDS if arguments.full else ROUNDS)
        measures |= fsync_measures(folder / "fsyncs")
    report("durability", arguments.seed, measures, as_json=arguments.json, peers=peers, readme=arguments.readme)


if __name__ == "__main__":
    main()
