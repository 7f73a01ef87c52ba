"""Validators of a text's form: a pattern, a closed set, a constraint, no repetition."""

from __future__ import annotations

import difflib
import re
from contextlib import suppress

from synthon.core.constraints import Constraint
from synthon.core.errors import Unsupported, UserError
from synthon.guards.results import NO_FIX, Fail, Found, Named, Pass, text_test

_WORD = re.compile(r"\w+(?:['’]\w+)*")


def matches(pattern: str, *, hint: str = "") -> Named:
    """A text that the regular expression (Python's) matches as a whole. Fix: the one place in it that matches.

    Judged in bounded time, as `sy.regex(pattern, check=True)` is; what only a check can hold has no fix.

    Args:
        hint: what the pattern asks for, in words for the model.

    Raises:
        UserError: Python cannot read the pattern.
        Unsupported: it can be neither masked nor checked.
        MissingExtra: `llguidance` or `jsonschema_rs` is not installed.
    """
    from synthon.decoding.matching import is_match, places  # noqa: PLC0415 - loaded where something is constrained only

    is_match(pattern, "", check=True)  # whether it can be used
    asked = hint.rstrip(".") or f"It must match the regular expression {pattern}"

    def judge(text: str) -> Found:
        if is_match(pattern, text, check=True):
            return Pass()
        found: list[str] = []
        with suppress(Unsupported):
            found = list(dict.fromkeys(places(pattern, text)))
        fix = found[0] if len(found) == 1 else NO_FIX
        return Fail(f"{asked}, and is {text!r}.", fix)

    return text_test(f"matches({pattern})", judge)


def choices(*options: str) -> Named:
    """One of the options, to the letter. Fix: the only one that is the same but for case and space, or that is close.

    Close is what difflib finds so.
    """
    if not options or not all(isinstance(option, str) for option in options):
        msg = f"choices got {options!r}, which are no options. Pass texts: choices('low', 'high')."
        raise UserError(msg)
    folded: dict[str, set[str]] = {}
    for option in options:
        folded.setdefault(option.casefold().strip(), set()).add(option)

    def judge(text: str) -> Found:
        if text in options:
            return Pass()
        said = text.casefold().strip()
        close = [said] if said in folded else difflib.get_close_matches(said, folded, n=2)
        meant = [option for each in close for option in folded[each]]
        fix = meant[0] if len(meant) == 1 else NO_FIX
        return Fail(f"It is {text!r}; it must be one of {', '.join(map(repr, options))}.", fix)

    return text_test(f"choices({', '.join(options)})", judge)


def satisfies(constraint: Constraint) -> Named:
    """A text that keeps to a constraint: `sy.where(...)`, `sy.regex(...)`, `sy.schema(...)`, `sy.grammar(...)`.

    Raises:
        UserError, SchemaTooLarge: the constraint is malformed or too large.
        Unsupported: no text can be held against it: it counts `tokens`, or looks around without `check=True`.
    """
    from synthon.decoding import predicates, unmet  # noqa: PLC0415 - loaded where something is constrained only

    predicates.refuse_to_count(constraint, "A guard")
    unmet(constraint, "")

    def judge(text: str) -> Found:
        message = unmet(constraint, text)
        return Fail(message) if message else Pass()

    return text_test(f"satisfies({type(constraint).__name__.lower()})", judge)


def no_repeated_ngrams(n: int = 4) -> Named:
    """No `n` words in a row occur twice, in whatever case. Fix: each repeat removed, the first left."""
    if n < 1:
        msg = f"no_repeated_ngrams({n}) counts no words. Pass 1 or more; 4 finds repeated phrases."
        raise UserError(msg)

    def judge(text: str) -> Found:
        repeats, fixed = _repeats(text, n), text
        if not repeats:
            return Pass()
        message = f"It says {text[slice(*repeats[0])]!r} more than once; say it once."
        while repeats:
            for start, end in reversed(repeats):
                fixed = _without(fixed, start, end)
            repeats = _repeats(fixed, n)
        return Fail(message, fixed)

    return text_test(f"no_repeated_ngrams({n})", judge)


def _repeats(text: str, n: int) -> list[tuple[int, int]]:
    """Where stretches of `n` words or more repeat earlier ones, start and end, in order."""
    words = list(_WORD.finditer(text))
    said = [word.group().casefold() for word in words]
    seen: dict[tuple[str, ...], int] = {}
    found, at = [], 0
    while at + n <= len(said):
        first = seen.setdefault(tuple(said[at : at + n]), at)
        length = 0
        if first + n <= at:  # else it is itself, or overlaps itself: 'no no no' repeats once it has been said in full
            while at + length < len(said) and said[first + length] == said[at + length]:
                length += 1
            found.append((words[at].start(), words[at + length - 1].end()))
        at += length or 1
    return found


def _without(text: str, start: int, end: int) -> str:
    """The text without a stretch; of the spaces and stops that met there, those before it stay."""
    before, after = text[:start].rstrip(), text[end:]
    if before.endswith((".", "!", "?", ",", ";", ":")) or not before:
        after = after.lstrip(".!?,;: ") if before else after.lstrip(".!?,;: \n")
    return f"{before} {after}".rstrip() if before and after and after[0].isalnum() else before + after.rstrip()


__all__ = ["choices", "matches", "no_repeated_ngrams", "satisfies"]
