"""Regular languages: patterns joined by and, or, not; read by derivatives, one character at a time.

A `Language` is what a predicate says about a text, free of any engine. `in_lark` writes it for a mask. `Reader` follows
it through a text (Brzozowski 1964, with the similarities of Owens, Reppy, Turon 2009): an expression's derivative by a
character is the expression that the rest of the text has to match.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeAlias

from synthon.core.light import dataclass

LAST = 0x10FFFF
Span: TypeAlias = tuple[int, int]
_PIECE = re.compile(r"\(\?:|[()|*+?]|\{\d+(?:,\d*)?\}|\[\^?[^\]]*\]|\\x\{[0-9a-f]+\}|[A-Za-z0-9]")
_SPAN = re.compile(r"(\\x\{[0-9a-f]+\}|[A-Za-z0-9])(?:-(\\x\{[0-9a-f]+\}|[A-Za-z0-9]))?")


@dataclass(frozen=True, slots=True)
class Pattern:
    """Texts that match the whole of a pattern, as `patterns.rust` writes it."""

    rust: str


@dataclass(frozen=True, slots=True)
class All:
    """Texts in every part."""

    parts: tuple[Language, ...]


@dataclass(frozen=True, slots=True)
class OneOf:
    """Texts in at least one part."""

    parts: tuple[Language, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Texts outside."""

    part: Language


Language: TypeAlias = Pattern | All | OneOf | Not


def in_lark(language: Language) -> str:
    """The language as the right side of a terminal in llguidance's Lark, whose `~` binds tighter than `&` and `|`."""
    match language:
        case Pattern(rust):
            return f"/{rust}/" if rust else '""'
        case All(parts):
            return f"({' & '.join(map(in_lark, parts))})"
        case OneOf(parts):
            return f"({' | '.join(map(in_lark, parts))})"
        case Not(part):
            return f"~({in_lark(part)})"


def patterns_of(language: Language) -> Iterable[str]:
    """Every pattern in the language, in order."""
    match language:
        case Pattern(rust):
            yield rust
        case Not(part):
            yield from patterns_of(part)
        case All(parts) | OneOf(parts):
            for part in parts:
                yield from patterns_of(part)


def classes_of(languages: Iterable[Language]) -> list[tuple[Span, ...]]:
    """The characters, parted so that no pattern in the languages tells two of one class apart."""
    sets = list({_spans(piece) for each in languages for rust in patterns_of(each) for piece in _sets(rust)})
    starts = sorted({0, LAST + 1, *(start for spans in sets for first, last in spans for start in (first, last + 1))})
    member = dict.fromkeys(starts, 0)
    position = {start: index for index, start in enumerate(starts)}
    for number, spans in enumerate(sets):
        for first, last in spans:
            for start in starts[position[first] : position[last + 1]]:
                member[start] |= 1 << number
    found: dict[int, list[Span]] = {}
    for start, end in pairwise(starts):
        found.setdefault(member[start], []).append((start, end - 1))
    return [tuple(spans) for spans in found.values()]


def _sets(rust: str) -> Iterable[str]:
    return (piece for piece in set(_PIECE.findall(rust)) if piece[0] in "[\\" or piece.isalnum())


def _spans(piece: str) -> tuple[Span, ...]:
    """The characters of `[..]`, `[^..]`, or of one character."""
    negated, body = piece.startswith("[^"), piece.removeprefix("[").removeprefix("^").removesuffix("]")
    spans = sorted((_code(first), _code(last or first)) for first, last in _SPAN.findall(body))
    return tuple(_complement(spans)) if negated else tuple(spans)


def _complement(spans: Sequence[Span]) -> Iterable[Span]:
    after = 0
    for first, last in spans:
        if first > after:
            yield after, first - 1
        after = max(after, last + 1)
    if after <= LAST:
        yield after, LAST


def _code(piece: str) -> int:
    return int(piece[3:-1], 16) if piece.startswith("\\x{") else ord(piece)


