from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthon as sy
from synthon.core.constraints import Choice, Schema
from synthon.core.errors import ProviderError, Unsupported, UserError
from synthon.core.values import (
    Completion,
    Image,
    Message,
    Reasoning,
    Request,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)
from synthon.models.anthropic_model import AnthropicMessages
from tests.models.loopback import Heard, Loopback, Reply, answering, named

if TYPE_CHECKING:
    from synthon.core.values import Finish

KEY = "sk-ant-very-secret-0123456789"
QUESTION = Request((Message("system", "Be brief."), Message("user", "Which city?")))
USAGE = {
    "input_tokens": 40,
    "cache_read_input_tokens": 50,
    "cache_creation_input_tokens": 10,
    "output_tokens": 20,
    "output_tokens_details": {"thinking_tokens": 5},
}
USED = Usage(40, 50, 10, 20, 5)


def whole(*content: object, stop: str = "end_turn", usage: object = USAGE) -> dict[str, object]:
    return {"type": "message", "model": "claude-city-1", "content": content, "stop_reason": stop, "usage": usage}


def said(text: str) -> dict[str, object]:
    return {"type": "text", "text": text}


PARIS = Reply(whole(said("Paris")))


def claude(loopback: Loopback, **settings: Any) -> AnthropicMessages:
    return AnthropicMessages("claude-city", loopback.url, **({"api_key": KEY} | settings))


async def sent(request: Request, **settings: Any) -> dict[str, Any]:
    """The body that a request becomes."""
    async with answering(PARIS) as loopback:
        await claude(loopback, **settings).complete(request)
        return loopback.received[0].body


async def test_an_answer_has_text_usage_in_disjoint_parts_and_the_model_that_gave_it() -> None:
    async with answering(PARIS) as loopback:
        answer = await claude(loopback).complete(QUESTION)
    assert answer == Completion("Paris", USED, model="claude-city-1")
    got = loopback.received[0]
    assert (got.path, got.headers["x-api-key"], got.headers["anthropic-version"]) == ("/v1/messages", KEY, "2023-06-01")
    assert got.body == {
        "model": "claude-city",
        "max_tokens": 16_384,
        "system": [said("Be brief.")],
        "messages": [{"role": "user", "content": [said("Which city?")]}],
    }


async def test_an_endpoint_without_usage_is_charged_an_upper_bound() -> None:
    async with answering(Reply(whole(said("Paris"), usage=None))) as loopback:
        usage = (await claude(loopback).complete(QUESTION)).usage
    assert usage.input_tokens >= len("Which city?")
    assert usage.output_tokens == len("Paris")


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
        ("pause_turn", "stop"),
    ],
)
async def test_every_reason_to_stop_is_one_of_four(stop: str, finish: Finish) -> None:
    async with answering(Reply(whole(said("x"), stop=stop))) as loopback:
        assert (await claude(loopback).complete(QUESTION)).finish == finish


async def test_parameters_tools_and_schema_have_their_fields() -> None:
    schema = '{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}},"required":["a"]}'
    request = replace(
        QUESTION,
        temperature=0.5,
        max_tokens=9,
        top_p=0.9,
        top_k=4,
        stop=("END",),
        tools=(ToolSpec("weather", "Weather now", '{"type":"object"}'),),
        constraint=Schema(schema),
        extra='{"output_config": {"effort": "low", "format": null}, "thinking": {"type": "adaptive"}}',
    )
    body = await sent(request)
    assert body["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": json.loads(schema) | {"additionalProperties": False}},
    }
    assert body["tools"] == [{"name": "weather", "description": "Weather now", "input_schema": {"type": "object"}}]
    assert "tool_choice" not in body
    choices: dict[Literal["required", "none"], str] = {"required": "any", "none": "none"}
    for choice, kind in choices.items():
        assert (await sent(replace(request, tool_choice=choice)))["tool_choice"] == {"type": kind}
    assert (body["temperature"], body["top_p"], body["top_k"], body["stop_sequences"]) == (0.5, 0.9, 4, ["END"])
    assert (body["max_tokens"], body["thinking"]) == (9, {"type": "adaptive"})


