from __future__ import annotations

import json
import re
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from synthon.core.constraints import Schema
from synthon.core.errors import Unsupported, UserError
from synthon.core.output import schema
from synthon.decoding import compiled, soundness, unmet
from synthon.decoding.documents import document_of
from synthon.decoding.loosening import Loosened
from synthon.decoding.validation import knows_format
from tests.decoding.writing import VOCABULARY, can_write, drawn, start, takes

DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def how(shape: object, keyword: str) -> set[str]:
    return {row.how for row in soundness(schema(shape)) if row.keyword == keyword}


def writes(shape: object, value: Any) -> bool:
    return can_write(start(schema(shape)), value)


# Each case: a schema, a value that fits it, a value that does not.
ENFORCED: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "type": ({"type": ["integer", "null"]}, None, "x"),
    "enum": ({"enum": ["a", 1, {"b": []}]}, {"b": []}, "b"),
    "const": ({"const": [1, "é"]}, [1, "é"], [1]),
    "minLength": ({"type": "string", "minLength": 2}, "é😀", "😀"),
    "maxLength": ({"type": "string", "maxLength": 1}, "😀", "ab"),
    "pattern": ({"type": "string", "pattern": "^[a-f]+\\d$"}, "a1", "1a"),
    "minimum": ({"type": "integer", "minimum": -3}, -3, -4),
    "maximum": ({"type": "number", "maximum": 0.5}, 0.5, 0.51),
    "exclusiveMinimum": ({"type": "number", "exclusiveMinimum": 1}, 1.5, 1),
    "exclusiveMaximum": ({"type": "integer", "exclusiveMaximum": 1}, 0, 1),
    "multipleOf": ({"type": "integer", "multipleOf": 7}, 21, 20),
    "items": ({"type": "array", "items": {"type": "integer"}}, [1, 2], ["x"]),
    "prefixItems": ({"type": "array", "prefixItems": [{"const": 1}], "items": False}, [1], [2]),
    "minItems": ({"type": "array", "minItems": 1}, [1], []),
    "maxItems": ({"type": "array", "maxItems": 1}, [1], [1, 2]),
    "properties": ({"type": "object", "properties": {"a": {"type": "null"}}}, {"a": None}, {"a": 1}),
    "required": ({"type": "object", "required": ["a"]}, {"a": 1}, {}),
    "additionalProperties": ({"type": "object", "additionalProperties": False}, {}, {"a": 1}),
    "anyOf": ({"anyOf": [{"type": "null"}, {"const": 1}]}, 1, 2),
    "allOf": ({"allOf": [{"type": "integer"}, {"minimum": 3}]}, 3, 2),
    "oneOf": ({"oneOf": [{"type": "null"}, {"type": "integer"}]}, 1, "x"),
    "$ref": ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "null"}}}, None, 1),
    "not": ({"not": {"type": ["string", "number"]}}, None, 1),
}


@pytest.mark.parametrize("keyword", ENFORCED)
def test_an_enforced_keyword_is_held_by_the_mask(keyword: str) -> None:
    shape, right, wrong = ENFORCED[keyword]
    assert how(shape, keyword) == {"enforced"}
    assert writes(shape, right)
    assert not writes(shape, wrong)
    assert unmet(schema(shape), json.dumps(right)) == ""
    assert unmet(schema(shape), json.dumps(wrong)) != ""


NOT: list[tuple[Any, dict[str, Any], Any, Any]] = [
    ({"required": ["a"]}, {"properties": {"a": {}, "b": {}}}, {"b": 1}, {"a": 1}),
    ({"required": ["a"]}, {}, {}, []),  # what is no object has no name that could be lacking
    ({"minItems": 2}, {}, [1], [1, 2]),
    ({"maxItems": 1}, {"type": ["array", "null"]}, [1, 2], None),
    ({"minLength": 1}, {"type": "string"}, "", "a"),
    ({"maxLength": 1}, {}, "ab", "a"),
    (False, {"type": "string"}, "a", 1),
]


