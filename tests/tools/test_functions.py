"""Typed functions as tools: called by programs and by models, journaled, within limits."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

import pytest
from pydantic import BaseModel, Field

import synthon as sy
from synthon.runs import doubts, settle
from synthon.tools import FunctionTool, call_all, effects_of
from tests.tools.words import call, text

if TYPE_CHECKING:
    from collections.abc import Callable

PIXEL = sy.Image("iVBORw0KGgo=")


class Place(BaseModel):
    name: str
    height_m: float


@sy.tool(effects={"read"})
async def weather(city: str, days: Annotated[int, Field(ge=1, description="how many days ahead")] = 1) -> list[str]:
    """The weather in a city."""
    return [f"{city}: sun"] * days


async def test_a_program_awaits_a_tool_like_the_function_it_is() -> None:
    assert await weather("Bern") == ["Bern: sun"]
    assert await weather(city="Bern", days=2) == ["Bern: sun", "Bern: sun"]


def test_a_tool_fits_the_seam_and_its_schema_is_that_of_its_types() -> None:
    seam: sy.Tool = weather
    assert (seam.name, seam.description) == ("weather", "The weather in a city.")
    assert effects_of(seam) == {"read"}
    assert json.loads(seam.parameters) == {
        "type": "object",
        "properties": {
            "city": {"type": "string"},
            "days": {"type": "integer", "minimum": 1, "default": 1, "description": "how many days ahead"},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


async def test_a_model_gets_text_or_json() -> None:
    @sy.tool(effects=(), name="highest", description="The highest place.")
    def found(among: list[Place], since: dt.date, title: Literal["a", "b"] = "a", tags: list[str] = ["x"]) -> Place:  # noqa: B006 - tools may have it
        assert isinstance(since, dt.date)
        assert (title, tags) == ("a", ["x"])
        return max(among, key=lambda place: place.height_m)

    assert found.name == "highest"
    assert "title" in json.loads(found.parameters)["properties"]
    arguments = {"among": [{"name": "Eiger", "height_m": 3967}, {"name": "Niesen", "height_m": 2362}]}
    result = await found.call({**arguments, "since": "2024-02-29"})
    assert text(result) == '{"name":"Eiger","height_m":3967.0}'
    assert text(await weather.call({"city": "Bern"})) == '["Bern: sun"]'


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "city: Field required"),
        ({"city": "Bern", "days": 0}, "days: Input should be greater than or equal to 1"),
        ({"city": "Bern", "day": 1}, "day: Unexpected"),
        ({"city": 3}, "city: Input should be a valid string"),
    ],
)
async def test_wrong_arguments_are_a_result_that_says_what_to_mend(arguments: dict[str, object], said: str) -> None:
    result = await weather.call(arguments)
    assert result.is_error
    assert said in text(result)
    assert weather.parameters in text(result)


async def test_a_tools_own_failure_goes_to_the_model_as_a_result_and_to_a_program_as_an_error() -> None:
    @sy.tool(effects={"read"})
    async def look(place: str) -> str:
        """Look."""
        raise LookupError(f"nothing at {place}")

    result = await look.call({"place": "home"})
    assert result.is_error
    assert text(result) == "LookupError: nothing at home"
    with pytest.raises(sy.ToolFailed, match="nothing at home") as caught:
        await look("home")
    assert caught.value.tool == "look"


@pytest.mark.parametrize(
    "error",
    [
        sy.UserError("x"),
        sy.BudgetExceeded("x"),
        sy.Suspended("x"),
        sy.Uncertain("x"),
        sy.JournalError("x"),
        asyncio.CancelledError("x"),
    ],
)
async def test_what_concerns_the_run_is_not_told_to_the_model(error: BaseException) -> None:
    @sy.tool(effects={"read"})
    async def stops() -> str:
        """Stop."""
        raise error

    with pytest.raises(type(error), match="x"):
        await stops.call({})
    with pytest.raises(type(error)):
        await call_all([stops], [call("stops", {})])


async def test_a_function_that_is_not_async_runs_beside_the_loop() -> None:
    here = threading.get_ident()

    @sy.tool(effects={"read"})
    def where() -> bool:
        """Whether the loop's thread is another."""
        return threading.get_ident() != here

    assert await where() is True