async def test_a_tool_loop_sends_sealed_thinking_calls_and_results_back() -> None:
    thinking = {"type": "thinking", "thinking": "I must look.", "signature": "Eq0BC"}
    hidden = {"type": "redacted_thinking", "data": "EmwKA"}
    call = {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Paris"}}
    first = whole(thinking, hidden, said("Let me see."), call, stop="tool_use")
    async with answering(Reply(first), PARIS) as loopback:
        answer = await claude(loopback).complete(QUESTION)
        assert answer.reasoning == (Reasoning("I must look.", "Eq0BC"), Reasoning("", "EmwKA", redacted=True))
        assert answer.tool_calls == (ToolCall("t1", "weather", '{"city":"Paris"}'),)
        results = (
            Message("tool", (ToolResult("t1", (Text("17 degrees"), Image("aGk="))),)),
            Message("tool", (ToolResult("t2", (Text("no such city"),), is_error=True),)),
            Message("user", "And now?"),
        )
        await claude(loopback).complete(replace(QUESTION, messages=(*QUESTION.messages, answer.message, *results)))
    turns = loopback.received[1].body["messages"]
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[1]["content"] == [thinking, hidden, said("Let me see."), call]
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
    assert turns[2]["content"] == [
        {"type": "tool_result", "tool_use_id": "t1", "content": [said("17 degrees"), picture], "is_error": False},
        {"type": "tool_result", "tool_use_id": "t2", "content": [said("no such city")], "is_error": True},
        said("And now?"),
    ]


async def test_marks_images_and_foreign_parts_are_shaped_for_messages() -> None:
    parts = (
        Text("long", cache=True),
        Text(""),
        Image(url="http://host/cat.png"),
        Reasoning("unsealed"),
        Reasoning("another's", "reasoning_content"),
        ToolCall("t1", "f", "{broken"),
    )
    (turn,) = (await sent(Request((Message("assistant", parts),))))["messages"]
    assert turn["content"] == [
        said("long") | {"cache_control": {"type": "ephemeral"}},
        {"type": "image", "source": {"type": "url", "url": "http://host/cat.png"}},
        {"type": "tool_use", "id": "t1", "name": "f", "input": {"INVALID_JSON": "{broken"}},
    ]


async def test_a_system_prompt_alone_is_the_users_turn() -> None:
    for user in ((), (Message("user", ""),)):
        body = await sent(Request((Message("system", "Tell a joke."), *user)))
        assert body["messages"] == [{"role": "user", "content": [said("Tell a joke.")]}]
        assert "system" not in body


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"seed": 1}, "know no 'seed'"),
        ({"min_p": 0.1}, "know no 'min_p'"),
        ({"constraint": Choice(("a",))}, "lack 'grammar'"),
        ({"logprobs": 1}, "lack 'logprobs'"),
        ({"continuations": ("a",)}, "lack 'score'.*sy.local"),
    ],
)
async def test_what_messages_cannot_do_is_refused_before_anything_is_sent(
    change: dict[str, Any], complaint: str
) -> None:
    async with answering(PARIS) as loopback:
        with pytest.raises(Unsupported, match=complaint):
            await claude(loopback).complete(replace(QUESTION, **change))
        assert loopback.received == []


async def test_a_declared_grammar_is_refused_all_the_same() -> None:
    with pytest.raises(Unsupported, match="enforce no Choice"):
        await sent(replace(QUESTION, constraint=Choice(("a",))), capabilities=frozenset({"chat", "grammar"}))


# ---- streams


def start(index: int, **block: object) -> dict[str, object]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **piece: object) -> dict[str, object]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind} | piece}


def stop(index: int) -> dict[str, object]:
    return {"type": "content_block_stop", "index": index}


BEGIN: dict[str, object] = {
    "type": "message_start",
    "message": {"model": "claude-city-1", "content": [], "usage": USAGE | {"output_tokens": 1}},
}
THOUGHT = (
    start(0, type="thinking", thinking="", signature=""),
    delta(0, "thinking_delta", thinking="I "),
    delta(0, "thinking_delta", thinking="know."),
    delta(0, "signature_delta", signature="Eq0"),
    delta(0, "signature_delta", signature="BC"),
    stop(0),
)
SPOKEN = (
    {"type": "ping"},
    start(1, type="text", text=""),
    delta(1, "text_delta", text="Zürich 😀 "),
    delta(1, "text_delta", text="or Paris"),
    stop(1),
)
CALLED = (
    start(2, type="tool_use", id="t1", name="weather", input={}),
    delta(2, "input_json_delta", partial_json=""),
    delta(2, "input_json_delta", partial_json='{"city": '),
    delta(2, "input_json_delta", partial_json='"Paris"}'),
    stop(2),
    start(3, type="tool_use", id="t2", name="now", input={}),
    stop(3),
)
END: tuple[dict[str, object], ...] = (
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 20}},
    {"type": "message_stop"},
)
STREAM = named(BEGIN, *THOUGHT, *SPOKEN, *CALLED, *END)
STREAMED = Completion(
    "Zürich 😀 or Paris",
    USED,
    (ToolCall("t1", "weather", '{"city": "Paris"}'), ToolCall("t2", "now", "{}")),
    (Reasoning("I know.", "Eq0BC"),),
    finish="tool_calls",
    model="claude-city-1",
)


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=20))
async def test_any_split_of_a_stream_is_heard_as_it_comes_and_equals_the_answer(cuts: list[int]) -> None:
    places = [0, *sorted(set(cuts)), len(STREAM)]
    chunks = [STREAM[begin:end] for begin, end in pairwise(places)]
    async with answering(Reply(chunks=chunks)) as loopback:
        emit = Heard()
        answer = await claude(loopback).complete(QUESTION, emit)
    assert answer == STREAMED
    assert emit.text == answer.text
    assert emit.reasoning == "I know."
    assert tuple(heard.tool_call for heard in emit.deltas if heard.tool_call) == answer.tool_calls


