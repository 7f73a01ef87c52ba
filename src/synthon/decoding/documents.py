"""A JSON schema as a document: its draft, where its parts are, and what its references point to."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias
from urllib.parse import unquote, urljoin

from synthon.core.errors import SchemaTooLarge, Unsupported, UserError

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
Node: TypeAlias = "dict[str, Json]"

MAX_BYTES = 2_000_000
MAX_NODES = 60_000  # values in the schema, of any kind
MAX_DEPTH = 100  # brackets within brackets; the libraries' own stacks end at 128
MAX_AT_ONCE = 5_000  # schemas that one and the same value is held against, references followed
MAX_CHAIN = 64  # references and combinations one inside the other, all about the same value

LISTS = ("allOf", "anyOf", "oneOf", "prefixItems", "items")
MAPS = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies")
SINGLES = (
    "items", "additionalItems", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames",
    "unevaluatedItems", "unevaluatedProperties", "contentSchema",
)  # fmt: skip
_WITH_PARTS = frozenset({*LISTS, *MAPS, *SINGLES})
_ABOUT_THE_SAME = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"})
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_MORE_THAN_ONE = _ABOUT_THE_SAME.union(_REFERENCES)  # without these a value is held against one schema
_DRAFTS = {
    "draft-04/": 4, "draft-06/": 6, "draft-07/": 7, "draft/2019-09/": 2019, "draft/2020-12/": 2020, "": 2020,
}  # fmt: skip
_DIALECT = re.compile(r"https?://json-schema\.org/(.*)schema#?")
_SINCE = {
    "const": 6, "contains": 6, "propertyNames": 6, "contentEncoding": 6, "contentMediaType": 6, "if": 7,
    "dependentRequired": 2019, "dependentSchemas": 2019, "minContains": 2019, "maxContains": 2019,
    "unevaluatedItems": 2019, "unevaluatedProperties": 2019, "$recursiveRef": 2019,
    "prefixItems": 2020, "$dynamicRef": 2020,
}  # fmt: skip
_NO_SIBLINGS = 7  # up to this draft, what stands beside `$ref` says nothing


class Document:
    """A schema, read once and found small enough to work on.

    Raises:
        UserError: it is no JSON, or refers to itself without end.
        Unsupported: it is written in a language of its own (`$schema`).
        SchemaTooLarge: it is too long, too deep, or its references multiply too far.
    """

    def __init__(self, text: str) -> None:
        self.root = _read(text)
        self.draft = _draft(self.root)
        self.unknown = frozenset(keyword for keyword, draft in _SINCE.items() if draft > self.draft)
        self._resources: dict[str, str] = {"": ""}  # place of a resource to its address
        self._places: dict[str, str] = {"": ""}  # address, or address#anchor, to a place
        combined: list[tuple[str, Node]] = []
        self._learn(self.root, "", "", combined)
        self._sizes: dict[str, int] = {}
        self.unresolved: list[tuple[str, str]] = []  # place and reference, of those that point outside
        for place, node in combined:
            self._look_up(node, place)
            if self._size(node, place, ()) > MAX_AT_ONCE:
                msg = f"The schema holds one value against over {MAX_AT_ONCE:,} schemas at {place!r}."
                raise SchemaTooLarge(f"{msg} Make its references and combinations fewer.")

    @property
    def has_parts_elsewhere(self) -> bool:
        """Whether a part has an address of its own, which references are then read against."""
        return len(self._resources) > 1

    def plain(self, node: Node) -> Node:
        """The node without what its draft does not read."""
        if self.draft <= _NO_SIBLINGS and "$ref" in node:
            return {"$ref": node["$ref"]}
        return {keyword: node[keyword] for keyword in node if keyword not in self.unknown} if self.unknown else node

    def resolve(self, reference: str, place: str) -> tuple[str, Json] | None:
        """Where a reference from a place points to, and what is there; None if it is outside the document."""
        base = self._resources[next(p for p in upwards(place) if p in self._resources)]
        address, _, fragment = (base + reference if reference.startswith("#") else urljoin(base, reference)).partition(
            "#"
        )
        if address not in self._places:
            return None
        start = self._places[address]
        fragment = unquote(fragment)
        if fragment and not fragment.startswith("/"):
            found = self._places.get(f"{address}#{fragment}")
            return None if found is None else (found, self._at(found))
        try:
            return start + fragment, self._at(start + fragment)
        except (KeyError, IndexError, ValueError, TypeError):
            return None

    def _look_up(self, node: Node, place: str) -> None:
        reference = self.plain(node).get("$ref")
        if isinstance(reference, str) and not (self.resolve(reference, place) or _is_known(reference)):
            self.unresolved.append((place, reference))

    def _at(self, place: str) -> Json:
        found: Json = self.root
        for step in place.split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            found = found[int(name)] if isinstance(found, list) else found[name]  # type: ignore[index]  # what is no part raises
        return found

    def _learn(self, node: Json, place: str, base: str, combined: list[tuple[str, Node]]) -> None:
        """Remember every address and anchor below, and which schemas hold a value against others too."""
        if not isinstance(node, dict):
            return
        if not _MORE_THAN_ONE.isdisjoint(node):
            combined.append((place, node))
        own = node.get("id" if self.draft <= 4 else "$id")  # noqa: PLR2004 - the draft that called it `id`
        if isinstance(own, str) and not (self.draft <= _NO_SIBLINGS and "$ref" in node):
            address, _, anchor = urljoin(base, own).partition("#")
            if own.startswith("#"):
                self._places[f"{base}#{own[1:]}"] = place
            else:
                base = address
                self._resources[place] = base
                self._places.setdefault(base, place)
                if anchor:
                    self._places[f"{base}#{anchor}"] = place
        for name in ("$anchor", "$dynamicAnchor"):
            if isinstance(node.get(name), str):
                self._places[f"{base}#{node[name]}"] = place
        for _, step, inner in parts(node):
            self._learn(inner, place + step, base, combined)

    def _size(self, node: Json, place: str, chain: tuple[str, ...]) -> int:
        """Schemas that a value is held against at a place."""
        if not isinstance(node, dict) or _MORE_THAN_ONE.isdisjoint(node):
            return 1
        if place in self._sizes:
            return self._sizes[place]
        if place in chain:
            msg = f"The schema at {place!r} refers to itself for one and the same value, which never comes to an end."
            raise UserError(f"{msg} Let it refer to itself for a part only, such as a property.")
        if len(chain) >= MAX_CHAIN:
            msg = f"The schema at {chain[0]!r} is {MAX_CHAIN} references and combinations deep for one value."
            raise SchemaTooLarge(f"{msg} Make the chain shorter.")
        node, chain, size = self.plain(node), (*chain, place), 1
        for keyword, step, inner in parts(node):
            if keyword in _ABOUT_THE_SAME:
                size += self._size(inner, place + step, chain)
        for name in _REFERENCES:
            found = self.resolve(str(node[name]), place) if name in node else None
            if found and not (name != "$ref" and found[0] in chain):
                size += self._size(found[1], found[0], chain)
        self._sizes[place] = size
        return size


def parts(node: Mapping[str, Json]) -> Iterator[tuple[str, str, Json]]:
    """The schemas right inside a schema: keyword, the step to it as a JSON pointer, and itself."""
    for keyword, value in node.items():
        if keyword not in _WITH_PARTS:
            continue
        if keyword in MAPS and isinstance(value, dict):
            for name, inner in value.items():
                yield keyword, f"/{keyword}/{escaped(name)}", inner
        elif keyword in LISTS and isinstance(value, list):
            for index, inner in enumerate(value):
                yield keyword, f"/{keyword}/{index}", inner
        elif keyword in SINGLES:
            yield keyword, f"/{keyword}", value


def _is_known(reference: str) -> bool:
    """Whether the validator brings it along: the schemas of JSON Schema itself."""
    return urljoin(reference, "/") in {"http://json-schema.org/", "https://json-schema.org/"}


def escaped(name: str) -> str:
    """A name as a step of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1") if "/" in name or "~" in name else name


