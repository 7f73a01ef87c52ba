"""A retriever as a tool."""

from __future__ import annotations

from synthon.core.protocols import Retriever
from synthon.tools.function import FunctionTool, tool


def search(
    retriever: Retriever, *, k: int = 5, name: str = "search", description: str = "Search the documents."
) -> FunctionTool[[str], str]:
    """A tool that finds `k` passages and tells them with numbers, so that an answer can cite them.

    Args:
        retriever: anything that searches, e.g. an `Index`.
        k: passages, at most.
        name: what a model calls it.
        description: what is to be found there.
    """

    async def find(query: str) -> str:
        found = await retriever.search(query, k=k)
        sources = [passage.title or passage.document for passage in found]
        texts = [
            f"[{number}] {f'({source}) ' if source else ''}{passage.text}"
            for number, (source, passage) in enumerate(zip(sources, found, strict=True), 1)
        ]
        return "\n\n".join(texts) or "Nothing was found. Try other words."

    return tool(name=name, description=description, effects={"read"})(find)
