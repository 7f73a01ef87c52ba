"""The parser's process: reads (suffix, bytes) from stdin, answers with JSON on stdout; imports nothing of ours."""

from __future__ import annotations

import codecs
import functools
import io
import json
import os
import re
import resource
import struct
import sys
import zipfile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markitdown import MarkItDown
    from selectolax.lexbor import LexborNode

#: Address space of the process; a document that needs more is refused by the system.
_MEMORY_BYTES = 3 * 1024**3
#: An archive may unpack to this much, whatever its ratio, and beyond it to no more than 100 times its size.
_UNPACKED_BYTES = 20 * 1024**2
_RATIO = 100
_TEXT_CHARACTERS = 20_000_000
_CHARSET = re.compile(rb"<meta\b[^>]*\bcharset\s*=\s*[\"']?\s*([\w.:-]+)", re.IGNORECASE)
_WESTERN = {"iso-8859-1", "iso8859-1", "latin1", "latin-1", "l1", "ascii", "us-ascii"}


class _RefusedError(Exception):
    """The document breaks a limit; the message continues its name."""


def main() -> None:
    # libraries that only the asking process's settings know: of its user, of PYTHONPATH
    sys.path += [place for place in sys.argv[1:] if place.startswith("/") and place not in sys.path]
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    stdin, out = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with the answers
    while head := stdin.read(9):
        letters, size = struct.unpack("<BQ", head)
        suffix = stdin.read(letters).decode()
        answer = json.dumps(_answer(suffix, stdin.read(size))).encode()
        out.write(struct.pack("<Q", len(answer)) + answer)
        out.flush()


def _answer(suffix: str, data: bytes) -> dict[str, str]:
    parse = {".pdf": _pdf, ".docx": _docx}.get(suffix, _html)
    try:
        text, title = parse(data)
    except ImportError as error:
        return {"missing": error.name or str(error)}
    except _RefusedError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": "needs more memory than its parser may take. It may be built to do so; remove or convert it."}
    except Exception as error:  # noqa: BLE001  # the edge of a file: whatever its parser raises is its failure
        return {"error": f"cannot be parsed ({type(error).__name__}: {str(error)[:200]}). Is it damaged?"}
    if len(text) > _TEXT_CHARACTERS:
        return {"error": f"holds {len(text):,} characters, the limit is {_TEXT_CHARACTERS:,}. Split it."}
    # parsers keep what cannot be stored as UTF-8
    clean = text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ")
    return {"text": clean, "title": " ".join(title.split())[:200].encode("utf-8", "replace").decode("utf-8")}


def _pdf(data: bytes) -> tuple[str, str]:
    import pypdf  # noqa: PLC0415  # loaded when such a file comes

    reader = pypdf.PdfReader(io.BytesIO(data))
    if reader.is_encrypted and not reader.decrypt(""):
        msg = "is encrypted. Save it without a password."
        raise _RefusedError(msg)
    pages: list[str] = []
    total = 0
    for page in reader.pages:
        pages.append(page.extract_text())
        total += len(pages[-1])
        if total > _TEXT_CHARACTERS:
            break
    return "\n\n".join(pages), str((reader.metadata and reader.metadata.title) or "")


def _docx(data: bytes) -> tuple[str, str]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > max(_UNPACKED_BYTES, _RATIO * len(data)) or unpacked > 50 * _UNPACKED_BYTES:
        msg = f"would unpack {len(data):,} bytes to {unpacked:,}: an archive bomb. Remove it."
        raise _RefusedError(msg)
    return _markdown(data, ".docx"), ""


def _html(data: bytes) -> tuple[str, str]:
    from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415  # loaded when such a file comes

    tree = LexborHTMLParser(_decoded(data))
    named = tree.css_first("title")
    title = named.text(strip=True) if named is not None else ""
    for node in tree.css(
        "head, script, style, noscript, template, svg, nav, header nav, footer, aside, button, select"
    ):
        node.decompose()
    body = tree.css("body")
    held = sum(_letters(part) for part in body)
    main, articles = (_outermost(tree.css(name), name) for name in ("main", "article"))
    # only what carries words: links and pictures are noise in a passage
    if any(map(_letters, main)):
        body = main
    elif 2 * sum(map(_letters, articles)) >= held:
        body = articles or body
    for part in body:
        part.unwrap_tags(["a", "form"])
        part.strip_tags(["img", "video", "iframe"])
    page = "".join(part.html or "" for part in body)
    return _markdown(f"<html><body>{page}</body></html>".encode(), ".html"), title


def _decoded(data: bytes) -> str:
    """By the mark at the start, else by what the page says of itself, else UTF-8; as the HTML standard reads names."""
    marks = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
    mark = next((mark for mark in marks if data.startswith(mark)), b"")
    said = _CHARSET.search(data[:2048])
    name = marks[mark] if mark else said[1].decode().lower() if said else "utf-8"
    name = "utf-8" if not mark and name.startswith("utf-16") else "cp1252" if name in _WESTERN else name
    try:
        return data[len(mark) :].decode(name)
    except (LookupError, UnicodeDecodeError) as error:
        msg = f"is no text in {name!r} ({error}). Save it as UTF-8."
        raise _RefusedError(msg) from error


def _letters(node: LexborNode) -> int:
    return len(node.text(strip=True))


def _outermost(nodes: Sequence[LexborNode], name: str) -> list[LexborNode]:
    return [node for node in nodes if not any(above.tag == name for above in _above(node))]


def _above(node: LexborNode) -> Iterator[LexborNode]:
    parent = node.parent
    while parent is not None:
        yield parent
        parent = parent.parent


@functools.cache
def _converter() -> MarkItDown:
    from markitdown import MarkItDown  # noqa: PLC0415  # loaded when such a file comes

    return MarkItDown(enable_plugins=False)


def _markdown(data: bytes, extension: str) -> str:
    from markitdown import StreamInfo  # noqa: PLC0415  # loaded when such a file comes

    info = StreamInfo(extension=extension, charset="utf-8")
    # a quote shows `apt_get` as the page does, not `apt\\_get`
    plain: dict[str, Any] = {"escape_underscores": False, "escape_asterisks": False, "escape_misc": False}
    return _converter().convert_stream(io.BytesIO(data), stream_info=info, **plain).markdown


if __name__ == "__main__":
    main()