@pytest.mark.parametrize(("refused", "rest", "right", "wrong"), NOT)
def test_the_opposite_of_something_simple_is_held_by_the_mask(
    refused: Any, rest: dict[str, Any], right: Any, wrong: Any
) -> None:
    shape = {**rest, "not": refused}
    assert how(shape, "not") == {"enforced"}
    assert writes(shape, right)
    assert not writes(shape, wrong)


@pytest.mark.parametrize("refused", [{"type": "integer"}, {"required": ["a", "b"]}, {"type": "string", "minLength": 1}])
def test_the_opposite_of_anything_else_is_checked(refused: dict[str, Any]) -> None:
    assert how({"not": refused}, "not") == {"checked"}


def test_a_schema_that_refuses_everything_says_so() -> None:
    with pytest.raises(UserError, match="No JSON fits"):
        compiled(schema({"not": {}}), VOCABULARY)


CHECKED: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "not": ({"not": {"enum": ["x"]}}, 1, "x"),
    "if": ({"if": {"type": "integer"}, "then": {"minimum": 3}}, 3, 2),
    "contains": ({"type": "array", "contains": {"const": 1}}, [1], [2]),
    "uniqueItems": ({"type": "array", "uniqueItems": True}, [1, 2], [1, 1]),
    "propertyNames": ({"type": "object", "propertyNames": {"maxLength": 1}}, {"a": 1}, {"ab": 1}),
    "dependentRequired": ({"type": "object", "dependentRequired": {"a": ["b"]}}, {"b": 1}, {"a": 1}),
    "dependentSchemas": ({"type": "object", "dependentSchemas": {"a": {"required": ["b"]}}}, {"b": 1}, {"a": 1}),
    "unevaluatedProperties": ({"type": "object", "unevaluatedProperties": False}, {}, {"a": 1}),
    "unevaluatedItems": ({"type": "array", "unevaluatedItems": False}, [], [1]),
    "dependencies": ({"$schema": DRAFT_7, "type": "object", "dependencies": {"a": ["b"]}}, {"b": 1}, {"a": 1}),
    "contentEncoding": ({"$schema": DRAFT_7, "type": "string", "contentEncoding": "base64"}, "YQ==", "a"),
    "pattern": ({"type": "string", "pattern": "^(?=a)"}, "ab", "b"),
    "format": ({"type": "string", "format": "regex"}, "a+", "("),
    "oneOf": ({"oneOf": [{"type": "integer"}, {"minimum": 3}]}, 2, 3),
    "$dynamicRef": ({"items": {"$dynamicRef": "#n"}, "$defs": {"n": {"$dynamicAnchor": "n", "type": "null"}}}, [], [1]),
    "patternProperties": (
        {"type": "object", "patternProperties": {"a": {"type": "null"}, "b": {}}, "additionalProperties": False},
        {"ab": None},
        {"c": 1},
    ),
    "multipleOf": ({"type": "integer", "multipleOf": 10**12}, 10**12, 3),
    "minimum": ({"type": "integer", "minimum": 10**20}, 10**20, 1),
}


@pytest.mark.parametrize("keyword", CHECKED)
def test_a_checked_keyword_only_loosens_the_mask_and_is_looked_at_after(keyword: str) -> None:
    shape, right, wrong = CHECKED[keyword]
    assert how(shape, keyword) == {"checked"}
    assert writes(shape, right)
    assert writes(shape, wrong)
    assert unmet(schema(shape), json.dumps(right)) == ""
    assert unmet(schema(shape), json.dumps(wrong)) != ""


@pytest.mark.parametrize("name", ["date", "date-time", "time"])
def test_a_format_of_which_a_mask_knows_a_part_is_masked_and_checked(name: str) -> None:
    shape = {"type": "string", "format": name}
    assert how(shape, "format") == {"checked"}
    assert not writes(shape, "tomorrow")


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("email", "a@b.c", "a"), ("uuid", "123e4567-e89b-12d3-a456-426614174000", "1"), ("ipv4", "1.2.3.4", "1.2.3"),
        ("ipv6", "::1", ":::"), ("hostname", "a.b", "-a"), ("uri", "http://a.b/c", "a b"), ("duration", "P1D", "1D"),
    ],
)  # fmt: skip
def test_a_format_that_a_mask_knows_is_enforced(name: str, right: str, wrong: str) -> None:
    shape = {"type": "string", "format": name}
    assert how(shape, "format") == {"enforced"}
    assert writes(shape, right)
    assert not writes(shape, wrong)
    assert name in unmet(schema(shape), json.dumps(wrong))


