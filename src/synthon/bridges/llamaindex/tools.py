"""Tools, from LlamaIndex's to ours and back."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any, TypeAlias, cast

from llama_index.core.tools import AsyncBaseTool, BaseTool, FunctionTool, QueryEngineTool, RetrieverTool, ToolOutput
from llama_index.core.tools.function_tool import sync_to_async

from synthon.bridges.acting import ForeignTool, effects_from
from synthon.bridges.llamaindex.reading import parts_from
from synthon.bridges.llamaindex.sending import SchemaMetadata, block_to
from synthon.core.errors import UserError
from synthon.core.identity import dumps
from synthon.core.portal import sync
from synthon.core.protocols import Tool
from synthon.core.values import Image, Text, ToolResult
from synthon.tools.acting import RUNS_OWN, Effect
from synthon.tools.threads import threaded

Sync: TypeAlias = Callable[..., ToolOutput]
_THEIR_THREADS = sync_to_async(len).__code__


def tool(tool: BaseTool, *, effects: Collection[Effect] | None = None) -> ForeignTool:
    """A tool of LlamaIndex's as a tool here; its calls are journaled, its failures are results with `is_error`.

    Args:
        tool: any `BaseTool`; one that is not async runs in a thread.
        effects: what it does to the world; left out, `write`: never called again by guess after a kill.

    Raises:
        UserError: it is no tool, or there is no such effect.
    """
    if not isinstance(tool, BaseTool):
        msg = f"{tool!r:.200} is no tool of LlamaIndex's. Pass one such as FunctionTool.from_defaults(function)."
        raise UserError(msg)
    told = tool.metadata
    name = told.get_name()
    declared = getattr(told, "effects", None)
    return ForeignTool(
        name,
        told.description,
        dumps(told.get_parameters_dict()),
        effects_from(effects, declared, name),
        partial(_called, tool),
    )


async def _called(tool: BaseTool, arguments: Mapping[str, object]) -> ToolResult:
    acall = _awaited(tool)  # not acall_tool, which calls a tool that fails a second time
    output = await (acall(*arguments.values()) if _takes_a_lone_value(tool, arguments) else acall(**arguments))
    if isinstance(output.exception, RUNS_OWN):
        raise output.exception
    content = tuple(part for part in parts_from(output.blocks) if isinstance(part, Text | Image))
    return ToolResult("", content, output.is_error)


def _awaited(tool: BaseTool) -> Callable[..., Awaitable[ToolOutput]]:
    """Its async call; one that is only sync runs in a thread of ours: theirs hang on a StopIteration."""
    if isinstance(tool, FunctionTool) and getattr(tool.async_fn, "__code__", None) is _THEIR_THREADS:
        return partial(threaded, tool.call)
    return tool.acall if isinstance(tool, AsyncBaseTool) else partial(threaded, cast("Sync", tool))


def _takes_a_lone_value(tool: BaseTool, arguments: Mapping[str, object]) -> bool:
    """Engines and retrievers take one as it is, and so does what has no parameter of its name; a function never."""
    if len(arguments) != 1 or isinstance(tool, FunctionTool):
        return False
    if isinstance(tool, QueryEngineTool | RetrieverTool) or "input" in arguments:
        return True
    try:
        inspect.signature(tool.acall if isinstance(tool, AsyncBaseTool) else tool).bind_partial(**arguments)
    except TypeError:
        return True
    return False


def to_tool(tool: Tool) -> FunctionTool:
    """A tool of ours as LlamaIndex's `FunctionTool`; a result with `is_error` is an output with `is_error`."""

    async def call(**arguments: Any) -> tuple[dict[str, Any], ToolResult]:
        return arguments, await tool.call(arguments)

    def called(**arguments: Any) -> tuple[dict[str, Any], ToolResult]:
        return sync(lambda: call(**arguments))

    def output(found: tuple[dict[str, Any], ToolResult]) -> ToolOutput:
        arguments, result = found
        return ToolOutput(
            tool_name=tool.name,
            blocks=list(map(block_to, result.content)),
            raw_input=arguments,
            raw_output=result,
            is_error=result.is_error,
        )

    async def output_async(found: tuple[dict[str, Any], ToolResult]) -> ToolOutput:
        return output(found)

    effects = getattr(tool, "effects", None)
    metadata = SchemaMetadata(tool.description, tool.name, None, parameters=tool.parameters, effects=effects)
    return FunctionTool(called, metadata, call, output, output_async)
