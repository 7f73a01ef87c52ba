"""An answer that is cut off is asked again within bounds, which are told, and can be set or left out."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import synthon as sy
from synthon.decoding import Matcher, compiled, unmet
from synthon.decoding.vocabulary import plain_bytes
from synthon.strategies.ending import ended, fitting
from synthon.strategies.shapes import next_schema
from tests.strategies.scripted import Scripted, said

ENDS = sy.Ends(characters=12, items=3, calls=2, digits=4)


def tool(**properties: object) -> sy.ToolSpec:
    return sy.ToolSpec("note", "Keep it.", json.dumps({"type": "object", "properties": properties}))


def move(*tools: sy.ToolSpec, parallel: bool = False) -> sy.Schema:
    return next_schema(tools, None, None, parallel=parallel, answers=False)


def fits(schema: sy.Schema, **arguments: object) -> bool:
    return jsonschema_rs.is_valid(json.loads(schema.json), {"tool": "note", "arguments": arguments})


REQUEST = sy.Request((sy.Message("user", "Note it."),), temperature=0.0, max_tokens=200)
TEXT, CUT = {"type": "string"}, sy.Completion('{"tool":"note","arguments":{"a":"aaaa', finish="length")
NOTED = '{"tool":"note","arguments":{"a":"a"}}'


def masks(model: Scripted) -> list[Any]:
    return [json.loads(each.constraint.json) for each in model.seen if isinstance(each.constraint, sy.Schema)]


async def test_what_was_cut_off_is_asked_again_within_bounds_that_are_told() -> None:
    model = Scripted(CUT, CUT, NOTED, able=("chat", "schema"))
    assert (await sy.next_calls(model, REQUEST, [tool(a=TEXT)])).calls
    bounds = [mask["$defs"]["tool0"]["properties"]["a"].get("maxLength") for mask in masks(model)]
    assert bounds == [None, 150, 50]  # three characters a token, then one
    assert "it was cut off. Keep to at most 8 calls, 50 characters in a text" in said(model.seen[2])


async def test_bounds_may_be_set_or_left_out() -> None:
    model = Scripted(CUT, NOTED, CUT, NOTED, able=("chat", "schema"))
    for ends in (ENDS, None):
        await sy.next_calls(model, REQUEST, [tool(a=TEXT)], ends=ends)
    bounds = [mask["$defs"]["tool0"]["properties"]["a"].get("maxLength") for mask in masks(model)]
    assert bounds == [12, 12, None, None]

    acting = Scripted('{"answer":"a"}', able=("chat", "schema"))

    @sy.step(model=acting, strategy=sy.agent([], thought=None, ends=ENDS))
    async def answer(question: str) -> str:
        """Answer."""
        raise NotImplementedError

    assert await answer("?") == "a"
    assert masks(acting)[0]["$defs"]["answer"]["maxLength"] == 12


async def test_an_answer_that_was_not_cut_off_is_asked_again_without_bounds() -> None:
    model = Scripted('{"tool":"not', NOTED, able=("chat", "schema"))
    await sy.next_calls(model, REQUEST, [tool(a=TEXT)])
    first, second = masks(model)
    assert first == second


def test_every_kind_of_value_ends_where_its_schema_sets_no_bound() -> None:
    kinds = {kind: {"type": kind} for kind in ("string", "integer", "number", "array", "object")}
    schema = ended(move(tool(**kinds, any={}, more={"type": ["string", "null"]})), ENDS)
    for name, good, bad in (
        ("string", "a" * 12, "a" * 13),
        ("more", "a" * 12, "a" * 13),
        ("more", None, 1),
        ("integer", -9999, 10_000),
        ("number", 9999, 9999.5),
        ("number", 0.25, 0.00000025),
        ("array", [1, "a", None], [1, 2, 3, 4]),
        ("array", [[1]], ["a" * 13]),
        ("object", {"a": 1, "b": {"c": 2}}, {"a": 1, "b": 2, "c": 3, "d": 4}),
        ("object", {"a" * 12: 1}, {"a" * 13: 1}),
        ("any", {"a": 1}, {"a": {"b": {}}}),
        ("any", [True], [1, 2, 3, 4]),
    ):
        assert fits(schema, **{name: good}), (name, good)
        assert not fits(schema, **{name: bad}), (name, bad)


def test_the_bounds_of_a_schema_stay_as_they_are() -> None:
    kept = {
        "long": {"type": "string", "minLength": 20, "maxLength": 40},
        "coded": {"type": "string", "pattern": "^a+$"},
        "large": {"type": "integer", "minimum": 100_000},
        "small": {"type": "integer", "exclusiveMaximum": -100_000},
        "cents": {"type": "number", "multipleOf": 0.5, "minimum": 0, "maximum": 1e6},
        "many": {"type": "array", "items": {"type": "boolean"}, "minItems": 5},
        "one": {"enum": ["a" * 50]},
        "unlike": {"type": "string", "not": {"type": "string"}},
        "open": {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
    }
    schema = ended(move(tool(**kept)), ENDS)
    for name, value in {
        "long": "a" * 40, "coded": "a" * 40, "large": 999_999, "small": -999_999, "cents": 99_999.5, "many": [True] * 5,
        "one": "a" * 50, "open": {"a": 1, "b": 2},
    }.items():  # fmt: skip
        assert fits(schema, **{name: value}), name
    assert not fits(schema, many=[True] * 6)
    assert not fits(schema, unlike="a" * 13)  # what must not be is not bounded, or more would be let in


def test_calls_at_once_end_too() -> None:
    schema = ended(move(tool(a=TEXT), parallel=True), ENDS)
    call = {"tool": "note", "arguments": {"a": "a"}}
    assert jsonschema_rs.is_valid(json.loads(schema.json), {"calls": [call] * 2})
    assert not jsonschema_rs.is_valid(json.loads(schema.json), {"calls": [call] * 3})


def test_the_bounds_are_the_widest_that_fit() -> None:
    texts = dict.fromkeys("abcd", TEXT)
    assert fitting(move(tool(a=TEXT), parallel=True), 4_000)[1] == sy.Ends(32, 8, 8)
    assert fitting(move(tool(**texts), parallel=True), 320)[1] == sy.Ends(32, 8, 1)
    assert fitting(move(tool(**texts), parallel=True), 120)[1] == sy.Ends(8, 1, 1)
    node = {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}}}
    assert fitting(move(tool(root=node)), 320)[1] == sy.Ends(80, 8, 8)


ROOM = 1_500
SCHEMAS = st.recursive(
    st.sampled_from([
        {"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"enum": ["one", 2]}, {},
        {"type": "string", "maxLength": 5}, {"type": ["integer", "null"]}, {"type": "object"}, {"type": "array"},
        {"type": "number", "minimum": 0, "maximum": 5},
    ]),
    lambda parts: st.one_of(
        st.builds(lambda part: {"type": "array", "items": part}, parts),
        st.builds(lambda some: {"anyOf": some}, st.lists(parts, min_size=1, max_size=2)),
        st.builds(lambda some: {"type": "array", "prefixItems": some}, st.lists(parts, min_size=1, max_size=2)),
        st.builds(
            lambda left, right: {"type": "object", "properties": {"left": left, "right": right}, "required": ["left"]},
            parts, parts,
        ),
    ),
    max_leaves=4,
)  # fmt: skip


@given(SCHEMAS, st.randoms(use_true_random=False))
def test_a_mask_within_bounds_ends_within_the_room_whatever_is_written(schema: Any, chance: Any) -> None:
    whole = move(tool(a=schema))
    bounded, ends = fitting(whole, ROOM)
    matcher, written = compiled(bounded, plain_bytes()).matcher(), bytearray()
    while not matcher.is_complete and (bytes_ := allowed(matcher)):
        written.append(chance.choice(bytes_))
        matcher.consume(written[-1])
        assert len(written) <= ROOM or ends == sy.Ends(8, 1, 1)
    wrong = unmet(whole, written.decode())
    assert not wrong or "comes twice" in wrong  # a name written twice is found after, no mask knows what was written


def allowed(matcher: Matcher) -> list[int]:
    """The plain letters and signs that the mask leaves."""
    logits = np.zeros(257, np.float32)
    matcher.mask(logits)
    return [int(byte) for byte in np.flatnonzero(logits[:127] == 0) if chr(byte).isprintable() and byte != ord("\\")]
