"""Attempts that failed and may be billed all the same count against budgets."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import synthon as sy
from tests.core.counting import Counting, ask
from tests.models.chats import KEY, PARIS, QUESTION, USED, chat, piece
from tests.models.loopback import Heard, Reply, answering, events

if TYPE_CHECKING:
    from collections.abc import Callable

PRICE = sy.Price(1e6, 1e6)
USAGE = sy.Usage(10, output_tokens=5)
ASKED = ask("q", max_tokens=50)


def late() -> sy.ProviderTimeout:
    return sy.ProviderTimeout("late")


def down() -> sy.ProviderError:
    return sy.ProviderError("down", status=503)


def cut() -> sy.ProviderError:
    return sy.ProviderError("cut", billable=1)


@pytest.mark.parametrize("priced", ["outside", "inside"])
async def test_an_answer_after_failures_counts_what_each_that_may_be_billed_can_have_used(priced: str) -> None:
    model = Counting(fails=[late(), down(), cut()], usage=USAGE)
    journaled = (
        sy.Journaled(sy.Retrying(model, base_s=0.0), price=PRICE)
        if priced == "outside"
        else sy.Retrying(sy.Journaled(model, price=PRICE), base_s=0.0)
    )
    journal = sy.MemoryJournal()
    for billed_usd in (135.0, 0.0):
        budget = sy.Budget(usd=10_000)
        answer = await sy.run(journaled.complete, ASKED, budget=budget, journal=journal, policy="cache")
        assert answer.usage == sy.Usage(30, output_tokens=105, cost_usd=135.0, attempts=4)
        assert (budget.spent.calls, budget.spent.tokens, budget.spent.usd) == (4, 135, 135.0)
        assert budget.billed_usd == billed_usd


async def test_without_a_bound_a_lost_attempt_counts_like_the_answer() -> None:
    paid = sy.Usage(10, 4, 2, output_tokens=5, cost_usd=2.0)
    model = Counting(fails=[late(), down()], usage=paid)
    usage = (await sy.Fallback(model, model, model).complete(ask("q"))).usage
    assert usage == sy.Usage(26, 4, 2, output_tokens=10, cost_usd=4.0, attempts=3)


async def test_a_lost_attempt_counts_like_one_of_a_hedge() -> None:
    inner = Counting(fails=[cut()], usage=sy.Usage(10, output_tokens=4, attempts=2))
    assert (await sy.Retrying(inner, base_s=0.0).complete(ask("q"))).usage == sy.Usage(15, output_tokens=6, attempts=3)


@pytest.mark.parametrize(
    ("fails", "share"), [((late, late, late), 3), ((late, down, down), 1), ((down, cut, late), 2), ((down,) * 3, 0)]
)
async def test_when_all_fail_each_that_may_be_billed_counts_at_its_worst(
    fails: tuple[Callable[[], sy.ProviderError], ...], share: int
) -> None:
    worst = sy.Budget(usd=10_000)
    with pytest.raises(sy.ProviderTimeout, match="late"):
        await sy.run(sy.Journaled(Counting(fails=[late()]), price=PRICE).complete, ASKED, budget=worst)
    model = sy.Retrying(sy.Journaled(Counting(fails=[fail() for fail in fails]), price=PRICE), tries=3, base_s=0.0)
    budget = sy.Budget(usd=10_000)
    with pytest.raises(sy.ProviderError, match=r"late|down"):
        await sy.run(model.complete, ASKED, budget=budget)
    assert (budget.spent.calls, budget.spent.tokens) == (3, share * worst.spent.tokens)
    assert budget.spent.usd == pytest.approx(share * worst.spent.usd)


async def test_both_of_a_hedge_that_fails_may_be_billed() -> None:
    model = sy.Hedged(Counting(waits_s=0.03, fails=[cut(), cut()]), after_s=0.01)
    with pytest.raises(sy.ProviderError, match="cut") as caught:
        await model.complete(ask("q"))
    assert caught.value.billable == 2


@pytest.mark.parametrize(("fails", "share"), [(down, 0), (cut, 1)])
async def test_a_hedge_that_failed_by_itself_counts_what_of_it_may_be_billed(
    fails: Callable[[], sy.ProviderError], share: int
) -> None:
    asked: list[int] = []
    second, failed = asyncio.Event(), asyncio.Event()

    async def answer(_: sy.Request) -> sy.Completion:
        if not asked:
            asked.append(1)
            await second.wait()
            failed.set()
            raise fails()
        second.set()
        await failed.wait()
        await asyncio.sleep(0)
        return sy.Completion("ok", USAGE)

    model = sy.Hedged(sy.Journaled(sy.FunctionModel(answer), price=PRICE), after_s=0.01)
    usage = (await sy.run(model.complete, ASKED, journal=sy.MemoryJournal())).usage
    lost = sy.Usage(10 * share, output_tokens=50 * share, cost_usd=60.0 * share)
    assert usage == replace(USAGE, cost_usd=15.0) + lost


@pytest.mark.parametrize(
    ("reply", "billable"),
    [
        (Reply(chunks=[events(piece(content="Pa"))], cut=True), 1),
        (Reply(chunks=[events(piece(content="Pa"))]), 1),
        (Reply(chunks=[events(piece(content="Pa"), {"error": {"message": "GPU fell off"}})]), 1),
        (Reply({"choices": []}), 1),
        (Reply({"error": {"message": "busy"}}, status=503), 0),
        (Reply({"error": {"message": "late"}}, status=504), 1),
    ],
)
async def test_an_answer_that_began_may_be_billed(reply: Reply, billable: int) -> None:
    async with answering(reply, PARIS) as loopback:
        model = sy.Retrying(sy.openai("city", base_url=loopback.url, api_key=KEY), base_s=0.0)
        answer = await model.complete(QUESTION, Heard())
    assert answer.usage == USED + sy.Usage(100 * billable, output_tokens=20 * billable, attempts=1)


async def test_nobody_there_bills_nothing() -> None:
    async with answering(PARIS) as loopback:
        model = chat(loopback)
    with pytest.raises(sy.ProviderError, match="No answer from") as caught:
        await model.complete(QUESTION)
    assert caught.value.billable == 0


SPARE = Reply(
    {
        "type": "message",
        "content": [{"type": "text", "text": "aaa"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 10, "output_tokens": 5},
    }
)
BUSY = Reply({"error": {"message": "busy"}}, status=503)
BROKEN = Reply({"choices": []})


@pytest.mark.parametrize(("reply", "tries", "billed"), [(BUSY, 1, 0), (BUSY, 3, 0), (BROKEN, 2, 2)])
async def test_a_spare_that_knows_no_constraint_is_asked_without_it_and_nobody_is_asked_again(
    reply: Reply, tries: int, billed: int
) -> None:
    async with answering(reply) as first, answering(SPARE) as second:
        vllm = sy.openai("city", base_url=first.url, server="vllm", price=PRICE)
        spare = sy.anthropic("spare", base_url=second.url, api_key=KEY, price=PRICE)
        model = sy.Fallback(sy.Retrying(vllm, tries=tries, base_s=0.0), spare)
        budget = sy.Budget(calls=tries + 1, usd=10_000)
        request = replace(ASKED, constraint=sy.regex("a+", check=True))
        answer = await sy.run(model.complete, request, budget=budget, journal=sy.MemoryJournal())
        assert ("structured_outputs" in first.received[-1].body, "output_config" in second.received[-1].body) == (
            True,
            False,
        )
        assert (len(first.received), len(second.received), budget.spent.calls) == (tries, 1, tries + 1)
    assert (answer.text, answer.usage.output_tokens) == ("aaa", 5 + 50 * billed)


async def test_what_one_of_them_lacks_is_refused_before_any_is_asked() -> None:
    async with answering(BUSY) as first, answering(SPARE) as second:
        vllm = sy.openai("city", base_url=first.url, server="vllm")
        model = sy.Fallback(vllm, sy.anthropic("spare", base_url=second.url, api_key=KEY))
        budget = sy.Budget(calls=2)
        with pytest.raises(sy.Unsupported, match="lack 'grammar'"):
            await sy.run(model.complete, replace(ASKED, constraint=sy.regex("a+")), budget=budget)
        assert (first.received, budget.spent.calls) == ([], 0)


async def test_what_a_spare_refuses_counts_what_was_sent_before_it() -> None:
    async with answering(BROKEN) as first, answering(SPARE) as second:
        city = sy.Retrying(sy.openai("city", base_url=first.url, price=PRICE), tries=2, base_s=0.0)
        spare = sy.anthropic("spare", base_url=second.url, api_key=KEY, price=PRICE)
        budget = sy.Budget(usd=10_000)
        with pytest.raises(sy.Unsupported, match="know no 'seed'"):
            await sy.run(sy.Fallback(city, spare).complete, replace(ASKED, seed=1), budget=budget)
        assert (budget.spent.calls, len(first.received), len(second.received)) == (2, 2, 0)
        assert budget.spent.tokens > 2 * 50


async def test_what_a_spare_refuses_counts_both_that_a_hedge_sent_before_it() -> None:
    first = Counting(waits_s=0.03, fails=[cut(), cut()])
    async with answering(SPARE) as second:
        spare = sy.anthropic("spare", base_url=second.url, api_key=KEY)
        model = sy.Hedged(sy.Fallback(sy.Journaled(first), spare), after_s=0.01)
        budget = sy.Budget(calls=9)
        with pytest.raises(sy.Unsupported, match="know no 'seed'"):
            await sy.run(model.complete, replace(ASKED, seed=1), budget=budget)
    assert (budget.spent.calls, first.calls) == (2, 2)


async def test_a_call_that_was_never_sent_counts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    budget = sy.Budget(usd=0.5)
    with pytest.raises(sy.UserError, match="No API key"):
        await sy.run(sy.openai("gpt-4.1-mini").complete, ASKED, budget=budget, journal=sy.MemoryJournal())
    assert (budget.spent.calls, budget.spent.usd) == (0, 0.0)


async def test_an_answer_that_cannot_be_kept_counts_as_one_that_was_sent() -> None:
    reply = Reply(text='{"content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"x": NaN}}]}')
    async with answering(reply) as loopback:
        budget = sy.Budget(usd=10_000)
        model = sy.anthropic("claude", base_url=loopback.url, api_key=KEY, price=PRICE)
        with pytest.raises(sy.UserError, match="JSON cannot hold"):
            await sy.run(model.complete, ASKED, budget=budget, journal=sy.MemoryJournal())
    assert (budget.spent.calls, budget.spent.tokens > 50) == (1, True)


async def test_an_error_that_a_model_raises_again_and_again_does_not_grow() -> None:
    down = sy.ProviderError("down", status=503)

    def failing(request: sy.Request) -> str:
        raise down

    leaf = sy.FunctionModel(failing, name="leaf")
    model = sy.Fallback(sy.Retrying(leaf, tries=3, base_s=0.0), sy.Fallback(leaf, leaf))
    for _ in range(3):
        with pytest.raises(
            sy.ProviderError, match=r"^down.* Before it, 'leaf' failed: down It was tried 3 times\."
        ) as caught:
            await model.complete(sy.Request((sy.Message("user", "q"),)))
        assert (len(str(caught.value)) < 200, caught.value.status) == (True, 503)
    assert str(down) == "down"
