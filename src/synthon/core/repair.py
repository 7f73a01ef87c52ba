"""Asking for some fields of an answer again: their part of the schema, and the new values put into the old answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from synthon.core.errors import OutputError
from synthon.core.identity import dumps
from synthon.core.light import dataclass
from synthon.core.output import Output, read_json
from synthon.core.rebuild import put
from synthon.core.verdicts import Path


@dataclass(frozen=True, slots=True)
class Repair:
    """The fields that are wrong, by their dotted names, and the answer they belong into."""

    output: Output[Any]
    answer: object
    paths: dict[str, Path]
    schema: dict[str, object]

    @property
    def expected(self) -> str:
        """What the model is told to answer."""
        return f"Answer with these fields only, as JSON that fits this schema:\n{dumps(self.schema)}"

    def parse(self, text: str) -> object:
        """The whole value with the fields in the text put into it.

        Raises:
            OutputError: the text does not hold the fields, or the whole does not fit the type with them.
        """
        found = read_json(text, self.paths.keys())
        if found is None:
            reason = f"it is no JSON object with the fields {', '.join(self.paths)}"
            msg = f"The model answered {text[:200]!r}, which does not fit: {reason}."
            raise OutputError(msg, text=text, expected=self.expected, reason=reason)
        whole = self.answer
        for name, path in self.paths.items():
            whole = put(whole, path, found[name])
        return self.output.validated(whole, self.answer, text)


def repair(output: Output[Any], value: object, paths: Sequence[Path]) -> Repair | None:
    """How to ask for these fields again; None where the type's schema does not name them one by one."""
    whole = output.own_schema
    found = {".".join(map(str, path)): (path, _inner(whole, whole, path)) for path in paths}
    if any(inner is None for _, inner in found.values()):
        return None
    schema: dict[str, object] = {
        "type": "object",
        "properties": {name: inner for name, (_, inner) in found.items()},
        "required": list(found),
        "additionalProperties": False,
    }
    if "$defs" in whole:
        schema["$defs"] = whole["$defs"]
    return Repair(output, value, {name: path for name, (path, _) in found.items()}, schema)


def _inner(whole: Any, schema: Any, path: Path) -> Any:
    """The schema of a field, seen through references and alternatives."""
    if not path:
        return schema
    for candidate in _alternatives(whole, schema):
        key, inner = path[0], None
        if isinstance(key, str):
            inner = candidate.get("properties", {}).get(key) or candidate.get("additionalProperties")
        elif key < len(candidate.get("prefixItems", ())):
            inner = candidate["prefixItems"][key]
        else:
            inner = candidate.get("items")
        if isinstance(inner, dict) and (found := _inner(whole, inner, path[1:])) is not None:
            return found
    return None


def _alternatives(whole: Any, schema: Any) -> Iterator[Any]:
    yield schema
    if "$ref" in schema:
        yield from _alternatives(whole, whole["$defs"][schema["$ref"].rpartition("/")[2]])
    for keyword in ("anyOf", "oneOf", "allOf"):
        for branch in schema.get(keyword, ()):
            yield from _alternatives(whole, branch)
