from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from synthon.core.constraints import Choice, Regex, Schema
from synthon.core.errors import Unsupported, UserError
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
from synthon.models.openai_model import OpenAIChat
from tests.models.chats import KEY, PARIS, QUESTION, USED, chat, sent, whole
from tests.models.loopback import Reply, answering

if TYPE_CHECKING:
    from synthon.core.values import Finish


# ---- answers in one piece


async def test_an_answer_has_text_usage_in_disjoint_parts_and_the_model_that_gave_it() -> None:
    async with answering(PARIS) as loopback:
        answer = await chat(loopback).complete(QUESTION)
    assert answer == Completion("Paris", USED, model="city-1")
    assert answer.usage.tokens == 120
    got = loopback.received[0]
    assert got.path == "/v1/chat/completions"
    assert got.headers["authorization"] == f"Bearer {KEY}"
    assert got.body == {"model": "city", "messages": [{"role": "user", "content": "Which city?"}]}


async def test_usage_of_other_endpoints_is_split_too() -> None:
    deepseek = {"prompt_tokens": 10, "completion_tokens": 1, "prompt_cache_hit_tokens": 8}
    xai = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 41}
    xai["completion_tokens_details"] = {"reasoning_tokens": 30}  # type: ignore[assignment] # as it comes
    written = {"prompt_tokens": 10, "completion_tokens": 1}
    written["prompt_tokens_details"] = {"cached_tokens": 2, "cache_write_tokens": 3}  # type: ignore[assignment] # same
    replies = [Reply(whole({"content": "."}, usage=usage)) for usage in (deepseek, xai, written)]
    async with answering(*replies) as loopback:
        usages = [(await chat(loopback).complete(QUESTION)).usage for _ in replies]
    assert usages == [Usage(2, 8, 0, 1), Usage(10, 0, 0, 31, 30), Usage(5, 2, 3, 1)]


async def test_an_endpoint_without_usage_is_charged_an_upper_bound() -> None:
    async with answering(Reply(whole({"content": "Paris"}, usage=None))) as loopback:
        usage = (await chat(loopback).complete(QUESTION)).usage
    assert usage.input_tokens >= len("Which city?")
    assert usage.output_tokens == len("Paris")


@pytest.mark.parametrize(
    ("finish", "expected"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("eos_token", "stop"),
        (None, "stop"),
    ],
)
async def test_every_reason_to_stop_is_one_of_four(finish: str | None, expected: Finish) -> None:
    async with answering(Reply(whole({"content": "x"}, finish))) as loopback:
        assert (await chat(loopback).complete(QUESTION)).finish == expected


async def test_content_may_be_null_a_list_of_parts_or_a_refusal() -> None:
    parts = [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"type": "text", "text": "Pa"}]
    messages: list[dict[str, object]] = [
        {"content": None},
        {"content": [*parts, {"type": "text", "text": "ris"}]},
        {"content": None, "refusal": "I will not."},
    ]
    async with answering(*[Reply(whole(message)) for message in messages]) as loopback:
        empty, listed, refused = [await chat(loopback).complete(QUESTION) for _ in messages]
    assert empty.text == ""
    assert (listed.text, listed.reasoning[0].text) == ("Paris", "hm")
    assert (refused.text, refused.finish) == ("I will not.", "content_filter")


async def test_log_probabilities_come_with_their_alternatives() -> None:
    token = {"token": "Pa", "logprob": -0.1, "top_logprobs": [{"token": "Pa", "logprob": -0.1}, {"token": "Lo"}]}
    reply = whole({"content": "Pa"})
    reply["choices"][0]["logprobs"] = {"content": [token]}
    async with answering(Reply(reply)) as loopback:
        answer = await chat(loopback, server="vllm").complete(replace(QUESTION, logprobs=2))
    assert loopback.received[0].body["top_logprobs"] == 2
    assert answer.logprobs[0].logprob == -0.1
    assert answer.logprobs[0].top == (("Pa", -0.1), ("Lo", -math.inf))


# ---- what is sent


