"""Retrievers, tools and runnables, LangChain's here and programs of ours there."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.messages import AIMessage
from langchain_core.messages.tool import ToolOutputMixin
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import ConfigurableField, Runnable, RunnableConfig, RunnableLambda, RunnablePassthrough
from langchain_core.tools import ToolException
from langchain_core.tools import tool as their_tool
from langchain_core.vectorstores import InMemoryVectorStore
from pydantic import BaseModel

import synthon as sy
from synthon.bridges import langchain as lc
from synthon.bridges.langchain.retrievers import document_from, passage_from
from synthon.retrieval import Document as OurDocument
from tests.bridges.chains import heard
from tests.bridges.turns import Ours, kinds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


FOUND = sy.Passage("gold", "a.md", 3, 7, 0.5, "A", {"year": 1999, "draft": False})


class Listed(BaseRetriever):
    """Documents that hold a word of the query."""

    documents: list[Document]

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        searched.append(query)
        return [document for document in self.documents if query in document.page_content]


searched: list[str] = []


# ---------------------------------------------------------------------------------------------------- retrievers


async def test_a_bridged_retriever_finds_passages_and_searches_once_in_a_run() -> None:
    searched.clear()
    texts = [
        Document("the red fox", metadata={"source": "a.md", "start_index": 10, "score": 0.9, "tags": ["x"], "year": 2}),
        Document("a fox", id="d2"),
        Document("fox three"),
    ]
    found = lc.retriever(Listed(documents=texts), name="foxes")
    journal = sy.MemoryJournal()

    @sy.program
    async def twice() -> list[sy.Passage]:
        assert await found.search("fox", k=2) == await found.search("fox", k=2)
        return await found.search("fox", k=2)

    passages = await sy.run(twice, journal=journal)
    assert searched == ["fox"]
    assert passages == [
        sy.Passage("the red fox", "a.md", 10, 21, 0.9, "", {"tags": '["x"]', "year": 2}),
        sy.Passage("a fox", "d2"),
    ]
    assert kinds(journal).count(("foxes", "search")) == 3
    with pytest.raises(sy.Unsupported, match="takes no filter"):
        await found.search("fox", k=2, where={"year": 2})


async def test_a_vector_store_is_asked_for_k_and_needs_an_identity_that_may_change() -> None:
    store = InMemoryVectorStore(DeterministicFakeEmbedding(size=8))
    store.add_documents([Document(f"text {n}") for n in range(9)])
    with pytest.raises(sy.UserError, match="cannot be told"):
        lc.retriever(store.as_retriever())
    found = lc.retriever(store.as_retriever(), identity=lambda: f"store of {len(store.store)}")

    async def numbers() -> list[int]:
        before = len(await found.search("text", k=7))
        store.add_documents([Document("one more")])
        return [before, len(await found.search("text", k=10))]

    assert await sy.run(numbers, journal=sy.MemoryJournal()) == [7, 10]


async def test_our_retriever_serves_langchain_and_comes_back_the_same(tmp_path: Path) -> None:
    with sy.Index(tmp_path / "i.db", embedder="none") as index:
        text = "The stork came back. The heron stayed away."
        await index.add(OurDocument(text, "birds.md", "Birds", {"year": 1951}))
        there = lc.to_retriever(index, k=3)
        (document,) = await there.ainvoke("stork")
        assert document.page_content == text[document.metadata["start_index"] : document.metadata["end_index"]]
        assert document.metadata["source"] == "birds.md"
        assert await asyncio.to_thread(there.invoke, "stork") == [document]
        chain = there | (lambda documents: documents[0].page_content)
        assert "stork" in await chain.ainvoke("stork")
        again = lc.retriever(there, identity=lambda: index.digest)
        assert await again.search("stork", k=1) == await index.search("stork", k=1)
    clashing = sy.Passage("gold", "a.md", 3, 7, 0.5, "A", {"source": "web", "title": 1984, "score": "high"})
    assert document_from(clashing).metadata["source"] == "a.md"
    assert document_from(clashing).metadata["own_source"] == "web"
    for passage in (FOUND, sy.Passage("bare"), clashing):
        assert passage_from(document_from(passage)) == passage


def test_what_fits_no_field_of_a_passage_stays_in_its_metadata() -> None:
    odd: dict[str, Any] = {"title": 1984, "score": "0.9", "start_index": 5.0, "end_index": "9", "source": False}
    assert passage_from(Document("gold", metadata=odd)) == sy.Passage("gold", metadata=odd)
    assert passage_from(Document("gold", metadata={"score": True})).metadata == {"score": True}
    for source in (PurePath("3"), 3):
        assert passage_from(Document("gold", metadata={"source": source})) == sy.Passage("gold", "3")


# ---------------------------------------------------------------------------------------------------- tools


async def test_a_bridged_tool_has_its_schema_and_its_calls_are_rows() -> None:
    calls: list[str] = []

    @their_tool
    def weather(city: str, days: int = 1) -> str:
        """The weather in a city."""
        calls.append(threading.current_thread().name)
        return f"{city} {days}"

    tool = lc.tool(weather)
    assert (tool.name, tool.description, tool.effects) == ("weather", "The weather in a city.", frozenset({"write"}))
    schema = json.loads(tool.parameters)
    assert schema["required"] == ["city"]
    assert schema["properties"]["days"] == {"default": 1, "type": "integer"}
    journal = sy.MemoryJournal()

    @sy.program
    async def ask() -> str:
        result = await tool.call({"city": "Bern", "days": 2})
        assert result == sy.ToolResult("", (sy.Text("Bern 2"),))
        return "done"

    await sy.run(ask, journal=journal, run_id="r")
    await sy.run(ask, journal=journal, run_id="r")
    assert len(calls) == 1
    assert calls[0] != threading.main_thread().name
    assert ("weather", "tool") in kinds(journal)
    assert lc.tool(weather, effects=["read"]).effects == {"read"}
    with pytest.raises(sy.UserError, match="cannot have the effects"):
        lc.tool(weather, effects=["reed"])  # type: ignore[list-item]  # what is refused


async def test_a_tool_that_writes_is_not_called_again_by_guess() -> None:
    calls: list[str] = []

    @their_tool
    async def send(text: str) -> str:
        """Send it."""
        calls.append(text)
        raise asyncio.CancelledError  # the process ends between act and record

    journal, tool = sy.MemoryJournal(), lc.tool(send)
    with pytest.raises(asyncio.CancelledError):
        await sy.run(tool.call, {"text": "hello"}, journal=journal, run_id="r")
    with pytest.raises(sy.Uncertain, match="nobody knows whether it did"):
        await sy.run(tool.call, {"text": "hello"}, journal=journal, run_id="r")
    assert calls == ["hello"]
    reads = lc.tool(send, effects=["read"])
    for _ in range(2):
        with pytest.raises(asyncio.CancelledError):
            await sy.run(reads.call, {"text": "again"}, journal=journal, run_id="s")
    assert calls == ["hello", "again", "again"]


async def test_what_a_bridged_tool_raises_is_a_result_and_ours_is_raised() -> None:
    errors: list[Exception] = [ToolException("too far"), ValueError("no such city"), sy.BudgetExceeded("spent")]

    @their_tool
    async def weather(city: str) -> str:
        """The weather."""
        raise errors.pop(0)

    tool = lc.tool(weather)
    wrong = await tool.call({"town": "Bern"})
    assert wrong.is_error
    for said in ("ToolException: too far", "ValueError: no such city"):
        assert await tool.call({"city": "Bern"}) == sy.ToolResult("", (sy.Text(said),), is_error=True)
    with pytest.raises(sy.BudgetExceeded, match="spent"):
        await tool.call({"city": "Bern"})


async def test_our_tool_gets_every_argument_whatever_its_name() -> None:
    @sy.tool
    async def deploy(config: str, run_manager: str = "none", callbacks: str = "none") -> str:
        """Deploy it."""
        return f"{config} {run_manager} {callbacks}"

    there, words = lc.to_tool(deploy), {"config": "production", "run_manager": "me", "callbacks": "you"}
    assert await there.ainvoke(words) == "production me you"
    assert await asyncio.to_thread(there.invoke, words) == "production me you"
    assert await lc.tool(there).call(words) == sy.ToolResult("", (sy.Text("production me you"),))


async def test_a_tool_that_gives_no_message_gives_text() -> None:
    class Command(ToolOutputMixin):
        def __repr__(self) -> str:
            return "go on"

    @their_tool
    async def steer() -> Any:
        """Steer."""
        return Command()

    assert await lc.tool(steer).call({}) == sy.ToolResult("", (sy.Text('"go on"'),))


async def test_our_tool_serves_langchain_and_comes_back_the_same() -> None:
    there = lc.to_tool(Ours())
    call: Any = {"type": "tool_call", "id": "c1", "name": "look", "args": {"what": "bird"}}
    for message in (await there.ainvoke(call), await asyncio.to_thread(there.invoke, call)):
        assert message.content_blocks == [
            {"type": "text", "text": "a bird"},
            {"type": "image", "base64": "aGVsbG8=", "mime_type": "image/png"},
        ]
        assert message.tool_call_id == "c1"
    failed = await there.ainvoke({**call, "args": {"what": "nothing"}})
    assert (failed.status, failed.content) == ("error", "there is nothing")
    back = lc.tool(there)
    assert (back.name, back.description, back.effects) == ("look", "Look at it.", frozenset({"read"}))
    assert json.loads(back.parameters)["properties"] == json.loads(Ours.parameters)["properties"]
    for what in ("bird", "nothing"):
        assert await back.call({"what": what}) == await Ours().call({"what": what})


# ---------------------------------------------------------------------------------------------------- runnables


def chain_of(answers: Sequence[str], **fields: Any) -> tuple[Any, list[Any]]:
    said = iter(answers)
    chat, asked = heard(lambda messages: next(said), **fields)
    return ChatPromptTemplate.from_template("{question}") | chat | StrOutputParser(), asked


async def test_a_runnable_is_a_component_whose_calls_are_recorded() -> None:
    chain, asked = chain_of(["one", "two", "three"])
    ask = lc.runnable(chain, name="ask")
    journal = sy.MemoryJournal()

    @sy.program
    async def both(question: str) -> list[str]:
        return [await ask({"question": question}), await ask({"question": question})]

    for _ in range(2):
        assert await sy.run(both, "q", journal=journal, run_id="r") == ["one", "two"]
    assert len(asked) == 2
    assert kinds(journal).count(("ask", "span")) == 4


async def test_outputs_are_read_into_the_type_that_is_said() -> None:
    class Place(BaseModel):
        city: str

    documents = await lc.runnable(Listed(documents=[Document("fox")]))("fox")
    assert documents == [Document("fox")]
    message = await lc.runnable(heard(lambda messages: AIMessage("hi", id="m"))[0])("q")
    assert isinstance(message, AIMessage)
    chain = heard(lambda messages: '{"city": "Bern"}')[0] | JsonOutputParser()
    assert await lc.runnable(chain)("q") == {"city": "Bern"}
    typed: Place = await lc.runnable(chain, returns=Place)("q")
    assert typed == Place(city="Bern")

    class Untyped(Runnable):  # type: ignore[type-arg]  # it says nothing of its types
        def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - theirs
            return {"given": input}

    assert await lc.runnable(Untyped(), identity="1")(1) == {"given": 1}
    code: Any = RunnableLambda(lambda given: object())
    with pytest.raises(sy.UserError, match="cannot be told"):
        lc.runnable(code)
    with pytest.raises(sy.UserError, match="no row can hold"):
        await sy.run(lc.runnable(code, identity="1"), "q", journal=sy.MemoryJournal())
    with pytest.raises(sy.UserError, match="was given <object"):
        await lc.runnable(chain)(object())


async def test_configurable_fields_are_knobs_of_a_program() -> None:
    chat, asked = heard(lambda messages: "x")
    warm = chat.configurable_fields(temperature=ConfigurableField(id="warmth"))
    ask = lc.runnable(
        warm | RunnableLambda(lambda message: str(message.text)),
        identity="warm",
        configurable={"warmth": sy.knob(0.1, 0.9)},
        returns=str,
    )

    @sy.program
    async def whole(question: str) -> str:
        return await ask(question)

    (name,) = whole.parts().knobs
    journal = sy.MemoryJournal()
    await sy.run(whole, "q", journal=journal, policy="cache")
    await sy.run(whole.using({name: 0.9}), "q", journal=journal, policy="cache")
    await sy.run(whole, "q", journal=journal, policy="cache")
    assert len(asked) == 2
    rows = [row.request for row in journal.records if isinstance(row, sy.CallRecord)]
    assert [json.loads(row)["arguments"]["configurable"] for row in rows] == [{"warmth": 0.1}, {"warmth": 0.9}]


async def test_a_chain_of_our_parts_is_recorded_and_counted_part_by_part() -> None:
    count = iter(range(9))
    ours = sy.Journaled(sy.FunctionModel(lambda request: f"answer {next(count)}"))
    chain = ChatPromptTemplate.from_template("{q}") | lc.to_model(ours) | StrOutputParser()
    ask = lc.runnable(chain, record=False)

    async def whole(question: str) -> str:
        return str(await ask({"q": question}))

    journal, budget = sy.MemoryJournal(), sy.Budget(calls=5)
    for _ in range(2):
        assert await sy.run(whole, "x", journal=journal, run_id="r", budget=budget) == "answer 0"
    assert budget.spent.calls == 2  # logically: the second life's hit counts what its row cost
    assert ("function", "call") in kinds(journal)
    assert next(count) == 1


async def test_errors_of_a_chain_are_ours() -> None:
    def fail(given: str) -> str:
        raise {"time": TimeoutError("late"), "ours": sy.GuardBlocked("no", guard="g", evidence="e")}[given]

    ask = lc.runnable(RunnablePassthrough() | RunnableLambda(fail), identity="fail")
    with pytest.raises(sy.ProviderTimeout, match="LangChain's 'RunnableSequence' failed: 'TimeoutError: late'"):
        await ask("time")
    with pytest.raises(sy.GuardBlocked, match="no"):
        await ask("ours")
    parsed = heard(lambda messages: "no json")[0] | JsonOutputParser()
    with pytest.raises(sy.OutputError, match="could not read an answer") as caught:
        await lc.runnable(parsed)("q")
    assert caught.value.text == "no json"


# ---------------------------------------------------------------------------------------------------- programs


@sy.step(model=sy.FunctionModel(lambda request: "a short answer"))
async def short(question: str) -> str:
    """Answer."""
    ...


class Sum(BaseModel):
    """A sum."""

    total: int


@sy.program
async def add(a: int, b: int = 2, *, times: int = sy.knob(1, 3)) -> Sum:
    return Sum(total=(a + b) * times)


async def test_a_program_is_a_runnable_with_typed_schemas() -> None:
    there = lc.to_runnable(add)
    assert await there.ainvoke({"a": 1}) == Sum(total=3)
    assert await there.ainvoke(4) == Sum(total=6)
    assert await there.abatch([{"a": 1}, {"a": 1, "b": 5, "times": 2}]) == [Sum(total=3), Sum(total=12)]
    assert await asyncio.to_thread(there.invoke, {"a": 1}) == Sum(total=3)
    assert await asyncio.to_thread(there.batch, [{"a": 1}, {"a": 2}]) == [Sum(total=3), Sum(total=4)]
    assert await lc.to_runnable(add.using(times=3)).ainvoke({"a": 1}) == Sum(total=9)
    schema = there.get_input_jsonschema()
    assert schema["required"] == ["a"]
    assert (schema["properties"]["b"]["default"], schema["properties"]["times"]["default"]) == (2, 1)
    assert there.get_output_schema() is Sum
    assert (there.InputType, lc.to_runnable(short).InputType) == (dict[str, Any], str)
    assert lc.to_runnable(short).get_input_jsonschema()["properties"]["question"]["type"] == "string"
    assert lc.to_runnable(short).get_output_jsonschema()["type"] == "string"
    assert await (there | (lambda found: found.total)).ainvoke({"a": 1}) == 3
    with pytest.raises(sy.UserError, match=r"Pass a mapping with \['a'\]"):
        await there.ainvoke({"b": 1})
    with pytest.raises(sy.UserError, match="is no step and no program"):
        lc.to_runnable(print)  # type: ignore[arg-type]  # what is refused


async def test_a_program_is_not_given_a_mapping_with_wrong_names_as_its_argument() -> None:
    @sy.program
    async def ask(question: str) -> str:
        return question

    @sy.program
    async def count(words: dict[str, int] | None) -> int:
        return len(words or ())

    @sy.program
    async def loose(given: Any) -> Any:
        return given

    there = lc.to_runnable(ask)
    assert await there.ainvoke({"question": "Where?"}) == await there.ainvoke("Where?") == "Where?"
    for wrong in ({"question": "Where?", "context": "c"}, {"q": "Where?"}, {}):
        with pytest.raises(sy.UserError, match=r"Pass a mapping with \['question'\]"):
            await there.ainvoke(wrong)
    assert await lc.to_runnable(count).ainvoke({"a": 1, "b": 2}) == 2
    assert await lc.to_runnable(loose).ainvoke({"a": 1}) == {"a": 1}


async def test_a_program_whose_annotations_are_local_is_a_runnable() -> None:
    class Local(BaseModel):
        city: str

    @sy.program
    async def ask(question: str, *, place: Local | None = None) -> Local:
        return place or Local(city=question)

    there = lc.to_runnable(ask)
    assert await there.ainvoke("Bern") == Local(city="Bern")
    assert there.get_input_jsonschema()["properties"]["question"]["type"] == "string"


async def test_a_step_of_text_streams_and_anything_else_comes_whole() -> None:
    assert [piece async for piece in lc.to_runnable(short).astream("q")] == ["a", " short", " answer"]
    chain = ChatPromptTemplate.from_template("{q}") | (lambda value: value.to_string()) | lc.to_runnable(short)
    assert "".join([piece async for piece in chain.astream({"q": "x"})]) == "a short answer"
    assert [piece async for piece in lc.to_runnable(add).astream({"a": 1})] == [Sum(total=3)]
    events = [event async for event in lc.to_runnable(short).astream_events("q", version="v2")]
    assert [event["event"] for event in events][0::4] == ["on_chain_start", "on_chain_end"]


async def test_what_is_no_part_of_theirs_is_refused() -> None:
    anything: Any = object()
    bridges: list[Any] = [lc.model, lc.retriever, lc.tool, lc.runnable]
    for bridge in bridges:
        with pytest.raises(sy.UserError, match="of LangChain's"):
            bridge(anything)