def test_an_unknown_format_is_a_remark_and_said_to_be_one() -> None:
    (row,) = [row for row in soundness(schema({"type": "string", "format": "color"})) if row.keyword == "format"]
    assert (row.place, row.how) == ("", "checked")
    assert "asserts nothing" in row.reason
    assert writes({"type": "string", "format": "color"}, "x")


def test_remarks_constrain_nothing() -> None:
    remarks = {
        "title": "t", "description": "d", "default": 1, "examples": [1], "$comment": "c", "deprecated": True,
        "readOnly": True, "x-guidance": {"lenient": True, "whitespace_flexible": False}, "x-mine": {"type": "null"},
    }  # fmt: skip
    assert {row.keyword for row in soundness(schema({"type": "integer", **remarks}))} == {"type"}
    assert writes({"type": "object", **remarks, "properties": {"a": True}}, {"a": 1})


def test_places_are_pointers_to_the_schema_a_keyword_stands_in() -> None:
    shape = {"properties": {"a/b": {"type": "array", "uniqueItems": True}}, "$defs": {"unused": {"not": {}}}}
    assert ("uniqueItems", "/properties/a~1b") in {(row.keyword, row.place) for row in soundness(schema(shape))}
    assert "not" not in {row.keyword for row in soundness(schema(shape))}


def test_names_that_may_come_twice_are_checked() -> None:
    assert how({"type": "object"}, "additionalProperties") == {"checked"}
    assert how({"type": "object", "additionalProperties": False}, "additionalProperties") == {"enforced"}
    assert "'a' comes twice" in unmet(schema({"type": "object"}), '{"a": 1, "a": 2}')


class Card(BaseModel, extra="forbid"):
    kind: Literal["card"]
    digits: Annotated[str, Field(pattern=r"^\d{4}$")]


class Refund(BaseModel, extra="forbid"):
    kind: Literal["refund"]
    cents: Annotated[int, Field(ge=0, lt=10_000)]
    then: Annotated[Card | Refund, Field(discriminator="kind")] | None = None


def test_a_discriminated_union_of_models_is_wholly_enforced() -> None:
    union = Annotated[Card | Refund, Field(discriminator="kind")]
    assert {row.how for row in soundness(schema(union))} == {"enforced"}
    assert writes(union, {"kind": "refund", "cents": 5, "then": {"kind": "card", "digits": "1234"}})
    assert not writes(union, {"kind": "card", "cents": 5})


def test_a_reference_out_of_the_schema_is_refused_and_never_fetched() -> None:
    for place in ("properties", "$defs"):
        shape = schema({"type": "object", place: {"a": {"$ref": "http://127.0.0.1:9/x.json"}}})
        assert [(row.keyword, row.place, row.how) for row in soundness(shape)] == [
            ("$ref", f"/{place}/a", "unsupported")
        ]
        with pytest.raises(Unsupported, match=rf"'[$]ref' at '/{re.escape(place)}/a'.*nothing is ever fetched"):
            compiled(shape, VOCABULARY)
        with pytest.raises(Unsupported, match="nothing is ever fetched"):
            unmet(shape, "{}")


