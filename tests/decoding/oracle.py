"""An oracle for predicates: which tokens may follow, found by walking every state of the predicates' definitions.

It shares nothing with what it judges: no grammar, no automaton over bytes, no plan of the count. Each predicate is a
small machine that reads characters and forgets what can no longer matter, so its states are finite; a composition's
state is the tuple of its machines' states, and the search for a completion goes through all of them.

`TOKENS` is a vocabulary in which every character that `composition` may mention has a twin it never mentions, as every
byte is a token of a real model.
"""

from __future__ import annotations

import codecs
import functools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn, Protocol, TypeAlias

from hypothesis import reject

from synthon.core.constraints import Both, Bounds, Choice, Either, Regex, Textual, Where, choice, regex, where
from synthon.decoding import Vocabulary

MENTIONED = ("a", "b", "c", " ", "\n", "é")
_MOVES = 300_000
_WRITTEN = (
    "a", "b", "c", "z", " ", "\n", "\t", "é", "è", "ab", "ba", "aa", "bb", "abc", "cab", " a", " b", "a ", "b ", "  ",
    "\n\n", " \n", "ca", "bc", "aab", "abab", "éa", "é ", "z ", " z", "zz", "abcabc", "c c", " ab ",
)  # fmt: skip
TOKENS = (*(text.encode() for text in _WRITTEN), b"\xc3", b"\xa9", b"\xa8", b"a\xc3", b"\xa9b", b"\xa9 ", b"\xa8\xc3")
CONTROL, END = len(TOKENS), len(TOKENS) + 1


@functools.cache
def _whole() -> Vocabulary:
    return vocabulary([*TOKENS, b"<user>", b"<end>"], ends={END}, control={CONTROL})


def vocabulary(
    tokens: Sequence[bytes] | None = None, *, ends: set[int] | None = None, control: set[int] | None = None
) -> Vocabulary:
    """Tokens as a model would have them, a text split by its longest tokens first; by default `TOKENS`."""
    if tokens is None:
        return _whole()
    last, barred = ends or {len(tokens) - 1}, (ends or set()) | (control or set())
    usable = sorted(((text, number) for number, text in enumerate(tokens) if number not in barred), key=_longest_first)

    def tokenize(text: bytes) -> list[int]:
        found = []
        while text:
            token, number = next(pair for pair in usable if text.startswith(pair[0]))
            found.append(number)
            text = text[len(token) :]
        return found

    known = frozenset(control or ())
    return Vocabulary(tokens, ends=frozenset(last), eos=max(last), control=known, tokenize=tokenize)


def _longest_first(pair: tuple[bytes, int]) -> int:
    return -len(pair[0])


class Machine(Protocol):
    """A predicate at one place of a text."""

    @property
    def holds(self) -> bool: ...
    def read(self, character: str) -> Machine: ...


@dataclass(frozen=True)
class Count:
    """Characters, or tokens, which are counted from outside."""

    unit: str
    bounds: Bounds
    count: int = 0

    @property
    def holds(self) -> bool:
        return self.bounds[0] <= self.count and (self.bounds[1] is None or self.count <= self.bounds[1])

    def read(self, character: str) -> Count:
        return self.more() if self.unit == "length" else self

    def more(self) -> Count:
        least, most = self.bounds
        return replace(self, count=min(self.count + 1, least if most is None else most + 1))


@dataclass(frozen=True)
class Words:
    count: Count
    inside: bool = False

    @property
    def holds(self) -> bool:
        return self.count.holds

    def read(self, character: str) -> Words:
        begins = not self.inside and not character.isspace()
        return Words(self.count.more() if begins else self.count, not character.isspace())


@dataclass(frozen=True)
class Occurs:
    """How one of the texts has occurred: not yet, just here for the first time, or before."""

    texts: tuple[str, ...]
    wanted: str
    read_last: str = ""
    seen: str = "never"

    @property
    def holds(self) -> bool:
        return self.seen == self.wanted

    def read(self, character: str) -> Occurs:
        if self.seen != "never":
            return replace(self, read_last="", seen="before")
        last = self.read_last + character
        here = any(last.endswith(text) for text in self.texts)
        while not any(text.startswith(last) for text in self.texts):
            last = last[1:]
        return replace(self, read_last=last, seen="here" if here else "never")


@dataclass(frozen=True)
class Begins:
    """The first characters, as long as a text begins so, at most up to its end where the whole text is not meant."""

    texts: tuple[str, ...]
    whole: bool
    first: str = ""

    @property
    def holds(self) -> bool:
        return self.first in self.texts if self.whole else self.first.startswith(self.texts)

    def read(self, character: str) -> Begins:
        first = self.first + character
        if not self.whole and first.startswith(self.texts):
            return replace(self, first=min(text for text in self.texts if first.startswith(text)))
        return replace(self, first=first if any(text.startswith(first) for text in self.texts) else "\0")