def _draft(root: Json) -> int:
    """The number of the draft that a schema says it is written in; the newest if it says nothing."""
    named = root.get("$schema") if isinstance(root, dict) else None
    if not named:
        return 2020
    said = _DIALECT.fullmatch(str(named))
    if said is None or said[1] not in _DRAFTS:
        msg = f"The schema is written in {named!r}, whose keywords are not known. Use draft 2020-12 or an older one."
        raise Unsupported(msg)
    return _DRAFTS[said[1]]


def upwards(place: str) -> Iterator[str]:
    """A place and all that it is in, the document last."""
    while place:
        yield place
        place = place.rpartition("/")[0]
    yield ""


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _read(text: str) -> Node | bool:
    if len(text) > MAX_BYTES:
        raise SchemaTooLarge(f"The schema has {len(text):,} characters, and {MAX_BYTES:,} are read. Make it smaller.")
    try:
        found: Json = json.loads(text, parse_constant=_no_number)
    except RecursionError as error:
        raise SchemaTooLarge(f"The schema is nested deeper than {MAX_DEPTH}. Use `$ref` to name its parts.") from error
    except ValueError as error:
        raise UserError(f"The schema is no JSON: {error}. Pass JSON text, or use `sy.schema(...)`.") from error
    if not isinstance(found, dict | bool):
        raise UserError(f"A JSON schema is an object or a boolean, not {text[:80]!r}. Pass one of these.")
    is_small = len(text) <= MAX_NODES and text.count("[") + text.count("{") < MAX_DEPTH
    nodes, depth = (0, 0) if is_small else measured(found)
    if nodes > MAX_NODES or depth > MAX_DEPTH:
        what = f"has over {MAX_NODES:,} values" if nodes > MAX_NODES else f"is nested deeper than {MAX_DEPTH}"
        raise SchemaTooLarge(f"The schema {what}. Split it, or use `$ref` to name its parts.")
    if "\\ud" in text.lower() and not _is_text(found):
        raise UserError("The schema holds half a character (a lone surrogate), which no text can hold. Take it out.")
    return found


def _is_text(value: Json) -> bool:
    try:
        return bool(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        return False


def measured(value: Json) -> tuple[int, int]:
    """How many values a value holds, itself included, and how deep they are nested; both stop past their limits."""
    nodes, depth, level = 0, 0, [value]
    while level and nodes <= MAX_NODES and depth <= MAX_DEPTH:
        nodes, depth = nodes + len(level), depth + 1
        inside: list[Json] = []
        for one in level:
            inside += one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
        level = inside
    return nodes, depth


@functools.lru_cache(maxsize=128)
def document_of(text: str) -> Document:
    """The schema's document, read once for its masks and for its validator."""
    return Document(text)


__all__ = ["Document", "Json", "Node", "document_of", "escaped", "measured", "parts", "upwards"]
