"""Constraint values: how they are made, put together, worded, explained, and held by a step."""

from __future__ import annotations

import operator
import re
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest
from pydantic import BaseModel

import synthon as sy
from synthon.core.wording import wording
from synthon.decoding.validation import unmet_schema

if TYPE_CHECKING:
    from collections.abc import Mapping


class Ticket(BaseModel):
    intent: Literal["card", "refund"]
    urgent: bool


def test_and_and_or_build_flat_compositions() -> None:
    a, b, c = sy.choice("a"), sy.regex("b"), sy.where(words=3)
    assert a & b & c == sy.Both((a, b, c))
    assert a | b | c == sy.Either((a, b, c))
    assert (a & b) | c == sy.Either((sy.Both((a, b)), c))
    assert hash(a & b) == hash(sy.Both((a, b)))
    assert not (sy.choice("a", check=True) & b).check
    assert (sy.choice("a", check=True) | sy.regex("b", check=True)).check


@pytest.mark.parametrize(
    ("asked", "bounds"), [(5, (0, 5)), ((2, 5), (2, 5)), ((2, None), (2, None)), (0, (0, 0)), ((None, 5), (0, 5))]
)
def test_a_bound_is_a_most_or_a_pair(asked: Any, bounds: tuple[int, int | None]) -> None:
    assert sy.where(length=asked).length == bounds


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "no predicate"),
        ({"length": (5, 2)}, r"length=\(5, 2\), which no text meets"),
        ({"words": -1}, r"words=-1, which no text meets"),
        ({"length": 2.5}, r"length=2\.5, which"),
        ({"words": "3"}, r"words='3', which"),
        ({"words": "34"}, r"words='34', which"),
        ({"length": (1, 2, 3)}, r"length=\(1, 2, 3\), which"),
        ({"length": (1.5, 2)}, r"length=\(1\.5, 2\), which"),
        ({"stops_at": ""}, "holds what is an empty text or none"),
        ({"excludes": ["a", ""]}, "holds what is an empty text or none"),
        ({"choice": 5}, "choice=5, which holds what is an empty text or none"),
        ({"startswith": ["a", 5]}, r"startswith=\['a', 5\], which"),
        ({"matches": re.compile("a")}, r"re\.compile\('a'\) is none\. Pass its `\.pattern`"),
    ],
)
def test_a_predicate_that_means_nothing_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(sy.UserError, match=message):
        sy.where(**arguments)


def test_a_choice_needs_options() -> None:
    with pytest.raises(sy.UserError, match="no empty one"):
        sy.choice()
    with pytest.raises(sy.UserError, match="no empty one"):
        sy.choice("a", "")
    with pytest.raises(sy.UserError, match="no empty one"):
        sy.choice([])


@pytest.mark.parametrize("options", [(1, 2), ("a", ["b"]), (["a", 5],), ({"a", "b"},)])
def test_options_are_texts(options: Any) -> None:
    with pytest.raises(sy.UserError, match="`choice` got the options"):
        sy.choice(*options)


def test_options_may_be_one_list() -> None:
    assert sy.choice(["yes", "no"]) == sy.choice(("yes", "no")) == sy.choice("yes", "no")


def test_a_compiled_pattern_is_refused() -> None:
    with pytest.raises(sy.UserError, match=r"re\.compile\('a'\) is none\. Pass its `\.pattern`"):
        sy.regex(re.compile("a"))  # type: ignore[arg-type] # what is refused


@pytest.mark.parametrize("other", [sy.schema(int), sy.grammar("start: WORD"), "abc"])
def test_what_is_no_shape_of_text_joins_no_other(other: Any) -> None:
    for join in (operator.and_, operator.or_):
        with pytest.raises(sy.UserError, match="join `choice`, `regex` and `where`, and got"):
            join(sy.where(length=5), other)
        if not isinstance(other, str):
            with pytest.raises(sy.UserError, match="join `choice`, `regex` and `where`, and got"):
                join(other, sy.where(length=5))


def test_a_schema_comes_from_a_type_a_mapping_or_text() -> None:
    assert '"urgent"' in sy.schema(Ticket).json
    assert sy.schema({"type": "integer"}) == sy.schema('{"type": "integer"}') == sy.Schema('{"type":"integer"}')
    assert sy.schema(int, layout="compact").layout == "compact"
    with pytest.raises(sy.UserError, match="cannot read a JSON schema"):
        sy.schema("{nonsense")
    with pytest.raises(sy.UserError, match="cannot read a JSON schema"):
        sy.schema(object())


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        (sy.choice("a", "b"), "exactly one of: a, b"),
        (sy.regex(r"\d+"), r"the regular expression \d+"),
        (sy.choice("a") & sy.regex("b"), "exactly one of: a and text that matches"),
        (sy.choice("a") | sy.regex("b"), "exactly one of: a or text that matches"),
        (sy.where(words=(2, 3), length=9), "of at most 9 characters and of 2 to 3 words"),
        (sy.where(tokens=(4, None), stops_at="."), r"of at least 4 tokens and that ends at the first '.'"),
        (sy.where(startswith=["A", "B"], choice="Ab"), "that starts with 'A' or 'B' and that is 'Ab'"),
        (sy.where(matches="x+", excludes="y"), "that matches the regular expression x+ and without 'y'"),
        (sy.schema(int), '{"type":"integer"}'),
        (sy.grammar('start: "a"'), 'start: "a"'),
    ],
)
def test_a_constraint_is_told_in_words(constraint: sy.Constraint, words: str) -> None:
    assert words in wording(constraint)


