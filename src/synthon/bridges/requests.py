"""A request as another library's model takes it: what it may ask, its sampling, and what is counted of its answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import cast

from synthon.core.constraints import Constraint, Schema, Soundness
from synthon.core.errors import Unsupported, UserError
from synthon.core.identity import dumps, to_json
from synthon.core.values import Capability, Finish, Image, Message, Request, ToolResult, Usage
from synthon.decoding import soundness

_SAMPLING = ("temperature", "max_tokens", "top_p", "top_k", "min_p")
_FINISH: dict[str, Finish] = {
    "length": "length",
    "max_tokens": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "content_filter": "content_filter",
    "refusal": "content_filter",
    "safety": "content_filter",
}
_WHO_CAN: dict[Capability, str] = {
    "fork": "sy.local()",
    "grammar": "sy.local(), or a constraint with `check=True`",
    "image": "a model that sees, and say so with capabilities=",
    "logprobs": "sy.openai(..., server='vllm')",
    "schema": "a model whose class has with_structured_output of its own, or a constraint with `check=True`",
    "score": "sy.local()",
    "tools": "a model that calls tools",
}


def refuse_what_is_lacking(request: Request, capabilities: frozenset[Capability], where: str) -> None:
    """Pass a request that the capabilities cover.

    Raises:
        Unsupported: they do not; nothing was sent.
    """
    for capability in _needed(request):
        if capability not in capabilities:
            msg = (
                f"{where} was asked for {capability!r}, which its capabilities {sorted(capabilities)} lack. "
                f"Use {_WHO_CAN[capability]}."
            )
            raise Unsupported(msg)


def _needed(request: Request) -> Iterator[Capability]:
    if request.tools:
        yield "tools"
    if request.constraint is not None:
        yield "schema" if isinstance(request.constraint, Schema) else "grammar"
    if request.continuations:
        yield "score"
    if request.logprobs:
        yield "logprobs"
    if any(map(_shows, request.messages)):
        yield "image"
    if request.messages and request.messages[-1].role == "assistant" and isinstance(request.messages[-1].content, str):
        yield "fork"


def _shows(message: Message) -> bool:
    parts = () if isinstance(message.content, str) else message.content
    held = [part.content if isinstance(part, ToolResult) else (part,) for part in parts]
    return any(isinstance(part, Image) for each in held for part in each)


def soundness_of(constraint: Constraint, capabilities: frozenset[Capability], where: str) -> tuple[Soundness, ...]:
    """A schema is asked for, and the answer checked, for nobody here sees whether the other side enforces it."""
    able = isinstance(constraint, Schema) and "schema" in capabilities
    reason = f"{where} is asked for it, the answer is checked" if able else f"{where} knows no such constraint"
    return tuple(
        Soundness(each.keyword, each.place, "checked" if able else "unsupported", reason)
        for each in soundness(constraint)
    )


def sampling(request: Request) -> dict[str, object]:
    """The request's sampling as keywords of a call; equal requests have a seed each.

    Raises:
        UserError: `extra` is no JSON object.
    """
    words = {name: value for name in _SAMPLING if (value := getattr(request, name)) is not None}
    if request.stop:
        words["stop"] = list(request.stop)
    if request.seed is not None:
        words["seed"] = request.seed + request.sample
    if request.extra:
        try:
            extra = json.loads(request.extra)
        except ValueError:
            extra = None
        if not isinstance(extra, dict):
            msg = f'Request.extra is no JSON object: {request.extra[:80]!r}. Pass one such as \'{{"effort": "low"}}\'.'
            raise UserError(msg)
        words = {**extra, **words}
    return words


def stops(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """The stop sequences that a caller there gives; a text is one."""
    return (given,) if isinstance(given, str) else tuple(given or ())


def at_most(request: Request, text: str) -> Usage:
    """Of a model that reports no usage: a token for every byte sent and received."""
    sent = dumps([to_json(message) for message in request.messages] + [tool.parameters for tool in request.tools])
    return Usage(input_tokens=len(sent.encode()), output_tokens=len(text.encode(errors="replace")))


def finish_from(reason: object, *, called: bool) -> Finish:
    """Why an answer ended, in a provider's own word; one that is not known, or none, says nothing."""
    said = str(getattr(reason, "name", reason)).lower()
    return _FINISH.get(said) or ("tool_calls" if called else "stop")


def object_in(arguments: str) -> dict[str, object] | None:
    """A tool call's arguments, None where they are no JSON object."""
    try:
        found = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, object]", found) if isinstance(found, dict) else None
