from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NotRequired

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

import synthon as sy
from synthon.guards import Fail, Pass, guard


class Address(TypedDict):
    city: str
    street: NotRequired[str]


class Person(BaseModel):
    name: str
    address: Address | None = None
    scores: dict[str, float] = Field(default_factory=dict)


class Free(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str = ""


@dataclass
class Corner:
    x: int
    y: int = 7


@dataclass(frozen=True, slots=True)
class Team:
    people: tuple[Person, ...]
    lead: Person | None = None
    corner: Corner = field(default_factory=lambda: Corner(1))
    tags: list[str] = field(default_factory=lambda: ["new"])
    kind: Annotated[Literal["red", "blue"], "colour"] = "red"


TEAM = Team((Person(name="Ann", address={"city": "Lyon"}, scores={"a": 1.0}), Person(name="Bob")), Person(name="Cy"))


async def seen(path: str, value: object) -> list[tuple[str, object]]:
    """The places that a guard judges, with what it finds there."""
    found: list[object] = []

    def look(place: object) -> Pass | Fail:
        found.append(place)
        return Fail("seen")

    verdict = await guard(look, field=path).judge(value, {})
    return list(zip([".".join(map(str, failure.path)) for failure in verdict.failed], found, strict=True))


@pytest.mark.parametrize(
    ("path", "places"),
    [
        ("people.*.name", [("people.0.name", "Ann"), ("people.1.name", "Bob")]),
        ("people.1.name", [("people.1.name", "Bob")]),
        ("people.9.name", []),
        ("people.*.address.city", [("people.0.address.city", "Lyon")]),
        ("people.*.address.street?", []),
        ("people.*.scores.*", [("people.0.scores.a", 1.0)]),
        ("lead.name", [("lead.name", "Cy")]),
        ("lead.address", []),
        ("corner.y", [("corner.y", 7)]),
        ("tags.*", [("tags.0", "new")]),
        ("kind", [("kind", "red")]),
    ],
)
async def test_a_path_names_its_places(path: str, places: list[tuple[str, object]]) -> None:
    assert await seen(path, TEAM) == places
    guard(lambda _: Pass(), field=path).fits(Team)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("peeple.*.name", "'peeple', which Team has not: it has 'people', 'lead', 'corner', 'tags', 'kind'"),
        ("people.*.nme", "'nme', which Person has not: it has 'name', 'address', 'scores'"),
        ("people.name", "'name', which tuple.* has not"),
        ("lead.address.town", "'town', which .*Address.* has not: it has 'city', 'street'"),
        ("lead.name.first", "'first', which str has not: it has no fields"),
        ("tags.first", "'first', which list"),
        ("kind.0", "'0', which .*Literal"),
    ],
)
async def test_a_field_that_a_type_cannot_have_is_refused_before_anything_is_judged(path: str, said: str) -> None:
    with pytest.raises(sy.UserError, match=said):
        guard(lambda _: Pass(), field=path).fits(Team)
    empty = Team(())  # the value alone does not show it
    with pytest.raises(sy.UserError, match=said):
        await seen(path, empty)


async def test_a_field_that_a_value_has_not_is_refused_unless_it_is_marked() -> None:
    with pytest.raises(sy.UserError, match="'town', which dict at 'address' has not: it has 'city'"):
        await seen("address.town", {"address": {"city": "Lyon"}})
    assert await seen("*.town?", [{"city": "Lyon"}, {"town": "Bonn"}]) == [("1.town", "Bonn")]
    with pytest.raises(sy.UserError, match="'first', which int at '0' has not"):
        await seen("*.first", [1])


async def test_fields_beyond_a_model_are_found_where_it_allows_them() -> None:
    guard(lambda _: Pass(), field="more.x").fits(Free)
    assert await seen("more.x", Free.model_validate({"more": {"x": 1}})) == [("more.x", 1)]


@pytest.mark.parametrize(
    "type_", [Any, list[Any], dict[str, Any], Person | int, sy.Message, Annotated[Person, 1]], ids=str
)
def test_what_a_type_does_not_say_is_let_through(type_: Any) -> None:
    guard(
        lambda _: Pass(), field="0.name" if type_ == list[Any] else "content" if type_ is sy.Message else "name"
    ).fits(type_)


async def test_frozen_values_are_copied() -> None:
    def seven(value: object) -> Fail:
        return Fail("no", fix=8)

    verdict = await guard(seven, field="corner.y", then="fix").judge(TEAM, {})
    assert isinstance(verdict.value, Team)
    assert (verdict.value.corner, TEAM.corner) == (Corner(1, 8), Corner(1, 7))


async def test_what_leaves_a_dataclass_is_its_default() -> None:
    async def without(path: str) -> Team:
        value = (await guard(lambda _: Fail("no"), field=path, then="filter").judge(TEAM, {})).value
        assert isinstance(value, Team)
        return value

    assert (await without("tags")).tags == ["new"]
    assert (await without("kind")).kind == "red"
    assert (await without("lead")).lead is None
    assert (await without("corner.y")).corner == Corner(1, 7)
    with pytest.raises(sy.GuardBlocked, match="required"):
        await without("corner.x")
    with pytest.raises(sy.GuardBlocked, match="required"):
        await without("people")


async def test_a_type_that_cannot_be_resolved_says_nothing_of_its_fields() -> None:
    @dataclass
    class Local:
        own: Local | None
        other: int

    assert await seen("own.other", Local(Local(None, 2), 1)) == [("own.other", 2)]
    with pytest.raises(sy.UserError, match="'another', which Local has not: it has 'own', 'other'"):
        await seen("another", Local(None, 1))


@dataclass
class Maybe:
    number: int | None


async def test_a_field_that_admits_none_becomes_none_when_it_is_filtered() -> None:
    value = (await guard(lambda _: Fail("no"), field="number", then="filter").judge(Maybe(1), {})).value
    assert value == Maybe(None)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=20,
)


@given(JSON, st.lists(st.sampled_from(["*?", "a?", "b?", "0?", "1?"]), max_size=3))
async def test_a_fix_at_every_place_changes_these_places_alone(value: object, parts: list[str]) -> None:
    path, before = ".".join(parts), repr(value)

    def mark(place: object) -> Pass | Fail:
        return Pass() if place == "marked" else Fail("no", fix="marked")

    fixed = (await guard(mark, field=path, then="fix").judge(value, {})).value
    assert repr(value) == before
    assert all(found == "marked" for _, found in await seen(path, fixed))
    assert [place for place, _ in await seen(path, fixed)] == [place for place, _ in await seen(path, value)]
