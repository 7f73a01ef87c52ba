"""Shapes a completion must have, as values; `decoding/` compiles them, the kernel only carries them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias, cast

from synthon.core.errors import UserError
from synthon.core.light import dataclass

Layout = Literal["free", "compact", "pretty"]
How = Literal["enforced", "checked", "unsupported"]
Bounds: TypeAlias = tuple[int, int | None]


def _both(left: Textual, right: Textual) -> Both:
    return Both((*_parts(left, Both), *_parts(right, Both)))


def _either(left: Textual, right: Textual) -> Either:
    return Either((*_parts(left, Either), *_parts(right, Either)))


def _parts(constraint: Textual, kind: type[Both | Either]) -> tuple[Textual, ...]:
    if not isinstance(constraint, Textual):
        raise UserError(f"`&` and `|` join `choice`, `regex` and `where`, and got {constraint!r}. Pass that alone.")
    return constraint.parts if isinstance(constraint, kind) else (constraint,)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the given texts, nothing else."""

    options: tuple[str, ...]
    check: bool = False

    __and__, __or__ = _both, _either


@dataclass(frozen=True, slots=True)
class Regex:
    """Text that matches the whole pattern (Python's `re` syntax, no look-around, no back-references)."""

    pattern: str
    check: bool = False

    __and__, __or__ = _both, _either


@dataclass(frozen=True, slots=True)
class Where:
    """Text for which each given predicate holds; made by `where`, bounds are (least, most or None), inclusive."""

    length: Bounds | None = None
    words: Bounds | None = None
    tokens: Bounds | None = None
    stops_at: tuple[str, ...] = ()
    startswith: tuple[str, ...] = ()
    choice: tuple[str, ...] = ()
    matches: str | None = None
    excludes: tuple[str, ...] = ()
    check: bool = False

    __and__, __or__ = _both, _either


@dataclass(frozen=True, slots=True)
class Both:
    """Text that keeps to every part; what `&` makes."""

    parts: tuple[Textual, ...]

    __and__, __or__ = _both, _either

    @property
    def check(self) -> bool:
        """Whether all parts may be checked after."""
        return all(part.check for part in self.parts)


@dataclass(frozen=True, slots=True)
class Either:
    """Text that keeps to one of the parts; what `|` makes."""

    parts: tuple[Textual, ...]

    __and__, __or__ = _both, _either

    @property
    def check(self) -> bool:
        """Whether all parts may be checked after."""
        return all(part.check for part in self.parts)


@dataclass(frozen=True, slots=True)
class Schema:
    """JSON that fits a JSON schema (draft 2020-12), given as its canonical JSON text.

    Text, not a dict, so that the value is hashable and identity never depends on a caller's later changes.
    `layout` is the white space a mask allows: any (`free`), none (`compact`), a blank after `,` and `:` (`pretty`).
    """

    json: str
    name: str = "output"
    layout: Layout = "free"
    check: bool = False

    __and__, __or__ = _both, _either


@dataclass(frozen=True, slots=True)
class Grammar:
    """Text derived by a context-free grammar in Lark's notation."""

    lark: str
    check: bool = False

    __and__, __or__ = _both, _either


@dataclass(frozen=True, slots=True)
class Soundness:
    """What becomes of one keyword of a constraint: the mask enforces it, the answer is checked for it, or neither.

    `place` is a JSON pointer into a schema, empty for the whole; `reason` says why it is not enforced.
    """

    keyword: str
    place: str = ""
    how: How = "enforced"
    reason: str = ""


Textual: TypeAlias = Choice | Regex | Where | Both | Either
Constraint = Choice | Regex | Where | Both | Either | Schema | Grammar
"""What a completion must be; a model enforces it, has it checked after where it says `check`, or refuses."""
Texts: TypeAlias = str | Sequence[str]
Limit: TypeAlias = int | tuple[int | None, int | None]


def choice(*options: str | Sequence[str], check: bool = False) -> Choice:
    """One of these texts, nothing else: given one by one, or as one list.

    Here and below, `check=True` lets a model that cannot enforce the shape answer freely; its answer is checked
    after, and a step asks again. Without it such a model raises `Unsupported`.
    """
    found = tuple(options[0]) if len(options) == 1 and isinstance(options[0], list | tuple) else options
    if not found or not are_texts(found):
        raise UserError(f"`choice` got the options {options!r}. Pass at least one text, no empty one, nothing else.")
    return Choice(cast("tuple[str, ...]", found), check)


def regex(pattern: str, *, check: bool = False) -> Regex:
    """Text that matches the whole pattern: Python's `re` syntax without look-around and back-references."""
    return Regex(_pattern(pattern), check)


def grammar(lark: str, *, check: bool = False) -> Grammar:
    """Text derived by a context-free grammar in Lark's notation, from its rule `start`."""
    return Grammar(lark, check)


def where(
    *,
    length: Limit | None = None,
    words: Limit | None = None,
    tokens: Limit | None = None,
    stops_at: Texts = (),
    startswith: Texts = (),
    choice: Texts = (),
    matches: str | None = None,
    excludes: Texts = (),
    check: bool = False,
) -> Where:
    """Text for which all of these hold (LMQL's where clause, Beurer-Kellner 2022, arXiv:2212.06094).

    Combine with `&` and `|`, also with `choice` and `regex`.

    Args:
        length: characters, at most an int, or (least, most), both inclusive, None for no end.
        words: runs of characters that are no white space, as `length`.
        tokens: the model's tokens, as `length`; only a local model can count them.
        stops_at: the text ends with the first of these that occurs in it.
        startswith: the beginning is one of these.
        choice: the whole text is one of these.
        matches: a regular expression for the whole text.
        excludes: none of these occurs in the text.
        check: see `choice`.

    Raises:
        UserError: nothing was asked, what is no bound, text or pattern, or bounds that nothing can meet.
    """
    made = Where(
        length=_bounds("length", length),
        words=_bounds("words", words),
        tokens=_bounds("tokens", tokens),
        stops_at=_texts("stops_at", stops_at),
        startswith=_texts("startswith", startswith),
        choice=_texts("choice", choice),
        matches=None if matches is None else _pattern(matches),
        excludes=_texts("excludes", excludes),
        check=check,
    )
    if made == Where(check=check):
        raise UserError("`where` was given no predicate. Pass at least one, such as where(words=(1, 20)).")
    return made


def _pattern(pattern: str) -> str:
    if not isinstance(pattern, str):
        raise UserError(f"A regular expression is text here, and {pattern!r} is none. Pass its `.pattern`.")
    return pattern


def _bounds(name: str, limit: Limit | None) -> Bounds | None:
    if limit is None:
        return None
    match (0, limit) if isinstance(limit, int) else limit:
        case [int() | None as least, int() | None as most] if 0 <= (least or 0) <= (math.inf if most is None else most):
            return least or 0, most
    raise UserError(f"`where` got {name}={limit!r}, which no text meets. Pass a number >= 0, or (least, most).")


def are_texts(values: Iterable[object]) -> bool:
    """Whether these are texts, none of them empty, and not themselves one."""
    return not isinstance(values, str) and all(isinstance(each, str) and each for each in values)


def _texts(name: str, texts: Texts) -> tuple[str, ...]:
    ordered = sorted(texts, key=str) if isinstance(texts, set | frozenset) else texts
    found = (texts,) if isinstance(texts, str) or not isinstance(ordered, Iterable) else tuple(ordered)
    if not are_texts(found):
        raise UserError(f"`where` got {name}={texts!r}, which holds what is an empty text or none. Leave it out.")
    return found
