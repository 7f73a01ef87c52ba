"""Functions that are hard to make tools of: what they raise, their defaults, options that there are not."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

import synthon as sy
from synthon.tools import call_all
from tests.tools.words import call, text

if TYPE_CHECKING:
    from collections.abc import Mapping


class Place(BaseModel):
    name: str


@dataclass
class Options:
    tags: list[str] = field(default_factory=list)


@sy.tool(effects={"read"})
async def weather(city: str) -> str:
    """The weather in a city."""
    return f"{city}: sun"


@pytest.mark.parametrize("error", [StopIteration("none"), SystemExit(3)])
async def test_what_would_end_its_caller_is_a_tools_failure_like_any_other(error: BaseException) -> None:
    @sy.tool(effects={"read"}, timeout_s=5)
    def beside() -> str:
        """Stop in a thread."""
        raise error

    @sy.tool(effects={"read"}, timeout_s=5)
    async def within() -> str:
        """Stop on the loop."""
        raise error

    for stops in (beside, within):
        results = await call_all([stops, weather], [call(stops.name, {}), call("weather", {"city": "Bern"})])
        assert [result.is_error for result in results] == [True, False]
        assert type(error).__name__ in text(results[0])
        with pytest.raises(sy.ToolFailed, match=type(error).__name__):
            await stops()


async def test_an_interrupt_is_no_tools_failure() -> None:
    @sy.tool(effects={"read"})
    def stops() -> str:
        """Stop."""
        raise KeyboardInterrupt("by hand")

    with pytest.raises(KeyboardInterrupt, match="by hand"):
        await stops.call({})


async def test_a_default_may_be_anything() -> None:
    @sy.tool(effects=())
    def among(place: Place = Place(name="Eiger"), options: Options = Options()) -> str:  # noqa: B008 - tools may have it
        """Name a place."""
        return f"{place.name} {options.tags}"

    assert await among() == text(await among.call({})) == "Eiger []"
    assert text(await among.call({"options": {"tags": ["high"]}})) == "Eiger ['high']"


async def test_a_default_in_a_field_is_what_a_program_leaves_out_too() -> None:
    @sy.tool(effects=())
    def many(
        of: str = Field(description="what"),
        n: int = Field(3, ge=1),
        to: list[str] = Field(default_factory=list),  # noqa: B008 - tools may have it
    ) -> str:
        """Count."""
        return f"{n} {of} {to}"

    assert await many("birds") == text(await many.call({"of": "birds"})) == "3 birds []"
    with pytest.raises(TypeError, match="missing a required argument: 'of'"):
        await many()


def test_an_option_that_there_is_not_is_refused_and_the_others_are_named() -> None:
    with pytest.raises(sy.UserError, match=r"no option 'effect', 'timeout'; there are .*'effects'.*'timeout_s'"):
        sy.tool(effect={"read"}, timeout=1)  # type: ignore[call-overload]  # what is tested


class Reading(BaseModel):
    celsius: float = Field(alias="degreesCelsius")
    tags: frozenset[str] = Field(default=frozenset(), alias="tagList")


async def test_a_value_with_aliases_is_read_again_and_shown_by_them() -> None:
    @sy.tool(effects={"read"})
    def measured(place: str) -> list[Reading]:
        """Measure."""
        return [Reading(degreesCelsius=len(place), tagList=frozenset({"b", "a"}))]

    assert await measured("Bern") == [Reading(degreesCelsius=4, tagList=frozenset({"a", "b"}))]
    assert text(await measured.call({"place": "Bern"})) == '[{"degreesCelsius":4.0,"tagList":["a","b"]}]'


@given(content=st.binary())
async def test_bytes_come_back_as_they_were(content: bytes) -> None:
    @sy.tool(effects=())
    def blob() -> bytes:
        """Fetch it."""
        return content

    @sy.program
    async def twice() -> list[bytes]:
        return [await blob(), await blob()]

    assert await sy.run(twice, journal=sy.MemoryJournal()) == [content, content]


class Grumpy:
    """A tool of a test's own whose answers hold half of a character."""

    name, description, parameters = "grumpy", "Fail.", "{}"
    effects = frozenset({"read"})

    async def call(self, arguments: Mapping[str, object]) -> sy.ToolResult:
        return sy.ToolResult("", (sy.Text(f"bad {arguments['half']}"),), is_error=True)


async def test_half_characters_in_a_result_end_no_run_and_leave_a_failure_a_failure() -> None:
    @sy.tool(effects={"read"})
    def half() -> dict[str, tuple[int, str]]:
        """Cut a text."""
        return {"cut": (1, "\ud83d")}

    assert await half() == {"cut": (1, "\ud83d")}
    cut, failed = await call_all([half, Grumpy()], [call("half", {}), call("grumpy", {"half": "\ud83d"})])
    assert (cut.is_error, text(cut)) == (False, '{"cut":[1,"\\ud83d"]}')
    assert (failed.is_error, text(failed)) == (True, "bad \ud83d")


async def test_what_is_not_of_the_declared_type_is_told_with_it() -> None:
    @sy.tool(effects={"read"})
    def wrong() -> int:
        """Miscount."""
        return "\ud83d"  # type: ignore[return-value]  # what is tested

    with pytest.raises(sy.UserError, match="returned what is no <class 'int'>"):
        await wrong()


def test_a_partial_function_is_refused_with_what_to_do() -> None:
    for made in (sy.tool(effects=()), sy.tool(name="power", description="Raise to a power.")):
        with pytest.raises(sy.UserError, match=r"cannot take functools\.partial.*call it in a function with both"):
            made(partial(pow, 2))
