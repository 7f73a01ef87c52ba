"""What a search would do is said before anybody is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest

import synthon as sy
from synthon.cli import main
from synthon.evals import Case
from synthon.guards import length
from synthon.optimize import plan
from tests.optimize.programs import Answering, System, chance, right, rows

PROGRAM = '''
import synthon as sy
from typing import Any, Literal

def answer(request: sy.Request) -> sy.Completion:
    with open({log!r}, "a") as file:
        file.write("asked\\n")
    return sy.Completion("drink" if "tea" in request.messages[-1].text else "food", sy.Usage(input_tokens=50))

@sy.step(model=sy.Journaled(sy.FunctionModel(answer), price=sy.Price(1, 2)), temperature=0.0, max_tokens=8)
async def kind(text: str) -> Literal["drink", "food"]:
    """Say what it is."""
    ...
'''


async def test_a_plan_names_the_space_and_the_most_that_it_can_cost_and_calls_nobody() -> None:
    system = System()
    planned = await plan(system.program, rows(20), rows(30, 100), budget=sy.Budget(calls=100))
    assert system.calls == 0
    assert planned.calls == 100
    assert list(planned.unknown) == ["tidy", "label"]  # which of them answers is known from a run only
    said = str(planned)
    assert "answer.marks" in said
    assert "label.model" in said
    assert "label.demos: from a recorded pass" in said
    assert "at most 100 calls" in said
    every = await plan(system.program, rows(20), rows(30, 100))
    assert every.calls == every.tuning.space.size * 30 * 2


async def test_a_step_without_a_model_is_planned_with_those_that_are_passed() -> None:
    @sy.step(temperature=0.0, max_tokens=4)
    async def label(text: str) -> str:
        """Say yes if it has an a, else no."""
        ...

    small, large = Answering("small", 0.6).model(1), Answering("large", 0.9).model(30)
    alone = await plan(label, rows(20), rows(30, 100), metric=right, budget=sy.Budget(calls=10))
    assert "for step 'label' has no model" in str(alone)
    planned = await plan(
        label, rows(20), rows(30, 100), metric=right, budget=sy.Budget(calls=10), models=[small, large]
    )
    dear = await plan(label.using(model=large), rows(20), rows(30, 100), metric=right, budget=sy.Budget(calls=10))
    assert planned.usd == dear.usd
    assert planned.usd is not None


async def test_the_worst_price_of_a_call_bounds_what_calls_cost() -> None:
    model = sy.FunctionModel(lambda request: sy.Completion("yes", sy.Usage(input_tokens=10, output_tokens=2)))

    @sy.step(model=sy.Journaled(model, price=sy.Price(100, 200)), temperature=0.0, max_tokens=4)
    async def holds(text: str) -> Literal["yes", "no"]:
        """Say whether it holds an a."""
        ...

    metric = sy.metrics.exact_match
    planned = await plan(holds, rows(20), rows(30, 100), metric=metric, budget=sy.Budget(calls=10))
    assert planned.dearest.usd is not None
    assert planned.dearest.usd > (10 * 100 + 2 * 200) / 1e6
    assert planned.usd == pytest.approx(10 * planned.dearest.usd)
    limited = await plan(holds, rows(20), rows(30, 100), budget=sy.Budget(usd=0.000001))
    assert limited.usd == 0.000001
    unpriced = holds.using(model=sy.Journaled(model))
    assert (await plan(unpriced, [], rows(30, 100), models=[sy.Journaled(model)])).usd is None


def price(usd: float, say: str = "x", tokens: int = 5000, name: str = "m") -> sy.Journaled:
    """A model of this price a token that uses up all that it may write, and reads a token for each character."""

    def answer(request: sy.Request) -> sy.Completion:
        read = sum(len(turn.text) for turn in request.messages)
        return sy.Completion(say, sy.Usage(input_tokens=read, output_tokens=min(tokens, request.max_tokens or tokens)))

    return sy.Journaled(sy.FunctionModel(answer, name=name), price=sy.Price(usd, usd))


def one(**options: Any) -> sy.Step[[str], str]:
    """A step with these options."""

    @sy.step(**{"model": price(1), "temperature": sy.knob(0.0, 0.5), **options})
    async def answer(text: str) -> str:
        """Answer it."""
        ...

    return answer


def closed() -> sy.Step[[str], Literal["yes", "no"]]:
    """A step whose model never gives one of the two answers, so that it is asked again and again."""

    @sy.step(model=sy.one_of(price(1, "perhaps", 40), price(1000, "never", 40, "dear")), max_tokens=50, retries=3)
    async def holds(text: str) -> Literal["yes", "no"]:
        """Say whether it holds an a."""
        ...

    return holds


def scored() -> sy.Step[[str], Literal["yes", "no"]]:
    """A step whose two models score the answers; it asks the dear one where the cheap one is not sure."""

    def scoring(name: str, usd: float) -> sy.Journaled:
        def answer(request: sy.Request) -> sy.Completion:
            read = sum(len(turn.text) for turn in request.messages)
            scores = tuple(sy.Score(-chance(name, text, read) - 0.1, 1) for text in request.continuations)
            return sy.Completion("", sy.Usage(input_tokens=read * len(scores) + 5), scores=scores)

        model = sy.FunctionModel(answer, name=name, capabilities=frozenset({"chat", "score"}))
        return sy.Journaled(model, price=sy.Price(usd, usd))

    dear = sy.Budgeted(scoring("dear", 50), sy.Budget(calls=10_000))

    @sy.step(model=sy.cascade(scoring("cheap", 1), dear, accept=sy.knob(0.55, 0.7)))
    async def holds(text: str) -> Literal["yes", "no"]:
        """Say whether it holds an a."""
        ...

    return holds


MIXED = [Case({"text": f"{'long ' * (number % 7)}row {number}"}, "yes") for number in range(40)]


@pytest.mark.parametrize(
    ("program", "train", "proposer"),
    [
        (one(max_tokens=sy.knob(16, 4000)), MIXED[:20], None),
        (one(max_tokens=sy.knob(16, 4000)), [], None),
        (one(max_tokens=20, model=sy.one_of(price(1), price(100, name="dear"))), MIXED[:20], None),
        (one(max_tokens=20, demos=sy.knn(0, 3, 6)), MIXED[:20], None),
        (one(max_tokens=20).using(model=price(50)), [], None),
        (one(max_tokens=20, model=None).using(model=price(50)), [], None),
        (one(max_tokens=20), MIXED[:20], price(1000, "```\nnew words\n```", name="writer")),
        (closed(), [], None),
        (scored(), MIXED[:20], None),
        (one(max_tokens=20, model=price(0)), [], None),
    ],
)
async def test_no_search_spends_more_than_its_plan_says_at_most(
    program: sy.Step[..., str], train: list[Case[str]], proposer: sy.Model | None
) -> None:
    async def bound(calls: int) -> float:
        planned = await plan(
            program, train, MIXED[20:], metric=sy.metrics.exact_match, budget=sy.Budget(calls=calls), proposer=proposer,
            embedder="wordllama-256",
        )  # fmt: skip
        assert planned.usd is not None, planned.unbounded
        assert f"at most {calls} calls; at most ${planned.usd:.6f}" in str(planned)
        return planned.usd

    budget = sy.Budget(calls=150)
    run = await sy.optimize(
        program, train, MIXED[20:], metric=sy.metrics.exact_match, budget=budget, proposer=proposer,
        journal=sy.MemoryJournal(), embedder="wordllama-256", watch=lambda _: None,
    )  # fmt: skip
    assert run.budget.spent.calls > 20
    assert run.budget.spent.usd <= await bound(run.budget.spent.calls) <= await bound(150)


async def judged(case: Case[str], output: object) -> float:
    return float(case.expected == output)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({}, "sets no max_tokens"),
        ({"max_tokens": sy.knob(None, 5)}, "sets no max_tokens"),
        ({"max_tokens": 5, "strategy": sy.one_of(sy.predict, sy.self_consistency(9))}, "asked by self_consistency"),
        ({"max_tokens": 5, "render": lambda told: [sy.Message("user", told.instruction)]}, "a function of its own"),
        ({"max_tokens": 5, "guards": [sy.guard(length(at_most=3))]}, "checks or guards"),
        ({"max_tokens": 5, "demos": sy.knn(0, 2)}, "examples that nobody knows"),
        ({"max_tokens": 5, "model": sy.FunctionModel(lambda _: sy.Completion("x"))}, "no price"),
        ({"max_tokens": 5, "model": None}, "has no model"),
    ],
)
async def test_a_plan_without_a_bound_says_why_and_never_at_most(options: dict[str, Any], why: str) -> None:
    exact = sy.metrics.exact_match
    planned = await plan(one(**options), [], MIXED, metric=exact, budget=sy.Budget(calls=100))
    assert planned.usd is None
    assert why in planned.unbounded
    said = str(planned).splitlines()[-1].partition("; ")[2]
    assert why in said
    assert "at most" not in said
    assert (await plan(one(**options), [], MIXED, metric=exact, budget=sy.Budget(usd=2.0))).usd == 2.0


async def test_a_bound_needs_a_metric_that_asks_nobody_and_a_number_of_calls() -> None:
    step, limit = one(max_tokens=5), sy.Budget(calls=100)
    assert (await plan(step, [], MIXED, budget=limit)).unbounded == "the metric is not known here"
    for metric in (judged, sy.metrics.field("answer", judged)):
        assert "may ask a model too" in (await plan(step, [], MIXED, metric=metric, budget=limit)).unbounded
    said = str(await plan(step, [], MIXED, metric=sy.metrics.exact_match, budget=sy.Budget(minutes=5)))
    assert "if all are the dearest foreseen; no upper bound known: no number of calls was given" in said
    assert (await plan(System().program, [], rows(9), metric=judged, budget=limit)).unbounded.startswith("a program")


async def test_a_picture_by_its_address_has_no_bound() -> None:
    @sy.step(model=price(1), max_tokens=5)
    async def see(picture: sy.Image) -> str:
        """Say what it is."""
        ...

    seen = [Case({"picture": sy.Image(url="https://example.org/a.png")}, "a")]
    planned = await plan(see, [], seen, metric=sy.metrics.exact_match, budget=sy.Budget(calls=9), models=[price(2)])
    assert planned.usd is None
    assert "cannot bound an image given by URL" in planned.unbounded


async def test_a_plan_foresees_the_price_of_a_step_whose_inputs_no_row_holds() -> None:
    first, dear = one(max_tokens=10), price(1000, name="dear")

    @sy.step(model=dear, max_tokens=10)
    async def second(notes: str, talk: list[sy.Message]) -> str:
        """Go on."""
        ...

    @sy.program
    async def both(text: str) -> str:
        return await second(await first(text), [sy.Message("user", text)])

    planned = await plan(both, [], MIXED[:10], metric=sy.metrics.exact_match, budget=sy.Budget(calls=100))
    run = await sy.optimize(
        both, [], MIXED[:10], metric=sy.metrics.exact_match, budget=sy.Budget(calls=100), journal=sy.MemoryJournal(),
        watch=lambda _: None,
    )  # fmt: skip
    assert planned.usd is None
    assert planned.about_usd is not None
    assert planned.about_usd > run.budget.spent.usd > 0.02


async def test_a_plan_tells_what_a_budget_of_dollars_would_refuse() -> None:
    async def refused(budget: sy.Budget, **options: Any) -> str:
        planned = await plan(one(**options), [], MIXED, budget=budget)
        assert ("  refused: " in str(planned)) == bool(planned.refused)
        return planned.refused

    assert "needs max_tokens=, which answer may ask without" in await refused(sy.Budget(usd=1.0))
    assert "needs max_tokens=" in await refused(sy.Budget(tokens=1000))
    assert not await refused(sy.Budget(calls=10))
    assert not await refused(sy.Budget(usd=1.0), max_tokens=5)
    free = sy.Journaled(sy.FunctionModel(lambda _: sy.Completion("x"), name="free"))
    assert "'free' has no price" in await refused(sy.Budget(usd=1.0), max_tokens=5, model=free)


def test_the_command_plans_searches_certifies_and_saves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"tea": "drink", "milk": "drink", "juice": "drink", "bread": "food", "cheese": "food", "soup": "food"}
    ends = ("please", "now", "today", "again", "soon", "later")
    told = [{"text": f"{start} {word} {end}", "expected": kind} for end in ends for word, kind in words.items()
            for start in ("some", "my")]  # fmt: skip
    for name, part in {"train": told[:36], "validation": told[36:60], "test": told[60:]}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in part), "utf-8")
    (tmp_path / "system.py").write_text(PROGRAM.format(log=str(tmp_path / "log")), "utf-8")
    monkeypatch.chdir(tmp_path)
    asked = ["optimize", "system.py:kind", "--train", "train.jsonl", "--validation", "validation.jsonl", "--metric",
             "exact_match", "--inputs", "text", "--journal", "j.db"]  # fmt: skip
    assert main([*asked, "--plan"]) == 0
    assert "kind.demos" in capsys.readouterr().out
    assert not (tmp_path / "log").exists()
    assert main(asked) == 1
    assert "Pass --calls, --usd or --minutes" in capsys.readouterr().err
    limit = ["--calls", "120", "--test", "test.jsonl", "--save", "best.json", "--plot", "front.svg"]
    assert main([*asked, *limit]) == 0
    said = capsys.readouterr().out
    assert "best: " in said
    assert "held-out cases" in said
    assert json.loads((tmp_path / "best.json").read_text("utf-8"))["program"] == "kind"
    assert (tmp_path / "front.svg").exists()
    spent = len((tmp_path / "log").read_text("utf-8").splitlines())
    assert spent <= 120 + 12
    first = (tmp_path / "best.json").read_bytes()
    assert main([*asked, *limit]) == 0
    assert len((tmp_path / "log").read_text("utf-8").splitlines()) == spent  # the journal knew all of it
    assert (tmp_path / "best.json").read_bytes() == first
