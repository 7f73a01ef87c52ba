"""OpenAI's chat completions on the wire: a request as its body, an answer or a stream as a completion."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthon.core.errors import ProviderError
from synthon.core.identity import dumps
from synthon.core.values import (
    Completion,
    Delta,
    Finish,
    Image,
    Reasoning,
    Text,
    TokenLogprob,
    ToolCall,
    ToolResult,
    Usage,
)
from synthon.models._failures import failure
from synthon.models._fields import constraint_fields, parsed, with_extra
from synthon.models._json import Paired, count, found, items, loaded, paired, text_of, upper_bound
from synthon.wrappers.demands import begins

if TYPE_CHECKING:
    from synthon.core.protocols import Emit
    from synthon.core.values import Message, Part, Request
    from synthon.models._fields import Server
    from synthon.models._http import Endpoint
    from synthon.models.sse import Event

# The field a server's reasoning came in is kept as its seal: servers want it back under the same name.
_REASONING_FIELDS = ("reasoning_content", "reasoning")
# vLLM pull request 8942, llama.cpp 23012 (older servers go on by themselves), SGLang's examples/runtime.
_GOES_ON: dict[Server, dict[str, object]] = {
    "openai": {},
    "vllm": {"continue_final_message": True, "add_generation_prompt": False},
    "sglang": {"continue_final_message": True},
    "llama.cpp": {"continue_final_message": True, "add_generation_prompt": False},
}
_RESERVED = frozenset({"model", "messages", "stream", "stream_options", "n"})
_FINISH: dict[str, Finish] = {
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}


def chat_body(
    request: Request, *, model: str, server: Server, max_tokens_field: str, cache_marks: bool
) -> dict[str, object]:
    """The body that asks for this request's completion.

    Raises:
        Unsupported: the server has no field for the constraint.
        UserError: `Request.extra` or a schema is malformed.
    """
    turns = [turn for message in request.messages for turn in _turns(message, cache_marks=cache_marks)]
    body: dict[str, object] = {"model": model, "messages": turns}
    for name in ("temperature", "top_p", "top_k", "min_p"):
        if (value := getattr(request, name)) is not None:
            body[name] = value
    if request.max_tokens is not None:
        body[max_tokens_field] = request.max_tokens
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body["seed"] = request.seed + request.sample
    body |= _tools(request) if request.tools else {}
    if request.constraint is not None:
        body |= constraint_fields(request.constraint, server)
    if request.logprobs:
        body |= {"logprobs": True, "top_logprobs": request.logprobs}
    body |= _GOES_ON[server] if begins(request) else {}
    if request.salt and server == "vllm":
        body["cache_salt"] = request.salt
    return with_extra(body, request.extra, _RESERVED) if request.extra else body


def _tools(request: Request) -> dict[str, object]:
    tools = [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": parsed(tool.parameters)},
        }
        for tool in request.tools
    ]
    return {"tools": tools} | ({} if request.tool_choice == "auto" else {"tool_choice": request.tool_choice})


def _turns(message: Message, *, cache_marks: bool) -> list[dict[str, object]]:
    if isinstance(message.content, str):
        return [{"role": message.role, "content": message.content}]
    results: list[dict[str, object]] = [
        {"role": "tool", "tool_call_id": part.call_id, "content": _content(part.content, cache_marks=cache_marks)}
        for part in message.content
        if isinstance(part, ToolResult)
    ]
    calls = [part for part in message.content if isinstance(part, ToolCall)]
    said = [part for part in message.content if isinstance(part, Text | Image)]
    if not (calls or said) and results:
        return results
    turn: dict[str, object] = {"role": message.role, "content": _content(said, cache_marks=cache_marks) or None}
    if calls:
        turn["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]
        for part in message.content:
            if isinstance(part, Reasoning) and part.signature in _REASONING_FIELDS:
                turn[part.signature] = str(turn.get(part.signature, "")) + part.text
    elif turn["content"] is None:
        turn["content"] = ""
    return [*results, turn]


def _content(parts: tuple[Part, ...] | list[Text | Image], *, cache_marks: bool) -> str | list[dict[str, object]]:
    if all(isinstance(part, Text) and not (part.cache and cache_marks) for part in parts):
        return "".join(part.text for part in parts if isinstance(part, Text))
    shaped: list[dict[str, object]] = []
    for part in parts:
        if isinstance(part, Image):
            url = part.url or f"data:{part.media_type};base64,{part.data}"
            shaped.append({"type": "image_url", "image_url": {"url": url}})
        elif isinstance(part, Text):
            mark = {"cache_control": {"type": "ephemeral"}} if part.cache and cache_marks else {}
            shaped.append({"type": "text", "text": part.text, **mark})
    return shaped


class ChatAnswer:
    """Builds a completion from a whole answer or from a stream's events; emits what a stream brings.

    Tool calls are emitted whole, when the stream ends. An endpoint that reports no usage is given an upper
    bound: a token for every byte of the body sent and of the text, reasoning and tool calls received.
    """

    def __init__(self, endpoint: Endpoint, emit: Emit, sent: object) -> None:
        self._endpoint = endpoint
        self._emit = emit
        self._heard = Paired(emit)
        self._sent = sent
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._field = ""
        self._calls: list[dict[str, str]] = []
        self._at: dict[object, dict[str, str]] = {}
        self._logprobs: list[TokenLogprob] = []
        self._finish = ""
        self._refused = False
        self._usage: object = None
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
        if event.data.strip() == "[DONE]":
            return True
        chunk = loaded(event.data)
        if isinstance(chunk, dict) and (event.name == "error" or chunk.get("error")):
            raise failure(self._endpoint.url, self._endpoint.redacted(chunk), status=None)
        if not isinstance(chunk, dict):
            if self.finished:
                return True
            said = self._endpoint.shown(event.data, 80)
            raise ProviderError(f"{self._endpoint.url} broke off or sent what is no JSON: {said}. Try again.")
        self._model = text_of(chunk, "model") or self._model
        self._usage = chunk.get("usage") or self._usage
        for choice in items(chunk, "choices"):
            if count(choice, "index") == 0:
                self._add(choice, found(choice, "delta"))
        return False

    def whole(self, payload: object) -> Completion:
        """The completion in an answer that came in one piece.

        Raises:
            ProviderError: it holds no choice with a message.
        """
        choice = next(iter(items(payload, "choices")), None)
        message = found(choice, "message")
        if not isinstance(message, dict):
            said = self._endpoint.shown(payload, 200)
            msg = f"{self._endpoint.url} answered without a choice and its message: {said}."
            raise ProviderError(f"{msg} Try again, or check `base_url`.")
        self._model, self._usage = text_of(payload, "model"), found(payload, "usage")
        self._add(choice, message, whole=True)
        self._finish = self._finish or "stop"
        return self.completion()

    def completion(self) -> Completion:
        """The whole answer.

        Raises:
            ProviderError: the stream ended before the endpoint said why it stopped; never a half answer.
        """
        if not self.finished:
            msg = f"{self._endpoint.url} ended its stream in mid-answer. Nothing of it was kept; try again."
            raise ProviderError(msg)
        if self._finish in {"error", "abort"}:
            msg = f"{self._endpoint.url} gave up in mid-answer ({self._finish}). Nothing of it was kept; try again."
            raise ProviderError(msg)
        self._heard.hear(last=True)
        text, thought = paired("".join(self._text)), paired("".join(self._reasoning))
        calls = tuple(
            ToolCall(call["id"] or f"call_{at}", call["name"], paired(call["arguments"]) or "{}")
            for at, call in enumerate(self._calls)
        )
        for call in calls:
            self._emit(Delta(tool_call=call))
        finish = _FINISH.get(self._finish, "stop")
        return Completion(
            text=text,
            usage=_usage(self._usage, self._sent, "".join([text, thought, *(c.name + c.arguments for c in calls)])),
            tool_calls=calls,
            reasoning=(Reasoning(thought, self._field),) if thought else (),
            logprobs=tuple(self._logprobs),
            finish="content_filter" if self._refused else "tool_calls" if calls and finish == "stop" else finish,
            model=self._model,
        )

    def _add(self, choice: object, said: object, *, whole: bool = False) -> None:
        """Add a choice's message or delta: both have one shape."""
        for name in _REASONING_FIELDS:
            if thought := text_of(said, name):
                self._think(thought, name)
                break
        content = found(said, "content")
        if isinstance(content, list):
            for part in content:
                self._say(text_of(part, "text"))
                for step in items(part, "thinking"):
                    self._think(text_of(step, "text"), "")
        elif isinstance(content, str):
            self._say(content)
        if refusal := text_of(said, "refusal"):
            self._refused = True
            self._say(refusal)
        for call in items(said, "tool_calls"):
            self._call(call, whole=whole)
        for token in items(found(choice, "logprobs"), "content"):
            self._logprobs.append(_logprob(token))
        self._finish = text_of(choice, "finish_reason") or self._finish

    def _say(self, text: str) -> None:
        if text:
            self._text.append(text)
            self._heard.hear(text=text)

    def _think(self, thought: str, field: str) -> None:
        if thought:
            self._field = field
            self._reasoning.append(thought)
            self._heard.hear(reasoning=thought)

    def _call(self, piece: object, *, whole: bool) -> None:
        """Add a whole tool call, or merge a piece of one by index; a piece without any sign goes on with the last."""
        id_, function = text_of(piece, "id"), found(piece, "function")
        index, name = found(piece, "index"), text_of(function, "name")
        at = index if isinstance(index, int) else id_ or len(self._calls)
        is_rest = self._calls and not (isinstance(index, int) or id_ or name)
        call = self._calls[-1] if is_rest else self._at.get(at)
        if call is None or whole or _is_another(call, id_, name):
            call = self._at[at] = {"id": "", "name": "", "arguments": ""}
            self._calls.append(call)
        call["id"] = call["id"] or id_
        call["name"] = call["name"] or name
        arguments = found(function, "arguments")
        if arguments is not None:
            call["arguments"] += arguments if isinstance(arguments, str) else dumps(arguments)