class Reader:
    """Expressions over character classes, each kept once, as numbers: 0 matches nothing, 1 the empty text, 2 all texts.

    Args:
        classes: as `classes_of` gives them; a character is the number of its class.
    """

    NOTHING, EMPTY, ANYTHING = 0, 1, 2

    def __init__(self, classes: Sequence[tuple[Span, ...]]) -> None:
        self._classes = classes
        self._every = (1 << len(classes)) - 1
        self._nodes: list[tuple[str, tuple[int, ...]]] = [("nothing", ()), ("empty", ()), ("anything", ())]
        self._numbers = {node: number for number, node in enumerate(self._nodes)}
        self.matches_empty = [False, True, True]
        self._after: dict[tuple[int, int], int] = {}
        self._masks: dict[str, int] = {}

    def read(self, language: Language) -> int:
        """The language's expression."""
        match language:
            case Pattern(rust):
                return _Notation(self, rust).read()
            case All(parts):
                return self.both(map(self.read, parts))
            case OneOf(parts):
                return self.either(map(self.read, parts))
            case Not(part):
                return self.negation(self.read(part))

    def characters(self, piece: str) -> int:
        """One character of a set, `[..]` or a character."""
        if piece not in self._masks:
            starts = [(first, last) for first, last in _spans(piece)]
            self._masks[piece] = sum(
                1 << number
                for number, spans in enumerate(self._classes)
                if any(first <= spans[0][0] <= last for first, last in starts)
            )
        mask = self._masks[piece]
        return self._made("set", (mask,), matches_empty=False) if mask else self.NOTHING

    def sequence(self, first: int, then: int) -> int:
        """One after the other."""
        if self.NOTHING in {first, then}:
            return self.NOTHING
        if first == self.EMPTY:
            return then
        if then == self.EMPTY or first == then == self.ANYTHING:
            return first
        heads = [first]
        while self._nodes[heads[-1]][0] == "sequence":
            heads[-1:] = self._nodes[heads[-1]][1]
        for head in reversed(heads):
            both_empty = self.matches_empty[head] and self.matches_empty[then]
            then = self._made("sequence", (head, then), matches_empty=both_empty)
        return then

    def either(self, parts: Iterable[int]) -> int:
        """One of the parts; parts that begin with the same are joined, so that long lists stay small."""
        tails: dict[int, list[int]] = {}
        found: set[int] = set()
        for part in self._flat("either", parts):
            kind, arguments = self._nodes[part]
            if kind == "sequence":
                tails.setdefault(arguments[0], []).append(arguments[1])
            else:
                found.add(part)
        for first, then in tails.items():
            found.add(self.sequence(first, self.either(then) if len(then) > 1 else then[0]))
        found.discard(self.NOTHING)
        if self.ANYTHING in found:
            return self.ANYTHING
        if self.EMPTY in found and any(self.matches_empty[part] for part in found if part != self.EMPTY):
            found.discard(self.EMPTY)
        matches_empty = any(self.matches_empty[part] for part in found)
        return self._joined("either", found, self.NOTHING, matches_empty=matches_empty)

    def both(self, parts: Iterable[int]) -> int:
        """All of the parts."""
        found = set(self._flat("both", parts)) - {self.ANYTHING}
        matches_empty = all(self.matches_empty[part] for part in found)
        if self.EMPTY in found:
            return self.EMPTY if matches_empty else self.NOTHING
        if self.NOTHING in found:
            return self.NOTHING
        return self._joined("both", found, self.ANYTHING, matches_empty=matches_empty)

    def negation(self, part: int) -> int:
        """Everything else."""
        if part in {self.NOTHING, self.ANYTHING}:
            return self.ANYTHING - part
        kind, arguments = self._nodes[part]
        if kind == "not":
            return arguments[0]
        return self._made("not", (part,), matches_empty=not self.matches_empty[part])

    def repetition(self, part: int, least: int, most: int | None) -> int:
        """`least` to `most` of the part in a row, any number where `most` is None."""
        if most == 0 or part == self.EMPTY or (part == self.NOTHING and not least):
            return self.EMPTY
        if part in {self.NOTHING, self.ANYTHING} or (least, most) == (1, 1):
            return part
        least = 0 if self.matches_empty[part] else least
        if (least, most) == (0, None) and self._nodes[part] == ("set", (self._every,)):
            return self.ANYTHING
        bounds = (part, least, -1 if most is None else most)
        return self._made("repetition", bounds, matches_empty=least == 0)

    def after(self, expression: int, character: int) -> int:
        """What the rest has to match after a character of this class."""
        known = self._after.get((expression, character))
        if known is None:
            known = self._after[expression, character] = self._derived(expression, character)
        return known

    def _derived(self, expression: int, character: int) -> int:
        kind, arguments = self._nodes[expression]
        match kind:
            case "set":
                return self.EMPTY if arguments[0] >> character & 1 else self.NOTHING
            case "sequence":
                first, then = arguments
                rest = self.sequence(self.after(first, character), then)
                return self.either((rest, self.after(then, character))) if self.matches_empty[first] else rest
            case "either":
                return self.either([self.after(part, character) for part in arguments])
            case "both":
                return self.both([self.after(part, character) for part in arguments])
            case "not":
                return self.negation(self.after(arguments[0], character))
            case "repetition":
                part, least, most = arguments
                rest = self.repetition(part, max(least - 1, 0), None if most < 0 else most - 1)
                return self.sequence(self.after(part, character), rest)
        return self.ANYTHING if expression == self.ANYTHING else self.NOTHING

    def _flat(self, kind: str, parts: Iterable[int]) -> Iterable[int]:
        for part in parts:
            if self._nodes[part][0] == kind:
                yield from self._nodes[part][1]
            else:
                yield part

    def _joined(self, kind: str, parts: set[int], neutral: int, *, matches_empty: bool) -> int:
        if not parts:
            return neutral
        if len(parts) == 1:
            return parts.pop()
        return self._made(kind, tuple(sorted(parts)), matches_empty=matches_empty)

    def _made(self, kind: str, arguments: tuple[int, ...], *, matches_empty: bool) -> int:
        number = self._numbers.setdefault((kind, arguments), len(self._nodes))
        if number == len(self._nodes):
            self._nodes.append((kind, arguments))
            self.matches_empty.append(matches_empty)
        return number


