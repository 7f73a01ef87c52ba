"""A search keeps its budget, takes one way, and gives programs that work."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Literal

import pytest

import synthon as sy
from synthon.core.saved import load
from synthon.evals import Case, Cases
from synthon.optimize import Ask, History, Limits, Optimization
from tests.optimize.programs import System, right, rows

pytestmark = pytest.mark.xdist_group("optimizing")  # its searches are made once
TRAIN, VALIDATION, TEST = rows(40), rows(60, 1000), rows(200, 2000)


async def searched(
    system: System, calls: int = 200, *, workers: int = 8, journal: sy.Journal | None = None, **more: object
) -> Optimization[[str], str]:
    return await sy.optimize(
        system.program, TRAIN, VALIDATION, metric=right, budget=sy.Budget(calls=calls), workers=workers, seed=1,
        journal=journal or sy.MemoryJournal(), embedder="wordllama-256", **more,  # type: ignore[arg-type] # tests name what they pass
    )  # fmt: skip


_found: dict[int, tuple[System, Optimization[[str], str], list[sy.Request]]] = {}


async def found(calls: int = 200) -> tuple[System, Optimization[[str], str], list[sy.Request]]:
    """A search that several tests look at, and what it asked the small model; none changes it."""
    if calls not in _found:
        system = System()
        run = await searched(system, calls)
        _found[calls] = system, run, list(system.small.asked)
    return _found[calls]


def artifact(run: Optimization[[str], str], path: Path) -> bytes:
    run.best().save(path)
    return path.read_bytes() + json.dumps(run.summary(), sort_keys=True).encode()


async def test_the_best_program_scores_higher_than_the_one_it_was_made_from_on_rows_nobody_saw() -> None:
    _, run, _ = await found(400)
    best = run.best()
    judged = await asyncio.to_thread(best.certify, TEST)
    assert judged.certificate is not None
    assert judged.certificate.verdict == "better"
    assert judged.certificate.gain.low > 0.1
    assert judged.certificate.warnings == ()
    assert "label.model=large" in best.changes or "label.demos" in best.changes
    assert await judged("aaa") in {"yes", "no"}
    assert str(best.certificate) == "None"
    assert "better: +" in str(judged)


@pytest.mark.parametrize("calls", [40, 137])
@pytest.mark.parametrize("workers", [1, 16])
async def test_a_budget_is_never_passed(calls: int, workers: int) -> None:
    system = System()
    run = await searched(system, calls, workers=workers)
    assert system.calls <= calls
    assert run.budget.spent.calls <= calls


async def test_one_worker_or_sixteen_take_the_same_way(tmp_path: Path) -> None:
    one, two = [artifact(await searched(System(), workers=workers), tmp_path / "x.json") for workers in (1, 16)]
    assert one == two


async def test_a_warm_journal_changes_nothing_and_asks_nobody(tmp_path: Path) -> None:
    journal, cold, warm = sy.MemoryJournal(), System(), System()
    first = artifact(await searched(cold, journal=journal), tmp_path / "x.json")
    again = await searched(warm, journal=journal)
    assert artifact(again, tmp_path / "x.json") == first
    assert cold.calls > 100
    assert warm.calls == 0
    assert again.budget.billed_usd == 0


async def test_what_stands_before_a_changed_step_is_not_asked_again_and_still_priced() -> None:
    _, run, asked = await found()
    tidied = [request for request in asked if "Repeat" in request.messages[0].text]
    assert len(tidied) == len({request.messages for request in tidied})
    for one in run.front:
        assert one.cost.n == one.quality.n
    point = max(run.history.rows, key=lambda each: len(run.history.rows[each]))
    assert all(row.calls == 2 for row in run.evidence[point].values())


async def test_a_program_is_saved_as_json_and_loaded_into_its_own(tmp_path: Path) -> None:
    system, run, _ = await found()
    best = run.best()
    best.save(tmp_path / "answer.json")
    loaded = system.program.using(tmp_path / "answer.json")
    assert [await loaded(case.inputs["text"]) for case in TEST[:20]] == [  # type: ignore[arg-type] # a text
        await best(case.inputs["text"]) for case in TEST[:20]  # type: ignore[arg-type] # same
    ]  # fmt: skip
    assert best.diff(loaded) == "nothing"
    assert best.diff(system.program) != "nothing"


async def test_limits_keep_dear_programs_out() -> None:
    _, free, _ = await found(400)
    dearest = max(one.cost.value for one in free.front)
    cheap = await searched(System(), 400, within=Limits(usd=dearest / 10))
    assert cheap.best().cost.value <= dearest / 10
    with pytest.raises(sy.UserError, match="No program measured keeps"):
        free.best(within=Limits(usd=0.0))


async def test_the_dial_runs_the_point_that_a_call_asks_for() -> None:
    dial = (await found(400))[1].front.dial()
    best, cheapest = dial.at(), min(dial.front, key=lambda one: one.cost.value)
    assert dial.at(cost_usd=cheapest.cost.value) is cheapest
    assert dial.at(quality=cheapest.sure) is cheapest
    assert best is dial.front[0]
    assert dial.at(quality=best.sure) is best
    assert await dial("bab", quality=best.sure) == await best("bab")
    with pytest.raises(sy.UserError, match=r"No point of 'answer' keeps quality=1\.5"):
        await dial("bab", quality=1.5)


async def test_the_front_is_drawn(tmp_path: Path) -> None:
    front = (await found())[1].front
    front.plot(tmp_path / "front.svg")
    assert "quality" in str(front)
    assert "mean score" in (tmp_path / "front.svg").read_text("utf-8") or (tmp_path / "front.svg").stat().st_size > 1000
    with pytest.raises(sy.UserError, match="cannot be drawn"):
        front.plot(tmp_path / "front.txt")


async def test_a_program_with_nothing_to_search_is_refused() -> None:
    @sy.step(model=System().small.model(1))
    async def plain(text: str) -> str:
        """Say."""
        ...

    with pytest.raises(sy.UserError, match="has nothing to search"):
        await sy.optimize(plain, [], VALIDATION, metric=right, budget=sy.Budget(calls=9), journal=sy.MemoryJournal())


async def test_models_with_and_without_a_price_cannot_be_compared() -> None:
    system = System()
    unpriced = sy.Journaled(sy.FunctionModel(system.large, name="unpriced"))
    with pytest.raises(sy.UserError, match="has no price, while others have one"):
        await searched(system, 2000, models=[unpriced])


async def test_a_budget_that_does_not_pay_for_the_program_as_it_is_says_so() -> None:
    with pytest.raises(sy.BudgetExceeded, match="Raise the limit"):
        await searched(System(), 3)


async def test_no_validation_rows_are_refused() -> None:
    system = System()
    with pytest.raises(sy.UserError, match="no validation rows"):
        await sy.optimize(system.program, TRAIN, [], metric=right, budget=sy.Budget(calls=9))


async def test_all_metrics_are_shown_and_rows_that_training_and_validation_share_are_told() -> None:
    system = System()

    def short(case: Case[str], output: str) -> float:
        return 1 / len(output)

    run = await sy.optimize(
        system.program, VALIDATION[:10], VALIDATION, metric=right, metrics={"short": short}, seed=1,
        budget=sy.Budget(calls=200), journal=sy.MemoryJournal(), embedder="wordllama-256",
    )  # fmt: skip
    scores = run.best().scores
    assert list(scores) == ["right", "short"]
    assert 1 / 3 <= scores["short"].value <= 1 / 2
    assert "warning: training: 10 pairs of cases with the same inputs" in str(run)
    assert (await searched(System(), 100)).warnings == []


async def test_an_unknown_method_is_refused_with_those_there_are() -> None:
    with pytest.raises(sy.UserError, match=r"no method 'magic'.*racing"):
        await searched(System(), method="magic")


async def test_a_closed_question_that_examples_answer_is_answered_without_a_model(tmp_path: Path) -> None:
    words = {"tea": "drink", "coffee": "drink", "juice": "drink", "bread": "food", "cheese": "food", "soup": "food"}
    told = [(f"{start} {word} {end}", kind) for word, kind in words.items() for start in ("some", "my", "a cup of")
            for end in ("please", "now", "today", "again")]  # fmt: skip
    cases = Cases(Case({"text": text}, kind) for text, kind in told)
    train, validation, test = cases.split(36, 24, 12, seed=3)
    asked: list[sy.Request] = []

    def wrong(request: sy.Request) -> str:
        asked.append(request)
        return "drink"

    @sy.step(model=sy.Journaled(sy.FunctionModel(wrong)), temperature=0.0)
    async def kind(text: str) -> Literal["drink", "food"]:
        """Say what it is."""
        ...

    run = await sy.optimize(
        kind, train, validation, metric=right, budget=sy.Budget(calls=100), journal=sy.MemoryJournal(),
        embedder="wordllama-256",
    )  # fmt: skip
    best = run.best()
    assert re.fullmatch(r"kind\.strategy=(neighbour_vote\(\d+\)|linear_probe)", best.changes)
    assert best.cost.value == 0
    assert best.quality.n == len(validation)
    before = len(asked)
    best.save(tmp_path / "kind.json")
    loaded = kind.using(load(kind.parts(), tmp_path / "kind.json"))
    assert sum([right(case, await loaded(str(case.inputs["text"]))) for case in test]) >= 11
    assert len(asked) == before


class Own:
    """A method that never asks for the default, and is not async."""

    def propose(self, history: History) -> list[Ask]:
        points = list(history.space.points())[5:7]
        return [Ask(point, history.unseen(point, 4)) for point in points if point not in history.rows]


async def test_a_method_of_ones_own_need_neither_ask_for_the_default_nor_be_async() -> None:
    run = await searched(System(), 100, method=Own())
    assert run.methods == ("Own",)
    assert next(iter(run.history.rows)) == run.tuning.space.default
    assert len(run.history.rows) == 3


@pytest.mark.parametrize("workers", [1, 16])
async def test_what_a_model_cannot_do_is_left_out_and_told(workers: int) -> None:
    small, large = System().small.model(1), System().large.model(30)

    @sy.step(model=sy.one_of(small, large), max_tokens=5, strategy=sy.one_of(sy.predict, sy.best_of(2)))
    async def label(text: str) -> str:
        """Say yes if it has an a, else no."""
        ...

    run = await sy.optimize(
        label, [], VALIDATION[:20], metric=right, budget=sy.Budget(calls=100), journal=sy.MemoryJournal(),
        workers=workers, watch=lambda _: None,
    )  # fmt: skip
    assert len(run.history.rows) == len(run.history.unfit) == 2
    assert all(point not in run.history.rows for point in run.history.unfit)
    assert len(run.warnings) == 2
    assert re.search(r"warning: left out, since it cannot be run: .*best_of.*log-probabilities", str(run))
    assert run.best().changes == "label.model=large"

    @sy.step(model=small, strategy=sy.best_of(2), max_tokens=sy.knob(5, 6))
    async def impossible(text: str) -> str:
        """Say yes if it has an a, else no."""
        ...

    with pytest.raises(sy.Unsupported, match="log-probabilities"):
        await sy.optimize(
            impossible, [], VALIDATION, metric=right, budget=sy.Budget(calls=9), journal=sy.MemoryJournal()
        )
