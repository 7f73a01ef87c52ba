"""What a guard does not name stays as it is, whatever serialisers and validators the type has."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, RootModel, SecretStr, field_serializer, model_validator
from typing_extensions import TypedDict

import synthon as sy
from synthon.guards import Fail, Pass, guard, guarded, length

How = Literal["fix", "reask"]
HOW: tuple[How, ...] = ("fix", "reask")


def first_five(value: str) -> Pass | Fail:
    return Pass() if len(value) <= 5 else Fail("too long", fix=value[:5])


async def held(type_: object, answer: object, mended: object, name: str, how: How) -> Any:
    """The value that a step of the type returns when its field is fixed, or asked for again."""
    lines = iter(each if isinstance(each, str) else json.dumps(each) for each in (answer, mended))

    async def say(text: str) -> object: ...

    say.__doc__ = "Say."
    say.__annotations__["return"] = type_
    model = sy.FunctionModel(lambda _: next(lines))
    return await sy.step(model=model, guards=[guard(first_five, field=name, then=how)], retries=0)(say)("?")


class Bill(BaseModel):
    title: str
    token: SecretStr
    price: float
    notes: str = Field("", exclude=True)

    @field_serializer("price")
    def shown(self, price: float) -> int:
        return round(price)


BILL = {"title": "hello world", "token": "hunter2", "price": 2.49, "notes": "keep"}


@pytest.mark.parametrize("how", HOW)
async def test_secrets_excluded_fields_and_what_a_serialiser_rounds_stay(how: How) -> None:
    bill = await held(Bill, BILL, {"title": "hello"}, "title", how)
    assert bill == Bill.model_validate(BILL | {"title": "hello"})


@pytest.mark.parametrize("how", HOW)
async def test_the_same_holds_within_lists_dicts_and_tuples(how: How) -> None:
    answer = {"value": [{"a": [BILL, 1]}, {"b": [BILL, 2]}]}
    found = await held(list[dict[str, tuple[Bill, int]]], answer, {"0.a.0.title": "hello"}, "0.a.0.title", how)
    bill = Bill.model_validate(BILL)
    assert found == [{"a": (Bill.model_validate(BILL | {"title": "hello"}), 1)}, {"b": (bill, 2)}]


@pytest.mark.parametrize("how", HOW)
async def test_a_number_without_end_elsewhere_does_no_harm(how: How) -> None:
    bill = await held(Bill, '{"title": "hello world", "token": "x", "price": 1e999}', {"title": "hello"}, "title", how)
    assert (bill.title, bill.price) == ("hello", math.inf)


class Sum(BaseModel):
    title: str
    runs: int
    size: int = 0

    @model_validator(mode="before")
    @classmethod
    def counted(cls, given: dict[str, Any]) -> dict[str, Any]:
        return given | {"runs": given["runs"] + 1}

    @model_validator(mode="after")
    def measured(self) -> Sum:
        self.size = len(self.title)
        return self


@pytest.mark.parametrize("how", HOW)
async def test_what_a_validator_changes_each_time_stays_and_what_it_derives_follows(how: How) -> None:
    found = await held(Sum, {"title": "hello world", "runs": 1}, {"title": "hello"}, "title", how)
    assert (found.title, found.runs, found.size) == ("hello", 2, 5)


class Whole(BaseModel):
    sums: list[Sum]


@pytest.mark.parametrize("how", HOW)
async def test_an_unchanged_element_is_not_validated_again(how: How) -> None:
    sums = [{"title": "hello world", "runs": 1}, {"title": "b", "runs": 7}]
    found = await held(Whole, {"sums": sums}, {"sums.0.title": "hello"}, "sums.0.title", how)
    assert [(each.title, each.runs) for each in found.sums] == [("hello", 2), ("b", 8)]


class Crossed(BaseModel):
    title: str = Field(alias="Title")
    note: str = Field(alias="title")


async def test_an_alias_that_is_another_fields_name_is_no_mistake() -> None:
    found = await held(Crossed, {"Title": "hello world", "title": "n"}, {}, "title", "fix")
    assert (found.title, found.note) == ("hello", "n")


class Loose(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, str]
    title: str


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("name", ["title", "more"])
async def test_extra_fields_stay_and_can_be_guarded_too(name: str, how: How) -> None:
    answer = {"title": "a", "more": "b", "most": "c"}
    found = await held(Loose, answer | {name: "hello world"}, {name: "hello"}, name, how)
    assert found == Loose.model_validate(answer | {name: "hello"})


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)
    titles: tuple[str, ...]
    token: SecretStr


@pytest.mark.parametrize("how", HOW)
async def test_a_strict_model_takes_an_answer_as_the_json_it_is(how: How) -> None:
    answer = {"titles": ["hello world"], "token": "hunter2"}
    found = await held(Strict, answer, {"titles.0": "hello"}, "titles.0", how)
    assert found == Strict(titles=("hello",), token=SecretStr("hunter2"))


@dataclass(frozen=True)
class Note:
    title: str
    token: SecretStr
    size: int = field(init=False, default=3)


@pytest.mark.parametrize("how", HOW)
async def test_dataclasses_keep_the_rest_too(how: How) -> None:
    found = await held(Note, {"title": "hello world", "token": "hunter2"}, {"title": "hello"}, "title", how)
    assert found == Note("hello", SecretStr("hunter2"))


class Titled(TypedDict):
    title: str
    token: SecretStr


@pytest.mark.parametrize("how", HOW)
async def test_typed_dicts_keep_the_rest_too(how: How) -> None:
    found = await held(Titled, {"title": "hello world", "token": "hunter2"}, {"title": "hello"}, "title", how)
    assert found == {"title": "hello", "token": SecretStr("hunter2")}


class Bills(RootModel[list[Bill]]):
    pass


async def test_a_root_model_keeps_the_rest_too() -> None:
    found = await guarded(Bills.model_validate([BILL]), guard(length(at_most=5), field="root.*.title", then="fix"))
    assert found == Bills.model_validate([BILL | {"title": "hello"}])


class Kept(BaseModel):
    token: SecretStr
    _seen: int = PrivateAttr(0)


class Holder(BaseModel):
    title: str
    kept: Kept


async def test_guarded_hands_unchanged_models_on_as_they_are() -> None:
    value = Holder(title="hello world", kept=Kept(token=SecretStr("hunter2")))
    found = await guarded(value, guard(length(at_most=5), field="title", then="fix"))
    assert found.title == "hello"
    assert found.kept is value.kept