async def test_a_call_that_takes_too_long_is_a_failure() -> None:
    @sy.tool(effects={"read"}, timeout_s=0.05)
    async def slow() -> str:
        """Wait."""
        await asyncio.sleep(30)
        return "late"

    @sy.tool(effects={"egress"}, timeout_s=0.05)
    def send() -> str:
        """Send."""
        time.sleep(0.3)
        return "sent"

    @sy.tool(effects={"read"}, timeout_s=9)
    async def own() -> str:
        """Give up by itself."""
        raise TimeoutError("the other side")

    assert text(await slow.call({})) == "No answer within 0.05 s."
    assert "It may have acted all the same." in text(await send.call({}))
    assert text(await own.call({})) == "TimeoutError: the other side"


async def test_a_long_result_is_cut_and_says_how_much_is_missing() -> None:
    @sy.tool(effects={"read"}, max_bytes=11)
    async def long(word: str) -> str:
        """Repeat."""
        return word * 10

    result = text(await long.call({"word": "äb"}))
    assert result == "äbäbäbä\n[19 of 30 bytes were left out]"
    assert await long("äb") == "äb" * 10  # a program gets all of it


async def test_pictures_reach_the_model_as_pictures() -> None:
    @sy.tool(effects={"read"})
    async def draw(count: int) -> list[str | sy.Image]:
        """Draw."""
        return ["here", *[PIXEL] * count]

    @sy.tool(effects={"read"})
    async def huge() -> sy.Image:
        """Draw too much."""
        return sy.Image("A" * 8_000_000)

    assert (await draw.call({"count": 2})).content == (sy.Text("here"), PIXEL, PIXEL)
    assert text(await huge.call({})) == "[a picture of 8,000,000 characters was left out]"


async def test_a_value_that_is_not_what_the_tool_declares_is_the_programs_mistake() -> None:
    @sy.tool(effects={"read"})
    async def count() -> int:
        """Count."""
        return "many"  # type: ignore[return-value]  # the mistake

    with pytest.raises(sy.UserError, match="no <class 'int'>"):
        await count.call({})


def test_what_cannot_be_a_tool_says_why() -> None:
    with pytest.raises(sy.UserError, match="takes 'city', of which"):

        @sy.tool
        def untyped(city) -> str:  # type: ignore[no-untyped-def]  # noqa: ANN001 - the mistake
            """Look."""
            return "x"

    with pytest.raises(sy.UserError, match="takes 'cities', of which"):

        @sy.tool
        def many(*cities: str) -> str:
            """Look."""
            return "x"

    with pytest.raises(sy.UserError, match="no docstring"):

        @sy.tool
        def mute() -> str:
            return "x"

    with pytest.raises(sy.UserError, match="no effect \\['reads'\\]"):
        sy.tool(effects={"reads"})(mute_with_words)  # type: ignore[arg-type]  # the mistake
    with pytest.raises(sy.UserError, match="'two words' is no name"):
        sy.tool(name="two words")(mute_with_words)
    with pytest.raises(sy.UserError, match="cannot be resolved: name 'Nowhere'"):
        sy.tool(astray)


def mute_with_words() -> str:
    """Say nothing."""
    return ""


def astray(at: Nowhere) -> str:  # type: ignore[name-defined]  # noqa: F821 - the mistake
    """Get lost."""
    return str(at)


async def test_every_call_is_a_row_and_a_resumed_run_does_not_call_again() -> None:
    journal, calls = sy.MemoryJournal(), list[str]()

    @sy.tool(effects={"read"})
    async def look(place: str) -> str:
        """Look."""
        calls.append(place)
        if place == "nowhere":
            raise LookupError(place)
        return f"{place} {len(calls)}"

    async def program() -> list[str]:
        asked = [call("look", {"place": place}, place) for place in ("home", "home", "nowhere")]
        return [await look("here"), *map(text, await call_all([look], asked))]

    first = await sy.run(program, run_id="r", journal=journal)
    assert first == ["here 1", "home 2", "home 3", "LookupError: nowhere"]
    assert await sy.run(program, run_id="r", journal=journal) == first
    assert calls == ["here", "home", "home", "nowhere"]


