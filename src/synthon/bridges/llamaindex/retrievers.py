"""Retrievers, from LlamaIndex's to ours and back."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import (
    MetadataMode,
    NodeRelationship,
    NodeWithScore,
    QueryBundle,
    RelatedNodeInfo,
    TextNode,
)

from synthon.bridges.failures import as_ours
from synthon.bridges.identities import Identity, as_text, identity_of
from synthon.bridges.metadata import beside, rest_of
from synthon.core.errors import Unsupported, UserError
from synthon.core.identity import digest, to_json
from synthon.core.portal import sync
from synthon.core.protocols import Filter, Retriever
from synthon.core.recording import recorded
from synthon.core.settings import current
from synthon.core.values import Passage
from synthon.tools.threads import threaded


@dataclass(frozen=True)
class LlamaRetriever:
    """A retriever of LlamaIndex's whose searches are journaled; one that is only sync runs in a thread."""

    retriever: BaseRetriever
    name: str
    identity: Identity

    async def search(self, query: str, *, k: int, where: Filter | None = None) -> list[Passage]:
        """The first `k` of what it finds; one with a `similarity_top_k` is asked for `k`.

        Raises:
            Unsupported: a filter, which LlamaIndex's retrievers take when they are made.
            ProviderError: what LlamaIndex raised.
        """
        if where is not None:
            msg = f"{self.name!r} takes no filter {where!r} with a search. Give it to the retriever when it is made."
            raise Unsupported(msg)
        arguments = {"retriever": as_text(self.identity), "query": query, "k": k}
        rows = await recorded(self.name, arguments, lambda: self._found(query, k), kind="search")
        return [Passage(**row) for row in json.loads(rows)]

    async def _found(self, query: str, k: int) -> str:
        retriever = self.retriever
        if hasattr(retriever, "similarity_top_k"):
            retriever = copy.copy(retriever)  # searches at the same time may want different numbers
            retriever.similarity_top_k = k
        with as_ours(f"LlamaIndex's {self.name!r}", self.retriever):
            if type(retriever)._aretrieve is BaseRetriever._aretrieve:  # noqa: SLF001 - it calls the sync one on the loop
                found = await threaded(retriever.retrieve, query)
            else:
                found = await retriever.aretrieve(query)
        return to_json([asdict(passage_from(node)) for node in found[:k]])


def passage_from(found: NodeWithScore) -> Passage:
    """A node as a passage; its place is that in its source document."""
    node = found.node
    text = node.get_content(metadata_mode=MetadataMode.NONE)
    start = getattr(node, "start_char_idx", None)
    end = getattr(node, "end_char_idx", None)
    title = node.metadata.get("title")
    read = {"title"} if isinstance(title, str) else set[str]()
    return Passage(
        text,
        node.ref_doc_id or node.node_id,
        start or 0,
        end or 0,
        found.score or 0.0,
        title if isinstance(title, str) else "",
        rest_of(node.metadata, read),
    )


def node_from(passage: Passage) -> NodeWithScore:
    """A passage as a node; its id is its place, else a digest of its text."""
    place = f"{passage.document}:{passage.start}-{passage.end}" if passage.end else digest(passage.text)[:32]
    told = beside(passage.metadata, {"title": passage.title} if passage.title else {})
    node = TextNode(
        id_=place,
        text=passage.text,
        metadata=told,
        start_char_idx=passage.start if passage.end else None,
        end_char_idx=passage.end or None,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=passage.document)} if passage.document else {},
    )
    return NodeWithScore(node=node, score=passage.score)


def nodes_from(passages: Sequence[Passage]) -> list[NodeWithScore]:
    """Passages as nodes, in their order."""
    return list(map(node_from, passages))


class SynthonRetriever(BaseRetriever):
    """A retriever of LlamaIndex's that one of ours answers."""

    def __init__(self, retriever: Retriever, k: int, where: Filter | None) -> None:
        super().__init__()
        self._retriever, self._k, self._where = retriever, k, where

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return sync(lambda: self._aretrieve(query_bundle))

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = await self._retriever.search(query_bundle.query_str, k=current(self._k), where=self._where)
        return nodes_from(found)


def retriever(retriever: BaseRetriever, *, name: str | None = None, identity: Identity | None = None) -> LlamaRetriever:
    """A retriever of LlamaIndex's as a retriever here; its searches are journaled.

    Args:
        retriever: any `BaseRetriever`. One with a `similarity_top_k` is asked for as many as a search wants.
        name: of its spans; left out, its class's.
        identity: what decides what it finds: a text, or a function that gives one at each search, where documents
            come and go.

    Raises:
        UserError: it is no retriever, or what decides what it finds cannot be told.
    """
    if not isinstance(retriever, BaseRetriever):
        msg = f"{retriever!r:.200} is no retriever of LlamaIndex's. Pass a BaseRetriever, such as index.as_retriever()."
        raise UserError(msg)
    named = name or type(retriever).__name__
    return LlamaRetriever(retriever, named, identity_of(retriever, identity, named))


def to_retriever(retriever: Retriever, *, k: int = 5, where: Filter | None = None) -> BaseRetriever:
    """A retriever of ours, such as an `Index`, as one for LlamaIndex; `k` may be a knob.

    A node's id is its passage's document and place, so that equal passages are one.
    """
    return SynthonRetriever(retriever, k, where)
