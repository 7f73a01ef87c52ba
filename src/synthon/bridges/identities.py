"""What decides the answers of a part from another library, as a text without secrets."""

from __future__ import annotations

import dis
import enum
import re
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from itertools import islice
from pathlib import PurePath
from types import CodeType, FunctionType, ModuleType
from typing import TypeAlias

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from synthon.core.errors import UserError
from synthon.core.identity import digest, dumps

Identity: TypeAlias = str | Callable[[], str]
_SECRET = re.compile(
    r"(^|_|-)(api_?keys?|secrets?|passwords?|credentials?|headers|authorization|(access|auth|bearer|api)[_-]?token)$"
    r"|^token$",
    re.IGNORECASE,
)
_LOOKED_AT, _ITEMS = 10_000, 200
_SHORT = 3
_BESIDE = {"callbacks", "callback_manager", "cache", "rate_limiter", "verbose"}  # they watch, and decide nothing


def identity_of(part: object, given: Identity | None, name: str) -> Identity:
    """The given identity, else the part's class and a digest of its fields as they are now, keys left out.

    Raises:
        UserError: a field's value is code or state that cannot be told.
    """
    if given is not None:
        return given
    kind = type(part)
    return f"{kind.__module__}.{kind.__qualname__}#{digest(dumps(_told(part, name, name)))[:32]}"


def as_text(identity: Identity) -> str:
    """What an identity is at this moment."""
    return identity if isinstance(identity, str) else identity()


def _told(value: object, place: str, name: str) -> object:
    """A value as JSON types.

    Raises:
        UserError: it is code, or state of a kind that does not show.
    """
    if isinstance(value, list | tuple):
        return [_told(item, f"{place}[{at}]", name) for at, item in enumerate(value)]
    if isinstance(value, AbstractSet):
        return sorted(dumps(_told(item, place, name)) for item in value)
    if isinstance(value, Mapping):
        return _fields({str(key): item for key, item in value.items()}, place, name)
    if isinstance(value, BaseModel):
        shown = {key for key, own in type(value).model_fields.items() if not own.exclude} - _BESIDE
        held = {key: getattr(value, key) for key in sorted(shown) if not _is_default(value, key)}
        return [type(value).__qualname__, _fields(held | (value.model_extra or {}), place, name)]
    if is_dataclass(value) and not isinstance(value, type):
        held = {own.name: getattr(value, own.name) for own in fields(value)}
        return [type(value).__qualname__, _fields(held, place, name)]
    return _simple(value, place, name)


def _is_default(value: BaseModel, key: str) -> bool:
    """Whether a field holds the function that its class gives it, which is the class's as its methods are."""
    held = getattr(value, key)
    return isinstance(held, FunctionType) and held is type(value).model_fields[key].default


def _simple(value: object, place: str, name: str) -> object:
    if isinstance(value, enum.Enum | PurePath):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, SecretStr | SecretBytes):
        return None
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, type):
        return [f"{value.__module__}.{value.__qualname__}", _shape(value)]
    if isinstance(value, FunctionType) and _is_told_by_its_code(value):
        return [f"{value.__module__}.{value.__qualname__}", _code(value.__code__)]
    msg = (
        f"What decides the answers of {name!r} cannot be told: its {place} is {value!r:.200}. "
        "Pass identity='...', a text (or a function that gives one) that changes whenever the answers may."
    )
    raise UserError(msg)


def _fields(held: Mapping[str, object], place: str, name: str) -> dict[str, object]:
    return {key: _told(item, f"{place}.{key}", name) for key, item in held.items() if not _SECRET.search(key)}


def secrets_of(part: object) -> list[str]:
    """The values of secret fields in a part and in what it holds, the longest first; header values without scheme too.

    It looks at some `_LOOKED_AT` objects and the first `_ITEMS` of what each holds: where there are more, they
    are no settings but texts and vectors. Values too short to be told from other text are left out.
    """
    found: set[str] = set()
    seen: dict[int, object] = {}
    waiting = [(part, False)]
    for value, secret in waiting:  # it grows
        if isinstance(value, SecretStr | SecretBytes):
            waiting.append((value.get_secret_value(), True))
        elif isinstance(value, str | bytes):
            text = value if isinstance(value, str) else value.decode(errors="replace")
            found |= {text, text.partition(" ")[2]} if secret else set()
        elif id(value) not in seen and not isinstance(value, type | ModuleType | FunctionType):
            seen[id(value)] = value
            held = islice(_held(value), _ITEMS if len(waiting) < _LOOKED_AT else 0)
            waiting += [(item, secret or bool(_SECRET.search(name))) for name, item in held]
    return sorted((text for text in found if len(text) > _SHORT), key=len, reverse=True)


def _held(value: object) -> Iterator[tuple[str, object]]:
    """What an object holds, by name; the items of a list bear none."""
    if isinstance(value, list | tuple | AbstractSet):
        yield from (("", item) for item in value)
    elif isinstance(value, Mapping):
        yield from ((str(name), item) for name, item in value.items())
    else:
        beside = ("__pydantic_extra__", "__pydantic_private__") if isinstance(value, BaseModel) else ()
        for held in ("__dict__", *beside):  # what answers to any name, as clients of remote calls do, is not asked
            yield from (getattr(value, held, None) or {}).items()


class _Shapes(GenerateJsonSchema):
    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012 - Pydantic's


def _shape(kind: type) -> object:
    return kind.model_json_schema(schema_generator=_Shapes) if issubclass(kind, BaseModel) else None


def _is_told_by_its_code(function: FunctionType) -> bool:
    """Whether a function's answers are decided by its arguments and its code, and by modules that it uses."""
    names = set(_names(function.__code__))
    held = [value for name, value in function.__globals__.items() if name in names]
    return (
        function.__qualname__.isidentifier()
        and function.__code__.co_argcount > 0  # without an argument it is there for what changes, such as the time
        and not (function.__closure__ or function.__defaults__ or function.__kwdefaults__)
        and all(isinstance(value, ModuleType) for value in held)
    )


def _names(code: CodeType) -> Iterator[str]:
    """The global names that a function and those within it look up."""
    yield from (each.argval for each in dis.get_instructions(code) if each.opname in {"LOAD_GLOBAL", "LOAD_NAME"})
    for item in code.co_consts:
        if isinstance(item, CodeType):
            yield from _names(item)


def _code(code: CodeType) -> list[object]:
    """What a function does; not what the modules it uses do."""
    constants = [
        _code(item)
        if isinstance(item, CodeType)
        else repr(sorted(map(repr, item)) if isinstance(item, frozenset) else item)
        for item in code.co_consts
    ]
    return [code.co_code.hex(), list(code.co_names), constants]
