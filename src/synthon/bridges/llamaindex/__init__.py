"""LlamaIndex: LLMs, retrievers, query engines, node parsers and tools used here, and our parts there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthon.bridges._loading import loaded

if TYPE_CHECKING:
    from synthon.bridges.llamaindex.chunkers import chunker
    from synthon.bridges.llamaindex.engines import query_engine, to_query_engine
    from synthon.bridges.llamaindex.llms import to_model
    from synthon.bridges.llamaindex.models import model
    from synthon.bridges.llamaindex.retrievers import retriever, to_retriever
    from synthon.bridges.llamaindex.tools import to_tool, tool

__all__ = [
    "chunker",
    "model",
    "query_engine",
    "retriever",
    "to_model",
    "to_query_engine",
    "to_retriever",
    "to_tool",
    "tool",
]
_FILES = {
    "chunker": "chunkers",
    "model": "models",
    "query_engine": "engines",
    "retriever": "retrievers",
    "to_model": "llms",
    "to_query_engine": "engines",
    "to_retriever": "retrievers",
    "to_tool": "tools",
    "tool": "tools",
}


def __getattr__(name: str) -> object:
    """A name, loaded with llama-index-core when it is first used (PEP 562)."""
    if name not in _FILES:
        msg = f"module 'synthon.bridges.llamaindex' has no attribute {name!r}"
        raise AttributeError(msg)
    globals()[name] = value = loaded(__name__, name, _FILES[name], library="llama_index.core")
    return value
