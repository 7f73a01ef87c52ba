"""Say a Python regular expression in the syntax that masks are made from, with exactly the same language.

Python's own parser reads the pattern, and each single-character set is written as code points, so that Unicode
classes, ignored case and `.` mean what the `re` module means by them.
"""

from __future__ import annotations

import functools
import importlib
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType
from typing import NoReturn, Protocol, TypeAlias, cast

from synthon.core.errors import SchemaTooLarge, Unsupported, UserError

MAX_PATTERN = 20_000  # characters; longer ones are data, not patterns
MAX_POSITIONS = 100_000  # characters a match may be asked to count, repetitions multiplied out
_SHOWN = 80  # characters of a pattern in an error
_LAST = 0x10FFFF
_ANY = f"[\\x{{0}}-\\x{{{_LAST:x}}}]"
_SURROGATES = (0xD800, 0xDFFF)
_WHERE = "Write it without, or keep the pattern for a check of the answer (`@step.check`)."

Span: TypeAlias = tuple[int, int]
Node: TypeAlias = "tuple[object, object]"


class _Tree(Protocol):
    def __iter__(self) -> Iterator[Node]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: slice) -> _Tree: ...


class _Parser(Protocol):
    def parse(self, pattern: str, flags: int = 0) -> _Tree: ...


class _Compiler(Protocol):
    def compile(self, p: _Tree, flags: int = 0) -> re.Pattern[str]: ...


def rust(pattern: str, *, flags: int = 0) -> str:
    """The pattern for a match of a whole text, in the syntax of Rust's `regex`.

    It holds ASCII only and no slash, quote or white space, so it can stand in a Lark grammar between slashes.
    A group is written without capture; a lazy repetition as a greedy one, which matches the same whole texts.

    Args:
        pattern: what `re.fullmatch` would be given.
        flags: of the `re` module.

    Raises:
        UserError: Python cannot read the pattern.
        Unsupported: it looks around, refers back, or has an anchor inside: no finite automaton says that.
        SchemaTooLarge: it is too long, too deep, or counts too far.
    """
    return _written(pattern, flags)


def looking(pattern: str) -> str:
    """The pattern for a check, in the syntax of Rust's `fancy-regex`: it may look around, refer back and be possessive.

    Raises:
        UserError, SchemaTooLarge: as `rust`.
        Unsupported: it has a condition on a group, or refers back where case is ignored.
    """
    return _written(pattern, 0, looks=True)


@functools.lru_cache(maxsize=256)
def _written(pattern: str, flags: int, *, looks: bool = False) -> str:
    if len(pattern) > MAX_PATTERN:
        _too_large(pattern, f"it has {len(pattern):,} characters, and {MAX_PATTERN:,} are read")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `[[` may once mean a set of sets; today it does not
            tree = _parser().parse(pattern, flags)
        text, positions = _Writer(pattern, looks=looks).sequence(tree, flags | _flags(tree), first=True, last=True)
    except re.error as error:
        raise UserError(f"Python cannot read the pattern {_short(pattern)}: {error}. Correct it.") from error
    except OverflowError as error:
        raise UserError(f"Python cannot read the pattern {_short(pattern)}: {error}. Correct it.") from error
    except RecursionError:
        _too_large(pattern, "its groups are nested too deep")
    if positions > MAX_POSITIONS:
        _too_large(pattern, f"it counts over {positions:,} positions, and {MAX_POSITIONS:,} are compiled")
    return text


def _too_large(pattern: str, why: str) -> NoReturn:
    raise SchemaTooLarge(f"The pattern {_short(pattern)} is too large: {why}. Use smaller bounds, or check the length.")


def _short(pattern: str) -> str:
    return repr(pattern if len(pattern) <= _SHOWN else f"{pattern[:_SHOWN]}...")