def _is_another(call: dict[str, str], id_: str, name: str) -> bool:
    """Whether a piece begins another call than the one of its index, as some servers number all of them 0."""
    if id_ and call["id"] and (id_ != call["id"] or name == call["name"]):
        return id_ != call["id"]
    return bool(name and call["name"]) and isinstance(loaded(call["arguments"]), dict)


def _usage(usage: object, sent: object, received: str) -> Usage:
    if not all(isinstance(found(usage, name), int | float) for name in ("prompt_tokens", "completion_tokens")):
        return upper_bound(sent, received)
    prompt, output = count(usage, "prompt_tokens"), count(usage, "completion_tokens")
    details = found(usage, "prompt_tokens_details")
    cached = min(prompt, count(details, "cached_tokens") or count(usage, "prompt_cache_hit_tokens"))
    written = min(prompt - cached, count(details, "cache_write_tokens"))
    reasoning = count(found(usage, "completion_tokens_details"), "reasoning_tokens")
    if reasoning and count(usage, "total_tokens") == prompt + output + reasoning:
        output += reasoning  # xAI counts reasoning beside the completion, not in it
    return Usage(
        input_tokens=prompt - cached - written,
        cached_tokens=cached,
        cache_write_tokens=written,
        output_tokens=output,
        reasoning_tokens=min(reasoning, output),
    )


def _logprob(token: object) -> TokenLogprob:
    return TokenLogprob(
        text_of(token, "token"),
        _float(found(token, "logprob")),
        tuple((text_of(other, "token"), _float(found(other, "logprob"))) for other in items(token, "top_logprobs")),
    )


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else float("-inf")
