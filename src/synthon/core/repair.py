"""Asking for some fields of an answer again: their part of the schema, and the new values put into the old answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

from synthon.core.errors import OutputError
from synthon.core.identity import adapter, dumps
from synthon.core.light import dataclass
from synthon.core.output import Output, read_json
from synthon.core.rebuild import at, keyed, put
from synthon.core.verdicts import Path


@dataclass(frozen=True, slots=True)
class Repair:
    """The fields that are wrong, by their dotted names in the schema, and the answer they belong into."""

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
    found = {dotted(value, path): (path, _inner(whole, path, value)) for path in paths}
    if any(inner is None for _, inner in found.values()):
        return None
    named = {"properties": {name: inner for name, (_, inner) in found.items()}, "required": list(found)}
    rest = {"$defs": whole["$defs"]} if "$defs" in whole else {}
    schema = {"type": "object", **named, "additionalProperties": False, **rest}
    return Repair(output, value, {name: path for name, (path, _) in found.items()}, schema)


def dotted(value: object, path: Path) -> str:
    """What a path into a value is called: its fields by their aliases, as in the schema."""
    return ".".join(
        str(keyed(type(inside), key))
        for inside, key in zip(accumulate(path[:-1], at, initial=value), path, strict=True)
    )


def _inner(whole: Any, path: Path, value: Any) -> Any:
    """The schema of a field, seen through references and alternatives: those the value is of, if they can be told."""
    found = [whole]
    for key in path:
        places = [(each, inner) for schema in found for each, inner in _under(whole, schema, keyed(type(value), key))]
        if not places:
            return None
        own = _own(type(value)) if len(places) > 1 else []
        inners = [inner for each, inner in places if each in own] or [inner for _, inner in places]
        found = [inner for place, inner in enumerate(inners) if inner not in inners[:place]]
        value = at(value, key)
    return found[0] if len(found) == 1 else {"anyOf": found}


def _own(type_: object) -> list[Any]:
    """A type's schema as it stands in one of which it is a part, with its alternatives."""
    whole = adapter(type_).json_schema()
    return list(_alternatives(whole, {name: each for name, each in whole.items() if name != "$defs"}))


def _under(whole: Any, schema: Any, key: str | int) -> Iterator[tuple[Any, Any]]:
    """The alternatives of a schema that have the key, each with what stands there."""
    for each in _alternatives(whole, schema):
        named = each.get("properties", {}).get(key) or each.get("additionalProperties")
        placed = dict[Any, Any](enumerate(each.get("prefixItems", ()))).get(key, each.get("items"))
        inner = named if isinstance(key, str) else placed
        if isinstance(inner, dict):
            yield each, inner


def _alternatives(whole: Any, schema: Any) -> Iterator[Any]:
    yield schema
    if "$ref" in schema:
        yield from _alternatives(whole, whole["$defs"][schema["$ref"].rpartition("/")[2]])
    for branch in (each for keyword in ("anyOf", "oneOf", "allOf") for each in schema.get(keyword, ())):
        yield from _alternatives(whole, branch)
