from __future__ import annotations

import asyncio
import gc
import math
import os
import stat
import string
import threading
import time
from contextlib import closing
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING

import apsw
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthon.core.errors import JournalError, UserError
from synthon.core.protocols import CallRecord, Key, Reservation, RunRecord, Span
from synthon.journal import DatasetRow, MemoryJournal, ScoreRecord, SQLiteJournal, content, runs, schema, tree
from tests.journal.rows import a_call, a_span, rows_locked
from tests.nursery import forked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Either = SQLiteJournal | MemoryJournal


def rows(path: Path, statement: str) -> list[tuple[object, ...]]:
    with closing(apsw.Connection(str(path))) as connection:
        found: list[tuple[object, ...]] = connection.execute(statement).fetchall()
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture(params=["sqlite", "memory"])
def either(request: pytest.FixtureRequest, path: Path) -> Iterator[Either]:
    if request.param == "memory":
        yield MemoryJournal()
        return
    with SQLiteJournal(path) as journal:
        yield journal


async def test_what_was_written_is_read_before_and_after_it_is_on_disk(either: Either) -> None:
    call = a_call('{"q":1}', "answer")
    assert either.read(call.key) is None
    either.write(call)
    assert either.read(call.key) == "answer"
    await either.durable()
    assert either.read(call.key) == "answer"


async def test_the_first_row_of_a_key_wins_pending_and_on_disk(either: Either) -> None:
    first, second = a_call('{"q":1}', "first"), a_call('{"q":1}', "second")
    either.write(first)
    either.write(second)
    assert either.read(first.key) == "first"
    await either.durable()
    either.write(second)
    await either.durable()
    assert either.read(first.key) == "first"


async def test_how_long_a_call_took_is_known_before_and_after_it_is_on_disk(either: Either) -> None:
    call = a_call('{"q":1}', "answer")
    call.span.start, call.span.end = 10.0, 12.5
    assert either.took(call.key) == 0.0
    either.write(call)
    assert either.took(call.key) == 2.5
    await either.durable()
    assert either.took(call.key) == 2.5


async def test_equal_requests_in_two_scopes_are_two_rows(either: Either) -> None:
    either.write(a_call('{"q":1}', "mine", scope="run-a"))
    either.write(a_call('{"q":1}', "theirs", scope="run-b"))
    key = a_call('{"q":1}').key
    assert either.read(key) is None
    await either.durable()
    assert either.read(Key("run-a", key.digest)) == "mine"
    assert either.digests("run-b") == {key.digest}
    assert either.digests("run-c") == frozenset()


def test_digests_hold_pending_calls_too(either: Either) -> None:
    call = a_call('{"q":1}', scope="run-a")
    either.write(call)
    assert either.digests("run-a") == {call.key.digest}


def test_the_newest_record_of_a_run_replaces_the_earlier_one(either: Either) -> None:
    assert either.run("r1") is None
    started = RunRecord("r1", "support", "{}", "running", 1.0)
    ended = RunRecord("r1", "support", "{}", "done", 1.0, 2.0, '"x"', policy="fresh", diverged="")
    either.write(started)
    assert either.run("r1") == started
    either.write(ended)
    assert either.run("r1") == ended


def test_reservations_of_a_run_come_back_in_order_whether_answered_or_not(either: Either) -> None:
    call = a_call('{"q":1}')
    killed, done = Reservation("r1", call.key, 1, 100, 0.5), Reservation("r1", call.key, 2, 200, 0.5)
    other = Reservation("r1", a_call('{"q":2}').key, 1, 10, 0.0)
    for record in (killed, done, other, Reservation("r2", call.key, 1, 1, 0.0)):
        either.write(record)
    either.write(call)
    assert either.reservations("r1") == [killed, done, other]


def test_datasets_and_scores_come_back_in_the_order_written(either: Either) -> None:
    for row in ('{"q":"b"}', '{"q":"a"}', "x" * 9000):
        either.write(DatasetRow("train", row))
    either.write(DatasetRow("test", "{}"))
    exact = ScoreRecord("s1", "exact", 1.0, "metric", at=5.0)
    judged = ScoreRecord("s1", "helpful", 0.3, "a person", "too long", at=6.0)
    for score in (exact, judged, ScoreRecord("digest", "exact", 0.0, "metric", of="call", at=7.0)):
        either.write(score)
    assert either.dataset("train") == ['{"q":"b"}', '{"q":"a"}', "x" * 9000]
    assert either.dataset("none") == []
    assert either.scores("s1") == [exact, judged]
    assert [score.of for score in either.scores("digest")] == ["call"]


