"""Calls and results as the tests write and read them."""

from __future__ import annotations

import json

import synthon as sy


def text(result: sy.ToolResult) -> str:
    """All text of a result."""
    return "".join(part.text for part in result.content if isinstance(part, sy.Text))


def call(name: str, arguments: object, id_: str = "1") -> sy.ToolCall:
    """A model's call; text goes as it is."""
    return sy.ToolCall(id_, name, arguments if isinstance(arguments, str) else json.dumps(arguments))
