"""A tool's act under the journal: reads are recorded, effects go through started, act, done; failures are outcomes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any, Literal

from synthon.core.errors import BudgetExceeded, JournalError, Suspended, Uncertain, UserError
from synthon.core.identity import adapter, dumps, to_json
from synthon.core.protocols import Tool
from synthon.core.recording import recorded
from synthon.core.running import described
from synthon.runs.effects import effect

Effect = Literal["read", "write", "egress", "exec"]
Act = Callable[[str], Awaitable[object]]
UNDECLARED: frozenset[Effect] = frozenset({"write"})
RUNS_OWN = (UserError, BudgetExceeded, Suspended, Uncertain, JournalError)
"""What a tool does not answer for."""


def effects_of(tool: Tool) -> frozenset[Effect]:
    """What a tool declares; one that declares nothing may do anything, so it writes."""
    return getattr(tool, "effects", UNDECLARED)


def is_ordered(effects: AbstractSet[Effect]) -> bool:
    """Whether calls must keep their order: what writes does, and what sends without reading."""
    return "write" in effects or ("egress" in effects and "read" not in effects)


async def performed(
    name: str,
    arguments: Mapping[str, object],
    act: Act,
    *,
    effects: AbstractSet[Effect],
    honours_key: bool = False,
    timeout_s: float | None = None,
    own: bool = False,
    attributes: str = "",
) -> str:
    """The outcome of one act as JSON text, read from the journal where this call was made before.

    `{"value": ...}`, or `{"error": "..."}` when the tool failed or took longer than `timeout_s`. What concerns the run
    and not the tool is raised: `UserError`, `BudgetExceeded`, `Suspended`, `Uncertain`, `JournalError`.

    Args:
        name: with `arguments` (JSON) the call's identity.
        arguments: all that decides the value.
        act: does it; gets the idempotency key, empty where none is needed.
        effects: `write` and `egress` are started on disk before they act; none at all means that equal calls are one.
        honours_key: whether the receiver acts once on the same key.
        timeout_s: of the act; a function in a thread goes on behind it.
        own: whether no other run is given the outcome, under `cache` either; of acts that write or send none ever is.
        attributes: of its span, as JSON.
    """
    acting = partial(outcome, act, effects=effects, timeout_s=timeout_s)
    if effects & {"write", "egress"}:
        return await effect(name, arguments, acting, honours_key=honours_key, attributes=attributes)
    act, repeats = partial(acting, ""), bool(effects)
    return await recorded(name, arguments, act, kind="tool", repeats=repeats, own=own, attributes=attributes)


def failed(row: str) -> str:
    """What a failed tool said; empty for one that has a value."""
    return str(json.loads(row)["error"]) if row.startswith('{"error":') else ""


def value_of(row: str) -> str:
    """The value's JSON text; what a person settled a doubtful act with is all value."""
    return row[len('{"value":') : -1] if row.startswith('{"value":') else row


def value_as(type_: Any, row: str) -> Any:
    """The value as its type, by its fields' names, which rows hold, or by their aliases, which a person may know.

    Raises:
        ValueError: it is none.
    """
    text, known = value_of(row), adapter(type_)
    try:
        return known.validate_json(text, by_alias=True, by_name=True)
    except ValueError:  # half characters, which bytes are kept in too
        value = json.loads(text)
        if type_ is bytes and isinstance(value, str):
            return value.encode(errors="surrogateescape")
        return known.validate_python(value, by_alias=True, by_name=True)


async def outcome(act: Act, key: str, effects: AbstractSet[Effect], timeout_s: float | None) -> str:
    """What comes of an act without a row of its own, see `performed`."""
    deadline = asyncio.timeout(timeout_s)
    try:
        async with deadline:
            value = await act(key)
    except RUNS_OWN:
        raise
    except SystemExit as error:  # a tool does not end the program that calls it
        return dumps({"error": f"RuntimeError: the tool raised {error!r}"})
    except Exception as error:  # noqa: BLE001 - the edge of a tool: what it raises is its answer
        if not (isinstance(error, TimeoutError) and deadline.expired()):
            return dumps({"error": described(error)})
        doubt = " It may have acted all the same." if effects & {"write", "egress"} else ""
        return dumps({"error": f"No answer within {timeout_s:g} s.{doubt}"})
    return f'{{"value":{to_json(value, again=True)}}}'
