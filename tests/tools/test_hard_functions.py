"""Functions that are hard to make tools of: what they raise, their defaults, options that there are not."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from pydantic import BaseModel, Field

import synthon as sy
from synthon.tools import call_all
from tests.tools.words import call, text


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
