"""Each schema goes into a process of its own, so that a hang or a stack that ends shows."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import sys, time
from synthon.core.constraints import Schema
from synthon.core.errors import SynthonError
from synthon.decoding import compiled, soundness, unmet
from tests.decoding.writing import VOCABULARY, drawn

constraint, began = Schema(sys.stdin.read()), time.monotonic()
def tried(name, act):
    try:
        act()
    except SynthonError as error:
        print(type(error).__name__, name, str(error)[:200])
tried("compiled", lambda: drawn(compiled(constraint, VOCABULARY).matcher(), 0, tokens=30))
tried("soundness", lambda: soundness(constraint))
for text in ("[" * 100 + "]" * 100, '"' + "a" * 3000 + '!"', '{"a": {"a": 1}}'):
    tried("unmet", lambda: unmet(constraint, text))
print(f"{time.monotonic() - began:.1f} s")
"""


def links(link: Any, last: Any, count: int) -> dict[str, Any]:
    """A chain of references, each link made from the name of the next."""
    made = {f"d{n}": link({"$ref": f"#/$defs/d{n + 1}"}) for n in range(count)}
    return {"$ref": "#/$defs/d0", "$defs": {**made, f"d{count}": last}}


REFUSED: dict[str, str | dict[str, Any]] = {
    "nested arrays": '{"items":' * 10_000 + "true" + "}" * 10_000,
    "nested allOf": '{"allOf":[' * 10_000 + "true" + "]}" * 10_000,
    "brackets only": "[" * 1_000_000,
    "three megabytes": json.dumps({"enum": ["x" * 3_000_000]}),
    "many values": {"enum": list(range(100_000))},
    "a chain of references": links(lambda next_: next_, {"type": "string"}, 3_000),
    "doubling references": links(lambda next_: {"allOf": [next_, next_]}, {"type": "string"}, 40),
    "doubling under not": links(lambda next_: {"not": {"anyOf": [next_, next_]}}, {}, 20),
    "a pattern of a million": {"pattern": "(a{1,1000}){1,1000}"},
    "a nested pattern": {"pattern": "(" * 3_000 + "a" + ")" * 3_000},
}
ENDURED: dict[str, dict[str, Any]] = {
    "doubling properties": links(lambda next_: {"properties": {"a": next_, "b": next_}}, {}, 30),
    "a chain through items": links(lambda next_: {"items": next_}, {}, 5_000),
    "a billion items": {"type": "array", "minItems": 10**9, "maxItems": 10**9},
    "a billion characters": {"type": "string", "minLength": 10**9},
    "five thousand properties": {"properties": {f"p{n}": {"type": "string"} for n in range(5_000)}},
    "a large enumeration": {"enum": [f"value {n}" for n in range(20_000)]},
    "a product of choices": {
        "allOf": [
            {"anyOf": [{"properties": {f"p{n}{m}": {"const": m}}, "required": [f"p{n}{m}"]} for m in range(6)]}
            for n in range(10)
        ]
    },
    "doubling choices": links(lambda next_: {"anyOf": [next_, {"properties": {"a": next_, "b": next_}}]}, {}, 11),
    "many objects with other names": {
        "properties": {f"a{n}": {"properties": {f"b{n}{m}": {} for m in range(4)}} for n in range(60)}
    },
    "counted formats": {
        "properties": {
            f"{name}{n}": {"type": "string", "format": name, "minLength": 80 + n, "maxLength": 100}
            for name in ("uri", "email", "ipv6", "duration", "hostname", "ipv4", "date-time", "uuid")
            for n in range(9)
        }
    },
    "a product of divisors": {"allOf": [{"type": "integer", "multipleOf": p} for p in (7919, 7907, 7901, 7883)]},
    "a pattern that backtracks": {"type": "string", "pattern": "^(?=a)(a+)+(a|aa)+$"},
    "a recursive allOf": {
        "$ref": "#/$defs/n",
        "$defs": {"n": {"allOf": [{"properties": {"a": {"allOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/m"}]}}}]},
                  "m": {"properties": {"a": {"$ref": "#/$defs/m"}}}},
    },
}  # fmt: skip


def outcome(shape: str | dict[str, Any]) -> str:
    text = shape if isinstance(shape, str) else json.dumps(shape)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_schema_is_too_large_wherever_it_is_used(name: str) -> None:
    printed = outcome(REFUSED[name]).splitlines()
    assert [line.split()[:2] for line in printed[:-1]] == [
        ["SchemaTooLarge", "compiled"], ["SchemaTooLarge", "soundness"], *[["SchemaTooLarge", "unmet"]] * 3
    ]  # fmt: skip
    assert float(printed[-1].split()[0]) < 10


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDURED)
def test_a_costly_schema_ends_in_time_with_masks_or_without(name: str) -> None:
    printed = outcome(ENDURED[name]).splitlines()
    assert {line.split()[0] for line in printed[:-1]} <= {"SchemaTooLarge"}
    assert not any("unmet" in line for line in printed)
    assert float(printed[-1].split()[0]) < 20
