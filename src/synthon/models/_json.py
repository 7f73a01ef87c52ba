"""Look into decoded JSON whose shape nobody promised: what is missing or of another type is simply absent."""

from __future__ import annotations


def loaded(text: str | bytes) -> object:
    """The decoded JSON; where it is none, the text itself."""
    from pydantic_core import from_json  # noqa: PLC0415 - see core.identity.adapter

    try:
        value: object = from_json(text)
    except (ValueError, RecursionError):
        return text if isinstance(text, str) else text.decode("utf-8", "replace")
    return value


def found(value: object, name: str) -> object:
    """An object's member, None where there is none."""
    return value.get(name) if isinstance(value, dict) else None


def text_of(value: object, name: str) -> str:
    """An object's member if it is text, else empty."""
    text = found(value, name)
    return text if isinstance(text, str) else ""


def items(value: object, name: str) -> list[object]:
    """An object's member if it is a list, else empty."""
    listed = found(value, name)
    return listed if isinstance(listed, list) else []


def count(value: object, name: str) -> int:
    """An object's member if it is a number above 0 (and below 2**53), else 0."""
    number = found(value, name)
    return int(number) if isinstance(number, int | float) and 0 < number < 2**53 else 0
