from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthon.core.constraints import Schema
from synthon.core.output import schema
from synthon.decoding import unmet

ANY = Schema("true")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(value=JSON, indent=st.sampled_from([None, 2]))
def test_whatever_json_says_is_json(value: Any, indent: int | None) -> None:
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
    except ValueError:
        text = "1e999"  # infinity is written by a number that JSON allows
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    assert unmet(ANY, f" \r\n\t{text} ") == ""


@given(text=st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    words = unmet(ANY, text)
    try:
        json.loads(text)
    except ValueError:
        assert words.startswith("it is not JSON: ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "expecting value at line 1, column 1"),
        ('Here it is: {"a": 1}', "expecting value at line 1, column 1"),
        ('{"a": 1} Done.', "extra data at line 1, column 10"),
        ('```json\n{"a": 1}\n```', "expecting value"),
        ("{'a': 1}", "property name enclosed in double quotes"),
        ("[1,]", "line 1"),
        ("[NaN]", "NaN is no JSON number"),
        ("-Infinity", "-Infinity is no JSON number"),
        ('{"a": {"b": 1, "c": 2, "b": 3}}', "the name 'b' comes twice in one object"),
        (r'"\ud800"', "half a character"),
        ("[" * 100_000, "nested deeper than 200"),
        ('{"a":' * 300 + "1" + "}" * 300, "nested deeper than 200"),
        (" " * 10_000_001, "10,000,000 are read"),
    ],
)
def test_what_is_not_json_is_said_in_words(text: str, why: str) -> None:
    assert why in unmet(ANY, text)


@pytest.mark.parametrize("text", ["1e999", "-1e999", "1" * 5_000, "[" * 200 + "]" * 200, json.dumps("[" * 5_000)])
def test_what_is_merely_large_is_json(text: str) -> None:
    assert unmet(ANY, text) == ""


def test_the_words_name_the_place_and_what_was_expected() -> None:
    shape = schema({"properties": {"a/b": {"items": {"type": "integer"}}, "n": {"maximum": 3}}, "required": ["z"]})
    words = unmet(shape, '{"a/b": [1, "x"], "n": 4}')
    assert 'at /a~1b/1: "x" is not of type "integer"' in words
    assert "at /n: 4 is greater than the maximum of 3" in words
    assert '"z" is a required property' in words


def test_the_words_are_few() -> None:
    shape = schema({"items": {"enum": [f"option number {n}" for n in range(500)]}})
    words = unmet(shape, json.dumps(["x" * 5_000] * 100))
    assert len(words) < 1_000
    assert words.endswith("and more")


def test_formats_are_asserted() -> None:
    assert "date" in unmet(schema({"format": "date"}), '"2021-02-29"')
    assert unmet(schema({"format": "date"}), '"2020-02-29"') == ""


@pytest.mark.parametrize("pattern", ["(a+)+$", "^(?=a)(a+)+$", r"^(?=a)(a|a?)+\d$"])
def test_no_pattern_makes_a_check_hang(pattern: str) -> None:
    assert unmet(schema({"pattern": pattern}), json.dumps("a" * 5_000 + "!")) != ""


def nested(link: dict[str, Any], **more: Any) -> Schema:
    """A schema of values inside values, each read in the ways of `link`."""
    return schema({"$ref": "#/$defs/n", "$defs": {"n": link, **more}})


HERE = {"$ref": "#/$defs/n"}
ARRAY = {"type": "array", "items": HERE}


@pytest.mark.parametrize(
    ("link", "what"),
    [
        ({"anyOf": [ARRAY, ARRAY]}, "any of the schemas listed in the 'anyOf' keyword"),
        ({"anyOf": [{"oneOf": [ARRAY]}, ARRAY]}, "any of the schemas listed in the 'anyOf' keyword"),
        ({"oneOf": [{"type": "null"}, {"items": {"anyOf": [HERE, HERE]}, **ARRAY}]}, "exactly one of the schemas"),
        ({"allOf": [ARRAY, ARRAY]}, "all of the schemas listed in the 'allOf' keyword"),
        ({**ARRAY, "if": True, "then": ARRAY}, "the schema of the 'if' keyword"),
        ({**ARRAY, "$ref": "#/$defs/m"}, "the schema of the '$ref' keyword"),
    ],
)
def test_what_is_wrong_deep_inside_a_recursive_schema_is_said_at_once(link: dict[str, Any], what: str) -> None:
    shape, began = nested(link, m=ARRAY), time.monotonic()
    for depth in (1, 20, 190):
        words = unmet(shape, "[" * depth + "5" + "]" * depth)
        assert what in words or depth > 40
        assert len(words) < 2_000
    assert time.monotonic() - began < 5


def test_a_wrong_leaf_of_a_tree_is_named_where_only_one_way_leads_to_it() -> None:
    shape = nested({"allOf": [{"properties": {"v": {"type": "integer"}}}, {"properties": {"k": {"items": HERE}}}]})
    assert unmet(shape, '{"k": [{"k": [{"v": "x"}]}]}') == 'at /k/0/k/0/v: "x" is not of type "integer"'


def test_references_into_the_branches_of_a_recursive_schema_are_followed() -> None:
    inner = {"type": "object", "properties": {"k": {"type": "integer"}}, "required": ["k"]}
    list_of = {"type": "array", "items": {"$ref": "#/properties/a%25/anyOf/0"}}
    shape = schema(
        {
            "properties": {
                "a%": {"anyOf": [inner, list_of]},
                "b": {"type": "array", "items": {"$ref": "#/properties/a%25/anyOf/1"}},
                "c": {"items": {"$ref": "#/properties/c"}},
            }
        }
    )
    assert unmet(shape, '{"b": [[{"k": "x"}]]}') == 'at /b/0/0/k: "x" is not of type "integer"'
    assert unmet(shape, '{"b": [[{"k": 1}]], "a%": {"k": 1}, "c": [[]]}') == ""
    assert "under any" in unmet(shape, '{"a%": [{"k": "x"}]}')


def test_a_name_that_no_keyword_looked_at_is_told_in_a_recursive_schema_too() -> None:
    shape = nested(
        {"anyOf": [{"properties": {"a": HERE}}, {"properties": {"b": HERE}}], "unevaluatedProperties": False}
    )
    assert unmet(shape, '{"a": {"a": {}}}') == ""
    assert "is not allowed" in unmet(shape, '{"z": 1}')


def test_a_name_that_comes_twice_among_many_is_found_at_once() -> None:
    names = [f"n{number}" for number in range(30_000)]
    began = time.monotonic()
    assert "'n29999' comes twice" in unmet(ANY, "{" + ",".join(f'"{name}":1' for name in [*names, names[-1]]) + "}")
    assert time.monotonic() - began < 5
