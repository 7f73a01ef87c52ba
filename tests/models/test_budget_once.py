"""A budget that counts each distinct call once, as a search does."""

from __future__ import annotations

import asyncio

import pytest

import synthon as sy


def counted(answers: list[str], *, broken: int = 0) -> sy.Journaled:
    async def answer(request: sy.Request) -> str:
        answers.append(request.messages[-1].text)
        await asyncio.sleep(0.01)
        if len(answers) <= broken:
            raise sy.ProviderError("down")
        return "yes"

    return sy.Journaled(sy.FunctionModel(answer))


def asking(model: sy.Model) -> sy.Step[[str], str]:
    @sy.step(model=model, temperature=0.0)
    async def ask(question: str) -> str:
        """Answer."""
        ...

    return ask


@pytest.mark.parametrize("workers", [1, 16])
async def test_a_row_used_again_counts_once_and_a_warm_journal_counts_like_a_cold_one(workers: int) -> None:
    journal, answers = sy.MemoryJournal(), list[str]()
    ask = asking(counted(answers))
    for _ in range(2):
        budget = sy.Budget(calls=2, once=True)
        rows = ["a", "b", "a", "a", "b"]
        found = await sy.run_many(ask, rows, journal=journal, policy="cache", budget=budget, workers=workers)
        assert found == ["yes"] * 5
        assert budget.spent.calls == 2
        with pytest.raises(sy.BudgetExceeded):
            await sy.run(ask, "c", journal=journal, policy="cache", budget=budget)
    assert sorted(answers) == ["a", "b"]


async def test_a_call_whose_equal_one_failed_is_counted_for_itself() -> None:
    answers = list[str]()
    ask = asking(counted(answers, broken=1))
    budget = sy.Budget(calls=2, once=True)
    journal = sy.MemoryJournal()
    with pytest.raises(sy.ProviderError):
        await sy.run(ask, "a", journal=journal, policy="cache", budget=budget)
    assert await sy.run(ask, "a", journal=journal, policy="cache", budget=budget) == "yes"
    assert budget.spent.calls == 2
    assert await sy.run(ask, "a", journal=journal, policy="cache", budget=budget) == "yes"
    assert budget.spent.calls == len(answers) == 2


async def test_the_time_limit_holds_for_calls_that_are_counted_already() -> None:
    answers = list[str]()
    ask = asking(counted(answers))
    budget = sy.Budget(minutes=60, once=True)
    journal = sy.MemoryJournal()
    for _ in range(2):
        await sy.run(ask, "a", journal=journal, policy="cache", budget=budget)
    assert budget.spent.calls == len(answers) == 1
