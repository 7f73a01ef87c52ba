"""Bounds for what a schema leaves without an end, so that a mask ends within the tokens there are."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from synthon.core.identity import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthon.core.constraints import Schema

_MAPS, _LISTS = ("properties", "patternProperties", "$defs", "definitions"), ("anyOf", "oneOf", "allOf", "prefixItems")
_PARTS, _NOTES = ("items", "additionalProperties"), {"title", "description", "default", "examples"}
_OTHER, _FRACTION = 48, 1e-6  # characters of a text with a pattern or a format, as reckoned; steps of a number
_TEXT = 32  # characters that a text may have before lists and calls are cut short


@dataclass(frozen=True, slots=True)
class Ends:
    """The most a model may write where the schemas of tools and answers set no bound; theirs stay as they are.

    A value of no declared type then holds texts, numbers, true, false, null, and flat lists and objects of these.

    Attributes:
        characters: of a text without pattern or format, and of a name where an object lists none.
        items: of a list, and of names beside those that an object lists.
        calls: at once.
        digits: of a number before the point, 15 at most; behind it there are six.
    """

    characters: int
    items: int = 8
    calls: int = 8
    digits: int = 15

    def __str__(self) -> str:
        return (
            f"at most {self.calls} calls, {self.characters} characters in a text, {self.items} items in a list and "
            f"{self.digits} digits in a number"
        )


def fitting(schema: Schema, room: int) -> tuple[Schema, Ends]:
    """The schema within the widest bounds with which its longest JSON has `room` characters; else within the tightest.

    A schema inside itself is reckoned once, a pattern or a format as 48 characters, an escape as one.
    """
    for ends in _widths(room):
        bounded = ended(schema, ends)
        whole = json.loads(bounded.json)
        if _Reckoning(whole).longest(whole) <= room:
            break
    return bounded, ends


def _widths(room: int) -> Iterator[Ends]:
    for calls, items in ((8, 8), (4, 8), (2, 8), (1, 8), (1, 4), (1, 2), (1, 1)):
        yield from (Ends(each, items, calls) for each in sorted({max(room // 4, _TEXT), _TEXT}, reverse=True))
    yield from (Ends(each, 1, 1) for each in (16, 8))


def ended(schema: Schema, ends: Ends) -> Schema:
    """The schema of a next move within bounds; it lets in nothing that it did not."""
    whole = json.loads(schema.json)
    for move in whole.get("anyOf", [whole]):
        if "calls" in move["properties"]:
            move["properties"]["calls"]["maxItems"] = ends.calls
    return replace(schema, json=dumps(_ended(whole, ends)))


def _ended(schema: Any, ends: Ends) -> Any:
    if schema is True:
        return _any(ends)
    if not isinstance(schema, dict) or "enum" in schema or "const" in schema:
        return schema
    if not schema.keys() - _NOTES:
        return schema | _any(ends)
    found = dict(schema)
    for key, part in schema.items():
        if key in _MAPS:
            found[key] = {name: _ended(each, ends) for name, each in part.items()}
        elif key in _LISTS:
            found[key] = [_ended(each, ends) for each in part]
        elif key in _PARTS:
            found[key] = _ended(part, ends)
    kinds = schema.get("type", ())
    for kind in [kinds] if isinstance(kinds, str) else kinds:
        _bound(found, kind, ends)
    return found


def _bound(found: dict[str, Any], kind: str, ends: Ends) -> None:
    """Set the bounds of a type where a schema has none."""
    if kind == "string" and "pattern" not in found and "format" not in found:
        found.setdefault("maxLength", max(ends.characters, found.get("minLength", 0)))
    elif kind in {"integer", "number"}:
        most = 10**ends.digits - 1
        low, high = (found.get(name, found.get(f"exclusive{name.title()}", 0)) for name in ("minimum", "maximum"))
        found.setdefault("maximum", max(most, 10 * low))
        found.setdefault("minimum", min(-most, 10 * high))
        found |= {"multipleOf": _FRACTION, **found} if kind == "number" else {}
    elif kind == "array":
        found.setdefault("maxItems", max(ends.items, found.get("minItems", 0), len(found.get("prefixItems", ()))))
        found |= {} if "items" in found else {"items": _any(ends)}
    elif kind == "object" and found.get("additionalProperties") is not False:
        names, more = found.get("properties", {}), found.get("additionalProperties") or _any(ends)
        found.setdefault("maxProperties", max(len(names) + ends.items, found.get("minProperties", 0)))
        is_free = not names and "patternProperties" not in found
        named = {"patternProperties": {f"^.{{1,{ends.characters}}}$": more}} if is_free else {}
        found |= named | {"additionalProperties": False if is_free else more}


def _any(ends: Ends) -> dict[str, Any]:
    """Any value, as far as it ends."""
    plain = [{"type": "string"}, {"type": "number"}, {"type": "boolean"}, {"type": "null"}]
    flat = {"anyOf": plain}
    deep = [{"type": "array", "items": flat}, {"type": "object", "additionalProperties": flat}]
    return {"anyOf": [_ended(each, ends) for each in [*plain, *deep]]}


@dataclass(frozen=True, slots=True)
class _Reckoning:
    """How many characters the JSON of a bounded schema has at most."""

    root: dict[str, Any]
    known: dict[str, float] = field(default_factory=dict)

    def longest(self, schema: Any) -> float:
        if not isinstance(schema, dict):
            return 0
        if "const" in schema or "enum" in schema:
            return max((len(dumps(each)) for each in schema.get("enum", [schema.get("const")])), default=0)
        if "$ref" in schema:
            return self._referred(schema["$ref"])
        if parts := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
            return max(map(self.longest, parts))
        kinds = schema.get("type", "object")
        return max(self._of(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds))

    def _referred(self, reference: str) -> float:
        if reference not in self.known:
            self.known[reference] = 0
            found: Any = self.root
            for name in reference.removeprefix("#/").split("/"):
                found = found.get(name.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
            self.known[reference] = self.longest(found)
        return self.known[reference]

    def _of(self, kind: str, schema: dict[str, Any]) -> float:
        if kind == "string":
            return float(schema.get("maxLength", _OTHER) + 2)
        if kind in {"integer", "number"}:
            bounds = (schema.get("minimum", -_OTHER), schema.get("maximum", _OTHER))
            return max(len(f"{each:.0f}") for each in bounds) + (7 if kind == "number" else 0)
        if kind == "array":
            first = [self.longest(each) + 1 for each in schema.get("prefixItems", ())]
            more = max(schema.get("maxItems", 1) - len(first), 0)
            return 2 + sum(first) + float(more) * (1 + self.longest(schema.get("items")))
        names = schema.get("properties", {})
        listed = sum(len(dumps(name)) + 2 + self.longest(each) for name, each in names.items())
        more = schema.get("maxProperties", len(names)) - len(names)
        others = [*schema.get("patternProperties", {}).values(), schema.get("additionalProperties")]
        return 2 + float(listed) + float(more) * (_OTHER + max(map(self.longest, others)))
