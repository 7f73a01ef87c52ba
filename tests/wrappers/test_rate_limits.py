"""Who waits for a rate: in what order, and on which loop."""

from __future__ import annotations

import asyncio

import pytest

import synthon as sy
from synthon.wrappers import timing
from tests.core.counting import Counting, ask


async def test_small_calls_do_not_overtake_a_large_one_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_MINUTE_S", 1.0)
    sent: list[int] = []

    def answer(request: sy.Request) -> sy.Completion:
        sent.append(request.max_tokens or 0)
        return sy.Completion("ok", usage=sy.Usage(request.max_tokens or 0))

    model = sy.RateLimited(sy.FunctionModel(answer), tokens_per_minute=100)
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for tokens in (60, 39, 95, 58, 41):  # the window is full after two; the fourth would fit before the third
            group.create_task(model.complete(ask("", max_tokens=tokens)))
            await asyncio.sleep(0.2)
    assert sent == [60, 39, 95, 58, 41]


async def test_who_waits_on_a_loop_that_stopped_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_MINUTE_S", 0.5)
    model, stopped = sy.RateLimited(Counting(), requests_per_minute=1), asyncio.new_event_loop()
    await model.complete(ask("q"))

    def left() -> asyncio.Task[sy.Completion]:
        waits = stopped.create_task(model.complete(ask("there")))
        stopped.run_until_complete(asyncio.sleep(0.05))
        return waits

    waits = await asyncio.to_thread(left)
    async with asyncio.timeout(5):
        await model.complete(ask("here"))
    assert not waits.done()
    await asyncio.to_thread(stopped.run_until_complete, waits)
    stopped.close()


@pytest.mark.parametrize("limit", [0, -1, float("nan")])
@pytest.mark.parametrize("name", ["requests_per_minute", "tokens_per_minute"])
def test_a_rate_that_is_none_is_refused(name: str, limit: float) -> None:
    with pytest.raises(sy.UserError, match=f"{name}={limit}"):
        sy.RateLimited(Counting(), **{name: limit})
