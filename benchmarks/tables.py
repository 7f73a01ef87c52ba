"""The README's tables: a summary of all of them, and which are older than the code they measure.

    python -m benchmarks.tables               # one line for each that is older, oldest first; never fails
    python -m benchmarks.tables --readme      # writes the summary again

A table says at which commit it was measured; a commit since then that changed its benchmark, or a room that the
benchmark is about, may have changed its numbers. What a benchmark is about is said here, not found out: all of them
import all of the library. The summary holds nothing that the tables do not: writing a table writes it again.
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, slots=True)
class About:
    """The rooms a benchmark is about, and the measures that stand for it in the summary, each with what it says."""

    rooms: tuple[str, ...]
    headlines: dict[str, str]


ABOUT = {
    "overhead": About(
        ("core", "journal", "wrappers", "models"),
        {"call.http_1.ratio_to_best_peer": "CPU time of a call over HTTP, as a share of the leanest peer's"},
    ),
    "journal": About(("journal",), {"spans.durable_per_cpu_s": "spans on disk for each second of a CPU"}),
    "durability": About(
        ("core", "journal", "runs"),
        {
            "keyed.synthon.repeated_mean": "calls made again after a kill",
            "at_once.synthon.repeated_mean": "the same where the kill comes at once",
        },
    ),
    "retrieval": About(("documents", "retrieval"), {"gain.mean.reference": "nDCG@10 above bm25s, mean of five sets"}),
    "rag_qa": About(
        ("documents", "retrieval", "systems", "guards"),
        {
            "quotes.squad.three": "SQuAD's answers that stand in the first three quotes",
            "answers.squad.shown": "answers that the embedded model gives and that hold up",
        },
    ),
    "schemas": About(
        ("decoding",), {"jsonschemabench.mask.llguidance.ratio": "time of a mask, as a share of llguidance's own"}
    ),
    "predicates": About(("decoding",), {"masks.equal": "masks that are the same as by trying every token"}),
    "small_model": About(
        ("decoding", "engine", "models"),
        {
            "extraction.gain.layout_free_over_text.lenient.f1": "F1 of fields under a mask, above free text",
            "labels.gain.mask_over_text": "labels right under a mask, above free text",
        },
    ),
    "forks": About(
        ("engine", "models"),
        {
            "forks.32.sequential.wall": "32 forks over one prefix: times as fast as one by one",
            "forks.8.llama_server.warmed.wall": "8 forks: times as fast as a warmed llama-server",
        },
    ),
    "weights": About(("engine",), {"f16.prompt.times": "prompts read in 16 bits: times as fast as in the file's 4"}),
    "rerank": About(
        ("documents", "retrieval"), {"gain.mean.smollm2-135m": "nDCG@10 above no reranking, by the embedded model"}
    ),
    "strategies": About(
        ("strategies",),
        {
            "replay.bbh.gain": "BBH, recorded answers: chain of thought above none",
            "live.smollm2-135m.gain.chain_of_thought_over_predict": "the same by the embedded model, four sets",
        },
    ),
    "assertions": About(
        ("strategies", "guards"),
        {
            "gain.suggest_over_none.kept": "constraints kept once asked again, above before",
            "gain.suggest_over_none.answered": "questions answered, the same way",
        },
    ),
    "tools": About(
        ("tools", "strategies"),
        {
            "bfcl.smollm2-135m.gain.constrained_over_free.calls": "right calls under a mask above none, SmolLM2 135M",
            "bfcl.qwen2.5-0.5b.gain.constrained_over_free.calls": "the same, Qwen2.5 0.5B",
        },
    ),
    "humaneval": About(
        ("tools", "strategies"),
        {"humaneval.qwen2.5-0.5b.gain.picked_over_sample": "programs right, picked above sampled, Qwen2.5 0.5B"},
    ),
    "optimizers": About(
        ("optimize", "evals"), {"squad.small.gain": "score above the best arm of DSPy at 40 calls, squad"}
    ),
    "optimizers_full": About(
        ("optimize", "evals"),
        {
            f"{task}.gain": f"score above the best arm of DSPy at 200 calls, {task}"
            for task in ("banking77", "clinc150", "slots", "climate")
        },
    ),
    "labelling": About(
        ("models", "strategies"),
        {"banking77.160.gain_over.tf_idf_knn": "accuracy of a probe above TF-IDF's, banking77, 160 rows"},
    ),
    "search": About(
        ("optimize", "evals"),
        {
            "interactions.share": "share of the best front found, simulated programs",
            "llmrouter.ahead_of_tpe": "seeds ahead of TPE, recorded models of LLMRouter",
            "null.better": "of 400 verdicts where nothing is better, those that say so",
        },
    ),
    "resume": About(("optimize", "journal"), {"kill.same": "killed searches that end as if they had not been"}),
}


def now() -> str:
    """Today and the commit of this clone, as a table bears it; a `+` where files were changed since the commit."""
    commit = _git("rev-parse", "--short=7", "HEAD").strip()
    changed = "+" if _git("status", "--porcelain", "--untracked-files=no", "--", "src", "benchmarks").strip() else ""
    return f"{datetime.now(UTC):%Y-%m-%d} at `{commit or 'no commit'}{changed}`"


def marks(text: str) -> dict[str, tuple[str, str]]:
    """Date and commit of every benchmark's table in `text`; both empty where it bears none."""
    found = {}
    for block in re.finditer(r"<!-- benchmark:(\w+) -->\n([^\n]*)", text):
        mark = re.search(r"on (\d{4}-\d\d-\d\d) at `([0-9a-f]{7,})\+?`", block[2])
        found[block[1]] = (mark[1], mark[2]) if mark else ("", "")
    return found


