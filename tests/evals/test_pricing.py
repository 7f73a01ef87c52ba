"""What a case would cost and take in production, told from spans that are hits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

import synthon as sy
from synthon.core.recording import recorded

PAUSE_S = 0.25
CLOSE_S = 0.7 * PAUSE_S  # a pause too many or too few is told, a busy machine is not,
TRIES = 3  # unless it is that busy each time


class Slow:
    """Answers after as long as the message says, in units of a pause."""

    name = identity = "slow"
    capabilities: frozenset[sy.Capability] = frozenset({"chat"})

    def __init__(self) -> None:
        self.asked = 0

    async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
        self.asked += 1
        await asyncio.sleep(PAUSE_S * int(request.messages[-1].text.split()[-1]))
        return sy.Completion("done", usage=sy.Usage(input_tokens=1))


slow = Slow()


@sy.step(model=sy.Journaled(slow, price=sy.Price(1e6, 0.0)))
async def wait(text: str) -> str:
    """Wait."""
    ...


async def twice(text: str) -> str:
    await wait(f"{text} a 1")
    return await wait(f"{text} b 1")


@sy.program
async def one_after_the_other(text: str) -> str:
    return await twice(text)


@sy.program
async def gathered(text: str) -> str:
    await asyncio.gather(*(wait(f"{text} {n} 1") for n in range(3)))
    return text


@sy.program
async def gathered_pairs(text: str) -> str:
    await asyncio.gather(twice(f"{text} x"), twice(f"{text} y"))
    return text


@sy.program
async def gathered_and_then_more(text: str) -> str:
    await asyncio.gather(wait(f"{text} 0 1"), wait(f"{text} 1 2"))
    await asyncio.gather(wait(f"{text} 2 1"), wait(f"{text} 3 1"))
    return await wait(f"{text} 4 1")


@sy.program
async def tasks_in_turn(text: str) -> str:
    await asyncio.create_task(one_after_the_other(text))
    return await asyncio.create_task(one_after_the_other(f"{text} again"))


@sy.program
async def groups_of_groups(text: str) -> str:
    await asyncio.gather(gathered(f"{text} x"), gathered_pairs(f"{text} y"))
    return text


async def plain_function(text: str) -> str:
    await asyncio.gather(wait(f"{text} 0 1"), wait(f"{text} 1 1"))
    return await wait(f"{text} 2 1")


@sy.program
async def with_a_run_inside(text: str) -> str:
    return await sy.run(one_after_the_other, text)


@sy.program
async def with_time_of_its_own(text: str) -> str:
    await asyncio.sleep(PAUSE_S)
    return await wait(f"{text} 1")


@sy.program
async def with_a_search(text: str) -> str:
    async def look() -> str:
        await asyncio.sleep(PAUSE_S)
        return "[]"

    await recorded("look", text, look, kind="search")
    return text


def anything(case: sy.Case[None], output: object) -> float:
    return 1.0


@pytest.mark.parametrize(
    ("program", "pauses", "calls"),
    [
        (one_after_the_other, 2, 2),
        (gathered, 1, 3),
        (gathered_pairs, 2, 4),
        (gathered_and_then_more, 4, 5),
        (tasks_in_turn, 4, 4),
        (groups_of_groups, 2, 7),
        (plain_function, 2, 3),
        (with_a_run_inside, 2, 2),
        (with_time_of_its_own, 2, 1),
        (with_a_search, 1, 0),
    ],
    ids=lambda each: getattr(each, "name", None) or getattr(each, "__name__", str(each)),
)
async def test_a_hit_costs_and_takes_what_its_call_did(
    program: Callable[..., Awaitable[str]], pauses: int, calls: int, tmp_path: Path
) -> None:
    case = sy.Case({"text": str(getattr(program, "name", "plain"))}, None)
    told: list[tuple[float, float]] = []
    close = pytest.approx((pauses * PAUSE_S,) * 2, abs=CLOSE_S)
    while (not told or told[-1] != close) and len(told) < TRIES:
        with sy.SQLiteJournal(tmp_path / f"{len(told)}.db") as journal:
            cold = (await sy.evaluate(program, [case], anything, journal=journal)).rows[0]
            asked = slow.asked
            warm = (await sy.evaluate(program, [case], anything, journal=journal)).rows[0]
        assert slow.asked == asked
        assert cold.calls == warm.calls == calls
        assert cold.cost_usd == warm.cost_usd == pytest.approx(float(calls))
        told.append((cold.latency_s, warm.latency_s))
    assert told[-1] == close, told


async def test_a_half_warm_case_is_timed_as_a_whole(tmp_path: Path) -> None:
    """Three of its calls are hits, of which two start at once with a miss."""

    @sy.program
    async def more(text: str) -> str:
        await asyncio.gather(twice(f"{text} x"), twice(f"{text} y"), wait(f"{text} z 1"))
        return await wait(f"{text} last 1")

    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        await sy.evaluate(gathered_pairs, [sy.Case({"text": "half"}, None)], anything, journal=journal)
        row = (await sy.evaluate(more, [sy.Case({"text": "half"}, None)], anything, journal=journal)).rows[0]
    assert row.calls == 6
    assert row.latency_s == pytest.approx(3 * PAUSE_S, abs=CLOSE_S)


async def test_programs_evaluated_at_once_share_their_calls_in_flight() -> None:
    journal, asked = sy.MemoryJournal(), slow.asked
    case = sy.Case({"text": "at once"}, None)
    found = await asyncio.gather(
        *(sy.evaluate(one_after_the_other, [case], anything, journal=journal) for _ in range(3))
    )
    assert slow.asked - asked == 2
    for each in found:
        assert (each.rows[0].calls, each.rows[0].cost_usd) == (2, 2.0)
        assert each.rows[0].latency_s == pytest.approx(2 * PAUSE_S, abs=CLOSE_S)


async def test_a_call_without_a_price_leaves_the_cost_unknown() -> None:
    @sy.step(model=sy.Journaled(sy.FunctionModel(lambda _: sy.Completion("x"))))
    async def free(text: str) -> str:
        """Say."""
        ...

    found = await sy.evaluate(free, [sy.Case({"text": "x"}, None)], anything, journal=sy.MemoryJournal())
    assert found.cost_usd is None
    assert found.rows[0].cost_usd is None
    assert "unknown: a call has no price, or a model no journal" in str(found)


async def test_a_model_without_a_journal_leaves_the_cost_unknown() -> None:
    @sy.step(model=sy.FunctionModel(lambda _: sy.Completion("x")))
    async def unseen(text: str) -> str:
        """Say."""
        ...

    found = await sy.evaluate(unseen, [sy.Case({"text": "x"}, None)], anything, journal=sy.MemoryJournal())
    assert (found.rows[0].output, found.rows[0].cost_usd) == ("x", None)


async def test_a_tool_that_is_a_hit_costs_the_calls_that_were_inside(tmp_path: Path) -> None:
    @sy.tool(effects=())
    async def inner(text: str) -> str:
        """Wait twice."""
        await wait(f"{text} inner 0")
        return await wait(f"{text} again 0")

    @sy.tool(effects={"read"})
    async def outer(text: str) -> str:
        """Wait, and wait inside."""
        await wait(f"{text} outer 0")
        return await inner(text)

    @sy.program
    async def using(text: str) -> str:
        await outer(text)
        return await inner(text)

    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        found = [
            (await sy.evaluate(using, [sy.Case({"text": "x"}, None)], anything, journal=journal)).rows[0] for _ in "123"
        ]
    assert [(row.calls, row.cost_usd, row.tokens_in) for row in found] == [(5, 5.0, 5)] * 3


async def test_an_evaluation_inside_a_program_counts_for_both() -> None:
    @sy.program
    async def outer(text: str) -> float:
        inner = await sy.evaluate(wait, [sy.Case({"text": "inner 1"}, None)], anything)
        assert inner.rows[0].calls == 1
        return inner.mean.value

    found = await sy.evaluate(outer, [sy.Case({"text": "x"}, None)], anything, journal=sy.MemoryJournal())
    assert (found.rows[0].output, found.rows[0].calls) == (1.0, 1)
