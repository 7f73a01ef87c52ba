"""A retriever as a tool."""

from __future__ import annotations

from dataclasses import replace

from synthon.core.protocols import Retriever
from synthon.core.running import span
from synthon.tools.function import FunctionTool, tool


def search(
    retriever: Retriever, *, k: int = 5, name: str = "search", description: str = "Search the documents."
) -> FunctionTool[[str], str]:
    """A tool that finds `k` passages and tells them with numbers, further lines indented, so that one can cite them.

    It keeps no row: the retriever does, whose key says what was searched.

    Args:
        retriever: anything that searches, e.g. an `Index`; one of your own records its searches with `recorded`.
        k: passages, at most.
        name: what a model calls it.
        description: what is to be found there.
    """

    async def find(query: str) -> str:
        with span(name, "tool", {"query": query}) as opened:
            found = await retriever.search(query, k=k) if query.strip() else []
            sources = [passage.title or passage.document for passage in found]
            told = [f"{f'({source}) ' if source else ''}{one.text}" for source, one in zip(sources, found, strict=True)]
            # indented, so that no text can begin a line with a number of its own
            texts = [f"[{number}] " + "\n    ".join(text.splitlines()) for number, text in enumerate(told, 1)]
            opened.output = said = "\n\n".join(texts) or "Nothing was found. Try other words."
            return said

    return replace(tool(name=name, description=description, effects={"read"})(find), rows="inside")
