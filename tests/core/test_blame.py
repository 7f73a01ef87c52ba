"""Assertions with backtracking: the step to blame answers again, and only what depends on it is computed anew."""

import asyncio
import json

import pytest

import synthon as sy
from synthon.core.recording import recorded
from synthon.core.running import budgeted
from tests.core.blaming import Level, Scripted, pieces


async def test_the_blamed_step_answers_again_and_only_what_depends_on_it_is_computed_anew() -> None:
    query, reply = pieces()
    scripted = Scripted()

    @sy.step
    async def unrelated(text: str) -> str:
        """Something else."""
        ...

    @sy.program
    async def system(text: str) -> list[str]:
        aside = await unrelated(f"aside {text}")
        asked = await query(text)
        return [aside, await reply(f"{asked}!")]

    journal = sy.MemoryJournal()
    result = await sy.run(system.using(model=scripted.model), "cats", journal=journal)
    assert result == ["aside cats", "cats/1!"]
    assert scripted.asked == {
        "aside cats": 1,
        "cats": 1,
        "cats!": 1,
        "cats | cats | the query found nothing\nAnswer again.": 1,
        "cats/1!": 1,
    }


async def test_a_failure_and_what_mended_it_are_rows_to_train_on() -> None:
    query, reply = pieces()

    @sy.program
    async def system(text: str) -> str:
        return await reply(f"{await query(text)}!")

    journal = sy.MemoryJournal()
    await sy.run(system.using(model=Scripted().model), "cats", journal=journal)
    checks = [row for row in journal.records if isinstance(row, sy.Span) and row.kind == "check"]
    told = [(json.loads(row.inputs), json.loads(row.output)) for row in checks]
    assert told == [({"failed": "cats", "message": "the query found nothing"}, "cats/1")]


@pytest.mark.parametrize("level", ["require", "suggest"])
async def test_when_no_try_is_left_a_requirement_raises_and_a_suggestion_goes_on(level: Level) -> None:
    @sy.step
    async def query(text: str) -> str:
        """Write a query."""
        ...

    @sy.step
    async def reply(found: str) -> str:
        """Reply."""
        ...

    @reply.check(retries=2, blame=query, level=level)
    def never(output: str) -> str | None:
        return "not good"

    @sy.program
    async def system(text: str) -> str:
        return await reply(await query(text))

    scripted, journal = Scripted(), sy.MemoryJournal()
    program = system.using(model=scripted.model)
    if level == "suggest":
        assert await sy.run(program, "cats", journal=journal) == "cats/2"
    else:
        with pytest.raises(sy.CheckFailed, match="still fails its check 'never' after 2 retries: not good"):
            await sy.run(program, "cats", journal=journal)
    assert scripted.asked.total() == 6
    rows = [row for row in journal.records if isinstance(row, sy.Span) and row.kind == "check"]
    assert [row.error for row in rows] == ["not good"] * 3
    assert [json.loads(row.inputs)["failed"] for row in rows] == ["cats", "cats/1", "cats/2"]


async def test_a_suggestion_without_blame_asks_again_and_then_goes_on() -> None:
    @sy.step(retries=0)
    async def reply(text: str) -> str:
        """Reply."""
        ...

    @reply.check(retries=2, level="suggest")
    def short(output: str) -> str | None:
        return "too long"

    @reply.check(retries=1)
    def kept(output: str) -> str | None:
        return None

    scripted, journal = Scripted(), sy.MemoryJournal()
    assert await sy.run(reply.using(model=scripted.model), "cats", journal=journal) == "cats/2"
    rows = [row for row in journal.records if isinstance(row, sy.Span) and row.kind == "check"]
    assert [(row.error, row.output) for row in rows] == [("too long", "")] * 3


async def test_what_a_check_mends_is_kept_with_its_correction() -> None:
    @sy.step
    async def reply(text: str) -> str:
        """Reply."""
        ...

    @reply.check
    def again(output: str) -> str | None:
        return None if "/" in output else "say it again"

    journal = sy.MemoryJournal()
    await sy.run(reply.using(model=Scripted().model), "cats", journal=journal)
    (row,) = [row for row in journal.records if isinstance(row, sy.Span) and row.kind == "check"]
    assert json.loads(row.inputs) == {"failed": "cats", "message": "say it again"}
    assert (json.loads(row.output), row.name, row.error) == ("cats/1", "again", "")


