"""One serialisation: what is hashed into a key is what is stored."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields, is_dataclass
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json as _to_json
from pydantic_core import to_jsonable_python

from synthon.core.errors import UserError
from synthon.core.values import Completion, Message, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pydantic import TypeAdapter

_FLOATS = ("temperature", "top_p", "min_p")
_REST: tuple[str, ...] = ("max_tokens", "top_k", "stop", "seed", "tools", "tool_choice", "constraint", "continuations")
_REST += ("logprobs", "extra")
_LOGPROBS = ("scores", "neutral", "logprobs")
_PLAIN = frozenset({str, int, float, bool, type(None)})
_ROWS, _SETS = (list, tuple), (set, frozenset)
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_encode_ascii = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def plain(value: object) -> object:
    """A value as JSON types: dataclasses become objects of their kind and the fields that differ from defaults."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if is_dataclass(value):
        kind = getattr(value, "kind", type(value).__name__.lower())
        changed = {f.name: getattr(value, f.name) for f in fields(value) if getattr(value, f.name) != f.default}
        return {"kind": kind} | {name: plain(item) for name, item in changed.items()}
    msg = f"A request holds {value!r}, which has no canonical form. Use text, numbers and the kernel's values only."
    raise UserError(msg)


def _turn(message: object) -> list[object]:
    if not isinstance(message, Message):
        raise UserError(f"{message!r:.200} is no turn of a conversation. Pass such as sy.Message('user', 'Hello').")
    content = message.content
    return [message.role, content if isinstance(content, str) else plain(content)]


def canonical(identity: str, request: Request) -> str:
    """The JSON text that decides an answer: the model's identity and all of the request but `sample` and `salt`.

    Numbers are normalised (a temperature of 0 is 0.0) and what is left at its default does not appear.

    Raises:
        UserError: the request holds a number that is no number, or a value that is no JSON.
    """
    shape: dict[str, object] = {"model": identity, "messages": [_turn(message) for message in request.messages]}
    for name in _FLOATS:
        number = getattr(request, name)
        if number is not None:
            shape[name] = float(number) + 0.0
    for name in _REST:
        value = getattr(request, name)
        if value is not None and (name in {"seed", "max_tokens", "top_k"} or value not in ((), "", 0, "auto")):
            shape[name] = value if isinstance(value, str | int) else plain(value)
    return dumps(shape)


def dumps(shape: object) -> str:
    """Compact JSON; text that UTF-8 cannot hold (lone surrogates) is escaped."""
    try:
        text = _encode(shape)
        text.encode()
    except UnicodeEncodeError:
        return _encode_ascii(shape)
    except (ValueError, TypeError) as error:
        msg = f"A call holds what JSON cannot hold ({error}). Pass finite numbers only, and text, lists and dicts."
        raise UserError(msg) from error
    return text


def with_sample(text: str, sample: int) -> str:
    """The canonical text of the `sample`-th equal request; the 0th is the text itself."""
    return f'{text[:-1]},"sample":{sample}}}' if sample else text


def digest(text: str) -> str:
    """The sha256 of a canonical text, in hex."""
    return sha256(text.encode()).hexdigest()


def fingerprint(value: object) -> str:
    """A digest of any value that is the same in each process: without the addresses of what has no text of its own."""
    return digest(re.sub(r" at 0x\w+", "", to_json(value, unread=True)))


def adapter(type_: Any) -> TypeAdapter[Any]:
    """Pydantic's validator of a type, made once; types that are equal but told otherwise (`A | B`, `B | A`) are two."""
    return _adapter(type_, repr(type_))


@lru_cache(maxsize=512)
def _adapter(type_: Any, _told: str) -> TypeAdapter[Any]:
    """Pydantic's heavy half is loaded here, not at import."""
    from pydantic import TypeAdapter  # noqa: PLC0415 - costs 30 % of our import time

    return TypeAdapter(type_)


def safe_repr(value: object) -> str:
    """A value's repr, or where that fails the one that every object has."""
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - it is another's code, and a trace never stops a program
        return object.__repr__(value)


def dump_completion(completion: Completion) -> str:
    """A completion as the JSON text that the journal keeps."""
    known = adapter(Completion)
    try:
        text: str = known.dump_json(completion, exclude_defaults=True).decode()
    except ValueError:  # lone surrogates
        return json.dumps(known.dump_python(completion, exclude_defaults=True), separators=(",", ":"))
    return text


