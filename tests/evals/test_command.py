"""`synthon eval`, through `main`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from synthon.cli import main

PROGRAMS = '''
import synthon as sy


def say(request):
    return sy.Completion("yes" if "good" in request.messages[-1].text else "no")


@sy.step(model=sy.Journaled(sy.FunctionModel(say)))
async def opinion(text: str) -> str:
    """Say yes or no."""
    ...


async def yes(text: str) -> str:
    return "yes"


def short(case, output):
    return len(output) < 3, "shorter"


def broken(case, output):
    return "x"
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "programs.py").write_text(PROGRAMS)
    rows = [("good", ["yes", "yeah"], "a"), ("bad", "no", "b"), ("fine", "yes", "b")]
    (tmp_path / "cases.jsonl").write_text(
        "".join(json.dumps({"text": text, "expected": answer, "kind": kind}) + "\n" for text, answer, kind in rows)
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    command = ("eval", "programs.py:opinion", "--cases", "cases.jsonl", "--journal", "j.db", *argv)
    assert main(command) == code
    out, err = capsys.readouterr()
    assert (out == "") if code else (err == "")
    return err if code else out


def test_a_program_is_scored_with_its_slices_and_failures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "--metric", "exact_match", "--metric", "programs.py:short", "--slice", "kind")
    assert "programs.py:opinion: 3 cases, 0 failed" in out
    assert "exact_match      0.667 [0.208, 0.939]" in out
    assert "programs.py:short 0.667" in out
    assert "1 cases below 1.0; the worst:" in out
    assert "Expected 'yes', got 'no'." in out


def test_two_programs_are_compared_and_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ("--metric", "exact_match", "--against", "programs.py:yes", "--slice", "kind", "--plot", "x.svg")
    assert "programs.py:opinion - programs.py:yes: +0.000" in said(capsys, *argv)
    assert (folder / "x.svg").is_file()
    shown = json.loads(said(capsys, *argv, "--json"))
    assert shown["scores"]["exact_match"][0] == pytest.approx(2 / 3)
    assert shown["slices"]["b"][0] == 0.5
    assert shown["against"]["name"] == "programs.py:yes"
    assert (shown["comparison"]["discordant"], shown["comparison"]["p"]) == (2, 1.0)


def test_results_are_told_where_the_picture_cannot_be_drawn(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("eval", "programs.py:opinion", "--cases", "cases.jsonl", "--journal", "j.db", "--metric", "exact_match")
    assert main((*command, "--plot", "x.txt")) == 1
    out, err = capsys.readouterr()
    assert "3 cases, 0 failed" in out
    assert "cannot be drawn" in err


def test_a_budget_of_the_command_is_kept(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "limit calls=1 stops a call" in said(capsys, "--metric", "numeric", "--calls", "1", code=1)


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (("--metric", "grace"), "There is no metric 'grace'. Pass one of exact_match, f1,"),
        (("--metric", "programs.py:gone"), "cannot be found"),
        (("--metric", "programs.py:broken"), "The metric 'broken' failed on case"),
        (("--metric", "f1", "--inputs", "words"), "column 'words': it is not there"),
        (("--metric", "f1", "--expected", "kind", "--slice", "gone"), "No case of 'programs.py:opinion' has metadata"),
    ],
)
def test_what_is_wrong_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], problem: str
) -> None:
    command = ("eval", "programs.py:opinion", "--cases", "cases.jsonl", "--journal", "j.db", *argv)
    assert main(command) == 1
    assert problem in capsys.readouterr().err
