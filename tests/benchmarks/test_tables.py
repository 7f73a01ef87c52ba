"""Every table says when it was measured, and what has changed since is found."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from benchmarks import tables

if TYPE_CHECKING:
    from pathlib import Path


def test_every_table_of_the_readme_bears_its_day_and_commit_and_says_what_it_is_about() -> None:
    found = tables.marks((tables.ROOT / "README.md").read_text(encoding="utf-8"))
    assert found.keys() == tables.ABOUT.keys()
    assert all(date and commit for date, commit in found.values())
    rooms = {room for about in tables.ABOUT.values() for room in about.rooms}
    assert all((tables.ROOT / "src" / "synthon" / room).is_dir() for room in rooms)
    assert all((tables.ROOT / tables.script(name)).is_file() for name in tables.ABOUT)


def test_the_summary_says_what_the_tables_say_and_every_target_that_is_missed() -> None:
    text = (tables.ROOT / "README.md").read_text(encoding="utf-8")
    assert tables.between(text, "summary", tables.summary(text)) == text  # else `python -m benchmarks.tables --readme`
    for name, about in tables.ABOUT.items():
        assert about.headlines.keys() <= tables.measures(text, name).keys(), name
    assert text.count("| MISSED |") == tables.summary(text).partition("missed:")[2].count("\n- ")


def test_commits_since_a_table_are_counted_for_what_it_is_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=tmp_path, check=True)

    def change(path: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.read_text(encoding="utf-8") + "x\n" if file.exists() else "x\n", encoding="utf-8")

    monkeypatch.setattr(tables, "ROOT", tmp_path)
    git("init", "-q")
    change("src/synthon/engine/a.py")
    git("add", ".")
    git("commit", "-qm", "one")
    mark = tables.now()
    table = f"<!-- benchmark:weights -->\n`python -m benchmarks.weights`, seed 7, on {mark}, beside b 2.0:\n"
    date, commit = tables.marks(table)["weights"]
    assert mark == f"{date} at `{commit}`"
    assert tables.since("weights", commit) == {}

    change("src/synthon/engine/a.py")
    assert tables.now().endswith("+`")
    assert tables.marks(table.replace(mark, tables.now()))["weights"] == (date, commit)
    change("src/synthon/core/b.py")
    git("add", ".")
    git("commit", "-qm", "two")
    assert tables.since("weights", commit) == {"engine": 1}
    assert tables.since("weights", "0000000") == {}  # a clone that holds less
    assert tables.marks("<!-- benchmark:weights -->\n`python -m benchmarks.weights`:")["weights"] == ("", "")
