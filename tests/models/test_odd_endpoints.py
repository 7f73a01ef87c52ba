"""Endpoints that do less, or other, than their protocol says."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthon.core.constraints import Schema
from synthon.core.identity import dumps
from synthon.core.values import Message, Request, ToolCall, ToolSpec
from synthon.models.anthropic_model import AnthropicMessages
from tests.models.chats import QUESTION, chat, heard, piece, whole
from tests.models.loopback import Heard, Reply, answering, events, named

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


async def test_what_is_no_utf_8_is_read_alike_from_a_stream_and_from_one_piece() -> None:
    told = json.dumps(whole({"content": "Par?is"})).encode().replace(b"?", b"\xff\xe2\x82")
    streamed = events(piece(content="Par?is"), piece("stop")).replace(b"?", b"\xff\xe2\x82")
    in_one = Reply(chunks=[told], headers={"content-type": "application/json"})
    async with answering(in_one, Reply(chunks=[streamed])) as at:
        answers = await chat(at).complete(QUESTION), await chat(at).complete(QUESTION, Heard())
    assert [answer.text for answer in answers] == ["Par\ufffd\ufffdis"] * 2


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


# ---- usage that is none


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None, "completion_tokens": 1}, {"total_tokens": 900}])
@pytest.mark.parametrize("streams", [True, False])
async def test_without_both_counts_all_that_was_sent_and_received_is_charged(*, usage: object, streams: bool) -> None:
    tool = ToolSpec("look", "d" * 2_000, '{"type": "object"}')
    asked = replace(QUESTION, tools=(tool,), constraint=Schema('{"type": "object", "title": "%s"}' % ("t" * 700)))
    said: dict[str, Any] = {
        "tool_calls": [{"index": 0, "function": {"name": "look", "arguments": '{"a": "%s"}' % ("x" * 500)}}]
    }
    reply = (
        Reply(chunks=[events(piece("stop", **said) | {"usage": usage})]) if streams else Reply(whole(said, usage=usage))
    )
    async with answering(reply) as loopback:
        answer = await chat(loopback).complete(asked, *([Heard()] if streams else []))
        body = loopback.received[0].body
    assert answer.usage.input_tokens == len(dumps(body))
    assert answer.usage.output_tokens == len("look" + '{"a": ""}') + 500


@pytest.mark.parametrize("usage", [{}, {"input_tokens": None, "output_tokens": 1}, {"output_tokens": 9}])
async def test_messages_without_both_counts_are_charged_whole(usage: object) -> None:
    asked = Request((Message("system", "s" * 5_000), Message("user", "q")))
    call: dict[str, object] = {"type": "tool_use", "id": "t", "name": "look", "input": {"a": "x" * 500}}
    async with answering(Reply(message({"type": "text", "text": "So"}, call, usage=usage))) as loopback:
        answer = await AnthropicMessages("m", loopback.url, api_key="k").complete(asked)
        body = loopback.received[0].body
    assert answer.usage.input_tokens == len(dumps(body)) > 5_000
    assert answer.usage.output_tokens == len("So" + "look" + '{"a":""}') + 500


# ---- tool calls that cannot be told apart by index and id


def called(name: str, arguments: str, id_: str = "", index: int | None = None) -> dict[str, object]:
    return ({} if index is None else {"index": index}) | {"id": id_, "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(("id_", "index"), [("c", None), ("", None), ("", 0), ("c", 0)])
async def test_each_call_of_a_whole_answer_is_a_call(id_: str, index: int | None) -> None:
    calls = [called("f", '{"a":1}', id_, index), called("g", '{"b":2}', id_, index), called("g", "", id_, index)]
    async with answering(Reply(whole({"tool_calls": calls}))) as loopback:
        answer = await chat(loopback).complete(QUESTION)
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [
        ("f", '{"a":1}'),
        ("g", '{"b":2}'),
        ("g", "{}"),
    ]


@pytest.mark.parametrize("id_", ["", "c"])
async def test_in_a_stream_a_name_after_whole_arguments_begins_a_call(id_: str) -> None:
    stream = [
        called("f", '{"a"', id_, 0), called("", ":1}", "", 0),
        called("g", "", id_, 0), called("g", '{"b":', id_, 0), called("", "2}", "", 0),
    ]  # fmt: skip
    answer, _ = await heard(*[piece(tool_calls=[each]) for each in stream], piece("tool_calls"))
    assert answer.tool_calls == (ToolCall(id_ or "call_0", "f", '{"a":1}'), ToolCall(id_ or "call_1", "g", '{"b":2}'))


async def test_a_server_that_repeats_id_and_name_in_every_piece_makes_one_call() -> None:
    stream = [called("f", said, "c", 0) for said in ('{"a"', ":1}", "")]
    answer, _ = await heard(*[piece(tool_calls=[each]) for each in stream], piece("tool_calls"))
    assert answer.tool_calls == (ToolCall("c", "f", '{"a":1}'),)


async def test_pieces_without_any_sign_go_on_with_the_last_call() -> None:
    rest: dict[str, object] = {"function": {"arguments": '"a":1}'}}
    stream = [{"id": "c", "function": {"name": "f", "arguments": "{"}}, rest, {"function": {"name": "g"}}]
    answer, _ = await heard(*[piece(tool_calls=[each]) for each in stream], piece("tool_calls"))
    assert answer.tool_calls == (ToolCall("c", "f", '{"a":1}'), ToolCall("call_1", "g", "{}"))