def test_a_score_without_a_date_gets_that_of_its_writing_and_nan_stays_nan(path: Path) -> None:
    before = time.time()
    with SQLiteJournal(path) as journal:
        journal.write(ScoreRecord("s1", "ratio", math.nan, "metric"))
        (score,) = journal.scores("s1")
    assert math.isnan(score.value)
    assert before <= score.at <= time.time()


def test_only_rows_are_taken(path: Path) -> None:
    with SQLiteJournal(path) as journal, pytest.raises(UserError, match="given a str, which is no row"):
        journal.write("text")  # type: ignore[arg-type] # the mistake under test


def test_a_call_is_stored_with_its_span_and_a_hit_finds_its_content(path: Path) -> None:
    call = a_call('{"q":1}', "answer")
    with SQLiteJournal(path) as journal:
        journal.write(call)
        journal.write(a_span("hit", run="r2", kind="call", key=call.key.digest, hit=True))
    assert rows(path, "SELECT count(*) FROM calls") == [(1,)]
    (made,), (hit,) = tree(path, "r1"), tree(path, "r2")
    assert made.span == call.span
    assert hit.span.hit is True
    assert content(path, hit.span) == content(path, made.span) == ('{"q":1}', "answer")


def test_a_long_text_is_stored_once(path: Path) -> None:
    long = "passage " * 1000
    with SQLiteJournal(path) as journal:
        for n in range(20):
            journal.write(a_call(f'{{"n":{n}}}', long))
            journal.write(a_span(f"s{n}", inputs=long))
            journal.flush()
        assert journal.read(a_call('{"n":3}').key) == long
    assert rows(path, "SELECT text FROM payloads") == [(long,)]


def test_reading_a_long_text_that_was_lost_says_so(path: Path) -> None:
    call = a_call('{"n":1}', "x" * 9000)
    with SQLiteJournal(path) as journal:
        journal.write(call)
        journal.flush()
        rows(path, "DELETE FROM payloads")
        with pytest.raises(JournalError, match="has lost a long text"):
            journal.read(call.key)


texts = st.text(st.characters(codec=None), max_size=50) | st.text(string.ascii_letters, min_size=1).map(
    lambda text: text * 5000
)


def stored(text: str) -> str:
    """A lone surrogate, which no file can hold, becomes its JSON escape."""
    return text.encode("utf-8", "backslashreplace").decode()