async def test_equal_calls_of_a_pure_tool_are_one() -> None:
    calls = list[int]()

    @sy.tool(effects=())
    async def double(number: int) -> int:
        """Double."""
        calls.append(number)
        return 2 * number

    async def program() -> list[str]:
        results = await call_all([double], [call("double", {"number": n}) for n in (1, 1, 2)])
        return [*map(text, results), str(await double(1))]

    assert await sy.run(program, journal=sy.MemoryJournal()) == ["2", "2", "4", "2"]
    assert calls == [1, 2]


async def test_a_tool_can_have_the_idempotency_key_which_no_model_sees() -> None:
    keys = list[str]()

    @sy.tool(effects={"egress"})
    async def pay(francs: int, *, key: sy.IdempotencyKey = "") -> str:
        """Pay."""
        keys.append(key)
        return f"paid {francs}"

    assert pay.honours_key
    assert list(json.loads(pay.parameters)["properties"]) == ["francs"]
    assert await pay(3) == "paid 3"
    assert text(await pay.call({"francs": 4})) == "paid 4"
    assert (await pay.call({"francs": 4, "key": "mine"})).is_error
    assert len({*keys}) == len(keys) == 2
    assert all(keys)


async def test_writes_keep_their_order_and_reads_run_at_once() -> None:
    order = list[str]()
    both = asyncio.Barrier(2)

    @sy.tool(effects={"read"})
    async def read(name: str) -> str:
        """Read."""
        await both.wait()
        order.append(f"read {name}")
        return name

    @sy.tool
    async def write(name: str) -> str:
        """Write."""
        order.append(f"write {name}")
        return name

    tools: list[FunctionTool[..., str]] = [read, write]
    wanted = [("read", "a"), ("read", "b"), ("write", "c"), ("write", "d"), ("read", "e"), ("read", "f")]
    results = await call_all(tools, [call(kind, {"name": name}, name) for kind, name in wanted])
    assert [result.call_id for result in results] == list("abcdef")
    assert list(map(text, results)) == list("abcdef")
    assert order[2:4] == ["write c", "write d"]
    assert {*order[:2]} == {"read a", "read b"}


async def test_a_call_of_nothing_and_arguments_that_are_no_object_are_told_to_the_model() -> None:
    calls = [call("wether", {}), call("weather", "{'city'"), call("weather", "[1]"), call("weather", "[" * 99_999)]
    results = await call_all([weather], calls)
    assert all(result.is_error for result in results)
    assert text(results[0]) == "There is no tool 'wether'. There are: weather."
    assert "no JSON object" in text(results[1])
    assert "no JSON object ([1])" in text(results[2])


class Own:
    """A user's tool that knows nothing of journals."""

    name, description, parameters = "own", "Mine.", '{"type":"object"}'

    def __init__(self) -> None:
        self.calls = 0

    async def call(self, arguments: object) -> sy.ToolResult:
        self.calls += 1
        if self.calls > 1:
            raise LookupError("gone")
        return sy.ToolResult("", (sy.Text("done"), PIXEL))


async def test_a_tool_of_ones_own_is_journaled_and_counts_as_one_that_writes() -> None:
    own, journal = Own(), sy.MemoryJournal()
    assert effects_of(own) == {"write"}

    async def program() -> list[sy.ToolResult]:
        return await call_all([own], [call("own", {}, "x"), call("own", {}, "y")])

    first = await sy.run(program, run_id="r", journal=journal)
    assert first[0] == sy.ToolResult("x", (sy.Text("done"), PIXEL))
    assert (first[1].is_error, text(first[1])) == (True, "LookupError: gone")
    assert await sy.run(program, run_id="r", journal=journal) == first
    assert own.calls == 2


async def test_a_call_that_stops_the_run_lets_those_beside_it_end() -> None:
    ended = list[str]()

    @sy.tool(effects={"read"})
    async def slow() -> str:
        """Wait."""
        await asyncio.sleep(0.05)
        ended.append("slow")
        return "x"

    @sy.tool(effects={"read"})
    async def stop() -> str:
        """Stop."""
        raise sy.Suspended("ask")

    with pytest.raises(sy.Suspended, match="ask"):
        await call_all([slow, stop], [call("slow", {}), call("stop", {})])
    assert ended == ["slow"]