def scripted(*texts: str, seen: list[sy.Request] | None = None, **more: Any) -> sy.FunctionModel:
    answers = list(texts)

    def answer(request: sy.Request) -> sy.Completion:
        if seen is not None:
            seen.append(request)
        return sy.Completion(answers.pop(0), **more)

    return sy.FunctionModel(answer, capabilities=frozenset({"chat", "grammar", "schema"}))


async def test_a_steps_own_constraint_replaces_its_types_and_is_told_and_asked_again() -> None:
    seen: list[sy.Request] = []
    asked = sy.regex(r"\d{4}")

    @sy.step(model=sy.Journaled(scripted("about 1999", "1999", seen=seen)), constraint=asked)
    async def year(text: str) -> int:
        """The year."""
        ...

    assert await year("x") == 1999
    assert [request.constraint for request in seen] == [asked, asked]
    assert wording(asked) in seen[0].messages[0].text
    assert "does not fit" in seen[1].messages[-1].text


async def test_a_constraint_never_met_is_an_output_error() -> None:
    @sy.step(model=sy.Journaled(scripted("a" * 300, "b", "c")), constraint=sy.choice("yes"), retries=1)
    async def agree(text: str) -> str:
        """Agree."""
        ...

    with pytest.raises(sy.OutputError, match=r"answered 'b', which does not fit"):
        await agree("x")


async def test_a_constraint_may_be_a_knob() -> None:
    short, long = sy.where(words=1), sy.where(words=9)
    seen: list[sy.Request] = []

    @sy.step(model=scripted("a", "a", seen=seen), constraint=sy.one_of(short, long))
    async def say(text: str) -> str:
        """Say it."""
        ...

    await say("x")
    await say.using(constraint=long)("x")
    assert [request.constraint for request in seen] == [short, long]


async def test_the_layout_goes_into_the_schema_of_the_type() -> None:
    seen: list[sy.Request] = []

    @sy.step(model=scripted('{"intent":"card","urgent":true}', seen=seen), layout="compact")
    async def route(message: str) -> Ticket:
        """Route."""
        ...

    assert (await route("x")).urgent
    assert seen[0].constraint == sy.schema(
        Ticket.model_json_schema() | {"additionalProperties": False}, layout="compact"
    )


class Parcel(BaseModel, json_schema_extra={"allOf": [{"type": "object", "properties": {"place": {"const": "Bern"}}}]}):
    place: str
    weight: int


async def test_a_schema_that_a_type_adds_to_its_own_leaves_room_for_what_both_say() -> None:
    seen: list[sy.Request] = []

    @sy.step(model=scripted('{"place":"Bern","weight":2}', seen=seen))
    async def send(order: str) -> Parcel:
        """Fill in."""
        ...

    assert (await send("2 kg")).weight == 2
    sent = seen[0].constraint
    assert isinstance(sent, sy.Schema)
    assert not unmet_schema(sent.json, '{"place":"Bern","weight":2}')


async def test_explain_gives_messages_constraint_and_what_becomes_of_it() -> None:
    @sy.step(model=sy.Journaled(scripted()))
    async def route(message: str) -> Ticket:
        """Route."""
        ...

    explained = await route.explain("x")
    assert explained.messages[0].text.startswith("Route.")
    assert explained.constraint == sy.schema(Ticket.model_json_schema() | {"additionalProperties": False})
    assert {row.how for row in explained.soundness} <= {"enforced", "checked"}
    assert explained.soundness

    @sy.step
    async def bare(message: str) -> Ticket:
        """Route."""
        ...

    assert (await bare.explain("x")).constraint is None
    assert (await bare.explain("x")).soundness == ()


async def test_calibration_takes_off_what_an_option_scores_without_content() -> None:
    def answer(request: sy.Request) -> sy.Completion:
        empty = request.messages[-1].text == "N/A"
        scores: Mapping[str, float] = {"card": -1.0, "refund": -5.0 if empty else -3.0}
        return sy.Completion(scores=tuple(sy.Score(scores[text], 1) for text in request.continuations))

    model = sy.FunctionModel(answer, capabilities=frozenset({"chat", "score"}))

    @sy.step(model=model)
    async def route(message: str) -> Literal["card", "refund"]:
        """Route."""
        ...

    assert await route("give it back") == "card"
    assert await route.using(calibrate=True)("give it back") == "refund"


async def test_a_pattern_given_as_text_is_refused_with_what_to_pass() -> None:
    @sy.step(model=sy.Journaled(sy.FunctionModel(lambda _: "x")), constraint=cast("Any", "[a-z]+"))
    async def word(question: str) -> str:
        """Answer."""
        ...

    with pytest.raises(sy.UserError, match=r"'\[a-z\]\+' is no constraint\. Pass sy\.regex"):
        await word("a")