@dataclass(frozen=True)
class Tree:
    """A regular expression: `set` of characters, `not` of them, `then`, `or`, or `times` of what is never empty."""

    kind: str
    characters: str = ""
    parts: tuple[Tree, ...] = ()
    least: int = 0
    most: int | None = None

    @property
    def pattern(self) -> str:
        inner = [part.pattern for part in self.parts]
        match self.kind:
            case "set" | "not":
                return f"[{'^' if self.kind == 'not' else ''}{self.characters}]"
            case "then":
                return "".join(inner)
            case "or":
                return f"(?:{'|'.join(inner)})"
        return f"(?:{inner[0]}){{{self.least},{'' if self.most is None else self.most}}}"

    @property
    def may_be_empty(self) -> bool:
        empty = [part.may_be_empty for part in self.parts]
        return {"then": all(empty), "or": any(empty), "times": self.least == 0}.get(self.kind, False)


Rest: TypeAlias = tuple[Tree, ...]


@dataclass(frozen=True)
class Matches:
    """All that may be left of the expression (Antimirov's partial derivatives)."""

    left: frozenset[Rest]

    @property
    def holds(self) -> bool:
        return any(all(part.may_be_empty for part in rest) for rest in self.left)

    def read(self, character: str) -> Matches:
        return Matches(frozenset(then for rest in self.left for then in _after(rest, character)))


def _after(rest: Rest, character: str) -> Iterator[Rest]:
    if not rest:
        return
    first, then = rest[0], rest[1:]
    match first.kind:
        case "set" | "not":
            if (character in first.characters) == (first.kind == "set"):
                yield then
        case "then":
            yield from _after((*first.parts, *then), character)
        case "or":
            for part in first.parts:
                yield from _after((part, *then), character)
        case "times":
            if first.most != 0:
                most = None if first.most is None else first.most - 1
                again = replace(first, least=max(first.least - 1, 0), most=most)
                yield from _after((first.parts[0], again, *then), character)
            if first.least == 0:
                yield from _after(then, character)


State: TypeAlias = tuple[bytes, tuple[int, ...]]
Plan: TypeAlias = "int | tuple[Callable[[Iterable[bool]], bool], list[Plan]]"


class Oracle:
    """Answers for one constraint; `trees` holds the regular expressions in it by their patterns.

    What needs more than `_MOVES` moves is given up, by a property for another example: it would take minutes.
    """

    def __init__(
        self, constraint: Textual, trees: Mapping[str, Tree], give_up: Callable[[], NoReturn] = reject
    ) -> None:
        first: list[Machine] = []
        self._give_up = give_up
        self._plan = _plan(constraint, trees, first)
        self._places = [[machine] for machine in first]
        self._numbers = [{machine: 0} for machine in first]
        self._read: dict[tuple[int, int, str], int] = {}
        self._moves: dict[tuple[State, int], State | None] = {}
        self._alive: set[State] = set()
        self._dead: set[State] = set()
        self.start: State = (b"", (0,) * len(first))

    def allowed(self, state: State) -> set[int]:
        """The tokens after which some completion is right; END where the text is right as it is."""
        found = {token for token in range(len(TOKENS)) if self._lives(self.after(state, token))}
        return found | {END} if self.accepts(state) else found

    def accepts(self, state: State) -> bool:
        pending, places = state
        held = [machines[place].holds for machines, place in zip(self._places, places, strict=True)]
        return not pending and _decide(self._plan, held)

    def after(self, state: State, token: int) -> State | None:
        """The state after a token, None where its bytes make no text."""
        if (state, token) not in self._moves:
            if len(self._moves) > _MOVES:
                self._give_up()
            self._moves[state, token] = self._moved(state, TOKENS[token])
        return self._moves[state, token]

    def _moved(self, state: State, token: bytes) -> State | None:
        pending, places = state
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            text = decoder.decode(pending + token)
        except UnicodeDecodeError:
            return None
        return decoder.getstate()[0], tuple(self._after(which, place, text) for which, place in enumerate(places))

    def _after(self, which: int, place: int, text: str) -> int:
        key = (which, place, text)
        if key not in self._read:
            machine = self._places[which][place]
            for character in text:
                machine = machine.read(character)
            if isinstance(machine, Count) and machine.unit == "tokens":
                machine = machine.more()
            number = self._numbers[which].setdefault(machine, len(self._numbers[which]))
            self._places[which][number:] = self._places[which][number:] or [machine]
            self._read[key] = number
        return self._read[key]

    def _lives(self, state: State | None) -> bool:
        if state is None or state in self._dead:
            return False
        came: dict[State, State | None] = {state: None}
        waiting = [state]
        while waiting:
            here: State | None = waiting.pop()
            assert here is not None
            if here in self._alive or self.accepts(here):
                while here is not None:
                    self._alive.add(here)
                    here = came[here]
                return True
            for token in range(len(TOKENS)):
                then = self.after(here, token)
                if then is not None and then not in came and then not in self._dead:
                    came[then] = here
                    waiting.append(then)
        self._dead.update(came)
        return False


