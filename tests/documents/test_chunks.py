"""Chunks: exact places, nothing lost, headings above them."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from synthon.documents.chunks import Chunk, Form, cut, first_heading

FORMS: list[Form] = ["plain", "markdown", "rst", "code"]
LINES = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.sampled_from(["# One", "## Two #", "Title", "=====", "-----", "```", "def f():", "", "\r", "word " * 40]),
    )
)


@given(lines=LINES, form=st.sampled_from(FORMS), characters=st.integers(1, 120))
@example(lines=["# \u2028a", "漢字。" * 50, "👩‍👩‍👧‍👦" * 30], form="markdown", characters=7)
def test_chunks_hold_every_visible_character_once_in_order(lines: list[str], form: Form, characters: int) -> None:
    text = "\n".join(lines)
    chunks = cut(text, characters=characters, form=form)
    place = int(text.startswith("\ufeff"))
    for chunk in chunks:
        assert text[place : chunk.start].strip() == ""
        assert place <= chunk.start < chunk.end <= chunk.start + characters
        assert text[chunk.start : chunk.end].strip() == text[chunk.start : chunk.end]
        place = chunk.end
    assert text[place:].strip() == ""


def test_markdown_headings_are_the_title_of_what_stands_below_them() -> None:
    text = "intro\n# A\none\n## B\ntwo\n```\n# no heading\n```\n# C\nthree\nD\n---\nfour\n"
    found = [(text[each.start : each.end], each.title) for each in cut(text, characters=100, form="markdown")]
    assert found == [
        ("intro", ""),
        ("# A\none", "A"),
        ("## B\ntwo\n```\n# no heading\n```", "A > B"),
        ("# C\nthree", "C"),
        ("D\n---\nfour", "C > D"),
    ]


def test_a_heading_without_text_stays_with_the_next_one() -> None:
    text = "# A\n\n## B\n\ntext"
    assert cut(text, characters=100, form="markdown", title="doc") == [Chunk(0, len(text), "doc > A > B")]


def test_rst_underlines_nest_in_the_order_they_appear() -> None:
    text = "Top\n***\none\n\nSub\n---\ntwo\n\nNext\n****\nthree\n"
    assert [each.title for each in cut(text, characters=100, form="rst")] == ["Top", "Top > Sub", "Next"]


def test_code_is_cut_before_definitions() -> None:
    text = "import os\n\n\ndef first():\n    pass\n\n\npub fn second() {\n}\n"
    found = [(text[each.start : each.end], each.title) for each in cut(text, characters=100, form="code")]
    assert found == [("import os", ""), ("def first():\n    pass", "first"), ("pub fn second() {\n}", "second")]


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("---\nauthor: x\n---\n# One\n\nwords", "markdown"),
        ("# One\n\nwords", "markdown"),
        ("One\n===\n\nwords\n", "rst"),
        ("def one():\n    pass", "code"),
        ("words only", "plain"),
    ],
)
def test_a_byte_order_mark_is_no_part_of_a_text(text: str, form: Form) -> None:
    plain = cut(text, characters=100, form=form)
    marked = cut(f"\ufeff{text}", characters=100, form=form)
    assert marked == [Chunk(each.start + 1, each.end + 1, each.title) for each in plain]
    assert first_heading(f"\ufeff{text}", form) == first_heading(text, form)


@pytest.mark.parametrize("text", ["", " \n\t\n", "\u3000", "\ufeff", "\ufeff\n"])
def test_blank_text_has_no_chunk(text: str) -> None:
    assert cut(text, characters=10) == []
