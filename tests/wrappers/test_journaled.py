"""A journaled model: its rows, its bill, and what it leaves as it is."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

import synthon as sy
from tests.core.counting import Counting, ask

PRICE = sy.Price(1e6, 2e6)


class Cool(Counting):
    """Greedy where a request names no temperature, as the embedded engine is."""

    temperature = 0.0


def test_a_journaled_model_is_called_what_its_model_is_called() -> None:
    model = sy.Journaled(Counting("m"))
    assert (model.name, model.identity) == ("m", "m")
    assert model.capabilities == {"chat"}


async def test_a_model_that_is_greedy_by_default_has_one_sample_for_such_requests() -> None:
    wraps: list[Callable[[sy.Model], sy.Model]] = [
        lambda model: model,
        lambda model: sy.Retrying(sy.Timed(model, timeout_s=9)),
        lambda model: sy.Fallback(model, sy.Journaled(Cool("other"), price=PRICE)),
        lambda model: sy.Fallback(model, sy.Journaled(Counting("other"))),
    ]
    for wrap, samples in zip(wraps, ([0], [0], [0], [0, 1]), strict=True):
        cool = Cool()
        model = wrap(sy.Journaled(cool, price=PRICE))

        async def twice(model: sy.Model = model) -> None:
            for _ in range(2):
                await model.complete(ask("q", temperature=None))

        await sy.run(twice, journal=sy.MemoryJournal())
        assert [request.sample for request in cool.seen] == samples


async def test_a_request_reaches_the_model_as_it_was_but_for_its_sample() -> None:
    model = Counting()
    request = ask("q", temperature=0.7, max_tokens=9)

    async def twice() -> None:
        for _ in range(2):
            await sy.Journaled(model).complete(request)

    for policy in ("off", "fresh"):
        await sy.run(twice, policy=policy, journal=sy.MemoryJournal())
    assert model.seen[0] == request
    assert [seen.sample for seen in model.seen] == [0, 1, 0, 1]


@pytest.mark.parametrize("policy", ["off", "fresh"])
async def test_a_price_makes_a_cost_and_a_cost_of_the_providers_own_stays(policy: sy.Policy) -> None:
    for usage, cost in ((sy.Usage(1, output_tokens=2), 5.0), (sy.Usage(1, output_tokens=2, cost_usd=0.5), 0.5)):
        model = sy.Journaled(Counting(usage=usage), price=PRICE)
        told = await sy.run(model.complete, ask("q"), policy=policy, journal=sy.MemoryJournal())
        assert told.usage.cost_usd == cost
    unpriced = await sy.run(sy.Journaled(Counting()).complete, ask("q"), policy=policy, journal=sy.MemoryJournal())
    assert unpriced.usage.cost_usd is None


async def test_a_call_outside_of_a_run_is_a_run_of_one_call_in_the_default_journal() -> None:
    model = Counting()
    for _ in range(2):
        await sy.Journaled(model).complete(ask("q"))
    assert model.calls == 2
    journal = sy.default_journal()
    assert journal is not None
    journal.flush()


async def test_keys_and_headers_have_no_place_in_a_row() -> None:
    """A row holds the model's identity and the request, nothing else of the model."""
    model = Counting("m")
    model.api_key = "sk-secret"  # type: ignore[attr-defined] # what an endpoint would hold
    journal = sy.MemoryJournal()
    await sy.run(sy.Journaled(model).complete, ask("q"), journal=journal)
    assert "sk-secret" not in repr(journal.records)


@pytest.mark.parametrize("most", [-1, 0, -100_000, 2.5, "5"])
@pytest.mark.parametrize("limit", [{"tokens": 200}, {"usd": 0.001}, {"calls": 1}])
async def test_max_tokens_that_bounds_nothing_is_refused(most: int, limit: dict[str, float]) -> None:
    model, budget = Counting(), sy.Budget(**limit)  # type: ignore[arg-type] # a limit by its name
    with pytest.raises(sy.UserError, match="a whole number from 1 on"):
        await sy.run(sy.Journaled(model, price=PRICE).complete, ask("q", max_tokens=most), budget=budget)
    assert (model.calls, budget.spent.calls, budget.reserved.tokens) == (0, 0, 0)


@pytest.mark.parametrize("price", [(0.4, 1.6), 0.4, "cheap", {"input_usd": 0.4}])
def test_what_is_no_price_is_refused_before_anything_is_paid_for(price: Any) -> None:
    with pytest.raises(sy.UserError, match=r"'counting' was given price=.*Pass sy\.Price\(input_usd="):
        sy.Journaled(Counting(), price=price)
    with pytest.raises(sy.UserError, match=r"'m' was given price=.*Pass sy\.Price\(input_usd="):
        sy.openai("m", price=price)


@pytest.mark.parametrize("part", [Decimal("0.4"), "0.40", 0.4])
async def test_a_price_of_another_kind_of_number_keeps_the_answer(part: Any) -> None:
    model, journal = sy.Journaled(Counting(), price=sy.Price(part, part, part)), sy.MemoryJournal()
    answer = await sy.run(model.complete, ask("q"), journal=journal)
    assert answer.usage.cost_usd == pytest.approx(0.8e-6)
    assert model.price == sy.Price(0.4, 0.4, 0.4)


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), 10**400, "cheap", None, (1,)])
def test_a_price_is_a_number_from_0_on(wrong: Any) -> None:
    for parts in ((wrong, 1), (1, wrong), (1, 1, 1, wrong or -1)):
        with pytest.raises(sy.UserError, match="a number from 0 on"):
            sy.Price(*parts)