class _Writer:
    """Writes one parsed pattern; every method answers with the text and the positions it counts over.

    Args:
        looks: whether it may look around and refer back; else that is refused.
    """

    def __init__(self, pattern: str, *, looks: bool) -> None:
        self._pattern, self._looks = pattern, looks

    def sequence(self, tree: _Tree, flags: int, *, first: bool, last: bool) -> tuple[str, int]:
        """Args: first, last: nothing can stand before, behind it, so that an anchor there says nothing new."""
        nodes = list(tree)
        written, positions = [], 0
        for index, node in enumerate(nodes):
            is_first = first and all(str(op) == "AT" for op, _ in nodes[:index])
            is_last = last and all(str(op) == "AT" for op, _ in nodes[index + 1 :])
            text, count = self._node(tree[index : index + 1], node, flags, first=is_first, last=is_last)
            written.append(text)
            positions += count
        return "".join(written), positions

    def _node(self, tree: _Tree, node: Node, flags: int, *, first: bool, last: bool) -> tuple[str, int]:
        op, argument = str(node[0]), node[1]
        match op:
            case "LITERAL" | "NOT_LITERAL" | "IN" | "ANY" | "CATEGORY" | "RANGE":
                return _one_character(op, argument, tree, flags), 1
            case "SUBPATTERN":
                group, added, removed, inner = cast("tuple[int | None, int, int, _Tree]", argument)
                kept = flags & ~re.ASCII if added & (re.ASCII | re.UNICODE) else flags  # one takes the other's place
                text, count = self.sequence(inner, (kept | added) & ~removed, first=first, last=last)
                return f"({text})" if self._looks and group else f"(?:{text})", count
            case "BRANCH":
                _, branches = cast("tuple[None, Sequence[_Tree]]", argument)
                written = [self.sequence(branch, flags, first=first, last=last) for branch in branches]
                return f"(?:{'|'.join(text for text, _ in written)})", sum(count for _, count in written)
            case "MAX_REPEAT" | "MIN_REPEAT":
                text, count = self._repeat(cast("tuple[int, int, _Tree]", argument), flags, first=first, last=last)
                return f"{text}?" if self._looks and op == "MIN_REPEAT" else text, count
            case "AT":
                return self._anchor(str(argument), flags, first=first, last=last), 0
        if self._looks:
            return self._looking(op, argument, flags)
        raise self._refused(_CONSTRUCTS.get(op, op.lower()))

    def _looking(self, op: str, argument: object, flags: int) -> tuple[str, int]:
        match op:
            case "ASSERT" | "ASSERT_NOT":
                way, inner = cast("tuple[int, _Tree]", argument)
                text, count = self.sequence(inner, flags, first=False, last=False)
                return f"(?{'<' if way < 0 else ''}{'=' if op == 'ASSERT' else '!'}{text})", count
            case "ATOMIC_GROUP":
                text, count = self.sequence(cast("_Tree", argument), flags, first=False, last=False)
                return f"(?>{text})", count
            case "POSSESSIVE_REPEAT":
                text, count = self._repeat(cast("tuple[int, int, _Tree]", argument), flags, first=False, last=False)
                return f"(?>{text})", count
            case "GROUPREF" if not flags & re.IGNORECASE:
                return f"(?:\\{argument})", 0
            case "FAILURE":
                return _bracketed(()), 0
        raise self._refused(_CONSTRUCTS.get(op, op.lower()))

    def _repeat(self, repeat: tuple[int, int, _Tree], flags: int, *, first: bool, last: bool) -> tuple[str, int]:
        least, most, inner = int(repeat[0]), int(repeat[1]), repeat[2]
        once = most <= 1
        text, count = self.sequence(inner, flags, first=first and once, last=last and once)
        unbounded = most >= cast("int", _constants().MAXREPEAT)
        times = least if unbounded else most
        bounds = {(0, True): "*", (1, True): "+", (0, False): "?" if most == 1 else f"{{0,{most}}}"}
        sign = bounds.get((least, unbounded)) or (f"{{{least},}}" if unbounded else f"{{{least},{most}}}")
        return f"(?:{text}){sign}", count * max(times, 1)

    def _anchor(self, kind: str, flags: int, *, first: bool, last: bool) -> str:
        if kind in {"AT_BEGINNING", "AT_BEGINNING_STRING"} and first:
            return ""
        if kind in {"AT_END", "AT_END_STRING"} and last:
            return ""
        if self._looks:
            return _edge(kind, flags)
        raise self._refused("a word boundary" if "BOUNDARY" in kind else "an anchor that is not at its edge")

    def _refused(self, what: str) -> Unsupported:
        return Unsupported(f"The pattern {_short(self._pattern)} has {what}, which no mask can enforce. {_WHERE}")


def _edge(kind: str, flags: int) -> str:
    """An anchor or a boundary, said by looking around."""
    if "BOUNDARY" in kind:
        word = _bracketed(_category("CATEGORY_WORD", bool(flags & re.ASCII)))
        after_word, after_none = ("=", "!") if "NON" in kind else ("!", "=")
        return f"(?:(?<={word})(?{after_word}{word})|(?<!{word})(?{after_none}{word}))"
    if flags & re.MULTILINE and kind in {"AT_BEGINNING", "AT_END"}:
        return r"(?<![^\x{a}])" if kind == "AT_BEGINNING" else r"(?![^\x{a}])"
    end = f"(?!{_ANY})"
    return {"AT_END": f"(?=\\x{{a}}?{end})", "AT_END_STRING": end}.get(kind, f"(?<!{_ANY})")


_CONSTRUCTS = {
    "ASSERT": "a look-around",
    "ASSERT_NOT": "a look-around",
    "FAILURE": "a look-around",
    "GROUPREF": "a back-reference",
    "GROUPREF_EXISTS": "a condition on a group",
    "ATOMIC_GROUP": "an atomic group",
    "POSSESSIVE_REPEAT": "a possessive repetition",
}


