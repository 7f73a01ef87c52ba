"""A schema as far as a mask can hold to it: everything else is taken out, noted, and looked at in the finished text.

Nothing is ever made stricter: each rewriting accepts all that the original accepts.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Callable
from typing import Literal, TypeAlias, cast

from synthon.core.constraints import How
from synthon.decoding.documents import Document, Json, Node, escaped, measured
from synthon.decoding.ecma import masked

MAX_BRANCHES = 64  # of a `oneOf` that are compared with each other
MAX_COMPARED = 20_000  # pairs of branches, properties and values in all of a schema; 0.2 s
MAX_PATTERNS = 12  # of one text; with each more, llguidance takes up to twice as long, 1 s for 18
_OF_ALL = re.compile(r"(/allOf/\d+)+$")
_EXACT = 2**53  # whole numbers that a double holds
_SLOW_FACTOR = 100_000  # a larger `multipleOf` makes too large an automaton
_AS_IS = frozenset({"type", "enum", "const", "required"})
_COSTLY = frozenset({"pattern", "patternProperties", "multipleOf", "minProperties", "maxProperties"})
_FEW = 100
_COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems"})
_BOUNDS = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"})
_OBJECTS = ("properties", "patternProperties", "additionalProperties")
_ARRAYS = ("prefixItems", "items", "additionalItems")
_ELSEWHERE = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
_NAMES_TWICE = "the values are masked, but a name that is not listed may come twice, and a listed one in escapes"
_AFTER = {
    "not": "a mask cannot say what must not be, but for a type, a required name, or a bound",
    "if": "a mask cannot look back at what was chosen",
    "contains": "a mask does not count", "minContains": "a mask does not count", "maxContains": "a mask does not count",
    "uniqueItems": "a mask does not compare items",
    "propertyNames": "a mask does not read names twice",
    "dependentRequired": "a mask cannot look back at what was chosen",
    "dependentSchemas": "a mask cannot look back at what was chosen",
    "dependencies": "a mask cannot look back at what was chosen",
    "unevaluatedItems": "a mask does not know what other keywords saw",
    "unevaluatedProperties": "a mask does not know what other keywords saw",
    "$dynamicRef": "where it points to is known while a value is read", "$recursiveRef": "same as `$dynamicRef`",
    "contentEncoding": "a mask does not decode", "contentMediaType": "a mask does not decode",
}  # fmt: skip
_BEYOND = {
    "minItems": ("array", "maxItems", -1), "maxItems": ("array", "minItems", 1),
    "minLength": ("string", "maxLength", -1), "maxLength": ("string", "minLength", 1),
}  # fmt: skip
_ENCODINGS = ("base16", "base32", "base32hex", "base64", "base64url")
_CONTENTS = {"contentEncoding": _ENCODINGS, "contentMediaType": ("application/json",)}
_REMARK = "a remark, since there is no such keyword"
_OLD_ONLY = {"contentEncoding": 7, "contentMediaType": 7, "$recursiveRef": 2019}
_KEYWORDS = frozenset({
    *_AS_IS, *_COUNTS, *_BOUNDS, *_AFTER, *_ELSEWHERE, "minProperties", "maxProperties", "multipleOf", "pattern",
    "format",
})  # fmt: skip
_FORMATS = {
    "date": "a mask does not know leap years", "date-time": "a mask knows neither leap years nor leap seconds",
    "time": "a mask does not know leap seconds",
    "duration": "", "email": "", "hostname": "", "ipv4": "", "ipv6": "", "uuid": "", "uri": "",
}  # fmt: skip
Said: TypeAlias = "tuple[str, str, How, str]"  # the fields of a `Soundness`, which few ever ask for
Dropped: TypeAlias = "dict[tuple[str, str], str]"
Knows: TypeAlias = "Callable[[str, int], bool]"


class Loosened:
    """What is left of a schema for a mask, and what became of each keyword.

    It `is_simple` if each of its parts is compiled once and at once: nothing is combined or counted far.

    Args:
        dropped: (place, keyword) to take out besides, with the reason.
        knows: whether a format is one that the validator asserts in a draft.
        disjoint: whether the branches of the `oneOf` at a place exclude each other; what is found is added.
    """

    def __init__(
        self, document: Document, dropped: Dropped, knows: Knows, disjoint: dict[str, bool] | None = None
    ) -> None:
        self._document, self._dropped, self._knows = document, dropped, knows
        self._disjoint = {} if disjoint is None else disjoint
        self._compared = 0
        self.said: list[Said] = []
        self.kept: list[tuple[str, str]] = []
        self.is_simple = True
        self._names: dict[str, str] = {}
        self._patterned: Counter[str] = Counter()
        waiting: list[tuple[str, Json]] = []
        self._waiting = waiting
        root = self._schema(document.root, "")
        definitions: dict[str, Json] = {}
        while waiting:
            place, node = waiting.pop()
            definitions[self._names[place]] = self._schema(node, place)
        self._written = (root, *definitions.values())
        self.schema: Json = {"$defs": definitions, **root} if isinstance(root, dict) else root

    @property
    def levels(self) -> int:
        """How deep the parts are, each inside the one that refers to it."""
        return sum(measured(schema)[1] for schema in self._written)

    def _note(self, keyword: str, place: str, how: How = "enforced", reason: str = "") -> None:
        self.said.append((keyword, place, how, reason))

    def _schema(self, node: Json, place: str) -> Json:
        if not isinstance(node, dict):
            return node
        for keyword in sorted(self._document.unknown.intersection(node)):
            self._note(keyword, place, "checked", f"{_REMARK} in draft {self._document.draft}: it asserts nothing")
        node = self._document.plain(node)
        found: Node = {}
        has_object = False
        for keyword in node:  # names are written in the order in which keywords bring them up
            if keyword in _KEYWORDS:
                self._keyword(keyword, node, place, found)
            elif keyword in _OBJECTS and not has_object:
                found |= self._object(node, place)
                has_object = True
        if not has_object and _may_be(node, "object"):
            self._note("additionalProperties", place, "checked", _NAMES_TWICE)
        if node.keys().isdisjoint(_ARRAYS):
            if _may_be(node, "array"):
                self._note("items", place, "checked", _NAMES_TWICE)
        else:
            found |= self._array(node, place)
        # what stands beside a combination is multiplied out; 72 counted formats take over a second
        is_combined = len(found) > 1 and not _ELSEWHERE.isdisjoint(found)
        self.is_simple &= not is_combined and not ("format" in found and not _COUNTS.isdisjoint(found))
        return found

    def _keyword(self, keyword: str, node: Node, place: str, found: Node) -> None:
        value = node[keyword]
        if keyword == "pattern":
            self._patterned[_OF_ALL.sub("", place)] += 1
        if (place, keyword) in self._dropped:
            self._note(keyword, place, "checked", self._dropped[place, keyword])
        elif keyword in _AFTER:
            self._after(keyword, node, place, found)
        elif keyword in {"minProperties", "maxProperties"}:
            self._take(keyword, place, found, whole(value), "a mask counts a name that comes twice for two")
        elif keyword in _AS_IS or keyword in _COUNTS:
            self._take(keyword, place, found, value if keyword in _AS_IS else whole(value))
            self.is_simple &= keyword in _AS_IS or cast("float", value) <= _FEW
        elif keyword in _BOUNDS or keyword == "multipleOf":
            self._number(keyword, node, place, found)
        elif keyword in {"allOf", "anyOf", "oneOf"}:
            self._combination(keyword, cast("list[Json]", value), place, found)
        elif keyword == "$ref":
            self._reference(str(value), place, found)
        elif keyword == "pattern":
            self._pattern(str(value), place, found)
        else:
            self._format(str(value), place, found)

    def _after(self, keyword: str, node: Node, place: str, found: Node) -> None:
        opposite = _opposite(node[keyword]) if keyword == "not" else None
        if opposite is not None:
            self._keep(keyword, place)
            self._also(found, {"allOf": [opposite]})
        elif _says_something(keyword, node) and self._document.draft <= _OLD_ONLY.get(keyword, 9_999):
            is_known = keyword not in _CONTENTS or node[keyword] in _CONTENTS[keyword]
            remark = f"{node[keyword]!r} is a remark by the standard: it asserts nothing"
            self._note(keyword, place, "checked", _AFTER[keyword] if is_known else remark)

    def _keep(self, keyword: str, place: str, reason: str = "") -> None:
        self.kept.append((place, keyword))
        self._note(keyword, place, "checked" if reason else "enforced", reason)

    def _take(self, keyword: str, place: str, found: Node, value: Json, reason: str = "") -> None:
        found[keyword] = value
        self.is_simple &= keyword not in _COSTLY
        self._keep(keyword, place, reason)

    def _number(self, keyword: str, node: Node, place: str, found: Node) -> None:
        value = node[keyword]
        if isinstance(value, bool):  # draft 4: a flag beside the bound
            self._note(keyword, place)
            return
        number = cast("float", value)
        self.is_simple &= not number % 1
        if abs(number) > (_SLOW_FACTOR if keyword == "multipleOf" else _EXACT):
            self._note(keyword, place, "checked", "the number is too large for a mask")
            return
        if keyword == "multipleOf" and number % 1:
            self._take(keyword, place, found, value, "decimal fractions are rounded when they are read")
            return
        exclusive = f"exclusive{keyword[0].upper()}{keyword[1:]}"
        if keyword in {"minimum", "maximum"} and node.get(exclusive) is True:
            found[exclusive] = value
            self._note(keyword, place)
            return
        self._take(keyword, place, found, value)

    def _combination(self, keyword: str, branches: list[Json], place: str, found: Node) -> None:
        written: list[Json] = [self._schema(branch, f"{place}/{keyword}/{n}") for n, branch in enumerate(branches)]
        if keyword == "oneOf":
            if place not in self._disjoint:
                self._disjoint[place] = len(branches) <= MAX_BRANCHES and all(
                    self._are_disjoint(left, right, place) for left, right in itertools.combinations(branches, 2)
                )
            is_disjoint = self._disjoint[place]
            self._keep("oneOf", place, "" if is_disjoint else "more than one branch may fit")
            self._also(found, {"anyOf": written})
            return
        self.is_simple &= keyword != "allOf"
        self._keep(keyword, place)
        self._also(found, {keyword: written})

    def _also(self, found: Node, more: Node) -> None:
        """Add a keyword, in an `allOf` if it stands there already."""
        ((keyword, value),) = more.items()
        if keyword not in found:
            found[keyword] = value
        elif keyword == "allOf":
            cast("list[Json]", found["allOf"]).extend(cast("list[Json]", value))
        else:
            self._also(found, {"allOf": [more]})

    def _reference(self, reference: str, place: str, found: Node) -> None:
        target = self._document.resolve(reference, place)
        if target is None:
            self._note("$ref", place, "checked", f"{reference!r} is known to the validator only")
            return
        if target[0] not in self._names:
            self._names[target[0]] = f"d{len(self._names)}"
            self._waiting.append((target[0], target[1]))
        self._take("$ref", place, found, f"#/$defs/{self._names[target[0]]}")

    def _pattern(self, pattern: str, place: str, found: Node) -> None:
        written = masked(pattern)
        if self._patterned[_OF_ALL.sub("", place)] > MAX_PATTERNS:
            self._note("pattern", place, "checked", f"a mask holds a text to up to {MAX_PATTERNS} patterns")
        elif written is None:
            self._note("pattern", place, "checked", "no finite automaton says this pattern")
        else:
            self._take("pattern", place, found, written)

    def _format(self, name: str, place: str, found: Node) -> None:
        if not self._knows(name, self._document.draft):
            self._note("format", place, "checked", f"{name!r} is a remark by the standard: it asserts nothing")
        elif name in _FORMATS:
            self._take("format", place, found, name, _FORMATS[name])
        else:
            self._note("format", place, "checked", f"no mask knows {name!r}")

    def _object(self, node: Node, place: str) -> Node:
        found: Node = {}
        for keyword in _OBJECTS:
            if (place, keyword) in self._dropped:
                self._note(keyword, place, "checked", self._dropped[place, keyword])
        patterns = self._patterns(node, place)
        if isinstance(names := self._wanted("properties", node, place), dict):
            inner = {n: self._schema(v, f"{place}/properties/{escaped(n)}") for n, v in names.items()}
            self._take("properties", place, found, inner)
        if patterns:
            self._take("patternProperties", place, found, patterns, _NAMES_TWICE)
        rest = self._wanted("additionalProperties", node, place)
        if rest is not None and (patterns is None or (place, "properties") in self._dropped):
            self._note("additionalProperties", place, "checked", "it depends on names that are checked")
        elif rest is not None:
            written = self._schema(rest, f"{place}/additionalProperties")
            self._take("additionalProperties", place, found, written, "" if rest is False else _NAMES_TWICE)
        elif "additionalProperties" not in node and _may_be(node, "object"):
            self._note("additionalProperties", place, "checked", _NAMES_TWICE)
        return found

    def _patterns(self, node: Node, place: str) -> Node | None:
        """The masked `patternProperties`, empty if there are none, None if they cannot be masked."""
        value = node.get("patternProperties")
        if (place, "patternProperties") in self._dropped:
            return None
        if not isinstance(value, dict):
            return {}
        found: Node = {}
        for pattern, inner in value.items():
            written = masked(pattern)
            if written is None or written in found:
                self._note("patternProperties", place, "checked", f"no finite automaton says the pattern {pattern!r}")
                return None
            found[written] = self._schema(inner, f"{place}/patternProperties/{escaped(pattern)}")
        return found

    def _array(self, node: Node, place: str) -> Node:
        for keyword in _ARRAYS:
            if (place, keyword) in self._dropped:
                self._note(keyword, place, "checked", self._dropped[place, keyword])
        old = self._document.draft < 2020  # noqa: PLR2004 - the draft that split `items` in two
        first = "items" if old and isinstance(node.get("items"), list) else "prefixItems"
        rest = "additionalItems" if first == "items" else "items"
        found: Node = {}
        beginning = None if first == "prefixItems" and old else self._wanted(first, node, place)
        if isinstance(beginning, list):
            inner: Json = [self._schema(item, f"{place}/{first}/{n}") for n, item in enumerate(beginning)]
            self._take(first, place, found, inner)
            if first == "items":
                found["prefixItems"] = found.pop("items")
        after = self._wanted(rest, node, place)
        if (place, first) in self._dropped and after is not None:
            self._note(rest, place, "checked", f"it depends on {first!r}, which is checked")
        elif after is not None:
            written = self._schema(after, f"{place}/{rest}")
            self._take(rest, place, found, written)
            found["items"] = found.pop(rest)
        elif rest not in node and _may_be(node, "array"):
            self._note(rest, place, "checked", _NAMES_TWICE)
        return found

    def _wanted(self, keyword: str, node: Node, place: str) -> Json:
        return None if (place, keyword) in self._dropped else node.get(keyword)

    def _are_disjoint(self, left: Json, right: Json, place: str, depth: int = 4) -> bool:
        """Whether surely no value fits both."""
        self._compared += 1
        left, right = self._followed(left, place), self._followed(right, place)
        if self._compared > MAX_COMPARED:
            return False
        if left is False or right is False:
            return True
        if not (isinstance(left, dict) and isinstance(right, dict) and depth) or "$ref" in {*left, *right}:
            return False
        if not _types(left) & _types(right):
            return True
        values, others = _values(left), _values(right)
        if values is not None and others is not None:
            self._compared += len(values) * len(others)
            return self._compared <= MAX_COMPARED and not any(
                _same(value, other) for value in values for other in others
            )
        if _types(left) & _types(right) != {"object"}:
            return False
        return any(
            self._are_disjoint(_property(left, name), _property(right, name), place, depth - 1)
            for name in {*cast("list[str]", left.get("required", [])), *cast("list[str]", right.get("required", []))}
        )

    def _followed(self, node: Json, place: str) -> Json:
        for _ in range(8):
            if not (isinstance(node, dict) and "$ref" in node) or self._document.has_parts_elsewhere:
                break
            target = self._document.resolve(str(node["$ref"]), place)
            if target is None:
                return True
            place, node = target
        return self._document.plain(node) if isinstance(node, dict) else node


def _says_something(keyword: str, node: Node) -> bool:
    """Whether a keyword, as it stands there, refuses any value at all."""
    value = node[keyword]
    if keyword == "if":
        return "then" in node or "else" in node
    if keyword in {"minContains", "maxContains"}:
        return "contains" in node
    if keyword in {"uniqueItems", "not"}:
        return value is not False
    return keyword.startswith(("contains", "$")) or value not in (True, {})


def _opposite(node: Json) -> Json:
    """A schema of exactly the values that do not fit a simple one; None where masks know none."""
    if not node or node is True:
        return node is False
    assert isinstance(node, dict)  # noqa: S101 - the schema was found valid
    ((keyword, value), *others) = node.items()
    if keyword == "required" and isinstance(value, list) and len(value) == 1 and not others:
        return {"type": "object", "properties": {str(value[0]): False}}
    if keyword in _BEYOND and not others:
        kind, bound, by = _BEYOND[keyword]
        return {"type": kind, bound: cast("int", whole(value)) + by} if value or by > 0 else False
    refused = {str(kind) for kind in (value if isinstance(value, list) else [value])}
    if keyword != "type" or others or ("integer" in refused and "number" not in refused):
        return None
    rest: list[Json] = [kind for kind in _ALL if kind not in {*refused, "integer"}]
    return {"type": rest} if rest else False


def whole(value: Json) -> Json:
    """A count as an int; JSON Schema takes 2.0 for one too."""
    return int(value) if isinstance(value, float) else value


def _property(node: Node, name: str) -> Json:
    named = node.get("properties")
    if isinstance(named, dict) and name in named:
        return named[name]
    return bool(node.get("additionalProperties") is not False or node.get("patternProperties"))


def _types(node: Node) -> set[str]:
    """The types a value of this schema may have, as far as it says so itself."""
    said = node.get("type")
    names = {said} if isinstance(said, str) else set(cast("list[str]", said or _ALL))
    names |= {"integer"} if "number" in names else set()
    values = _values(node)
    return names if values is None else names & set(map(_type, values))


def _values(node: Node) -> list[Json] | None:
    if "const" in node:
        return [node["const"]]
    return cast("list[Json]", node["enum"]) if "enum" in node else None


def _type(value: Json) -> str:
    if isinstance(value, bool) or value is None:
        return "null" if value is None else "boolean"
    if isinstance(value, float):
        return "integer" if value.is_integer() else "number"
    kinds = {int: "integer", str: "string", list: "array", dict: "object"}
    return kinds[type(value)]


def _same(left: Json, right: Json) -> bool:
    return left == right and isinstance(left, bool) == isinstance(right, bool)


def _may_be(node: Node, kind: Literal["array", "object"]) -> bool:
    """Whether a value may have this type and the schema does not say elsewhere what it looks like."""
    said = node.get("type")
    if "enum" in node or "const" in node or (said is None and not _ELSEWHERE.isdisjoint(node)):
        return False
    return said == kind if isinstance(said, str) else kind in cast("list[str]", said or _ALL)


_ALL = ("array", "boolean", "integer", "null", "number", "object", "string")

__all__ = ["Dropped", "Loosened", "Said", "whole"]