@pytest.mark.parametrize(
    ("shape", "why"),
    [
        ({"type": "strin"}, "not valid at '/type'"),
        ({"minimum": "a"}, "not valid at '/minimum'"),
        ({"properties": {"a": {"pattern": "[a--b]"}}}, "at '/properties/a/pattern' cannot be read"),
        (False, "No JSON fits"),
        ({"type": "string", "allOf": [{"type": "integer"}]}, "No JSON fits"),
        ({"$ref": "#"}, "refers to itself"),
        ({"anyOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}, "refers to itself"),
        ({"const": "\ud800"}, "half a character"),
    ],
)
def test_a_schema_that_cannot_be_is_refused(shape: Any, why: str) -> None:
    with pytest.raises(UserError, match=why):
        compiled(schema(shape), VOCABULARY)


def test_keywords_of_one_kind_beside_each_other_all_hold() -> None:
    shape = {
        "anyOf": [{"type": "integer"}, {"type": "null"}], "oneOf": [{"const": 1}, {"const": None}, {"const": "x"}],
        "allOf": [{"type": ["integer", "string"]}, {"anyOf": [{"enum": [1, 2]}, {"const": "x"}]}],
    }  # fmt: skip
    assert {row.how for row in soundness(schema(shape))} == {"enforced"}
    assert [value for value in (1, None, "x", 2) if writes(shape, value)] == [1]


def test_fractions_are_masked_and_checked() -> None:
    shape = {"type": "number", "multipleOf": 0.25, "minimum": 0}
    assert how(shape, "multipleOf") == {"checked"}
    assert writes(shape, 0.75)
    assert not writes(shape, 0.7)


def test_the_schema_of_schemas_is_left_to_the_validator() -> None:
    shape = {"$schema": DRAFT_7, "properties": {"x": {"$ref": DRAFT_7}}}
    assert how(shape, "$ref") == {"checked"}
    assert writes(shape, {"x": {"type": 5}})
    assert unmet(schema(shape), '{"x": {"type": 5}}')
    assert unmet(schema(shape), '{"x": {"type": "null"}}') == ""


def test_what_cannot_be_combined_is_taken_out_at_as_few_places_as_possible() -> None:
    both: dict[str, Any] = {"patternProperties": {"a": {}, "b": {}}}
    shape = {"properties": {"x": both, "y": {"patternProperties": {"^z": {"type": "null"}}, "type": "object"}}}
    places = {(row.place, row.reason[:26]) for row in soundness(schema(shape)) if row.keyword == "patternProperties"}
    assert places == {("/properties/x", "no mask could be made with"), ("/properties/y", "the values are masked, but")}
    assert not writes(shape, {"y": {"z": 1}})


@pytest.mark.parametrize("pattern", ["^(?=a)", r"^a\b"])
def test_a_name_with_a_pattern_that_no_mask_says_is_checked_with_all_others(pattern: str) -> None:
    shape = {"type": "object", "patternProperties": {pattern: {"type": "null"}}, "additionalProperties": False}
    assert how(shape, "patternProperties") == how(shape, "additionalProperties") == {"checked"}
    assert writes(shape, {"b": 1})
    assert unmet(schema(shape), '{"b": 1}')


PATTERNS = [
    "^a|b$", "(^a)b", "a($|y)", "", "^$", r"^\w+\s\S*$", r"^[\s\d]+$", r"^[^\S]$", "a.c", r"^a\/b$", r"^\d$",
    "^[a-z&&x]$", "^[[a]$", "^[a~~b]$", "^[ab-]$", r"^\u00e9$", r"^[\x41-\x43]$", "^(?:a|b)*?c$", r"^\0?$", r"^[\]a]$",
    r"^\\s$", "^a{2,}$", "a$b", r"^\p{L}$", "^[]$", "(?<n>a)b",
]  # fmt: skip
STRINGS = [*"abcyxABCé٣9& ~[]-\\\0\n\u00a0\u0085\ufeff\u2003", "", "ab", "ba", "ac", "ay", "a/b", "aa", "a c", "a\n"]


@pytest.mark.parametrize("pattern", PATTERNS, ids=range(len(PATTERNS)))
def test_a_pattern_means_the_same_to_mask_and_check(pattern: str) -> None:
    shape = schema({"type": "string", "pattern": pattern})
    try:
        is_enforced = {row.how for row in soundness(shape)} == {"enforced"}
    except UserError:  # the validator cannot read it either
        return
    for text in STRINGS:
        could, is_right = writes(json.loads(shape.json), text), unmet(shape, json.dumps(text)) == ""
        assert could or not is_right, text
        assert is_right or not (could and is_enforced), text


def test_a_language_of_its_own_is_refused() -> None:
    with pytest.raises(Unsupported, match=r"my\.example"):
        compiled(schema({"$schema": "https://my.example/meta"}), VOCABULARY)


@pytest.mark.parametrize("text", ["5", "{", '{"minimum": NaN}'])
def test_what_is_no_schema_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="schema"):
        compiled(Schema(text), VOCABULARY)


def test_older_drafts_are_read_as_they_were_meant() -> None:
    tuple_7 = {"$schema": DRAFT_7, "type": "array", "items": [{"const": 1}], "additionalItems": {"type": "null"}}
    assert writes(tuple_7, [1, None])
    assert not writes(tuple_7, [1, 1])
    beside = {"$schema": DRAFT_7, "$ref": "#/definitions/n", "maximum": 1, "definitions": {"n": {"type": "integer"}}}
    assert writes(beside, 5)
    assert unmet(schema(beside), "5") == ""
    flag_4 = {
        "$schema": "http://json-schema.org/draft-04/schema#", "id": "http://a.b/c", "type": "integer", "minimum": 3,
        "exclusiveMinimum": True,
    }  # fmt: skip
    assert writes(flag_4, 4)
    assert not writes(flag_4, 3)


def test_references_are_resolved_by_address_and_anchor() -> None:
    shape = {
        "$id": "http://a.b/root", "type": "array", "prefixItems": [{"$ref": "part#n"}, {"$ref": "#/$defs/p/$defs/q"}],
        "items": {"$ref": "http://a.b/part"},
        "$defs": {"p": {"$id": "part", "$anchor": "n", "type": "integer", "$defs": {"q": {"type": "null"}}}},
    }  # fmt: skip
    assert writes(shape, [1, None, 2])
    assert not writes(shape, [1, 1, 2])
    assert not writes(shape, [1, None, None])


def test_names_are_written_in_the_order_in_which_the_schema_has_them() -> None:
    constraint = schema({"type": "object", "properties": {"b": True, "a": True}, "required": ["a", "b", "c"]})
    text = drawn(start(constraint), 3)
    assert text is None or list(json.loads(text))[:3] == ["b", "a", "c"]
    assert writes({"properties": {"b": True}, "allOf": [{"properties": {"a": True}}]}, {"a": 1, "b": 2})


NAMES = st.sampled_from(["a", "b", "c"])
LEAVES: list[dict[str, Any]] = [
    {}, {"type": "string"}, {"type": "integer"}, {"type": "boolean"}, {"type": "null"},
    {"type": "string", "maxLength": 3}, {"type": "string", "minLength": 1, "pattern": "^[ab]*$"},
    {"type": "integer", "minimum": 0, "maximum": 12}, {"type": "integer", "multipleOf": 3, "minimum": 0},
    {"type": "number", "exclusiveMinimum": 0, "maximum": 5}, {"enum": ["a", 1, None, [1]]}, {"const": "ab"},
    {"minLength": 2, "minimum": 3}, {"type": "string", "not": {"const": "a"}}, {"type": ["string", "integer"]},
    {"not": {"type": "string"}}, {"not": {"required": ["a"]}}, {"type": "array", "not": {"minItems": 1}},
]  # fmt: skip


def shapes() -> st.SearchStrategy[Any]:
    def wider(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        some = st.lists(inner, min_size=1, max_size=3)
        properties = st.dictionaries(NAMES, inner, max_size=3)
        return st.one_of(
            st.builds(
                lambda p, r, rest: {
                    "type": "object", "properties": p, "required": sorted(r), "additionalProperties": rest,
                },
                properties, st.sets(NAMES, max_size=2), st.one_of(st.booleans(), inner),
            ),
            st.builds(lambda p, least: {"properties": p, "minProperties": least}, properties, st.integers(0, 2)),
            st.builds(lambda p: {"type": "object", "patternProperties": {"^[ab]$": p}}, inner),
            st.builds(lambda i, least, most: {"type": "array", "items": i, "minItems": least, "maxItems": least + most},
                      inner, st.integers(0, 2), st.integers(0, 2)),
            st.builds(lambda i, rest: {"type": "array", "prefixItems": i, "items": rest}, some, inner),
            st.builds(lambda i: {"type": "array", "items": i, "uniqueItems": True}, inner),
            some.map(lambda branches: {"anyOf": branches}), some.map(lambda branches: {"oneOf": branches}),
            some.map(lambda branches: {"allOf": branches}), inner.map(lambda refused: {"not": refused}),
            st.builds(lambda p, name: {"properties": p, "not": {"required": [name]}}, properties, NAMES),
            st.builds(lambda c, t, e: {"if": c, "then": t, "else": e}, inner, inner, inner),
        )  # fmt: skip

    return st.recursive(st.sampled_from(LEAVES), wider, max_leaves=6)


def values() -> st.SearchStrategy[Any]:
    leaves = st.sampled_from([None, True, False, 0, 1, 3, 12, 13, 0.5, "", "a", "ab", "abab", "c"])
    return st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(NAMES, inner, max_size=3)),
        max_leaves=5,
    )


