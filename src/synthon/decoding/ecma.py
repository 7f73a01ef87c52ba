"""JSON Schema's patterns (ECMA-262, searched for anywhere in a string) in the syntax that masks read."""

from __future__ import annotations

import re
from collections.abc import Iterator

MAX_PATTERN = 20_000  # characters
_SPACE = r"\t-\r\x{20}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}\x{feff}"
_MEANS_MORE = frozenset("[&~")  # inside brackets: sets of sets in Rust, plain characters in ECMA-262
_PIECE = re.compile(r"\\.|.", re.DOTALL)
_PLAIN_NUL = re.compile(r"\\0(?!\d)")


def masked(pattern: str) -> str | None:
    """The same pattern for a mask; None if a look-around, a back-reference or a boundary is in it, or it is too long.

    Digits, words and white space are those of ECMA-262, not Unicode's.
    """
    if len(pattern) > MAX_PATTERN or re.search(r"\(\?(?:[=!]|<[=!])|\\[bBkcZzAG1-9]|\[\^?\]", pattern):
        return None
    try:
        return "".join(_pieces(pattern))
    except ValueError:
        return None


def _pieces(pattern: str) -> Iterator[str]:
    inside = False
    before = ""
    for piece in _PIECE.findall(_PLAIN_NUL.sub(r"\\x00", pattern)):
        if piece in {r"\s", r"\S"}:
            yield f"[{'^' if piece == chr(92) + 'S' else ''}{_SPACE}]"
        elif inside and piece in _MEANS_MORE:
            yield f"\\{piece}"
        elif inside and piece == before == "-":
            raise ValueError(pattern)
        else:
            if piece in {"[", "]"}:
                inside = piece == "["
            yield piece
        before = piece


__all__ = ["masked"]
