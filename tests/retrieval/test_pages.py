"""What is read out of pages: their letters, what of them is content, their headings."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from synthon.documents.chunks import cut, first_heading
from synthon.documents.parsing import ParseError, Parser
from synthon.documents.sentences import sentences

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    with Parser() as made:
        yield made


def read(parser: Parser, page: str | bytes) -> str:
    return parser.parse(page if isinstance(page, bytes) else page.encode(), ".html").text.strip()


@pytest.mark.parametrize(
    "page",
    [
        b"<meta charset=iso-8859-1><p>Caf\xe9 cr\xe8me</p>",
        b'<meta http-equiv="Content-Type" content="text/html; charset=windows-1252"><p>Caf\xe9 cr\xe8me</p>',
        "<p>Café crème</p>".encode("utf-16"),
        b"\xef\xbb\xbf" + "<meta charset=latin1><p>Café crème</p>".encode(),
        "<meta charset=utf-16><p>Café crème</p>".encode(),
        "<p>Café crème</p>".encode(),
    ],
)
def test_a_page_is_read_in_the_encoding_it_names(parser: Parser, page: bytes) -> None:
    assert read(parser, page) == "Café crème"


@pytest.mark.parametrize(("page", "name"), [(b"<p>Caf\xe9</p>", "utf-8"), (b"<meta charset=klingon><p>x", "klingon")])
def test_a_page_in_no_known_encoding_is_refused(parser: Parser, page: bytes, name: str) -> None:
    with pytest.raises(ParseError, match=rf"is no text in '{name}'.*Save it as UTF-8"):
        read(parser, page)


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<body><p>Open from nine to five.</p><article>A post.</article>", "Open from nine to five.\n\nA post."),
        ("<main></main><article>The post.</article>", "The post."),
        ("<article>One. <article>Two.</article></article>", "One. Two."),
        ("<body><p>top</p><main>The main part.</main>", "The main part."),
        ("<p>A note.</p><article>The first of two posts.</article><article>The second.</article>",
         "The first of two posts. The second."),
        ('<body><form id="aspnetForm"><h1>Hours</h1><button>Send</button><p>From nine.</p></form>',
         "# Hours\n\nFrom nine."),
    ],
)  # fmt: skip
def test_nothing_of_a_page_is_lost_or_doubled(parser: Parser, page: str, text: str) -> None:
    assert " ".join(read(parser, page).split()) == " ".join(text.split())


def test_libraries_are_found_where_this_process_finds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker is isolated, so by itself it knows neither PYTHONPATH nor what is installed for the user alone."""
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"  # has none of the libraries of here
    monkeypatch.setattr(sys, "executable", str(python))
    with Parser() as parser:
        assert read(parser, "<h1>Hours</h1>") == "# Hours"


def test_a_parser_is_closed_while_it_parses() -> None:
    """Leaving waited for the parsing thread, for up to half a minute."""
    parser = Parser(parse_s=20)
    failures: list[ParseError] = []

    def parse() -> None:
        for _ in range(3):
            try:
                parser.parse(b"<div>" * 300_000, ".html")
            except ParseError as error:
                failures.append(error)

    thread = threading.Thread(target=parse)
    thread.start()
    time.sleep(0.5)
    start = time.monotonic()
    parser.__exit__(None, None, None)
    thread.join()
    assert time.monotonic() - start < 2
    assert "closed" in str(failures[-1])


def test_a_heading_of_many_blanks_is_read_at_once() -> None:
    """It took time with the third power of the blanks, and nothing could stop it."""
    start = time.process_time()
    line = "# Title" + " " * 100_000 + "."
    assert len(cut(line, characters=2_000, form="markdown")) == 2
    assert [len(sentences("." * 20_000 + "x"))] == [1]
    assert time.process_time() - start < 2


@pytest.mark.parametrize(
    ("line", "title"),
    [("# C#", "C#"), ("# Closed ##", "Closed"), ("## Closed \t#  ", "Closed"), ("#  a # b", "a # b"), ("# ##", "")],
)  # fmt: skip
def test_marks_that_close_a_heading_stand_after_a_blank(line: str, title: str) -> None:
    assert first_heading(line, "markdown") == title


@pytest.mark.parametrize("end", ["---", "..."])
def test_fields_about_a_page_are_no_heading(end: str) -> None:
    text = f"---\ntitle: My page\nlayout: post\n{end}\n\nBefore.\n\n# Real\n\nBody."
    assert first_heading(text, "markdown") == "Real"
    assert [chunk.title for chunk in cut(text, characters=1_000, form="markdown")] == ["", "Real"]
    assert first_heading("---\nNo fields\n---\n", "markdown") == "No fields"
