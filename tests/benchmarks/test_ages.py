"""Every table says when it was measured, and what has changed since is found."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from benchmarks import ages

if TYPE_CHECKING:
    from pathlib import Path


def test_every_table_of_the_readme_bears_its_day_and_commit_and_says_what_it_is_about() -> None:
    found = ages.tables((ages.ROOT / "README.md").read_text(encoding="utf-8"))
    assert found.keys() == ages.ABOUT.keys()
    assert all(date and commit for date, commit in found.values())
    rooms = {room for about in ages.ABOUT.values() for room in about}
    assert all((ages.ROOT / "src" / "synthon" / room).is_dir() for room in rooms)
    assert all((ages.ROOT / "benchmarks" / f"{name}.py").is_file() for name in ages.ABOUT)


def test_commits_since_a_table_are_counted_for_what_it_is_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=tmp_path, check=True)

    def change(path: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.read_text(encoding="utf-8") + "x\n" if file.exists() else "x\n", encoding="utf-8")

    monkeypatch.setattr(ages, "ROOT", tmp_path)
    git("init", "-q")
    change("src/synthon/engine/a.py")
    git("add", ".")
    git("commit", "-qm", "one")
    mark = ages.now()
    table = f"<!-- benchmark:weights -->\n`python -m benchmarks.weights`, seed 7, on {mark}, beside b 2.0:\n"
    date, commit = ages.tables(table)["weights"]
    assert mark == f"{date} at `{commit}`"
    assert ages.since("weights", commit) == {}

    change("src/synthon/engine/a.py")
    assert ages.now().endswith("+`")
    assert ages.tables(table.replace(mark, ages.now()))["weights"] == (date, commit)
    change("src/synthon/core/b.py")
    git("add", ".")
    git("commit", "-qm", "two")
    assert ages.since("weights", commit) == {"engine": 1}
    assert ages.since("weights", "0000000") == {}  # a clone that holds less
    assert ages.tables("<!-- benchmark:weights -->\n`python -m benchmarks.weights`:")["weights"] == ("", "")
