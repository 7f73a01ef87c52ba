"""Runs inside runs: found again in whatever order they begin, and under the policy of the run around them."""

import asyncio
import json
from collections.abc import Sequence

import pytest

import synthon as sy
from synthon.runs import answer, effect, resume

WAITS_S = {"Ann": 0.05, "Bob": 0.01}


class Slow:
    """A model that says what it is asked, Ann's later than Bob's, so that a journal answers in another order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.model = sy.Journaled(sy.FunctionModel(self.answer, identity="slow"))

    async def answer(self, request: sy.Request) -> str:
        said = request.messages[-1].text
        self.asked.append(said)
        await asyncio.sleep(WAITS_S[said[:3]])
        return said


@sy.step(temperature=0.0)
async def think(name: str) -> str:
    """Think."""
    ...


sent: list[str] = []


@sy.program
async def mail(name: str) -> str:
    async def act(key: str) -> str:
        sent.append(name)
        return json.dumps(key)

    return str(json.loads(await effect("mail", {"to": name}, act, honours_key=False)))


@sy.program
async def letters() -> str:
    async def one(name: str) -> str:
        await think(name)
        return await sy.run(mail, name)

    await asyncio.gather(one("Ann"), one("Bob"))
    return await sy.ask_person("ok?")


async def test_a_resumed_run_finds_what_its_runs_did_though_they_begin_in_another_order() -> None:
    sent.clear()
    journal, slow = sy.MemoryJournal(), Slow()
    program = letters.using(model=slow.model)
    with pytest.raises(sy.Suspended):
        await sy.run(program, run_id="r", journal=journal)
    assert sent == ["Bob", "Ann"]
    await answer(journal, "r", "yes")
    assert await resume(journal, "r", program=program) == "yes"
    assert sent == ["Bob", "Ann"]


async def test_batches_of_equal_length_find_their_own_rows_again() -> None:
    async def part(rows: Sequence[str]) -> Sequence[object]:
        await step(rows[0])
        return await sy.run_many(step, rows)

    @sy.program
    async def parts() -> Sequence[object]:
        return await asyncio.gather(part(["Ann 1", "Ann 2"]), part(["Bob 1", "Bob 2"]))

    journal, slow = sy.MemoryJournal(), Slow()
    step = think.using(model=slow.model)
    first = await sy.run(parts, run_id="r", journal=journal)
    asked = len(slow.asked)
    assert await sy.run(parts, run_id="r", journal=journal) == first
    assert (asked, len(slow.asked)) == (6, 6)


async def test_a_run_inside_a_replay_asks_nobody_whatever_journal_it_names() -> None:
    @sy.program
    async def outer(name: str, journal: object) -> str:
        return await sy.run(step, name, journal=journal)  # type: ignore[arg-type] # given as a plain argument

    slow, journal = Slow(), sy.MemoryJournal()
    step = think.using(model=slow.model)
    with pytest.raises(sy.JournalError):
        await sy.run(outer, "Bob", journal, journal=journal, policy="replay_only")
    assert slow.asked == []
    for _ in range(2):
        assert await sy.run(outer, "Bob", journal, journal=journal, policy="cache") == "Bob"
    assert slow.asked == ["Bob"]


async def test_a_run_inside_one_without_a_journal_may_have_its_own() -> None:
    @sy.program
    async def outer() -> str:
        return await sy.run(step, "Bob", journal=journal, run_id="mine")

    journal = sy.MemoryJournal()
    step = think.using(model=Slow().model)
    await sy.run(outer, policy="off")
    assert journal.run("mine") is not None


async def test_an_error_that_cannot_be_told_reaches_who_waits_for_it() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise ValueError("nothing to tell")

    @sy.program
    async def fails() -> str:
        raise Odd

    journal = sy.MemoryJournal()
    with pytest.raises(Odd):
        await sy.run(fails, run_id="r", journal=journal)
    kept = journal.run("r")
    assert kept is not None
    assert kept.error == "Odd"


async def test_a_number_that_json_does_not_have_stops_no_batch() -> None:
    def say(request: sy.Request) -> str:
        return {"b": '{"value": NaN}', "c": '{"value": 1e999}'}.get(request.messages[1].text, '{"value": 1}')

    @sy.step(model=sy.Journaled(sy.FunctionModel(say)))
    async def price(text: str) -> float:
        """What it costs."""
        ...

    @sy.step(model=sy.Journaled(sy.FunctionModel(say)), retries=0)
    async def count(text: str) -> int:
        """How many."""
        ...

    one, two, three = await sy.run_many(price, ["a", "b", "c"], journal=sy.MemoryJournal())
    assert one == 1
    assert (str(two), str(three)) == ("nan", "inf")
    found = await sy.run_many(count, ["a", "b"], journal=sy.MemoryJournal())
    assert found[0] == 1
    assert isinstance(found[1], sy.Failed)
    assert isinstance(found[1].error, sy.OutputError)


async def test_types_that_are_equal_but_ordered_otherwise_are_read_each_in_its_own_order() -> None:
    @sy.step(model=sy.FunctionModel(lambda request: "1"))
    async def whole(text: str) -> dict[str, int | float] | int | float:
        """Whole first."""
        ...

    @sy.step(model=sy.FunctionModel(lambda request: "1"))
    async def broken(text: str) -> dict[str, float | int] | float | int:
        """Broken first."""
        ...

    schemas = [(await step.explain("a")).messages[0].text.split("\n", 2)[2] for step in (whole, broken)]
    assert schemas[0].index('"integer"') < schemas[0].index('"number"')
    assert schemas[1].index('"number"') < schemas[1].index('"integer"')
