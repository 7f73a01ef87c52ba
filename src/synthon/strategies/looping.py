"""See that an agent goes round in circles, by what it called and what came of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from synthon.core.errors import LoopDetected
from synthon.core.identity import dumps, plain

if TYPE_CHECKING:
    from synthon.core.values import ToolCall, ToolResult

_SAID = (
    "You made the same calls before, with the same results. Do something else, or give the answer with what you know."
)


class Circles:
    """The steps so far, each a set of calls with their results; one that repeats is told so, then stopped.

    A circle is the last step, or the last two or three, twice in a row: A A, A B A B. It is told at most `patience`
    times between two steps that are new.
    """

    def __init__(self, patience: int) -> None:
        self._patience = patience
        self._seen: list[str] = []
        self._told = 0

    def note(self, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> str:
        """Take a step; returns what to tell the model, or nothing.

        Raises:
            LoopDetected: it was told often enough.
        """
        step = dumps([[call.name, _arguments(call), plain(result.content)] for call, result in zip(calls, results)])  # noqa: B905 - an agent's calls have one result each
        is_new = step not in self._seen
        self._seen.append(step)
        if is_new:
            self._told = 0
        period = next((n for n in (1, 2, 3) if self._seen[-n:] == self._seen[-2 * n : -n]), 0)
        if not period:
            return ""
        if self._told == self._patience:
            names = " -> ".join(call.name for call in calls)
            msg = (
                f"The agent goes round in a circle of {period} step(s), the last of them {names!r} with the same "
                f"result, and was told so {self._told} times. Give it another tool, a clearer goal or a better model."
            )
            raise LoopDetected(msg, period=period)
        self._told += 1
        return _SAID


def _arguments(call: ToolCall) -> str:
    """The arguments, whatever order and white space they were written in."""
    try:
        return json.dumps(json.loads(call.arguments), sort_keys=True)
    except ValueError:
        return call.arguments
