"""A schema as others take it best: in the newest draft, each `allOf` one schema, objects closed to names not listed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from synthon.decoding.documents import LISTS, MAPS, document_of, escaped, parts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from synthon.decoding.documents import Document

_WORDS = {"title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment"}
_NOTES = _WORDS | {"$defs", "definitions", "discriminator", "xml", "externalDocs"}
_LITERAL = {"enum", "const", "default", "examples", "example", "dependentRequired"}
_ADDRESSES = {"$schema", "$id", "id", "$anchor"}
_ELSEWHERE = ("$ref", "$dynamicRef", "$recursiveRef")
_OTHERS = {"if", "then", "else", "contains", "dependentSchemas", "dependencies", "patternProperties", "propertyNames"}
_TIED = {  # to keywords beside them
    "additionalProperties", "unevaluatedProperties", "items", "prefixItems", "unevaluatedItems",
    "contains", "minContains", "maxContains", "if", "then", "else",
}  # fmt: skip
_DEEP = 4  # references put together within others
_DRAFT_4, _DRAFT_7, _DRAFT_2020 = 4, 7, 2020


def merged(text: str) -> Any:
    """The schema in draft 2020-12, references as pointers into it, each `allOf` one schema where that says as much.

    Raises:
        UserError, Unsupported, SchemaTooLarge: the schema cannot be used.
    """
    document = document_of(text)
    whole = _newest(document, document.root, "")
    return whole if "/allOf/" in text else _merged(whole, whole, ())


def closed(whole: Any) -> Any:
    """A schema whose objects that list their names take no others, but where another part may speak of the same value.

    Such are an `allOf`, an `anyOf` beside other keywords, `if`, `not` and what these refer to: each would refuse what
    the others ask for. References must be pointers.
    """
    lent: set[int] = set()
    _lend(whole, whole, lent, set(), alone=True)
    return _closed(whole, lent)


def each_part(node: dict[str, Any], change: Callable[[Any, str], Any]) -> dict[str, Any]:
    """A schema with each schema right inside it changed, of which the step to it, a JSON pointer, is told too."""
    made = dict(node)
    for keyword, value in node.items():
        step = f"/{keyword}"
        if keyword in MAPS and isinstance(value, dict):
            made[keyword] = {name: change(inner, f"{step}/{escaped(name)}") for name, inner in value.items()}
        elif keyword in LISTS and isinstance(value, list):
            made[keyword] = [change(inner, f"{step}/{at}") for at, inner in enumerate(value)]
        elif isinstance(value, dict) and keyword not in _LITERAL:
            made[keyword] = change(value, step)
    return made


def _newest(document: Document, node: Any, place: str) -> Any:
    if not isinstance(node, dict):
        return node
    read = {name: node[name] for name in ("$defs", "definitions") if name in node} | document.plain(node)
    read = {name: item for name, item in read.items() if name not in _ADDRESSES or not isinstance(item, str)}
    found = each_part(read, lambda inner, step: _newest(document, inner, place + step))
    for name in _ELSEWHERE if not document.has_parts_elsewhere else ("$ref",):
        if isinstance(reference := found.get(name), str) and (target := document.resolve(reference, place)):
            is_pointer = not document.has_parts_elsewhere and reference.startswith("#/")
            pointer = reference if is_pointer else f"#{quote(target[0], safe='/~$')}"
            is_old = document.draft < _DRAFT_2020
            del found[name]
            found["$ref"] = re.sub(r"/items/(?=\d+(?:/|$))", "/prefixItems/", pointer) if is_old else pointer
    return _renamed(found, document.draft)


def _renamed(found: dict[str, Any], draft: int) -> dict[str, Any]:
    """The keywords of a draft as the newest calls them."""
    if draft < _DRAFT_2020:
        more = found.pop("additionalItems", True)
        if isinstance(found.get("items"), list):
            found |= {"prefixItems": found["items"], "items": more}
    if draft <= _DRAFT_7:
        for name, inner in found.pop("dependencies", {}).items():
            found.setdefault("dependentRequired" if isinstance(inner, list) else "dependentSchemas", {})[name] = inner
    for bound in ("minimum", "maximum") if draft == _DRAFT_4 else ():
        if found.pop(f"exclusive{bound.title()}", False) and bound in found:
            found[f"exclusive{bound.title()}"] = found.pop(bound)
    return found


def _merged(whole: Any, node: Any, within: tuple[str, ...]) -> Any:
    """The node with each `allOf` in it made one; `within` are references whose schemas it was put together of."""
    if not isinstance(node, dict):
        return node
    notes = {name: item for name, item in node.items() if name in _NOTES}
    rest = node.keys() - _NOTES
    if rest == {"allOf"} and len(node["allOf"]) == 1 and isinstance(node["allOf"][0], dict):
        return _merged(whole, node["allOf"][0] | notes, within)
    inlined: list[str] = []
    one = _one(_said(whole, node, inlined)) if "allOf" in rest or rest > {"$ref"} else None
    if one is None or not set(inlined).isdisjoint(within) or len(within) > _DEEP:
        return each_part(node, lambda inner, _: _merged(whole, inner, within))
    return each_part(notes | one, lambda inner, _: _merged(whole, inner, (*within, *inlined)))


def _said(whole: Any, node: Any, inlined: list[str]) -> Iterator[Any]:
    """Schemas that all hold of one value: the node's own keywords, what it refers to, and what is in its `allOf`."""
    target = _target(whole, node) if isinstance(node, dict) else None
    if not isinstance(node, dict) or ("$ref" in node and target is None):
        yield node
        return
    yield {name: item for name, item in node.items() if name not in _NOTES | {"allOf", "$ref"}}
    inlined += [] if target is None else [node["$ref"]]
    for inner in [*([] if target is None else [target]), *node.get("allOf", ())]:
        yield from _said(whole, inner, inlined)


