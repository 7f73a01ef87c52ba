"""What the tests of chat completions share: a question, its answers, and a model at a loopback server."""

from __future__ import annotations

from typing import Any

from synthon.core.values import (
    Completion,
    Message,
    Request,
    Usage,
)
from synthon.models.openai_model import OpenAIChat
from tests.models.loopback import Heard, Loopback, Reply, answering, events

KEY = "sk-very-secret-0123456789"
QUESTION = Request((Message("user", "Which city?"),))
USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 20,
    "total_tokens": 120,
    "prompt_tokens_details": {"cached_tokens": 60},
    "completion_tokens_details": {"reasoning_tokens": 5},
}
USED = Usage(input_tokens=40, cached_tokens=60, output_tokens=20, reasoning_tokens=5)


def whole(message: dict[str, object], finish: str | None = "stop", **more: object) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant"} | message, "finish_reason": finish}
    return {"model": "city-1", "choices": [choice], "usage": USAGE} | more


def piece(finish: str | None = None, **delta: object) -> dict[str, Any]:
    return {"model": "city-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


PARIS = Reply(whole({"content": "Paris"}))
LAST = {"model": "city-1", "choices": [], "usage": USAGE}


def chat(loopback: Loopback, **settings: Any) -> OpenAIChat:
    return OpenAIChat("city", loopback.url, **({"api_key": KEY} | settings))


async def sent(request: Request, **settings: Any) -> dict[str, Any]:
    """The body that a request becomes."""
    async with answering(PARIS) as loopback:
        await chat(loopback, **settings).complete(request)
        return loopback.received[0].body


async def heard(*chunks: object, **more: Any) -> tuple[Completion, Heard]:
    async with answering(Reply(chunks=[events(*chunks)], **more)) as loopback:
        emit = Heard()
        return await chat(loopback).complete(QUESTION, emit), emit
