"""A field is asked for again with the schema that it has in the answer at hand."""

from __future__ import annotations

import json
from typing import Any, Literal

import pytest
from pydantic import AliasChoices, AliasPath, BaseModel, Field
from typing_extensions import TypedDict

import synthon as sy


class Size(BaseModel):
    text: str = ""


class Cat(BaseModel):
    kind: Literal["cat"]
    size: int
    more: Size = Size()


class Dog(BaseModel):
    kind: Literal["dog"]
    size: str
    more: Size = Size()


class Puppy(BaseModel):
    kind: Literal["puppy"]
    size: str
    of: Dog | Puppy | None = None


class Small(TypedDict):
    size: int


class Large(TypedDict):
    size: str


class Once:
    """A guard that refuses the first answer at a path."""

    name, retries = "once", 1

    def __init__(self, path: tuple[str | int, ...]) -> None:
        self.path, self.is_first = path, True

    def fits(self, output: object) -> None:
        """Anything does."""

    async def judge(self, output: object, inputs: object) -> sy.Verdict:
        failed, self.is_first = self.is_first, False
        return sy.Verdict(output, (sy.Failure(self.path, "is wrong"),) if failed else ())


async def asked(type_: object, path: tuple[str | int, ...], *answers: object) -> tuple[Any, Any]:
    """What a step of the type returns that is asked again for the path, and the schema it is asked with."""
    left, seen = list(answers), []

    def says(request: sy.Request) -> str:
        seen.append(request)
        return json.dumps(left.pop(0))

    async def say(text: str) -> object: ...

    say.__doc__ = "Say."
    say.__annotations__["return"] = type_
    model = sy.FunctionModel(says, capabilities=frozenset({"chat", "schema"}))
    found = await sy.step(model=model, guards=[Once(path)])(say)("?")
    constraint = seen[1].constraint
    assert isinstance(constraint, sy.Schema)
    return found, json.loads(constraint.json)["properties"].get(".".join(map(str, path)))


DOG = {"kind": "dog", "size": "enormous"}
TEXT = {"title": "Size", "type": "string"}
NUMBER = {"title": "Size", "type": "integer"}


@pytest.mark.parametrize("type_", [Cat | Dog, Dog | Cat])
async def test_a_field_of_a_union_has_the_schema_of_the_arm_that_was_answered(type_: object) -> None:
    found, schema = await asked(type_, ("size",), {"value": DOG}, {"size": "big"})
    assert found == Dog(kind="dog", size="big")
    assert schema == TEXT


async def test_so_has_one_within_a_list() -> None:
    answer = {"value": [{"kind": "cat", "size": 3}, DOG]}
    found, schema = await asked(list[Cat | Dog], (1, "size"), answer, {"1.size": "big"})
    assert found == [Cat(kind="cat", size=3), Dog(kind="dog", size="big")]
    assert schema == TEXT


async def test_so_has_one_within_a_type_that_holds_itself() -> None:
    answer = {"kind": "puppy", "size": "a", "of": {"kind": "puppy", "size": "enormous"}}
    found, schema = await asked(Cat | Puppy, ("of", "size"), {"value": answer}, {"of.size": "big"})
    assert found.of.size == "big"
    assert schema == TEXT


async def test_arms_that_agree_on_the_field_need_no_choice() -> None:
    found, schema = await asked(Cat | Dog, ("more", "text"), {"value": DOG}, {"more.text": "big"})
    assert found.more.text == "big"
    assert schema == {"default": "", "title": "Text", "type": "string"}


async def test_where_the_arm_cannot_be_told_the_field_may_be_as_in_any() -> None:
    found, schema = await asked(Small | Large, ("size",), {"value": {"size": "enormous"}}, {"size": "big"})
    assert found == {"size": "big"}
    assert schema == {"anyOf": [NUMBER, TEXT]}


class Notes(BaseModel):
    notes: dict[str, str] = Field(default_factory=dict)


async def test_a_key_that_is_missing_can_be_asked_for() -> None:
    found, schema = await asked(Notes, ("notes", "a"), {"notes": {}}, {"notes.a": "x"})
    assert found == Notes(notes={"a": "x"})
    assert schema == {"type": "string"}


class Inner(BaseModel):
    name: str = Field(validation_alias=AliasChoices("Name", AliasPath("names", 0)))


class Box(BaseModel):
    items: list[str]
    title: str = Field(alias="Title")
    inner: Inner = Field(validation_alias="Inner")


WHOLE = {"items": ["keep"], "Title": "toolong", "Inner": {"Name": "long"}}


@pytest.mark.parametrize(
    ("path", "name", "left"),
    [
        (("title",), "Title", WHOLE | {"Title": "ok"}),
        (("inner", "name"), "Inner.Name", WHOLE | {"Inner": {"Name": "ok"}}),
    ],
)
async def test_a_field_with_an_alias_is_asked_for_by_it_and_alone(
    path: tuple[str, ...], name: str, left: dict[str, object]
) -> None:
    seen: list[sy.Request] = []

    def says(request: sy.Request) -> str:
        seen.append(request)
        return json.dumps(WHOLE if len(seen) == 1 else {"items": ["CHANGED"], name: "ok"})

    model = sy.FunctionModel(says, capabilities=frozenset({"chat", "schema"}))

    @sy.step(model=model, guards=[Once(path)])
    async def say(text: str) -> Box:
        """Say."""
        raise NotImplementedError

    assert await say("?") == Box.model_validate(left)
    constraint = seen[1].constraint
    assert isinstance(constraint, sy.Schema)
    assert list(json.loads(constraint.json)["properties"]) == [name]
    assert f"{name}: is wrong" in seen[1].messages[-1].text


async def test_a_path_that_leads_nowhere_asks_for_the_whole_again() -> None:
    answers = iter([WHOLE, WHOLE | {"Title": "ok"}])
    model = sy.FunctionModel(lambda request: json.dumps(next(answers)))

    @sy.step(model=model, guards=[Once(("nowhere", "at", "all"))])
    async def say(text: str) -> Box:
        """Say."""
        raise NotImplementedError

    assert (await say("?")).title == "ok"
