"""Chat models of LangChain's as models here."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import FakeListChatModel, ParrotFakeChatModel
from langchain_core.messages import (
    AIMessage,
)

import synthon as sy
from synthon.bridges import langchain as lc
from tests.bridges.chains import USED, Heard, Shaped, Waiting, heard
from tests.bridges.turns import PICTURE, WEATHER, Pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from langchain_core.messages import BaseMessage

SCHEMA = sy.schema('{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}')


def said(completion: sy.Completion) -> tuple[str, tuple[sy.ToolCall, ...]]:
    return completion.text, completion.tool_calls


# ---------------------------------------------------------------------------------------------------- theirs here


async def test_a_bridged_model_answers_a_step_and_its_call_is_a_row() -> None:
    chat, asked = heard(lambda messages: "true")
    journal = sy.MemoryJournal()

    @sy.step(model=lc.model(chat), temperature=0.5, max_tokens=9, stop=["."], seed=3)
    async def judge(text: str) -> bool:
        """Is it good?"""
        ...

    @sy.program
    async def both(text: str) -> list[bool]:
        return [await judge(text), await judge(text)]

    assert await sy.run(both, "fine", journal=journal) == [True, True]
    assert [words for _, words in asked] == [
        {"temperature": 0.5, "max_tokens": 9, "seed": seed, "stop": ["."]} for seed in (3, 4)
    ]
    calls = [row for row in journal.records if isinstance(row, sy.CallRecord)]
    assert [(call.span.name, call.span.kind) for call in calls] == [("heard", "call")] * 2
    assert calls[0].span.parent in {
        row.id for row in journal.records if isinstance(row, sy.Span) and row.name == "judge"
    }


async def test_a_resumed_run_does_not_ask_a_bridged_model_again(tmp_path: Path) -> None:
    chat, asked = heard(lambda messages: f"answer {len(messages)}")
    bridged = lc.model(chat)

    @sy.step
    async def answer(question: str) -> str:
        """Answer."""
        ...

    @sy.program
    async def two() -> list[str]:
        found = [await answer("a"), await answer("b")]
        if lives == 1:
            raise RuntimeError("the first life ends")
        return found

    lives = 1
    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        with pytest.raises(RuntimeError, match="first life"):
            await sy.run(two.using(model=bridged), run_id="r", journal=journal)
        lives = 2
        assert len(await sy.run(two.using(model=bridged), run_id="r", journal=journal)) == 2
    assert len(asked) == 2


async def test_a_budget_counts_bridged_calls_and_reserves_for_hidden_retries() -> None:
    chat, _ = heard(lambda messages: AIMessage("x", usage_metadata=USED), max_retries=2)
    budget = sy.Budget(calls=4, tokens=10_000)
    model = lc.model(chat, price=sy.Price(1.0, 2.0))

    async def asked() -> sy.Completion:
        return await model.complete(sy.Request((sy.Message("user", "q"),), max_tokens=10))

    completion = await sy.run(asked, budget=budget, journal=sy.MemoryJournal())
    assert replace(completion.usage, cost_usd=None) == sy.Usage(15, 10, 5, 7, 2)
    assert completion.usage.cost_usd == pytest.approx((30 + 14) / 1e6)
    assert budget.spent.calls == 1
    assert budget.spent.tokens == 37
    with pytest.raises(sy.BudgetExceeded, match="calls"):
        await sy.run(asked, budget=sy.Budget(calls=2), journal=sy.MemoryJournal())


async def test_usage_that_is_not_reported_is_an_upper_bound() -> None:
    model = lc.model(FakeListChatModel(responses=["four"]))
    completion = await model.complete(sy.Request((sy.Message("user", "How much is 2 + 2?"),)))
    assert completion.usage.input_tokens >= len("How much is 2 + 2?")
    assert completion.usage.output_tokens == 4


@pytest.mark.parametrize("text", ["", "one", "one two  three", " lead", "öäü – 日本"])
async def test_what_streams_is_what_is_returned(text: str) -> None:
    theirs = (
        [FakeListChatModel(responses=[text])] if text else []
    )  # theirs streams nothing at all where it says nothing
    for chat in (heard(lambda messages: AIMessage(text, usage_metadata=USED))[0], *theirs):
        pieces = Pieces()
        request = sy.Request((sy.Message("user", "q"),))
        streamed = await lc.model(chat).complete(request, pieces)
        assert pieces.text == streamed.text == text
        assert said(await lc.model(chat).complete(request)) == said(streamed)


async def test_a_model_that_cannot_stream_gives_its_answer_as_one_piece() -> None:
    pieces = Pieces()
    model = lc.model(ParrotFakeChatModel())
    completion = await model.complete(sy.Request((sy.Message("user", "back"),)), pieces)
    assert [delta.text for delta in pieces.deltas] == [completion.text] == ["back"]


@pytest.mark.parametrize("streams", [True, False])
async def test_tools_go_out_and_calls_come_back_with_their_ids(*, streams: bool) -> None:
    call: Any = {"name": "weather", "args": {"city": "Bern"}, "id": "c1", "type": "tool_call"}
    chat, asked = heard(lambda messages: AIMessage("", tool_calls=[call]))
    pieces = Pieces()
    assert {each.how for each in lc.model(chat).soundness(SCHEMA)} == {"unsupported"}
    request = sy.Request((sy.Message("user", "How is it in Bern?"),), tools=(WEATHER,))
    completion = await lc.model(chat).complete(request, pieces if streams else sy.discard)
    assert completion.tool_calls == (sy.ToolCall("c1", "weather", '{"city":"Bern"}'),)
    assert completion.finish == "tool_calls"
    function = asked[0][1]["tools"][0]["function"]
    assert function == {
        **json.loads('{"name":"weather"}'),
        "description": WEATHER.description,
        "parameters": json.loads(WEATHER.parameters),
    }
    assert "choice" not in asked[0][1]
    choices: dict[Any, set[str]] = {"required": {"tools", "choice"}, "none": set()}
    for choice, words in choices.items():
        await lc.model(chat).complete(replace(request, tool_choice=choice))
        assert set(asked[-1][1]) & {"tools", "choice"} == words
    if streams:
        assert [delta.tool_call for delta in pieces.deltas if delta.tool_call] == list(completion.tool_calls)


async def test_the_one_call_of_openais_older_form_is_a_call() -> None:
    old = {"function_call": {"name": "weather", "arguments": '{"city":"Bern"}'}}
    model = lc.model(heard(lambda messages: AIMessage("", additional_kwargs=old, usage_metadata=USED))[0])
    completion = await model.complete(sy.Request((sy.Message("user", "q"),), tools=(WEATHER,)))
    assert [(call.name, call.arguments) for call in completion.tool_calls] == [("weather", '{"city":"Bern"}')]
    assert completion.tool_calls[0].id


async def test_capabilities_are_what_the_class_can_and_the_rest_is_refused() -> None:
    plain, tools, shaped = FakeListChatModel(responses=["x"]), heard(str)[0], Shaped(answer=str)
    shown = Heard(answer=str, profile={"image_inputs": True, "tool_calling": False})
    names: Any = {"identity": "none"}
    assert lc.model(plain).capabilities == {"chat"}
    assert lc.model(tools, **names).capabilities == {"chat", "tools"}
    assert lc.model(shaped, **names).capabilities == {"chat", "tools", "schema"}
    assert lc.model(shown, **names).capabilities == {"chat", "image"}
    assert lc.model(plain, capabilities=["chat", "image"]).capabilities == {"chat", "image"}
    ask = (sy.Message("user", "q"),)
    refused = [
        (sy.Request(ask, tools=(WEATHER,)), "tools"),
        (sy.Request(ask, constraint=SCHEMA), "schema"),
        (sy.Request(ask, constraint=sy.regex("a+")), "grammar"),
        (sy.Request(ask, continuations=("a",)), "score"),
        (sy.Request(ask, logprobs=2), "logprobs"),
        (sy.Request((sy.Message("user", (PICTURE,)),)), "image"),
        (sy.Request((*ask, sy.Message("assistant", "Well,"))), "fork"),
    ]
    for request, lacking in refused:
        with pytest.raises(sy.Unsupported, match=f"asked for '{lacking}'"):
            await lc.model(plain).complete(request)


async def test_a_schema_is_asked_for_by_the_class_and_the_answer_is_checked() -> None:
    asked: list[Any] = []
    model = lc.model(Shaped(answer=lambda messages: "Bern", asked=asked), identity="shaped")
    request = sy.Request((sy.Message("user", "Where?"),), constraint=SCHEMA, temperature=0.1)
    pieces = Pieces()
    completion = await model.complete(request, pieces)
    assert (completion.text, completion.unmet) == ('{"city":"Bern"}', "")
    assert pieces.text == completion.text
    assert asked[0][1]["shape"]["properties"] == {"city": {"type": "string"}}
    assert asked[0][1]["warmth"] == 0.1
    assert {each.how for each in model.soundness(SCHEMA)} == {"checked"}
    with pytest.raises(sy.Unsupported, match=r"takes no \['top_k'\] with a schema"):
        await model.complete(sy.Request((sy.Message("user", "Where?"),), constraint=SCHEMA, top_k=3))
    checked = await model.complete(
        sy.Request((sy.Message("user", "Where?"),), constraint=sy.regex("[a-z]+", check=True))
    )
    assert checked.unmet


async def test_identity_tells_models_apart_and_holds_no_key() -> None:
    def name(**fields: Any) -> str:
        return lc.model(FakeListChatModel(**{"responses": ["a"], **fields})).identity

    assert name() == name()
    assert name() != name(responses=["b"])
    assert name().startswith("langchain_core.language_models.fake_chat_models.FakeListChatModel#")

    class Keyed(FakeListChatModel):
        api_key: str = "sk-1"

    assert lc.model(Keyed(responses=[])).identity == lc.model(Keyed(responses=[], api_key="sk-2")).identity

    class Coded(FakeListChatModel):
        code: Any = print

    with pytest.raises(sy.UserError, match=r"its Coded.code is <.*Pass identity="):
        lc.model(Coded(responses=["x"]))


async def test_a_bridged_model_is_a_value_of_a_knob_and_is_saved_by_name(tmp_path: Path) -> None:
    first, second = (lc.model(FakeListChatModel(responses=[name]), name=name) for name in ("small", "large"))

    @sy.step(model=sy.one_of(first, second))
    async def answer(question: str) -> str:
        """Answer."""
        ...

    @sy.program
    async def ask(question: str) -> str:
        return await answer(question)

    assert ask.parts().knobs["answer.model"].values == (first, second)
    chosen = ask.using({"answer.model": second})
    assert (await ask("q"), await chosen("q")) == ("small", "large")
    chosen.save(tmp_path / "ask.json")
    assert await ask.using(tmp_path / "ask.json")("q") == "large"


async def test_cancelling_a_call_reaches_the_provider() -> None:
    chat = Waiting(asked=asyncio.Event(), cancelled=asyncio.Event())
    task = asyncio.create_task(lc.model(chat, identity="w").complete(sy.Request((sy.Message("user", "q"),))))
    await chat.asked.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert chat.cancelled.is_set()


async def test_a_sync_model_runs_in_a_thread_beside_the_loop() -> None:
    free = threading.Event()

    def answer(messages: list[BaseMessage]) -> str:
        return "beside" if free.wait(20) else "on the loop"

    task = asyncio.create_task(lc.model(heard(answer)[0]).complete(sy.Request((sy.Message("user", "q"),))))
    await asyncio.sleep(0.05)
    free.set()  # by the loop: a call that blocks it would wait in vain
    assert (await task).text == "beside"


async def test_failures_become_errors_of_ours_and_ours_pass_unharmed() -> None:
    class RateLimitError(Exception):
        status_code = 429
        response = SimpleNamespace(headers={"Retry-After": "7", "x-request-id": "r1"})

    def fails(error: Exception) -> sy.Journaled:
        def answer(messages: list[BaseMessage]) -> str:
            raise error

        return lc.model(heard(answer, max_retries=1)[0], identity="failing")

    request = sy.Request((sy.Message("user", "q"),))
    with pytest.raises(sy.TooManyRequests, match="LangChain's 'heard' failed: 'RateLimitError: slow down'") as caught:
        await fails(RateLimitError("slow down")).complete(request)
    found = caught.value
    assert (found.status, found.retry_after_s, found.request_id, found.attempts) == (429, 7.0, "r1", 2)
    with pytest.raises(sy.GuardBlocked, match="no"):
        await fails(sy.GuardBlocked("no", guard="g", evidence="e")).complete(request)


@pytest.fixture
def shared_cache() -> Iterator[InMemoryCache]:
    cache = InMemoryCache()
    set_llm_cache(cache)
    yield cache
    set_llm_cache(None)


async def test_langchains_own_cache_does_not_stand_before_samples(shared_cache: InMemoryCache) -> None:
    answers = iter(["first", "second"])
    model = lc.model(heard(lambda messages: next(answers))[0], identity="sampled")
    there = lc.to_model(sy.FunctionModel(lambda request: next(others)))
    others = iter(["third", "fourth"])

    async def twice() -> list[str]:
        request = sy.Request((sy.Message("user", "q"),), temperature=1.0)
        return [(await model.complete(request)).text for _ in range(2)]

    assert await sy.run(twice, journal=sy.MemoryJournal()) == ["first", "second"]
    assert [str((await there.ainvoke("q")).text) for _ in range(2)] == ["third", "fourth"]


async def test_nothing_is_traced_to_langsmith_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    from langchain_core.tracers.context import _tracing_v2_is_enabled  # noqa: PLC0415 - private, for this test alone
    from langsmith import utils  # noqa: PLC0415 - same

    monkeypatch.setenv("LANGSMITH_TRACING", "true")
    forget: Any = utils.get_env_var
    forget.cache_clear()
    enabled: list[object] = []

    def answer(messages: list[BaseMessage]) -> str:
        enabled.append(_tracing_v2_is_enabled())
        return "x"

    await lc.model(heard(answer)[0], identity="traced").complete(sy.Request((sy.Message("user", "q"),)))
    forget.cache_clear()
    assert enabled == [False]
