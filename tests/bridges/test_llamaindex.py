"""LLMs, retrievers, query engines, node parsers and tools, LlamaIndex's here and ours there."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ImageBlock,
    LLMMetadata,
    MessageRole,
    TextBlock,
    ToolCallBlock,
)
from llama_index.core.llms import CustomLLM, MockLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.llms.mock import MockFunctionCallingLLM
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import get_response_synthesizer
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode
from llama_index.core.tools import BaseTool, FunctionTool, QueryEngineTool, ToolMetadata, ToolOutput

import synthon as sy
from synthon.bridges import llamaindex as li
from synthon.bridges.llamaindex.engines import Answered
from synthon.bridges.llamaindex.models import _Described as LlamaTool
from synthon.bridges.llamaindex.reading import from_messages
from synthon.bridges.llamaindex.retrievers import node_from, passage_from
from synthon.bridges.llamaindex.sending import to_messages
from synthon.retrieval import Document as OurDocument
from tests.bridges.turns import PICTURE, TURNS, WEATHER, Ours, Pieces, kinds

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

ASK = sy.Request((sy.Message("user", "one two"),))


class Echo(CustomLLM):
    """Says the last message again, and where; only sync, as most LLMs that people write."""

    name: str = "echo"
    api_key: str = "sk-secret"

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(model_name=self.name)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:  # noqa: FBT001, FBT002 - LlamaIndex's signature
        threads.append(threading.current_thread())
        asked.append(kwargs)
        usage = {"prompt_tokens": 11, "completion_tokens": 3}
        return CompletionResponse(text=f"{prompt}!", raw={"usage": usage})

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 - same
        text = ""
        for word in ("one", " two"):
            text += word
            yield CompletionResponse(text=text, delta=word, raw={"usage": {"input_tokens": 5, "output_tokens": 2}})


threads: list[threading.Thread] = []
asked: list[dict[str, Any]] = []


class Native(MockFunctionCallingLLM):
    """One whose async methods are its own; waits in them if it is told to."""

    waits: bool = False
    began: Any = None
    ended: Any = None

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        asked.append(kwargs)
        if self.waits:
            self.began.set()
            try:
                await asyncio.sleep(3600)
            finally:
                self.ended.set()
        call = ToolCallBlock(tool_call_id="c1", tool_name="weather", tool_kwargs={"city": "Bern"})
        return ChatResponse(message=ChatMessage(role="assistant", blocks=[call]))

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, *args: Any, **kwargs: Any
    ) -> Any:
        return {"messages": chat_history, "tools": [tool.metadata.to_openai_tool() for tool in tools]}


class Elsewhere(Native):
    """One that shows its calls in a way of its own."""

    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        return ChatResponse(message=ChatMessage(role="assistant", content=""))

    def get_tool_calls_from_response(self, response: ChatResponse, *args: Any, **kwargs: Any) -> list[ToolSelection]:
        return [ToolSelection(tool_id="c9", tool_name="weather", tool_kwargs={})]


class Silent(Elsewhere):
    """One that cannot say what it calls."""

    def get_tool_calls_from_response(self, response: ChatResponse, *args: Any, **kwargs: Any) -> list[ToolSelection]:
        raise NotImplementedError


class Listed(BaseRetriever):
    """Nodes that hold a word of the query; only sync."""

    def __init__(self, nodes: list[TextNode]) -> None:
        super().__init__()
        self.nodes, self.searched, self.similarity_top_k = nodes, list[Any](), 2

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        self.searched.append((query_bundle.query_str, threading.current_thread()))
        found = [node for node in self.nodes if query_bundle.query_str in node.text]
        return [NodeWithScore(node=node, score=1 / (at + 1)) for at, node in enumerate(found)][: self.similarity_top_k]


# ---------------------------------------------------------------------------------------------------- models


async def test_a_sync_llm_runs_in_a_thread_and_is_journaled_and_counted() -> None:
    threads.clear()
    asked.clear()
    journal, budget = sy.MemoryJournal(), sy.Budget(calls=5)

    @sy.step(model=li.model(Echo()), temperature=0.5, max_tokens=7)
    async def say(text: str) -> str:
        """Say it."""
        ...

    for _ in range(2):
        said = await sy.run(say, "hello", journal=journal, run_id="r", budget=budget)
    assert said.endswith("assistant: !")
    assert asked == [{"temperature": 0.5, "max_tokens": 7}]
    assert threads[0] is not threading.main_thread()
    assert ("echo", "call") in kinds(journal)
    assert budget.spent.calls == 2
    assert budget.spent.tokens == 28


async def test_an_llm_streams_what_it_returns() -> None:
    pieces = Pieces()
    completion = await li.model(Echo()).complete(ASK, pieces)
    assert [delta.text for delta in pieces.deltas] == ["one", " two"]
    assert (completion.text, completion.usage) == ("one two", sy.Usage(5, output_tokens=2))
    native = Pieces()
    completion = await li.model(MockFunctionCallingLLM()).complete(ASK, native)
    assert native.text == completion.text == "one two"
    silent = await li.model(MockLLM(max_tokens=2)).complete(ASK)
    assert silent.text == "text text"
    assert silent.usage.output_tokens == len("text text")


async def test_an_llm_gets_tools_and_its_calls_come_back_with_their_ids() -> None:
    asked.clear()
    model = li.model(Native())
    assert model.capabilities == {"chat", "tools"}
    completion = await model.complete(sy.Request(ASK.messages, tools=(WEATHER,)))
    assert completion.tool_calls == (sy.ToolCall("c1", "weather", '{"city":"Bern"}'),)
    assert completion.finish == "tool_calls"
    (words,) = asked
    assert words["tools"][0]["function"]["parameters"] == json.loads(WEATHER.parameters)
    described = LlamaTool(WEATHER)
    with pytest.raises(sy.UserError, match="which only describes it"):
        described("Bern")
    schema = sy.schema('{"type":"object"}')
    assert {each.how for each in model.soundness(schema)} == {"unsupported"}
    elsewhere = li.model(Elsewhere())
    assert (await elsewhere.complete(sy.Request(ASK.messages, tools=(WEATHER,)))).tool_calls == (
        sy.ToolCall("c9", "weather", "{}"),
    )
    assert (await li.model(Silent()).complete(ASK)).tool_calls == ()
    with pytest.raises(sy.Unsupported, match="asked for 'tools'"):
        await li.model(Echo()).complete(sy.Request(ASK.messages, tools=(WEATHER,)))
    with pytest.raises(sy.Unsupported, match="asked for 'image'"):
        await model.complete(sy.Request((sy.Message("user", (PICTURE,)),)))


async def test_cancelling_reaches_an_async_llm_and_identity_holds_no_key() -> None:
    llm = Native(waits=True, began=asyncio.Event(), ended=asyncio.Event())
    task = asyncio.create_task(li.model(llm, identity="native").complete(ASK))
    await llm.began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert llm.ended.is_set()
    assert li.model(Echo()).identity == li.model(Echo(api_key="sk-other")).identity
    assert li.model(Echo()).identity != li.model(Echo(name="other")).identity


@given(TURNS)
def test_a_conversation_survives_the_way_there_and_back(turns: list[sy.Message]) -> None:
    assert from_messages(to_messages(turns)) == tuple(turns)


def test_other_blocks_are_read_or_refused(tmp_path: Path) -> None:
    picture = tmp_path / "cat.png"
    picture.write_bytes(b"hello")
    turns = from_messages([ChatMessage(role="user", blocks=[TextBlock(text="see"), ImageBlock(path=picture)])])
    assert turns[0].content == (sy.Text("see"), sy.Image("aGVsbG8=", "image/png"))
    with pytest.raises(sy.Unsupported, match="'audio' has no counterpart"):
        from_messages([ChatMessage(role="user", blocks=[AudioBlock(audio=b"x", format="wav")])])


def test_our_model_answers_llamaindex_in_every_way_with_usage() -> None:
    ours = sy.FunctionModel(lambda request: sy.Completion(f"said {request.messages[-1].text}", sy.Usage(4, 1, 0, 2)))
    llm = li.to_model(ours, context_window=100)
    message = ChatMessage(role=MessageRole.USER, content="it")

    async def grown(growing: AsyncGenerator[Any, None]) -> list[Any]:
        return [response async for response in growing]

    async def asynchronous() -> list[Any]:
        return [
            await llm.achat([message]),
            await llm.acomplete("it"),
            *(await grown(await llm.astream_chat([message])))[-1:],
            *(await grown(await llm.astream_complete("it")))[-1:],
        ]

    responses = [
        llm.chat([message]),
        llm.complete("it"),
        list(llm.stream_chat([message]))[-1],
        list(llm.stream_complete("it"))[-1],
        *asyncio.run(asynchronous()),
    ]
    for response in responses:
        text = response.message.content if isinstance(response, ChatResponse) else response.text
        assert text == "said it"
        assert response.additional_kwargs == {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
    deltas = [response.delta for response in llm.stream_chat([message])]
    assert deltas == ["said", " it", ""]
    assert (llm.metadata.context_window, llm.metadata.is_function_calling_model) == (100, False)
    with pytest.raises(sy.UserError, match=r"keywords \['logit_bias'\]"):
        llm.chat([message], logit_bias={})


async def test_our_model_calls_llamaindexs_tools() -> None:
    requests: list[sy.Request] = []

    def answer(request: sy.Request) -> sy.Completion:
        requests.append(request)
        calls = (sy.ToolCall("c1", "add", '{"a":1}'),) if request.tools else ()
        return sy.Completion("", tool_calls=calls)

    def add(a: int) -> int:
        """Add one."""
        return a + 1

    llm: Any = li.to_model(sy.FunctionModel(answer, capabilities=frozenset({"chat", "tools"})))
    tool = FunctionTool.from_defaults(add)
    result = await llm.apredict_and_call([tool], "Add one to 1.", temperature=0.2)
    assert str(result) == "2"
    assert requests[0].tools[0].name == "add"
    assert requests[0].temperature == 0.2
    nothing = await llm.achat([ChatMessage(content="hm")])
    assert llm.get_tool_calls_from_response(nothing, error_on_no_tool_call=False) == []
    with pytest.raises(sy.UserError, match="called no tool"):
        llm.get_tool_calls_from_response(nothing)
    await llm.achat_with_tools([tool], "x", tool_required=True)
    assert requests[-1].tool_choice == "required"
    again = li.model(llm, identity="again")
    for choice in ("required", "none", "auto"):
        completion = await again.complete(replace(ASK, tools=(WEATHER,), tool_choice=choice))
        assert (len(requests[-1].tools), requests[-1].tool_choice) == ((0, "auto") if choice == "none" else (1, choice))
    assert completion.tool_calls == (sy.ToolCall("c1", "add", '{"a":1}'),)
    pieces = Pieces()
    streamed = await again.complete(sy.Request(ASK.messages, tools=(WEATHER,)), pieces)
    assert [delta.tool_call for delta in pieces.deltas] == list(streamed.tool_calls) == list(completion.tool_calls)


# ---------------------------------------------------------------------------------------------------- retrieval


async def test_a_bridged_retriever_is_asked_for_k_in_a_thread_and_once_in_a_run() -> None:
    nodes = [
        TextNode(text=f"fox {n}", id_=f"n{n}", metadata={"year": n, "tags": ["a"], "title": "T"}) for n in range(5)
    ]
    theirs = Listed(nodes)
    found = li.retriever(theirs, name="foxes", identity="five foxes")
    journal = sy.MemoryJournal()

    async def twice() -> list[sy.Passage]:
        assert await found.search("fox", k=3) == await found.search("fox", k=3)
        return await found.search("fox", k=3)

    passages = await sy.run(twice, journal=journal)
    assert [passage.score for passage in passages] == [1.0, 0.5, 1 / 3]
    assert passages[1] == sy.Passage("fox 1", "n1", score=0.5, title="T", metadata={"year": 1, "tags": '["a"]'})
    assert len(theirs.searched) == 1
    assert theirs.searched[0][1] is not threading.main_thread()
    assert theirs.similarity_top_k == 2
    assert ("foxes", "search") in kinds(journal)
    with pytest.raises(sy.UserError, match="cannot be told"):
        li.retriever(theirs)
    with pytest.raises(sy.Unsupported, match="takes no filter"):
        await found.search("fox", k=1, where={"year": 1})


async def test_our_index_serves_llamaindex_and_comes_back_the_same(tmp_path: Path) -> None:
    with sy.Index(tmp_path / "i.db", embedder="none") as index:
        text = "The stork came back. The heron stayed away."
        await index.add(OurDocument(text, "birds.md", "Birds", {"year": 1951}))
        there = li.to_retriever(index, k=sy.knob(3, 1))
        (node,) = await there.aretrieve("stork")
        assert node.node.ref_doc_id == "birds.md"
        assert await asyncio.to_thread(there.retrieve, "stork") == [node]
        again = li.retriever(there, identity=lambda: index.digest)
        assert await again.search("stork", k=1) == await index.search("stork", k=1)
        engine = li.to_query_engine(index, k=1)
        response: Any = await engine.aquery("heron")
        assert "heron" in str(response)
        assert response.source_nodes[0].node.ref_doc_id == "birds.md"
    for passage in (sy.Passage("gold", "a.md", 3, 7, 0.5, "A", {"year": 1}),):
        assert passage_from(node_from(passage)) == passage


async def test_a_node_parser_cuts_a_text_where_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    text = "The stork came back. " * 20 + "\n\n" + "The heron stayed away. " * 20
    cut = li.chunker(SentenceSplitter(chunk_size=64, chunk_overlap=0, include_metadata=False))
    journal = sy.MemoryJournal()
    chunks = await sy.run(cut, text, document="birds.md", journal=journal)
    assert len(chunks) > 2
    for chunk in chunks:
        assert chunk.document == "birds.md"
        assert text[chunk.start : chunk.end] == chunk.text
    assert ("SentenceSplitter", "span") in kinds(journal)


def engine_of(index: sy.Index, model: sy.Model) -> RetrieverQueryEngine:
    synthesizer = get_response_synthesizer(llm=li.to_model(model))
    return RetrieverQueryEngine(li.to_retriever(index, k=2), synthesizer)


@pytest.mark.parametrize("threaded", [True, False])
async def test_a_query_engine_of_our_parts_is_recorded_part_by_part_or_as_a_whole(
    tmp_path: Path, *, threaded: bool
) -> None:
    prompts: list[str] = []

    def answer(request: sy.Request) -> str:
        prompts.append(request.messages[-1].text)
        return "in spring"

    with sy.Index(tmp_path / "i.db", embedder="none") as index:
        await index.add(OurDocument("The stork came back in spring.", "birds.md"))
        theirs = engine_of(index, sy.Journaled(sy.FunctionModel(answer)))
        parts = li.query_engine(theirs, name="parts", record=False, threaded=threaded)
        whole = li.query_engine(theirs, name="whole", identity=lambda: index.digest, threaded=threaded)
        for ask, rows in ((parts, [("search", "search"), ("function", "call")]), (whole, [("whole", "search")])):
            journal, budget = sy.MemoryJournal(), sy.Budget(calls=9)
            prompts.clear()
            for _ in range(2):
                found = await sy.run(ask, "stork", journal=journal, run_id="r", budget=budget)
                assert found.text == "in spring"
                assert [passage.document for passage in found.passages] == ["birds.md"]
            assert len(prompts) == 1
            assert "The stork came back" in prompts[0]
            assert set(rows) <= set(kinds(journal))
            assert budget.spent.calls == (2 if ask is parts else 1)
        with pytest.raises(sy.UserError, match="cannot be told"):
            li.query_engine(theirs)


async def test_a_program_is_a_query_engine_with_its_sources() -> None:
    @sy.program
    async def ask(question: str) -> Answered:
        return Answered(f"about {question}", (sy.Passage("gold", "a.md", 3, 7, 0.5),))

    @sy.program
    async def count(question: str) -> list[int]:
        return [len(question)]

    engine = li.to_query_engine(ask)
    assert engine.get_prompts() == {}
    response: Any = await engine.aquery("birds")
    assert (str(response), response.source_nodes[0].score) == ("about birds", 0.5)
    assert str(await asyncio.to_thread(engine.query, "birds")) == "about birds"
    assert str(await li.to_query_engine(count).aquery("birds")) == "[5]"


# ---------------------------------------------------------------------------------------------------- tools


async def test_a_bridged_tool_is_called_by_name_and_its_failures_are_results() -> None:
    def weather(city: str, days: int = 1) -> str:
        """The weather in a city."""
        if city == "Atlantis":
            raise ValueError("it sank")
        if city == "Rome":
            raise sy.BudgetExceeded("spent")
        return f"{city} {days} {threading.current_thread() is threading.main_thread()}"

    tool = li.tool(FunctionTool.from_defaults(weather), effects=["read"])
    assert (tool.name, tool.effects) == ("weather", frozenset({"read"}))
    assert tool.description.endswith("The weather in a city.")
    assert json.loads(tool.parameters)["required"] == ["city"]
    journal = sy.MemoryJournal()
    result = await sy.run(tool.call, {"city": "Bern", "days": 2}, journal=journal)
    assert result == sy.ToolResult("", (sy.Text("Bern 2 False"),))
    assert ("weather", "tool") in kinds(journal)
    assert (await tool.call({"city": "Atlantis"})).is_error
    with pytest.raises(sy.BudgetExceeded, match="spent"):
        await tool.call({"city": "Rome"})
    with_sources = QueryEngineTool.from_defaults(li.to_query_engine(echo), name="ask", description="Ask.")
    assert (await li.tool(with_sources).call({"input": "birds"})).content == (sy.Text("birds"),)


class Pay(BaseTool):
    """A tool of one value that fails after it has acted."""

    paid: int = 0
    metadata = ToolMetadata("Pay an amount.", "pay")

    def __call__(self, input: Any) -> ToolOutput:  # noqa: A002 - LlamaIndex's name
        self.paid += int(input)
        raise ConnectionError("the answer was lost")


async def test_a_bridged_tool_that_fails_is_not_called_a_second_time() -> None:
    pay = Pay()
    assert "the answer was lost" in str((await li.tool(pay).call({"input": "30"})).content)
    assert pay.paid == 30


@pytest.mark.parametrize("given", [{"amount": 5, "recipient": "Ann"}, {"to": "Ann", "sum": 500}, {"memo": "Ann"}])
async def test_a_function_called_with_a_wrong_name_does_nothing(given: dict[str, object]) -> None:
    paid: list[object] = []
    tool = li.tool(FunctionTool.from_defaults(lambda to, amount=1: paid.append((to, amount)), "pay", "Pay somebody."))
    result = await tool.call(given)
    assert (result.is_error, "unexpected keyword argument" in str(result.content), paid) == (True, True, [])


@sy.program
async def echo(question: str) -> str:
    return question


async def test_our_tool_serves_llamaindex_and_comes_back_the_same() -> None:
    there = li.to_tool(Ours())
    for output in (await there.acall(what="bird"), await asyncio.to_thread(there.call, what="bird")):
        assert output.content == "a bird"
        assert isinstance(output.blocks[1], ImageBlock)
        assert output.raw_input == {"what": "bird"}
    assert (await there.acall(what="nothing")).is_error
    assert there.metadata.get_parameters_dict() == json.loads(Ours.parameters)
    assert json.loads(there.metadata.fn_schema_str) == json.loads(Ours.parameters)
    back = li.tool(there)
    assert (back.name, back.description, back.effects) == ("look", "Look at it.", frozenset({"read"}))
    for what in ("bird", "nothing"):
        assert await back.call({"what": what}) == await Ours().call({"what": what})


async def test_what_is_no_part_of_theirs_is_refused() -> None:
    anything: Any = object()
    for bridge in (li.model, li.retriever, li.tool, li.query_engine, li.chunker):
        with pytest.raises(sy.UserError, match="of LlamaIndex's"):
            bridge(anything)


@pytest.mark.engine
async def test_the_embedded_model_answers_from_our_index_in_their_query_engine(tmp_path: Path) -> None:
    with sy.Index(tmp_path / "i.db", embedder="none") as index:
        await index.add(OurDocument("The stork came back to the village on the third of March.", "birds.md"))
        local = sy.local()
        engine = li.query_engine(engine_of(index, local), record=False)
        journal = sy.MemoryJournal()
        found = await sy.run(engine, "When did the stork come back?", journal=journal, run_id="r")
        assert found.text
        assert (local.name, "call") in kinds(journal)
        model = li.model(li.to_model(local.model), identity="once")

        @sy.step(model=model, max_tokens=6, temperature=0.0)
        async def hello(name: str) -> str:
            """Say hello."""
            ...

        assert await hello("Anna")
