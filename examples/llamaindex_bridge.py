"""LlamaIndex's splitter and query engine over our index and embedded model, and its retriever beside ours.

There, one loads documents, splits them, builds an index with an embedding model and asks `index.as_query_engine()`,
whose LLM comes from an integration package. Here, `li.chunker` makes its splitter cut texts for an `sy.Index`,
`li.to_retriever` and `li.to_model` put that index and any model of ours into its query engine, and `li.query_engine`
makes the engine a component that a program awaits. A retriever of theirs is one of ours by `li.retriever`.

Enforced: a chunk is the text at its place in the document; a run that is made again makes no call twice. Not enforced:
that the free text of a model of 135 million parameters is right.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import synthon as sy
from synthon.bridges import llamaindex as li
from synthon.retrieval import Document

TEXT = """
The storks came back to the village on the third of March. They stayed until the end of August,
longer than ever before, and nobody in the village knows why they were not in a hurry this year.

The ferry to the island leaves at nine from the old pier. A ticket costs four francs, and children travel free.

The school stands behind the church, beside the old lime tree. Its clock has been five minutes late since the war.
""".strip()


@dataclass(frozen=True)
class Shown:
    """The chunks, an answer with its sources, and what their retriever finds."""

    chunks: list[sy.Passage]
    answer: str
    sources: list[str]
    theirs: list[str]
    calls: tuple[int, int]


def engine(index: sy.Index, model: sy.Model) -> Any:
    """LlamaIndex's own query engine, with our parts in it.

    Raises:
        MissingExtra: llama-index-core is not installed.
    """
    retriever, llm = li.to_retriever(index, k=1), li.to_model(model, num_output=24)
    from llama_index.core.query_engine import RetrieverQueryEngine  # noqa: PLC0415 - known to be there by now
    from llama_index.core.response_synthesizers import get_response_synthesizer  # noqa: PLC0415 - same

    return RetrieverQueryEngine(retriever, get_response_synthesizer(llm=llm))


def splitter() -> Any:
    """LlamaIndex's sentence splitter."""
    cut = li.chunker
    from llama_index.core.node_parser import SentenceSplitter  # noqa: PLC0415 - known to be there by now

    return cut(SentenceSplitter(chunk_size=50, chunk_overlap=0, include_metadata=False))


def keywords(chunks: list[sy.Passage], model: sy.Model) -> Any:
    """LlamaIndex's keyword table as a retriever of ours."""
    bridged, llm = li.retriever, li.to_model(model)
    from llama_index.core import SimpleKeywordTableIndex  # noqa: PLC0415 - known to be there by now
    from llama_index.core.schema import TextNode  # noqa: PLC0415 - same

    nodes: list[Any] = [TextNode(text=chunk.text, id_=str(chunk.start)) for chunk in chunks]
    table = SimpleKeywordTableIndex(nodes, llm=llm, max_keywords_per_chunk=50)
    return bridged(table.as_retriever(retriever_mode="simple"), identity=f"keywords of {TEXT}")


async def main(tell: Callable[[str], None] = print) -> Shown:
    """Cut, index, and ask twice in one run, as after a kill."""
    model, chunks = sy.local(), await splitter()(TEXT, document="village")
    with tempfile.TemporaryDirectory() as folder, sy.Index(Path(folder) / "village.db", embedder="none") as index:
        await index.add([Document(chunk.text, f"village:{chunk.start}") for chunk in chunks])
        ask = li.query_engine(engine(index, model), name="ask", record=False)
        journal, calls = sy.MemoryJournal(), []
        for _ in range(2):
            before = len(journal.records)
            found = await sy.run(ask, "When does the ferry leave?", journal=journal, run_id="ferry")
            calls.append(sum(isinstance(row, sy.CallRecord) for row in journal.records[before:]))
            tell(f"{found.text.strip()} ({calls[-1]} searches and calls were made)")
    theirs = [passage.text for passage in await keywords(chunks, model).search("ferry", k=1)]
    tell(f"their keyword table finds: {theirs}")
    return Shown(chunks, found.text, [each.document for each in found.passages], theirs, (calls[0], calls[1]))


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except sy.MissingExtra as error:
        print(error)
