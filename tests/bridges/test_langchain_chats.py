"""Conversations both ways, and our models as chat models for LangChain."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    HumanMessage,
    HumanMessageChunk,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompts import ChatPromptTemplate
from pydantic import BaseModel

import synthon as sy
from synthon.bridges import langchain as lc
from synthon.bridges.langchain.reading import from_messages
from synthon.bridges.langchain.sending import to_messages
from tests.bridges.chains import USED
from tests.bridges.turns import TURNS

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage


class Place(BaseModel):
    """A place."""

    city: str


# ---------------------------------------------------------------------------------------------------- messages


@given(TURNS)
def test_a_conversation_survives_the_way_there_and_back(turns: list[sy.Message]) -> None:
    assert from_messages(to_messages(turns)) == tuple(turns)


def test_messages_in_langchains_other_forms_are_read() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGVsbG8="}}
    turns = from_messages(
        [
            SystemMessage("Be brief."),
            HumanMessage([{"type": "text", "text": "What is it?"}, picture]),
            ToolMessage("fell over", tool_call_id="c1", status="error"),
            AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": None, "type": "tool_call"}]),
        ]
    )
    assert turns[0] == sy.Message("system", "Be brief.")
    assert turns[1] == sy.Message("user", (sy.Text("What is it?"), sy.Image("aGVsbG8=", "image/png")))
    assert turns[2] == sy.Message("tool", (sy.ToolResult("c1", (sy.Text("fell over"),), is_error=True),))
    assert turns[3] == sy.Message("assistant", (sy.ToolCall("call_0", "f", "{}"),))
    named: list[BaseMessage] = [ChatMessage(content="x", role="developer"), ChatMessage(content="y", role="user")]
    named.append(HumanMessageChunk(content="z"))
    assert [turn.role for turn in from_messages(named)] == ["system", "user", "user"]
    for strange in (ChatMessage(content="x", role="moderator"), RemoveMessage("1")):
        with pytest.raises(sy.Unsupported, match="has no counterpart here"):
            from_messages([strange])
    with pytest.raises(sy.Unsupported, match="'audio' has no counterpart"):
        from_messages([HumanMessage([{"type": "audio", "base64": "aGVsbG8=", "mime_type": "audio/wav"}])])


# ---------------------------------------------------------------------------------------------------- ours there


def test_our_model_answers_langchain_in_every_way_with_usage() -> None:
    usage = sy.Usage(15, 10, 5, 7, 2)
    ours = sy.FunctionModel(lambda request: sy.Completion(f"{len(request.messages)} of them", usage, model="m"))
    chat = lc.to_model(ours)

    async def asynchronous() -> tuple[AIMessage, list[AIMessage], list[Any]]:
        streamed = [chunk async for chunk in chat.astream("q")]
        return await chat.ainvoke("q"), await chat.abatch(["a", "b"]), streamed

    answered, batched, streamed = asyncio.run(asynchronous())
    for message in (chat.invoke("q"), answered, *batched, *chat.batch(["a"])):
        assert str(message.text) == "1 of them"
        assert message.usage_metadata == USED
        assert message.response_metadata["finish_reason"] == "stop"
    for chunks in (streamed, list(chat.stream("q"))):
        assert [str(chunk.text) for chunk in chunks if chunk.text] == ["1", " of", " them"]
        whole = sum(chunks[1:], chunks[0])
        assert str(whole.text) == "1 of them"
        assert whole.usage_metadata == USED


async def test_our_model_calls_langchains_tools_streamed_or_not() -> None:
    requests: list[sy.Request] = []
    calls = (sy.ToolCall("c1", "add", '{"a":1}'), sy.ToolCall("c2", "add", "oops"))

    def answer(request: sy.Request) -> sy.Completion:
        requests.append(request)
        return sy.Completion("", tool_calls=calls, reasoning=(sy.Reasoning("hm", "seal"),), finish="tool_calls")

    def add(a: int) -> int:
        """Add one."""
        return a + 1

    def double(a: int) -> int:
        """Double it."""
        return 2 * a

    chat = lc.to_model(sy.FunctionModel(answer, capabilities=frozenset({"chat", "tools"}))).bind_tools([add])
    message = await chat.ainvoke("q", temperature=0.3, stop=["."])
    chunks = [chunk async for chunk in chat.astream("q")]
    whole: Any = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    for found in (message, whole):
        assert [(call["id"], call["name"], call["args"]) for call in found.tool_calls] == [("c1", "add", {"a": 1})]
        assert [(call["id"], call["args"]) for call in found.invalid_tool_calls] == [("c2", "oops")]
        assert found.additional_kwargs["reasoning_content"] == "hm"
        assert from_messages([found])[0].content == (sy.Reasoning("hm", "seal"), *calls)
    assert requests[0].tools[0].name == "add"
    assert json.loads(requests[0].tools[0].parameters)["properties"]["a"]["type"] == "integer"
    assert (requests[0].temperature, requests[0].stop) == (0.3, (".",))
    for choice, (names, said) in {
        "any": (["add", "double"], "required"), "none": (["add", "double"], "none"), "double": (["double"], "required"),
    }.items():  # fmt: skip
        await lc.to_model(sy.FunctionModel(answer)).bind_tools([add, double], tool_choice=choice).ainvoke("q")
        assert ([tool.name for tool in requests[-1].tools], requests[-1].tool_choice) == (names, said)
    with pytest.raises(sy.UserError, match=r"tool_choice='sub' names none of the tools \['add'\]"):
        lc.to_model(sy.FunctionModel(answer)).bind_tools([add], tool_choice="sub")
    with pytest.raises(sy.UserError, match=r"keywords \['frequency_penalty'\]"):
        await chat.ainvoke("q", frequency_penalty=1.0)


def test_a_stop_sequence_may_be_a_text() -> None:
    stops: list[tuple[str, ...]] = []

    def answer(request: sy.Request) -> str:
        stops.append(request.stop)
        return "hi"

    chat = lc.to_model(sy.FunctionModel(answer))
    chat.bind(stop="END").invoke("hi")
    list(chat.bind(stop="END").stream("hi"))
    chat.invoke("hi", stop=["END", "."])
    assert stops == [("END",), ("END",), ("END", ".")]


async def test_our_model_keeps_to_a_schema_for_langchain() -> None:
    model = sy.Journaled(sy.FunctionModel(lambda request: answers.pop(0)))
    answers = ['{"city":"Bern"}', '{"city":"Bern"}', '{"city":"Bern"}', '{"town":1}']
    chat = lc.to_model(model)
    assert await chat.with_structured_output(Place).ainvoke("Where?") == Place(city="Bern")
    assert await chat.with_structured_output(Place.model_json_schema()).ainvoke("Where?") == {"city": "Bern"}
    both: Any = await chat.with_structured_output(Place, include_raw=True).ainvoke("Where?")
    assert both["parsed"] == Place(city="Bern")
    assert str(both["raw"].text) == '{"city":"Bern"}'
    with pytest.raises(sy.OutputError, match="does not fit"):
        await chat.with_structured_output(Place).ainvoke("Where?")


@pytest.mark.parametrize("journaled", [True, False])
@pytest.mark.parametrize("bad", ["no json", '{"town":1}'])
async def test_a_bad_answer_is_an_error_in_a_stream_and_a_value_beside_the_raw_one(
    bad: str, *, journaled: bool
) -> None:
    plain = sy.FunctionModel(lambda request: bad)
    chat = lc.to_model(sy.Journaled(plain) if journaled else plain)
    asked: Any = chat.with_structured_output(Place, include_raw=True)
    for found in (await asked.ainvoke("Where?"), asked.invoke("Where?"), *asked.stream("Where?")):
        assert (str(found["raw"].text), found["parsed"]) == (bad, None)
        assert isinstance(found["parsing_error"], sy.OutputError)
    for shape in (Place, Place.model_json_schema()):
        with pytest.raises(sy.OutputError, match="does not fit"):
            list(chat.with_structured_output(shape).stream("Where?"))
        with pytest.raises(sy.OutputError, match="does not fit"):
            [piece async for piece in chat.with_structured_output(shape).astream("Where?")]
        with pytest.raises(sy.OutputError, match="does not fit"):
            await chat.with_structured_output(shape).ainvoke("Where?")


def test_a_tool_choice_is_read_in_the_forms_that_providers_have() -> None:
    requests: list[sy.Request] = []

    def answer(request: sy.Request) -> str:
        requests.append(request)
        return "hi"

    def weather(city: str) -> str:
        """The weather."""
        return city

    def news() -> str:
        """The news."""
        return ""

    forms: list[tuple[Any, tuple[int, str]]] = [
        ({"type": "function", "function": {"name": "weather"}}, (1, "required")),
        ({"type": "tool", "name": "weather"}, (1, "required")),
        ({"type": "any"}, (2, "required")), (True, (2, "required")),
        (False, (2, "auto")), (None, (2, "auto")), ("auto", (2, "auto")),
    ]  # fmt: skip
    chat: Any = lc.to_model(sy.FunctionModel(answer, capabilities=frozenset({"chat", "tools"})))
    for form, found in forms:
        chat.bind_tools([weather, news], tool_choice=form, strict=True).invoke("q")
        assert (len(requests[-1].tools), requests[-1].tool_choice) == found


async def test_our_errors_pass_through_a_chain_and_leaving_a_stream_cancels_the_call() -> None:
    def refuse(request: sy.Request) -> str:
        raise sy.BudgetExceeded("spent", spent="1", limit="1")

    chain = ChatPromptTemplate.from_template("{q}") | lc.to_model(sy.FunctionModel(refuse))
    with pytest.raises(sy.BudgetExceeded, match="spent"):
        await chain.ainvoke({"q": "x"})
    with pytest.raises(sy.BudgetExceeded, match="spent"):
        chain.invoke({"q": "x"})
    ended = asyncio.Event()

    class Endless:
        name = identity = "endless"
        capabilities: frozenset[sy.Capability] = frozenset({"chat"})

        async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
            try:
                emit(sy.Delta("first"))
                await asyncio.sleep(3600)
            finally:
                ended.set()
            raise AssertionError

    stream: Any = lc.to_model(Endless()).astream("q")
    assert str((await anext(stream)).text) == "first"
    await stream.aclose()
    assert ended.is_set()


async def test_our_model_in_a_chain_is_journaled_and_replayed_in_the_run_around_it() -> None:
    count = iter(range(9))
    model = sy.Journaled(sy.FunctionModel(lambda request: f"answer {next(count)}"))
    chain = ChatPromptTemplate.from_template("{q}") | lc.to_model(model)

    @sy.program
    async def whole(question: str) -> str:
        return str((await chain.ainvoke({"q": question})).text)

    journal = sy.MemoryJournal()
    assert await sy.run(whole, "x", journal=journal, policy="cache") == "answer 0"
    assert await sy.run(whole, "x", journal=journal, policy="cache") == "answer 0"
    assert await asyncio.to_thread(lambda: chain.invoke({"q": "x"}).text) != "answer 0"

    async def streamed() -> list[str]:
        return [str(chunk.text) async for chunk in chain.astream({"q": "y"}) if chunk.text]

    first = await sy.run(streamed, journal=journal, policy="cache")
    assert "".join(await sy.run(streamed, journal=journal, policy="cache")) == "".join(first)


@pytest.mark.engine
async def test_the_embedded_model_serves_a_chain_and_a_bridged_chain_model_serves_a_step() -> None:
    local = sy.local()
    there = lc.to_model(local)
    message = await there.ainvoke([HumanMessage("Say hello.")], max_tokens=8, temperature=0.0)
    chunks = [chunk async for chunk in there.astream([HumanMessage("Say hello.")], max_tokens=8, temperature=0.0)]
    assert str(message.text) == "".join(str(chunk.text) for chunk in chunks)
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_tokens"] <= 8
    shaped = await there.with_structured_output(Place).ainvoke("Bern is a city. Which city?")
    assert isinstance(shaped, Place)
    back = lc.model(there, name="back", identity=local.identity)

    @sy.step(model=back, max_tokens=8, temperature=0.0)
    async def hello(name: str) -> str:
        """Say hello."""
        ...

    with pytest.raises(sy.UserError, match="called inside journaled model"):
        await hello("Anna")
    unjournaled = lc.model(lc.to_model(local.model), identity="once")
    assert await hello.using(model=unjournaled)("Anna")
