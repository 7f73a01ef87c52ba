"""Function calls: reading them from text, and holding them against the answers that a benchmark allows.

    calls = written("[area(base=10, height=5)]")
    matches(calls, functions, [{"area": {"base": [10], "height": [5], "unit": ["units", ""]}}])

The rules are those that the Berkeley Function-Calling Leaderboard publishes for its AST match (Patil 2025, "The
Berkeley Function Calling Leaderboard"): the function's name is the same; no required parameter is missing and none is
made up; a value has the declared type, where an integer may stand for a float and a list for a tuple, or the type of
the values that are allowed; it equals one of these, texts without regard to case, blanks and the signs , . / - _ * ^; a
parameter may be left out where "" is allowed. Parallel calls match in any order, each allowed answer once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

Function = Mapping[str, Any]  # name, description, parameters: as the benchmark writes them
_TYPES: dict[str, type] = {
    "string": str, "any": str, "integer": int, "float": float, "boolean": bool, "array": list, "tuple": list,
    "dict": dict,
}  # fmt: skip
_JSON_TYPES = {"float": "number", "tuple": "array", "dict": "object"}
_KEPT = ("description", "enum", "items", "properties", "required")
_IGNORED = re.compile(r"[ ,./\-_*^]")


@dataclass(frozen=True, slots=True)
class Call:
    """A function's name and its arguments."""

    name: str
    arguments: Mapping[str, object]


# ------------------------------------------------------------------------------------------------------- reading


def written(text: str) -> list[Call] | None:
    """The calls in a text of the form `[name(a=1), name(b="c")]`, as prompts ask for; None where it is no such list.

    A name in place of a value is read as text, any other expression as its source. Arguments without a name are lost.
    """
    bare = text.strip("`\n ")
    bare = f"{'' if bare.startswith('[') else '['}{bare}{'' if bare.endswith(']') else ']'}"
    try:
        tree = ast.parse(bare, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    found = tree.elts if isinstance(tree, ast.List) else [tree]
    if not all(isinstance(each, ast.Call) for each in found):
        return None
    return [_read(cast("ast.Call", each)) for each in found]


def _read(call: ast.Call) -> Call:
    return Call(ast.unparse(call.func), {each.arg: _value(each.value) for each in call.keywords if each.arg})


def _value(node: ast.expr) -> object:
    if isinstance(node, ast.Name):
        return {"true": True, "false": False}.get(node.id, node.id)
    if isinstance(node, ast.List | ast.Tuple):
        return [_value(each) for each in node.elts]
    if isinstance(node, ast.Dict):
        return {
            _value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key is not None
        }
    try:
        return ast.literal_eval(node)
    except (ValueError, RecursionError):
        return ast.unparse(node)


# ------------------------------------------------------------------------------------------------------ matching


def matches(
    calls: Sequence[Call], functions: Sequence[Function], allowed: Sequence[Mapping[str, Mapping[str, Sequence[Any]]]]
) -> bool:
    """Whether the calls are those of an allowed answer, each once, in any order."""
    if len(calls) != len(allowed):
        return False
    left = list(calls)
    by_name = {each["name"]: each for each in functions}
    for answer in allowed:
        ((name, arguments),) = answer.items()
        place = next((at for at, call in enumerate(left) if _is_call(call, by_name[name], arguments)), None)
        if place is None:
            return False
        del left[place]
    return True


def _is_call(call: Call, function: Function, allowed: Mapping[str, Sequence[Any]]) -> bool:
    declared, given = function["parameters"]["properties"], call.arguments
    return (
        call.name == function["name"]
        and set(function["parameters"].get("required", ())) <= given.keys()
        and given.keys() <= declared.keys() & allowed.keys()
        and all("" in allowed[name] for name in allowed.keys() - given.keys())
        and all(_is_allowed(value, declared[name], allowed[name]) for name, value in given.items())
    )


def _is_allowed(value: object, declared: Mapping[str, Any], allowed: Sequence[Any]) -> bool:
    kind = _TYPES[declared["type"]]
    if kind is float and type(value) is int:
        value = float(value)
    listed = next((type(each) for each in allowed if each != ""), kind)  # a variable's name stands for its value
    if type(value) not in {kind, listed}:
        return False
    if kind is not listed:
        return value in allowed
    if isinstance(value, dict):
        return any(_is_dict(value, each) for each in allowed if each != "")
    if isinstance(value, list):
        return any(_is_list(value, declared, each) for each in allowed if each != "")
    return _plain(value) in [_plain(each) for each in allowed]


def _is_dict(value: Mapping[str, object], allowed: Mapping[str, Sequence[Any]]) -> bool:
    return (
        value.keys() <= allowed.keys()
        and all("" in allowed[name] for name in allowed.keys() - value.keys())
        and all(_plain(each) in [_plain(one) for one in allowed[name]] for name, each in value.items())
    )


def _is_list(value: Sequence[object], declared: Mapping[str, Any], allowed: Sequence[Any]) -> bool:
    if len(value) != len(allowed):
        return False
    kind = _TYPES[declared.get("items", {}).get("type", "any")]
    if kind is dict:
        return all(isinstance(one, dict) and _is_dict(one, each) for one, each in zip(value, allowed, strict=True))
    listed = type(allowed[0]) if allowed else kind
    return all(
        type(one) in {kind, listed} and _plain(one) == _plain(each) for one, each in zip(value, allowed, strict=True)
    )


def _plain(value: object) -> object:
    """A text without what is ignored, and a list of such; anything else as it is."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return _IGNORED.sub("", value).lower().replace("'", '"') if isinstance(value, str) else value


# ------------------------------------------------------------------------------------------------------- schemas


def schema(declared: Mapping[str, Any]) -> dict[str, Any]:
    """A parameter's declaration, or that of all, as JSON schema."""
    kind = declared["type"]
    found: dict[str, Any] = {} if kind == "any" else {"type": _JSON_TYPES.get(kind, kind)}
    found |= {name: declared[name] for name in _KEPT if name in declared}
    if "properties" in found:
        found["properties"] = {name: schema(each) for name, each in declared["properties"].items()}
        found["additionalProperties"] = False
    if "items" in found:
        found["items"] = schema(declared["items"]) if "type" in declared["items"] else {}
    return found


__all__ = ["Call", "Function", "matches", "schema", "written"]
