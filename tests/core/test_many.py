"""One program over many rows: order, failures in place, resume, cancellation, progress."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import synthon as sy
from tests.core.counting import Counting, until


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[sy.SQLiteJournal]:
    with sy.SQLiteJournal(tmp_path / "journal.db") as opened:
        yield opened


def ignore(_: sy.Progress) -> None:
    """Watch nothing."""


@sy.step(temperature=0.0)
async def answer(text: str) -> str:
    """Answer."""
    ...


async def times(a: int, b: int = 2) -> int:
    await asyncio.sleep(0.001 * (5 - a % 5))
    if a == 13:
        raise ValueError(a)
    return a * b


@pytest.mark.parametrize("workers", [1, 3, 50])
async def test_results_come_in_the_order_of_the_rows(workers: int) -> None:
    told = await sy.run_many(times, range(20), workers=workers, watch=ignore)
    failed = told.pop(13)
    assert told == [2 * a for a in range(20) if a != 13]
    assert isinstance(failed, sy.Failed)
    assert (failed.row, type(failed.error), str(failed.error)) == (13, ValueError, "13")


async def test_a_mapping_a_tuple_and_a_single_value_are_rows() -> None:
    assert await sy.run_many(times, [{"a": 2, "b": 5}, (3, 4), 6], watch=ignore) == [10, 12, 12]
    assert await sy.run_many(times, iter([]), watch=ignore) == []


async def test_a_row_that_does_not_fit_the_program_fails_alone() -> None:
    told = await sy.run_many(times, [{"c": 1}, 2, (1, 2, 3)], watch=ignore)
    assert [type(one) for one in told] == [sy.Failed, int, sy.Failed]


async def test_no_more_workers_run_than_were_asked_for() -> None:
    running = most = 0

    async def program(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    await sy.run_many(program, range(20), workers=4, watch=ignore)
    assert most == 4
    for workers in (0, 1.5, "a", None):
        with pytest.raises(sy.UserError, match=rf"workers={workers!r}\. Pass at least 1"):
            await sy.run_many(program, [1], workers=workers)  # type: ignore[arg-type] # what a caller may do


async def test_a_wrong_set_up_stops_the_batch_at_once() -> None:
    started = 0

    async def program(number: int) -> str:
        nonlocal started
        started += 1
        await asyncio.sleep(0 if number == 3 else 0.01)
        return await answer("q")

    with pytest.raises(sy.UserError, match="'answer' has no model"):
        await sy.run_many(program, range(100), workers=5, watch=ignore)
    assert started <= 6
    assert len(asyncio.all_tasks()) == 1


async def test_a_batch_that_is_cancelled_leaves_nothing_running(journal: sy.SQLiteJournal) -> None:
    model = Counting(waits_s=30)
    program = answer.using(model=sy.Journaled(model))
    before = asyncio.all_tasks()
    batch = sy.run_many(program, [str(n) for n in range(50)], workers=7, journal=journal, run_id="b", watch=ignore)
    task = asyncio.create_task(batch)
    await until(lambda: model.running == 7)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (model.running, model.cancelled, model.calls) == (0, 7, 7)
    assert asyncio.all_tasks() == before
    kept = journal.run("b")
    assert kept is not None
    assert kept.status == "cancelled"


async def test_a_row_that_cancels_itself_fails_alone() -> None:
    async def program(number: int) -> int:
        if number == 1:
            inner = asyncio.create_task(asyncio.sleep(9))
            inner.cancel()
            await inner
        return number

    told = await sy.run_many(program, range(4), workers=1, watch=ignore)
    assert [one if isinstance(one, int) else type(one.error) for one in told] == [0, sy.SynthonError, 2, 3]


async def test_a_batch_resumes_by_its_id_and_makes_only_what_failed_again(journal: sy.SQLiteJournal) -> None:
    model = Counting(fails=[None, sy.ProviderError("down"), None, sy.ProviderError("down")])
    program = answer.using(model=sy.Journaled(model))
    rows = [str(n) for n in range(6)]

    async def batch() -> list[str | sy.Failed]:
        return await sy.run_many(program, rows, workers=2, journal=journal, run_id="b", watch=ignore)

    first, second = await batch(), await batch()
    assert [isinstance(one, sy.Failed) for one in first] == [False, True, False, True, False, False]
    assert not any(isinstance(one, sy.Failed) for one in second)
    assert model.calls == 8
    for run in ("b", "b/0", "b/5"):
        kept = journal.run(run)
        assert kept is not None
        assert kept.status == "done"


async def test_rows_share_one_budget_and_the_rest_fail(journal: sy.SQLiteJournal) -> None:
    model = Counting()
    budget = sy.Budget(calls=4)
    program = answer.using(model=sy.Journaled(model))
    told = await sy.run_many(program, [str(n) for n in range(9)], budget=budget, journal=journal, watch=ignore)
    failed = [one.error for one in told if isinstance(one, sy.Failed)]
    assert (model.calls, budget.spent.calls, len(failed)) == (4, 4, 5)
    assert all(isinstance(error, sy.BudgetExceeded) for error in failed)


async def test_a_journal_that_fails_stops_the_batch(journal: sy.SQLiteJournal) -> None:
    async def program(number: int) -> int:
        if number == 3:
            journal.close()
        return number

    with pytest.raises(sy.JournalError, match="closed"):
        await sy.run_many(program, range(100), workers=1, journal=journal, watch=ignore)


async def test_progress_is_told_after_each_row_with_failures_and_dollars() -> None:
    reports: list[sy.Progress] = []
    model = sy.Journaled(Counting(fails=[None, sy.ProviderError("down")]), price=sy.Price(1e6, 1e6))
    budget = sy.Budget(calls=9)
    program = answer.using(model=model)
    await sy.run_many(program, ["a", "b", "c"], workers=1, budget=budget, watch=reports.append)
    assert [(report.done, report.total, report.failed, report.cost_usd) for report in reports] == [
        (0, 3, 0, None),
        (1, 3, 0, 2.0),
        (2, 3, 1, 2.0),
        (3, 3, 1, 4.0),
    ]
    assert {report.label for report in reports} == {"answer"}


async def test_without_a_watch_the_default_one_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[object] = []

    @contextmanager
    def draw(label: str) -> Iterator[sy.Watch]:
        drawn.append(label)
        yield drawn.append
        drawn.append("end")

    monkeypatch.setattr(sy.Defaults, "watch", draw)
    await sy.run_many(times, [1], watch=ignore)
    assert drawn == []
    await sy.run_many(times, [1])
    assert drawn == ["times", sy.Progress(0, 1, 0, None, "times"), sy.Progress(1, 1, 0, None, "times"), "end"]
