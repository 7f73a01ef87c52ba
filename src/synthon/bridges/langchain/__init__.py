"""LangChain: chat models, retrievers, tools and runnables used here, our models, retrievers, tools, programs there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthon.bridges._loading import loaded

if TYPE_CHECKING:
    from synthon.bridges.langchain.chats import to_model
    from synthon.bridges.langchain.models import model
    from synthon.bridges.langchain.programs import to_runnable
    from synthon.bridges.langchain.retrievers import retriever, to_retriever
    from synthon.bridges.langchain.runnables import runnable
    from synthon.bridges.langchain.tools import to_tool, tool

__all__ = ["model", "retriever", "runnable", "to_model", "to_retriever", "to_runnable", "to_tool", "tool"]
_FILES = {
    "model": "models",
    "retriever": "retrievers",
    "runnable": "runnables",
    "to_model": "chats",
    "to_retriever": "retrievers",
    "to_runnable": "programs",
    "to_tool": "tools",
    "tool": "tools",
}


def __getattr__(name: str) -> object:
    """A name, loaded with langchain-core when it is first used (PEP 562)."""
    if name not in _FILES:
        msg = f"module 'synthon.bridges.langchain' has no attribute {name!r}"
        raise AttributeError(msg)
    globals()[name] = value = loaded(__name__, name, _FILES[name], library="langchain_core")
    return value
