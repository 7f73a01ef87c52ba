"""Fields of a value by dotted path: found, changed in a copy, and known of a type beforehand."""

from __future__ import annotations

import copy
import dataclasses
import enum
import types
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from synthon.core.errors import UserError
from synthon.core.verdicts import Path
from synthon.guards.results import GONE

Parts: TypeAlias = tuple[str, ...]
Visitor: TypeAlias = Callable[[Path, object], Awaitable[object]]
_SCALARS = (str, bytes, int, float, complex, enum.Enum, types.NoneType)


class Required(Exception):
    """A field that has no default and admits no None cannot leave."""


def parsed(field: object) -> Parts:
    """The parts of a dotted path; none for the whole.

    Raises:
        UserError: it is no text, or a part is empty.
    """
    parts = tuple(str(field).split(".")) if field != "" else ()
    if not isinstance(field, str) or not all(part.removesuffix("?") for part in parts):
        raise UserError(
            f"The field {field!r} is no path or has an empty part. Write a dotted path such as 'items.*.name', or '' "
            "for the whole."
        )
    return parts


async def changed(value: object, parts: Parts, visit: Visitor, path: Path = ()) -> object:
    """The value with every place that the path names replaced by what the visitor answers there, in order.

    Nothing is mutated: what changes is copied, the rest is shared, and without a change the value itself comes
    back. None on the way, and an index past a list's end, are no places.

    Raises:
        Required: the visitor answered GONE for a field that must be there.
        UserError: there is no such field.
    """
    if not parts:
        return await visit(path, value)
    changes: dict[Any, object] = {}
    for key in _keys(value, parts, path):
        child = value[key] if isinstance(value, Mapping | list | tuple) else getattr(value, key)
        new = await changed(child, parts[1:], visit, (*path, key))
        if new is not child:
            changes[key] = new
    return _copied(value, changes) if changes else value


def _keys(value: Any, parts: Parts, path: Path) -> Sequence[Any]:
    part = parts[0].removesuffix("?")
    kind: Any = type(value)
    names = _names(kind)
    if value is None:
        return ()
    if isinstance(value, list | tuple) and (part == "*" or part.isdigit()):
        return [at for at in range(len(value)) if part in ("*", str(at))]
    if isinstance(value, Mapping):
        found = [key for key in value if part in ("*", str(key))]
        if found or part == "*":
            return found
    elif not isinstance(value, list | tuple) and (part in names or part in (getattr(value, "model_extra", None) or {})):
        require(kind, parts)
        return (part,)
    if parts[0].endswith("?"):
        return ()
    has = list(value) if isinstance(value, Mapping) else list(names)
    raise UserError(_absent(kind, part, has, ".".join(map(str, path))))


def _copied(value: Any, changes: Mapping[Any, object]) -> object:
    if isinstance(value, Mapping):
        made = copy.copy(value) if isinstance(value, dict) else dict(value)
        for key, new in changes.items():
            if new is GONE:
                del made[key]
            else:
                made[key] = new
        return made
    if isinstance(value, list | tuple):
        items = [new for at, old in enumerate(value) if (new := changes.get(at, old)) is not GONE]
        return items if isinstance(value, list) else tuple(items)
    full = {name: _default(value, name) if new is GONE else new for name, new in changes.items()}
    if hasattr(value, "model_copy"):
        return value.model_copy(update=full)
    made = copy.copy(value)
    for name, new in full.items():
        object.__setattr__(made, name, new)  # frozen ones too; `replace` would refuse fields that are not in __init__
    return made


def _default(value: Any, name: str) -> object:
    """What stands in an optional field that was left out."""
    kind: Any = type(value)
    model = getattr(kind, "model_fields", {}).get(name)
    if model is not None and not model.is_required():
        return model.get_default(call_default_factory=True, validated_data=value.__dict__)
    for field in dataclasses.fields(value) if dataclasses.is_dataclass(value) else ():
        if field.name == name and field.default is not dataclasses.MISSING:
            return field.default
        if field.name == name and field.default_factory is not dataclasses.MISSING:
            return field.default_factory()
    if types.NoneType in _arms(_names(kind).get(name)):
        return None
    raise Required


@lru_cache(1024)
def require(type_: Any, parts: Parts) -> None:
    """Refuse a path that no value of the type can have; what a type does not say is let through.

    Raises:
        UserError: names the type and the fields it has.
    """
    lacking = _lacking(type_, parts)
    if lacking:
        raise UserError(lacking)


def _lacking(type_: Any, parts: Parts) -> str:
    if not parts or parts[0].endswith("?"):
        return ""
    inner = list(_inner(type_, parts[0]))
    if not inner:
        return _absent(type_, parts[0], [name for arm in _arms(type_) for name in _names(arm)], "")
    found = [_lacking(each, parts[1:]) for each in inner]
    return found[0] if all(found) else ""


def _absent(type_: Any, part: str, has: Sequence[object], where: str) -> str:
    shown = getattr(type_, "__name__", str(type_))
    place = f" at {where!r}" if where else ""
    known = f"it has {', '.join(map(repr, has[:20]))}" if has else "it has no fields"
    return (
        f"A guard names the field {part!r}, which {shown}{place} has not: {known}. Correct the path; "
        f"write {part + '?'!r} for a field that only some values have."
    )


def _inner(type_: Any, part: str) -> Iterator[Any]:
    """Types that stand under the part; `Any` where a type does not say."""
    for arm in _arms(type_):
        origin, arguments, names = get_origin(arm) or arm, get_args(arm), _names(arm)
        if part in names:
            yield names[part]
        elif names:
            if getattr(arm, "model_config", {}).get("extra") == "allow":
                yield Any
        elif origin is Literal or (isinstance(origin, type) and issubclass(origin, _SCALARS)):
            continue
        elif isinstance(origin, type) and issubclass(origin, Mapping):
            yield arguments[1] if len(arguments) > 1 else Any
        elif isinstance(origin, type) and issubclass(origin, Sequence):
            if part == "*" or part.isdigit():
                yield from [each for each in arguments if each is not ...] or [Any]
        else:
            yield Any


def _arms(type_: Any) -> list[Any]:
    """The types a union is of, without their annotations."""
    if get_origin(type_) is Annotated:
        return _arms(get_args(type_)[0])
    if get_origin(type_) in {Union, types.UnionType}:
        return [arm for each in get_args(type_) for arm in _arms(each)]
    return [types.NoneType if type_ is None else type_]


@lru_cache(1024)
def _names(type_: Any) -> dict[str, Any]:
    """The named fields of a Pydantic model, dataclass or TypedDict with their types; none of others."""
    model = getattr(type_, "model_fields", None)
    if model is not None:
        return {name: field.annotation for name, field in model.items()}
    if dataclasses.is_dataclass(type_):
        names = [field.name for field in dataclasses.fields(type_)]
    elif hasattr(type_, "__required_keys__"):  # typing's `is_typeddict` knows its own ones only
        names = list(type_.__annotations__)
    else:
        return {}
    try:
        hints = get_type_hints(type_)
    except NameError:  # a type that is local to a function
        hints = {}
    return {name: hints.get(name, Any) for name in names}


__all__ = ["Parts", "Required", "changed", "parsed", "require"]
