"""Find the files of a folder and read their text, within limits; what cannot be read says why."""

from __future__ import annotations

import os
import stat
from codecs import BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthon.documents.parsing import ParseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthon.documents.chunks import Form
    from synthon.documents.parsing import Parser

#: A larger file is a failure that names the limit: text of that size is a dump, not a document.
MAX_BYTES = 32 * 1024 * 1024

_MARKDOWN = {".md", ".markdown", ".mdx"}
_PLAIN = {".txt", ".text", ".log", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".tex"}
_RST = {".rst"}
_CODE = {
    ".py", ".pyi", ".js", ".jsx", ".ts", ".tsx", ".mjs", ".go", ".rs", ".java", ".kt", ".scala", ".c", ".h", ".cc",
    ".cpp", ".hpp", ".cs", ".rb", ".php", ".swift", ".sh", ".bash", ".sql", ".lua", ".pl", ".r", ".jl", ".ex", ".hs",
    ".css", ".proto",
}  # fmt: skip
_PARSED = {".pdf", ".docx", ".html", ".htm", ".xhtml"}
#: Names without a suffix that hold text.
_NAMES = {"readme", "license", "copying", "authors", "changelog", "news", "makefile", "dockerfile"}
_SKIPPED_FOLDERS = {"node_modules", "__pycache__", "venv", "site-packages"}


@dataclass(frozen=True, slots=True)
class Content:
    """A file's text, how it is cut, and its title where its format has one."""

    text: str
    form: Form
    title: str = ""


def walk(folder: Path, unlisted: list[OSError]) -> Iterator[Path]:
    """Files below a folder in sorted order; links are given but never followed, hidden and tool folders left out.

    Why a folder cannot be listed goes to `unlisted`.
    """
    for place, folders, names in os.walk(folder, onerror=unlisted.append):
        folders[:] = sorted(
            each for each in folders if not each.startswith(".") and each not in _SKIPPED_FOLDERS
            and not os.path.exists(Path(place) / each / "pyvenv.cfg")  # noqa: PTH110 - Path's raises where it may not look
        )  # fmt: skip
        for name in sorted(names):
            yield Path(place) / name


def is_document(path: Path) -> bool:
    """Whether a file of this name, which is no link, is one that can be indexed."""
    if path.name.endswith(".usearch.json"):  # an index's own, kept among its documents
        return False
    suffix = path.suffix.lower()
    known = suffix in _MARKDOWN | _PLAIN | _RST | _CODE | _PARSED or (not suffix and path.name.lower() in _NAMES)
    return known and not path.name.startswith(".") and not os.path.islink(path)  # noqa: PTH114 - as above


def read(path: Path, max_bytes: int = MAX_BYTES) -> bytes:
    """A regular file's bytes.

    Raises:
        ParseError: it is no regular file, empty, too large or cannot be read.
    """
    try:
        # without O_NONBLOCK the opening of a pipe waits for a writer
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        msg = f"cannot be opened: {error.strerror}. Check its permissions."
        raise ParseError(msg) from error
    with os.fdopen(descriptor, "rb") as opened:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            msg = "is no regular file (a pipe, device or socket). Remove it from the folder."
            raise ParseError(msg)
        try:
            found = opened.read(max_bytes + 1) if state.st_size <= max_bytes else b""
        except OSError as error:
            msg = f"cannot be read: {error.strerror}."
            raise ParseError(msg) from error
    if state.st_size > max_bytes or len(found) > max_bytes:
        size = max(state.st_size, len(found))
        msg = f"has {size:,} bytes, the limit is {max_bytes:,}. Split it, or raise Index(max_bytes=)."
        raise ParseError(msg)
    return found


def content(path: Path, data: bytes, parser: Parser) -> Content:
    """The text of a file's bytes.

    Plain files give their characters unchanged (line ends, byte order mark), so positions count in the file itself;
    in PDF, Word and HTML they count in the extracted text.

    Raises:
        ParseError: empty, binary, not UTF-8 (or UTF-16 or UTF-32 with a mark), or its format's parser gave up.
        MissingExtra: the format's parser is not installed.
    """
    suffix = path.suffix.lower()
    if not data:
        msg = "is empty."
        raise ParseError(msg)
    if suffix in _PARSED:
        parsed = parser.parse(data, suffix)
        return Content(_with_words(parsed.text), "plain" if suffix == ".pdf" else "markdown", parsed.title)
    text = _with_words(_decoded(data))
    if suffix in _CODE:
        return Content(text, "code", path.name)
    return Content(text, "markdown" if suffix in _MARKDOWN else "rst" if suffix in _RST else "plain")


def _with_words(text: str) -> str:
    if not text.strip().strip("\ufeff"):
        msg = "holds no text (a scanned document needs OCR first)."
        raise ParseError(msg)
    return text


def _decoded(data: bytes) -> str:
    marks = {"utf-32": (BOM_UTF32_LE, BOM_UTF32_BE), "utf-16": (BOM_UTF16_LE, BOM_UTF16_BE)}  # one begins as the other
    encoding = next((name for name, mark in marks.items() if data.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in data:
        msg = f"holds a NUL byte at {data.index(0):,}: it is a binary file. Remove it or rename its suffix."
        raise ParseError(msg)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        bad = f"byte 0x{data[error.start]:02x} at {error.start:,}"
        msg = f"is not {encoding.upper()} ({bad}). Convert it, for example: iconv -f latin1 -t utf-8."
        raise ParseError(msg) from error


__all__ = ["MAX_BYTES", "Content", "content", "is_document", "read", "walk"]
