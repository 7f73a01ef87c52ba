from __future__ import annotations

import asyncio
import gzip
import socket
import time
import traceback
from contextlib import ExitStack
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthon.core.errors import ContextTooLong, ProviderError, ProviderTimeout, TooManyRequests
from synthon.core.protocols import discard
from synthon.core.values import Message, Request
from synthon.models._failures import retry_after_s
from synthon.models._http import Endpoint
from synthon.models.anthropic_model import AnthropicMessages
from synthon.models.openai_model import OpenAIChat
from tests.models.loopback import Heard, Reply, answering, events

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = "sk-very-secret-0123456789"
QUESTION = Request((Message("user", "Which city?"),))


async def failure(reply: Reply, **settings: Any) -> ProviderError:
    """What an answer is raised as."""
    async with answering(reply) as loopback:
        with pytest.raises(ProviderError, match=r"[.?!]$") as caught:
            await OpenAIChat("city", loopback.url, api_key=KEY, **settings).complete(QUESTION)
    return caught.value


def refusal(message: str, **more: object) -> dict[str, object]:
    return {"error": {"message": message} | more}


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, ProviderError, False),
        (401, ProviderError, False),
        (403, ProviderError, False),
        (404, ProviderError, False),
        (408, ProviderTimeout, True),
        (409, ProviderError, True),
        (413, ProviderError, False),
        (429, TooManyRequests, True),
        (500, ProviderError, True),
        (503, ProviderError, True),
        (504, ProviderTimeout, True),
        (529, ProviderError, True),
    ],
)
async def test_each_status_is_its_error(*, status: int, kind: type[ProviderError], retryable: bool) -> None:
    error = await failure(Reply(refusal("no"), status=status, headers={"x-request-id": "r-1", "retry-after": "7"}))
    assert type(error) is kind
    assert (error.status, error.retryable, error.request_id, error.retry_after_s) == (status, retryable, "r-1", 7.0)


async def test_an_empty_account_is_not_worth_another_try() -> None:
    error = await failure(Reply(refusal("pay first", code="insufficient_quota"), status=429))
    assert isinstance(error, TooManyRequests)
    assert not error.retryable


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ({"error": "plain words"}, "plain words"),
        ({"detail": "FastAPI's words"}, "FastAPI's words"),
        ({"message": "words at the top"}, "words at the top"),
        ([{"error": {"message": "in a list"}}], "in a list"),
        ({"unknown": 7}, "unknown"),
        ({}, "{}"),
    ],
)
async def test_every_shape_of_error_is_read(payload: object, words: str) -> None:
    assert words in str(await failure(Reply(payload, status=400)))


async def test_an_error_with_status_200_is_an_error() -> None:
    error = await failure(Reply(refusal("upstream is down", code=502)))
    assert (error.status, error.retryable) == (502, True)


@pytest.mark.parametrize(
    ("payload", "tokens", "limit"),
    [
        (
            refusal(
                "This model's maximum context length is 8192 tokens. However, your messages resulted in 9001 tokens.",
                code="context_length_exceeded",
            ),
            9001,
            8192,
        ),
        (
            refusal("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens (4000 in"),
            5000,
            4096,
        ),
        (refusal("The decoder prompt (length 5000) is longer than the maximum model length of 4096."), 5000, 4096),
        (refusal("prompt is too long: 210000 tokens > 200000 maximum"), 210_000, 200_000),
        (refusal("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"), 210_000, 200_000),
        (refusal("The input (5000 tokens) is longer than the model's context length (4096 tokens)."), 5000, 4096),
        (
            refusal("request (5000 tokens) exceeds the available context size (4096 tokens), try increasing it"),
            5000,
            4096,
        ),
        (
            refusal("the request exceeds the available context size", type="exceed_context_size_error")
            | {"error": {"type": "exceed_context_size_error", "n_prompt_tokens": 5000, "n_ctx": 4096}},
            5000,
            4096,
        ),
        (refusal("too many words", code="context_length_exceeded"), None, None),
    ],
)
async def test_a_request_longer_than_the_context_says_both_numbers(
    payload: dict[str, object], tokens: int | None, limit: int | None
) -> None:
    error = await failure(Reply(payload, status=400))
    assert isinstance(error, ContextTooLong)
    assert (error.tokens, error.limit, error.status, error.retryable) == (tokens, limit, 400, False)


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_the_wait_is_read_in_seconds_milliseconds_or_as_a_date(
    headers: Mapping[str, str], wait_s: float | None
) -> None:
    assert retry_after_s(headers) == wait_s