def _plan(constraint: Textual, trees: Mapping[str, Tree], machines: list[Machine]) -> Plan:
    """How the constraint is decided from its machines, which are put into the list."""
    match constraint:
        case Both(parts):
            return all, [_plan(part, trees, machines) for part in parts]
        case Either(parts):
            return any, [_plan(part, trees, machines) for part in parts]
        case Choice(options):
            made: list[Machine] = [Begins(options, whole=True)]
        case Regex(pattern):
            made = [Matches(frozenset({(trees[pattern],)}))]
        case Where():
            made = list(_asked(constraint, trees))
    machines += made
    return all, list(range(len(machines) - len(made), len(machines)))


def _asked(constraint: Where, trees: Mapping[str, Tree]) -> Iterator[Machine]:
    if constraint.length is not None:
        yield Count("length", constraint.length)
    if constraint.words is not None:
        yield Words(Count("words", constraint.words))
    if constraint.tokens is not None:
        yield Count("tokens", constraint.tokens)
    if constraint.stops_at:
        yield Occurs(constraint.stops_at, "here")
    if constraint.startswith:
        yield Begins(constraint.startswith, whole=False)
    if constraint.choice:
        yield Begins(constraint.choice, whole=True)
    if constraint.matches is not None:
        yield Matches(frozenset({(trees[constraint.matches],)}))
    if constraint.excludes:
        yield Occurs(constraint.excludes, "never")


def _decide(plan: Plan, held: Sequence[bool]) -> bool:
    if isinstance(plan, int):
        return held[plan]
    decide, parts = plan
    return decide([_decide(part, held) for part in parts])


def composition(chance: random.Random, *, depth: int = 2, counts: bool = True) -> tuple[Textual, dict[str, Tree]]:
    """A random constraint, and its regular expressions by their patterns; without `counts`, none of `tokens`."""
    trees: dict[str, Tree] = {}
    return _composed(chance, depth, trees, counts=counts), trees


def _composed(chance: random.Random, depth: int, trees: dict[str, Tree], *, counts: bool) -> Textual:
    if depth and chance.random() < 0.6:
        left, right = (_composed(chance, depth - 1, trees, counts=counts) for _ in range(2))
        return left & right if chance.random() < 0.5 else left | right
    kind = chance.randrange(6)
    if kind == 0:
        return choice(*_texts(chance, 4, 6))
    if kind == 1:
        return regex(_pattern(chance, trees))
    return _where(chance, trees, counts=counts)


def _where(chance: random.Random, trees: dict[str, Tree], *, counts: bool) -> Where:
    names = ("length", "words", "tokens", "stops_at", "startswith", "choice", "matches", "excludes")
    weights = (3, 3, 5 if counts else 0, 3, 2, 1, 2, 3)
    asked = set(chance.choices(names, weights, k=chance.randint(1, 3)))
    return where(
        length=_bounds(chance, 9) if "length" in asked else None,
        words=_bounds(chance, 4) if "words" in asked else None,
        tokens=_bounds(chance, 6) if "tokens" in asked else None,
        stops_at=_texts(chance, 3, 3) if "stops_at" in asked else (),
        startswith=_texts(chance, 3, 3) if "startswith" in asked else (),
        choice=_texts(chance, 4, 6) if "choice" in asked else (),
        matches=_pattern(chance, trees) if "matches" in asked else None,
        excludes=_texts(chance, 3, 2) if "excludes" in asked else (),
    )


def _bounds(chance: random.Random, most: int) -> tuple[int, int | None]:
    first, last = sorted((chance.randint(0, most), chance.randint(0, most)))
    return first, None if chance.random() < 0.25 else last


def _texts(chance: random.Random, count: int, length: int) -> tuple[str, ...]:
    return tuple(
        "".join(chance.choices(MENTIONED, (4, 4, 2, 2, 1, 1), k=chance.randint(1, length)))
        for _ in range(chance.randint(1, count))
    )


def _pattern(chance: random.Random, trees: dict[str, Tree]) -> str:
    tree = _tree(chance, 3)
    trees[tree.pattern] = tree
    return tree.pattern


def _tree(chance: random.Random, depth: int) -> Tree:
    kind = (
        chance.choice(("set", "not", "then", "then", "or", "times", "times"))
        if depth
        else chance.choice(("set", "not"))
    )
    if kind in {"set", "not"}:
        return Tree(kind, "".join(chance.sample(MENTIONED, chance.randint(1, 3))))
    if kind == "times":
        part = _tree(chance, depth - 1)
        while part.may_be_empty:
            part = _tree(chance, depth - 1)
        least = chance.randint(0, 2)
        return Tree(kind, parts=(part,), least=least, most=chance.choice((None, least + chance.randint(1, 3))))
    return Tree(kind, parts=tuple(_tree(chance, depth - 1) for _ in range(chance.randint(2, 3))))