@settings(max_examples=30)
@given(data=st.data())
def test_every_span_comes_back_as_it_was(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("round-trip") / "journal.db"
    number = st.floats(allow_nan=False, allow_infinity=False)
    spans = data.draw(
        st.lists(
            st.builds(
                Span, id=st.uuids().map(str), run=st.just("r"), parent=st.just(""), name=texts, kind=st.just("step"),
                start=number, end=number, inputs=texts, output=texts, error=texts, key=st.just(""), hit=st.booleans(),
                tokens_in=st.integers(0, 2**50), cost_usd=st.none() | number, attributes=texts,
            ),
            max_size=12,
            unique_by=lambda span: span.id,
        )
    )  # fmt: skip
    with SQLiteJournal(path) as journal:
        for span in spans:
            journal.write(span)
    if not spans:
        return
    found = {node.span.id: node.span for node in tree(path, "r")}
    assert found.keys() == {span.id for span in spans}
    for span in spans:
        inputs, output = content(path, found[span.id])
        assert (inputs, output) == (stored(span.inputs), stored(span.output))
        kept = found[span.id]
        assert (kept.name, kept.error, kept.hit) == (stored(span.name), stored(span.error), span.hit)
        assert (kept.start, kept.end, kept.tokens_in, kept.cost_usd) == (
            span.start, span.end, span.tokens_in, span.cost_usd,
        )  # fmt: skip


@settings(max_examples=30)
@given(calls=st.lists(st.tuples(texts, texts), max_size=12))
def test_every_completion_comes_back_as_first_written(
    calls: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("round-trip") / "journal.db"
    first: dict[str, str] = {}
    with SQLiteJournal(path) as journal:
        for request, completion in calls:
            first.setdefault(request, completion)
            record = CallRecord(Key("", stored(request)), request, completion, a_span())
            journal.write(record)
        journal.flush()
        for request, completion in first.items():
            assert journal.read(Key("", stored(request))) == stored(completion)


def test_a_new_file_is_for_its_owner_only(path: Path) -> None:
    with SQLiteJournal(path) as journal:
        journal.write(a_span())
        journal.flush()
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        JournalError, match=r"no-such-folder/j\.db' cannot be opened: FileNotFoundError.*may be written"
    ):
        SQLiteJournal(tmp_path / "no-such-folder" / "j.db")


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        folder = "/proc/self"  # the superuser may write anywhere else
    else:
        tmp_path.chmod(0o500)
        folder = str(tmp_path)
    with pytest.raises(JournalError, match=r"j\.db' cannot be opened: .*Give it a file in a folder that exists"):
        SQLiteJournal(f"{folder}/j.db")


def test_neither_repr_nor_errors_show_what_rows_hold(path: Path) -> None:
    journal = SQLiteJournal(path)
    journal.write(a_span(inputs="the secret", attributes=2**70))
    assert "secret" not in repr(journal)
    with pytest.raises(JournalError, match="failed: TypeError: a row it cannot store") as caught:
        journal.close()
    assert "secret" not in str(caught.value)


def test_closing_keeps_what_was_written_and_refuses_more(path: Path) -> None:
    journal = SQLiteJournal(path, linger_s=10)
    journal.write(a_span())
    assert not journal.closed
    journal.close()
    journal.close()
    assert journal.closed
    assert rows(path, "SELECT id FROM spans") == [("s1",)]
    with pytest.raises(JournalError, match="The journal is closed"):
        journal.write(a_span())


async def test_durable_after_close_is_refused(path: Path) -> None:
    journal = SQLiteJournal(path)
    await journal.durable()
    journal.close()
    with pytest.raises(JournalError, match="The journal is closed"):
        await journal.durable()


async def test_durable_does_not_wait_for_the_linger_and_a_cancelled_waiter_harms_nobody(path: Path) -> None:
    with SQLiteJournal(path, linger_s=60) as journal:
        journal.write(a_span())
        cancelled = asyncio.create_task(journal.durable())
        await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.wait_for(journal.durable(), 30)
        assert rows(path, "SELECT count(*) FROM spans") == [(1,)]


def test_rows_nobody_waits_for_are_on_disk_after_the_linger(path: Path) -> None:
    with SQLiteJournal(path, linger_s=0.02) as journal:
        journal.write(a_span())
        until = time.monotonic() + 30
        while not (found := rows(path, "SELECT id FROM spans")) and time.monotonic() < until:
            time.sleep(0.01)
        assert found == [("s1",)]


def test_many_threads_and_event_loops_share_one_journal(path: Path) -> None:
    wrong: list[str] = []

    async def write_and_read(journal: SQLiteJournal, worker: int, n: int) -> None:
        call = a_call(f'{{"w":{worker},"n":{n}}}', f"{worker}.{n}")
        journal.write(call)
        await journal.durable()
        if journal.read(call.key) != f"{worker}.{n}":
            wrong.append(call.request)

    async def work(journal: SQLiteJournal, worker: int) -> None:
        await asyncio.gather(*(write_and_read(journal, worker, n) for n in range(50)))

    with SQLiteJournal(path) as journal:
        threads = [threading.Thread(target=lambda w=w: asyncio.run(work(journal, w))) for w in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert rows(path, "SELECT count(*), count(DISTINCT digest) FROM calls") == [(400, 400)]


def test_a_loop_that_was_closed_does_not_stop_the_others(path: Path) -> None:
    with SQLiteJournal(path, linger_s=60) as journal:
        loop = asyncio.new_event_loop()
        journal.write(a_span())
        with rows_locked(path):
            task = loop.create_task(journal.durable())
            loop.run_until_complete(asyncio.sleep(0.05))
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            loop.close()
        journal.flush()
    assert rows(path, "SELECT count(*) FROM spans") == [(1,)]


async def test_a_lock_held_for_longer_than_sqlite_waits_ends_no_journal(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_MS", 20)
    with SQLiteJournal(path) as journal:
        journal.write(a_span("one"))
        await journal.durable()
        with rows_locked(path):
            journal.write(a_span("two"))
            waiting = asyncio.create_task(journal.durable())
            while "locked by another" not in caplog.text:  # noqa: ASYNC110 - the writer is a thread
                await asyncio.sleep(0.01)
            assert not waiting.done()
        await waiting
    assert rows(path, "SELECT id FROM spans ORDER BY n") == [("one",), ("two",)]


async def test_a_read_goes_on_while_a_write_waits_for_the_lock(path: Path) -> None:
    with SQLiteJournal(path) as journal:
        old, new = a_call('{"q":1}', "old"), a_call('{"q":2}', "new")
        journal.write(old)
        await journal.durable()
        with rows_locked(path):
            journal.write(new)
            waiting = asyncio.create_task(journal.durable())
            await asyncio.sleep(0.05)
            assert not waiting.done()
            assert (journal.read(old.key), journal.read(new.key)) == ("old", "new")
        await waiting


async def test_a_reader_in_the_middle_of_its_query_does_not_stop_the_writer(path: Path) -> None:
    with SQLiteJournal(path) as journal:
        for n in range(100):
            journal.write(a_span(f"s{n}"))
        await journal.durable()
        connection = apsw.Connection(str(path))
        reading = iter(connection.execute("SELECT id FROM spans ORDER BY n"))
        assert next(reading) == ("s0",)
        journal.write(a_span("later"))
        await asyncio.wait_for(journal.durable(), 10)
        assert len(list(reading)) == 99
        connection.close()


def test_a_forked_child_writes_its_own_rows_and_its_parents_once(path: Path) -> None:
    journal = SQLiteJournal(path, linger_s=60)
    kept = a_call('{"q":"before"}', "before")
    journal.write(kept)
    journal.flush()
    assert journal.read(kept.key) == "before"
    journal.write(a_span("pending-in-parent"))
    child = forked()
    if child == 0:
        code = 1
        try:
            journal.write(a_span("child"))
            journal.flush()
            code = 0 if journal.read(kept.key) == "before" else 2
        finally:
            os._exit(code)
    journal.write(a_span("parent"))
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    journal.close()
    found = rows(path, "SELECT id FROM spans WHERE kind = 'step' ORDER BY id")
    assert found == [("child",), ("parent",), ("pending-in-parent",)]


def test_prune_removes_what_is_old_with_its_long_texts_but_no_suspended_run(path: Path) -> None:
    with SQLiteJournal(path) as journal:
        assert journal.oldest() is None
        journal.write(RunRecord("r1", "support", "{}", "done", 1_000.0, 1_001.0))
        journal.write(RunRecord("waits", "letter", "y" * 9000, "suspended", 1_000.0))
        journal.write(a_call('{"q":1}', "x" * 9000))
        journal.write(a_call('{"q":2}', "z" * 9000, scope="waits", run="waits"))
        journal.write(a_span("new", run="r2", end=3_000.0, output="w" * 9000))
        journal.write(Reservation("r1", Key("", "d"), 1, 1, 0.0))
        journal.write(DatasetRow("train", "v" * 9000))
        journal.flush()
        assert journal.oldest() == 1_001.5
        assert journal.prune(2_000.0) == 3  # the run, its span, its reservation; calls are dated by their writing
        assert journal.read(a_call('{"q":1}').key) == "x" * 9000
        assert journal.prune(time.time() + 60) > 0
        assert journal.read(a_call('{"q":1}').key) is None
        assert journal.read(a_call('{"q":2}', scope="waits").key) == "z" * 9000
        assert journal.dataset("train") == ["v" * 9000]
        assert journal.oldest() is None
        assert journal.prune(time.time() + 60) == 0
    left = rows(path, "SELECT substr(text, 1, 1) FROM payloads ORDER BY 1")
    assert left == [("v",), ("y",), ("z",)]


def test_a_path_that_is_not_utf_8_is_refused_before_a_file_is_made(tmp_path: Path) -> None:
    for use in (SQLiteJournal, runs):
        with pytest.raises(UserError, match=r"The journal '.*/\\udcff\.db' is not UTF-8\. Rename it"):
            use(tmp_path / os.fsdecode(b"\xff.db"))
    assert not list(tmp_path.iterdir())


def test_a_journal_that_was_never_written_to_leaves_no_thread(path: Path) -> None:
    before = threading.active_count()
    journal = SQLiteJournal(path)
    journal.read(Key("", "d"))
    assert threading.active_count() == before
    del journal
    gc.collect()


@pytest.mark.parametrize("value", [Decimal("0.5"), Fraction(1, 2), 10**30, 10**400, np.float32(0.5), np.int64(3)])
def test_a_number_of_any_type_is_kept_and_fails_nobody(path: Path, value: float) -> None:
    """One such row ended the journal for everybody in the process."""
    with SQLiteJournal(path) as journal:
        journal.write(a_call("{}"))
        journal.write(ScoreRecord("t", "exact", value, "me"))
        journal.flush()
        (score,) = journal.scores("t")
        assert score.value == (math.inf if isinstance(value, int) and value > 1e300 else float(value))
        assert journal.read(a_call("{}").key) is not None


def test_a_row_of_a_dataset_that_is_no_text_is_refused(path: Path) -> None:
    with SQLiteJournal(path) as journal:
        with pytest.raises(UserError, match=r"A row of the dataset 'train' is a dict\. Pass it as JSON text"):
            journal.write(DatasetRow("train", {"a": 1}))  # type: ignore[arg-type]
        journal.write(DatasetRow("train", "{}"))
        journal.flush()
        assert journal.dataset("train") == ["{}"]
