"""The output type of slot extraction, the same for us and for peers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, create_model

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST = 6  # mentions; the sentences have at most five


def said_type(kinds: Sequence[str]) -> Any:
    """An object with a list of mentions, each a kind and a text."""
    kind: Any = Literal[tuple(kinds)]
    mention: Any = create_model("Mention", kind=(kind, ...), text=(str, ...))
    return create_model("Said", mentions=(list[mention], Field(max_length=MOST)))


__all__ = ["said_type"]
