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


@pytest.mark.parametrize("usd", [0.25, 0.19, 0.1003, 0.15])
async def test_equal_calls_that_wait_for_room_count_once_and_never_for_each_other(usd: float) -> None:
    async def answer(request: sy.Request) -> sy.Completion:
        await asyncio.sleep(0.01)
        return sy.Completion("ok", usage=sy.Usage(input_tokens=10, output_tokens=1))

    model = sy.Journaled(sy.FunctionModel(answer), price=sy.Price(1, 100))

    async def asked(question: str) -> str:
        request = sy.Request((sy.Message("user", question),), temperature=0.0, max_tokens=1000)  # $0.1 at worst
        return (await model.complete(request)).text

    async def three() -> list[str]:
        return list(await asyncio.gather(asked("x"), asked("k"), asked("k")))

    budget = sy.Budget(usd=usd, once=True)
    run = sy.run(three, budget=budget, journal=sy.MemoryJournal())
    assert await asyncio.wait_for(run, 5) == ["ok"] * 3
    assert budget.spent.calls == 2
    assert budget.reserved.calls == 0


async def test_an_equal_call_that_waited_is_free_though_its_worst_case_would_not_fit() -> None:
    async def answer(request: sy.Request) -> sy.Completion:
        await asyncio.sleep(0.01)
        return sy.Completion("ok", usage=sy.Usage(input_tokens=10, output_tokens=900))

    model = sy.Journaled(sy.FunctionModel(answer), price=sy.Price(1, 100))

    async def asked(question: str) -> str:
        request = sy.Request((sy.Message("user", question),), temperature=0.0, max_tokens=1000)
        return (await model.complete(request)).text

    async def three() -> list[str]:
        return list(await asyncio.gather(asked("x"), asked("k"), asked("k")))

    budget = sy.Budget(usd=0.195, once=True)
    run = sy.run(three, budget=budget, journal=sy.MemoryJournal())
    assert await asyncio.wait_for(run, 5) == ["ok"] * 3
    assert budget.spent.calls == 2


async def test_a_call_that_takes_over_a_cancelled_one_holds_nothing_that_others_wait_for() -> None:
    ask = asking(counted([]))

    async def three() -> list[object]:
        tasks = [asyncio.create_task(ask(question)) for question in ("k", "k", "x")]
        await asyncio.sleep(0.001)  # the second waits for the first's answer, the third for room
        tasks[0].cancel()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    async def search() -> list[object]:
        return await sy.run(three, budget=sy.Budget(calls=9, once=True))

    whole = sy.Budget(calls=2)
    found = await asyncio.wait_for(sy.run(search, budget=whole, journal=sy.MemoryJournal()), 5)
    assert [type(each) for each in found] == [asyncio.CancelledError, sy.BudgetExceeded, str]
    assert (whole.spent.calls, whole.reserved.calls) == (2, 0)
