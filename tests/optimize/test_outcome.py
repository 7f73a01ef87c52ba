"""What a search hands over: every number with its interval, the differences that are some, and a dial."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import synthon as sy
from synthon.evals import Case
from synthon.evals.statistics import mean, quantile

if TYPE_CHECKING:
    from synthon.optimize import Optimization

exact = sy.metrics.exact_match
ROWS = [Case({"text": f"t{end}{at}{end}"}, word) for at in range(8) for end, word in (("?", "ask"), (".", "say"))]


def answer(request: sy.Request) -> sy.Completion:
    asked = request.messages[-1].text
    usage = sy.Usage(input_tokens=10 + sum(map(ord, asked)) % 3, output_tokens=1)
    return sy.Completion("ask" if "?" in asked else "say", usage=usage)


def model(price: sy.Price | None = None) -> sy.Journaled:
    return sy.Journaled(sy.FunctionModel(answer, name="m"), price=price)


async def searched(price: sy.Price | None = None) -> Optimization[[str], str]:
    @sy.step(model=model(price), temperature=sy.knob(0.0, 0.5))
    async def kind(text: str) -> str:
        """Say what it is."""
        ...

    return await sy.optimize(
        kind, [], ROWS, metric=exact, budget=sy.Budget(calls=60), journal=sy.MemoryJournal(), watch=lambda _: None
    )


async def test_a_front_and_its_programs_tell_every_number_with_its_interval() -> None:
    run = await searched(sy.Price(0.01, 0.01))
    head, *lines = str(run.front).splitlines()
    assert head.split("  ")[-2:] == ["rows", "settings"]
    assert [line.count("[") for line in (head, *lines)] == [4] * (1 + len(run.front))
    best = run.best()
    assert best.cost.low < best.cost.value < best.cost.high
    assert f"${best.cost.value:.9f} [" in str(best)  # a tenth of a millionth is shown as such
    assert (best.p50_s, best.p95_s) == (np.quantile(best.seconds, 0.5), np.quantile(best.seconds, 0.95))
    assert best.latency_s(0.95) == quantile(best.seconds, 0.95, least=0.0)
    assert f"p50 {best.latency_s(0.5)} s, p95 {best.latency_s(0.95)} s" in str(best)


async def test_costs_in_tokens_have_intervals_too() -> None:
    run = await searched()
    best = run.best()
    assert best.unit == "tokens"
    assert best.cost == mean([row.tokens_in + row.tokens_out for row in run.evidence[(0,)].values()], scores=False)
    assert f"{best.cost:.0f} tokens" in str(best)
    assert f"{best.cost:.0f}" in str(run.front)
