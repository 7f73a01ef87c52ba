"""`synthon runs`: what a person says to runs that wait."""

import asyncio
import json
from pathlib import Path

import pytest

import synthon as sy
from synthon.cli import main
from synthon.runs import effect


@sy.program
async def pay(amount: int) -> str:
    async def act(key: str) -> str:
        Path("paid").write_text(key)  # noqa: ASYNC240 - it is about to be killed
        raise KeyboardInterrupt  # as near to a kill as one process comes

    return str(json.loads(await effect("pay", amount, act, honours_key=False)))


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal with a run that was stopped while it paid."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "journal.db"
    with sy.SQLiteJournal(path) as opened:
        for expected in (KeyboardInterrupt, sy.Uncertain):
            with pytest.raises(expected):
                asyncio.run(sy.run(pay, 7, run_id="r", journal=opened))
    return path


def said(capsys: pytest.CaptureFixture[str], *command: str, journal: Path, code: int = 0) -> str:
    assert main(["runs", *command, "--journal", str(journal)]) == code
    captured = capsys.readouterr()
    return captured.err if code else captured.out


def test_an_act_in_doubt_is_listed_settled_and_the_run_goes_on(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = said(capsys, "list", journal=journal)
    key = Path("paid").read_text()
    assert "in doubt" in listed
    assert key in listed
    assert "Settled." in said(capsys, "settle", "r", key, "--done", "paid by hand", journal=journal)
    assert said(capsys, "resume", "r", journal=journal) == '"paid by hand"\n'
    assert "in doubt" not in said(capsys, "list", "--all", journal=journal)


def test_a_run_that_was_interrupted_is_listed_with_all_others(
    journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @sy.program
    async def long() -> str:
        raise KeyboardInterrupt

    with sy.SQLiteJournal(journal) as opened, pytest.raises(KeyboardInterrupt):
        asyncio.run(sy.run(long, run_id="stopped", journal=opened))
    assert "stopped" not in said(capsys, "list", journal=journal)
    assert "cancelled" in said(capsys, "list", "--all", journal=journal)


def test_an_act_that_was_not_done_is_done_by_the_resumed_run(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = Path("paid").read_text()
    Path("paid").unlink()
    said(capsys, "settle", "r", key, "--not-done", journal=journal)
    assert main(["runs", "resume", "r", "--journal", str(journal)]) == 130
    assert Path("paid").read_text() == key


def test_a_result_that_is_json_is_taken_as_such(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "settle", "r", Path("paid").read_text(), "--done", '{"paid": 7}', journal=journal)
    assert said(capsys, "resume", "r", journal=journal) == "\"{'paid': 7}\"\n"


def test_a_cancelled_run_is_no_longer_listed(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "waits no longer" in said(capsys, "cancel", "r", journal=journal)
    assert "pay" not in said(capsys, "list", journal=journal)
    assert "it is cancelled" in said(capsys, "cancel", "r", journal=journal, code=1)


def test_what_is_not_there_is_said(journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "has 0 open questions" in said(capsys, "answer", "r", "yes", journal=journal, code=1)
    refused = said(capsys, "settle", "r", "k", "--not-done", journal=journal, code=1)
    assert f"no act in doubt under the key 'k'. Those it has: {Path('paid').read_text()} (pay 7)" in refused
    assert "Those it has: none" in said(capsys, "settle", "x", "k", "--not-done", journal=journal, code=1)
    assert "There is no journal at" in said(capsys, "list", journal=journal.with_name("none.db"), code=1)


def test_a_question_stands_in_the_trace_as_it_was_asked_after_its_answer_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    @sy.program
    async def refund() -> str:
        return await sy.ask_person("Refund?", choices=["yes", "no"])

    path = tmp_path / "journal.db"
    with sy.SQLiteJournal(path) as opened, pytest.raises(sy.Suspended, match="resume 'case 7'`"):
        asyncio.run(sy.run(refund, run_id="case 7", journal=opened))
    assert "runs resume 'case 7'" in said(capsys, "answer", "case 7", "YES", journal=path)
    with sy.SQLiteJournal(path) as opened:
        assert asyncio.run(sy.run(refund, run_id="case 7", journal=opened)) == "yes"
    assert main(["trace", "export", "case 7", "--journal", str(path)]) == 0
    spans = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    asked = [span for span in spans if span.get("name") == "ask_person"]
    assert [(span["hit"], span["output"]) for span in asked] == [(False, None), (True, "yes")]
    assert all("'choices': ['yes', 'no']" in str(span["inputs"]) for span in asked)