def test_the_parts_of_a_program_are_found_through_its_tools() -> None:
    @sy.step
    async def answer(question: str) -> str:
        """Answer."""
        ...

    @sy.tool(effects={"read"})
    async def ask(question: str) -> str:
        """Ask."""
        return await answer(question)

    @sy.program
    async def whole(question: str) -> str:
        return await ask(question)

    found: Callable[[], sy.Parts] = whole.parts
    assert [step.name for step in found().steps] == ["answer"]


async def test_a_program_is_a_tool_whose_own_calls_are_its_rows() -> None:
    calls = list[str]()

    @sy.tool(effects={"read"})
    async def look(place: str) -> str:
        """Look."""
        calls.append(place)
        return place.upper()

    @sy.program
    async def research(place: str, *, depth: int = sy.knob(1, 2)) -> str:
        """Find out about a place."""
        return f"{await look(place)} {depth}"

    agent = sy.tool(research)
    assert (agent.name, agent.description, agent.timeout_s) == ("research", "Find out about a place.", None)
    assert sy.tool(timeout_s=3)(research).timeout_s == 3
    assert list(json.loads(agent.parameters)["properties"]) == ["place"]

    async def program() -> list[str]:
        return [text(await agent.call({"place": "home"})), await agent("here")]

    journal = sy.MemoryJournal()
    assert await sy.run(program, run_id="r", journal=journal) == ["HOME 1", "HERE 1"]
    assert await sy.run(program, run_id="r", journal=journal) == ["HOME 1", "HERE 1"]
    assert calls == ["home", "here"]


async def test_a_tool_killed_in_the_middle_is_sent_again_under_its_key_or_settled_by_a_person() -> None:
    keys, alive = list[str](), [False]

    @sy.tool(effects={"egress"})
    async def pay(francs: int, *, key: sy.IdempotencyKey = "") -> str:
        """Pay."""
        keys.append(key)
        if not alive[0]:
            raise KeyboardInterrupt  # as near to a kill as one process comes
        return f"paid {francs}"

    @sy.tool
    async def post(letter: str) -> str:
        """Post."""
        if not alive[0]:
            raise KeyboardInterrupt
        return letter

    for tool, argument in ((pay, 3), (post, "abc")):
        journal, alive[0] = sy.MemoryJournal(), False
        program = partial(tool, argument)  # type: ignore[arg-type]  # one or the other
        with pytest.raises(KeyboardInterrupt):
            await sy.run(program, run_id="r", journal=journal)
        alive[0] = True
        if tool is pay:
            assert await sy.run(program, run_id="r", journal=journal) == "paid 3"
            assert keys[0] == keys[1]
            continue
        with pytest.raises(sy.Uncertain, match="'post' acted on"):
            await sy.run(program, run_id="r", journal=journal)
        (doubt,) = doubts(journal, "r")
        await settle(journal, "r", doubt.key, '"by hand"')
        assert await sy.run(program, run_id="r", journal=journal) == "by hand"


async def test_a_doubtful_call_of_ones_own_tool_is_settled_with_any_value() -> None:
    class Dying(Own):
        async def call(self, arguments: object) -> sy.ToolResult:
            raise KeyboardInterrupt

    journal = sy.MemoryJournal()

    async def program() -> list[sy.ToolResult]:
        return await call_all([Dying()], [call("own", {}, "x")])

    with pytest.raises(KeyboardInterrupt):
        await sy.run(program, run_id="r", journal=journal)
    (doubt,) = doubts(journal, "r")
    await settle(journal, "r", doubt.key, '{"sent": 1}')
    assert await sy.run(program, run_id="r", journal=journal) == [sy.ToolResult("x", (sy.Text('{"sent":1}'),))]


async def test_two_tools_of_one_name_are_refused() -> None:
    with pytest.raises(sy.UserError, match="Two tools have the same name"):
        await call_all([weather, weather], [])
