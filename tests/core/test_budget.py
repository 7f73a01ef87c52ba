"""A budget is never passed, everything reserved is settled, and concurrency does not change the result."""

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest

import synthon as sy
from synthon.core.budget import Amount, reserve, settle
from tests.core.counting import Counting, ask, until

PRICE = sy.Price(1.0, 2.0)


async def asked(model: sy.Model, texts: list[str], width: int) -> list[sy.Completion | BaseException]:
    gate = asyncio.Semaphore(width)

    async def one(text: str) -> sy.Completion:
        async with gate:
            return await model.complete(ask(text, max_tokens=10))

    return await asyncio.gather(*(one(text) for text in texts), return_exceptions=True)


def texts(n: int) -> list[str]:
    return [f"question {at}" for at in range(n)]


# ---------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("width", [1, 3, 16, 40])
async def test_waiting_makes_the_result_independent_of_concurrency(width: int) -> None:
    """Calls that reserve two attempts and use one: all eight fit, however many are in flight."""
    model = Counting(waits_s=0.001)
    budget = sy.Budget(calls=9)
    told = await sy.run(asked, sy.Journaled(sy.Retrying(model, tries=2)), texts(20), width, budget=budget)
    answered = [at for at, answer in enumerate(told) if isinstance(answer, sy.Completion)]
    assert answered == list(range(8))
    assert model.calls == 8
    assert (budget.spent.calls, budget.reserved) == (8, Amount())


async def test_a_call_that_can_never_fit_is_refused_and_says_what_was_spent_where() -> None:
    model = sy.Journaled(Counting())

    @sy.step(temperature=0.0, model=model)
    async def answer(text: str) -> str:
        """Answer."""
        ...

    @sy.step(temperature=0.0, model=model)
    async def verdict(text: str) -> str:
        """Judge."""
        ...

    async def work() -> None:
        await answer("a")
        await answer("b")
        await verdict("a")
        await verdict("b")

    budget = sy.Budget(calls=3)
    with pytest.raises(
        sy.BudgetExceeded, match=r"limit calls=3 stops a call of step 'verdict'.*Raise the limit"
    ) as caught:
        await sy.run(work, budget=budget)
    assert caught.value.limit == "calls=3"
    assert "answer: 2 calls, 4 tokens" in caught.value.spent
    assert "verdict: 1 calls, 2 tokens" in caught.value.spent
    assert repr(budget) == "Budget(calls=3; spent 3 calls, 6 tokens)"


async def test_nothing_is_sent_under_a_budget_of_nothing() -> None:
    for budget in (sy.Budget(calls=0), sy.Budget(tokens=0), sy.Budget(usd=0.0), sy.Budget(minutes=0)):
        model = Counting()
        with pytest.raises(sy.BudgetExceeded, match="nothing yet"):
            await sy.run(sy.Journaled(model, price=PRICE).complete, ask("q", max_tokens=5), budget=budget)
        assert model.calls == 0


@pytest.mark.parametrize("given_", [{}, {"calls": -1}, {"usd": math.nan}, {"tokens": 5, "minutes": -0.1}, {"usd": "1"}])
def test_a_budget_that_limits_nothing_is_refused(given_: dict[str, Any]) -> None:
    with pytest.raises(sy.UserError, match=r"sets no usable limit. Pass"):
        sy.Budget(**given_)


async def test_tokens_and_dollars_are_counted_as_used() -> None:
    model = sy.Journaled(Counting(usage=sy.Usage(100, output_tokens=20)), price=PRICE)
    budget = sy.Budget(tokens=10_000, usd=1.0, calls=50)
    await sy.run(asked, model, texts(3), 3, budget=budget)
    assert budget.spent == pytest.approx((3, 360, 3 * 140e-6))
    assert budget.billed_usd == pytest.approx(3 * 140e-6)
    assert budget.reserved == pytest.approx((0, 0, 0.0), abs=1e-12)


async def test_a_token_budget_admits_by_the_worst_case() -> None:
    """A request of 500 bytes that may answer 1,000 tokens does not fit in 1,200, though it would use 2."""
    model = Counting()
    request = ask("x" * 500, max_tokens=1000)
    with pytest.raises(sy.BudgetExceeded, match="tokens=1200"):
        await sy.run(sy.Journaled(model).complete, request, budget=sy.Budget(tokens=1200))
    await sy.run(sy.Journaled(model).complete, request, budget=sy.Budget(tokens=1600))
    assert model.calls == 1


