"""A tool's value as parts of a message, within a size."""

from __future__ import annotations

from synthon.core.identity import to_json
from synthon.core.values import Image, Text, ToolResult

MAX_BYTES = 50_000
_IMAGE_CHARS = 7_000_000  # base64 of 5 MB, the most that endpoints take


def contents(value: object, max_bytes: int) -> tuple[Text | Image, ...]:
    """Text as it is, pictures as they are, a list that holds a picture part by part, anything else as JSON.

    All text together takes at most `max_bytes` of UTF-8; a note says how much was left out.
    """
    items = (
        value if isinstance(value, list | tuple) and any(isinstance(item, Image | Text) for item in value) else [value]
    )
    parts: list[Text | Image] = []
    left = max_bytes
    for item in items:
        if isinstance(item, Image) and len(item.data) <= _IMAGE_CHARS:
            parts.append(item)
            continue
        text = f"[a picture of {len(item.data):,} characters was left out]" if isinstance(item, Image) else worded(item)
        parts.append(Text(cut(text, left)))
        left = max(0, left - len(text.encode(errors="replace")))
    return tuple(parts)


def worded(value: object) -> str:
    """A value as text for a model."""
    if isinstance(value, Text):
        return value.text
    return value if isinstance(value, str) else to_json(value)


def cut(text: str, max_bytes: int, *, of: int | None = None) -> str:
    """At most `max_bytes` of the text, and a note of how much was left out; `of` is its length if some is gone."""
    whole = text.encode(errors="replace")
    length = len(whole) if of is None else of
    if length <= max_bytes:
        return text
    kept = whole[:max_bytes].decode(errors="ignore")
    return f"{kept}\n[{length - max_bytes:,} of {length:,} bytes were left out]"


def failure(text: str) -> ToolResult:
    """A failed call, in words that tell the model what to mend."""
    return ToolResult("", (Text(cut(text, MAX_BYTES)),), is_error=True)
