"""LangChain's conversations, tool calls and usage as ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
    UsageMetadata,
)

from synthon.bridges.langchain.sending import SEALS, Block
from synthon.bridges.requests import at_most, finish_from
from synthon.core.errors import Unsupported
from synthon.core.identity import dumps
from synthon.core.values import (
    Completion,
    Image,
    Message,
    Reasoning,
    Request,
    Role,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_KINDS: dict[type[BaseMessage], Role] = {AIMessage: "assistant", HumanMessage: "user", SystemMessage: "system"}


def from_messages(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """LangChain's conversation as ours.

    Raises:
        Unsupported: a role or a content block that we have no value for; nothing is left out.
    """
    return tuple(map(_message, messages))


def _message(message: BaseMessage) -> Message:
    if isinstance(message, ToolMessage):
        result = ToolResult(message.tool_call_id, content_from(message), message.status == "error")
        return Message("tool", (result,))
    role = _role(message)
    calls = calls_from(message) if isinstance(message, AIMessage) else ()
    reasoning = reasoning_from(message) if isinstance(message, AIMessage) else ()
    if isinstance(message.content, str) and not calls and not reasoning:
        return Message(role, message.content)
    return Message(role, (*reasoning, *content_from(message), *calls))


def _role(message: BaseMessage) -> Role:
    for kind, role in _KINDS.items():
        if isinstance(message, kind):
            return role
    role_ = _ROLES.get(message.role) if isinstance(message, ChatMessage) else None
    if role_ is None:
        msg = f"A message of the kind {message.type!r} has no counterpart here: {message!r:.200}. Leave it out."
        raise Unsupported(msg)
    return role_


def content_from(message: BaseMessage) -> tuple[Text | Image, ...]:
    """A message's text and pictures.

    Raises:
        Unsupported: a block of another kind.
    """
    blocks = cast("list[Block]", message.content_blocks)
    kinds = {"reasoning", "tool_call", "tool_call_chunk", "invalid_tool_call"}  # these come from the message's fields
    parts = [_part(block) for block in blocks if block["type"] not in kinds]
    return tuple(part for part in parts if part != Text(""))


def _part(block: Block) -> Text | Image:
    if block["type"] == "text":
        return Text(block["text"])
    if block["type"] == "image" and block.get("base64"):
        return Image(block["base64"], block.get("mime_type") or "image/png")
    if block["type"] == "image" and block.get("url"):
        return Image(url=block["url"])
    msg = f"A content block of the type {block['type']!r} has no counterpart here: {block!r:.200}. Leave it out."
    raise Unsupported(msg)


def calls_from(message: AIMessage) -> tuple[ToolCall, ...]:
    """A message's tool calls, those whose arguments are no JSON object too; one without an id is numbered.

    The single call of OpenAI's older form, which LangChain keeps as the provider sent it, is one of them.
    """
    valid = [(call["id"], call["name"], dumps(call["args"])) for call in message.tool_calls]
    invalid = [(call["id"], call["name"] or "", call["args"] or "") for call in message.invalid_tool_calls]
    old = message.additional_kwargs.get("function_call")
    older = [(None, old.get("name") or "", old.get("arguments") or "")] if isinstance(old, dict) else []
    return tuple(
        ToolCall(id_ or f"call_{at}", name, arguments)
        for at, (id_, name, arguments) in enumerate(valid + invalid or older)
    )


def reasoning_from(message: AIMessage) -> tuple[Reasoning, ...]:
    """A message's reasoning, with the provider's seals where LangChain shows them."""
    if SEALS in message.additional_kwargs:
        return tuple(Reasoning(*seal) for seal in message.additional_kwargs[SEALS])
    found = [cast("Block", block) for block in message.content_blocks if block["type"] == "reasoning"]
    return tuple(_seal(block) for block in found)


def _seal(block: Block) -> Reasoning:
    extras = block.get("extras") or {}
    return Reasoning(block.get("reasoning", ""), extras.get("signature", ""), bool(extras.get("redacted")))


def completion_from(said: BaseMessage, request: Request, name: str) -> Completion:
    """An answer as our completion; usage that is not reported is an upper bound."""
    message = said if isinstance(said, AIMessage) else AIMessage(said.content)
    text, calls = str(message.text), calls_from(message)
    told = message.response_metadata
    used = at_most(request, text) if message.usage_metadata is None else _usage_from(message.usage_metadata)
    return Completion(
        text=text,
        usage=used,
        tool_calls=calls,
        reasoning=reasoning_from(message),
        finish=finish_from(told.get("finish_reason") or told.get("stop_reason"), called=bool(calls)),
        model=told.get("model_name") or told.get("model") or name,
    )


def _usage_from(told: UsageMetadata) -> Usage:
    before, after = told.get("input_token_details") or {}, told.get("output_token_details") or {}
    read, written = before.get("cache_read") or 0, before.get("cache_creation") or 0
    fresh, output = max(0, told["input_tokens"] - read - written), told["output_tokens"]
    return Usage(fresh, read, written, output, min(output, after.get("reasoning") or 0))


def specs_from(tools: Sequence[Mapping[str, Any]]) -> tuple[ToolSpec, ...]:
    """Tools in OpenAI's form as ours."""
    functions = [tool["function"] for tool in tools]
    return tuple(
        ToolSpec(each["name"], each.get("description", ""), dumps(each.get("parameters") or {"type": "object"}))
        for each in functions
    )
