"""A changed value validated again: from what it holds, never from how it would be written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any

from synthon.core.identity import adapter


def put(value: Any, path: tuple[Any, ...], new: object) -> Any:
    """A copy of the value with another one at the path, which nothing has validated yet; tuples become lists."""
    if not path:
        return new
    made = list(value) if isinstance(value, tuple) else copy(value)
    inner = put(at(made, path[0]), path[1:], new)
    if isinstance(made, dict | list):
        made[path[0]] = inner
    else:
        object.__setattr__(made, path[0], inner)  # frozen ones too
    return made


def at(value: Any, key: Any) -> Any:
    """What stands under a key, an index or a name; None under a key that is not there."""
    if isinstance(value, dict):
        return value.get(key)
    return value[key] if isinstance(value, list | tuple) else getattr(value, key, None)


def keyed(type_: object, name: Any) -> Any:
    """What a field is called in JSON, as the type's schema has it: by its first alias."""
    alias = getattr(getattr(type_, "__pydantic_fields__", {}).get(name), "validation_alias", None)
    first = getattr(alias, "choices", [alias])[0]
    return first if isinstance(first, str) else name


def as_read(value: Any, shape: Any) -> Any:
    """The JSON types of a value, with the fields of models in it called as their schemas call them."""
    if not isinstance(shape, dict) or isinstance(value, list | tuple):
        has_items = isinstance(value, list | tuple) and isinstance(shape, list)
        return [*map(as_read, value, shape)] if has_items else shape
    known = getattr(type(value), "__pydantic_fields__", {})
    names = {field.serialization_alias or name: name for name, field in known.items()}
    held = {key: names.get(key, key) for key in shape}
    return {keyed(type(value), held[key]): as_read(at(value, held[key]), shape[key]) for key in shape}


def rebuilt(type_: object, value: object, before: object) -> Any:
    """A value as one of the type; what it shares with the value before the change is taken as it is.

    A dump would lose what a serialiser hides or rounds: secrets, excluded fields. A changed model's own validators run
    again, and what they would change at every run stays as it was.

    Raises:
        ValueError: it is none.
    """
    return _checked(type_, _made(value, frozenset(_ids(before))))


def _checked(type_: object, value: object) -> Any:
    return adapter(type_).validate_python(value, strict=False, by_alias=True, by_name=True)


def _made(value: Any, known: Collection[int]) -> Any:
    """The value with each changed model and dataclass in it validated as its own class, inner ones first."""
    if id(value) in known:
        return value
    if isinstance(value, dict):
        return {key: _made(item, known) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_made(item, known) for item in value]
    held = _held(value)
    if not held:
        return value
    made = _again(value, {name: _made(item, known) for name, item in held.items()})
    once, twice = _held(made), _held(_again(made, _held(made)))
    for name, item in held.items():
        if id(item) in known and once.get(name) != twice.get(name):
            object.__setattr__(made, name, item)
    return made


def _again(value: Any, held: Mapping[str, object]) -> Any:
    """One of the value's class that holds this."""
    keys = {name: field.validation_alias for name, field in getattr(type(value), "model_fields", {}).items()}
    whole = {key if isinstance(key := keys.get(name), str) else name: item for name, item in held.items()}
    return _checked(type(value), held["root"] if getattr(value, "__pydantic_root_model__", False) else whole)


def _held(value: Any) -> dict[str, Any]:
    """The fields of a model or dataclass; of others, none."""
    kind: Any = type(value)
    if hasattr(kind, "model_fields"):
        return {name: getattr(value, name) for name in (*kind.model_fields, *(value.model_extra or ()))}
    return {each.name: getattr(value, each.name) for each in fields(value) if each.init} if is_dataclass(kind) else {}


def _ids(value: object) -> Iterator[int]:
    """The identities of a value and of all that it holds."""
    yield id(value)
    items = value if isinstance(value, list | tuple) else (value if isinstance(value, dict) else _held(value)).values()
    for item in items:
        yield from _ids(item)
