"""The JSON schema of a model's next move: calls of tools, or an answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from synthon.core.constraints import Constraint, Schema
from synthon.core.identity import dumps

if TYPE_CHECKING:
    from synthon.core.protocols import Tool
    from synthon.core.values import ToolSpec

_LITERAL = {"enum", "const", "default", "examples"}
_BASE = {"$schema", "$id"}  # a definition has those of the whole


def next_schema(
    tools: Sequence[Tool | ToolSpec],
    answer: Constraint | None,
    thought: Schema | None,
    *,
    parallel: bool,
    answers: bool,
) -> Schema:
    """What a completion must be: one of the tools' names with arguments that fit, or an answer of this shape.

    Without `answers` it must be calls. The thought stands first in each, so that it is written first.
    """
    own = {f"tool{at}": json.loads(tool.parameters) for at, tool in enumerate(tools)}
    own |= {"answer": json.loads(answer.json)} if isinstance(answer, Schema) else {"answer": {"type": "string"}}
    own |= {"thought": json.loads(thought.json)} if thought else {}
    first = {"thought": {"$ref": "#/$defs/thought"}} if thought else {}
    last = _object(first | {"answer": {"$ref": "#/$defs/answer"}})
    each = [{"tool": {"const": tool.name}, "arguments": {"$ref": f"#/$defs/tool{at}"}} for at, tool in enumerate(tools)]
    if parallel and each:
        call = {"type": "array", "items": {"anyOf": [_object(one) for one in each]}, "minItems": 1}
        moves = [_object(first | {"calls": call})]
    else:
        moves = [_object(first | one) for one in each]
    moves += [last] if answers or not each else []
    shape = {"anyOf": moves} if len(moves) > 1 else moves[0]
    return Schema(dumps(shape | {"$defs": {name: _placed(one, name) for name, one in own.items()}}), "next", "compact")


def _object(properties: Mapping[str, object]) -> dict[str, object]:
    names = list(properties)
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def _placed(schema: Any, name: str) -> Any:
    """A schema as a definition of another: references follow, objects that name their fields take no others."""
    if isinstance(schema, list):
        return [_placed(item, name) for item in schema]
    if not isinstance(schema, dict):
        return schema
    placed = {key: item if key in _LITERAL else _placed(item, name) for key, item in schema.items() if key not in _BASE}
    reference = placed.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        placed["$ref"] = f"#/$defs/{name}{reference[1:]}"
    if placed.get("type") == "object" and isinstance(placed.get("properties"), dict):
        placed.setdefault("additionalProperties", False)
    return placed