@given(at=st.integers(0, len(STREAM)), cut=st.booleans())
async def test_a_cut_stream_is_an_error_or_whole_but_never_half_an_answer(*, at: int, cut: bool) -> None:
    async with answering(Reply(chunks=[STREAM[:at]], cut=cut)) as loopback:
        (ended,) = await asyncio.gather(claude(loopback).complete(QUESTION, Heard()), return_exceptions=True)
    if isinstance(ended, ProviderError):
        assert ended.retryable
        assert at < len(STREAM)
    else:
        assert ended == STREAMED


@pytest.mark.parametrize("usage", [{}, {"usage": {}}, {"usage": {"input_tokens": 40}}])
async def test_a_stream_without_usage_at_its_end_is_charged_a_bound_of_its_output(usage: dict[str, object]) -> None:
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}} | usage
    async with answering(Reply(chunks=[named(BEGIN, *SPOKEN, end, END[1])])) as loopback:
        found = (await claude(loopback).complete(QUESTION, Heard())).usage
    assert found == Usage(40, 50, 10, len("Zürich 😀 or Paris".encode()), 5)


@pytest.mark.parametrize(
    ("kind", "status", "retryable"),
    [("overloaded_error", 529, True), ("rate_limit_error", 429, True), ("invalid_request_error", 400, False)],
)
async def test_an_error_in_mid_stream_is_raised(*, kind: str, status: int, retryable: bool) -> None:
    error = {"type": "error", "error": {"type": kind, "message": f"Not now, {KEY}"}, "request_id": "req_1"}
    async with answering(Reply(chunks=[named(BEGIN, *SPOKEN, error)])) as loopback:
        with pytest.raises(ProviderError, match=r"Not now, \*\*\*") as caught:
            await claude(loopback).complete(QUESTION, Heard())
    assert (caught.value.status, caught.value.retryable, caught.value.request_id) == (status, retryable, "req_1")


async def test_an_answer_that_may_be_long_is_streamed_even_if_nobody_listens() -> None:
    async with answering(Reply(chunks=[STREAM])) as loopback:
        assert await claude(loopback, max_tokens=50_000).complete(QUESTION) == STREAMED
    assert loopback.received[0].body["stream"] is True


async def test_what_is_no_message_is_an_error() -> None:
    async with answering(Reply({"choices": []})) as loopback:
        with pytest.raises(ProviderError, match=r"what is no message.*check `base_url`"):
            await claude(loopback).complete(QUESTION)


# ---- what a model is


def test_the_version_in_the_path_may_be_left_out() -> None:
    urls = ["https://api.anthropic.com", "https://API.anthropic.com:443/v1/"]
    identities = {AnthropicMessages("claude-city", url).identity for url in urls}
    assert identities == {"https://api.anthropic.com/v1/messages#claude-city"}


async def test_a_bound_of_its_own_is_part_of_the_identity_and_answers_are_not_shared() -> None:
    assert (
        AnthropicMessages("claude-city", "http://a", max_tokens=16_384).identity == "http://a/v1/messages#claude-city"
    )
    async with answering(PARIS, Reply(whole(said("Paris, of course")))) as loopback:
        models = [sy.anthropic("claude-city", base_url=loopback.url, max_tokens=bound) for bound in (1, 5_000)]
        journal = sy.MemoryJournal()
        answers = [await sy.run(model.complete, QUESTION, journal=journal, policy="cache") for model in models]
    assert [answer.text for answer in answers] == ["Paris", "Paris, of course"]


async def test_anthropic_itself_wants_a_key_and_no_other_host_gets_the_environments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UserError, match="Set ANTHROPIC_API_KEY"):
        await AnthropicMessages("claude-city").complete(QUESTION)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    async with answering(PARIS) as loopback:
        await claude(loopback, api_key=None).complete(QUESTION)
    assert "x-api-key" not in loopback.received[0].headers


def test_the_factory_journals_and_prices() -> None:
    model = sy.anthropic("claude-haiku-4-5-20251001", api_key=KEY, name="small")
    assert model.name == "small"
    assert model.price == sy.Price(1.0, 5.0, 0.1, 1.25)
    assert KEY not in repr(model)
