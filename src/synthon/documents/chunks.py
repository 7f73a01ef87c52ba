"""Cut a text into chunks that stay inside its sections, each with its exact place and the headings above it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from synthon.core.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Iterator

Form = Literal["markdown", "rst", "code", "plain"]

_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_MARKDOWN = re.compile(r" {0,3}(#{1,6})[ \t]+(?=[^ \t])(.*)$")
_FRONT = re.compile(r"---[ \t]*\r?\n(?=[\w-]+[ \t]*:)(?:(?!---|\.\.\.).*\n)*+(?:---|\.\.\.)[ \t]*(?=\r?\n|$)")
_UNDERLINE = re.compile(r"([=\-~^\"'`#*+.:_])\1{2,}[ \t]*$")
_CODE = re.compile(
    r"(?:export |default |pub(?:\([a-z]+\))? |public |private |protected |static |abstract |final |async )*"
    r"(?:def|class|func|fn|function|interface|struct|impl|enum|trait|module|namespace)\s+([\w.:<>]+)"
)
#: Stands before a text that some editors write, and is no part of it.
_BYTE_ORDER_MARK = "\ufeff"
#: Part of a document's stamp and digest: chunks cut under other rules are others.
CUT_RULES = "chunks-3"
#: Stands between the headings of a chunk's title.
SEPARATOR = " > "
#: Longest heading that is kept as context; a longer line is text.
_HEADING_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Chunk:
    """Characters `start:end` of a text; `title` is the path of headings above it, joined by `SEPARATOR`."""

    start: int
    end: int
    title: str


@dataclass(frozen=True, slots=True)
class _Heading:
    start: int
    body: int
    level: int
    title: str


def cut(text: str, *, characters: int, form: Form = "plain", title: str = "") -> list[Chunk]:
    """Chunks of at most `characters` characters, in order, without overlap.

    Every character that is not white space lies in exactly one chunk, headings in the section they open; a byte order
    mark lies in none. Sections are cut where semchunk finds the widest gap: blank lines, then lines, then sentences,
    then words.

    Raises:
        MissingExtra: semchunk is not installed.
    """
    found: list[Chunk] = []
    for start, end, path in _sections(text, form):
        context = SEPARATOR.join(part for part in (title, *path) if part)
        if end - start <= characters:
            first, last = _trimmed(text, start, end)
            found.extend([Chunk(first, last, context)] if first < last else [])
            continue
        for offset, stop in _split(text[start:end], characters):
            first, last = _trimmed(text, start + offset, start + stop)
            found.extend([Chunk(first, last, context)] if first < last else [])
    return found


def first_heading(text: str, form: Form) -> str:
    """The first heading of a text, empty where there is none; in code there is no title."""
    if form in {"markdown", "rst"}:
        for heading in _headings(text, form):
            return heading.title
    return ""


def _sections(text: str, form: Form) -> Iterator[tuple[int, int, tuple[str, ...]]]:
    """Spans between headings with the titles above them; they cover the whole text."""
    open_headings: list[_Heading] = []
    start = first = _first(text)
    for heading in _headings(text, form) if form != "plain" else ():
        # a heading with nothing between it and the next one stays with it
        if heading.start > start and text[open_headings[-1].body if open_headings else first : heading.start].strip():
            yield start, heading.start, tuple(each.title for each in open_headings)
            start = heading.start
        while open_headings and open_headings[-1].level >= heading.level:
            open_headings.pop()
        open_headings.append(heading)
    yield start, len(text), tuple(each.title for each in open_headings)


def _first(text: str) -> int:
    return len(_BYTE_ORDER_MARK) if text.startswith(_BYTE_ORDER_MARK) else 0


def _headings(text: str, form: Form) -> Iterator[_Heading]:
    if form == "code":
        yield from _definitions(text)
        return
    levels: dict[str, int] = {}
    fence = ""
    previous, previous_start = "", 0
    first = _first(text)
    front = _FRONT.match(text, first) if form == "markdown" else None  # fields about the page, between lines of dashes
    for start, line in _lines(text, front.end() if front else first):
        opened = _FENCE.match(line) if form == "markdown" else None
        if fence:
            fence = "" if opened and opened[1].startswith(fence) else fence
        elif opened:
            fence = opened[1][:3]
        elif form == "markdown" and (found := _MARKDOWN.match(line)):
            title = _unclosed(found[2])
            if 0 < len(title) <= _HEADING_CHARACTERS:
                yield _Heading(start, start + len(line), len(found[1]), title)
        elif (found := _UNDERLINE.match(line)) and _can_be_underlined(previous, found, form):
            mark = found[1]
            level = (1 if mark == "=" else 2) if form == "markdown" else levels.setdefault(mark, len(levels) + 1)
            yield _Heading(previous_start, start + len(line), level, previous.strip())
            line = ""  # noqa: PLW2901  # an underline is no title for the next line
        previous, previous_start = line, start


def _unclosed(title: str) -> str:
    """A heading without the marks that may close it, which stand after a blank."""
    title = title.rstrip(" \t")
    bare = title.rstrip("#")
    return bare.rstrip(" \t") if bare[-1:] in {"", " ", "\t"} else title


def _can_be_underlined(line: str, underline: re.Match[str], form: Form) -> bool:
    title = line.strip()
    if not title or len(title) > _HEADING_CHARACTERS or _UNDERLINE.match(line):
        return False
    if form == "markdown":
        return underline[1] in "=-" and title[0] not in "|>-*#"
    return len(underline[0].rstrip()) >= len(line.rstrip())


def _definitions(text: str) -> Iterator[_Heading]:
    for start, line in _lines(text, _first(text)):
        if found := _CODE.match(line):
            yield _Heading(start, start, 1, found[1][:_HEADING_CHARACTERS])


def _lines(text: str, start: int) -> Iterator[tuple[int, str]]:
    """Offset and text of each line from `start` on; only LF and CR LF end one."""
    while start < len(text):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        yield start, text[start:end].removesuffix("\r")
        start = end + 1


def _split(text: str, characters: int) -> list[tuple[int, int]]:
    try:
        from semchunk.semchunk import chunk  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        msg = "Cutting documents into chunks needs semchunk, which is not installed. Run: pip install 'synthon[index]'"
        raise MissingExtra(msg) from error
    found = chunk(text, characters, len, memoize=False, offsets=True)
    return cast("list[tuple[int, int]]", found[1])


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    left = len(piece) - len(piece.lstrip())
    return start + left, start + max(left, len(piece.rstrip()))


__all__ = ["CUT_RULES", "SEPARATOR", "Chunk", "Form", "cut", "first_heading"]