@pytest.mark.parametrize("budget", [{"tokens": 10**6}, {"usd": 9.0}])
async def test_a_token_or_dollar_budget_needs_max_tokens(budget: dict[str, float]) -> None:
    with pytest.raises(sy.UserError, match=r"needs max_tokens.*Pass max_tokens="):
        await sy.run(sy.Journaled(Counting(), price=PRICE).complete, ask("q"), budget=sy.Budget(**budget))  # type: ignore[arg-type] # a number


async def test_a_dollar_budget_needs_a_price() -> None:
    with pytest.raises(sy.UserError, match=r"price of 'counting', which is unknown. Pass price="):
        await sy.run(sy.Journaled(Counting()).complete, ask("q", max_tokens=5), budget=sy.Budget(usd=1.0))


async def test_a_token_budget_cannot_bound_an_image_by_url() -> None:
    picture = sy.Request((sy.Message("user", (sy.Image(url="http://127.0.0.1/x.png"),)),), max_tokens=5)
    with pytest.raises(sy.UserError, match=r"cannot bound an image given by URL.*Pass the image's data"):
        await sy.run(sy.Journaled(Counting()).complete, picture, budget=sy.Budget(tokens=10**6))


async def test_the_worst_case_holds_tools_constraints_extra_and_every_continuation() -> None:
    turn = (sy.Message("user", (sy.Text("x" * 100),)),)
    tools = (sy.ToolSpec("add", "y" * 100, "{}"),)
    cases = [
        (sy.Request(turn, max_tokens=10), 110),
        (sy.Request(turn, max_tokens=10, tools=tools), 1234),
        (sy.Request(turn, max_tokens=10, constraint=sy.Schema(f'{{"title":"{"z" * 300}"}}', check=True)), 410),
        (sy.Request(turn, max_tokens=10, extra=f'{{"documents":["{"z" * 300}"]}}'), 420),
        (sy.Request(turn, max_tokens=10, extra='{"tools":[{"name":"add"}]}'), 1160),
        (sy.Request(turn, continuations=("a" * 50, "b" * 50)), 300),
    ]
    for request, least in cases:
        with pytest.raises(sy.BudgetExceeded, match=f"tokens={least}"):
            await sy.run(sy.Journaled(Counting()).complete, request, budget=sy.Budget(tokens=least))
        await sy.run(sy.Journaled(Counting()).complete, request, budget=sy.Budget(tokens=3 * least + 1500))


# ---------------------------------------------------------------------------------------------- what counts


@pytest.mark.parametrize("calls", [3, 4])
async def test_a_warm_run_takes_the_same_way_as_a_cold_one(calls: int) -> None:
    journal = sy.MemoryJournal()
    model = Counting(usage=sy.Usage(10, output_tokens=5))
    journaled = sy.Journaled(model, price=PRICE)
    ways: list[list[type]] = []
    for bill in (calls * 20e-6, 0.0):
        budget = sy.Budget(calls=calls)
        told = await sy.run(asked, journaled, texts(6), 2, budget=budget, journal=journal, policy="cache")
        ways.append([type(answer) for answer in told])
        assert budget.spent == pytest.approx((calls, calls * 15, calls * 20e-6))
        assert budget.billed_usd == pytest.approx(bill)
    assert ways[0] == ways[1]
    assert model.calls == calls


async def test_a_hit_never_passes_a_budget_though_its_row_took_more_attempts_than_would_fit() -> None:
    model = Counting(fails=[sy.ProviderError("1"), sy.ProviderError("2")])
    bare, journal = sy.Journaled(model), sy.MemoryJournal()
    await sy.run(sy.Retrying(bare, tries=3, base_s=0.0).complete, ask("q"), journal=journal, policy="cache")
    budget = sy.Budget(calls=1)
    assert (await sy.run(bare.complete, ask("q"), journal=journal, policy="cache", budget=budget)).usage.attempts == 3
    assert budget.spent.calls == 1


async def test_a_joined_call_counts_what_its_row_cost_and_bills_nothing() -> None:
    model = Counting(waits_s=0.01)
    budget = sy.Budget(calls=50)
    await sy.run(asked, sy.Journaled(model, price=PRICE), ["q"] * 5, 5, budget=budget, journal=sy.MemoryJournal())
    assert model.calls == 1
    assert budget.spent.calls == 5
    assert budget.billed_usd == pytest.approx(3e-6)


