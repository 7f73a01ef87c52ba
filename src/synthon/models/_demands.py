"""What a request demands of a model, and the refusal where the model lacks it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast, get_args

from synthon.core.constraints import Schema
from synthon.core.errors import Unsupported, UserError
from synthon.core.identity import dumps
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
# Servers know one bound by several names, and some heed the second where both are sent.
_BOUNDS = frozenset({"max_tokens", "max_completion_tokens", "n_predict"})
_ANNOTATIONS = {"title", "description", "default", "examples"}
_CONDITIONS = {"not", "if", "then", "else", "contains", "dependentSchemas", "dependencies"}
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")


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


def with_extra(body: dict[str, object], extra: str, reserved: frozenset[str]) -> dict[str, object]:
    """The body with `Request.extra`'s parameters; objects that both hold are merged, the request's fields win.

    Raises:
        UserError: `extra` is no JSON object, names a parameter of ours, or sets one that the request sets too, be it
            by another of its names.
        Unsupported: it asks for a `decoder` of the local engine.
    """
    added = extra_of(extra)
    if "decoder" in added:
        msg = f"{body['model']!r} is no local model, so it cannot decode by {added['decoder']!r}. Use sy.local()."
        raise Unsupported(msg)
    if not _BOUNDS.isdisjoint(body):
        reserved |= _BOUNDS
    for name, value in added.items():
        mine = body.get(name)
        if isinstance(mine, dict) and isinstance(value, dict):
            body[name] = value | mine
        elif name in reserved or name in body:
            raise UserError(f"Request.extra sets {name!r}, which the request decides itself. Take it out of `extra`.")
        else:
            body[name] = value
    return body


@lru_cache(maxsize=512)
def parsed(schema: str) -> dict[str, object]:
    """A JSON schema's text as an object; the caller must not change it.

    Raises:
        UserError: it is none.
    """
    try:
        shape = json.loads(schema)
    except ValueError:
        shape = None
    if not isinstance(shape, dict):
        msg = f'A JSON schema\'s text is no JSON object: {schema[:80]!r}. Pass one such as \'{{"type": "object"}}\'.'
        raise UserError(msg)
    return cast("dict[str, object]", shape)


@lru_cache(maxsize=512)
def tightened(
    schema: str, *, all_required: bool, keywords: frozenset[str] | None = None, all_closed: bool = False
) -> dict[str, object]:
    """A schema that endpoints' strict modes accept and whose every value fits the given one.

    It is in draft 2020-12, each `allOf` one schema where that says as much. Objects that name properties are closed to
    others unless the schema says otherwise or another part speaks of them too, defaults go, and with `all_required`
    every property must be present. With `keywords`, others are left out, for an answer is checked against the given
    schema too; `oneOf` is then asked for as `anyOf`, and of the formats those that endpoints know.

    Raises:
        UserError, SchemaTooLarge: the schema cannot be used.
        Unsupported: nor can it; or with `all_closed`, one of its objects cannot be closed.
    """
    from synthon.decoding.closing import closed, merged  # noqa: PLC0415 - loaded where something is constrained only

    parsed(schema)
    whole = merged(schema)
    tight = closed(_tighten(whole, all_required, keywords and keywords | {"allOf"}))
    return cast("dict[str, object]", _shut(tight, keywords or frozenset()) if all_closed else tight)


def _tighten(node: Any, all_required: bool, keywords: frozenset[str] | None) -> Any:  # noqa: FBT001 - recursion
    from synthon.decoding.closing import each_part  # noqa: PLC0415 - as above

    if not isinstance(node, dict):
        return node
    taken = _taken(node, keywords)
    if isinstance(taken.get("$ref"), str) and not set(taken) - _ANNOTATIONS - {"$ref"}:
        return {"$ref": taken["$ref"]}
    as_is = {name: taken.pop(name) for name in _CONDITIONS & taken.keys()}  # tightened they would let more in
    tight = each_part(taken, lambda inner, _: _tighten(inner, all_required, keywords)) | as_is
    tight.pop("default", None)
    if all_required and isinstance(properties := taken.get("properties"), dict):
        tight["required"] = list(properties)
    return tight


def _shut(node: Any, keywords: frozenset[str]) -> Any:
    """The same without an `allOf` that is not taken, every object closed."""
    from synthon.decoding.closing import each_part  # noqa: PLC0415 - as above

    if not isinstance(node, dict):
        return node
    if isinstance(node.get("properties"), dict) and "additionalProperties" not in node:
        msg = (
            f"This endpoint takes closed objects only, and other parts of the schema speak of {dumps(node)[:200]} too. "
            "Write it and its `allOf` or `anyOf` as one object, or pass `check=True` to have the answer checked."
        )
        raise Unsupported(msg)
    shut = each_part(node, lambda inner, _: _shut(inner, keywords))
    return {name: item for name, item in shut.items() if name != "allOf" or name in keywords}


def _taken(node: dict[str, object], keywords: frozenset[str] | None) -> dict[str, object]:
    """What an endpoint takes of a schema; the rest is for the check of its answer."""
    if keywords is None:
        return dict(node)
    kept = {name: value for name, value in node.items() if name in keywords or name in {"title", "description"}}
    if "oneOf" in node and "oneOf" not in keywords and "anyOf" not in kept:
        kept["anyOf"] = node["oneOf"]
    if kept.get("format", _FORMATS[0]) not in _FORMATS:
        del kept["format"]
    return kept
