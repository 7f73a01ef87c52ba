"""The JSON schema of a model's next move: calls of tools, or an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from synthon.core.constraints import Constraint, Schema
from synthon.core.identity import dumps
from synthon.decoding.closing import closed, each_part, merged

if TYPE_CHECKING:
    from synthon.core.protocols import Tool
    from synthon.core.values import ToolSpec


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
    own = {f"tool{at}": tool.parameters for at, tool in enumerate(tools)}
    own |= {"answer": answer.json if isinstance(answer, Schema) else '{"type":"string"}'}
    own |= {"thought": thought.json} if thought else {}
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
    definitions = {name: _placed(closed(merged(text)), name) for name, text in own.items()}
    return Schema(dumps(shape | {"$defs": definitions}), "next", "compact")


def _object(properties: Mapping[str, object]) -> dict[str, object]:
    names = list(properties)
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def _placed(schema: Any, name: str) -> Any:
    """A schema as a definition of another, which references within it follow."""
    if not isinstance(schema, dict):
        return schema
    placed = each_part(schema, lambda inner, _: _placed(inner, name))
    reference = placed.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        placed["$ref"] = f"#/$defs/{name}{reference[1:]}"
    return placed