class _Notation:
    """Reads the few forms that `patterns.rust` writes."""

    def __init__(self, reader: Reader, rust: str) -> None:
        self._reader = reader
        self._pieces = [*_PIECE.findall(rust), ""]
        self._at = 0

    def read(self) -> int:
        branches = [self._branch()]
        while self._pieces[self._at] == "|":
            self._at += 1
            branches.append(self._branch())
        return self._reader.either(branches)

    def _branch(self) -> int:
        found: list[int] = []
        while self._pieces[self._at] not in {"", "|", ")"}:
            found.append(self._repeated())
        expression = self._reader.EMPTY
        for part in reversed(found):
            expression = self._reader.sequence(part, expression)
        return expression

    def _repeated(self) -> int:
        expression = self._atom()
        while (sign := self._pieces[self._at])[:1] in {"*", "+", "?", "{"} and sign:
            self._at += 1
            least, most = _bounds(sign)
            expression = self._reader.repetition(expression, least, most)
        return expression

    def _atom(self) -> int:
        piece = self._pieces[self._at]
        self._at += 1
        if piece == "(?:":
            expression = self.read()
            self._at += 1
            return expression
        return self._reader.characters(piece)


def _bounds(sign: str) -> tuple[int, int | None]:
    if sign in {"*", "+", "?"}:
        return {"*": (0, None), "+": (1, None), "?": (0, 1)}[sign]
    least, comma, most = sign[1:-1].partition(",")
    if not comma:
        return int(least), int(least)
    return int(least), int(most) if most else None


__all__ = ["LAST", "All", "Language", "Not", "OneOf", "Pattern", "Reader", "Span", "classes_of", "in_lark"]
