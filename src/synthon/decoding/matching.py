"""Whether a whole text matches a Python pattern, in bounded time; Python's own `re` may take hours."""

from __future__ import annotations

import functools
import json
import time
from typing import TYPE_CHECKING

from synthon.core.errors import SchemaTooLarge, Unsupported, UserError
from synthon.decoding.languages import Pattern, in_lark
from synthon.decoding.libraries import llguidance
from synthon.decoding.matcher import GrammarMatcher
from synthon.decoding.patterns import looking, rust
from synthon.decoding.schemas import SECONDS, matcher
from synthon.decoding.validation import validator
from synthon.decoding.vocabulary import plain_bytes

if TYPE_CHECKING:
    from jsonschema_rs import Validator

_STEPS = 20_000  # characters followed, some 6 us each


def is_match(pattern: str, text: str, *, check: bool = False) -> bool:
    """Whether the whole text matches, as a mask means it; in linear time, some us a character.

    Args:
        check: a pattern that no mask can hold to, such as one with a look-around, is followed for as many steps as
            `validator` allows, past which the text counts as not matching; without `check` it is refused.

    Raises:
        UserError: Python cannot read the pattern.
        Unsupported: neither a mask nor a check can hold to it.
        SchemaTooLarge: it is too large to be compiled or followed.
    """
    try:
        written = rust(pattern)
    except Unsupported:
        if not check:
            raise
        return _is_text(text) and _validator(pattern).is_valid(text)
    following = _kept(pattern, written).copy()
    return _is_text(text) and following.follow(text.encode()) == len(text.encode()) and following.may_end


def places(pattern: str, text: str) -> list[str]:
    """What in a text matches, from the left, each as long as it can be; nothing where that takes `_STEPS` steps.

    Raises:
        UserError, Unsupported, SchemaTooLarge: as `is_match` without `check`.
    """
    beginning, found, at, left = _kept(pattern, rust(pattern)), list[str](), 0, _STEPS
    while _is_text(text) and at < len(text):
        following, end = beginning.copy(), at
        for place in range(at, len(text)):
            char = text[place].encode()
            left -= 1
            if left < 0:
                return []
            if following.follow(char) < len(char):
                break
            if following.may_end:
                end = place + 1
        if end > at:
            found.append(text[at:end])
        at = max(end, at + 1)
    return found


def _kept(pattern: str, written: str) -> GrammarMatcher:
    return plain_bytes().kept(("pattern", written), lambda: _beginning(pattern, written))


def _beginning(pattern: str, written: str) -> GrammarMatcher:
    grammar = llguidance().LLMatcher.grammar_from_lark(f"start: TEXT\nTEXT: {in_lark(Pattern(written))}")
    made, error = matcher(grammar, plain_bytes().engine, time.monotonic() + SECONDS)
    if error:
        msg = f"The pattern {pattern[:80]!r} cannot be compiled: {error[:160]}. Use a smaller one."
        raise SchemaTooLarge(msg)
    return GrammarMatcher(made, plain_bytes(), is_plain=True)


@functools.lru_cache(maxsize=128)
def _validator(pattern: str) -> Validator:
    written = f"^(?=)(?:{looking(pattern)})$"  # the validator backtracks only where it sees a look-around
    try:
        return validator(json.dumps({"pattern": written}))
    except UserError as error:
        msg = f"The pattern {pattern[:80]!r} can be neither masked nor checked. Write it otherwise."
        raise Unsupported(msg) from error


def _is_text(text: str) -> bool:
    """Whether it has no half characters, which no model writes."""
    try:
        return bool(text.encode()) or not text
    except UnicodeEncodeError:
        return False


__all__ = ["is_match", "places"]
