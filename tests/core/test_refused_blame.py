"""Blame that cannot be right is refused, with words that say why."""

import asyncio

import pytest

import synthon as sy
from synthon.core.recording import recorded
from synthon.core.running import budgeted
from synthon.runs import effect
from tests.core.blaming import Scripted, pieces


async def test_blame_of_a_step_that_was_not_called_is_refused() -> None:
    _, reply = pieces()

    @sy.program
    async def system(text: str) -> str:
        return await reply(text)

    with pytest.raises(sy.UserError, match=r"'finds' of step 'reply' blames step 'query', which was not called before"):
        await sy.run(system.using(model=Scripted().model), "cats", journal=sy.MemoryJournal())


async def test_blame_that_may_mean_several_calls_is_refused() -> None:
    query, reply = pieces()

    @sy.program
    async def system(text: str) -> str:
        found = await asyncio.gather(query(f"{text}0"), query(f"{text}1"))
        return await reply("".join(found))

    with pytest.raises(sy.UserError, match="was called 2 times, by other tasks"):
        await sy.run(system.using(model=Scripted().model), "cats", journal=sy.MemoryJournal())


async def test_the_only_call_of_another_task_may_be_blamed() -> None:
    query, reply = pieces()

    @sy.program
    async def system(text: str) -> str:
        (found,) = await asyncio.gather(query(text))
        return await reply(f"{found}!")

    assert await sy.run(system.using(model=Scripted().model), "cats", journal=sy.MemoryJournal()) == "cats/1!"


@pytest.mark.parametrize("policy", ["off", "read_only"])
async def test_blame_without_rows_to_come_back_to_is_refused(policy: sy.Policy) -> None:
    query, reply = pieces()

    @sy.program
    async def system(text: str) -> str:
        return await reply(await query(text))

    with pytest.raises(sy.UserError, match="needs a program that runs with a journal to write to"):
        await sy.run(system.using(model=Scripted().model), "cats", journal=sy.MemoryJournal(), policy=policy)


async def test_blame_over_an_act_on_the_world_is_refused_and_over_a_read_is_not() -> None:
    query, reply = pieces()
    sent: list[str] = []

    async def act(key: str) -> str:
        sent.append(key)
        return "1"

    async def look() -> str:
        return "2"

    @sy.program
    async def system(text: str, *, acts: bool) -> str:
        asked = await query(text)
        if acts:
            await effect("send", asked, act, honours_key=True)
        await recorded("look", asked, look, kind="tool")
        return await reply(f"{asked}!")

    program = system.using(model=Scripted().model)
    with pytest.raises(sy.UserError, match="a tool has acted on the world since that call"):
        await sy.run(program, "cats", acts=True, journal=sy.MemoryJournal())
    assert len(sent) == 1
    assert await sy.run(program, "cats", acts=False, journal=sy.MemoryJournal()) == "cats/1!"


async def test_an_act_under_a_budget_or_in_a_run_of_its_own_counts_too() -> None:
    query, reply = pieces()
    sent: list[str] = []

    async def act(key: str) -> str:
        sent.append(key)
        return "1"

    @sy.program
    async def send(text: str) -> str:
        return await effect("send", text, act, honours_key=True)

    @sy.program
    async def system(text: str, *, apart: bool) -> str:
        asked = await query(text)
        if apart:
            await sy.run(send, asked)
        else:
            with budgeted(sy.Budget(calls=9)):
                await send(asked)
        return await reply(f"{asked}!")

    for apart in (False, True):
        with pytest.raises(sy.UserError, match="a tool has acted on the world since that call"):
            await sy.run(system.using(model=Scripted().model), "cats", apart=apart, journal=sy.MemoryJournal())
    assert len(sent) == 2


async def test_a_stream_that_cannot_take_back_is_refused() -> None:
    query, reply = pieces()

    @sy.program
    async def system(text: str) -> str:
        return await reply(f"{await query(text)}!")

    program = system.using(model=Scripted().model)
    journal = sy.MemoryJournal()
    stream = sy.Stream(lambda: sy.run(program, "cats", journal=journal), retractable=False)
    async with stream as opened:
        with pytest.raises(sy.UserError, match="a listener that cannot take back"):
            await opened.result()
