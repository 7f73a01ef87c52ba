"""What a request's body says at an endpoint: its extra parameters, and the field that carries a constraint."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from synthon.core.constraints import Choice, Constraint, Grammar, Schema, Soundness
from synthon.core.errors import Unsupported, UserError
from synthon.core.identity import dumps
from synthon.core.values import Request
from synthon.wrappers.demands import extra_of, refuse_what_is_lacking
from synthon.wrappers.soundness import told

if TYPE_CHECKING:
    from synthon.core.constraints import Textual
    from synthon.core.values import Capability

Server = Literal["openai", "vllm", "sglang", "llama.cpp"]
Api: TypeAlias = Literal["openai", "vllm", "sglang", "llama.cpp", "messages"]

# Servers know one bound by several names, and some heed the second where both are sent.
_LENGTHS = frozenset({"max_tokens", "max_completion_tokens", "n_predict"})
_ANNOTATIONS = {"title", "description", "default", "examples"}
_CONDITIONS = {"not", "if", "then", "else", "contains", "dependentSchemas", "dependencies"}
_FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid")
_ALWAYS = "type enum const properties required additionalProperties items anyOf $ref $defs definitions format"
_BOUNDS = "minimum maximum exclusiveMinimum exclusiveMaximum"
# What an endpoint takes of JSON Schema, as of 2026-11; the rest is not sent, for it is refused or overlooked there:
# OpenAI's and Anthropic's guides on structured outputs, llama.cpp's grammars/README.md. vLLM and SGLang refuse it.
KEYWORDS: dict[Api, frozenset[str]] = {
    "openai": frozenset(f"{_ALWAYS} {_BOUNDS} pattern multipleOf minItems maxItems".split()),
    "messages": frozenset(f"{_ALWAYS} allOf".split()),
    "llama.cpp": frozenset(f"{_ALWAYS} {_BOUNDS} allOf oneOf minItems maxItems minLength maxLength".split()),
}
_IN_PART: dict[Api, set[str]] = {"llama.cpp": {"format", *_BOUNDS.split()}}  # bounds of integers only
_PIECE = re.compile(r"\(\?:|[)|*+?]|\{\d+(?:,\d*)?\}|\[[^\]]*\]|\\x\{[0-9a-f]+\}|[A-Za-z0-9]")
_ALONE = re.compile(r"\(\?:(\[[^\]]*\]|\\x\{[0-9a-f]+\}|[A-Za-z0-9])\)")
_CODE = re.compile(r"\\x\{([0-9a-f]+)\}")


def constraint_fields(constraint: Constraint, api: Api) -> dict[str, object]:
    """The fields of a request's body that make an endpoint keep to a constraint.

    Raises:
        Unsupported: it has none for this one.
        UserError: a schema or a pattern is malformed.
    """
    if isinstance(constraint, Schema):
        keywords, all_closed = KEYWORDS.get(api), api in {"openai", "messages"}
        schema = tightened(constraint.json, all_required=api != "messages", keywords=keywords, all_closed=all_closed)
        if api == "messages":
            return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}
        name = re.sub(r"[^A-Za-z0-9_-]", "_", constraint.name)[:64] or "output"
        wanted = {"name": name, "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": wanted}}
    if api == "vllm" and isinstance(constraint, Choice):
        return {"structured_outputs": {"choice": list(constraint.options)}}
    if api == "vllm" and isinstance(constraint, Grammar):
        return {"structured_outputs": {"grammar": constraint.lark}}
    # A llama.cpp server built without llguidance ends its process over a grammar that begins with `%llguidance`.
    if isinstance(constraint, Grammar) or api in {"openai", "messages"}:
        raise _no_field(constraint, repr(constraint), api)
    regex = _regex(constraint, api)
    if api == "llama.cpp":
        return {"grammar": f"root ::= {_gbnf(regex)}"}
    # `\u{}` and plain groups mean the same to Rust's regex, Outlines and XGrammar; an empty pattern would be no field.
    plain = regex.replace("(?:", "(").replace("\\x{", "\\u{") or "()"
    return {"regex": plain} if api == "sglang" else {"structured_outputs": {"regex": plain}}


def _no_field(constraint: Constraint, shown: str, api: Api) -> Unsupported:
    msg = (
        f"{api!r} endpoints enforce no {type(constraint).__name__} such as {shown[:200]}. Use a Schema, sy.local() or "
        "sy.openai(..., server='vllm'), or pass `check=True` to have the answer checked."
    )
    return Unsupported(msg)


def _regex(constraint: Textual, api: Api) -> str:
    """One pattern for the whole text, in the few signs that `patterns.rust` writes."""
    from synthon.decoding import languages, predicates  # noqa: PLC0415 - loaded where something is constrained only

    def written(language: languages.Language) -> str:
        match language:
            case languages.Pattern(rust):
                return rust
            case languages.OneOf(parts):
                return f"(?:{'|'.join(map(written, parts))})"
            case languages.All((part,)):
                return written(part)
        raise _no_field(constraint, predicates.in_words(constraint), api)

    (way, *others) = predicates.alternatives(constraint)
    if others or way.tokens is not None:
        raise _no_field(constraint, predicates.in_words(constraint), api)
    return _ALONE.sub(r"\1", written(way.language))


def _gbnf(regex: str) -> str:
    """A pattern of `patterns.rust` as the right side of a GBNF rule (llama.cpp, grammars/README.md)."""

    def written(piece: re.Match[str]) -> str:
        text = _CODE.sub(lambda code: f"\\U{int(code[1], 16):08X}", piece[0])
        is_literal = text[0].isalnum() or text[0] == "\\"
        return f'"{text}" ' if is_literal else f"{'(' if text == '(?:' else text} "

    grammar = re.sub(r" (?=[*+?{])", "", _PIECE.sub(written, regex)).strip()
    return re.sub(r'" "(?=[^" ]+"(?![*+?{]))', "", grammar) or '""'


def promised_by(
    api: Api, constraint: Constraint, capabilities: frozenset[Capability], where: str
) -> tuple[Soundness, ...]:
    """What an endpoint promises of each keyword: all it has a field for, but for what is not sent to it."""
    try:
        refuse_what_is_lacking(Request((), constraint=constraint), capabilities, where)
        constraint_fields(constraint, api)
    except Unsupported as error:
        return told(constraint, "unsupported", str(error))
    found = told(constraint, "enforced", f"{where} promises it")
    if not isinstance(constraint, Schema) or api not in KEYWORDS:
        return found
    held = KEYWORDS[api] - _IN_PART.get(api, {"format"}) | {"layout"}  # formats that it knows are sent
    why = f"{where} does not take all of it; the answer is checked"
    return tuple(each if each.keyword in held else replace(each, how="checked", reason=why) for each in found)


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
    if not _LENGTHS.isdisjoint(body):
        reserved |= _LENGTHS
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
