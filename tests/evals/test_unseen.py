"""Programs whose models no budget sees are refused under one, and no others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import pytest

import synthon as sy

CASES = [sy.Case({"text": f"row {n}"}, "yes") for n in range(9)]
asked: list[str] = []


def say(request: sy.Request) -> sy.Completion:
    asked.append(request.messages[-1].text)
    return sy.Completion("yes", usage=sy.Usage(input_tokens=1, output_tokens=1))


bare = sy.FunctionModel(say, name="bare", capabilities=frozenset({"chat", "logprobs"}))
kept = sy.Journaled(bare, price=sy.Price(1, 1))


@sy.step(model=bare)
async def answer(text: str) -> str:
    """Answer."""
    ...


@sy.step
async def open_one(text: str) -> str:
    """Answer."""
    ...


class Same:
    """Finds one example, whatever is asked."""

    name = "same"

    async def nearest(self, inputs: Mapping[str, object], k: int) -> Sequence[sy.Demo]:
        return [sy.Demo({"text": "row 1"}, "yes")]


@sy.step(model=bare, strategy=sy.neighbour_vote(1, Same()))
async def voted(text: str) -> Literal["yes", "no"]:
    """Answer."""
    ...


@sy.program
async def whole(text: str) -> str:
    return await answer(text)


@sy.program
async def inner(text: str) -> str:
    return await open_one(text)


journaled_inner = inner.using(model=kept)
bare_inner = inner.using(model=bare)


@sy.program
async def around(text: str) -> str:
    return await journaled_inner(text)


@sy.program
async def around_bare(text: str) -> str:
    return await bare_inner(text)


async def plain(text: str) -> str:
    return await answer(text)


async def alone(text: str) -> str:
    return "yes"


class Asker:
    async def __call__(self, text: str) -> str:
        return await kept_answer(text)


kept_answer = answer.using(model=kept)


@dataclass
class Own:
    """A model of a user's own around journaled ones."""

    inner: object
    name: str = "own"
    identity: str = "own"
    capabilities: frozenset[sy.Capability] = frozenset({"chat"})

    async def complete(self, request: sy.Request, emit: Any = None) -> sy.Completion:
        chosen: Any = self.inner[0] if isinstance(self.inner, list) else self.inner
        completion: sy.Completion = await chosen.complete(request)
        return completion


@dataclass
class Hidden:
    """A model of a user's own that asks a journaled one which nothing shows, and says so."""

    counter: object  # what it counts tokens with
    model_of: Callable[[], sy.Journaled]
    name: str = "hidden"
    identity: str = "hidden"
    capabilities: frozenset[sy.Capability] = frozenset({"chat"})
    counts: bool = True

    async def complete(self, request: sy.Request, emit: Any = None) -> sy.Completion:
        return await self.model_of().complete(request)


async def evaluated(program: Callable[..., Awaitable[str]], budget: sy.Budget | None) -> sy.Evaluation:
    return await sy.evaluate(
        program, CASES, sy.metrics.exact_match, journal=sy.MemoryJournal(), budget=budget, watch=lambda _: None
    )


@pytest.mark.parametrize(
    "program",
    [
        answer, whole, plain, partial(answer), around_bare, open_one.using(model=bare), inner.using(model=bare),
        answer.using(model=sy.Retrying(bare)), answer.using(model=sy.cascade(bare, kept, accept=0.5)),
        answer.using(model=sy.Budgeted(bare, sy.Budget(calls=99))), answer.using(model=Own([kept, bare])),
    ],
)  # fmt: skip
async def test_a_step_whose_model_keeps_no_journal_is_refused_under_a_budget(program: Any) -> None:
    asked.clear()
    with pytest.raises(
        sy.UserError, match=r"asks the model '.*(bare|own).*', which keeps no journal.*sy\.Journaled\(model"
    ):
        await evaluated(program, sy.Budget(calls=5))
    assert not asked


@pytest.mark.parametrize(
    "program",
    [
        kept_answer, whole.using({"answer.model": kept}), around, around.using(model=bare), alone, Asker(),
        open_one.using(model=kept), inner.using(model=kept), partial(kept_answer),
        *(
            answer.using(model=model)
            for model in (
                sy.Retrying(kept), sy.Fallback(kept, bare), sy.Budgeted(kept, sy.Budget(calls=99)), Own(kept),
                Own([kept, kept]), Hidden(bare, lambda: kept), replace(bare, counts=True),
                sy.Hedged(sy.Timed(kept, timeout_s=9.0), after_s=9.0), sy.best_of(1).over(kept),
            )
        ),
    ],
)  # fmt: skip
async def test_what_a_journal_sees_is_not_refused(program: Any) -> None:
    found = await evaluated(program, sy.Budget(calls=99))
    assert not any("keeps no journal" in row.error for row in found.rows)


async def test_without_a_budget_nothing_is_refused_nor_is_a_step_that_asks_no_model() -> None:
    assert (await evaluated(answer, None)).mean.value == 1.0
    asked.clear()
    assert (await evaluated(voted, sy.Budget(calls=5))).mean.value == 1.0
    assert not asked


@sy.program
async def mixed(text: str) -> str:
    await journaled_inner(text)
    return await bare_inner(text)


async def test_a_step_that_one_of_two_programs_sets_to_a_bare_model_is_stopped_before_that_is_asked() -> None:
    budget = sy.Budget(calls=6)
    asked.clear()
    with pytest.raises(
        sy.UserError, match="'open_one' runs under a budget and asks 'bare', whose calls no budget sees"
    ):
        await evaluated(mixed, budget)
    assert len(asked) == budget.spent.calls


@pytest.mark.parametrize("program", [answer, whole, mixed, bare_inner])
async def test_no_run_under_a_budget_asks_a_model_that_it_does_not_see(program: Any) -> None:
    budget = sy.Budget(calls=1)
    asked.clear()
    with pytest.raises(sy.UserError, match=r"whose calls no budget sees.*sy\.Journaled\(model"):
        await sy.run(program, "row", budget=budget)
    assert len(asked) == budget.spent.calls
    assert await sy.run(whole, "row") == "yes"


async def test_who_counts_under_the_budget_already_may_evaluate_what_asks_nobody() -> None:
    budget = sy.Budget(calls=5)

    @sy.program
    async def search(program: Callable[..., Awaitable[str]]) -> float:
        return (await evaluated(program, budget)).mean.value

    assert await sy.run(search, voted, budget=budget, journal=sy.MemoryJournal()) == 1.0
    for outer in (budget, sy.Budget(calls=5)):
        with pytest.raises(sy.UserError, match="keeps no journal"):
            await sy.run(search, answer, budget=outer, journal=sy.MemoryJournal())
