"""Kills: what was acknowledged is on disk, a killed run goes on to the same result, a durable budget holds."""

import asyncio
import json
from pathlib import Path

import apsw
import pytest

import synthon as sy
from tests.core.counting import Counting, ask
from tests.nursery import Nursery


def reached(folder: Path) -> int:
    path = folder / "calls"
    return len(path.read_text().splitlines()) if path.exists() else 0


# ---------------------------------------------------------------------------------------------- acknowledged


def test_what_a_program_returned_is_on_disk(nursery: Nursery, tmp_path: Path) -> None:
    program = """
        @sy.step
        async def answer(text: str) -> str:
            '''Answer.'''
            ...

        @sy.program
        async def three(text: str) -> list[str]:
            return [await answer(text) for _ in range(3)]

        async def main():
            print(await sy.run(three.using(model=model), "q", run_id="r", journal=journal), flush=True)
            die()

        asyncio.run(main())
        """
    assert nursery.run(tmp_path, program) == "['1 0', '1 1', '1 2']\n"
    assert nursery.killed
    with sy.SQLiteJournal(tmp_path / "journal.db") as journal:
        assert len(journal.digests("r")) == 3
        kept = journal.run("r")
        assert kept is not None
        assert (kept.status, json.loads(kept.result)) == ("done", ["1 0", "1 1", "1 2"])


def test_a_bare_step_is_written_behind_and_waits_for_the_disk_only_inside_a_run(
    nursery: Nursery, tmp_path: Path
) -> None:
    """The writer lingers for 20 s here, so what nobody waits for is lost at the kill."""
    program = """
        journal = sy.SQLiteJournal(folder / "journal.db", linger_s=20)
        sy.Defaults.journal = lambda: journal

        @sy.step(model=model)
        async def answer(text: str) -> str:
            '''Answer.'''
            ...

        async def main():
            await sy.run(answer, "first")
            told = await answer("q") if sys.argv[3] == "bare" else await sy.run(answer, "q")
            print(told, flush=True)
            await asyncio.sleep(0.1)
            die()

        asyncio.run(main())
        """
    for how, rows in (("bare", 1), ("run", 3)):
        assert nursery.run(tmp_path, program, 0, 0.001, how) == "1 0\n"
        connection = apsw.Connection(str(tmp_path / "journal.db"))
        assert connection.execute("SELECT count(*) FROM calls").get == rows
        connection.close()


# ---------------------------------------------------------------------------------------------- resume


RESUMED = """
@sy.step
async def answer(text: str) -> str:
    '''Answer.'''
    ...

@sy.program
async def system(n: int) -> dict[str, object]:
    first = [await answer("x" * at) for at in range(n)]
    wide = await asyncio.gather(*(answer("y" * at) for at in range(n)), *(answer("same") for _ in range(2)))
    return {"at": sy.now().isoformat(), "chance": sy.random(), "first": first, "wide": wide}

result = asyncio.run(sy.run(system.using(model=model), 4, run_id="r", journal=journal))
print(json.dumps(result), flush=True)
"""
FIRST, WIDE = ["0 0", "1 0", "2 0", "3 0"], ["0 1", "1 0", "2 0", "3 0", "4 0", "4 1"]


def test_a_run_killed_again_and_again_goes_on_to_the_identical_result(nursery: Nursery, tmp_path: Path) -> None:
    kills = [1, 2, 102, 1, 101, 2, 103, 1, 104]
    for kill_at in kills:
        nursery.run(tmp_path, RESUMED, kill_at)
        assert nursery.killed
    told = [nursery.run(tmp_path, RESUMED) for _ in range(2)]
    assert told[0] == told[1]
    result = json.loads(told[0])
    assert (result["first"], sorted(result["wide"])) == (FIRST, WIDE)


@pytest.mark.parametrize("kill_at", [1, 2, 4, 5, 8, 10])
def test_a_kill_costs_no_more_calls_than_were_in_flight(nursery: Nursery, tmp_path: Path, kill_at: int) -> None:
    """What was answered gets to the disk while the next call is under way, though nobody waits for it."""
    nursery.run(tmp_path, RESUMED, -kill_at)
    assert nursery.killed
    result = json.loads(nursery.run(tmp_path, RESUMED))
    assert (result["first"], sorted(result["wide"])) == (FIRST, WIDE)
    in_flight = 1 if kill_at <= len(FIRST) else len(WIDE)
    assert 10 < reached(tmp_path) <= 10 + in_flight


# ---------------------------------------------------------------------------------------------- durable budgets

