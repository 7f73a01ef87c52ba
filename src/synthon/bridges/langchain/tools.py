"""Tools, from LangChain's to ours and back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool, ToolException
from langchain_core.utils.function_calling import convert_to_openai_tool

from synthon.bridges.acting import ForeignTool, effects_from
from synthon.bridges.langchain.quiet import quiet
from synthon.bridges.langchain.reading import content_from
from synthon.bridges.langchain.sending import content_to
from synthon.core.errors import UserError
from synthon.core.identity import dumps, to_json
from synthon.core.portal import sync
from synthon.core.protocols import Tool
from synthon.core.values import Text, ToolResult
from synthon.tools.acting import Effect


def tool(tool: BaseTool, *, effects: Collection[Effect] | None = None) -> ForeignTool:
    """A tool of LangChain's as a tool here; its calls are journaled, its failures are results with `is_error`.

    Args:
        tool: any `BaseTool`; one that is not async runs in a thread.
        effects: what it does to the world; left out, `write`: never called again by guess after a kill.

    Raises:
        UserError: it is no tool, or there is no such effect.
    """
    if not isinstance(tool, BaseTool):
        msg = f"{tool!r:.200} is no tool of LangChain's. Pass a BaseTool, such as a function under its @tool."
        raise UserError(msg)
    shape = convert_to_openai_tool(tool)["function"]
    declared = (tool.metadata or {}).get("effects")
    return ForeignTool(
        tool.name,
        tool.description,
        dumps(shape.get("parameters") or {"type": "object", "properties": {}}),
        effects_from(effects, declared, tool.name),
        partial(_called, tool),
    )


async def _called(tool: BaseTool, arguments: Mapping[str, object]) -> ToolResult:
    call = {"type": "tool_call", "id": uuid.uuid4().hex, "name": tool.name, "args": dict(arguments)}
    with quiet():
        answer = await tool.ainvoke(call, None)
    if isinstance(answer, ToolMessage):
        return ToolResult("", content_from(answer), answer.status == "error")
    return ToolResult("", (Text(answer if isinstance(answer, str) else to_json(answer)),))


class SynthonTool(BaseTool):
    """A tool of LangChain's that one of ours answers; a `StructuredTool` keeps arguments such as `config` to itself."""

    tool: Any

    def _run(self, /, *_: Any, **arguments: Any) -> tuple[Any, None]:
        return sync(lambda: self._arun(**arguments))

    async def _arun(self, /, *_: Any, **arguments: Any) -> tuple[Any, None]:
        result = await self.tool.call(arguments)
        said = content_to([part for part in result.content if part != Text("")])
        if result.is_error:
            raise ToolException(said if isinstance(said, str) else to_json(said))
        return said, None


def to_tool(tool: Tool) -> BaseTool:
    """A tool of ours as one for LangChain; a result with `is_error` is a message of the status "error"."""
    effects = getattr(tool, "effects", None)
    return SynthonTool(
        tool=tool,
        name=tool.name,
        description=tool.description,
        args_schema=json.loads(tool.parameters),
        handle_tool_error=True,
        response_format="content_and_artifact",
        metadata=None if effects is None else {"effects": sorted(effects)},
    )
