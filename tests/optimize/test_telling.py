"""How far a search has come is told in calls, whatever limits it."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

import pytest

import synthon as sy
from synthon.evals import Case

if TYPE_CHECKING:
    from synthon import Progress

USAGE = sy.Usage(input_tokens=5, output_tokens=1)


async def told(budget: sy.Budget, wait_s: float = 0.0) -> list[Progress]:
    """What a search tells whose calls are 6 tokens and 6 millionths of a dollar each."""

    async def say(_: sy.Request) -> sy.Completion:
        await asyncio.sleep(wait_s)
        return sy.Completion("x", usage=USAGE)

    @sy.step(model=sy.Journaled(sy.FunctionModel(say), price=sy.Price(1, 1)), max_tokens=5, temperature=sy.knob(0, 0.5))
    async def answer(text: str) -> str:
        """Answer it."""
        ...

    seen: list[Progress] = []
    rows = [Case({"text": f"row {number}"}, "x" if number % 2 else "y") for number in range(10)]
    await sy.optimize(
        answer, [], rows, metric=sy.metrics.exact_match, budget=budget, journal=sy.MemoryJournal(), watch=seen.append
    )
    return seen


@pytest.mark.parametrize(
    ("limits", "total"),
    [
        ({"calls": 100}, 100),
        ({"usd": 0.0012}, 200),
        ({"tokens": 1_800}, 300),
        ({"calls": 100, "usd": 0.0012, "tokens": 1_800, "minutes": 60}, 100),
        ({"calls": 900, "usd": 0.0012, "tokens": 1_800, "minutes": 60}, 200),
    ],
)
async def test_the_limit_that_ends_first_tells_how_many_calls_there_will_be(
    limits: dict[str, float], total: int
) -> None:
    seen = await told(sy.Budget(**limits))  # type: ignore[arg-type] # one of its limits each
    assert seen
    for each in seen:
        assert each.total is not None
        assert each.total == pytest.approx(total, abs=1)
        assert "of 0 programs" not in each.label
        assert 0 < each.done <= each.total


async def test_a_limit_of_time_without_end_tells_nothing_of_calls() -> None:
    seen = await told(sy.Budget(minutes=math.inf))
    assert {each.total for each in seen} == {None}


async def test_time_that_passes_tells_how_many_calls_there_will_be() -> None:
    budget = sy.Budget(minutes=10)
    seen = await told(budget, 0.02)
    left_s = budget.remaining_s()
    assert left_s is not None
    last = seen[-1]
    assert last.total is not None
    per_call_s = (600 - left_s) / last.done
    assert last.done < last.total
    assert 600 / per_call_s <= last.total + 1  # the clock went on since
