from __future__ import annotations

import asyncio
import gc
import os
import pickle
import subprocess
import sys
import threading
import time
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthon as sy
from synthon.core.errors import MissingExtra, ProviderError, ProviderTimeout, UserError
from synthon.core.values import (
    Completion,
    Reasoning,
    ToolCall,
)
from synthon.models.openai_model import OpenAIChat
from tests.models.chats import KEY, LAST, PARIS, QUESTION, USAGE, USED, chat, heard, piece, whole
from tests.models.loopback import Heard, Loopback, Reply, answering, events

if TYPE_CHECKING:
    from collections.abc import Callable

# ---- streams


async def test_a_stream_is_heard_as_it_comes_and_equals_the_answer() -> None:
    chunks = [
        piece(role="assistant", content=""),
        piece(reasoning_content="I "),
        piece(reasoning_content="know."),
        piece(content="Pa"),
        piece(content="ris"),
        piece("stop"),
        LAST,
    ]
    answer, emit = await heard(*chunks, "[DONE]")
    assert answer == Completion("Paris", USED, reasoning=(Reasoning("I know.", "reasoning_content"),), model="city-1")
    assert emit.text == answer.text
    assert emit.reasoning == "I know."


async def test_a_stream_asks_for_usage_and_a_silent_call_does_not_stream() -> None:
    async with answering(Reply(chunks=[events(piece(content="x"), piece("stop"))]), PARIS) as loopback:
        await chat(loopback).complete(QUESTION, Heard())
        await chat(loopback).complete(QUESTION)
    assert loopback.received[0].body["stream_options"] == {"include_usage": True}
    assert "stream" not in loopback.received[1].body


async def test_an_answer_that_may_be_long_is_streamed_even_if_nobody_listens() -> None:
    async with answering(Reply(chunks=[events(piece(content="x"), piece("stop"))])) as loopback:
        answer = await chat(loopback).complete(replace(QUESTION, max_tokens=50_000))
    assert answer.text == "x"
    assert loopback.received[0].body["stream"] is True


async def test_usage_in_the_chunk_with_the_last_choice_counts_once() -> None:
    answer, _ = await heard(piece(content="x") | {"usage": {"prompt_tokens": 1}}, piece("stop") | {"usage": USAGE})
    assert answer.usage == USED


async def test_a_stream_without_done_is_whole_when_it_said_why_it_stopped() -> None:
    answer, _ = await heard(piece(content="Paris"), piece("stop"))
    assert answer.text == "Paris"


async def test_an_endpoint_that_does_not_stream_is_heard_once() -> None:
    async with answering(PARIS) as loopback:
        emit = Heard()
        answer = await chat(loopback).complete(QUESTION, emit)
    assert (answer.text, emit.text, len(emit.deltas)) == ("Paris", "Paris", 1)


async def test_pieces_of_tool_calls_are_merged_by_index() -> None:
    def call(index: int | None, id_: str | None = None, name: str | None = None, arguments: object = "") -> object:
        numbered = {} if index is None else {"index": index}
        return piece(tool_calls=[numbered | {"id": id_, "function": {"name": name, "arguments": arguments}}])

    answer, emit = await heard(
        call(0, "a", "f", ""), call(1, "b", "g", '{"x"'), call(0, None, None, "{}"), call(1, None, None, ": 1}"),
        piece("tool_calls"),
    )  # fmt: skip
    assert answer.tool_calls == (ToolCall("a", "f", "{}"), ToolCall("b", "g", '{"x": 1}'))
    assert [delta.tool_call for delta in emit.deltas] == list(answer.tool_calls)
    # One server numbers all calls 0, another none; arguments come as an object; an id is missing.
    answer, _ = await heard(call(0, "a", "f", "{}"), call(0, "b", "g", {"x": 1}), call(None, None, "h"), piece("stop"))
    assert answer.tool_calls == (ToolCall("a", "f", "{}"), ToolCall("b", "g", '{"x":1}'), ToolCall("call_2", "h", "{}"))
    assert answer.finish == "tool_calls"


STREAM = events(
    piece(content="Zürich "), piece(content="😀 or"), piece(content=" Paris"), piece("stop"), LAST, "[DONE]"
)


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=20))
async def test_any_split_of_the_connection_gives_the_same_answer(cuts: list[int]) -> None:
    places = [0, *sorted(set(cuts)), len(STREAM)]
    chunks = [STREAM[start:end] for start, end in pairwise(places)]
    async with answering(Reply(chunks=chunks)) as loopback:
        emit = Heard()
        answer = await chat(loopback).complete(QUESTION, emit)
    assert answer == Completion("Zürich 😀 or Paris", USED, model="city-1")
    assert emit.text == answer.text