@pytest.mark.parametrize("how", ["gather", "group", "caught", "shielded"])
async def test_parallel_branches_finish_their_calls_and_none_is_made_twice(how: str) -> None:
    """Three branches, each with a query to blame: the minimum of calls, whatever the program does when cancelled."""
    query, reply = pieces()
    scripted = Scripted(0.02)

    async def branch(text: str) -> str:
        if how == "caught":
            try:
                return await reply(f"{await query(text)}!")
            except BaseException:  # noqa: BLE001 - a program that will not be told at once
                return await reply("instead")
        return await reply(f"{await query(text)}!")

    @sy.program
    async def system(text: str) -> list[str]:
        topics = [f"{text}{number}" for number in range(3)]
        if how == "group":
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(branch(topic)) for topic in topics]
            return [task.result() for task in tasks]
        if how == "shielded":
            return [await asyncio.shield(asyncio.create_task(branch(topic))) for topic in topics]
        return await asyncio.gather(*map(branch, topics))

    before = len(asyncio.all_tasks())
    async with asyncio.timeout(20):
        result = await sy.run(system.using(model=scripted.model), "cats", journal=sy.MemoryJournal())
    assert result == ["cats0/1!", "cats1/1!", "cats2/1!"]
    assert scripted.asked.total() == 12
    assert max(scripted.asked.values()) == 1
    await asyncio.sleep(0.1)
    assert len(asyncio.all_tasks()) == before


