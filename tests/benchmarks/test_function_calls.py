"""Function calls are read from text and held against allowed answers as the leaderboard's rules say."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.function_calls import Call, matches, schema, written

AREA = {
    "name": "area",
    "parameters": {
        "type": "dict",
        "properties": {
            "base": {"type": "integer"},
            "height": {"type": "float"},
            "unit": {"type": "string"},
            "sides": {"type": "array", "items": {"type": "integer"}},
            "where": {"type": "dict", "properties": {"city": {"type": "string"}}},
        },
        "required": ["base"],
    },
}
ALLOWED: list[dict[str, dict[str, list[Any]]]] = [
    {
        "area": {
            "base": [10],
            "height": [5.0, ""],
            "unit": ["units", ""],
            "sides": [[1, 2], ""],
            "where": [{"city": ["New York", "NYC"], "zip": ["", "10001"]}, ""],
        }
    }
]


def is_match(**arguments: object) -> bool:
    return matches([Call("area", arguments)], [AREA], ALLOWED)


def test_a_call_matches_with_what_may_be_left_out_left_out() -> None:
    assert is_match(base=10)
    assert is_match(base=10, height=5.0, unit="units", sides=[1, 2])


@pytest.mark.parametrize(
    "arguments",
    [
        {"height": 5.0},
        {"base": 11},
        {"base": "10"},
        {"base": 10.0},
        {"base": True},
        {"base": 10, "colour": "red"},
        {"base": 10, "unit": "metres"},
        {"base": 10, "sides": [2, 1]},
        {"base": 10, "sides": [1.0, 2.0]},
        {"base": 10, "where": {}},
        {"base": 10, "where": {"city": "Boston"}},
        {"base": 10, "where": {"city": "NYC", "street": "Broadway"}},
    ],
    ids=repr,
)
def test_a_call_does_not_match_with_a_wrong_missing_or_made_up_argument(arguments: dict[str, object]) -> None:
    assert not is_match(**arguments)


def test_an_integer_stands_for_a_float_and_a_text_for_its_spellings() -> None:
    assert is_match(base=10, height=5)
    assert is_match(base=10, unit="U-N.I_T S")
    assert is_match(base=10, where={"city": "new york"})


def test_another_function_or_another_number_of_calls_does_not_match() -> None:
    assert not matches([Call("volume", {"base": 10})], [AREA], ALLOWED)
    assert not matches([], [AREA], ALLOWED)
    assert not matches([Call("area", {"base": 10})] * 2, [AREA], ALLOWED)


def test_parallel_calls_match_in_any_order_each_once() -> None:
    allowed: list[dict[str, dict[str, list[Any]]]] = [
        {"area": {"base": [number], "height": [""]}} for number in (1, 2, 2)
    ]
    calls = [Call("area", {"base": number}) for number in (2, 1, 2)]
    assert matches(calls, [AREA], allowed)
    assert not matches([calls[1], calls[1], calls[0]], [AREA], allowed)


def test_a_list_of_objects_matches_by_place() -> None:
    function = {
        "name": "f",
        "parameters": {"properties": {"rows": {"type": "array", "items": {"type": "dict"}}}, "required": ["rows"]},
    }
    allowed = [{"f": {"rows": [[{"a": [1]}, {"a": [2], "b": ["x", ""]}]]}}]
    assert matches([Call("f", {"rows": [{"a": 1}, {"a": 2}]})], [function], allowed)
    assert not matches([Call("f", {"rows": [{"a": 2}, {"a": 1}]})], [function], allowed)
    assert not matches([Call("f", {"rows": [1, 2]})], [function], allowed)


def test_a_name_may_stand_for_a_value_where_names_are_allowed() -> None:
    function = {"name": "f", "parameters": {"properties": {"x": {"type": "integer"}}, "required": ["x"]}}
    assert matches([Call("f", {"x": "width"})], [function], [{"f": {"x": ["width"]}}])
    assert not matches([Call("f", {"x": "Width"})], [function], [{"f": {"x": ["width"]}}])


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("[area(base=10, height=-5.5)]", [Call("area", {"base": 10, "height": -5.5})]),
        ("```\nmath.hypot(x=4, y=True)\n```", [Call("math.hypot", {"x": 4, "y": True})]),
        ("[f(a=[1, 'b'], c={'d': (1, 2)}), g()]", [Call("f", {"a": [1, "b"], "c": {"d": [1, 2]}}), Call("g", {})]),
        ("[f(a=true, b=width, c=2*3)]", [Call("f", {"a": True, "b": "width", "c": "2 * 3"})]),
        ("[f(1, **more)]", [Call("f", {})]),
        ("[]", []),
    ],
)
def test_calls_are_read_as_prompts_ask_for_them(text: str, calls: list[Call]) -> None:
    assert written(text) == calls


@pytest.mark.parametrize("text", ["", "None of them helps.", "[f(a=1", "3", "[f(a=1), 2]", "f(a=1); g()"])
def test_what_is_no_list_of_calls_is_none(text: str) -> None:
    assert written(text) in (None, [])


VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.from_regex(r"x_[a-z]{1,8}", fullmatch=True), VALUES, max_size=4))
def test_what_is_written_is_read_again(arguments: dict[str, object]) -> None:
    text = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    assert written(f"[f({text})]") == [Call("f", arguments)]


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    found = written(text)
    assert found is None or all(isinstance(each, Call) for each in found)


def test_a_declaration_becomes_a_schema_that_takes_no_other_fields() -> None:
    found = schema(AREA["parameters"])  # type: ignore[arg-type] # a dict of several things
    assert found["type"] == "object"
    assert found["required"] == ["base"]
    assert found["additionalProperties"] is False
    assert found["properties"]["height"] == {"type": "number"}
    assert found["properties"]["where"]["additionalProperties"] is False
    assert schema({"type": "any", "description": "what it is"}) == {"description": "what it is"}
    assert schema({"type": "tuple", "items": {"type": "float"}}) == {"type": "array", "items": {"type": "number"}}
