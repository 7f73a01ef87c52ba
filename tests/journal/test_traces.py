from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

import synthon as sy
from synthon.cli import main
from synthon.core.errors import JournalError, UserError
from synthon.core.protocols import RunRecord
from synthon.journal import (
    Correction,
    ScoreRecord,
    SQLiteJournal,
    content,
    corrections,
    diverged,
    export,
    runs,
    summary,
    tree,
)
from tests.journal.rows import a_call, a_span

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A program with a step, a call, a run inside it with a hit; and a step called on its own, later."""
    call = a_call('{"q":1}', '{"text":"yes"}', scope="r1")
    call.span.parent, call.span.start, call.span.cost_usd, call.span.billed_usd = "step", 1_002.0, 0.5, 0.25
    call.span.end = 1_004.0
    hit = a_span("hit", "r1/1", parent="inner", kind="call", key=call.key.digest, hit=True, start=1_006.0, tokens_in=10)
    with SQLiteJournal(tmp_path / "journal.db") as journal:
        journal.write(RunRecord("r1", "support", '{"args":["hi"]}', "running", 1_000.0))
        journal.write(call)
        journal.write(a_span("step", parent="root", start=1_001.0, end=1_005.0, inputs='{"q":"hi"}', output="x" * 9000))
        journal.write(hit)
        journal.write(a_span("inner", "r1/1", parent="root", start=1_005.5, name="nested"))
        journal.write(a_span("root", name="support", kind="program", end=1_008.0))
        journal.write(RunRecord("r1", "support", '{"args":["hi"]}', "done", 1_000.0, 1_008.0, '"ok"', policy="cache"))
        journal.write(a_span("alone", "r2", name="route", start=2_000.0, end=2_001.0, error="OutputError: no"))
        journal.write(a_span("other", "r10", start=500.0))
        journal.write(ScoreRecord("step", "exact", 1.0, "metric", at=9.0))
        journal.write(ScoreRecord(call.key.digest, "kind", 0.5, "judge", of="call", at=9.0))
    return tmp_path / "journal.db"


def test_runs_come_newest_first_and_a_step_on_its_own_is_one(path: Path) -> None:
    assert [(run.id, run.program, run.status, run.seconds) for run in runs(path)] == [
        ("r2", "route", "failed", 1.0),
        ("r1", "support", "done", 8.0),
        ("r10", "answer", "done", 501.5),
    ]
    assert [run.id for run in runs(path, limit=1)] == ["r2"]


def test_a_run_inside_another_is_listed_only_where_parts_are_asked_for(tmp_path: Path) -> None:
    ids = ["a", "a/cases", "a/cases/0", "a/cases/1", "orders/7", "orders/7/x"]
    with SQLiteJournal(tmp_path / "journal.db") as journal:
        for start, id_ in enumerate(ids):
            journal.write(RunRecord(id_, "support", "", "done", 1_000.0 + start, 2_000.0))
    assert [run.id for run in runs(tmp_path / "journal.db")] == ["orders/7", "a"]
    assert [run.id for run in runs(tmp_path / "journal.db", parts=True)] == ids[::-1]
    assert [run.id for run in runs(tmp_path / "journal.db", limit=1, parts=True)] == ["orders/7/x"]


async def test_an_evaluation_is_one_line_of_the_list(tmp_path: Path) -> None:
    async def same(text: str) -> str:
        return text

    cases = sy.Cases(sy.Case({"text": text}, text) for text in "abc")
    with SQLiteJournal(tmp_path / "journal.db") as journal:
        await sy.evaluate(same, cases, sy.metrics.exact_match, journal=journal, run_id="monday")
    assert [run.id for run in runs(tmp_path / "journal.db")] == ["monday"]
    assert len(runs(tmp_path / "journal.db", parts=True)) == 5  # also the batch and its rows


def test_a_run_sums_what_it_used_with_the_runs_inside_it(path: Path) -> None:
    run = summary(path, "r1")
    assert (run.spans, run.calls, run.hits, run.errors, run.unpriced) == (5, 2, 1, 0, 1)
    assert (run.tokens_in, run.tokens_out, run.cost_usd, run.billed_usd, run.policy) == (20, 2, 0.5, 0.25, "cache")
    alone = summary(path, "r2")
    assert (alone.calls, alone.errors, alone.cost_usd) == (0, 1, None)


def test_a_tree_is_nested_and_in_the_order_of_time(path: Path) -> None:
    (root,) = tree(path, "r1")
    assert (root.span.name, root.seconds) == ("support", 8.0)
    assert [node.span.id for node in root.children] == ["step", "inner"]
    step, inner = root.children
    assert [node.span.kind for node in step.children] == ["call"]
    assert [node.span.hit for node in inner.children] == [True]
    assert (step.span.inputs, step.span.output) == ("", "")


def test_texts_come_on_demand(path: Path) -> None:
    (root,) = tree(path, "r1")
    step = root.children[0]
    assert content(path, step.span) == ('{"q":"hi"}', "x" * 9000)
    assert content(path, step.children[0].span) == ('{"q":1}', '{"text":"yes"}')
    assert content(path, a_span("unknown")) == ("", "")


def test_an_export_is_json_lines_of_the_run_and_its_spans(path: Path) -> None:
    run, *spans = [json.loads(line) for line in export(path, "r1")]
    assert (run["type"], run["program"], run["calls"]) == ("run", "support", 2)
    assert (run["arguments"], run["result"], run["diverged"]) == ({"args": ["hi"]}, "ok", None)
    assert [(span["type"], span["id"]) for span in spans][:2] == [("span", "root"), ("span", "step")]
    step, call = spans[1], spans[2]
    assert (step["inputs"], step["output"], step["attributes"]) == ({"q": "hi"}, "x" * 9000, None)
    assert [(score["name"], score["value"]) for score in step["scores"]] == [("exact", 1.0)]
    assert (call["inputs"], call["output"]) == ({"q": 1}, {"text": "yes"})
    assert [(score["name"], score["source"]) for score in call["scores"]] == [("kind", "judge")]
    alone, *_ = [json.loads(line) for line in export(path, "r2")]
    assert (alone["arguments"], alone["error"]) == (None, "OutputError: no")


def test_an_export_can_be_printed_whatever_the_model_wrote(tmp_path: Path) -> None:
    with SQLiteJournal(tmp_path / "j.db") as journal:
        journal.write(a_span(output='"\\ud800 caf\u00e9"'))
    _, span = export(tmp_path / "j.db", "r1")
    assert "caf\u00e9" in span
    assert json.loads(span.encode())["output"] == "\ud800 caf\u00e9"


@pytest.mark.parametrize("read", [summary, tree, lambda path, run: list(export(path, run))])
def test_an_unknown_run_is_named(read: object, path: Path) -> None:
    assert callable(read)
    with pytest.raises(UserError, match=r"Run 'r9' is not in the journal '.*journal\.db'. Take an id from"):
        read(path, "r9")


def test_a_missing_file_is_named_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match=r"no journal at '.*nowhere\.db'"):
        runs(tmp_path / "nowhere.db")
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "j.db").write_text("Dear diary, " * 500)
    with pytest.raises(JournalError, match="cannot be read: NotADBError"):
        runs(tmp_path / "j.db")


def test_a_journal_is_read_while_it_is_written(path: Path) -> None:
    with SQLiteJournal(path) as journal:
        journal.write(a_span("new", "r3", start=3_000.0))
        journal.flush()
        assert runs(path)[0].id == "r3"


def test_reading_changes_nothing(path: Path) -> None:
    before = path.read_bytes()
    runs(path)
    list(export(path, "r1"))
    assert path.read_bytes() == before


async def test_what_was_refused_and_what_mended_it_are_read_as_training_data(tmp_path: Path) -> None:
    @sy.step
    async def reply(text: str) -> str:
        """Reply."""
        ...

    @reply.check(retries=2, level="suggest")
    def polite(output: str) -> str | None:
        return None if "please" in output else "say please"

    answers = iter(["no", "go please", "no", "no", "no"])
    model = sy.Journaled(sy.FunctionModel(lambda _: next(answers), identity="rude"))
    path = tmp_path / "journal.db"
    with SQLiteJournal(path) as journal:
        for text in ("a", "b"):
            await sy.run(reply.using(model=model), text, journal=journal)
        journal.flush()
        found = corrections(path, "reply")
    refused = Correction("reply", "polite", '{"text":"a"}', "no", "say please", "go please")
    assert found == [refused, Correction("reply", "polite", '{"text":"b"}', "no", "say please", "")]
    assert corrections(path, "other") == []


async def test_the_calls_that_diverge_are_named(tmp_path: Path) -> None:
    @sy.step(model=sy.Journaled(sy.FunctionModel(lambda _: "x", identity="x")), temperature=0.0)
    async def reply(text: str) -> str:
        """Reply."""
        ...

    path = tmp_path / "journal.db"
    with SQLiteJournal(path) as journal:
        await sy.run(reply, "before", run_id="r", journal=journal)
        assert diverged(path, "r") == []
        await sy.run(reply, "after", run_id="r", journal=journal)
        journal.flush()
        found = diverged(path, "r")
    assert [(what, "before" in call, "after" in call) for what, call in found] == [
        ("gone", True, False),
        ("new", False, True),
    ]
    assert main(["trace", "show", "r", "--journal", str(path)]) == 0


async def test_half_a_character_in_a_refused_output_leaves_the_others_readable(tmp_path: Path) -> None:
    @sy.step
    async def reply(text: str) -> str:
        """Reply."""
        ...

    @reply.check
    def whole(output: str) -> str | None:
        return "half a character" if "\ud83d" in output else None

    said = iter(["cut \ud83d", "whole"])
    with SQLiteJournal(tmp_path / "journal.db") as journal:
        model = sy.Journaled(sy.FunctionModel(lambda _: next(said)))
        assert await sy.run(reply.using(model=model), "cats", journal=journal) == "whole"
    (found,) = corrections(tmp_path / "journal.db")
    assert (found.failed, found.message, found.corrected) == ("cut \ud83d", "half a character", "whole")
