"""A schema in the newest draft, merged and closed, still takes what the given one asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synthon.decoding.closing import closed, merged
from synthon.decoding.validation import unmet_schema

DRAFT_4, DRAFT_7 = (f"http://json-schema.org/draft-0{number}/schema#" for number in (4, 7))
NEWEST = "https://json-schema.org/draft/2020-12/schema"
IDS: dict[str, Any] = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
NAME: dict[str, Any] = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
BOTH = {"id": 1, "name": "a"}
BASE: dict[str, Any] = {"$defs": {"Base": IDS}}
OF_BASE = {"$ref": "#/$defs/Base"}


def of(**properties: object) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    "schema",
    [
        {"allOf": [IDS, NAME]},
        BASE | {"allOf": [OF_BASE, NAME]},
        BASE | NAME | OF_BASE,
        IDS | {"allOf": [NAME]},
        BASE | {"$ref": "#/$defs/All", "$defs": {"Base": IDS, "All": {"allOf": [OF_BASE, NAME]}}},
    ],
)
def test_objects_that_all_hold_become_one_closed_object(schema: dict[str, Any]) -> None:
    made = json.dumps(closed(merged(json.dumps(schema))))
    assert not unmet_schema(made, json.dumps(BOTH))
    assert unmet_schema(made, '{"id": 1}')
    assert unmet_schema(made, json.dumps(BOTH | {"more": 1}))
    assert "allOf" not in made


@pytest.mark.parametrize(
    ("schema", "fits"),
    [
        ({"allOf": [IDS | {"additionalProperties": {"type": "string"}}, NAME]}, BOTH),
        ({"allOf": [of(a=of(x={})), of(a=of(y={}))]}, {"a": {"x": 1, "y": 2}}),
        (BASE | {"allOf": [{"anyOf": [OF_BASE]}, {"anyOf": [NAME]}]}, BOTH),
        (IDS | {"anyOf": [NAME, of(nick={})]}, BOTH),
        (IDS | {"if": of(id={"const": 1}), "then": NAME}, BOTH),
        (IDS | {"dependentSchemas": {"id": NAME}}, BOTH),
        (IDS | {"not": of(name={"const": "b"}) | {"required": ["name"]}}, {"id": 1}),
        ({"type": "array", "items": IDS, "contains": NAME}, [BOTH]),
        (of(a=of(x={})) | {"patternProperties": {"^a": of(y={})}}, {"a": {"x": 1, "y": 2}}),
        ({"allOf": [True, {"type": "object"}, {"$ref": "#/$defs/x"}], "$defs": {"x": {"not": {"const": 1}}}}, {}),
        ({"allOf": [{"enum": [1, 2]}, {"enum": [2, 3]}]}, 2),
        (of(next={"allOf": [{"$ref": "#"}, {"minProperties": 1}]}, x={}), {"next": {"x": 1}}),
        ({"components": {"C": IDS}, "allOf": [{"$ref": "#/components/C"}, {"$ref": NEWEST}]}, {"id": 1}),
        ({"allOf": [IDS, of(a={"$ref": "#/allOf/0"})]}, {"id": 1, "a": {"id": 2}}),
    ],
)  # fmt: skip
def test_what_several_parts_speak_of_stays_open_for_all_of_them(schema: dict[str, Any], fits: object) -> None:
    assert not unmet_schema(json.dumps(schema), json.dumps(fits))
    assert not unmet_schema(json.dumps(closed(merged(json.dumps(schema)))), json.dumps(fits))


def test_an_object_is_closed_beside_parts_that_only_say_which_of_its_names_must_be_there() -> None:
    schema = of(id={}, name={}) | {"anyOf": [{"required": ["id"]}, {"required": ["name"]}, False]}
    assert closed(merged(json.dumps(schema)))["additionalProperties"] is False
    assert "additionalProperties" not in closed(merged(json.dumps(schema | {"oneOf": [{"required": ["x"]}]})))


def test_a_lone_reference_keeps_its_words() -> None:
    schema = BASE | of(a={"allOf": [OF_BASE], "description": "the base"})
    assert merged(json.dumps(schema))["properties"]["a"] == OF_BASE | {"description": "the base"}


@pytest.mark.parametrize("name", ["default", "const", "enum", "examples", "$id", "$schema", "id", "items", "allOf"])
def test_a_property_may_be_called_like_a_keyword(name: str) -> None:
    schema = {"$defs": {"C": {"enum": ["red"]}}} | of(**{name: {"$ref": "#/$defs/C"}})
    made = json.dumps(closed(merged(json.dumps(schema))))
    assert not unmet_schema(made, json.dumps({name: "red"}))
    assert unmet_schema(made, json.dumps({name: "blue"}))


@pytest.mark.parametrize(
    ("draft", "schema", "fits", "misfits"),
    [
        (DRAFT_7, {"items": [{"type": "integer"}]}, [1, "a"], ["a"]),
        (DRAFT_7, {"items": [{"type": "integer"}], "additionalItems": False}, [1], [1, 2]),
        (DRAFT_7, {"items": [{}, {"$ref": "#/items/0"}], "additionalItems": {"type": "null"}}, [1, 2, None], [1, 2, 3]),
        (DRAFT_7, {"items": {"type": "integer"}, "additionalItems": False}, [1], ["a"]),
        (DRAFT_7, {"dependencies": {"a": ["b"], "b": {"required": ["c"]}}}, {"a": 1, "b": 1, "c": 1}, {"a": 1}),
        (DRAFT_7, {"definitions": {"x": {"type": "null"}}, "$ref": "#/definitions/x", "type": "string"}, None, "a"),
        (DRAFT_7, {"prefixItems": [False], "items": {"type": "integer"}}, [1], ["a"]),
        (DRAFT_7, {"definitions": {"x": {"$id": "#y", "type": "null"}}, "items": {"$ref": "#y"}}, [None], [1]),
        (DRAFT_4, {"minimum": 1, "exclusiveMinimum": True, "maximum": 3, "exclusiveMaximum": False}, 3, 1),
        ("https://json-schema.org/draft/2019-09/schema", {"items": {"$recursiveRef": "#"}, "type": "array"}, [[]], [1]),
    ],
)
def test_an_older_draft_means_the_same_in_the_newest(
    draft: str, schema: dict[str, Any], fits: object, misfits: object
) -> None:
    given, made = json.dumps({"$schema": draft} | schema), merged(json.dumps({"$schema": draft} | schema))
    for each in (given, json.dumps(made)):
        assert not unmet_schema(each, json.dumps(fits))
        assert unmet_schema(each, json.dumps(misfits))
    assert "$schema" not in made


def test_a_part_with_an_address_of_its_own_is_found_by_pointer() -> None:
    schema = of(a={"$ref": "http://a.b/c"}) | {
        "$defs": {"a b": {"$id": "http://a.b/c", "$anchor": "d", "type": "null"}}
    }
    made = merged(json.dumps(schema))
    assert made["properties"]["a"] == {"$ref": "#/$defs/a%20b"}
    assert made["$defs"]["a b"] == {"type": "null"}
    assert not unmet_schema(json.dumps(made), '{"a": null}')
    assert closed(merged("true")) is True
