"""Our conversations, tool calls and answers as LlamaIndex's."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ContentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.tools import ToolMetadata

from synthon.bridges.requests import object_in
from synthon.core.values import Completion, Delta, Image, Message, Part, Reasoning, Text, ToolCall, ToolResult, Usage


def to_messages(messages: Sequence[Message]) -> list[ChatMessage]:
    """Our conversation as LlamaIndex's; each tool result is a message of its own."""
    return [turn for message in messages for turn in _turns(message)]


def _turns(message: Message) -> list[ChatMessage]:
    parts: tuple[Part, ...] = (Text(message.content),) if isinstance(message.content, str) else message.content
    results = [part for part in parts if isinstance(part, ToolResult)]
    found = [
        ChatMessage(
            role=MessageRole.TOOL,
            blocks=list(map(block_to, result.content)),
            additional_kwargs={"tool_call_id": result.call_id, **({"is_error": True} if result.is_error else {})},
        )
        for result in results
    ]
    rest = [part for part in parts if not isinstance(part, ToolResult)]
    if results and not rest:
        return found
    role = MessageRole.USER if message.role == "tool" else MessageRole(message.role)
    return [*found, ChatMessage(role=role, blocks=list(map(block_to, rest)))]


def block_to(part: Text | Image | Reasoning | ToolCall) -> ContentBlock:
    """A part as a content block."""
    match part:
        case Text():
            return TextBlock(text=part.text)
        case Image():
            if part.url:
                return ImageBlock(url=part.url)
            return ImageBlock(image=base64.b64decode(part.data), image_mimetype=part.media_type)
        case Reasoning():
            told = {"signature": part.signature, "redacted": part.redacted}
            return ThinkingBlock(content=part.text, additional_information=told)
        case ToolCall():
            found = object_in(part.arguments)
            return ToolCallBlock(
                tool_call_id=part.id, tool_name=part.name, tool_kwargs=part.arguments if found is None else found
            )


def response_to(completion: Completion, *, delta: str | None = None) -> ChatResponse:
    """A completion as an answer; usage stands in `raw` and `additional_kwargs`."""
    parts: list[Reasoning | Text | ToolCall] = [*completion.reasoning, Text(completion.text), *completion.tool_calls]
    blocks = list(map(block_to, parts))
    usage = usage_to(completion.usage)
    return ChatResponse(
        message=ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks),
        raw={"usage": usage, "model": completion.model, "finish_reason": completion.finish},
        delta=delta,
        additional_kwargs=usage,
    )


def usage_to(usage: Usage) -> dict[str, int]:
    """Token counts under the names that LlamaIndex's token counter reads."""
    sent = usage.tokens - usage.output_tokens
    return {"prompt_tokens": sent, "completion_tokens": usage.output_tokens, "total_tokens": usage.tokens}


def grown(text: str, piece: Delta | Completion) -> tuple[str, ChatResponse]:
    """The text so far and the answer it is; the last is the whole, with all that no piece has said."""
    if isinstance(piece, Completion):
        return piece.text, response_to(piece, delta="")
    text += piece.text
    return text, response_to(Completion(text), delta=piece.text)


def completed(response: ChatResponse) -> CompletionResponse:
    """The answer to a prompt in the answer to a conversation."""
    return CompletionResponse(
        text=response.message.content or "",
        raw=response.raw,
        delta=response.delta,
        additional_kwargs=response.additional_kwargs,
    )


@dataclass
class SchemaMetadata(ToolMetadata):
    """A tool's description whose arguments are a JSON schema given as text, with the effects it declares."""

    parameters: str = "{}"
    effects: frozenset[str] | None = None

    def get_parameters_dict(self) -> dict[str, Any]:
        """The schema."""
        found: dict[str, Any] = json.loads(self.parameters)
        return found

    @property
    def fn_schema_str(self) -> str:
        """The schema as text."""
        return self.parameters
