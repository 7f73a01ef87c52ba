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


async def later(text: "Gone") -> str:
    return "yes"


class Called:
    async def __call__(self, text):
        return "yes"


called, number = Called(), 5
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


TYPED = '''
import json
from pydantic import BaseModel
import synthon as sy


class Answer(BaseModel):
    text: str


def say(request):
    return sy.Completion(json.dumps({"text": "about your card"}), sy.Usage(input_tokens=9))


@sy.step(model=sy.Journaled(sy.FunctionModel(say), price=sy.Price(1, 1)), temperature=sy.knob(0.0, 0.3))
async def reply(message: str) -> Answer:
    """Answer."""
    ...


def told(case, output):
    wanted = case.expected.text if isinstance(case.expected, Answer) else case.expected
    return float(wanted in output.text), "tell it"


async def judged(case, output):
    return float(case.expected is None and case.metadata == {"lang": "en"})
'''
REPLY = ("eval", "typed.py:reply", "--journal", "j.db", "--json", "--cases")


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that gives objects, and rows that expect words, objects, or nothing."""
    (tmp_path / "typed.py").write_text(TYPED)
    words = ["card", "refund", {"text": "card"}, '{"text": "about"}']
    lines = [json.dumps({"message": f"{n}", "expected": word, "lang": "en"}) for n, word in enumerate(words)]
    (tmp_path / "words.jsonl").write_text("\n".join(lines))
    lines = [json.dumps({"message": f"{n}", "lang": "en"}) for n in range(4)]
    (tmp_path / "bare.jsonl").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("more", [(), ("--inputs", "message")])
def test_a_metric_of_ones_own_compares_what_is_no_answer_and_needs_none(
    typed: Path, capsys: pytest.CaptureFixture[str], more: tuple[str, ...]
) -> None:
    assert main([*REPLY, "words.jsonl", "--metric", "typed.py:told", *more]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["told"][0] == 0.75  # only the refund is not told
    assert main([*REPLY, "bare.jsonl", "--metric", "typed.py:judged", *more]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["judged"][0] == 1.0
    assert main([*REPLY, "words.jsonl", "--metric", "typed.py:told", "--expected", "gone", *more]) == 1
    assert "has a column 'gone'" in capsys.readouterr().err


def test_ready_metrics_need_answers_of_the_programs_type(typed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*REPLY, "words.jsonl", "--metric", "typed.py:told", "--metric", "f1"]) == 1
    assert "Row 1 of 'words.jsonl', column 'expected': it is 'card'" in capsys.readouterr().err
    assert main([*REPLY, "bare.jsonl", "--metric", "f1"]) == 1
    assert "column 'expected': it is not there" in capsys.readouterr().err


def test_a_search_takes_such_rows_and_its_plan_checks_the_metric(
    typed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = [
        "optimize",
        "typed.py:reply",
        "--journal",
        "j.db",
        "--train",
        "words.jsonl",
        "--validation",
        "words.jsonl",
    ]
    assert main([*search, "--metric", "typed.py:told", "--calls", "30", "--test", "words.jsonl"]) == 0
    assert "best: " in capsys.readouterr().out
    assert main([*search, "--metric", "typed.py:told", "--usd", "1", "--plan"]) == 0
    assert "refused: a budget of dollars or tokens needs max_tokens=, which reply may ask" in capsys.readouterr().out
    assert main([*search, "--metric", "nope", "--plan"]) == 1
    assert "There is no metric 'nope'" in capsys.readouterr().err


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


@pytest.mark.parametrize(
    ("argv", "problem"),
    [
        (("eval", ""), "The program '' cannot be found"),
        (
            ("eval", "programs.py:number"),
            "'programs.py:number' is 5, which is no program. Name a step, a program or an",
        ),
        (("eval", "programs.py:yes", "--against", "programs.py:number"), "is 5, which is no program"),
        (("eval", "programs.py:yes", "--against", ""), "The program '' cannot be found"),
        (("eval", "programs.py:called"), "The annotations of 'programs.py:called' cannot be read"),
        (("eval", "programs.py:later"), "name 'Gone' is not defined. Name a step, a program or an async function"),
        (("optimize", "programs.py:number"), "'programs.py:number' is 5, which is no program"),
        (("optimize", "programs.py:yes"), "'programs.py:yes' has no settings to search. Write @sy.step or @sy.program"),
        (("optimize", "programs.py:opinion", "--proposer", "programs.py:number"), "is 5, which is no model"),
        (("optimize", "programs.py:opinion", "--seed", "-1"), "--seed is -1"),
    ],
)
def test_names_of_what_cannot_be_run_are_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], problem: str
) -> None:
    rows = ("--cases",) if argv[0] == "eval" else ("--calls", "9", "--train", "cases.jsonl", "--validation")
    assert main((*argv, *rows, "cases.jsonl", "--metric", "exact_match", "--journal", "j.db")) == 1
    assert problem in capsys.readouterr().err
