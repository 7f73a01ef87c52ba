"""LangChain's and LlamaIndex's parts used here, ours there."""

from synthon.bridges import langchain, llamaindex

__all__ = ["langchain", "llamaindex"]
