"""The standard library's frozen dataclasses, made cheaper: thirty of them were half of our import time."""

from __future__ import annotations

import dataclasses
from dataclasses import MISSING, FrozenInstanceError
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, slots: bool, frozen: bool = False) -> Any:
        """`dataclasses.dataclass` with one compiled function a class in place of five; the others are shared."""

        def made(cls: type) -> type:
            lighter = dataclasses.dataclass(cls, slots=slots, init=False, repr=False, eq=False)
            lighter.__init__ = _init_of(lighter)
            lighter.__repr__, lighter.__eq__, lighter.__hash__ = _repr, _eq, None
            if frozen:
                lighter.__hash__, lighter.__setattr__, lighter.__delattr__ = _hash, _frozen, _frozen
                lighter.__getstate__, lighter.__setstate__ = _values, _restore
            return lighter

        return made


def _init_of(cls: Any) -> Any:
    """`__init__` with the fields as parameters, past `__setattr__`, as the standard library writes it."""
    names: dict[str, Any] = {"_set": object.__setattr__, "_missing": MISSING}
    parameters, body = ["self"], []
    for field in dataclasses.fields(cls):
        name = value = field.name
        if field.default_factory is not MISSING:
            names[f"_make_{name}"] = field.default_factory
            parameters.append(f"{name}=_missing")
            value = f"_make_{name}() if {name} is _missing else {name}"
        elif field.default is not MISSING:
            names[f"_default_{name}"] = field.default
            parameters.append(f"{name}=_default_{name}")
        else:
            parameters.append(name)
        body.append(f" _set(self, {name!r}, {value})")
    body += [" self.__post_init__()"] if hasattr(cls, "__post_init__") else []
    exec(f"def __init__({', '.join(parameters)}):\n" + "\n".join(body), names)  # noqa: S102 - our own field names
    names["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
    return names["__init__"]


def _frozen(value: Any, name: str, *_: object) -> NoReturn:
    msg = f"{type(value).__name__} is a frozen value and its {name!r} cannot be changed. Use dataclasses.replace."
    raise FrozenInstanceError(msg)


def _values(value: Any) -> tuple[object, ...]:
    return tuple([getattr(value, name) for name in value.__slots__])


def _restore(value: Any, state: tuple[object, ...]) -> None:
    for name, item in zip(value.__slots__, state, strict=True):
        object.__setattr__(value, name, item)


def _repr(value: Any) -> str:
    fields = ", ".join(f"{name}={getattr(value, name)!r}" for name in value.__slots__)
    return f"{type(value).__qualname__}({fields})"


def _eq(value: Any, other: object) -> bool:
    return _values(value) == _values(other) if type(value) is type(other) else NotImplemented


def _hash(value: Any) -> int:
    return hash(_values(value))


__all__ = ["dataclass"]
