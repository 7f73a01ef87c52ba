"""Where the sentences of a text begin and end."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from synthon.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: A blank line, or a line that opens a list item, a heading, a quote, a table row or a session's prompt.
_BREAK = re.compile(r"\n[ \t\r]*\n\s*|\n(?=[ \t]*(?:[-*•+#>|]+|\d+[.)])[ \t])")
_END = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’»)\]]*+(?=\s|$)|[。！？]")
_LAST_WORD = re.compile(r"[\w.]*$")
_DOTTED = re.compile(r"(?:[A-Za-z]\.)+[A-Za-z]")
#: Followed by a full stop, these seldom end a sentence.
_ABBREVIATIONS = frozenset([
    "al", "approx", "apr", "aug", "ca", "capt", "cf", "co", "col", "corp", "dec", "dept", "dr", "e.g", "ed", "eds",
    "eq", "etc", "feb", "fig", "figs", "ft", "gen", "gov", "hon", "i.e", "inc", "jan", "jr", "jul", "jun", "lt",
    "ltd", "maj", "mar", "messrs", "mr", "mrs", "ms", "mt", "no", "nos", "nov", "oct", "op", "p", "pp", "prof", "rep",
    "resp", "rev", "sec", "sen", "sep", "sept", "sgt", "sr", "st", "viz", "vol", "vs",
])  # fmt: skip


def sentences(text: str, *, longest: int = 500) -> list[tuple[int, int]]:
    """Spans `start, end` of the sentences of a text, in order, without overlap.

    Every letter and digit lies in exactly one; white space around sentences in none. Blank lines and list items end
    one. Abbreviations, initials and decimal points don't. English rules; elsewhere a sentence may come out too long.

    Args:
        longest: characters, 1 or more; what has more (code, tables) is cut at the last line end, semicolon or space.

    Raises:
        UserError: `longest` leaves no room for a sentence.
    """
    if not hasattr(longest, "__index__") or longest < 1:
        raise UserError(
            f"sentences(longest={longest!r:.200}) is no length of a sentence. Pass 1 or more, a whole number."
        )
    found = (
        _trimmed(text, *piece)
        for first, last in _blocks(text)
        for start, end in _cut(text, first, last)
        for piece in _shortened(text, start, end, longest)
    )
    return [(start, end) for start, end in found if any(character.isalnum() for character in text[start:end])]


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for found in _BREAK.finditer(text):
        yield start, found.start()
        start = found.end()
    yield start, len(text)


def _cut(text: str, first: int, last: int) -> Iterator[tuple[int, int]]:
    start = first
    for mark in _END.finditer(text, first, last):
        if mark.end() < last and _is_end(text, start, mark, last):
            yield start, mark.end()
            start = mark.end()
    yield start, last


def _is_end(text: str, start: int, mark: re.Match[str], last: int) -> bool:
    following = text[mark.end() : min(last, mark.end() + 40)].lstrip()[:1]
    if following.islower() or following in {",", ";", ":", ")"}:
        return False
    if mark[0][0] != "." or mark[0].startswith(".."):
        return True
    found = _LAST_WORD.search(text, max(start, mark.start() - 12), mark.start())
    word = found[0] if found else ""
    is_initial = len(word) == 1 and word.isupper()
    return not (is_initial or word.lower() in _ABBREVIATIONS or _DOTTED.fullmatch(word))


def _shortened(text: str, start: int, end: int, longest: int) -> Iterator[tuple[int, int]]:
    while end - start > longest:
        cuts = (text.rfind(mark, start + longest // 2, start + longest) + len(mark) for mark in ("\n", "; ", " "))
        cut = next((place for place in cuts if place > start + longest // 2), start + longest)
        yield start, cut
        start = cut
    yield start, end


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    return start + left, start + max(left, len(piece.rstrip()))


__all__ = ["sentences"]