async def test_every_attempt_of_a_retry_counts() -> None:
    fails = [sy.ProviderError("1"), None, sy.ProviderError("2"), sy.ProviderError("3"), sy.ProviderError("4")]
    model = Counting(fails=fails)
    budget = sy.Budget(calls=100)
    journaled = sy.Retrying(sy.Journaled(model), tries=3, base_s=0.0)
    told = await sy.run(asked, journaled, texts(2), 1, budget=budget)
    assert [type(answer) for answer in told] == [sy.Completion, sy.ProviderError]
    assert budget.spent.calls == model.calls == 5


async def test_both_requests_of_a_hedge_count() -> None:
    model = Counting(waits_s=0.05)
    budget = sy.Budget(calls=2)
    await sy.run(asked, sy.Hedged(sy.Journaled(model), after_s=0.01), texts(1), 1, budget=budget)
    assert budget.spent.calls == model.calls == 2
    with pytest.raises(sy.BudgetExceeded, match="may need 2 calls"):
        await sy.run(sy.Hedged(sy.Journaled(model), after_s=0.01).complete, ask("q"), budget=sy.Budget(calls=1))


async def test_a_cancelled_call_counts_its_worst_case() -> None:
    model = Counting(waits_s=30)
    budget = sy.Budget(calls=5)
    task = asyncio.create_task(sy.run(sy.Journaled(sy.Retrying(model, tries=4)).complete, ask("q"), budget=budget))
    await until(lambda: model.running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (budget.spent.calls, budget.reserved) == (4, Amount())


async def test_a_call_cancelled_while_it_waits_counts_nothing_and_lets_the_next_in() -> None:
    model = Counting(waits_s=0.1)
    journaled = sy.Journaled(model)
    budget = sy.Budget(calls=2)

    async def work() -> list[object]:
        tasks = [asyncio.create_task(sy.Retrying(journaled, tries=2).complete(ask(text))) for text in "abc"]
        await until(lambda: model.running == 1)
        tasks[1].cancel()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    told = await sy.run(work, budget=budget)
    assert [type(answer) for answer in told] == [sy.Completion, asyncio.CancelledError, sy.BudgetExceeded]
    assert (budget.spent.calls, budget.reserved) == (1, Amount())


async def test_a_failure_that_is_no_providers_counts_its_worst_case() -> None:
    budget = sy.Budget(calls=5)
    with pytest.raises(OSError, match="gone"):
        await sy.run(sy.Journaled(Counting(fails=[OSError("gone")])).complete, ask("q"), budget=budget)
    assert (budget.spent.calls, budget.reserved) == (1, Amount())


async def test_tokens_of_a_call_that_timed_out_count_at_their_worst() -> None:
    budget = sy.Budget(tokens=10_000)
    model = sy.Timed(sy.Journaled(Counting(waits_s=5)), timeout_s=0.01)
    with pytest.raises(sy.ProviderTimeout, match="did not answer"):
        await sy.run(model.complete, ask("q", max_tokens=500), budget=budget)
    assert budget.spent.calls == 1
    assert budget.spent.tokens > 500


# ---------------------------------------------------------------------------------------------- order and nesting


async def test_reservations_are_served_first_come_first_served() -> None:
    budget = sy.Budget(calls=10)
    order: list[int] = []

    async def one(number: int, amount: int) -> None:
        await reserve([budget], Amount(amount), "s")
        order.append(number)
        await asyncio.sleep(0.001)
        settle([budget], Amount(amount), Amount(), "s", 0.0)

    await asyncio.gather(*(one(number, 6 if number % 2 else 1) for number in range(8)))
    assert order == list(range(8)), "a small one does not overtake a big one that waits"
    assert budget.reserved == Amount()


async def test_one_budget_full_does_not_hold_back_those_of_another() -> None:
    one, two = sy.Budget(calls=1), sy.Budget(calls=1)
    await reserve([one], Amount(1), "s")
    waiting = asyncio.create_task(reserve([one], Amount(1), "s"))
    await asyncio.sleep(0)
    await asyncio.wait_for(reserve([two], Amount(1), "s"), 1)
    settle([one], Amount(1), Amount(), "s", 0.0)
    await waiting
    assert (one.reserved, two.reserved) == (Amount(1), Amount(1))


async def test_a_waiter_over_two_budgets_takes_both_or_none() -> None:
    one, two = sy.Budget(calls=1), sy.Budget(calls=1)
    await reserve([one], Amount(1), "s")
    both = asyncio.create_task(reserve([one, two], Amount(1), "s"))
    behind = asyncio.create_task(reserve([two], Amount(1), "s"))
    await asyncio.sleep(0.01)
    assert two.reserved == Amount(), "who came later waits behind it"
    settle([one], Amount(1), Amount(), "s", 0.0)
    await both
    settle([one, two], Amount(1), Amount(), "s", 0.0)
    await behind
    assert (one.reserved, two.reserved) == (Amount(), Amount(1))


async def test_a_grant_that_comes_with_a_cancellation_is_given_back() -> None:
    budget = sy.Budget(calls=1)
    await reserve([budget], Amount(1), "s")
    for wait in (False, True):
        task = asyncio.create_task(reserve([budget], Amount(1), "s"))
        await asyncio.sleep(0)
        settle([budget], Amount(1), Amount(), "s", 0.0)
        if wait:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0)
        assert budget.reserved == Amount()
        await reserve([budget], Amount(1), "s")


