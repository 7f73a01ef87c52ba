"""Query engines, from LlamaIndex's to ours and back."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.response.schema import RESPONSE_TYPE, AsyncStreamingResponse, Response, StreamingResponse
from llama_index.core.schema import QueryBundle

from synthon.bridges.failures import as_ours
from synthon.bridges.identities import Identity, as_text, identity_of
from synthon.bridges.llamaindex.retrievers import nodes_from, passage_from
from synthon.core.errors import UserError
from synthon.core.identity import to_json
from synthon.core.portal import sync
from synthon.core.program import Program
from synthon.core.protocols import Retriever
from synthon.core.recording import recorded
from synthon.core.running import span
from synthon.core.step import Step
from synthon.core.values import Passage
from synthon.tools.threads import threaded


@dataclass(frozen=True, slots=True)
class Answered:
    """A query engine's answer, and the passages it is made from."""

    text: str
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True)
class QueryEngine:
    """A query engine of LlamaIndex's, awaited like a function.

    Attributes:
        identity: None where calls are not recorded as a whole.
        threaded: whether its sync `query` runs in a thread, in place of its `aquery` on the event loop.
    """

    engine: BaseQueryEngine
    name: str
    identity: Identity | None
    threaded: bool

    async def __call__(self, question: str) -> Answered:
        """The answer to a question; recorded as one call, unless its parts are.

        Raises:
            ProviderError: what LlamaIndex raised.
        """
        if self.identity is None:
            with span(self.name, "search", question) as opened:
                opened.output = found = await self._asked(question)
                return found
        arguments = {"engine": as_text(self.identity), "question": question}

        async def act() -> str:
            return to_json(asdict(await self._asked(question)))

        row = json.loads(await recorded(self.name, arguments, act, kind="search", repeats=True))
        return Answered(row["text"], tuple(Passage(**each) for each in row["passages"]))

    async def _asked(self, question: str) -> Answered:
        with as_ours(f"LlamaIndex's {self.name!r}", self.engine):
            if self.threaded:
                return await threaded(lambda: _answered(self.engine.query(question)))
            response = await self.engine.aquery(question)
            if isinstance(response, AsyncStreamingResponse):
                response = await response.get_response()
            if isinstance(response, StreamingResponse):  # read by a sync generator
                return await threaded(_answered, response)
            return _answered(response)


def _answered(response: RESPONSE_TYPE) -> Answered:
    """The answer, with the text of a stream read to its end."""
    return Answered(str(response), tuple(map(passage_from, response.source_nodes)))


def query_engine(
    engine: BaseQueryEngine,
    *,
    name: str | None = None,
    identity: Identity | None = None,
    record: bool = True,
    threaded: bool = True,
) -> QueryEngine:
    """A query engine of LlamaIndex's as a component that programs await.

    Args:
        engine: any `BaseQueryEngine`.
        name: of its spans; left out, its class's.
        identity: what decides its answers: a text, or a function that gives one at each call.
        record: False keeps no row of the whole, only a span. So it is right where its LLM and retriever are ours
            (`to_model`, `to_retriever`), whose calls are recorded and counted one by one; then no identity is needed.
        threaded: False awaits its `aquery` on the event loop: then leaving a call cancels it, and what is only sync in
            it blocks all else.

    Raises:
        UserError: it is no query engine, or what decides its answers cannot be told.
    """
    if not isinstance(engine, BaseQueryEngine):
        msg = f"{engine!r:.200} is no query engine of LlamaIndex's. Pass one such as index.as_query_engine(llm=...)."
        raise UserError(msg)
    named = name or type(engine).__name__
    return QueryEngine(engine, named, identity_of(engine, identity, named) if record else None, threaded)


class SynthonQueryEngine(BaseQueryEngine):
    """A query engine of LlamaIndex's that a program of ours answers."""

    def __init__(self, ask: Callable[[str], Awaitable[object]]) -> None:
        super().__init__(None)
        self._ask = ask

    def _get_prompt_modules(self) -> dict[str, Any]:
        return {}

    def _query(self, query_bundle: QueryBundle) -> Response:
        return sync(lambda: self._aquery(query_bundle))

    async def _aquery(self, query_bundle: QueryBundle) -> Response:
        result = await self._ask(query_bundle.query_str)
        passages = getattr(result, "passages", ())
        text = getattr(result, "text", None) if hasattr(result, "passages") else result
        said = text if isinstance(text, str) else to_json(text)
        return Response(response=said, source_nodes=nodes_from(passages), metadata={})


def to_query_engine(part: Program[[str], Any] | Step[[str], Any] | Retriever, *, k: int = 5) -> BaseQueryEngine:
    """A program, a step or a retriever of ours as a query engine for LlamaIndex.

    A program or step takes the question. Its answer is its result, as JSON where that is no text; a result with the
    attributes `text` and `passages` names its sources too. A retriever's answer is the text of its best `k` passages.
    """
    if isinstance(part, Program | Step):
        return SynthonQueryEngine(part)

    async def found(question: str) -> Answered:
        passages = await part.search(question, k=k)
        return Answered("\n\n".join(each.text for each in passages), tuple(passages))

    return SynthonQueryEngine(found)