def load_completion(text: str) -> Completion:
    """The completion that `dump_completion` wrote."""
    known = adapter(Completion)
    try:
        completion: Completion = known.validate_json(text)
    except ValueError:  # lone surrogates, and rows of before that have null for -inf
        shape = json.loads(text)
        measured = {name: _measured(shape[name]) for name in _LOGPROBS if name in shape}
        completion = known.validate_python({**shape, **measured})
    return completion


def _measured(shape: Any) -> Any:
    if isinstance(shape, list):
        return [_measured(item) for item in shape]
    if isinstance(shape, dict):
        return {name: _measured(item) for name, item in shape.items()}
    return -math.inf if shape is None else shape


def to_json(
    value: object,
    *,
    again: bool = False,
    unread: bool = False,
    typed: bool = False,
    fallback: Callable[[Any], str] = safe_repr,
) -> str:
    """Any value as JSON text for a trace: models and dataclasses as objects, sets sorted, the unknown by its repr.

    With `again` it can be read into the same type: fields by their own names, without computed ones; with `typed` too,
    but by their aliases, as its schema has them. With `unread` iterators, which reading would use up, stay as they are
    and are written by their repr.
    """
    how: Any = {"by_alias": not again, "round_trip": again or typed, "fallback": fallback, "inf_nan_mode": "strings"}
    try:
        settled = value if type(value) in _PLAIN else _settled(value, unread, how)
        try:
            return _to_json(settled, serialize_unknown=True, **how).decode()
        except ValueError:  # lone surrogates, which this keeps
            return _encode_ascii(to_jsonable_python(settled, serialize_unknown=True, **how))
    except (ValueError, RecursionError):  # circles, bytes: a trace never stops a program
        return _encode_ascii(safe_repr(value))


def _settled(value: Any, unread: bool, how: Any) -> Any:  # noqa: FBT001 - named, it costs each call of a step
    """The value with its sets sorted and, where they are to stay unread, its iterators as text."""
    kind: Any = type(value)
    if isinstance(value, dict):
        known = _PLAIN.issuperset(map(type, value.values()))
        return value if known else {name: _settled(item, unread, how) for name, item in value.items()}
    if isinstance(value, _ROWS):
        return value if _PLAIN.issuperset(map(type, value)) else [_settled(item, unread, how) for item in value]
    if isinstance(value, _SETS):
        return _sorted([_settled(item, unread, how) for item in value])
    names, dump = _inside(kind)
    if dump:
        raw = dump(value, by_alias=how["by_alias"], round_trip=how["round_trip"], warnings="none")
        return _ordered(raw, to_jsonable_python(value, serialize_unknown=True, **how)) if _holds_sets(raw) else value
    if names:
        inside = {name: getattr(value, name, None) for name in names}
        return value if _PLAIN.issuperset(map(type, inside.values())) else _settled(inside, unread, how)
    return safe_repr(value) if unread and hasattr(kind, "__next__") else value


@lru_cache(maxsize=512)
def _inside(kind: Any) -> tuple[Sequence[str], Any]:
    """The fields of a dataclass, and what shows the sets in a model of Pydantic, whose JSON leaves them unsorted."""
    if hasattr(kind, "__pydantic_core_schema__"):
        return (), kind.__pydantic_serializer__.to_python
    return [each.name for each in fields(kind)] if is_dataclass(kind) else (), None


def _holds_sets(raw: Any) -> bool:
    inner = raw.values() if isinstance(raw, dict) else raw if isinstance(raw, _ROWS) else ()
    return isinstance(raw, _SETS) or any(map(_holds_sets, inner))


def _ordered(raw: Any, shape: Any) -> Any:
    """JSON types, sorted wherever what they were made of is a set."""
    if isinstance(raw, _SETS) and isinstance(shape, list):
        return _sorted(shape)
    if isinstance(raw, dict) and isinstance(shape, dict):
        return dict(zip(shape, map(_ordered, raw.values(), shape.values()), strict=True))
    return [*map(_ordered, raw, shape)] if isinstance(raw, _ROWS) and isinstance(shape, list) else shape


def _sorted(items: list[Any]) -> list[Any]:
    try:
        return sorted(items)
    except TypeError:
        return sorted(items, key=safe_repr)