async def test_a_cancellation_from_outside_ends_the_program_all_the_same() -> None:
    query, reply = pieces(100)

    @reply.check(retries=1000, blame=query)
    def never(output: str) -> str | None:
        return "no"

    @sy.program
    async def system(text: str) -> str:
        return await reply(await query(text))

    running = asyncio.create_task(sy.run(system.using(model=Scripted(0.01).model), "cats", journal=sy.MemoryJournal()))
    await asyncio.sleep(0.2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await system.using(model=Scripted(0.01).model)("dogs")


async def test_a_budget_counts_no_call_of_the_first_pass_twice() -> None:
    query, reply = pieces()

    @sy.program
    async def system(text: str) -> str:
        return await reply(f"{await query(text)}!")

    budget = sy.Budget(calls=4)
    await sy.run(system.using(model=Scripted().model), "cats", journal=sy.MemoryJournal(), budget=budget)
    assert budget.spent.calls == 4


async def test_the_latest_call_of_a_loop_is_blamed() -> None:
    query, reply = pieces()
    scripted = Scripted()

    @sy.program
    async def system(text: str) -> str:
        asked = ""
        for hop in range(3):
            asked = await query(f"{text}{hop}")
        return await reply(f"{asked}!")

    assert await sy.run(system.using(model=scripted.model), "hop", journal=sy.MemoryJournal()) == "hop2/1!"
    assert scripted.asked.total() == 6


async def test_votes_of_a_blamed_step_all_mend_it() -> None:
    query, reply = pieces()
    scripted = Scripted()

    @sy.program
    async def system(text: str) -> str:
        return await reply(f"{await query(text)}!")

    voting = system.using({"query.strategy": sy.self_consistency(3, of=sy.predict)}, model=scripted.model)
    assert await sy.run(voting, "cats", journal=sy.MemoryJournal()) == "cats/1!"
    assert scripted.asked["cats | cats | the query found nothing\nAnswer again."] == 2  # the majority is clear


async def test_a_stream_takes_back_what_the_first_pass_said() -> None:
    query, reply = pieces()

    @sy.program
    async def system(text: str) -> str:
        return await reply(f"{await query(text)}!")

    said: dict[str, str] = {}
    sy.Defaults.journal, kept = lambda: journal, sy.Defaults.journal
    journal = sy.MemoryJournal()
    try:
        async with system.using(model=Scripted().model).stream("cats") as stream:
            async for delta in stream:
                said[delta.span] = "" if delta.reset else said.get(delta.span, "") + delta.text
            assert await stream.result() == "cats/1!"
    finally:
        sy.Defaults.journal = kept
    assert sorted(filter(None, said.values())) == ["cats/1", "cats/1!"]


async def test_what_a_suggestion_let_pass_stays_in_the_stream() -> None:
    query, reply = pieces(level="suggest")

    @sy.program
    async def system(text: str) -> str:
        return await reply(await query(text))

    said: dict[str, str] = {}
    async with system.using(model=Scripted().model).stream("cats") as stream:
        async for delta in stream:
            said[delta.span] = "" if delta.reset else said.get(delta.span, "") + delta.text
        assert await stream.result() == "cats/1"
    assert list(said.values())[-1] == "cats/1"


async def test_a_resumed_run_blames_as_it_did() -> None:
    query, reply = pieces()
    scripted, journal = Scripted(), sy.MemoryJournal()

    @sy.program
    async def system(text: str) -> str:
        return await reply(f"{await query(text)}!")

    program = system.using(model=scripted.model)
    for _ in range(2):
        assert await sy.run(program, "cats", journal=journal, run_id="r") == "cats/1!"
    assert scripted.asked.total() == 4


# ---------------------------------------------------------------------------------------------- refused


async def test_steps_under_a_budget_of_their_own_may_blame() -> None:
    query, reply = pieces()

    @sy.program
    async def system(text: str) -> str:
        with budgeted(sy.Budget(calls=9)):
            return await reply(f"{await query(text)}!")

    assert await sy.run(system.using(model=Scripted().model), "cats", journal=sy.MemoryJournal()) == "cats/1!"


async def test_a_sub_agent_inside_a_tool_may_blame() -> None:
    """The tool's own call is in flight while its inside waits for quiet; it does not wait for itself."""
    query, reply = pieces()

    @sy.program
    async def inner(text: str) -> str:
        return await reply(f"{await query(text)}!")

    async def act() -> str:
        return json.dumps(await inner("cats"))

    @sy.program(uses=[inner])
    async def outer() -> str:
        return await recorded("inner", "cats", act, kind="tool")

    async with asyncio.timeout(20):
        assert await sy.run(outer.using(model=Scripted().model), journal=sy.MemoryJournal()) == '"cats/1!"'


async def test_a_program_that_is_cancelled_before_anything_is_blamed_ends() -> None:
    query, reply = pieces()
    waiting = asyncio.Event()

    async def answer(request: sy.Request) -> str:
        if request.messages[-1].text == "wait!":
            waiting.set()
            await asyncio.sleep(60)
        return request.messages[-1].text

    @sy.program
    async def system(text: str) -> str:
        return await reply(f"{await query(text)}!")

    program = system.using(model=sy.Journaled(sy.FunctionModel(answer)))
    for call in (program("wait"), sy.run(program, "wait", journal=sy.MemoryJournal())):
        waiting.clear()
        task = asyncio.create_task(call)
        await waiting.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_cancellation_while_others_finish_their_calls_ends_the_program() -> None:
    query, reply = pieces()
    asked = asyncio.Event()

    async def answer(request: sy.Request) -> str:
        if request.messages[-1].text == "slow":
            asked.set()
            await asyncio.sleep(60)
        return request.messages[-1].text

    @sy.step
    async def slow(text: str) -> str:
        """Take long."""
        ...

    @sy.program
    async def system(text: str) -> list[str]:
        async def branch() -> str:
            await asked.wait()
            return await reply(f"{await query(text)}!")

        return [*await asyncio.gather(slow("slow"), branch())]

    program = system.using(model=sy.Journaled(sy.FunctionModel(answer)))
    task = asyncio.create_task(sy.run(program, "cats", journal=sy.MemoryJournal()))
    await asked.wait()
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_orphan_that_goes_on_is_held_and_ended_when_the_program_starts_again() -> None:
    """A task that nobody awaits makes a call while the program waits to start again; it does not join the new pass."""
    query, reply = pieces()
    scripted = Scripted(0.05)
    ended: list[str] = []

    @sy.step
    async def aside(text: str) -> str:
        """Something else."""
        ...

    async def orphan() -> None:
        try:
            for number in range(100):
                await aside(f"aside {number}")
        except asyncio.CancelledError as error:
            ended.append(str(error))
            raise

    tasks: list[asyncio.Task[None]] = []

    @sy.program(uses=[aside])
    async def system(text: str) -> str:
        if not tasks:
            tasks.append(asyncio.create_task(orphan()))
        return await reply(f"{await query(text)}!")

    assert await sy.run(system.using(model=scripted.model), "cats", journal=sy.MemoryJournal()) == "cats/1!"
    await asyncio.wait(tasks)
    assert ended == ["the program has started again"]


async def test_copies_of_a_step_with_checks_of_their_own_each_have_their_tries() -> None:
    query, _ = pieces()

    @sy.step
    async def reply(found: str) -> str:
        """Reply."""
        ...

    strict = reply.using(temperature=0.5)

    @reply.check(retries=1, blame=query)
    def once(output: str) -> str | None:
        return None if "/" in output else "ask again"

    @strict.check(retries=1, blame=query)
    def twice(output: str) -> str | None:
        return None if "/2" in output else "ask once more"

    @sy.program
    async def system(text: str) -> list[str]:
        asked = await query(text)
        return [await reply(f"{asked}!"), await strict(f"{asked}?")]

    program = system.using(model=Scripted().model)
    assert await sy.run(program, "cats", journal=sy.MemoryJournal()) == ["cats/2!", "cats/2?"]
