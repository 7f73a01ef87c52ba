"""Anthropic's Messages on the wire: a request as its body, an answer or a stream as a completion."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from synthon.core.errors import ProviderError, Unsupported
from synthon.core.identity import dumps
from synthon.core.values import Completion, Delta, Finish, Image, Reasoning, Text, ToolCall, Usage
from synthon.models._failures import failure
from synthon.models._fields import constraint_fields, parsed, with_extra
from synthon.models._json import Paired, count, found, items, loaded, paired, text_of, upper_bound

if TYPE_CHECKING:
    from synthon.core.protocols import Emit
    from synthon.core.values import Part, Request
    from synthon.models._http import Endpoint
    from synthon.models.sse import Event

_RESERVED = frozenset({"model", "messages", "system", "stream"})
_FINISH: dict[str, Finish] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")


def messages_body(request: Request, *, model: str, max_tokens: int) -> dict[str, object]:
    """The body that asks for this request's completion; `max_tokens` where the request names none.

    Raises:
        Unsupported: the request sets a parameter that Messages do not know.
        UserError: `Request.extra` or a schema is malformed.
    """
    for name in ("seed", "min_p"):
        if getattr(request, name) is not None:
            msg = f"{model!r}: Messages know no {name!r}. Leave it out, or use an endpoint that sy.openai(...) reaches."
            raise Unsupported(msg)
    body: dict[str, object] = {
        "model": model,
        "max_tokens": max_tokens if request.max_tokens is None else request.max_tokens,
        **_turns(request),
    }
    for name in ("temperature", "top_p", "top_k"):
        if (value := getattr(request, name)) is not None:
            body[name] = value
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if request.tools:
        body["tools"] = [
            {"name": tool.name, "description": tool.description, "input_schema": parsed(tool.parameters)}
            for tool in request.tools
        ]
        if request.tool_choice != "auto":
            body["tool_choice"] = {"type": "any" if request.tool_choice == "required" else "none"}
    if request.constraint is not None:
        body |= constraint_fields(request.constraint, "messages")
    return with_extra(body, request.extra, _RESERVED) if request.extra else body


def _turns(request: Request) -> dict[str, object]:
    """User and assistant in turn, and the system prompt: results of parallel tool calls must stand in one user turn."""
    system = [block for message in request.messages if message.role == "system" for block in _blocks(message.content)]
    turns: list[tuple[str, list[dict[str, object]]]] = []
    for message in request.messages:
        role = "assistant" if message.role == "assistant" else "user"
        if message.role == "system" or not (blocks := _blocks(message.content)):
            continue
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    if system and not turns:  # Messages want a user's turn
        turns, system = [("user", system)], []
    messages = [{"role": role, "content": blocks} for role, blocks in turns]
    return {"messages": messages} | ({"system": system} if system else {})


def _blocks(content: str | tuple[Part, ...]) -> list[dict[str, object]]:
    parts: tuple[Part, ...] = (Text(content),) if isinstance(content, str) else content
    return [block for part in parts if (block := _block(part))]


def _block(part: Part) -> dict[str, object] | None:
    if isinstance(part, Text):
        mark = {"cache_control": {"type": "ephemeral"}} if part.cache else {}
        return {"type": "text", "text": part.text, **mark} if part.text else None
    if isinstance(part, Image):
        data = {"type": "base64", "media_type": part.media_type, "data": part.data}
        return {"type": "image", "source": {"type": "url", "url": part.url} if part.url else data}
    if isinstance(part, Reasoning):
        if part.redacted:
            return {"type": "redacted_thinking", "data": part.signature}
        # Unsealed reasoning is another provider's, whose seals are its fields' names; Messages refuse both.
        sealed = part.signature and part.signature not in {"reasoning", "reasoning_content"}
        return {"type": "thinking", "thinking": part.text, "signature": part.signature} if sealed else None
    if isinstance(part, ToolCall):
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": _arguments(part.arguments)}
    blocks = [block for item in part.content if (block := _block(item))]
    return {"type": "tool_result", "tool_use_id": part.call_id, "content": blocks, "is_error": part.is_error}


def _arguments(text: str) -> dict[str, object]:
    try:
        arguments = json.loads(text)
    except ValueError:
        arguments = None
    return arguments if isinstance(arguments, dict) else {"INVALID_JSON": text}


class MessagesAnswer:
    """Builds a completion from a whole answer or from a stream's events; emits what a stream brings.

    Tool calls are emitted whole, when the stream ends. An endpoint that reports no usage is given an upper
    bound: a token for every byte of the body sent and of the text, thinking and tool calls received; one that
    reports no output, or none at its stream's end, the latter alone.
    """

    def __init__(self, endpoint: Endpoint, emit: Emit, sent: object) -> None:
        self._endpoint = endpoint
        self._emit = emit
        self._heard = Paired(emit)
        self._sent = sent
        self._blocks: dict[int, dict[str, str]] = {}
        self._finish = ""
        self._usage: dict[str, int] = {}
        self._model = ""

    @property
    def finished(self) -> bool:
        """Whether the endpoint said why it stopped."""
        return bool(self._finish)

    def take(self, event: Event) -> bool:
        """Add a stream's event; True at its end.

        Raises:
            ProviderError: the event is an error, or no JSON.
        """
        data = loaded(event.data)
        kind = text_of(data, "type") or event.name
        if kind == "error":
            raise failure(self._endpoint.url, self._endpoint.redacted(data), status=None)
        if not isinstance(data, dict):
            if self.finished:
                return True
            said = self._endpoint.shown(event.data, 80)
            raise ProviderError(f"{self._endpoint.url} broke off or sent what is no JSON: {said}. Try again.")
        if kind == "message_start":
            message = found(data, "message")
            self._model = text_of(message, "model")
            self._count(found(message, "usage"))
            self._usage.pop("output_tokens", None)  # so far, and the end may bring none
        elif kind == "content_block_start":
            self._open(count(data, "index"), found(data, "content_block"))
        elif kind == "content_block_delta":
            self._extend(count(data, "index"), found(data, "delta"))
        elif kind == "message_delta":
            self._finish = text_of(found(data, "delta"), "stop_reason") or self._finish
            self._count(found(data, "usage"))
        return kind == "message_stop"

    def whole(self, payload: object) -> Completion:
        """The completion in an answer that came in one piece.

        Raises:
            ProviderError: it is no message.
        """
        if not isinstance(found(payload, "content"), list):
            said = self._endpoint.shown(payload, 200)
            msg = f"{self._endpoint.url} answered with what is no message: {said}. Try again, or check `base_url`."
            raise ProviderError(msg)
        self._model = text_of(payload, "model")
        self._count(found(payload, "usage"))
        for at, block in enumerate(items(payload, "content")):
            self._open(at, block)
        self._finish = text_of(payload, "stop_reason") or "end_turn"
        return self.completion()

    def completion(self) -> Completion:
        """The whole answer.

        Raises:
            ProviderError: the stream ended before the endpoint said why it stopped; never a half answer.
        """
        if not self.finished:
            msg = f"{self._endpoint.url} ended its stream in mid-answer. Nothing of it was kept; try again."
            raise ProviderError(msg)
        self._heard.hear(last=True)
        blocks = [{name: paired(said) for name, said in block.items()} for _, block in sorted(self._blocks.items())]
        calls = tuple(
            ToolCall(block["id"], block["name"], block["pieces"] or block["input"] or "{}")
            for block in blocks
            if block["type"] == "tool_use"
        )
        for call in calls:
            self._emit(Delta(tool_call=call))
        return Completion(
            text=paired("".join(block["text"] for block in blocks)),
            usage=self._whole_usage(),
            tool_calls=calls,
            reasoning=tuple(
                Reasoning(block["thinking"], block["signature"] or block["data"], block["type"] == "redacted_thinking")
                for block in blocks
                if block["type"] in {"thinking", "redacted_thinking"}
            ),
            finish=_FINISH.get(self._finish, "stop"),
            model=self._model,
        )

    def _open(self, at: int, block: object) -> None:
        made = {name: text_of(block, name) for name in ("type", "id", "name", "signature", "data")}
        given = found(block, "input")
        self._blocks[at] = made | {"text": "", "thinking": "", "pieces": "", "input": dumps(given) if given else ""}
        self._extend(at, {"text": text_of(block, "text"), "thinking": text_of(block, "thinking")})

    def _extend(self, at: int, delta: object) -> None:
        if at not in self._blocks:
            self._open(at, {"type": "text"})
        block = self._blocks[at]
        if text := text_of(delta, "text"):
            block["text"] += text
            self._heard.hear(text=text)
        if thinking := text_of(delta, "thinking"):
            block["thinking"] += thinking
            self._heard.hear(reasoning=thinking)
        block["signature"] += text_of(delta, "signature")
        block["pieces"] += text_of(delta, "partial_json")

    def _count(self, usage: object) -> None:
        """Keep the counts an event reports: they are running totals, and absent where unchanged."""
        for name in _COUNTS:
            if isinstance(found(usage, name), int | float):
                self._usage[name] = count(usage, name)
        thinking = found(usage, "output_tokens_details")
        if thinking is not None:
            self._usage["thinking_tokens"] = count(thinking, "thinking_tokens")

    def _whole_usage(self) -> Usage:
        if not self._usage.keys() >= {"input_tokens", "output_tokens"}:
            names = ("text", "thinking", "data", "name", "pieces", "input")
            most = upper_bound(self._sent, "".join(block[name] for block in self._blocks.values() for name in names))
            if "input_tokens" not in self._usage:
                return most
            self._usage["output_tokens"] = most.output_tokens
        fresh, read, written, output = (self._usage.get(name, 0) for name in _COUNTS)
        return Usage(fresh, read, written, output, min(output, self._usage.get("thinking_tokens", 0)))
