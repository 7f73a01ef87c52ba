"""Sync parts of LlamaIndex that raise a StopIteration, which no future can carry: they fail, and nobody waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.types import LLMMetadata
from llama_index.core.llms import CustomLLM
from llama_index.core.node_parser import NodeParser
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.tools import BaseTool, FunctionTool, ToolMetadata

import synthon as sy
from synthon.bridges import llamaindex as li
from synthon.core.protocols import Emit, discard
from tests.bridges.turns import Pieces

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def first(*_: Any, **__: Any) -> NoReturn:
    """The first of nothing."""
    next(iter(()))
    raise AssertionError


class Retriever(BaseRetriever):
    _retrieve = first


class Engine(BaseQueryEngine):
    _query = first
    _aquery = first

    def _get_prompt_modules(self) -> dict[str, Any]:
        return {}


class Parser(NodeParser):
    _parse_nodes = first


class Model(CustomLLM):
    complete = first
    stream_complete = first

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata()


class Tool(BaseTool):
    metadata = ToolMetadata("The first of nothing.", "first")
    __call__ = first


async def answered(emit: Emit) -> object:
    model = li.model(Model(), name="m", identity="m")
    return await model.complete(sy.Request((sy.Message("user", "x"),)), emit)


@pytest.mark.parametrize(
    "part",
    [
        lambda: li.retriever(Retriever(), identity="r").search("q", k=1),
        lambda: li.query_engine(Engine(None), identity="e")("q"),
        lambda: li.chunker(Parser())("text"),
        lambda: answered(discard),
        lambda: answered(Pieces()),
    ],
    ids=["retriever", "engine", "parser", "model", "stream"],
)
async def test_a_part_that_stops_fails(part: Callable[[], Awaitable[object]]) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(sy.ProviderError, match="the function raised StopIteration"):
            await part()


@pytest.mark.parametrize(
    "tool", [FunctionTool.from_defaults(first, "first", "First."), Tool()], ids=["function", "class"]
)
async def test_a_tool_that_stops_fails(tool: BaseTool) -> None:
    async with asyncio.timeout(20):
        result = await li.tool(tool, effects=["read"]).call({})
    assert result.is_error
    assert "the function raised StopIteration" in str(result.content)