def test_a_date_to_come_is_a_wait() -> None:
    wait = retry_after_s({"retry-after": formatdate(time.time() + 60, usegmt=True)})
    assert wait is not None
    assert 50 < wait <= 61


@given(st.text(max_size=40))
def test_no_header_breaks_the_reading(text: str) -> None:
    wait = retry_after_s({"retry-after": text})
    assert wait is None or 0 <= wait < float("inf")


# ---- what is no answer


async def test_an_error_page_is_named_by_its_title() -> None:
    page = "<!DOCTYPE html><html><head><title>502 Bad\n Gateway</title></head><body>nginx</body></html>"
    error = await failure(Reply(text=page, status=502, headers={"content-type": "text/html"}))
    assert "a web page: 502 Bad Gateway" in str(error)
    assert error.retryable


async def test_json_that_is_none_is_an_error_that_shows_it() -> None:
    error = await failure(Reply(text="OK, I will: {"))
    assert "no JSON object: 'OK, I will: {'" in str(error)


@pytest.mark.parametrize("text", ["", " \n \n", '{"choices": [{"message": {"content": "Par'])
async def test_json_that_was_cut_off_on_the_way_is_worth_another_try(text: str) -> None:
    error = await failure(Reply(text=text))
    assert "broke off in mid-answer, after " in str(error)
    assert (error.status, error.billable, error.retryable) == (200, 1, True)


NO_MESSAGE = [None, {"message": None}, {"text": "a text completion's"}, {"message": "hello"}, float("nan")]


@pytest.mark.parametrize(
    "payload",
    [{}, {"choices": []}, {"choices": None}, {"choices": "x"}, *[{"choices": [choice]} for choice in NO_MESSAGE]],
)
async def test_an_answer_without_a_choice_is_an_error(payload: object) -> None:
    assert "without a choice" in str(await failure(Reply(payload)))


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "message", "delta", "content", "tool_calls", "function", "usage", "index", "id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(payload=JUNK, streams=st.booleans())
async def test_no_shape_of_json_raises_anything_but_a_provider_error(*, payload: object, streams: bool) -> None:
    whole = {"choices": [payload], "usage": payload}
    reply = Reply(chunks=[events(whole, {"choices": [{"finish_reason": "stop"}]})]) if streams else Reply(whole)
    async with answering(reply) as loopback:
        model, emit = OpenAIChat("city", loopback.url), Heard()
        try:
            answer = await (model.complete(QUESTION, emit) if streams else model.complete(QUESTION))
        except ProviderError:
            return
    assert not streams or emit.text == answer.text


@pytest.mark.parametrize("payload", [None, 7, [1], "Paris"])
async def test_an_answer_that_is_no_object_is_an_error(payload: object) -> None:
    assert "no JSON object" in str(await failure(Reply(payload)))


async def test_a_nest_too_deep_to_read_is_an_error() -> None:
    assert "no JSON" in str(await failure(Reply(text="[" * 100_000)))


async def test_an_answer_that_never_ends_is_cut_off() -> None:
    for reply in (Reply(text="x" * 5000), Reply(chunks=[b"data: " + b"x" * 5000])):
        async with answering(reply) as loopback:
            endpoint = Endpoint(loopback.url, max_bytes=1000)
            with pytest.raises(ProviderError, match="more than 1,000 bytes") as caught:
                await endpoint.send({}, None)
        assert not caught.value.retryable


async def test_a_compressed_answer_is_bounded_by_what_it_unfolds_to() -> None:
    bomb = gzip.compress(b"x" * 2**22)
    reply = Reply(chunks=[bomb], headers={"content-encoding": "gzip", "content-type": "application/json"})
    async with answering(reply) as loopback:
        with pytest.raises(ProviderError, match="more than 100,000 bytes"):
            await Endpoint(loopback.url, max_bytes=100_000).send({}, None)


# ---- connections


