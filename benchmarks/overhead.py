"""What the library itself costs, beside DSPy, LangChain and Pydantic AI: `python -m benchmarks.overhead [--json]`.

One typed call (a message becomes one of four topics and a flag), as CPU time of the whole client process: with a model
that answers at once in the process ("null"; ours with the journal off, and on with SQLite), and with an endpoint on
loopback in another process, 1 and 32 calls in flight. Libraries take turns, round by round; ratios are of one round,
intervals the lowest and highest round. Import: CPU seconds of the import statement alone, against `pydantic` and
`asyncio` in turn. Peers answer in JSON (DSPy's JSONAdapter, LangChain's json_schema, Pydantic AI's prompted and native
output); retries and caches are off.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks import peer
from benchmarks.report import Measure, parse, report

PEERS = ("dspy", "langchain", "pydantic_ai")
HERE = Path(__file__).parent / "peers"
ROUNDS, FULL_ROUNDS = 7, 15
IMPORTS = {
    "base": ("", "import pydantic, asyncio"),
    "synthon": ("", "import synthon"),
    "dspy": ("dspy", "import dspy"),
    "langchain": ("langchain", "import langchain_core.prompts, langchain_core.output_parsers, langchain_openai"),
    "pydantic_ai": ("pydantic_ai", "import pydantic_ai, pydantic_ai.models.openai"),
}
KEEPING = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}  # else all is compiled
PROBE = """
import json, resource, sys, time
def memory(): return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
before, modules, start = memory(), len(sys.modules), time.process_time()
{}
print(json.dumps([time.process_time() - start, len(sys.modules) - modules, memory() - before]))
"""


class Mode(NamedTuple):
    """One way to make the call; the calls for us and for a peer."""

    name: str
    mode: str
    in_flight: int
    calls: int
    peers_calls: int


MODES = (
    Mode("null", "null", 1, 3000, 200),
    Mode("journal", "journal", 1, 3000, 0),
    Mode("http_1", "http", 1, 400, 100),
    Mode("http_32", "http", 32, 960, 192),
)


def interpreter(library: str) -> str:
    """The Python of a library's environment; ours for ourselves."""
    return str(peer.python(library)) if library in PEERS else sys.executable


def imported(environment: str, statement: str) -> tuple[float, float, float]:
    """CPU seconds, modules and MiB that an import adds."""
    command = [interpreter(environment), "-c", PROBE.format(statement)]
    seconds, modules, mebibytes = json.loads(
        subprocess.run(command, capture_output=True, check=True, env=KEEPING).stdout
    )
    return seconds, modules, mebibytes


def called(library: str, mode: Mode, url: str, folder: str) -> dict[str, object]:
    """What one process of a library measured."""
    calls = mode.peers_calls if library in PEERS else mode.calls
    question = {"library": library, "url": url, "folder": folder, **mode._asdict(), "calls": calls}
    done = subprocess.run(
        [interpreter(library), str(HERE / "calls.py")],
        input=json.dumps(question).encode(),
        stdout=subprocess.PIPE,
        check=True,
    )
    answer: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return answer


def middle(values: list[float]) -> tuple[float, tuple[float, float]]:
    """The median, and the range from lowest to highest of so few rounds."""
    return statistics.median(values), (min(values), max(values))


def import_measures(rounds: int) -> dict[str, Measure]:
    """Import cost by library, and ours against the base."""
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in IMPORTS}
    for _ in range(rounds + 1):  # the first fills the disk's cache
        for name, (environment, statement) in IMPORTS.items():
            found[name].append(imported(environment, statement))
    measures: dict[str, Measure] = {}
    for name, (_, *rows) in found.items():
        value, spread = middle([row[0] for row in rows])
        measures[f"import.{name}.cpu_s"] = Measure(value, spread, len(rows), unit="s")
        measures[f"import.{name}.modules"] = Measure(rows[0][1], n=1)
        measures[f"import.{name}.memory_mib"] = Measure(rows[0][2], n=1, unit="MiB")
    pairs = [(imported(*IMPORTS["synthon"])[0], imported(*IMPORTS["base"])[0]) for _ in range(3 * rounds)]
    ratios = [ours / base for ours, base in pairs]  # neighbours in time: the machine's speed drifts
    value, spread = middle(ratios)
    measures["import.ratio"] = Measure(value, spread, len(ratios), 1.35, "<=")
    measures["import.synthon.cpu_s"] = replace(measures["import.synthon.cpu_s"], target=0.20, op="<=")
    return measures


def call_measures(rounds: int, url: str) -> tuple[dict[str, Measure], dict[str, str]]:
    """CPU per call by library and mode, ratios to the best peer of the round, and the versions measured."""
    cpu_ms: dict[tuple[str, str], list[float]] = {}
    frames: dict[str, int] = {}
    versions: dict[str, str] = {}
    for _ in range(rounds):
        for mode in MODES:
            for library in ("synthon", *PEERS):
                if library in PEERS and not mode.peers_calls:
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    answer = called(library, mode, url, folder)
                cpu_ms.setdefault((mode.name, library), []).append(float(str(answer["cpu_ms"])))
                versions[library] = str(answer["version"])
                if mode.name == "null":
                    frames[library] = int(str(answer["frames"]))
    measures: dict[str, Measure] = {}
    targets = {"null": 0.03, "journal": 0.10}
    for (mode_name, library), values in cpu_ms.items():
        value, spread = middle(values)
        target = targets.get(mode_name) if library == "synthon" else None
        measures[f"call.{mode_name}.{library}.cpu_ms"] = Measure(value, spread, len(values), target, "<=", "ms")
    for ours, theirs in (("journal", "null"), ("http_1", "http_1"), ("http_32", "http_32")):
        best = [min(row) for row in zip(*(cpu_ms[theirs, library] for library in PEERS), strict=True)]
        value, spread = middle([mine / other for mine, other in zip(cpu_ms[ours, "synthon"], best, strict=True)])
        measures[f"call.{ours}.ratio_to_best_peer"] = Measure(value, spread, len(best), 0.25, "<=")
    for library, count in frames.items():
        target = 4.0 if library == "synthon" else None
        measures[f"frames.{library}"] = Measure(count, n=1, target=target, op="<=")
    return measures, versions


def main() -> None:
    arguments = parse(__doc__)
    rounds = FULL_ROUNDS if arguments.full else ROUNDS
    for library in PEERS:
        peer.python(library)
    endpoint = subprocess.Popen([sys.executable, str(HERE / "endpoint.py")], stdout=subprocess.PIPE)
    try:
        port = int(endpoint.stdout.readline()) if endpoint.stdout else 0
        measures, versions = call_measures(rounds, f"http://127.0.0.1:{port}/v1")
    finally:
        endpoint.terminate()
        endpoint.wait()
    measures |= import_measures(rounds * 2)
    report("overhead", arguments.seed, measures, as_json=arguments.json, peers=versions, readme=arguments.readme)


if __name__ == "__main__":
    main()
