"""Metadata of passages, whose fields another library keeps among them under names of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from synthon.core.identity import to_json

_OWN = "own_"


def rest_of(told: Mapping[str, object], read: Collection[str]) -> dict[str, str | int | float | bool]:
    """What of another library's metadata no field has read, as plain values."""
    found = {str(name): value for name, value in told.items() if name not in read and value is not None}
    return {_back(name, read): _plain(value) for name, value in found.items()}


def beside(own: Mapping[str, object], fields: Mapping[str, object]) -> dict[str, object]:
    """A passage's own metadata and its fields; of the same name, its own stands as `own_source` and so on."""
    return {**{_OWN + name if name in fields else name: value for name, value in own.items()}, **fields}


def _back(name: str, read: Collection[str]) -> str:
    own = name.removeprefix(_OWN)
    return own if own in read else name


def _plain(value: object) -> str | int | float | bool:
    return value if isinstance(value, str | int | float | bool) else to_json(value)