def measures(text: str, name: str) -> dict[str, list[str]]:
    """The rows of a benchmark's table in `text`: value, interval, n, target and verdict, by the measure's name."""
    block = text.partition(f"<!-- benchmark:{name} -->")[2].partition(f"<!-- /benchmark:{name} -->")[0]
    lines = block.partition("| measure ")[2].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return {row[0]: row[1:] for row in rows}


def summary(text: str) -> str:
    """What stands for every table in `text`, how many targets it reaches, and the name of every one it misses."""
    rows, missed = [("benchmark", "measured", "targets reached", "among others", "", "95 % interval")], []
    for name, (date, _) in marks(text).items():
        found = measures(text, name)
        wanted = {key: row[4] == "ok" for key, row in found.items() if row[3]}
        missed += [f"`{name}`: `{key}` {found[key][0]}, not {found[key][3]}" for key, ok in wanted.items() if not ok]
        reached = f"{sum(wanted.values())} of {len(wanted)}" if wanted else ""
        for number, (key, says) in enumerate(ABOUT[name].headlines.items()):
            row = found.get(key, ["", ""])
            rows.append((*((f"`{name}`", date, reached) if number == 0 else ("", "", "")), says, row[0], row[1]))
    listed = "\n".join(f"- {each}" for each in missed)
    return f"{aligned(rows)}\n\nTargets that are missed:\n\n{listed or '- none'}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its head first, aligned for a terminal."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def between(text: str, name: str, block: str) -> str:
    """The README's text with `block` between the markers of `name`."""
    before, start, rest = text.partition(f"<!-- {name} -->")
    _, end, after = rest.partition(f"<!-- /{name} -->")
    return f"{before}{start}\n{block}\n{end}{after}"


def script(name: str) -> str:
    """What made a table; the table of a benchmark's full form is called so."""
    return f"benchmarks/{name.removesuffix('_full')}.py"


def since(name: str, commit: str) -> dict[str, int]:
    """How many commits after `commit` changed each thing that `name` is about; none where the commit is unknown."""
    places = {"the benchmark": script(name)} | {room: f"src/synthon/{room}" for room in ABOUT[name].rooms}
    counts = {what: _git("rev-list", "--count", f"{commit}..HEAD", "--", path) for what, path in places.items()}
    return {what: int(count) for what, count in counts.items() if count.strip().isdecimal() and int(count)}


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    except OSError:  # no git here
        return ""


def main() -> None:
    """Print the tables that are older than what they measure."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    if "--readme" in sys.argv[1:]:
        (ROOT / "README.md").write_text(between(text, "summary", summary(text)), encoding="utf-8")
    found = marks(text)
    for name, (date, commit) in sorted(found.items(), key=lambda item: item[1]):
        if changes := since(name, commit) if commit else {}:
            listed = ", ".join(f"{what} ({count})" for what, count in changes.items())
            print(f"{name}: measured {date} at {commit}; commits since then: {listed}")


if __name__ == "__main__":
    main()


__all__ = ["ABOUT", "About", "aligned", "between", "marks", "measures", "now", "script", "since", "summary"]
