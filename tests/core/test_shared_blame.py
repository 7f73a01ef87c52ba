"""Calls that share a blamed call, a check or a step: each failure is told once, of the call that it is about."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping

import pytest

import synthon as sy
from synthon.core.recording import recorded
from tests.core.blaming import Level, Scripted, pieces


def told(journal: sy.MemoryJournal) -> list[tuple[str, str]]:
    """What failed, and what mended it, in order."""
    rows = [row for row in journal.records if isinstance(row, sy.Span) and row.kind == "check"]
    return [(json.loads(row.inputs)["failed"], json.loads(row.output or '""')) for row in rows]


@pytest.mark.parametrize("level", ["require", "suggest"])
@pytest.mark.parametrize("delay_s", [0.0, 0.02])
async def test_several_calls_that_fail_by_one_call_have_it_answer_again_once(level: Level, delay_s: float) -> None:
    query, reply = pieces(level=level)
    scripted, journal = Scripted(delay_s), sy.MemoryJournal()

    @sy.program
    async def system(text: str) -> list[str]:
        asked = await query(text)
        return await asyncio.gather(*(reply(f"{number} {asked}!") for number in range(3)))

    result = await sy.run(system.using(model=scripted.model), "cats", journal=journal)
    assert result == ["0 cats/1!", "1 cats/1!", "2 cats/1!"]
    assert scripted.asked.total() == 8
    assert told(journal) == [("cats", "cats/1")]


@pytest.mark.parametrize("strategy", [sy.self_consistency(3, of=sy.predict), sy.best_of(3, len)])
async def test_each_sample_of_a_strategy_may_blame_and_counts_as_one_try(strategy: sy.Strategy) -> None:
    query, reply = pieces()
    scripted, journal = Scripted(), sy.MemoryJournal()

    @sy.program
    async def system(text: str) -> str:
        return await reply(f"{await query(text)}!")

    program = system.using({"reply.strategy": strategy}, model=scripted.model)
    assert await sy.run(program, "cats", journal=journal) == "cats/1!"
    assert told(journal) == [("cats", "cats/1")]


async def test_several_calls_that_fail_by_one_call_to_the_end_raise() -> None:
    query, reply = pieces(2)
    scripted, journal = Scripted(), sy.MemoryJournal()

    @sy.program
    async def system(text: str) -> list[str]:
        asked = await query(text)
        return await asyncio.gather(*(reply(f"{number} {asked}") for number in range(3)))

    with pytest.raises(sy.CheckFailed, match="still fails its check 'finds' after 2 retries"):
        await sy.run(system.using(model=scripted.model), "cats", journal=journal)
    assert scripted.asked.total() == 3 + 9
    assert told(journal)[:3] == [("cats", ""), ("cats/1", ""), ("cats/2", "")]


async def test_a_check_that_has_no_try_left_waits_for_what_another_has_mended() -> None:
    query, _ = pieces()
    scripted, journal = Scripted(), sy.MemoryJournal()

    @sy.step
    async def judge(found: str, by: str) -> str:
        """Judge."""
        ...

    @judge.check(blame=query)
    def late(output: str, found: str, by: str) -> str | None:
        return "no" if by == "one" and found == "cats/1" else None

    @judge.check(blame=query)
    def early(output: str, found: str, by: str) -> str | None:
        return "no" if by == "two" and found != "cats/2" else None

    @sy.program
    async def system(text: str) -> tuple[str, str]:
        asked = await query(text)
        return await asyncio.gather(judge(asked, "one"), judge(asked, "two"))

    await sy.run(system.using(model=scripted.model), "cats", journal=journal)
    assert told(journal) == [("cats/1", "cats/2"), ("cats", "cats/2")]


async def test_a_call_that_passes_while_another_blames_does_not_say_that_it_is_mended() -> None:
    journal, scripted = sy.MemoryJournal(), Scripted()
    query, _ = pieces()

    @sy.step
    async def judge(found: str, *, strict: bool) -> str:
        """Judge."""
        ...

    @judge.check(blame=query)
    def good(output: str, found: str, *, strict: bool) -> str | None:
        return None if "/1" in found or not strict else "not good"

    @sy.program
    async def system(text: str) -> tuple[str, str]:
        asked = await query(text)
        return await asyncio.gather(judge(asked, strict=True), judge(asked, strict=False))

    await sy.run(system.using(model=scripted.model), "cats", journal=journal)
    assert told(journal) == [("cats", "cats/1")]


async def test_tools_whose_insides_fail_by_one_call_do_not_wait_for_each_other() -> None:
    query, reply = pieces()
    scripted = Scripted(0.02)

    @sy.program
    async def system(text: str) -> list[str]:
        asked = await query(text)

        def acting(number: int) -> Callable[[], Awaitable[str]]:
            async def act() -> str:
                return json.dumps(await reply(f"{number} {asked}!"))

            return act

        return await asyncio.gather(*(recorded("act", str(n), acting(n), kind="tool") for n in range(2)))

    async with asyncio.timeout(20):
        result = await sy.run(system.using(model=scripted.model), "cats", journal=sy.MemoryJournal())
    assert result == ['"0 cats/1!"', '"1 cats/1!"']


async def test_equal_failures_of_two_calls_are_both_told_with_what_mended_them() -> None:
    journal = sy.MemoryJournal()

    async def answer(request: sy.Request) -> str:
        topic, *told = [message.text for message in request.messages[1:]]
        return f"better for {topic}" if told else "bad"

    @sy.step
    async def query(text: str) -> str:
        """Write a query."""
        ...

    @sy.step
    async def reply(text: str, found: str) -> str:
        """Reply."""
        ...

    @reply.check(blame=query)
    def good(output: str, found: str) -> str | None:
        return "no good" if found == "bad" else None

    @sy.program
    async def system(topics: list[str]) -> None:
        for topic in topics:
            await reply(topic, await query(topic))

    program = system.using(model=sy.Journaled(sy.FunctionModel(answer)))
    await sy.run(program, ["a", "b"], journal=journal)
    assert told(journal) == [("bad", "better for a"), ("bad", "better for b")]


async def test_a_test_that_checks_two_steps_tells_the_failure_of_each_apart() -> None:
    query, _ = pieces()
    scripted, journal = Scripted(), sy.MemoryJournal()

    @sy.step
    async def summary(found: str) -> str:
        """Summarise."""
        ...

    @sy.step
    async def reply(found: str) -> str:
        """Reply."""
        ...

    def good(output: str) -> str | None:
        return "bad" if output.startswith("reply") else None

    for step in (summary, reply):
        step.check(blame=query)(good)

    @sy.program
    async def system(text: str) -> str:
        asked = await query(text)
        await summary(asked)
        return await reply(f"reply to {asked}")

    with pytest.raises(sy.CheckFailed, match="still fails its check 'good'"):
        await sy.run(system.using(model=scripted.model), "cats", journal=journal)
    assert told(journal) == [("cats", ""), ("cats/1", "")]


def named(name: str) -> sy.Model:
    """A model that says its name, and what it is told."""

    async def answer(request: sy.Request) -> str:
        return name + "+" * sum(message.role == "assistant" for message in request.messages)

    return sy.Journaled(sy.FunctionModel(answer, identity=name))


@pytest.mark.parametrize("how", ["its own", "the program's", "salt"])
async def test_branches_under_other_settings_are_told_apart_whichever_comes_first(how: str) -> None:
    """The branch that fails is the slower one of the first life and the faster one of the next."""
    journal, waits = sy.MemoryJournal(), iter([0.05, 0.0, 0.0, 0.05])

    @sy.step
    async def idea(text: str) -> str:
        """Have an idea."""
        ...

    @sy.step(model=sy.Journaled(sy.FunctionModel(lambda request: request.messages[-1].text, identity="echo")))
    async def judge(found: str, by: str) -> str:
        """Judge."""
        ...

    @judge.check(blame=idea)
    def good(output: str, found: str, by: str) -> str | None:
        return "not good" if by == "large" and "+" not in found else None

    @sy.program
    async def inner(text: str) -> str:
        return await idea(text)

    async def branch(name: str, wait_s: float) -> str:
        await asyncio.sleep(wait_s)
        if how == "its own":
            found = await idea.using(model=named(name))("x")
        elif how == "the program's":
            found = await inner.using(model=named(name))("x")
        else:
            found = await idea.using(model=named("any"), salt=name)("x")
        await judge(found, name)
        return found

    @sy.program(uses=[idea, judge])
    async def system() -> list[str]:
        return await asyncio.gather(*(branch(name, next(waits, 0.0)) for name in ("large", "small")))

    large, small = await sy.run(system, journal=journal)
    assert (large[-1], small[-1]) == ("+", "l" if how != "salt" else "y")
    assert len(told(journal)) == 1


async def test_settings_that_a_program_makes_anew_in_each_life_are_the_same_call() -> None:
    query, reply = pieces()
    scripted = Scripted()

    @sy.program
    async def system(text: str) -> str:
        def shortest(answer: str) -> float:
            return -len(answer)

        class Anew:
            async def select(self, inputs: Mapping[str, object]) -> list[sy.Demo]:
                return []

        asking = query.using(strategy=sy.best_of(2, shortest), demos=Anew())
        return await reply(f"{await asking(text)}!")

    async with asyncio.timeout(20):
        assert await sy.run(system.using(model=scripted.model), "cats", journal=sy.MemoryJournal()) == "cats/1!"


@pytest.mark.parametrize(("ends", "expected"), [("cats/1!", "cats/1!"), ("never", None)])
async def test_steps_that_a_program_makes_anew_in_each_life_have_no_more_tries(ends: str, expected: str | None) -> None:
    scripted, journal = Scripted(), sy.MemoryJournal()

    @sy.program
    async def system(text: str) -> str:
        query, _ = pieces()

        @sy.step(model=scripted.model)
        async def reply(found: str) -> str:
            """Reply."""
            ...

        @reply.check(retries=1, blame=query)
        def ended(output: str) -> str | None:
            return None if output == ends else "the query found nothing"

        return await reply(f"{await query.using(model=scripted.model)(text)}!")

    running = sy.run(system, "cats", journal=journal)
    if expected is None:
        with pytest.raises(sy.CheckFailed, match="after 1 retries"):
            await running
        assert told(journal) == [("cats", ""), ("cats/1", "")]
    else:
        assert await running == expected
        assert told(journal) == [("cats", "cats/1")]
    assert scripted.asked.total() == 4