@settings(max_examples=150)
@given(shape=shapes(), seeds=st.lists(st.integers(0, 9_999), min_size=2, max_size=2))
def test_what_a_mask_lets_through_is_right_or_checked(shape: Any, seeds: list[int]) -> None:
    constraint = schema(shape)
    try:
        rows = compiled(constraint, VOCABULARY).soundness
    except UserError as error:
        assert "No JSON fits" in str(error)  # noqa: PT017 - anything else is a fault
        return
    for seed in seeds:
        text = drawn(start(constraint), seed)
        if text is not None and {row.how for row in rows} == {"enforced"}:
            assert unmet(constraint, text) == "", text
        elif text is not None:
            json.loads(text)


@settings(max_examples=200)
@given(shape=shapes(), candidates=st.lists(values(), min_size=4, max_size=8))
def test_masks_let_every_right_value_through(shape: Any, candidates: list[Any]) -> None:
    constraint = schema(shape)
    fits = [unmet(constraint, json.dumps(value)) == "" for value in candidates]
    try:
        matcher = start(constraint)
    except UserError:
        assert not any(fits), "No JSON was said to fit"
        return
    is_enforced = {row.how for row in soundness(constraint)} <= {"enforced"}
    for value, does_fit in zip(candidates, fits, strict=True):
        could = can_write(matcher, value)
        assert could or not does_fit, value
        assert does_fit or not (could and is_enforced), value