async def test_every_parameter_has_its_field() -> None:
    request = Request(
        (Message("system", "Be brief."), Message("user", "Hi")),
        temperature=0.5,
        max_tokens=9,
        top_p=0.9,
        top_k=4,
        min_p=0.1,
        stop=("\n",),
        seed=3,
        sample=2,
        extra='{"reasoning_effort": "low"}',
    )
    body = await sent(request)
    expected = {"temperature": 0.5, "max_tokens": 9, "top_p": 0.9, "top_k": 4, "min_p": 0.1, "stop": ["\n"], "seed": 5}
    assert body == {"model": "city", "reasoning_effort": "low", **expected} | {
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    }


async def test_the_field_of_max_tokens_can_be_chosen_and_has_a_rule() -> None:
    body = await sent(replace(QUESTION, max_tokens=9), max_tokens_field="max_completion_tokens")
    assert body["max_completion_tokens"] == 9
    assert OpenAIChat("m")._max_tokens_field == "max_completion_tokens"  # noqa: SLF001 - its host cannot be reached here


async def test_a_tool_loop_sends_calls_results_and_reasoning_back() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
    tool = ToolSpec("weather", "Weather now", '{"type":"object","properties":{"city":{"type":"string"}}}')
    asked = replace(QUESTION, tools=(tool,))
    first = whole({"content": None, "reasoning_content": "I must look.", "tool_calls": [call]}, "stop")
    async with answering(Reply(first), PARIS) as loopback:
        answer = await chat(loopback).complete(asked)
        assert answer.finish == "tool_calls"
        assert answer.tool_calls == (ToolCall("c1", "weather", '{"city": "Paris"}'),)
        result = Message("tool", (ToolResult("c1", (Text("17 degrees"),)), ToolResult("c2", (Text("again"),))))
        await chat(loopback).complete(replace(asked, messages=(*asked.messages, answer.message, result)))
    first_body, second_body = (received.body for received in loopback.received)
    assert first_body["tools"][0]["function"]["parameters"]["properties"] == {"city": {"type": "string"}}
    assert "tool_choice" not in first_body
    assert (await sent(replace(asked, tool_choice="required")))["tool_choice"] == "required"
    assert second_body["messages"][1:] == [
        {"role": "assistant", "content": None, "reasoning_content": "I must look.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "17 degrees"},
        {"role": "tool", "tool_call_id": "c2", "content": "again"},
    ]


async def test_reasoning_goes_back_under_the_name_it_came_in_and_never_to_another_provider() -> None:
    async with answering(Reply(whole({"content": "x", "reasoning": "hm"}))) as loopback:
        answer = await chat(loopback).complete(QUESTION)
    assert answer.reasoning == (Reasoning("hm", "reasoning"),)
    call = ToolCall("c1", "f", "{}")
    history = (
        Message("assistant", (*answer.reasoning, call)),
        Message("assistant", (Reasoning("sealed by another", "Eq0BC"), call)),
        Message("assistant", (*answer.reasoning, Text("no tool"))),
    )
    messages = (await sent(replace(QUESTION, messages=history)))["messages"]
    assert messages[0]["reasoning"] == "hm"
    assert not {"reasoning", "reasoning_content"} & {*messages[1], *messages[2]}


async def test_images_are_sent_as_urls() -> None:
    parts = (Text("What is it?"), Image("aGk=", "image/jpeg"), Image(url="http://host/cat.png"))
    content = (await sent(Request((Message("user", parts),))))["messages"][0]["content"]
    assert content[1]["image_url"]["url"] == "data:image/jpeg;base64,aGk="
    assert content[2]["image_url"]["url"] == "http://host/cat.png"


async def test_cache_marks_are_sent_where_the_endpoint_takes_them() -> None:
    request = Request((Message("system", (Text("long", cache=True), Text("short"))),))
    assert (await sent(request))["messages"][0]["content"] == "longshort"
    marked = (await sent(request, cache_marks=True))["messages"][0]["content"]
    assert marked == [
        {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "short"},
    ]


async def test_a_schema_is_sent_in_the_strict_form_whose_values_fit_it() -> None:
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string", "default": "none"},
            "next": {"$ref": "#/$defs/N", "description": "d", "default": None},
            "tags": {"type": "array", "items": {"type": "object", "properties": {"default": {"type": "string"}}}},
            "free": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
        "required": ["title"],
        "$defs": {"N": {"enum": [{"default": 1}]}},
    }
    body = await sent(replace(QUESTION, constraint=Schema(json.dumps(schema), "my answer")))
    assert body["response_format"]["type"] == "json_schema"
    wanted = body["response_format"]["json_schema"]
    assert (wanted["name"], wanted["strict"]) == ("my_answer", True)
    assert wanted["schema"] == {
        "type": "object",
        "properties": {
            "title": {"type": "string"},
            "next": {"$ref": "#/$defs/N"},
            "tags": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"default": {"type": "string"}},
                    "additionalProperties": False,
                    "required": ["default"],
                },
            },
            "free": {"type": "object", "additionalProperties": {"type": "integer"}},
        },
        "required": ["title", "next", "tags", "free"],
        "$defs": {"N": {"enum": [{"default": 1}]}},
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        ({"constraint": Choice(("a",))}, "grammar"),
        ({"constraint": Regex("a")}, "grammar"),
        ({"continuations": ("a",)}, "score"),
        ({"logprobs": 1}, "logprobs"),
        ({"tools": (ToolSpec("f", "", "{}"),)}, "tools"),
        ({"constraint": Schema("{}")}, "schema"),
        ({"messages": (Message("user", (Image("aGk="),)),)}, "image"),
        ({"messages": (Message("tool", (ToolResult("c", (Image("aGk="),)),)),)}, "image"),
    ],
)
async def test_what_a_model_lacks_is_refused_before_anything_is_sent(change: dict[str, Any], lacks: str) -> None:
    async with answering(PARIS) as loopback:
        with pytest.raises(Unsupported, match=f"lack '{lacks}'.* Use "):
            await chat(loopback, capabilities=frozenset({"chat"})).complete(replace(QUESTION, **change))
        assert loopback.received == []


