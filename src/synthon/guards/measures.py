"""Validators of amount: length and range."""

from __future__ import annotations

import math
import re
from collections.abc import Sized
from datetime import date
from decimal import Decimal
from typing import Literal, TypeAlias, cast, get_args

from synthon.core.errors import UserError
from synthon.guards.results import NO_FIX, Fail, Found, Named, Pass

Number: TypeAlias = int | float | Decimal | date
Unit = Literal["characters", "words", "items"]
_WORD = re.compile(r"\S+")


def length(*, at_least: int = 0, at_most: int | None = None, of: Unit = "characters") -> Named:
    """Between `at_least` and `at_most` characters (code points) or words of a text, or items of a list, dict or set.

    Fix of what is too long: the first words, or the first items; a word is cut where whole ones are too few or too
    long. A set has none, for it has no first items.
    """
    _ordered("length", at_least or None, at_most)
    if of not in get_args(Unit):
        raise UserError(f"length cannot count {of!r}. Pass of= one of {', '.join(map(repr, get_args(Unit)))}.")
    limits = _limits(at_least or None, at_most)
    name = f"length({limits} {of})"

    def judge(value: object) -> Found:
        if (of == "items") is isinstance(value, str) or not isinstance(value, Sized):
            msg = f"{name} cannot count the {of} of {value!r}. Pass of='items' for lists, nothing for text."
            raise UserError(msg)
        counted = len(_WORD.findall(value)) if of == "words" and isinstance(value, str) else len(value)
        if counted >= at_least and (at_most is None or counted <= at_most):
            return Pass()
        message = f"It has {counted} {of}; it must have {limits}."
        if at_most is None or counted < at_least:
            return Fail(message)
        return Fail(message, _cut(value, at_least, at_most, of))

    return Named(name, judge)


def _cut(value: object, least: int, most: int, of: Unit) -> object:
    if isinstance(value, dict):
        return dict(list(value.items())[:most])
    if not isinstance(value, str):
        return value[:most] if isinstance(value, list | tuple) else NO_FIX
    ends = [found.end() for found in _WORD.finditer(value)]
    if of == "words":
        return value[: ends[most - 1]] if most else ""
    return value[: max((end for end in ends if least <= end <= most), default=most)]


def in_range(low: Number | None = None, high: Number | None = None) -> Named:
    """A number or date from `low` to `high`, both included. Fix: the nearer bound; of an integer one that is within."""
    _ordered("in_range", low, high)
    name = f"in_range({_limits(low, high)})"

    def placed(value: object) -> tuple[bool, bool]:
        return low is not None and _less(value, low), high is not None and _less(high, value)

    def judge(value: object) -> Found:
        try:
            below, above = placed(value)
        except TypeError as error:
            msg = f"{name} cannot compare {value!r} with its bounds ({error}). Guard a number, or a date with dates."
            raise UserError(msg) from error
        if not below and not above and value == value:  # noqa: PLR0124 - nan is nowhere in a range
            return Pass()
        nearer = low if below else high if above else None
        if isinstance(value, int) and isinstance(nearer, float | Decimal):
            nearer = math.ceil(nearer) if below else math.floor(nearer)
        fix = NO_FIX if nearer is None or any(placed(nearer)) else nearer
        return Fail(f"It is {value}; it must be {_limits(low, high)}.", fix)

    return Named(name, judge)


def _less(one: object, other: object) -> bool:
    return bool(cast("int", one) < cast("int", other))


def _ordered(name: str, low: Number | None, high: Number | None) -> None:
    if (low is None and high is None) or (low is not None and high is not None and _less(high, low)):
        msg = (
            f"{name} from {low!r} to {high!r} leaves nothing, or everything. Name a lower bound, an upper one, or both."
        )
        raise UserError(msg)


def _limits(low: Number | None, high: Number | None) -> str:
    said = [] if low is None else [f"at least {low}"]
    return " and ".join(said if high is None else [*said, f"at most {high}"])


__all__ = ["Number", "Unit", "in_range", "length"]