END = STREAM.index(b'"stop"')


@given(at=st.integers(0, len(STREAM)), cut=st.booleans())
async def test_a_cut_stream_is_an_error_or_whole_but_never_half_an_answer(*, at: int, cut: bool) -> None:
    async with answering(Reply(chunks=[STREAM[:at]], cut=cut)) as loopback:
        (ended,) = await asyncio.gather(chat(loopback).complete(QUESTION, Heard()), return_exceptions=True)
    if isinstance(ended, ProviderError):
        assert ended.retryable
        assert at < len(STREAM)
    else:
        assert at > END
        assert isinstance(ended, Completion)
        assert ended.text == "Zürich 😀 or Paris"


@pytest.mark.parametrize(("code", "retryable"), [(500, True), (400, False), ("server_error", True)])
async def test_an_error_in_mid_stream_is_raised(*, code: object, retryable: bool) -> None:
    with pytest.raises(ProviderError, match="GPU fell off") as caught:
        await heard(piece(content="Pa"), {"error": {"message": f"GPU fell off, key {KEY}", "code": code}})
    assert caught.value.retryable is retryable
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("reason", ["error", "abort"])
async def test_a_generation_that_failed_is_no_answer(reason: str) -> None:
    with pytest.raises(ProviderError, match="gave up"):
        await heard(piece(content="Pa"), piece(reason))


async def test_a_stream_that_stays_open_after_its_answer_is_that_answer() -> None:
    open_ = Reply(chunks=[events(piece(content="Paris"), piece("stop"))], pause_s=5)
    unfinished = replace(open_, chunks=[events(piece(content="Paris"))])
    async with answering(open_, unfinished) as loopback:
        model = chat(loopback, timeout_s=0.5)
        assert (await model.complete(QUESTION, Heard())).text == "Paris"
        with pytest.raises(ProviderTimeout, match=r"did not finish its answer within 0\.5 s"):
            await model.complete(QUESTION, Heard())


# ---- connections


async def test_connections_are_used_again() -> None:
    stream = Reply(chunks=[events(piece(content="x"), piece("stop"), "[DONE]")])
    async with answering(PARIS, stream, PARIS) as loopback:
        for emit in (None, Heard(), None):
            await (chat(loopback).complete(QUESTION, emit) if emit else chat(loopback).complete(QUESTION))
    assert loopback.connections == 1


async def test_no_more_connections_than_allowed_are_open() -> None:
    async with answering(replace(PARIS, pause_s=0.01)) as loopback:
        model = chat(loopback, max_connections=3)
        await asyncio.gather(*[model.complete(QUESTION) for _ in range(12)])
    assert loopback.connections <= 3


async def test_the_wait_for_a_place_is_not_on_a_calls_time() -> None:
    slow = replace(PARIS, pause_s=0.3)
    stream = Reply(chunks=[events(piece(content="x")), events(piece("stop"), "[DONE]")], pause_s=0.15)
    async with answering(slow, stream, slow) as loopback:
        model, started = chat(loopback, max_connections=1, timeout_s=0.9), time.monotonic()
        calls = [model.complete(QUESTION, *([Heard()] if at == 1 else [])) for at in range(5)]
        answers = await asyncio.gather(*calls)
    assert [answer.text for answer in answers] == ["Paris", "x", "Paris", "Paris", "Paris"]
    assert time.monotonic() - started > 1.2, "one after another, streams too"


async def test_a_call_cancelled_while_it_waits_takes_no_place() -> None:
    async with answering(replace(PARIS, pause_s=0.1)) as loopback:
        model = chat(loopback, max_connections=1)
        first, second = (asyncio.create_task(model.complete(QUESTION)) for _ in range(2))
        await asyncio.wait_for(loopback.asked.wait(), 5)
        second.cancel()
        answers = await asyncio.gather(first, second, model.complete(QUESTION), return_exceptions=True)
    assert [type(answer) for answer in answers] == [sy.Completion, asyncio.CancelledError, sy.Completion]
    assert len(loopback.received) == 2


@pytest.mark.parametrize("streams", [True, False])
async def test_cancelling_closes_the_connection(*, streams: bool) -> None:
    slow = Reply(chunks=[events(piece(content="Pa"))], pause_s=5) if streams else replace(PARIS, pause_s=5)
    async with answering(slow) as loopback:
        call = asyncio.create_task(chat(loopback).complete(QUESTION, *([Heard()] if streams else [])))
        await asyncio.wait_for(loopback.asked.wait(), 5)
        await asyncio.sleep(0.02)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(loopback.closed_early.wait(), 1)


