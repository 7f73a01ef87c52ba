"""What a search promises where its inputs are odd: other limits than calls, models without a journal, failing rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest

import synthon as sy
from synthon.evals import Case, Cases
from synthon.optimize import Ask, plan
from tests.optimize.programs import Answering, System, right, rows


def bounded(system: System) -> sy.Program[..., str]:
    """Its program with answers of a few tokens, so that few dollars pay for many calls."""
    return system.program.using({"tidy.max_tokens": 5, "label.max_tokens": 5})


@pytest.mark.parametrize("limit", [{"usd": 0.1}, {"tokens": 6_000}])
async def test_a_limit_of_money_or_tokens_pays_for_a_search_the_same_with_one_and_sixteen_workers(
    limit: dict[str, float],
) -> None:
    found = []
    for workers in (1, 16):
        budget = sy.Budget(**limit)  # type: ignore[arg-type] # one of its limits
        run = await sy.optimize(
            bounded(System()), rows(20), rows(30, 100), metric=right, budget=budget, journal=sy.MemoryJournal(),
            seed=3, workers=workers, watch=lambda _: None,
        )  # fmt: skip
        (name,) = limit
        assert getattr(budget.spent, name) <= limit[name]
        assert len(run.history.rows) > 2
        found.append(json.dumps(run.summary()))
    assert found[0] == found[1]


@pytest.mark.parametrize("limit", [{"tokens": 500}, {"usd": 0.0005}])
async def test_a_program_that_is_too_dear_does_not_end_a_search_with_one_or_sixteen_workers(
    limit: dict[str, float],
) -> None:
    def answer(request: sy.Request) -> sy.Completion:
        text = request.messages[-1].text
        return sy.Completion("question", usage=sy.Usage(input_tokens=len(text), output_tokens=1))

    model = sy.Journaled(sy.FunctionModel(answer, name="m"), price=sy.Price(1, 1))

    @sy.step(model=model, max_tokens=5, temperature=sy.knob(0.0, 0.5))
    async def kind(text: str) -> Literal["question", "statement"]:
        """Say."""
        ...

    cases = Cases(
        Case({"text": f"row {n}{end}"}, kind)
        for n in range(14)
        for end, kind in (("?", "question"), (".", "statement"))
    )
    found = []
    for workers in (1, 16):
        budget = sy.Budget(**limit)  # type: ignore[arg-type] # one of its limits
        run = await sy.optimize(
            kind, cases[:8], cases[8:], metric=right, budget=budget, journal=sy.MemoryJournal(), workers=workers,
            watch=lambda _: None,
        )  # fmt: skip
        (name,) = limit
        assert getattr(budget.spent, name) <= limit[name]
        assert run.best().quality.value == 1.0
        assert run.best().quality.n == 20
        found.append(json.dumps(run.summary()))
    assert found[0] == found[1]


async def test_where_the_calls_end_the_best_program_has_the_rows_they_still_pay_for() -> None:
    run = await sy.optimize(
        System().program, rows(20), rows(30, 100), metric=right, budget=sy.Budget(calls=150), seed=3,
        journal=sy.MemoryJournal(), watch=lambda _: None,
    )  # fmt: skip
    history = run.history
    best = history.best()
    assert best is not None
    left = 150 - run.budget.spent.calls
    assert not history.unseen(best) or history.worst_case([Ask(best, history.unseen(best, 1))]) > left


async def test_a_model_that_no_budget_sees_is_refused_at_once() -> None:
    answering = Answering("plain", 0.9)

    @sy.step(model=sy.FunctionModel(answering, name="plain"), temperature=0.0)
    async def label(text: str) -> str:
        """Say yes if it has an a, else no."""
        ...

    @sy.program
    async def answer(text: str, *, marks: int = sy.knob(1, 2, 3)) -> str:
        return await label(text + "!" * marks)

    with pytest.raises(sy.UserError, match=r"'answer' keeps no journal.*sy\.Journaled"):
        await sy.optimize(
            answer, [], rows(30), metric=right, budget=sy.Budget(calls=100), journal=sy.MemoryJournal(),
            watch=lambda _: None,
        )  # fmt: skip
    assert len(answering.asked) <= 8
    system = System()
    with pytest.raises(sy.UserError, match=r"proposer 'plain' keeps no journal"):
        await sy.optimize(
            system.program, rows(8), rows(8, 100), metric=right, budget=sy.Budget(calls=100), proposer=label.model,
            watch=lambda _: None,
        )  # fmt: skip
    assert not system.calls


async def test_rows_that_fail_are_told() -> None:
    def refused(request: sy.Request) -> sy.Completion:
        raise sy.ProviderError("401 Unauthorized")

    @sy.step(model=sy.Journaled(sy.FunctionModel(refused, name="refused")), temperature=sy.knob(0.0, 0.5))
    async def label(text: str) -> str:
        """Say yes if it has an a, else no."""
        ...

    run = await sy.optimize(
        label, [], rows(8), metric=right, budget=sy.Budget(calls=100), journal=sy.MemoryJournal(),
        watch=lambda _: None,
    )  # fmt: skip
    best = run.best()
    assert best.failures[0] == best.quality.n
    assert f"{best.quality.n} of {best.quality.n} rows failed, the first by" in str(best)
    assert "401 Unauthorized" in str(run)


async def test_a_model_that_always_fails_is_told_though_another_is_taken() -> None:
    def refused(request: sy.Request) -> sy.Completion:
        raise sy.ProviderError("401 Unauthorized")

    down = sy.Journaled(sy.FunctionModel(refused, name="down"), price=sy.Price(0, 0))

    @sy.step(model=sy.one_of(Answering("small", 1.0).model(0), down), temperature=0.0)
    async def label(text: str) -> str:
        """Say yes if it has an a, else no."""
        ...

    for program, lost in ((label, "label.model=down"), (label.using(model=down), "as it is")):
        run = await sy.optimize(
            program, [], rows(8), metric=right, budget=sy.Budget(calls=100), journal=sy.MemoryJournal(),
            watch=lambda _: None,
        )  # fmt: skip
        assert run.best().quality.value == 1.0
        assert f"warning: {lost}: all rows failed, the first by ProviderError: 401 Unauthorized" in str(run)


async def test_nearest_examples_that_nothing_gives_are_told() -> None:
    model = Answering("small", 0.0).model(1)

    @sy.step(model=model, demos=sy.knn(0, 4), temperature=0.0)
    async def tidy(text: str) -> Literal["yes", "no"]:
        """Guess."""
        ...

    @sy.step(model=model, temperature=sy.knob(0.0, 0.5))
    async def label(text: str, hint: str) -> str:
        """Say yes if it has an a, else no."""
        ...

    @sy.program
    async def answer(text: str) -> str:
        return await label(text, await tidy(text))

    planned = await plan(answer, rows(20), rows(8, 100))
    assert sorted(planned.unknown) == ["label", "tidy"]
    assert "at least 2 programs" in str(planned)
    assert "  tidy.demos, and answers without a model: from a recorded pass" in str(planned)
    run = await sy.optimize(
        answer, [], rows(8, 100), metric=right, budget=sy.Budget(calls=100), journal=sy.MemoryJournal(),
        watch=lambda _: None,
    )  # fmt: skip
    assert run.warnings == ["tidy.demos: no training row gave an example, so none is shown"]


async def test_the_luck_of_a_pick_is_that_of_the_programs_within_the_limits() -> None:
    small, large = Answering("small", 0.5), Answering("large", 1.0)

    @sy.step(model=sy.one_of(small.model(1), large.model(30)), temperature=0.0)
    async def label(text: str) -> str:
        """Say yes if it has an a, else no."""
        ...

    run = await sy.optimize(
        label, [], rows(60), metric=right, method="random", budget=sy.Budget(calls=500), journal=sy.MemoryJournal(),
        watch=lambda _: None,
    )  # fmt: skip
    whole, within = run.best(), run.best(within=sy.Limits(usd=0.0005))
    assert whole.quality.value == whole.expected == 1.0
    assert within.quality.value < 0.7
    assert within.expected == pytest.approx(within.quality.value)


async def test_a_step_is_saved_and_read_as_a_program_is(tmp_path: Path) -> None:
    @sy.step(model=sy.one_of(Answering("small", 0.2).model(1), Answering("large", 1.0).model(30)), temperature=0.0)
    async def kind(text: str) -> Literal["yes", "no"]:
        """Say yes if it has an a, else no."""
        ...

    run = await sy.optimize(
        kind, rows(8), rows(20, 100), metric=right, budget=sy.Budget(calls=200), journal=sy.MemoryJournal(),
        watch=lambda _: None,
    )  # fmt: skip
    best = run.best()
    best.save(tmp_path / "kind.json")
    again = kind.using(tmp_path / "kind.json")
    assert await again("cab") == await best("cab")
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "kind.json").read_text()


async def test_a_plan_tells_why_a_price_is_unknown_and_prices_what_a_cascade_asks() -> None:
    small, large = Answering("small", 0.5), Answering("large", 1.0)
    free = sy.Journaled(sy.FunctionModel(small, name="free"))

    async def planned(model: sy.Model) -> str:
        @sy.step(model=model, temperature=sy.knob(0.0, 0.5), max_tokens=4)
        async def label(text: str) -> Literal["yes", "no"]:
            """Say yes if it has an a, else no."""
            ...

        return str(await plan(label, [], rows(10)))

    said = await planned(sy.cascade(small.model(1), large.model(30), accept=0.5))
    assert "about 20 calls if each step asks once a row (strategies, retries and loops ask more often)" in said
    assert "about $0.1" in said
    assert "price unknown, for the model 'free' has no price" in await planned(free)


async def test_certifying_has_a_budget_of_its_own() -> None:
    system = System()
    budget = sy.Budget(calls=200)
    run = await sy.optimize(
        bounded(system), rows(10), rows(10, 100), metric=right, budget=budget, journal=sy.MemoryJournal(),
        watch=lambda _: None,
    )  # fmt: skip
    with pytest.raises(sy.BudgetExceeded):
        run.best().certify(Cases([Case({"text": "abc"}, "yes"), *rows(40, 300)]), budget=sy.Budget(calls=3))


@pytest.mark.parametrize("limit", [{"usd": 0.001}, {"usd": 0.002}, {"tokens": 1_000}])
@pytest.mark.parametrize("workers", [1, 8])
async def test_examples_of_several_steps_leave_money_and_tokens_for_a_search(
    limit: dict[str, float], workers: int
) -> None:
    @sy.step(model=Answering("note", 0.9).model(1), temperature=0.0, max_tokens=4)
    async def note(text: str) -> str:
        """Note."""
        ...

    @sy.step(model=Answering("label", 0.9).model(1), temperature=0.0, max_tokens=4)
    async def label(text: str, hint: str) -> Literal["yes", "no"]:
        """Has it an a?"""
        ...

    @sy.program
    async def noted(text: str, *, marks: int = sy.knob(1, 2)) -> str:
        return await label(text + "!" * marks, await note(text))

    budget = sy.Budget(**limit)  # type: ignore[arg-type] # one of its limits
    run = await sy.optimize(
        noted, rows(40), rows(30, 100), metric=right, budget=budget, journal=sy.MemoryJournal(), workers=workers,
        embedder="wordllama-256", watch=lambda _: None,
    )  # fmt: skip
    assert run.best().quality.n >= 4
    assert "label.demos" in run.tuning.sets
    assert (budget.spent.usd if "usd" in limit else budget.spent.tokens) <= next(iter(limit.values()))
