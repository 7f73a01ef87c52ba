"""A model's tool calls, answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from synthon.core.errors import UserError
from synthon.core.identity import to_json
from synthon.core.protocols import Tool
from synthon.core.running import span
from synthon.core.values import ToolCall, ToolResult
from synthon.tools.acting import Effect, effects_of, failed, is_ordered, performed, value_as, value_of
from synthon.tools.contents import MAX_BYTES, contents, failure


async def call_all(tools: Sequence[Tool], calls: Sequence[ToolCall]) -> list[ToolResult]:
    """Results of a model's calls, in their order, as if they had been made one after another.

    Neighbours that only read run at the same time. A tool with `write`, or with `egress` and no `read`, waits for all
    calls before it and runs alone. A name that no tool has, and arguments that are no JSON object, are results that
    tell the model what to mend. If a call raises, those beside it end first.

    Raises:
        UserError, BudgetExceeded, Suspended, Uncertain, JournalError: what concerns the run and not the tool.
    """
    if not all(hasattr(tool, "call") for tool in tools):
        raise UserError(f"No tools: {tools!r:.300}. sy.tool(...) makes one of a function, a step or a program.")
    named = {tool.name: tool for tool in tools}
    if len(named) < len(tools):
        msg = f"Two tools have the same name, so that one would answer for the other: {sorted(named)}. Rename one."
        raise UserError(msg)
    results: list[ToolResult] = []
    together: list[ToolCall] = []
    for call in calls:
        tool = named.get(call.name)
        if tool is not None and is_ordered(effects_of(tool)):
            results += await _side_by_side(named, together)
            results += await _side_by_side(named, [call])
            together = []
        else:
            together.append(call)
    return results + await _side_by_side(named, together)


async def _side_by_side(named: Mapping[str, Tool], calls: Sequence[ToolCall]) -> list[ToolResult]:
    if len(calls) == 1:  # in the caller's own task
        return [await _answered(named, calls[0])]
    found = await asyncio.gather(*(_answered(named, call) for call in calls), return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if isinstance(one, ToolResult)]


async def _answered(named: Mapping[str, Tool], call: ToolCall) -> ToolResult:
    tool = named.get(call.name)
    try:
        arguments = json.loads(call.arguments or "{}")
    except (ValueError, RecursionError) as error:
        arguments = str(error)
    if tool is not None and isinstance(arguments, dict):
        return replace(await call_tool(tool, arguments), call_id=call.id)
    said = f"There is no tool {call.name!r}. There are: {', '.join(sorted(named)) or 'none'}."
    if tool is not None:
        said = f"The arguments of {call.name!r} are no JSON object ({arguments!r}). They must fit {tool.parameters}"
    with span(call.name, "tool", call.arguments) as opened:
        opened.output = result = failure(said)
    return replace(result, call_id=call.id)


async def call_tool(tool: Tool, arguments: Mapping[str, object]) -> ToolResult:
    """One call of any tool, journaled; a tool that does not journal its calls itself is done so here."""
    if getattr(tool, "journals", False):
        return await tool.call(arguments)

    return await journaled(tool.name, arguments, tool.call, effects_of(tool))


async def journaled(
    name: str,
    arguments: Mapping[str, object],
    call: Callable[[Mapping[str, object]], Awaitable[ToolResult]],
    effects: AbstractSet[Effect],
) -> ToolResult:
    """What `call` answers to these arguments, as a row of the journal, see `performed`; it honours no key."""

    async def act(_key: str) -> object:
        return await call(arguments)

    row = await performed(name, json.loads(to_json(arguments, again=True)), act, effects=effects)
    if said := failed(row):
        return failure(said)
    try:
        result: ToolResult = value_as(ToolResult, row)
    except ValueError:  # a person settled the call with a value of another shape
        return ToolResult("", contents(json.loads(value_of(row)), MAX_BYTES))
    return result