def _one_character(op: str, argument: object, tree: _Tree, flags: int) -> str:
    if op == "ANY":
        return "[^\\x{a}]" if not flags & re.DOTALL else _ANY
    if op == "LITERAL" and (not flags & re.IGNORECASE or not _is_cased(chr(cast("int", argument)))):
        return _character(cast("int", argument))
    if op == "IN" and not flags & re.IGNORECASE:
        return _set(cast("Sequence[Node]", argument), flags)
    if op == "NOT_LITERAL" and not flags & re.IGNORECASE:
        return f"[^{_character(cast('int', argument))}]"
    return _bracketed(_asked(repr(argument), op, flags & (re.IGNORECASE | re.ASCII), _Held(tree)))


def _set(items: Sequence[Node], flags: int) -> str:
    spans: list[Span] = []
    for op, argument in items:
        match str(op):
            case "LITERAL":
                spans.append((cast("int", argument), cast("int", argument)))
            case "RANGE":
                spans.append(cast("Span", argument))
            case "CATEGORY":
                spans += _category(str(argument), bool(flags & re.ASCII))
    if items and str(items[0][0]) == "NEGATE":
        spans = _complement(spans)
    return _bracketed(spans)


@functools.cache
def _category(name: str, ascii_only: bool) -> tuple[Span, ...]:  # noqa: FBT001 - it is part of the cache's key
    letter = {"DIGIT": "d", "SPACE": "s", "WORD": "w"}[name.rpartition("_")[2]]
    letter = letter.upper() if "_NOT_" in name else letter
    return tuple(_spans(re.compile(f"\\{letter}+", re.ASCII if ascii_only else 0)))


class _Held:
    """A parsed node that a cache's key passes over; its printed form beside it is the key."""

    def __init__(self, tree: _Tree) -> None:
        self.tree = tree

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Held)

    def __hash__(self) -> int:
        return 0


@functools.lru_cache(maxsize=256)
def _asked(argument: str, op: str, flags: int, held: _Held) -> tuple[Span, ...]:  # noqa: ARG001 - the first two are the key
    """The characters that Python itself lets match, 10-30 ms: it knows 1.1 million."""
    parser = importlib.import_module("re._parser")
    state, constants = parser.State(), _constants()  # the whole pattern's flags are not those of this place
    run = (constants.MAX_REPEAT, (1, constants.MAXREPEAT, parser.SubPattern(state, list(held.tree))))
    alone = parser.SubPattern(state, [run])  # a match for each character would take seconds
    return tuple(_spans(_compiler().compile(alone, flags if flags & re.ASCII else flags | re.UNICODE)))


def _spans(pattern: re.Pattern[str]) -> Iterator[Span]:
    first = last = -2
    for found in pattern.finditer(_every_character()):
        start, end = (ord(found[0][0]), ord(found[0][-1]))
        if start == last + 1:
            last = end
            continue
        if first >= 0:
            yield first, last
        first, last = start, end
    if first >= 0:
        yield first, last


@functools.cache
def _every_character() -> str:
    return "".join(map(chr, range(_LAST + 1)))


def _is_cased(character: str) -> bool:
    return character.isalpha() or character.lower() != character or character.upper() != character


def _complement(spans: Iterable[Span]) -> list[Span]:
    found, after = [], 0
    for first, last in sorted(spans):
        if first > after:
            found.append((after, first - 1))
        after = max(after, last + 1)
    return found if after > _LAST else [*found, (after, _LAST)]


def _bracketed(spans: Iterable[Span]) -> str:
    kept = "".join(_span(first, last) for first, last in _without_surrogates(spans))
    return f"[{kept}]" if kept else f"[^\\x{{0}}-\\x{{{_LAST:x}}}]"


def _without_surrogates(spans: Iterable[Span]) -> Iterator[Span]:
    """Half characters are in no text that a model can write."""
    for first, last in spans:
        if first < _SURROGATES[0]:
            yield first, min(last, _SURROGATES[0] - 1)
        if last > _SURROGATES[1]:
            yield max(first, _SURROGATES[1] + 1), last


def _span(first: int, last: int) -> str:
    return _character(first) if first == last else f"{_character(first)}-{_character(last)}"


def _character(code: int) -> str:
    if _SURROGATES[0] <= code <= _SURROGATES[1]:
        return f"[^\\x{{0}}-\\x{{{_LAST:x}}}]"
    character = chr(code)
    return character if character.isascii() and character.isalnum() else f"\\x{{{code:x}}}"


def _flags(tree: _Tree) -> int:
    return cast("int", tree.state.flags)  # type: ignore[attr-defined]


def _parser() -> _Parser:
    return cast("_Parser", importlib.import_module("re._parser"))


def _compiler() -> _Compiler:
    return cast("_Compiler", importlib.import_module("re._compiler"))


def _constants() -> ModuleType:
    return importlib.import_module("re._constants")