def _one(said: Iterator[Any]) -> dict[str, Any] | None:
    """One schema that says as much as all of these; None where they may not simply be put together."""
    made: dict[str, Any] = {}
    for each in said:
        if not isinstance(each, dict) or each.keys() & _TIED or "$ref" in each:
            return None
        for keyword, item in each.items():
            known: Any = made.setdefault(keyword, {} if keyword == "properties" else item)
            if keyword == "properties":
                if any(repr(known.setdefault(name, inner)) != repr(inner) for name, inner in item.items()):
                    return None
            elif keyword == "required":
                made[keyword] = list(dict.fromkeys([*known, *item]))
            elif repr(known) != repr(item):
                return None
    return made


def _target(whole: Any, node: dict[str, Any]) -> Any:
    """What a node's pointer points to; None where it has none."""
    reference, found = node.get("$ref"), whole
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    for step in unquote(reference).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found[int(name)] if isinstance(found, list) else found[name]
    return found


def _lend(whole: Any, node: Any, lent: set[int], seen: set[tuple[int, bool]], *, alone: bool) -> None:
    """Collect the schemas whose values others speak of too."""
    if not isinstance(node, dict) or (id(node), alone) in seen:
        return
    seen.add((id(node), alone))
    alone = alone and not _is_shared(node)
    lent |= set() if alone else {id(node)}
    for keyword, _, inner in parts(node):
        if keyword not in {"$defs", "definitions"}:
            _lend(whole, inner, lent, seen, alone=alone and keyword not in {"not", *_OTHERS})
    _lend(whole, _target(whole, node), lent, seen, alone=alone)


def _is_shared(node: dict[str, Any]) -> bool:
    """Whether more than one part of a schema speaks of its value's names."""
    own = node.keys() - _NOTES - {"type", "not", "allOf", "anyOf", "oneOf", "$ref"}
    names = node.get("properties", {})
    ways = [list(node.get("allOf", ()))] + [node[name] for name in ("anyOf", "oneOf") if name in node]
    ways = [[each for each in way if _adds(each, names)] for way in ways]
    said = len(ways[0]) + sum(map(bool, ways[1:])) + bool(own) + ("$ref" in node)
    return said > 1 or bool(own & _OTHERS)


def _adds(schema: Any, names: dict[str, Any]) -> bool:
    """Whether a part says more than which of the names must be there."""
    if not isinstance(schema, dict):
        return False
    return bool(schema.keys() - _NOTES - {"type", "required"}) or not names.keys() >= set(schema.get("required", ()))


def _closed(node: Any, lent: set[int]) -> Any:
    if not isinstance(node, dict):
        return node
    made = each_part(node, lambda inner, _: _closed(inner, lent))
    if id(node) not in lent and isinstance(node.get("properties"), dict) and "unevaluatedProperties" not in node:
        made.setdefault("additionalProperties", False)
    return made


__all__ = ["closed", "each_part", "merged"]
