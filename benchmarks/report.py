"""What every benchmark shares: its command line, its table for people, its JSON object for machines.

    arguments = parse(__doc__)                              # --data --cache --full --json --seed --readme
    quotes = Measure(0.88, interval=(0.86, 0.90), n=500, target=0.87, op=">=", unit="share")
    report("rag_qa", arguments.seed, {"quotes.squad": quotes}, as_json=arguments.json, peers={"dspy": "3.0.4"})
    skip("rag_qa", f"no squad in {arguments.data}", arguments)      # in place of `report`, where the data is missing

A measure's name is stable over time and holds no number that a later run could change; its target is the one that was
asked for, None where none was. The exit code is 0 when the run completed, whatever the measures say.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from benchmarks import tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Measure:
    """One measured number; `interval` is its 95 % interval, `n` the number of things it was measured on."""

    value: float
    interval: tuple[float, float] | None = None
    n: int = 1
    target: float | None = None
    op: Literal[">=", "<="] = ">="
    unit: str = ""

    @property
    def ok(self) -> bool:
        """Whether the target is reached; a measure without one is never wrong, a value that is no number is."""
        if self.target is None:
            return True
        return self.value >= self.target if self.op == ">=" else self.value <= self.target


@dataclass(frozen=True, slots=True)
class Arguments:
    """The command line every benchmark takes."""

    data: Path
    cache: Path
    full: bool
    json: bool
    seed: int
    readme: bool = False


def parse(description: str | None, argv: Sequence[str] | None = None, *, seed: int = 7) -> Arguments:
    """Read the command line; `--data` defaults to `$SYNTHON_DATA`, else `../shared/data`."""
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "synthon" / "benchmarks"
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("SYNTHON_DATA") or "../shared/data"))
    parser.add_argument("--cache", type=Path, default=cache, help="embeddings and generations, kept by content")
    parser.add_argument("--full", action="store_true", help="take what it takes; resumes from its log")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    parser.add_argument("--seed", type=int, default=seed)
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    found = parser.parse_args(argv)
    return Arguments(found.data, found.cache, found.full, found.json, found.seed, found.readme)


def report(
    name: str,
    seed: int,
    measures: Mapping[str, Measure],
    *,
    as_json: bool,
    peers: Mapping[str, str] | None = None,
    readme: bool = False,
    block: str = "",
    overview: str = "",
    how: str = "",
) -> None:
    """Print the table and, with `as_json`, the JSON object as the last line.

    `peers` are their resolved versions; `block` is the README's for it, where that is not the name; `overview` is a
    shorter table of the same for people, put before a long one; `how` is what was run, in words, where it is more than
    the benchmark's name and one seed.
    """
    print(table(measures))
    if readme:
        _write_readme(
            block or name, how or f"`python -m benchmarks.{name}`, seed {seed}", table(measures), peers or {}, overview
        )
    if as_json:
        summary: dict[str, object] = {
            "benchmark": name, "seed": seed, "measures": {key: _plain(measure) for key, measure in measures.items()},
        }  # fmt: skip
        if peers:
            summary["peers"] = dict(peers)
        print(json.dumps(summary, allow_nan=False), flush=True)


_NOTHING = 1e-15
_LONG = 60  # rows; a longer table is folded


def _write_readme(name: str, how: str, text: str, peers: Mapping[str, str], overview: str) -> None:
    """Put the table between the benchmark's markers, with the day and the commit it was measured at."""
    beside = f", beside {', '.join(f'{peer} {version}' for peer, version in peers.items())}" if peers else ""
    command = f"{how}, on {tables.now()}{beside}:"
    if text.count("\n") > _LONG:
        text = f"<details><summary>{text.count(chr(10)) - 1} measures</summary>\n\n{text}\n\n</details>"
    block = "\n\n".join(each for each in (command, overview, text) if each)
    path = tables.ROOT / "README.md"
    written = tables.between(path.read_text(encoding="utf-8"), f"benchmark:{name}", block)
    path.write_text(tables.between(written, "summary", tables.summary(written)), encoding="utf-8")


def skip(name: str, reason: str, arguments: Arguments) -> None:
    """Say why nothing was measured; the caller then returns, so that the exit code is 0."""
    print(f"{name}: skipped, {reason}")
    if arguments.json:
        print(json.dumps({"benchmark": name, "seed": arguments.seed, "skipped": reason}), flush=True)


def table(measures: Mapping[str, Measure]) -> str:
    """The measures as a Markdown table, aligned for a terminal."""
    rows = [("measure", "value", "95 % interval", "n", "target", "")]
    for name, measure in measures.items():
        interval = "" if measure.interval is None else " .. ".join(map(figure, measure.interval))
        target = "" if measure.target is None else f"{measure.op} {figure(measure.target)}"
        verdict = "" if measure.target is None else ("ok" if measure.ok else "MISSED")
        value = f"{figure(measure.value)} {measure.unit}".rstrip()
        rows.append((name, value, interval, str(measure.n), target, verdict))
    return tables.aligned(rows)


def figure(value: float) -> str:
    """A number in four digits; what rounding left of a 0 is 0."""
    if abs(value) < _NOTHING:
        return "0"
    if not math.isfinite(value) or value == int(value):
        return f"{value:,.0f}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def _plain(measure: Measure) -> dict[str, object]:
    interval = measure.interval
    return {
        "value": measure.value if math.isfinite(measure.value) else None,
        "interval": list(interval) if interval is not None and all(map(math.isfinite, interval)) else None,
        "n": measure.n,
        "target": measure.target,
        "op": measure.op,
        "ok": measure.ok,
    }


__all__ = ["Arguments", "Measure", "figure", "parse", "report", "skip", "table"]
