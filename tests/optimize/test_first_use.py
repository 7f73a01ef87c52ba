"""What a first search meets: a judge for a metric, dear rows, a dial, files, and arguments that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

import synthon as sy
from synthon.evals import Case, Cases
from synthon.optimize import Optimization, certify, plan
from tests.optimize.programs import System, right, rows

TRAIN, VALIDATION = rows(20), rows(40, 1000)


def scored(usage: sy.Usage) -> sy.Journaled:
    return sy.Journaled(
        sy.FunctionModel(lambda _: sy.Completion('{"value": 0.9}', usage=usage), name="judge"), price=sy.Price(1, 1)
    )


@sy.step(model=scored(sy.Usage(input_tokens=3, output_tokens=1)), temperature=0.0, max_tokens=20)
async def helpful(text: str, output: str) -> float:
    """Mark it from 0 to 1."""
    ...


async def marked(case: Case[str], output: str) -> float:
    return await helpful(case.inputs["text"], output)  # type: ignore[arg-type] # it is a text


async def searched(program: Any, budget: sy.Budget, **more: Any) -> Optimization[Any, str]:
    metric = more.pop("metric", right)
    return await sy.optimize(
        program, TRAIN, VALIDATION, metric=metric, budget=budget, journal=sy.MemoryJournal(), seed=1,
        embedder="wordllama-256", watch=lambda _: None, **more,
    )  # fmt: skip


@pytest.mark.parametrize("method", ["auto", "random"])
@pytest.mark.parametrize("how", ["judge", "async", "beside"])
async def test_a_judge_may_be_the_metric_and_its_calls_count(method: str, how: str) -> None:
    given: dict[str, Any] = {"judge": {"metric": sy.metrics.judge(helpful)}, "async": {"metric": marked}}
    given["beside"] = {"metrics": {"helpful": sy.metrics.judge(helpful)}}
    budget = sy.Budget(calls=150)
    run = await searched(System().program, budget, method=method, **given[how])
    assert run.front[0].quality.n >= 4
    assert budget.spent.calls <= 150
    assert pytest.approx(0.9) in [
        each.quality.value if how != "beside" else each.scores["helpful"].value for each in run.front
    ]


@pytest.mark.parametrize("method", ["auto", "random", "tpe"])
async def test_a_budget_that_pays_for_few_rows_of_a_program_that_asks_often_finds_something(method: str) -> None:
    model = System().small.model(1)

    @sy.step(model=model, temperature=0.7, strategy=sy.self_consistency(5))
    async def vote(text: str) -> Literal["yes", "no"]:
        """Say yes if it has an a, else no."""
        ...

    budget = sy.Budget(calls=50)
    run = await searched(vote, budget, method=method)
    assert run.front[0].quality.n >= 4
    assert budget.spent.calls <= 50


async def test_how_sure_a_score_is_lies_in_its_range_and_time_that_was_not_measured_is_no_limit(tmp_path: Path) -> None:
    run = await searched(System().program, sy.Budget(calls=60))
    assert all(0 <= each.sure <= 1 for each in run.front)
    with pytest.raises(sy.UserError, match=r"measured no time.*front\.dial\(\)\.at\(latency_s=0\.001\)"):
        run.best(within=sy.Limits(p95_s=0.001))
    with pytest.raises(sy.UserError, match=r"the cheapest costs \S+ usd a call\. Loosen"):
        run.best(within=sy.Limits(usd=0.0))
    for write in (run.front.plot, run.front[0].save):
        with pytest.raises(sy.UserError, match=r"cannot be written.*in a folder that is there"):
            write(tmp_path / "none" / "x.png")


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        (lambda run: run.best(within={"usd": 1}), r"within=\{'usd': 1\}\. Pass sy\.Limits"),
        (lambda run: run.best().diff("b.json"), r"given 'b\.json'\. Pass a step or a program"),
        (lambda run: run.front.dial().at(quality="a"), r"given quality='a'\. Pass a number"),
    ],
)
async def test_a_result_is_asked_for_what_it_has(call: Any, wrong: str) -> None:
    run = await searched(System().program, sy.Budget(calls=60))
    with pytest.raises(sy.UserError, match=wrong):
        call(run)


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ({"metrics": [right]}, r"metrics=\[.*Pass a dict of them by name"),
        ({"method": None}, r"method=None\. Pass a name, or what has `propose`"),
        ({"watch": "a"}, r"watch='a'\. Pass a function"),
        ({"journal": 3}, r"journal=3 is none"),
    ],
)
async def test_arguments_that_are_none_are_refused_before_a_call(more: Any, wrong: str) -> None:
    system = System()
    given = {"journal": sy.MemoryJournal(), "budget": sy.Budget(calls=60), **more}
    with pytest.raises(sy.UserError, match=wrong):
        await sy.optimize(system.program, TRAIN, VALIDATION, metric=right, **given)
    assert system.calls == 0


async def test_a_proposer_without_a_price_is_refused_under_a_budget_of_dollars() -> None:
    system, writer = System(), sy.Journaled(sy.FunctionModel(lambda _: "x", name="writer"))
    budget = sy.Budget(usd=0.01)
    with pytest.raises(sy.UserError, match=r"its proposer 'writer' has no price"):
        await searched(system.program, budget, proposer=writer)
    assert system.calls == budget.spent.calls == 0


async def test_training_rows_that_no_step_could_answer_are_told() -> None:
    @sy.step(model=System().small.model(1), temperature=0.0)
    async def label(text: str) -> Literal["yes", "no"]:
        """Say yes if it has an a, else no."""
        ...

    odd = Cases([*TRAIN[:15], *(Case(case.inputs, "Yes") for case in TRAIN[15:])])
    for train, told in ((odd, ["5 of 20 training rows"]), (TRAIN, [])):
        run = await sy.optimize(
            label, train, VALIDATION, metric=right, budget=sy.Budget(calls=40), journal=sy.MemoryJournal(),
            embedder="wordllama-256",
        )  # fmt: skip
        found = [each.partition(" have")[0] for each in run.warnings if "training rows" in each]
        assert found == told


async def test_a_second_test_set_of_the_same_ids_is_a_first_look(tmp_path: Path) -> None:
    program = System().program
    test, other = (
        [Case(case.inputs, case.expected, id=str(n)) for n, case in enumerate(rows(30, at))] for at in (0, 90)
    )
    with sy.SQLiteJournal(tmp_path / "looks.db") as journal:
        for each in (test, other):
            found = await certify(
                program.using({"answer.marks": 2}), each, against=program, metric=right, journal=journal
            )
            assert found.looks == 1
        again = await certify(program.using({"answer.marks": 3}), test, against=program, metric=right, journal=journal)
        assert again.looks == 2
        with pytest.raises(sy.UserError, match=r"known=.*Pass a dict of rows by their use"):
            await certify(program, test, against=program, metric=right, journal=journal, known=TRAIN)  # type: ignore[arg-type] # it is wrong


async def test_results_of_other_cases_or_another_metric_are_not_compared() -> None:
    async def same(text: str) -> str:
        return text

    def cases(word: str) -> list[Case[str]]:
        return [Case({"text": f"{word} {n}"}, f"{word} {n}", id=str(n)) for n in range(5)]

    one = await sy.evaluate(same, cases("a"), sy.metrics.f1, journal=sy.MemoryJournal())
    other = await sy.evaluate(same, cases("b"), sy.metrics.f1, journal=sy.MemoryJournal())
    exact = await sy.evaluate(same, cases("a"), sy.metrics.exact_match, journal=sy.MemoryJournal())
    with pytest.raises(sy.UserError, match="evaluated on different cases"):
        one.compare(other)

    async def more(text: str, hint: str) -> str:
        return text + hint

    hinted = [Case({**case.inputs, "hint": ""}, case.expected, id=case.id) for case in cases("a")]
    again = await sy.evaluate(more, hinted, sy.metrics.f1, journal=sy.MemoryJournal())
    assert one.compare(again).discordant == 0  # the same questions, told otherwise
    with pytest.raises(sy.UserError, match=r"scored by 'f1' first and .*same' by 'exact_match'\. Pass metric="):
        one.compare(exact)


async def test_a_plan_takes_cases_only() -> None:
    with pytest.raises(sy.UserError, match=r"Case 0 is \{'a': 1\}, a dict"):
        await plan(System().program, [{"a": 1}], VALIDATION)  # type: ignore[list-item] # it is wrong


@pytest.mark.parametrize("limit", [{"calls": 5.5}, {"calls": float("inf")}, {"tokens": 1.5}])
def test_a_budget_counts_whole_calls_and_tokens(limit: Any) -> None:
    with pytest.raises(sy.UserError, match="whole numbers from 0 on, usd= or"):
        sy.Budget(**limit)
    assert sy.Budget(tokens=1e6).tokens == 1_000_000  # type: ignore[arg-type] # as some write it


@pytest.mark.parametrize("given", [{"accept": "x"}, {"cheap": "small"}])
def test_a_cascade_is_made_of_models_and_a_probability(given: Any) -> None:
    models = {"cheap": System().small.model(1), "dear": System().large.model(1), "accept": 0.5, **given}
    with pytest.raises(sy.UserError, match=r"Pass (a probability|one: sy)"):
        sy.cascade(models["cheap"], models["dear"], accept=models["accept"])
