"""A keyword asserts something from its first draft on; before, it is a remark, and its row says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from synthon.core.output import schema
from synthon.decoding import soundness, unmet
from tests.decoding.writing import start, takes

DRAFTS = {
    4: "http://json-schema.org/draft-04/schema#",
    6: "http://json-schema.org/draft-06/schema#",
    7: "http://json-schema.org/draft-07/schema#",
    2019: "https://json-schema.org/draft/2019-09/schema",
    2020: "https://json-schema.org/draft/2020-12/schema",
}
BEGINNINGS: list[tuple[str, int, dict[str, Any], Any]] = [
    ("const", 6, {"const": 5}, 6),
    ("contains", 6, {"contains": {"type": "integer"}}, ["a"]),
    ("propertyNames", 6, {"propertyNames": {"maxLength": 1}}, {"abc": 1}),
    ("if", 7, {"if": {"type": "integer"}, "then": {"minimum": 5}}, 1),
    ("dependentRequired", 2019, {"dependentRequired": {"a": ["b"]}}, {"a": 1}),
    ("dependentSchemas", 2019, {"dependentSchemas": {"a": {"required": ["b"]}}}, {"a": 1}),
    ("minContains", 2019, {"contains": {"type": "integer"}, "minContains": 2}, [1]),
    ("maxContains", 2019, {"contains": {"type": "integer"}, "maxContains": 1}, [1, 1]),
    ("unevaluatedItems", 2019, {"unevaluatedItems": False}, [1]),
    ("unevaluatedProperties", 2019, {"unevaluatedProperties": False}, {"a": 1}),
    ("prefixItems", 2020, {"prefixItems": [{"type": "integer"}]}, ["a"]),
    ("dependencies", 4, {"dependencies": {"a": ["b"]}}, {"a": 1}),
]


@pytest.mark.parametrize("draft", DRAFTS)
@pytest.mark.parametrize(("keyword", "first", "body", "value"), BEGINNINGS)
def test_a_keyword_younger_than_its_draft_asserts_nothing(
    keyword: str, first: int, body: dict[str, Any], value: Any, draft: int
) -> None:
    shape, text = schema({"$schema": DRAFTS[draft], **body}), json.dumps(value)
    (row,) = (each for each in soundness(shape) if (each.keyword, each.place) == (keyword, ""))
    asserts = draft >= first
    assert (unmet(shape, text) != "") == asserts
    assert ("asserts nothing" in row.reason) == (not asserts)
    assert takes(start(shape), text) or (asserts and row.how == "enforced")


def test_constants_that_a_draft_does_not_know_tell_no_branches_apart() -> None:
    shape = schema({"$schema": DRAFTS[4], "oneOf": [{"const": 5}, {"const": 6}]})
    assert {row.how for row in soundness(shape) if row.keyword == "oneOf"} == {"checked"}
    assert unmet(shape, "5")


@pytest.mark.parametrize(
    ("body", "asserts"),
    [
        ({"contentMediaType": "application/json"}, True),
        ({"contentMediaType": "application/xml"}, False),
        ({"contentEncoding": "base16"}, True),
        ({"contentEncoding": "8bit"}, False),
    ],
)
def test_contents_that_nobody_reads_are_remarks(body: dict[str, Any], asserts: bool) -> None:  # noqa: FBT001 - a parameter
    shape = schema({"$schema": DRAFTS[7], **body})
    (row,) = (each for each in soundness(shape) if each.keyword in body)
    assert (unmet(shape, '"<a"') != "") == asserts == ("asserts nothing" not in row.reason)


def test_bounds_of_contains_say_nothing_alone() -> None:
    assert "minContains" not in {row.keyword for row in soundness(schema({"minContains": 2}))}
