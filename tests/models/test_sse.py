from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthon.models.sse import Event, EventReader

LINES = st.lists(
    st.sampled_from(
        ["data: a", "data:b", "data", "data:  two spaces", "event: error", ": comment", "", "", "id: 7", "retry: 1"]
    )
    | st.text(alphabet="aé€😀: \u2028\x0b", max_size=6).map(lambda text: f"data: {text}"),
    max_size=12,
)
CUTS = st.lists(st.integers(0, 10_000), max_size=30)
ENDS = st.sampled_from(["\n", "\r", "\r\n"])


def read(chunks: list[bytes]) -> list[Event]:
    reader = EventReader()
    return [event for chunk in chunks for event in reader.feed(chunk)] + reader.close()


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    return [stream[start:end] for start, end in pairwise(places)]


@given(LINES, st.lists(ENDS, min_size=12, max_size=12), st.sampled_from(["", "\ufeff"]), CUTS)
def test_any_split_of_the_bytes_gives_the_same_events(
    lines: list[str], ends: list[str], bom: str, cuts: list[int]
) -> None:
    text = "".join(line + end for line, end in zip(lines, ends, strict=False))
    stream = (bom + text).encode()
    whole = read([stream])
    assert read(split(stream, cuts)) == whole
    assert read([stream[at : at + 1] for at in range(len(stream))]) == whole


@given(st.binary(max_size=60), st.lists(st.integers(0, 100), max_size=10))
def test_hostile_bytes_never_raise_and_split_alike(stream: bytes, cuts: list[int]) -> None:
    assert read(split(stream, cuts)) == read([stream])


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1), max_size=5))
def test_what_was_written_is_read(payloads: list[str]) -> None:
    stream = "".join(f"data: {payload}\n\n" for payload in payloads).encode()
    assert [event.data for event in read([stream])] == payloads


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_names_comments_and_many_lines_are_read_as_the_standard_says(end: str) -> None:
    lines = [
        ":ping",
        "event: news",
        "data: one",
        "data:two",
        "",
        "data",
        "",
        "event: nothing",
        "",
        "data: last",
        "",
        "",
    ]
    assert read([end.join(lines).encode()]) == [
        Event("news", "one\ntwo"),
        Event("message", ""),
        Event("message", "last"),
    ]


def test_a_byte_order_mark_is_skipped_only_at_the_start() -> None:
    assert read(["\ufeffdata: a\n\ndata: \ufeffb\n\n".encode()]) == [Event("message", "a"), Event("message", "\ufeffb")]


def test_an_event_without_its_blank_line_is_given_at_the_end() -> None:
    assert read([b"data: a\n\ndata: rest"]) == [Event("message", "a"), Event("message", "rest")]


def test_a_line_that_comes_in_two_byte_chunks_is_read_in_linear_time() -> None:
    line = b"data: " + b"x" * 2**20 + b"\n\n"
    assert len(read([line[at : at + 2] for at in range(0, len(line), 2)])[0].data) == 2**20