def test_a_waiter_whose_loop_is_gone_holds_nobody_up() -> None:
    budget = sy.Budget(calls=1)

    async def full() -> None:
        await reserve([budget], Amount(1), "s")

    asyncio.run(full())
    loop = asyncio.new_event_loop()
    lost = loop.create_task(reserve([budget], Amount(1), "lost"))
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    settle([budget], Amount(1), Amount(), "s", 0.0)
    asyncio.run(full())
    assert budget.reserved == Amount(1)
    lost._log_destroy_pending = False  # type: ignore[attr-defined] # noqa: SLF001 - it is destroyed pending, on purpose


async def test_nested_budgets_all_hold() -> None:
    model = Counting()
    outer, inner = sy.Budget(calls=5), sy.Budget(calls=2)

    async def work() -> list[type]:
        within = await sy.run(asked, sy.Journaled(model), texts(4), 4, budget=inner)
        after = await asked(sy.Journaled(model), texts(8), 4)
        return [type(answer) for answer in (*within, *after)]

    told = await sy.run(work, budget=outer)
    assert told.count(sy.Completion) == 5
    assert (model.calls, outer.spent.calls, inner.spent.calls) == (5, 5, 2)


async def test_a_budget_given_twice_counts_once() -> None:
    budget = sy.Budget(calls=3)
    model = Counting()

    async def work() -> None:
        await sy.run(asked, sy.Budgeted(sy.Journaled(model), budget), texts(3), 3, budget=budget)

    await sy.run(work, budget=budget)
    assert budget.spent.calls == model.calls == 3


async def test_a_budgeted_model_has_a_limit_of_its_own() -> None:
    model = Counting()
    own = sy.Budget(calls=2)
    budgeted = sy.Budgeted(sy.Journaled(model), own)
    assert (budgeted.name, budgeted.identity) == ("counting", "counting")
    assert budgeted.capabilities == {"chat"}
    await sy.run(asked, budgeted, texts(4), 2)
    assert (model.calls, own.spent.calls) == (2, 2)
    with pytest.raises(sy.BudgetExceeded, match="calls=2"):
        await budgeted.complete(ask("outside of a run"))


async def test_wrappers_of_a_budgeted_model_stand_inside_its_budget() -> None:
    model = Counting(fails=[sy.ProviderError("down")] * 2)
    own = sy.Budget(calls=3)
    retrying = sy.Retrying(sy.Budgeted(sy.Journaled(model), own), tries=3, base_s=0.0)
    assert isinstance(retrying, sy.Budgeted)
    assert isinstance(retrying.model, sy.Journaled)
    await retrying.complete(ask("q"))
    assert own.spent.calls == model.calls == 3
    with pytest.raises(sy.UserError, match=r"Put sy.Budgeted around the whole"):
        sy.Fallback(retrying, sy.Journaled(model))


async def test_a_journaled_model_inside_another_is_refused() -> None:
    model = sy.Journaled(Counting())

    @sy.step(model=model)
    async def answer(text: str) -> str:
        """Answer."""
        ...

    async def system(request: sy.Request) -> str:
        return await answer(request.messages[-1].text)

    with pytest.raises(sy.UserError, match="'counting' was called inside journaled model 'counting'"):
        await sy.run(sy.Journaled(model).complete, ask("q"), policy="off")
    whole = sy.Journaled(sy.FunctionModel(system))
    assert (await sy.run(whole.complete, ask("q"))).text == "counting says q 0"
    with pytest.raises(sy.UserError, match="both would keep and count the call"):
        await sy.run(whole.complete, ask("q"), budget=sy.Budget(calls=9))


