"""A constraint is compiled beside the engine's thread: who sent it waits, nobody else does."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import synthon as sy
from synthon import decoding
from synthon.core.errors import ProviderError, SchemaTooLarge
from synthon.core.values import Message, Request
from synthon.models.local_model import LlamaModel
from tests.conftest import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthon.core.constraints import Constraint
    from synthon.decoding import Compiled, Vocabulary

pytestmark = pytest.mark.engine

WEIGHTS = Path(MODELS) / "smollm2-135m" / "SmolLM2-135M-Instruct.Q4_1.gguf"
SLOW = sy.choice("slow", "late")


@pytest.fixture
def model() -> Iterator[LlamaModel]:
    made = LlamaModel(WEIGHTS, threads=1, context=512, chat_template="{{ messages[0].content }}")
    yield made
    made.close()


@pytest.fixture
def go_on(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Until it is set, `SLOW` is being compiled."""
    event, compiled = threading.Event(), decoding.compiled

    def slow(constraint: Constraint, vocabulary: Vocabulary) -> Compiled:
        if constraint == SLOW:
            event.wait(60)
        return compiled(constraint, vocabulary)

    monkeypatch.setattr(decoding, "compiled", slow)
    yield event
    event.set()


def ask(**more: Any) -> Request:
    return Request((Message("user", "Go"),), **{"max_tokens": 3, "temperature": 0.0} | more)


async def test_others_are_answered_while_a_constraint_is_compiled(model: LlamaModel, go_on: threading.Event) -> None:
    slow = asyncio.create_task(model.complete(ask(constraint=SLOW)))
    async with asyncio.timeout(40):
        await model.complete(ask())
        assert (await model.complete(ask(constraint=sy.choice("a")))).text == "a"
    assert not slow.done()
    go_on.set()
    assert (await slow).text in {"slow", "late"}


async def test_a_request_is_cancelled_while_its_constraint_is_compiled(
    model: LlamaModel, go_on: threading.Event
) -> None:
    await model.complete(ask())
    slow = asyncio.create_task(model.complete(ask(constraint=SLOW)))
    await asyncio.sleep(0.2)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    assert not go_on.is_set()
    await model.complete(ask())
    go_on.set()
    assert (await model.complete(ask(constraint=SLOW))).text in {"slow", "late"}


async def test_a_constraint_that_is_refused_ends_its_own_request_only(
    model: LlamaModel, go_on: threading.Event
) -> None:
    go_on.set()
    deep = sy.grammar("start: " + "a" * 300_000)
    refused, answered = await asyncio.gather(
        model.complete(ask(constraint=deep)), model.complete(ask()), return_exceptions=True
    )
    assert isinstance(refused, SchemaTooLarge)
    assert not isinstance(answered, BaseException)


async def test_an_engine_closed_while_a_constraint_is_compiled_says_so(
    model: LlamaModel, go_on: threading.Event
) -> None:
    await model.complete(ask())
    slow = asyncio.create_task(model.complete(ask(constraint=SLOW)))
    await asyncio.sleep(0.2)
    closing = asyncio.create_task(asyncio.to_thread(model.close))
    await asyncio.sleep(0.2)
    go_on.set()
    await closing
    with pytest.raises(ProviderError, match="closed"):
        await slow
