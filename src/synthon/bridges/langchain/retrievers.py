"""Retrievers, from LangChain's to ours and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any
from uuid import UUID

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStoreRetriever

from synthon.bridges.failures import as_ours
from synthon.bridges.identities import Identity, as_text, identity_of
from synthon.bridges.langchain.quiet import quiet
from synthon.bridges.metadata import beside, rest_of
from synthon.core.errors import Unsupported, UserError
from synthon.core.identity import to_json
from synthon.core.portal import sync
from synthon.core.protocols import Filter, Retriever
from synthon.core.recording import recorded
from synthon.core.settings import current
from synthon.core.values import Passage

_OURS: dict[str, tuple[type, ...]] = {
    "source": (str, PurePath, UUID, int, float),
    "start_index": (int,),
    "end_index": (int,),
    "score": (int, float),
    "title": (str,),
}


@dataclass(frozen=True)
class ChainRetriever:
    """A retriever of LangChain's whose searches are journaled."""

    retriever: BaseRetriever
    name: str
    identity: Identity

    async def search(self, query: str, *, k: int, where: Filter | None = None) -> list[Passage]:
        """The first `k` of what it finds; a vector store's is asked for `k`, any other finds as many as it is set to.

        Raises:
            Unsupported: a filter, which LangChain's retrievers share no form of.
            ProviderError: what LangChain raised.
        """
        if where is not None:
            msg = (
                f"{self.name!r} takes no filter {where!r}: LangChain's retrievers share none. Set it on the retriever."
            )
            raise Unsupported(msg)
        arguments = {"retriever": as_text(self.identity), "query": query, "k": k}
        rows = await recorded(self.name, arguments, lambda: self._found(query, k), kind="search")
        return [Passage(**row) for row in json.loads(rows)]

    async def _found(self, query: str, k: int) -> str:
        wanted = {"k": k} if isinstance(self.retriever, VectorStoreRetriever) else {}
        with quiet(), as_ours(f"LangChain's {self.name!r}", self.retriever):
            found = await self.retriever.ainvoke(query, None, **wanted)
        return to_json([asdict(passage_from(document)) for document in found[:k]])


def passage_from(document: Document) -> Passage:
    """A document as a passage; its place, score and title are read from where LangChain's parts put them.

    What does not fit a field, as a title that is a number, stays in the metadata.
    """
    told = document.metadata
    read = {name: value for name, value in told.items() if _fits(name, value)}
    start = read.get("start_index", 0)
    return Passage(
        document.page_content,
        str(read.get("source", "")) or document.id or "",
        start,
        read.get("end_index") or (start + len(document.page_content) if "start_index" in read else 0),
        float(read.get("score", 0.0)),
        read.get("title", ""),
        rest_of(told, read),
    )


def _fits(name: str, value: object) -> bool:
    return isinstance(value, _OURS.get(name, ())) and not isinstance(value, bool)


def document_from(passage: Passage) -> Document:
    """A passage as a document."""
    fields: dict[str, Any] = {"source": passage.document, "score": passage.score}
    if passage.end:
        fields |= {"start_index": passage.start, "end_index": passage.end}
    if passage.title:
        fields["title"] = passage.title
    return Document(passage.text, metadata=beside(passage.metadata, fields))


class SynthonRetriever(BaseRetriever):
    """A retriever of LangChain's that one of ours answers."""

    retriever: Any
    k: Any
    where: Mapping[str, Any] | None = None

    async def _found(self, query: str) -> list[Document]:
        passages = await self.retriever.search(query, k=current(self.k), where=self.where)
        return list(map(document_from, passages))

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - LangChain's signature
    ) -> list[Document]:
        return sync(lambda: self._found(query))

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 - same
    ) -> list[Document]:
        return await self._found(query)


def retriever(retriever: BaseRetriever, *, name: str | None = None, identity: Identity | None = None) -> ChainRetriever:
    """A retriever of LangChain's as a retriever here; its searches are journaled.

    Args:
        retriever: any `BaseRetriever`. A vector store's is asked for as many as a search wants.
        name: of its spans; left out, its class's.
        identity: what decides what it finds: a text, or a function that gives one at each search, where documents
            come and go. Left out, its class and fields as they are now, where they are plain.

    Raises:
        UserError: it is no retriever, or what decides what it finds cannot be told.
    """
    if not isinstance(retriever, BaseRetriever):
        msg = f"{retriever!r:.200} is no retriever of LangChain's. Pass a BaseRetriever, such as store.as_retriever()."
        raise UserError(msg)
    named = name or retriever.get_name()
    return ChainRetriever(retriever, named, identity_of(retriever, identity, named))


def to_retriever(
    retriever: Retriever, *, k: int = 5, where: Filter | None = None, name: str | None = None
) -> BaseRetriever:
    """A retriever of ours, such as an `Index`, as one for LangChain; `k` may be a knob.

    A document's `metadata` holds the passage's own, and `source`, `start_index`, `end_index`, `score` and `title`; what
    the passage's own call so stands as `own_source`, `own_title` and so on.
    """
    named = name or type(retriever).__name__
    return SynthonRetriever(retriever=retriever, k=k, where=where, name=named)