# ---------------------------------------------------------------------------------------------- minutes


async def test_minutes_cancel_what_runs_and_start_nothing_later() -> None:
    model = Counting(waits_s=30)
    budget = sy.Budget(minutes=0.03 / 60, calls=9)

    async def work() -> list[object]:
        return [*await asked(sy.Journaled(model), texts(3), 3), *await asked(sy.Journaled(model), texts(2), 2)]

    told = await sy.run(work, budget=budget)
    assert [type(error) for error in told] == [sy.BudgetExceeded] * 5
    assert "ran out during a call of step" in str(told[0])
    assert "stops a call of step" in str(told[4])
    assert (model.calls, model.cancelled, model.running) == (3, 3, 0)
    assert budget.reserved == Amount()


async def test_minutes_leave_a_call_that_is_quick_alone() -> None:
    model = Counting(fails=[TimeoutError("its own")])
    budget = sy.Budget(minutes=1)
    with pytest.raises(TimeoutError, match="its own"):
        await sy.run(sy.Journaled(model).complete, ask("q"), budget=budget)
    await sy.run(sy.Journaled(model).complete, ask("q"), budget=budget)
    assert model.calls == 2


async def test_a_joined_call_whose_leader_ran_out_of_time_is_taken_over() -> None:
    model = Counting(waits_s=0.1)
    journaled = sy.Journaled(model)
    hasty = sy.Budgeted(journaled, sy.Budget(minutes=0.02 / 60))

    async def work() -> list[object]:
        return list(
            await asyncio.gather(hasty.complete(ask("q")), journaled.complete(ask("q")), return_exceptions=True)
        )

    told = await sy.run(work, journal=sy.MemoryJournal())
    assert [type(answer) for answer in told] == [sy.BudgetExceeded, sy.Completion]
    assert model.calls == 2


async def test_a_call_that_joined_another_keeps_its_own_deadline() -> None:
    model = Counting(waits_s=0.2)
    journaled = sy.Journaled(model)
    hasty = sy.Budgeted(journaled, sy.Budget(minutes=0.02 / 60))

    async def work() -> list[object]:
        return list(
            await asyncio.gather(journaled.complete(ask("q")), hasty.complete(ask("q")), return_exceptions=True)
        )

    told = await sy.run(work, journal=sy.MemoryJournal())
    assert [type(answer) for answer in told] == [sy.Completion, sy.BudgetExceeded]
    assert model.calls == 1


@pytest.mark.parametrize("kind", ["in memory", "on disk", "opened anew"])
async def test_a_durable_budget_that_comes_back_to_its_run_counts_its_calls_once(tmp_path: Path, kind: str) -> None:
    model = Counting(fails=[None, None, sy.ProviderError("down")])
    kept: list[sy.Journal] = []

    def journal() -> sy.Journal:
        if not kept or kind == "opened anew":
            kept.append(sy.MemoryJournal() if kind == "in memory" else sy.SQLiteJournal(tmp_path / "j.db"))
        return kept[-1]

    budget = sy.Budget(calls=9, durable=True)

    async def three() -> None:
        for text in texts(3):
            await sy.Journaled(model).complete(ask(text))

    with pytest.raises(sy.ProviderError, match="down"):
        await sy.run(three, run_id="r", journal=journal(), budget=budget)
    assert budget.spent.calls == 3
    await sy.run(three, run_id="r", journal=journal(), budget=budget)
    assert budget.spent.calls == model.calls == 4
    await sy.run(three, run_id="r", journal=journal(), budget=(other := sy.Budget(calls=9, durable=True)))
    assert (other.spent.calls, model.calls) == (4, 4)
    for each in kept:
        if isinstance(each, sy.SQLiteJournal):
            each.close()


async def test_threads_share_one_budget() -> None:
    model = Counting(waits_s=0.001)
    budget = sy.Budget(calls=10)

    def one(number: int) -> None:
        work = sy.run(asked, sy.Journaled(model), [f"{number} {text}" for text in texts(5)], 5, budget=budget)
        asyncio.run(work)

    await asyncio.gather(*(asyncio.to_thread(one, number) for number in range(6)))
    assert (model.calls, budget.spent.calls, budget.reserved) == (10, 10, Amount())
