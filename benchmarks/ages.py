"""Which tables of the README are older than the code they measure.

    python -m benchmarks.ages       # one line for each, oldest first; never fails

A table says at which commit it was measured; a commit since then that changed its benchmark, or a room that the
benchmark is about, may have changed its numbers. What a benchmark is about is said here, not found out: all of them
import all of the library.
"""

from __future__ import annotations

import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parent.parent

ABOUT = {
    "overhead": ("core", "journal", "models"),
    "journal": ("journal",),
    "durability": ("core", "journal", "runs"),
    "retrieval": ("retrieval",),
    "rag_qa": ("retrieval", "systems", "guards"),
    "schemas": ("decoding",),
    "predicates": ("decoding",),
    "small_model": ("decoding", "engine", "models"),
    "forks": ("engine", "models"),
    "weights": ("engine",),
    "rerank": ("retrieval",),
    "strategies": ("strategies",),
    "assertions": ("strategies", "guards"),
    "tools": ("tools", "strategies"),
    "humaneval": ("tools", "strategies"),
    "optimizers": ("optimize", "evals"),
    "labelling": ("models", "strategies"),
    "search": ("optimize", "evals"),
    "resume": ("optimize", "journal"),
}


def now() -> str:
    """Today and the commit of this clone, as a table bears it; a `+` where files were changed since the commit."""
    commit = _git("rev-parse", "--short=7", "HEAD").strip()
    changed = "+" if _git("status", "--porcelain", "--untracked-files=no", "--", "src", "benchmarks").strip() else ""
    return f"{datetime.now(UTC):%Y-%m-%d} at `{commit or 'no commit'}{changed}`"


def tables(text: str) -> dict[str, tuple[str, str]]:
    """Date and commit of every benchmark's table in `text`; both empty where it bears none."""
    found = {}
    for block in re.finditer(r"<!-- benchmark:(\w+) -->\n([^\n]*)", text):
        mark = re.search(r"on (\d{4}-\d\d-\d\d) at `([0-9a-f]{7,})\+?`", block[2])
        found[block[1]] = (mark[1], mark[2]) if mark else ("", "")
    return found


def since(name: str, commit: str) -> dict[str, int]:
    """How many commits after `commit` changed each thing that `name` is about; none where the commit is unknown."""
    places = {"the benchmark": f"benchmarks/{name}.py"} | {room: f"src/synthon/{room}" for room in ABOUT[name]}
    counts = {what: _git("rev-list", "--count", f"{commit}..HEAD", "--", path) for what, path in places.items()}
    return {what: int(count) for what, count in counts.items() if count.strip().isdecimal() and int(count)}


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    except OSError:  # no git here
        return ""


def main() -> None:
    """Print the tables that are older than what they measure."""
    for name, (date, commit) in sorted(
        tables((ROOT / "README.md").read_text(encoding="utf-8")).items(), key=lambda t: t[1]
    ):
        if changes := since(name, commit) if commit else {}:
            listed = ", ".join(f"{what} ({count})" for what, count in changes.items())
            print(f"{name}: measured {date} at {commit}; commits since then: {listed}")


if __name__ == "__main__":
    main()


__all__ = ["ABOUT", "now", "since", "tables"]
