"""Constraints at an endpoint: the field that carries one, what is promised for it, and what an answer leaves unmet."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from synthon.core.constraints import Choice, Constraint, Grammar, Schema, Soundness
from synthon.core.errors import Unsupported, UserError
from synthon.core.values import Request
from synthon.models._demands import refuse_what_is_lacking, tightened

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from synthon.core.constraints import Textual
    from synthon.core.protocols import Model
    from synthon.core.values import Capability, Completion

Server = Literal["openai", "vllm", "sglang", "llama.cpp"]
Api: TypeAlias = Literal["openai", "vllm", "sglang", "llama.cpp", "messages"]
Judge: TypeAlias = "Callable[[Constraint], tuple[Soundness, ...]]"

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
_WEAKEST = ("enforced", "checked", "unsupported")
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


def given(model: Model, request: Request) -> Request:
    """The request as a model gets it: without a constraint that it cannot keep to and that is checked after.

    A model with a `soundness` of its own knows constraints, and says itself what it cannot.

    Raises:
        Unsupported: the model cannot keep to the constraint, and it must; or no answer can be checked against it.
        UserError: the constraint is none, or malformed, or what checks it is not installed. Nothing was paid for.
    """
    asked: object = request.constraint
    if asked is None:
        return request
    if not isinstance(asked, Constraint):
        raise UserError(f"{asked!r:.200} is no constraint. Pass sy.regex(...), sy.choice(...) or another such value.")
    _refuse_unusable(asked)
    needed: Capability = "schema" if isinstance(asked, Schema) else "grammar"
    if needed in model.capabilities or getattr(model, "soundness", None) is not None:
        return request
    if may_be_checked(request):
        return replace(request, constraint=None)
    refuse_what_is_lacking(Request((), constraint=asked), model.capabilities, repr(model.name))
    return request


def may_be_checked(request: Request) -> bool:
    """Whether the answer may come without the constraint, and be checked.

    Raises:
        Unsupported: it may, but the constraint counts `tokens`, which no check can.
    """
    from synthon.decoding import predicates  # noqa: PLC0415 - loaded where something is constrained only

    if request.constraint is None or not request.constraint.check:
        return False
    predicates.refuse_to_count(request.constraint, "A check of the answer")
    return True


def judged(completion: Completion, request: Request) -> Completion:
    """The completion with what its text leaves unmet; one without text that calls tools or scores is not judged.

    Of a count of tokens the model's own word is taken, since nobody else can count them.
    """
    if request.constraint is None or (not completion.text and (completion.tool_calls or completion.scores)):
        return completion
    unmet = _unmet(request.constraint, completion.text, own=completion.unmet)
    return completion if unmet == completion.unmet else replace(completion, unmet=unmet)


@lru_cache(maxsize=256)
def _refuse_unusable(constraint: Constraint) -> None:
    _unmet(constraint, "")


def _unmet(constraint: Constraint, text: str, own: str = "") -> str:
    from synthon.decoding import predicates, unmet  # noqa: PLC0415 - loaded where something is constrained only

    return unmet(constraint, text) or (own if predicates.counts(constraint) else "")


def soundness_at(model: Model, constraint: Constraint) -> tuple[Soundness, ...]:
    """What becomes of each keyword at a model whose answers are checked after."""
    from synthon.decoding import predicates  # noqa: PLC0415 - loaded where something is constrained only

    own: Judge | None = getattr(model, "soundness", None)
    found = promised(constraint, model.capabilities, repr(model.name)) if own is None else own(constraint)
    if not constraint.check or predicates.counts(constraint):
        return found
    return tuple(
        replace(each, how="checked") if each.how == "unsupported" and each.keyword != "layout" else each
        for each in found
    )


def promised(
    constraint: Constraint, capabilities: frozenset[Capability], where: str, api: Api | None = None
) -> tuple[Soundness, ...]:
    """What an endpoint promises of each keyword: all it has a field for, but for what is not sent to it."""
    try:
        refuse_what_is_lacking(Request((), constraint=constraint), capabilities, where)
        if api is not None:
            constraint_fields(constraint, api)
    except Unsupported as error:
        return told(constraint, "unsupported", str(error))
    found = told(constraint, "enforced", f"{where} promises it")
    if not isinstance(constraint, Schema) or api not in KEYWORDS:
        return found
    held = KEYWORDS[api] - _IN_PART.get(api, {"format"}) | {"layout"}  # formats that it knows are sent
    why = f"{where} does not take all of it; the answer is checked"
    return tuple(each if each.keyword in held else replace(each, how="checked", reason=why) for each in found)


def told(
    constraint: Constraint, how: Literal["enforced", "checked", "unsupported"], reason: str
) -> tuple[Soundness, ...]:
    """The same of every keyword, but for a schema's layout, which only a mask of our own can hold."""
    from synthon.decoding import soundness  # noqa: PLC0415 - loaded where something is constrained only

    found = [Soundness(each.keyword, each.place, how, reason) for each in soundness(constraint)]
    if isinstance(constraint, Schema) and constraint.layout != "free":
        found = [each for each in found if each.keyword != "layout"]
        found.append(Soundness("layout", "", "unsupported", "white space is chosen there, and is not checked"))
    return tuple(found)


def soundness_of(models: Sequence[Model]) -> Judge | None:
    """How a wrapper of models answers for constraints: keyword by keyword the weakest; None where one does not say."""
    own: list[Judge] = [judge for model in models if (judge := getattr(model, "soundness", None)) is not None]
    if len(own) < len(models):
        return None

    def weakest(constraint: Constraint) -> tuple[Soundness, ...]:
        found: dict[tuple[str, str], Soundness] = {}
        for each in (each for judge in own for each in judge(constraint)):
            known = found.setdefault((each.keyword, each.place), each)
            if _WEAKEST.index(each.how) > _WEAKEST.index(known.how):
                found[each.keyword, each.place] = each
        return tuple(found.values())

    return weakest
