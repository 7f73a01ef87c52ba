"""What LlamaIndex says in more than one form, read without loss."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from llama_index.core.base.base_query_engine import BaseQueryEngine
from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.base.response.schema import AsyncStreamingResponse, StreamingResponse
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, TextNode

import synthon as sy
from synthon.bridges import llamaindex as li
from synthon.bridges.llamaindex.reading import completion_from, from_messages
from synthon.bridges.llamaindex.retrievers import node_from, passage_from
from synthon.bridges.llamaindex.sending import block_to

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from llama_index.core.schema import QueryBundle


def test_a_stop_sequence_may_be_a_text() -> None:
    stops: list[tuple[str, ...]] = []

    def answer(request: sy.Request) -> str:
        stops.append(request.stop)
        return "hi"

    llm = li.to_model(sy.FunctionModel(answer))
    llm.complete("hi", stop="END")
    llm.complete("hi", stop=["END", "."])
    llm.complete("hi")
    assert stops == [("END",), ("END", "."), ()]


class Streaming(BaseQueryEngine):
    """Answers word by word, from a sync or an async generator; keeps the threads that read it."""

    def __init__(self, *, asynchronous: bool) -> None:
        super().__init__(None)
        self.asynchronous, self.readers = asynchronous, list[threading.Thread]()

    def _get_prompt_modules(self) -> dict[str, Any]:
        return {}

    def _words(self) -> Iterator[str]:
        for word in ("in", " spring"):
            self.readers.append(threading.current_thread())
            yield word

    async def _growing(self) -> AsyncIterator[str]:
        for word in self._words():
            await asyncio.sleep(0)
            yield word

    def _query(self, query_bundle: QueryBundle) -> Any:
        return StreamingResponse(self._words())  # type: ignore[arg-type]  # an iterator is read alike

    async def _aquery(self, query_bundle: QueryBundle) -> Any:
        growing: Any = self._growing()
        return AsyncStreamingResponse(growing) if self.asynchronous else self._query(query_bundle)


@pytest.mark.parametrize(("threaded", "asynchronous"), [(True, False), (False, True), (False, False)])
async def test_a_streaming_query_engine_is_read_without_holding_up_the_loop(
    *, threaded: bool, asynchronous: bool
) -> None:
    theirs = Streaming(asynchronous=asynchronous)
    ask = li.query_engine(theirs, record=False, threaded=threaded)
    assert (await ask("When?")).text == "in spring"
    assert {reader is threading.main_thread() for reader in theirs.readers} == {asynchronous}


class Told(BaseRetriever):
    """Finds one thing."""

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [NodeWithScore(node=TextNode(text="The stork came back."))]


@pytest.mark.parametrize("threaded", [True, False])
def test_a_streaming_engine_of_our_model_is_asked_from_ordinary_code(*, threaded: bool) -> None:
    llm = li.to_model(sy.FunctionModel(lambda request: "in spring"))
    theirs = RetrieverQueryEngine(Told(), get_response_synthesizer(llm=llm, streaming=True))
    ask = li.query_engine(theirs, record=False, threaded=threaded)

    @sy.program
    async def answer(question: str) -> str:
        return (await ask(question)).text

    assert answer.sync("When?") == "in spring"


def test_what_fits_no_field_of_a_passage_stays_in_its_metadata() -> None:
    node = TextNode(text="gold", id_="n", metadata={"title": 1984})
    assert passage_from(NodeWithScore(node=node)) == sy.Passage("gold", "n", metadata={"title": 1984})
    clashing = sy.Passage("gold", "a.md", 3, 7, 0.5, "A", {"title": "B"})
    assert passage_from(node_from(clashing)) == clashing


def test_calls_beside_a_messages_blocks_are_read() -> None:
    plain = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Bern"}'}}
    typed = SimpleNamespace(id=None, function=SimpleNamespace(name="add", arguments="{}"))
    calls = (sy.ToolCall("c1", "weather", '{"city":"Bern"}'), sy.ToolCall("call_1", "add", "{}"))
    message = ChatMessage(role="assistant", content="Let me see.", additional_kwargs={"tool_calls": [plain, typed]})
    assert from_messages([message])[0].content == (sy.Text("Let me see."), *calls)
    silent = ChatMessage(role="assistant", content=None, additional_kwargs={"tool_calls": [plain]})
    assert from_messages([silent])[0].content == calls[:1]
    shown = ChatMessage(role="assistant", blocks=[block_to(calls[0])], additional_kwargs={"tool_calls": [plain]})
    assert from_messages([shown])[0].content == calls[:1]
    with pytest.raises(sy.Unsupported, match="not in OpenAI's form"):
        from_messages([ChatMessage(role="assistant", additional_kwargs={"tool_calls": [{"name": "weather"}]})])


@pytest.mark.parametrize(
    ("raw", "finish"),
    [
        ({"finish_reason": "length"}, "length"),
        ({"choices": [{"finish_reason": "length"}]}, "length"),
        (SimpleNamespace(choices=[SimpleNamespace(finish_reason="content_filter")]), "content_filter"),
        ({"stop_reason": "max_tokens"}, "length"),
        ({"done_reason": "length"}, "length"),
        ({"candidates": [{"finish_reason": SimpleNamespace(name="MAX_TOKENS")}]}, "length"),
        ({"finish_reason": "stop", "choices": []}, "stop"),
        (None, "stop"),
    ],
)
def test_why_an_answer_ended_is_read_from_the_raw_one(raw: Any, finish: str) -> None:
    response = ChatResponse(message=ChatMessage(role="assistant", content="hi"), raw=raw)
    assert completion_from(response, (), sy.Request(()), "m").finish == finish
    called = completion_from(response, (sy.ToolCall("c", "f", "{}"),), sy.Request(()), "m").finish
    assert called == ("tool_calls" if finish == "stop" else finish)
