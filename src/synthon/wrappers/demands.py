"""What a request demands of a model, and the refusal where the model lacks it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from synthon.core.constraints import Schema
from synthon.core.errors import Unsupported, UserError
from synthon.core.values import Capability, Image, ToolResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from synthon.core.values import Message, Request

_WHO_CAN = {
    "tools": "an endpoint that calls tools",
    "schema": "an endpoint that enforces JSON schemas, or a constraint with `check=True`",
    "grammar": "sy.local(), sy.openai(..., server='vllm'), or a constraint with `check=True`",
    "logprobs": "sy.openai(..., server='vllm')",
    "score": "sy.local()",
    "image": "an endpoint of a model that sees",
    "fork": "sy.local(), or sy.openai(..., server='vllm')",
}


def demands(request: Request) -> Iterator[tuple[str, Capability]]:
    """What the request asks for, in words, and the capability it takes."""
    if request.tools or request.tool_choice == "required":
        yield "call tools", "tools"
    if request.constraint is not None:
        kind = type(request.constraint).__name__
        yield f"keep to a {kind}", "schema" if isinstance(request.constraint, Schema) else "grammar"
    if request.continuations:
        yield "score continuations", "score"
    if request.logprobs:
        yield "report log-probabilities", "logprobs"
    if any(_holds_image(message) for message in request.messages):
        yield "see images", "image"
    if begins(request):
        yield "go on with the beginning of its own turn", "fork"


def declared(capabilities: Iterable[Capability], known: frozenset[Capability]) -> frozenset[Capability]:
    """What an endpoint is said to be able to do; where nothing is said, what it is known for.

    Raises:
        UserError: there is no such capability.
    """
    if unknown := sorted(set(capabilities) - set(get_args(Capability))):
        raise UserError(f"There are no capabilities {unknown}. Pass a set of some of {get_args(Capability)}.")
    return frozenset(capabilities) or known


def searched(request: Request) -> Request:
    """The request with as many tokens as a search for its answer may compute: its `budget`, or `width` whole texts."""
    search = extra_of(request.extra).get("decoder", {}) if '"decoder"' in request.extra else {}
    if not isinstance(search, dict) or not all(type(search.get(name, 0)) is int for name in ("budget", "width")):
        raise UserError(f"Request.extra has decoder={search!r:.200}. Use sy.beam(4) or sy.best_k(4, 200).")
    most = request.max_tokens and (search.get("budget") or request.max_tokens * search.get("width", 1))
    return replace(request, max_tokens=most)


def begins(request: Request) -> bool:
    """Whether the last message is text of the assistant, which the answer is to go on with."""
    last = request.messages[-1:]
    return any(message.role == "assistant" and isinstance(message.content, str) for message in last)


def refuse_what_is_lacking(request: Request, capabilities: frozenset[Capability], where: str) -> None:
    """Pass a request that the capabilities cover.

    Raises:
        Unsupported: they do not; nothing was sent, no constraint is ever dropped.
    """
    for wish, capability in demands(request):
        if capability not in capabilities:
            raise Unsupported(
                f"{where} cannot {wish}: its capabilities {sorted(capabilities)} lack {capability!r}. "
                f"Use {_WHO_CAN[capability]}, or pass `capabilities=` if this endpoint can."
            )


def _holds_image(message: Message) -> bool:
    if isinstance(message.content, str):
        return False
    return any(
        isinstance(part, Image) or (isinstance(part, ToolResult) and any(isinstance(i, Image) for i in part.content))
        for part in message.content
    )


def extra_of(extra: str) -> dict[str, Any]:
    """The parameters that `Request.extra` holds.

    Raises:
        UserError: it is no JSON object.
    """
    try:
        added: object = json.loads(extra or "{}")
    except ValueError as error:
        msg = f'Request.extra is no JSON ({error}): {extra[:80]!r}. Pass an object such as \'{{"effort": "low"}}\'.'
        raise UserError(msg) from error
    if not isinstance(added, dict):
        msg = f'Request.extra is no JSON object: {extra[:80]!r}. Pass one such as \'{{"effort": "low"}}\'.'
        raise UserError(msg)
    return added
