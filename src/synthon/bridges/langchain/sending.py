"""Our conversations, tool calls and usage as LangChain's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    InvalidToolCall,
    SystemMessage,
    ToolMessage,
    UsageMetadata,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call

from synthon.bridges.requests import object_in
from synthon.core.values import (
    Completion,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)

Block = dict[str, Any]  # a content block of LangChain's
UNMET = "unmet"  # what of its schema an answer leaves unmet
SEALS = "synthon_reasoning"  # where our reasoning blocks stand, which a text cannot hold


def to_messages(messages: Sequence[Message]) -> list[BaseMessage]:
    """Our conversation as LangChain's; each tool result is a message of its own."""
    return [turn for message in messages for turn in _turns(message)]


def _turns(message: Message) -> list[BaseMessage]:
    parts: tuple[Part, ...] = (Text(message.content),) if isinstance(message.content, str) else message.content
    results = [part for part in parts if isinstance(part, ToolResult)]
    found: list[BaseMessage] = [
        ToolMessage(
            content_to(result.content), tool_call_id=result.call_id, status="error" if result.is_error else "success"
        )
        for result in results
    ]
    rest = [part for part in parts if not isinstance(part, ToolResult)]
    if message.role == "assistant":
        return [*found, _spoken(rest)]
    said = content_to([part for part in rest if isinstance(part, Text | Image)])
    if message.role == "system":
        return [SystemMessage(said)]
    return [*found, HumanMessage(said)] if rest or not results else found


def _spoken(parts: Sequence[Part]) -> AIMessage:
    calls = tool_calls_to([part for part in parts if isinstance(part, ToolCall)])
    reasoning = [_reasoning(part) for part in parts if isinstance(part, Reasoning)]
    said = content_to([part for part in parts if isinstance(part, Text | Image)])
    if not reasoning:
        return AIMessage(said, **calls)
    blocks = [*reasoning, *([{"type": "text", "text": said}] if isinstance(said, str) and said else said or [])]
    return AIMessage(cast("list[str | Block]", blocks), response_metadata={"output_version": "v1"}, **calls)


def _reasoning(part: Reasoning) -> Block:
    extras = {"signature": part.signature, "redacted": part.redacted}
    return {"type": "reasoning", "reasoning": part.text, "extras": extras}


def content_to(parts: Sequence[Text | Image]) -> str | list[str | Block]:
    """Text alone as a string, anything else as LangChain's standard content blocks."""
    if all(isinstance(part, Text) for part in parts) and len(parts) < 2:  # noqa: PLR2004 - one part or none
        return "".join(part.text for part in parts if isinstance(part, Text))
    return [_block(part) for part in parts]


def _block(part: Text | Image) -> Block:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if part.url:
        return {"type": "image", "url": part.url}
    return {"type": "image", "base64": part.data, "mime_type": part.media_type}


def tool_calls_to(calls: Sequence[ToolCall]) -> dict[str, Any]:
    """The fields of an AIMessage that hold calls; arguments that are no JSON object make an invalid one."""
    valid, invalid = [], list[InvalidToolCall]()
    for call in calls:
        found = object_in(call.arguments)
        if found is None:
            invalid.append(
                invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error="they are no JSON object")
            )
        else:
            valid.append(tool_call(name=call.name, args=found, id=call.id))
    return {"tool_calls": valid, "invalid_tool_calls": invalid}


def told(completion: Completion) -> dict[str, Any]:
    """The fields of an AIMessage beside its text: reasoning, usage, why it ended, and what it leaves unmet."""
    beside: dict[str, Any] = {}
    if completion.reasoning:
        beside["reasoning_content"] = "".join(block.text for block in completion.reasoning)
        beside[SEALS] = [[block.text, block.signature, block.redacted] for block in completion.reasoning]
    unmet = {UNMET: completion.unmet} if completion.unmet else {}
    return {
        "additional_kwargs": beside,
        "usage_metadata": _usage_to(completion.usage),
        "response_metadata": {"finish_reason": completion.finish, "model_name": completion.model, **unmet},
    }


def _usage_to(usage: Usage) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=usage.tokens - usage.output_tokens,
        output_tokens=usage.output_tokens,
        total_tokens=usage.tokens,
        input_token_details={"cache_read": usage.cached_tokens, "cache_creation": usage.cache_write_tokens},
        output_token_details={"reasoning": usage.reasoning_tokens},
    )


def specs_to(tools: Sequence[ToolSpec]) -> list[dict[str, Any]]:
    """Our tools in OpenAI's form, which every chat model's `bind_tools` takes."""
    return [
        {
            "type": "function",
            "function": {
                "name": tool.name, "description": tool.description, "parameters": json.loads(tool.parameters),
            },
        }
        for tool in tools
    ]  # fmt: skip