@pytest.mark.parametrize(
    ("extra", "complaint"),
    [
        ("{", "no JSON"),
        ("[]", "no JSON object"),
        ('{"model": "m"}', "sets 'model'"),
        ('{"n": 2}', "sets 'n'"),
        ('{"temperature": 1}', "sets 'temperature'"),
    ],
)
async def test_extra_parameters_cannot_contradict_the_request(extra: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        await sent(replace(QUESTION, temperature=0.0, extra=extra))


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("max_tokens", "max_completion_tokens"),
        ("max_completion_tokens", "max_tokens"),
        ("max_tokens", "n_predict"),
    ],
)
async def test_extra_parameters_cannot_lengthen_an_answer_by_another_name(field: str, other: str) -> None:
    longer = f'{{"{other}": 5000}}'
    with pytest.raises(UserError, match=f"sets '{other}', which the request decides"):
        await sent(replace(QUESTION, max_tokens=10, extra=longer), max_tokens_field=field)
    assert (await sent(replace(QUESTION, extra=longer), max_tokens_field=field))[other] == 5000


@pytest.mark.parametrize("text", ["{", "[]", '"object"'])
async def test_a_schema_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="is no JSON object"):
        await sent(replace(QUESTION, constraint=Schema(text)))
    with pytest.raises(UserError, match="is no JSON object"):
        await sent(replace(QUESTION, tools=(ToolSpec("f", "", text),)))


async def test_a_salt_separates_principals_on_vllm() -> None:
    assert (await sent(replace(QUESTION, salt="tenant-7"), server="vllm"))["cache_salt"] == "tenant-7"
    assert "cache_salt" not in await sent(replace(QUESTION, salt="tenant-7"))


async def test_text_that_utf8_cannot_hold_is_sent_escaped() -> None:
    assert (await sent(Request((Message("user", "a\ud800é"),))))["messages"][0]["content"] == "a\ud800é"
