"""Endpoints that do less, or other, than their protocol says."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from synthon.models.anthropic_model import AnthropicMessages
from tests.models.chats import QUESTION, chat, heard, piece, whole
from tests.models.loopback import Heard, Reply, answering, named

# ---- characters cut in two, as endpoints do that count in UTF-16

HALF = "\ud83d"


def message(*blocks: dict[str, object], **more: object) -> dict[str, Any]:
    return {"type": "message", "content": blocks, "stop_reason": "end_turn"} | more


def halves(text: str) -> str:
    """The text with each character beyond 16 bits as two."""
    return "".join(map(chr, memoryview(text.encode("utf-16-le", "surrogatepass")).cast("H")))


async def test_an_answer_with_half_a_character_is_an_answer() -> None:
    replies = Reply(whole({"content": f"a{HALF} b"})), Reply(message({"type": "text", "text": f"a{HALF} b"}))
    async with answering(*replies) as loopback:
        chatted = await chat(loopback).complete(QUESTION)
        messaged = await AnthropicMessages("m", loopback.url, api_key="k").complete(QUESTION)
    assert chatted.text == messaged.text == f"a{HALF} b"


SAID = st.text(st.sampled_from("a😀é\ud83d\ude00"), max_size=8)


@given(text=SAID, thought=SAID, cuts=st.lists(st.integers(0, 16), max_size=4))
async def test_characters_cut_in_two_by_a_stream_are_heard_and_returned_whole(
    text: str, thought: str, cuts: list[int]
) -> None:
    def cut(said: str) -> list[str]:
        places = sorted([0, *cuts, len(halves(said))])
        return [halves(said)[start:end] for start, end in pairwise(places)]

    thoughts, texts = cut(thought), cut(text)
    answer, emit = await heard(
        *[piece(reasoning=said) for said in thoughts], *[piece(content=said) for said in texts], piece("stop")
    )
    expected = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    assert answer.text == emit.text == expected
    assert "".join(block.text for block in answer.reasoning) == emit.reasoning
    deltas = [{"type": "thinking_delta", "thinking": said} for said in thoughts]
    deltas += [{"type": "text_delta", "text": said} for said in texts]
    stream = named(
        *[{"type": "content_block_delta", "index": int("text" in delta), "delta": delta} for delta in deltas],
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
    )
    async with answering(Reply(chunks=[stream])) as loopback:
        emit = Heard()
        answer = await AnthropicMessages("m", loopback.url, api_key="k").complete(QUESTION, emit)
    assert answer.text == emit.text == expected


async def test_arguments_cut_in_a_character_are_joined() -> None:
    pieces = [
        [{"index": 0, "id": "t", "function": {"name": "f", "arguments": said}}] for said in ('{"a":"\ud83d', '\ude00"}')
    ]
    answer, _ = await heard(*[piece(tool_calls=each) for each in pieces], piece("tool_calls"))
    assert json.loads(answer.tool_calls[0].arguments) == {"a": "😀"}