def test_a_listed_name_in_escapes_passes_the_mask_which_says_so_and_is_checked() -> None:
    shape = {"type": "object", "properties": {"a": {"type": "integer"}}}
    text = '{"\\u0061":"x"}'
    assert takes(start(schema(shape)), text)
    assert any("in escapes" in row.reason for row in soundness(schema(shape)) if row.how == "checked")
    assert "at /a" in unmet(schema(shape), text)


AT_ONCE: dict[str, tuple[dict[str, Any], bool]] = {
    "an object": ({"properties": {"a": {"type": "string", "maxLength": 9}, "b": {"enum": [1, None]}}}, True),
    "a list of a reference": ({"items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"type": "null"}}}, True),
    "one of several": ({"anyOf": [{"type": "integer", "minimum": 3}, {"type": "string"}]}, True),
    "a long count": ({"type": "string", "maxLength": 101}, False),
    "a pattern": ({"type": "string", "pattern": "^a+$"}, False),
    "a divisor": ({"type": "integer", "multipleOf": 7}, False),
    "a fraction": ({"type": "number", "minimum": 0.1}, False),
    "a conjunction": ({"allOf": [{"type": "string"}]}, False),
    "what stands beside a reference": ({"$ref": "#/$defs/a", "maxLength": 1, "$defs": {"a": {}}}, False),
    "what stands beside a choice": ({"properties": {"a": {}}, "oneOf": [{"required": ["a"]}]}, False),
    "a counted format": ({"type": "string", "format": "uri", "maxLength": 90}, False),
}


@pytest.mark.parametrize("name", AT_ONCE)
def test_only_what_is_surely_quick_is_compiled_at_once(name: str) -> None:
    shape, is_simple = AT_ONCE[name]
    assert Loosened(document_of(json.dumps(shape)), {}, knows_format).is_simple == is_simple
