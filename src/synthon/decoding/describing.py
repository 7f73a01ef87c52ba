"""A schema rewritten so that to say what a value does not keep to takes no longer than to see that it does not."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, unquote

from synthon.decoding.documents import LISTS, MAPS, SINGLES, Document, Json, Node, escaped, parts, upwards

if TYPE_CHECKING:
    from jsonschema_rs import ValidationError

_UNIONS = ("anyOf", "oneOf")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_CONDITIONS = ("if", "then", "else")
_WHOLE = frozenset({"allOf", *_REFERENCES, *_CONDITIONS, "dependentSchemas", "dependencies", "patternProperties"})
_JUDGED = frozenset({"if", "not", "contains", "propertyNames"})  # of these the validator only asks whether they fit
_LOOK_BACK = frozenset({"unevaluatedItems", "unevaluatedProperties"})  # they would see nothing of what is taken whole
_NO_WAYS = _JUDGED.union(_UNIONS, _LOOK_BACK, {"$defs", "definitions"})
_SAYS = {
    "anyOf": "is not valid under any of the schemas listed in the 'anyOf' keyword",
    "oneOf": "is not valid under exactly one of the schemas listed in the 'oneOf' keyword",
    "allOf": "is not valid under all of the schemas listed in the 'allOf' keyword",
}


def describable(document: Document) -> Json:
    """The schema with each part about which the validator would say something for every way through it taken whole.

    The validator lists the errors of all branches, of the branches inside them, and so on: 5 times the work every two
    levels of an answer. Under two `not` it only looks whether a part fits, once for each value.
    What is kept unchanged: a schema where neither a branch nor a reference can lead to another branch.
    """
    places = _Places(document)
    return _Rewriting(document, places).root if places.are_costly else document.root


def message(error: ValidationError) -> str:
    """What an error says, in the words of the keyword that was taken whole."""
    inner = error.kind.value if error.kind.name == "not" else None
    if not (isinstance(inner, dict) and inner.keys() == {"not"} and isinstance(inner["not"], dict)):
        return error.message
    keyword = next(iter(inner["not"]), "not")
    value = json.dumps(error.instance, ensure_ascii=False, separators=(",", ":"))
    return f"{value} {_SAYS.get(keyword, f'is not valid under the schema of the {keyword!r} keyword')}"


class _Places:
    """Which parts of a schema lead to a union, and which to themselves or to what does."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._next: dict[str, list[str]] = {}
        self._unions: list[str] = []
        waiting: list[tuple[str, Json]] = [("", document.root)]
        while waiting:
            place, node = waiting.pop()
            if place in self._next:
                continue
            inner = list(self._inside(node, place))
            self._next[place] = [step for step, _ in inner]
            waiting += inner
            if isinstance(node, dict) and not node.keys().isdisjoint(_UNIONS):
                self._unions.append(place)
        before: defaultdict[str, list[str]] = defaultdict(list)
        for place, steps in self._next.items():
            for step in steps:
                before[step].append(place)
        self._circling = self._next.keys() - _peeled(self._next, before)
        above = _reached([place for union in self._unions for place in before[union]], before)
        self.are_costly = bool(self._circling) or not above.isdisjoint(self._unions)

    def ways(self, node: Node, place: str) -> frozenset[str]:
        """The keywords to take whole, as a value of any depth is read through more than one of them."""
        node = self._document.plain(node)
        found = [name for name, step, _ in parts(node) if name not in _NO_WAYS and place + step in self._circling]
        for name in _REFERENCES:
            target = self._document.resolve(str(node[name]), place) if name in node else None
            found += [name] if target and target[0] in self._circling else []
        return _WHOLE.intersection(found) if len(found) > 1 else frozenset()

    def _inside(self, node: Json, place: str) -> Iterator[tuple[str, Json]]:
        if not isinstance(node, dict):
            return
        node = self._document.plain(node)
        yield from ((place + step, inner) for _, step, inner in parts(node))
        for name in _REFERENCES:
            if name in node and (found := self._document.resolve(str(node[name]), place)):
                yield found


def _peeled(after: dict[str, list[str]], before: dict[str, list[str]]) -> set[str]:
    """The places from which every way comes to an end."""
    left = {place: len(steps) for place, steps in after.items()}
    ended = [place for place, count in left.items() if not count]
    for place in ended:
        for earlier, count in Counter(before[place]).items():
            left[earlier] -= count
            ended += [] if left[earlier] else [earlier]
    return set(ended)


def _reached(starts: list[str], steps: dict[str, list[str]]) -> set[str]:
    found, waiting = set(starts), list(starts)
    while waiting:
        new = set(steps[waiting.pop()]) - found
        found |= new
        waiting += new
    return found


class _Rewriting:
    def __init__(self, document: Document, places: _Places) -> None:
        self._document, self._places = document, places
        self._moved: dict[str, str] = {}
        self.root = self._redirected(self._node(document.root, ""))

    def _node(self, node: Json, place: str) -> Json:
        if not isinstance(node, dict):
            return node
        ways = self._places.ways(node, place)
        whole = {name for name in node if name in _UNIONS or name in ways}
        whole |= set(_CONDITIONS) if whole & {"then", "else"} else set()
        found = {name: self._part(name, value, place) for name, value in node.items() if name not in whole | _LOOK_BACK}
        taken: list[Node] = [{name: node[name]} for name in whole - set(_CONDITIONS) if name in node]
        if "if" in whole:
            taken.append({name: node[name] for name in _CONDITIONS if name in node})
        if taken:
            beside = cast("list[Json]", found.get("allOf", []))
            found["allOf"] = beside + [{"not": {"not": part}} for part in taken]
            for number, part in enumerate(taken, len(beside)):
                self._moved |= {f"{place}/{name}": f"{place}/allOf/{number}/not/not/{name}" for name in part}
        return found

    def _part(self, keyword: str, value: Json, place: str) -> Json:
        place = f"{place}/{keyword}"
        if keyword in MAPS and isinstance(value, dict):
            return {name: self._node(inner, f"{place}/{escaped(name)}") for name, inner in value.items()}
        if keyword in LISTS and isinstance(value, list):
            return [self._node(inner, f"{place}/{number}") for number, inner in enumerate(value)]
        return self._node(value, place) if keyword in SINGLES and keyword not in _JUDGED else value

    def _redirected(self, value: Json) -> Json:
        """The value with references to what was moved pointing to where it is now."""
        if isinstance(value, list):
            return list(map(self._redirected, value))
        if not isinstance(value, dict):
            return value
        found = {name: self._redirected(inner) for name, inner in value.items()}
        if isinstance(reference := found.get("$ref"), str) and reference.startswith("#/"):
            place = unquote(reference[1:])
            old = next((start for start in upwards(place) if start in self._moved), "")
            found["$ref"] = f"#{quote(self._moved[old] + place[len(old) :])}" if old else reference
        return found


__all__ = ["describable", "message"]