async def test_nobody_there_is_worth_another_try() -> None:
    async with answering(Reply({})) as loopback:
        url = loopback.url
    with pytest.raises(ProviderError, match=r"No answer from http://127.*Check that the server runs") as caught:
        await OpenAIChat("city", url).complete(QUESTION)
    assert (caught.value.retryable, caught.value.status) == (True, None)


async def test_a_connection_that_breaks_off_is_worth_another_try() -> None:
    error = await failure(Reply(chunks=[b'{"choices": ['], headers={"content-type": "application/json"}, cut=True))
    assert "broke off in mid-answer" in str(error)
    assert error.retryable


async def test_a_slow_answer_is_a_timeout() -> None:
    started = asyncio.get_running_loop().time()
    error = await failure(Reply({}, pause_s=5), timeout_s=0.1)
    assert isinstance(error, ProviderTimeout)
    assert "within 0.1 s" in str(error)
    assert error.billable == 1
    assert asyncio.get_running_loop().time() - started < 3


async def test_a_connection_that_never_stands_is_not_billed() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as deaf, ExitStack() as queue:
        for _ in range(2):  # more than its backlog, so that it hears no further one
            client = queue.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(deaf.getsockname())
        with pytest.raises(ProviderTimeout, match=r"did not take the connection within 0.18 s") as caught:
            await OpenAIChat("city", f"http://127.0.0.1:{deaf.getsockname()[1]}", timeout_s=0.2).complete(QUESTION)
    assert (caught.value.billable, caught.value.retryable) == (0, True)


async def test_what_is_no_http_is_an_error() -> None:
    async def gibberish(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(gibberish, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ProviderError, match="No answer from") as caught:
        await OpenAIChat("city", f"http://127.0.0.1:{port}", api_key=KEY).complete(QUESTION)
    server.close()
    assert KEY not in "".join(traceback.format_exception(caught.value)) + repr(caught.value.__context__)


async def test_a_key_follows_no_redirect() -> None:
    async with answering(Reply({})) as elsewhere:
        error = await failure(Reply({}, status=307, headers={"location": elsewhere.url}))
        assert elsewhere.received == []
    assert f"redirects to {elsewhere.url}" in str(error)
    assert not error.retryable


@pytest.mark.parametrize(
    "reply",
    [
        Reply(refusal(f"Incorrect API key: {KEY}"), status=401),
        Reply(text=f"your request had Authorization: Bearer {KEY}"),
        Reply({"choices": [], KEY: f"X-Tenant: hush-hush, {KEY}"}),
        Reply(text=f"<html><body>{KEY} and hush-hush</body></html>", status=500),
        Reply({}, status=302, headers={"location": f"http://host/?key={KEY}"}),
    ],
)
async def test_a_secret_that_the_server_echoes_is_shown_nowhere(reply: Reply, caplog: pytest.LogCaptureFixture) -> None:
    error = await failure(reply, headers={"X-Tenant": "hush-hush"})
    shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error)) + caplog.text
    assert "***" in str(error)
    assert KEY not in shown
    assert "hush-hush" not in shown.replace('headers={"X-Tenant": "hush-hush"}', "")


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Token", "Basic"])
async def test_a_secret_behind_any_scheme_is_shown_nowhere(scheme: str) -> None:
    error = await failure(Reply(refusal(f"bad key {KEY}"), status=401), headers={"Authorization": f"{scheme} {KEY}"})
    assert "bad key ***" in str(error)


@pytest.mark.parametrize("kind", [OpenAIChat, AnthropicMessages])
@pytest.mark.parametrize("begins", range(56, 81, 8))
async def test_a_secret_is_taken_out_before_a_message_is_cut(
    kind: type[OpenAIChat | AnthropicMessages], begins: int
) -> None:
    echoed = "x" * begins + KEY
    whole = [Reply({"said": "x" * (begins + 120 - len("{'said': '")) + KEY}), Reply([echoed])]
    async with answering(*whole, Reply(chunks=[events(echoed)])) as loopback:
        model = kind("city", loopback.url, api_key=KEY)
        for emit in (discard, discard, Heard()):
            with pytest.raises(ProviderError, match="xxx") as caught:
                await model.complete(QUESTION, emit)
            assert KEY[:4] not in str(caught.value)
