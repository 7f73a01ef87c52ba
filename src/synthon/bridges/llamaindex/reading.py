"""LlamaIndex's conversations, tool calls and usage as ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ContentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from synthon.bridges.requests import at_most, finish_from, stops
from synthon.core.errors import Unsupported, UserError
from synthon.core.identity import dumps
from synthon.core.values import (
    Completion,
    Image,
    Message,
    Part,
    Reasoning,
    Request,
    Role,
    Text,
    ToolCall,
    ToolResult,
    ToolSpec,
    Usage,
)

_ROLES: dict[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}
_KEYWORDS = {"tool_choice", "temperature", "max_tokens", "top_p", "top_k", "min_p", "seed", "stop"}
_INPUT = ("input_tokens", "prompt_tokens", "prompt_token_count")
_OUTPUT = ("output_tokens", "completion_tokens", "candidates_token_count")


def from_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """LlamaIndex's conversation as ours.

    Raises:
        Unsupported: a content block that we have no value for; nothing is left out.
    """
    return tuple(map(_message, messages))


def _message(message: ChatMessage) -> Message:
    role = _ROLES[message.role]
    parts = parts_from(message.blocks)
    if not any(isinstance(part, ToolCall) for part in parts):
        parts += _calls(message)
    if role == "tool":
        told = message.additional_kwargs
        content = tuple(part for part in parts if isinstance(part, Text | Image))
        return Message("tool", (ToolResult(told.get("tool_call_id", ""), content, bool(told.get("is_error"))),))
    if len(parts) < 2 and all(isinstance(part, Text) for part in parts):  # noqa: PLR2004 - one part or none
        return Message(role, "".join(part.text for part in parts if isinstance(part, Text)))
    return Message(role, parts)


def _calls(message: ChatMessage) -> tuple[ToolCall, ...]:
    """The calls that stand beside a message's blocks, in OpenAI's form; one without an id is numbered.

    Raises:
        Unsupported: a call in another form.
    """
    found = []
    for at, call in enumerate(message.additional_kwargs.get("tool_calls") or ()):
        function = _field(call, "function")
        name, arguments = _field(function, "name"), _field(function, "arguments")
        if not isinstance(name, str) or not isinstance(arguments, str):
            msg = f"A tool call in a message's additional_kwargs is not in OpenAI's form: {call!r:.200}. Use a block."
            raise Unsupported(msg)
        found.append(ToolCall(_field(call, "id") or f"call_{at}", name, arguments))
    return tuple(found)


def parts_from(blocks: Sequence[ContentBlock]) -> tuple[Part, ...]:
    """Content blocks as parts; a call without an id is numbered.

    Raises:
        Unsupported: a block of another kind.
    """
    return tuple(_part(block, at) for at, block in enumerate(blocks))


def _part(block: ContentBlock, at: int) -> Part:
    match block:
        case TextBlock():
            return Text(block.text)
        case ImageBlock():
            return _image(block)
        case ThinkingBlock():
            told = block.additional_information
            return Reasoning(block.content or "", told.get("signature", ""), bool(told.get("redacted")))
        case ToolCallBlock():
            arguments = block.tool_kwargs if isinstance(block.tool_kwargs, str) else dumps(block.tool_kwargs)
            return ToolCall(block.tool_call_id or f"call_{at}", block.tool_name, arguments)
    msg = f"A content block of the type {block.block_type!r} has no counterpart here: {block!r:.200}. Leave it out."
    raise Unsupported(msg)


def _image(block: ImageBlock) -> Image:
    if block.url is not None and block.image is None:
        return Image(url=str(block.url))
    data = block.resolve_image(as_base64=True).read()
    return Image(data.decode(), block.image_mimetype or "image/png")


def completion_from(response: ChatResponse, calls: tuple[ToolCall, ...], request: Request, name: str) -> Completion:
    """An answer as our completion; usage that is not reported is an upper bound.

    Args:
        calls: those that its blocks do not show.
    """
    parts = parts_from(response.message.blocks)
    text = "".join(part.text for part in parts if isinstance(part, Text))
    shown = tuple(part for part in parts if isinstance(part, ToolCall)) or calls
    return Completion(
        text=text,
        usage=_usage(response) or at_most(request, text),
        tool_calls=shown,
        reasoning=tuple(part for part in parts if isinstance(part, Reasoning)),
        finish=finish_from(_reason(response.raw), called=bool(shown)),
        model=name,
    )


def _reason(raw: object) -> object:
    """Why the answer ended, where providers say so: in itself, or in its first choice or candidate."""
    choices = _field(raw, "choices") or _field(raw, "candidates")
    first = choices[0] if isinstance(choices, list | tuple) and choices else None
    names = ("finish_reason", "stop_reason", "done_reason")
    return next((found for told in (raw, first) for name in names if (found := _field(told, name))), None)


def _usage(response: ChatResponse) -> Usage | None:
    """What the provider's own answer says it used, under the names that providers give it."""
    for told in (response.additional_kwargs, _field(response.raw, "usage"), _field(response.raw, "usage_metadata")):
        sent = next((n for name in _INPUT if (n := _count(told, name)) is not None), None)
        made = next((n for name in _OUTPUT if (n := _count(told, name)) is not None), None)
        if sent is not None and made is not None:
            return Usage(sent, output_tokens=made)
    return None


def _field(value: object, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def _count(told: object, name: str) -> int | None:
    found = _field(told, name)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def request_from(messages: Sequence[ChatMessage], words: dict[str, Any]) -> Request:
    """The request that a call of LlamaIndex's stands for.

    Raises:
        UserError: a keyword that no request of ours has.
    """
    words = {name: value for name, value in words.items() if value is not None}
    tools = [each.metadata for each in words.pop("tools", ())]
    unknown = sorted(set(words) - _KEYWORDS)
    if unknown:
        msg = (
            f"The call's keywords {unknown} mean nothing to our models. Leave them out; {sorted(_KEYWORDS)} are known."
        )
        raise UserError(msg)
    specs = [ToolSpec(each.get_name(), each.description, dumps(each.get_parameters_dict())) for each in tools]
    words["stop"] = stops(words.get("stop"))
    return Request(from_messages(messages), tools=tuple(specs), **words)
