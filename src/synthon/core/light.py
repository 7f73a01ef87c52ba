"""The standard library's frozen dataclasses, made cheaper: 35 of them were half of our import time."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(*, slots: bool, frozen: bool = False) -> Any:
        """`dataclasses.dataclass`, whose repr, equality and hash are shared functions instead of compiled ones."""

        def made(cls: type) -> type:
            lighter = dataclasses.dataclass(cls, frozen=frozen, slots=slots, repr=False, eq=False)
            lighter.__repr__, lighter.__eq__, lighter.__hash__ = _repr, _eq, _hash if frozen else None
            return lighter

        return made


def _values(value: Any) -> tuple[object, ...]:
    return tuple([getattr(value, name) for name in value.__slots__])


def _repr(value: Any) -> str:
    fields = ", ".join(f"{name}={getattr(value, name)!r}" for name in value.__slots__)
    return f"{type(value).__qualname__}({fields})"


def _eq(value: Any, other: object) -> bool:
    return _values(value) == _values(other) if type(value) is type(other) else NotImplemented


def _hash(value: Any) -> int:
    return hash(_values(value))


__all__ = ["dataclass"]