def test_one_model_works_in_many_loops_and_threads_and_leaves_nothing_open(recwarn: pytest.WarningsRecorder) -> None:
    ready, stop = threading.Event(), threading.Event()
    found: list[Loopback] = []

    async def serve() -> None:
        async with answering(PARIS) as loopback:
            found.append(loopback)
            ready.set()
            await asyncio.to_thread(stop.wait)

    server = threading.Thread(target=asyncio.run, args=(serve(),))
    server.start()
    ready.wait()
    model = chat(found[0])

    def call() -> str:
        async def twice() -> str:
            await model.complete(QUESTION)
            return (await model.complete(QUESTION)).text

        return asyncio.run(twice())

    texts = [call(), call()]
    threads = [threading.Thread(target=lambda: texts.append(call())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    server.join()
    gc.collect()
    assert texts == ["Paris"] * 6
    assert found[0].connections == 6
    assert [str(warning.message) for warning in recwarn] == []


def test_a_loop_that_runs_until_exit_leaves_no_complaint() -> None:
    script = """
import asyncio, threading
from synthon.models.openai_model import OpenAIChat
from synthon.core.values import Message, Request
from tests.models.loopback import answering
from tests.models.test_openai import PARIS
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()
async def main():
    async with answering(PARIS) as loopback:
        print((await OpenAIChat("m", loopback.url).complete(Request((Message("user", "x"),)))).text)
asyncio.run_coroutine_threadsafe(main(), loop).result()
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout.split(), done.stderr) == (0, ["Paris"], "")


def test_a_loop_closed_without_its_rites_is_forgotten() -> None:
    script = """
import asyncio, gc, threading, weakref
from synthon.models.openai_model import OpenAIChat
from synthon.core.values import Message, Request
from tests.models.loopback import answering
from tests.models.test_openai import PARIS
urls, ready = [], threading.Event()
async def serve():
    async with answering(PARIS) as loopback:
        urls.append(loopback.url)
        ready.set()
        await asyncio.Event().wait()
threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()
ready.wait()
def call():
    return OpenAIChat("m", urls[0]).complete(Request((Message("user", "x"),)))
loop = asyncio.new_event_loop()
loop.run_until_complete(call())
loop.close()
closed = weakref.ref(loop)
del loop
asyncio.run(call())
gc.collect()
print(closed() is None)
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.stdout.split(), done.stderr) == (["True"], "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize("child_asks", [False, True])
async def test_a_forked_child_that_ends_leaves_its_parents_connections_whole(*, child_asks: bool) -> None:
    script = f"""
import os, sys
from synthon.core.portal import sync
from synthon.core.values import Message, Request
from synthon.models.openai_model import OpenAIChat
def asked():
    model = OpenAIChat("m", sys.argv[1], timeout_s=20)
    return sync(lambda: model.complete(Request((Message("user", "x"),)))).text
print(asked(), flush=True)
if (child := os.fork()) == 0:
    {"print(asked(), flush=True)" if child_asks else ""}
    sys.exit()
os.waitpid(child, 0)
print(asked())
"""
    async with answering(PARIS) as loopback:
        running = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-c", script, loopback.url),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        said, _ = await running.communicate()
        assert said.decode().split() == ["Paris"] * (2 + child_asks)
        assert loopback.connections == 1 + child_asks


async def test_a_missing_aiohttp_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MissingExtra, match="pip install aiohttp"):
        await OpenAIChat("m", "http://127.0.0.1:9").complete(QUESTION)


# ---- what a model is


@pytest.mark.parametrize(
    "url",
    ["HTTP://LocalHost:80/v1/", "http://localhost/v1", "http://localhost:80/v1//", " http://LOCALHOST/v1#part "],
)
def test_ways_to_write_one_url_are_one_identity(url: str) -> None:
    assert OpenAIChat("m", url).identity == "http://localhost/v1/chat/completions#m"


def test_two_endpoints_with_one_model_name_have_two_identities() -> None:
    urls = ["http://a/v1", "http://b/v1", "http://a:81/v1", "https://a/v1", "http://a/v2", "http://a/v1?api-version=2"]
    urls += [
        "http://a/v1?encoding=x",
        "http://a/v1?design=y",
        "http://a_b/v1",
        "http://b\u00fccher/v1",
        "http://[::1]/v1",
    ]
    assert len({OpenAIChat("m", url).identity for url in urls}) == len(urls)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("http://me:secret@host/v1", "holds credentials"),
        ("https://host/v1?key=secret", "holds credentials"),
        ("https://host/v1?api_token=secret", "holds credentials"),
        ("https://host/v1?code=secret", "holds credentials"),
        ("https://host/v1?v=1&sig=secret", "holds credentials"),
        ("https://host/v1?Auth=secret", "holds credentials"),
        ("https://host/v1?passwd=secret", "holds credentials"),
        ("https://host/v1?user_pwd=secret", "holds credentials"),
        ("https://host/v1?my-credentials=secret", "holds credentials"),
        ("http://api..example.com/v1", "is no URL .*label empty or too long"),
        ("ftp://host/v1", "no http or https URL"),
        ("host/v1", "no http or https URL"),
        ("http://host:port/v1", "is no URL"),
        (None, "base_url None is no http or https URL"),
    ],
)
def test_a_url_with_credentials_or_without_a_host_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint) as caught:
        OpenAIChat("m", url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("given", [{"chat", "shema"}, "schema"])
@pytest.mark.parametrize("make", [sy.openai, sy.anthropic])
def test_a_capability_that_is_none_is_refused(make: Any, given: Any) -> None:
    with pytest.raises(UserError, match=r"There are no capabilities \['[schema]+'"):
        make("m", base_url="http://127.0.0.1:9/v1", capabilities=given)


@pytest.mark.parametrize("timeout_s", [0, -1, "5", None, float("nan")])
async def test_a_time_limit_that_limits_nothing_is_refused(timeout_s: Any) -> None:
    async with answering(PARIS) as loopback:
        with pytest.raises(UserError, match=r"is no time to wait for .* a number above 0"):
            await chat(loopback, timeout_s=timeout_s).complete(QUESTION)
        assert loopback.received == []


@pytest.mark.parametrize("make", [sy.Fallback, sy.Retrying, lambda model: sy.Timed(model, timeout_s=1)])
@pytest.mark.parametrize("given", [[sy.FunctionModel(lambda _: "x")], "gpt-4"], ids=["list", "name"])
def test_what_is_no_model_is_not_wrapped(make: Any, given: object) -> None:
    with pytest.raises(UserError, match=r"is no model\. Pass models one by one"):
        make(given)


def test_keys_and_headers_stand_in_no_repr() -> None:
    model = sy.openai("m", base_url="http://host/v1", api_key=KEY, headers={"X-Auth": "hush-hush"})
    assert KEY not in repr(model)
    assert "hush-hush" not in repr(model)
    assert KEY not in model.identity


async def test_openai_itself_wants_a_key_and_no_other_host_gets_the_environments(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UserError, match="Set OPENAI_API_KEY"):
        await OpenAIChat("m").complete(QUESTION)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    async with answering(PARIS) as loopback:
        await chat(loopback, api_key=None).complete(QUESTION)
    assert "authorization" not in loopback.received[0].headers


def test_a_key_with_a_line_break_inside_is_refused_unshown() -> None:
    assert OpenAIChat("m", "http://host", api_key=f" {KEY}\n").api_key == KEY
    with pytest.raises(UserError, match="no HTTP header can carry") as caught:
        OpenAIChat("m", "http://host", api_key="sk-a\nb")
    assert "sk-a" not in str(caught.value)


@pytest.mark.parametrize("made", [sy.openai, sy.anthropic, sy.openai_embedder])
def test_a_header_with_a_line_break_is_refused_unshown(made: Callable[..., object]) -> None:
    with pytest.raises(UserError, match=r"header 'Authorization' holds a line break") as caught:
        made("m", base_url="http://host", headers={"Authorization": f"Bearer {KEY}\n"})
    assert KEY not in str(caught.value)


def test_a_server_nobody_knows_is_refused() -> None:
    server: Literal["vllm"] = "triton"  # type: ignore[assignment] # that is the point
    with pytest.raises(UserError, match="'triton' is none of"):
        OpenAIChat("m", "http://host", server=server)


def test_a_model_is_a_value_that_travels() -> None:
    model = sy.openai("m", base_url="http://host/v1", name="mine", capabilities=["chat"], price=sy.Price(1, 2))
    assert (model.name, model.capabilities, model.price) == ("mine", frozenset({"chat"}), sy.Price(1, 2))
    assert pickle.loads(pickle.dumps(model)) == model  # noqa: S301 - our own bytes


async def test_a_key_from_the_environment_is_not_saved_with_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    model = OpenAIChat("m", max_connections=1)
    with pytest.raises(BaseException, match="tests talk to loopback servers only"):
        await model.complete(QUESTION)
    assert KEY.encode() not in pickle.dumps(model)


async def test_one_model_name_at_two_endpoints_never_shares_a_row() -> None:
    there = Reply(whole({"content": "London"}))
    async with answering(PARIS) as here, answering(there) as elsewhere:
        models = [sy.openai("city", base_url=loopback.url) for loopback in (here, elsewhere)]
        answers = [(await model.complete(QUESTION)).text for model in models]
    assert answers == ["Paris", "London"]
    assert models[0].identity != models[1].identity
