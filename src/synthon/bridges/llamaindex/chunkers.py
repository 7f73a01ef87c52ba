"""LlamaIndex's node parsers as chunkers: from a text to its pieces."""

from __future__ import annotations

from dataclasses import dataclass

from llama_index.core.node_parser import NodeParser
from llama_index.core.schema import Document, NodeWithScore

from synthon.bridges.failures import as_ours
from synthon.bridges.llamaindex.retrievers import passage_from
from synthon.core.errors import UserError
from synthon.core.running import span
from synthon.core.values import Passage
from synthon.tools.threads import threaded


@dataclass(frozen=True)
class Chunker:
    """A node parser of LlamaIndex's, which runs in a thread."""

    parser: NodeParser
    name: str

    async def __call__(self, text: str, *, document: str = "text") -> list[Passage]:
        """The pieces of a text, in order, as passages of `document`; where the parser says it, with their place.

        A span is written and no row: cutting again gives the same, unless the parser asks a model of theirs.

        Raises:
            ProviderError: what LlamaIndex raised.
        """
        with span(self.name, "span", {"document": document, "characters": len(text)}) as opened:
            with as_ours(f"LlamaIndex's {self.name!r}", self.parser):
                given = [Document(text=text, id_=document)]
                nodes = await threaded(self.parser.get_nodes_from_documents, given)
            found = [passage_from(NodeWithScore(node=node)) for node in nodes]
            opened.output = {"pieces": len(found)}
            return found


def chunker(parser: NodeParser, *, name: str | None = None) -> Chunker:
    """A node parser of LlamaIndex's as a function from a text to its pieces.

    Raises:
        UserError: it is no node parser.
    """
    if not isinstance(parser, NodeParser):
        msg = f"{parser!r:.200} is no node parser of LlamaIndex's. Pass one such as SentenceSplitter(chunk_size=256)."
        raise UserError(msg)
    return Chunker(parser, name or type(parser).__name__)