STORM = """
@sy.step(temperature=0.0, model=model)
async def answer(text: str) -> str:
    '''Answer.'''
    ...

async def one(at):
    try:
        return await answer("x" * at)
    except sy.BudgetExceeded:
        return None

async def in_order(n):
    return [await one(at) for at in range(n)]

async def at_once(n):
    return await asyncio.gather(*(one(at) for at in range(n)))

async def nested(n):
    half = await sy.run(at_once, n // 2)
    return half + await sy.run_many(one, range(n // 2, n), workers=4, watch=print)

calls, program, policy = int(sys.argv[3]), globals()[sys.argv[4]], sys.argv[5]
budget = sy.Budget(calls=calls, durable=True)
asyncio.run(sy.run(program, 20, run_id="r", journal=journal, budget=budget, policy=policy))
"""


@pytest.mark.parametrize("policy", ["fresh", "cache"])
@pytest.mark.parametrize("shape", ["in_order", "at_once", "nested"])
def test_a_durable_budget_holds_over_kills(nursery: Nursery, tmp_path: Path, shape: str, policy: str) -> None:
    calls = 12
    kills = (3, 101, 1, 102, 2, 101, 1)
    for kill_at in kills:
        nursery.run(tmp_path, STORM, kill_at, 0.001, calls, shape, policy)
        assert 0 < reached(tmp_path) <= calls
    nursery.run(tmp_path, STORM, 0, 0.001, calls, shape, policy)
    assert not nursery.killed
    # one that was reserved and not yet sent when the kill came is lost to the budget, never the other way round
    lost = len(kills) * (1 if shape == "in_order" else calls)
    assert max(1, calls - lost) <= reached(tmp_path) <= calls


async def test_a_durable_budget_counts_an_answer_once_however_often_it_is_resumed(tmp_path: Path) -> None:
    model = Counting()
    with sy.SQLiteJournal(tmp_path / "j.db") as journal:

        async def upto(n: int) -> int:
            for at in range(n):
                await sy.Journaled(model).complete(ask(str(at)))
            return n

        for n in (1, 2, 3, 4, 4, 4):
            budget = sy.Budget(calls=4, durable=True)
            await sy.run(upto, n, run_id="r", journal=journal, budget=budget)
            assert budget.spent.calls == n
        with pytest.raises(sy.BudgetExceeded, match="earlier, answered: 4 calls"):
            await sy.run(upto, 5, run_id="r", journal=journal, budget=sy.Budget(calls=4, durable=True))
    assert model.calls == 4


async def test_a_durable_budget_counts_what_was_sent_before_what_is_asked_again(tmp_path: Path) -> None:
    """Two calls, the first failed: a second life may not send it again, for the budget of two is spent."""
    model = Counting(fails=[sy.ProviderError("down")])
    with sy.SQLiteJournal(tmp_path / "j.db") as journal:

        async def two() -> list[object]:
            calls = (sy.Journaled(model).complete(ask(text)) for text in "ab")
            return list(await asyncio.gather(*calls, return_exceptions=True))

        told = [
            await sy.run(two, run_id="r", journal=journal, budget=sy.Budget(calls=2, durable=True)) for _ in range(2)
        ]
    assert [[type(answer) for answer in each] for each in told] == [
        [sy.ProviderError, sy.Completion],
        [sy.BudgetExceeded, sy.Completion],
    ]
    assert model.calls == 2


async def test_a_durable_budget_needs_a_named_run_with_a_journal_that_is_written(tmp_path: Path) -> None:
    budget = sy.Budget(calls=1, durable=True)
    complete = sy.Journaled(Counting()).complete
    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        with pytest.raises(sy.UserError, match="Pass run_id= and a journal"):
            await sy.run(complete, ask("q"), journal=journal, budget=budget)
        policies: list[sy.Policy] = ["off", "read_only"]
        for policy in policies:
            with pytest.raises(sy.UserError, match="Pass run_id= and a journal"):
                await sy.run(complete, ask("q"), journal=journal, run_id="r", policy=policy, budget=budget)
        with pytest.raises(sy.UserError, match="only a named run can hold"):
            await sy.Budgeted(sy.Journaled(Counting()), budget).complete(ask("q"))


async def test_a_durable_budget_holds_in_a_run_within_whose_rows_are_not_kept(tmp_path: Path) -> None:
    model = Counting()
    with sy.SQLiteJournal(tmp_path / "j.db") as journal:

        async def outer() -> None:
            await sy.run(sy.Journaled(model).complete, ask("q"), policy="off")

        for spent in (1, 2):
            budget = sy.Budget(calls=2, durable=True)
            await sy.run(outer, run_id="r", journal=journal, budget=budget)
            assert budget.spent.calls == spent
        with pytest.raises(sy.BudgetExceeded, match="earlier, unanswered: 2 calls"):
            await sy.run(outer, run_id="r", journal=journal, budget=sy.Budget(calls=2, durable=True))
    assert model.calls == 2
