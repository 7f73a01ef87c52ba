"""Conversations, a tool and a listener for the tests of both bridges."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

import synthon as sy

WEATHER = sy.ToolSpec("weather", "The weather in a city.", '{"type":"object","properties":{"city":{"type":"string"}}}')
PICTURE = sy.Image("aGVsbG8=", "image/jpeg")


class Pieces:
    retractable = False

    def __init__(self) -> None:
        self.deltas: list[sy.Delta] = []

    def __call__(self, delta: sy.Delta, /) -> None:
        self.deltas.append(delta)

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)


class Ours:
    name, description = "look", "Look at it."
    parameters = '{"type":"object","properties":{"what":{"type":"string"}},"required":["what"]}'
    effects = frozenset({"read"})

    async def call(self, arguments: Any) -> sy.ToolResult:
        if arguments["what"] == "nothing":
            return sy.ToolResult("", (sy.Text("there is nothing"),), is_error=True)
        return sy.ToolResult("", (sy.Text(f"a {arguments['what']}"), sy.Image("aGVsbG8=")))


def kinds(journal: sy.MemoryJournal) -> list[tuple[str, str]]:
    rows = [row.span if isinstance(row, sy.CallRecord) else row for row in journal.records]
    return [(row.name, row.kind) for row in rows if isinstance(row, sy.Span)]


TEXTS = st.text(min_size=1, max_size=12)
IMAGES = st.one_of(
    st.builds(sy.Image, data=st.just("aGVsbG8="), media_type=st.sampled_from(["image/png", "image/jpeg"])),
    st.builds(sy.Image, url=st.just("http://localhost/cat.png"), media_type=st.just("image/png")),
)
SAID = st.lists(st.one_of(st.builds(sy.Text, TEXTS), IMAGES), min_size=2, max_size=4).map(tuple)
CALLS = st.builds(
    sy.ToolCall,
    id=TEXTS,
    name=st.sampled_from(["weather", "add"]),
    arguments=st.sampled_from(['{"city":"Bern"}', "{}", '{"broken', "[1]"]),
)
REASONS = st.builds(sy.Reasoning, TEXTS, signature=st.sampled_from(["", "seal"]), redacted=st.booleans())
ANSWERS = st.tuples(
    st.lists(REASONS, max_size=2),
    st.lists(st.builds(sy.Text, TEXTS), max_size=1),
    st.lists(CALLS, min_size=1, max_size=3),
).map(lambda parts: (*parts[0], *parts[1], *sorted(parts[2], key=lambda call: call.arguments in {'{"broken', "[1]"})))
_TURN = st.one_of(
    st.builds(sy.Message, st.sampled_from(["system", "user", "assistant"]), TEXTS),
    st.builds(sy.Message, st.just("user"), SAID),
    st.builds(sy.Message, st.just("assistant"), ANSWERS),
    st.builds(
        sy.ToolResult, TEXTS, st.lists(st.builds(sy.Text, TEXTS), min_size=1, max_size=1).map(tuple), st.booleans()
    ).map(lambda result: sy.Message("tool", (result,))),
    st.builds(sy.ToolResult, TEXTS, SAID, st.booleans()).map(lambda result: sy.Message("tool", (result,))),
)
TURNS = st.lists(_TURN, max_size=5)
