"""Programs over cases: scores, prices, failures, budgets."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest

import synthon as sy
from synthon.evals import Measured, overlap
from synthon.journal import tree


def answer(request: sy.Request) -> sy.Completion:
    text = request.messages[-1].text
    if "boom" in text:
        raise sy.ProviderError("out of order", retryable=False)
    return sy.Completion("yes" if "good" in text else "no", usage=sy.Usage(input_tokens=10, output_tokens=1))


@sy.step
async def judge_it(text: str) -> str:
    """Say yes or no."""
    ...


@sy.program
async def opinion(text: str) -> str:
    return await judge_it(text)


CASES = sy.Cases(
    [
        sy.Case({"text": "good"}, "yes", {"kind": "a"}),
        sy.Case({"text": "bad"}, "yes", {"kind": "b"}),
        sy.Case({"text": "boom"}, "no"),
    ]
)


def exact(case: sy.Case[str], output: str) -> float:
    return float(output == case.expected)


def model() -> tuple[sy.Journaled, list[str]]:
    seen: list[str] = []

    def say(request: sy.Request) -> sy.Completion:
        seen.append(request.messages[-1].text)
        return answer(request)

    return sy.Journaled(sy.FunctionModel(say), price=sy.Price(1.0, 2.0)), seen


async def test_a_second_evaluation_makes_no_call_and_finds_the_same() -> None:
    asked, seen = model()
    journal = sy.MemoryJournal()
    first = await sy.evaluate(opinion.using(model=asked), CASES[:2], exact, journal=journal)
    second = await sy.evaluate(opinion.using(model=asked), CASES[:2], exact, journal=journal)
    assert len(seen) == 2
    assert [row.score for row in first.rows] == [1.0, 0.0] == [row.score for row in second.rows]
    assert [row.cost_usd for row in second.rows] == [row.cost_usd for row in first.rows] == [12e-6, 12e-6]
    assert [(row.calls, row.tokens_in, row.tokens_out) for row in second.rows] == [(1, 10, 1)] * 2


async def test_a_case_that_fails_scores_nothing_and_keeps_its_error() -> None:
    asked, _ = model()
    found = await sy.evaluate(opinion.using(model=asked), CASES, exact, journal=sy.MemoryJournal())
    assert (found.rows[2].score, found.rows[2].output) == (0.0, None)
    assert found.rows[2].error.startswith("ProviderError: out of order")
    assert found.mean.value == pytest.approx(1 / 3)
    assert [case.id for case, _ in found.failures()] == [CASES[2].id, CASES[1].id]
    assert found.slices("kind")["a"].value == 1.0


async def test_a_budget_that_stops_a_case_leaves_no_score() -> None:
    asked, seen = model()
    with pytest.raises(sy.BudgetExceeded, match="calls=1"):
        await sy.evaluate(
            opinion.using(model=asked), CASES, exact, journal=sy.MemoryJournal(), budget=sy.Budget(calls=1)
        )
    assert len(seen) == 1


async def test_a_metric_that_raises_is_named_with_its_case() -> None:
    def broken(case: sy.Case[str], output: str) -> float:
        return 1 / (len(output) - len(output))

    asked, _ = model()
    with pytest.raises(sy.UserError, match=f"The metric 'broken' failed on case '{CASES[0].id}'"):
        await sy.evaluate(opinion.using(model=asked), CASES[:2], broken, journal=sy.MemoryJournal())


async def test_a_budget_that_the_program_hides_still_leaves_no_score() -> None:
    @sy.program
    async def careless(text: str) -> str:
        try:
            return await judge_it(text)
        except sy.BudgetExceeded:
            return "yes"

    asked, _ = model()
    with pytest.raises(sy.BudgetExceeded, match="went on without"):
        await sy.evaluate(
            careless.using(model=asked), CASES[:2], exact, journal=sy.MemoryJournal(), budget=sy.Budget(calls=1)
        )


async def test_a_budget_of_the_programs_own_is_its_failure() -> None:
    asked, _ = model()
    limited = opinion.using(model=sy.Budgeted(asked, sy.Budget(calls=1)))
    found = await sy.evaluate(
        limited, CASES[:2], exact, journal=sy.MemoryJournal(), workers=1, budget=sy.Budget(calls=9)
    )
    assert [row.error[:14] for row in found.rows] == ["", "BudgetExceeded"]


@pytest.mark.parametrize("inputs", [{"text": "x"}, {"rest": ["x"]}], ids=str)
async def test_a_case_cannot_name_what_is_passed_by_place_only(inputs: dict[str, Any]) -> None:
    async def loose(text: str = "", /, *rest: str, **more: object) -> str:
        return f"{text}{rest}{more}"

    with pytest.raises(sy.UserError, match=r" is not passed by name\. .* or evaluate a function around it"):
        await sy.evaluate(loose, [sy.Case(inputs, "yes")], exact, journal=sy.MemoryJournal())


async def test_what_cannot_be_measured_is_refused_before_anything_is_asked() -> None:
    asked, seen = model()
    program = opinion.using(model=asked)
    with pytest.raises(sy.UserError, match="Two metrics are called 'exact'"):
        await sy.evaluate(program, CASES, exact, metrics={"exact": sy.metrics.f1})
    with pytest.raises(sy.UserError, match="was given no case"):
        await sy.evaluate(program, [], exact)
    with pytest.raises(sy.UserError, match="policy='off', which keeps no spans"):
        await sy.evaluate(program, CASES, exact, policy="off")
    with pytest.raises(sy.UserError, match=r"gives words, and opinion\(text: .* cannot be called with that"):
        await sy.evaluate(program, [sy.Case({"words": "x"}, "yes")], exact)
    listed: Any = [sy.metrics.f1]
    with pytest.raises(sy.UserError, match=r"metrics= was given \[.*, a list\. Pass a dict of them by name"):
        await sy.evaluate(program, CASES, exact, metrics=listed)
    with pytest.raises(sy.UserError, match=r"The metric 'own' is 'f1', a str\. Pass a function of a case"):
        await sy.evaluate(program, CASES, exact, metrics={"own": cast("Any", "f1")})
    for options, problem in {
        ("workers", 0): r"workers= was given as 0\. Pass at least 1",
        ("workers", 2.5): r"workers= was given as 2\.5, a float\. Pass a whole number",
        ("workers", "8"): r"workers= was given as '8', a str",
        ("budget", 5): r"budget= was given 5, a int\. Pass sy\.Budget\(calls=\.\.\.\), or leave it out",
        ("journal", 5): r"journal= was given 5, a int\. Pass its path, or leave it out\.",
        ("run_id", 5): "run_id= was given 5, a int",
        ("watch", 5): "watch= was given 5, a int",
    }.items():
        wrong: Any = dict([options])
        with pytest.raises(sy.UserError, match=problem):
            await sy.evaluate(program, CASES, exact, **wrong)
    with pytest.raises(sy.UserError, match=r"5 is a int, no program"):
        await sy.evaluate(cast("Any", 5), CASES, exact)
    with pytest.raises(sy.UserError, match=r"'opinion' is a str, no program\. Pass a step"):
        await sy.evaluate(cast("Any", "opinion"), CASES, exact)
    rows: Any = [*CASES[:2], {"inputs": {"text": "x"}, "expected": "yes"}]
    with pytest.raises(sy.UserError, match=r"Case 2 is \{'inputs': .*, a dict\. Pass a list of sy\.Case\("):
        await sy.evaluate(program, rows, exact)
    odd: Any
    for odd in ("cases.jsonl", None, CASES[0]):
        with pytest.raises(sy.UserError, match=rf"Cases were given as .*, a {type(odd).__name__}\. Pass a list"):
            await sy.evaluate(program, odd, exact)
    assert not seen


async def test_inputs_are_arguments_by_name() -> None:
    with pytest.raises(sy.UserError, match="The metadata of a case are None, a NoneType"):
        sy.Case({"text": "x"}, "yes", None)  # type: ignore[arg-type] # that is the point
    for odd in ("a text", {1: "a text"}, None):
        with pytest.raises(sy.UserError, match=r"The inputs of a case are .* Pass the program's arguments by name"):
            sy.Case(odd, "yes")  # type: ignore[arg-type] # that is the point


@pytest.mark.parametrize("score", [np.True_, np.float32(1), np.int64(1), (np.bool_(1), ""), True, 1])
async def test_scores_of_numpy_are_scores(score: Any) -> None:
    found = await sy.evaluate(
        opinion.using(model=model()[0]), CASES[:2], lambda case, output: score, journal=sy.MemoryJournal()
    )
    assert [row.score for row in found.rows] == [1.0, 1.0]
    assert type(found.rows[0].score) is float


@pytest.mark.parametrize("policy", ["cache", "fresh"])
async def test_results_do_not_depend_on_workers_and_a_named_run_resumes(policy: sy.Policy) -> None:
    asked, seen = model()
    program, many = opinion.using(model=asked), [sy.Case({"text": f"good {n}"}, "yes") for n in range(12)]
    journal = sy.MemoryJournal()
    one = await sy.evaluate(program, many, exact, workers=1, journal=journal, policy=policy, run_id="r")
    again = await sy.evaluate(program, many, exact, workers=12, journal=journal, policy=policy, run_id="r")
    assert len(seen) == 12
    assert [(row.score, row.cost_usd, row.calls, row.run) for row in one.rows] == [
        (row.score, row.cost_usd, row.calls, row.run) for row in again.rows
    ]
    assert one.rows[3].run == "r/cases/3"


async def test_a_replay_is_priced_as_what_it_replays() -> None:
    asked, seen = model()
    program, journal = opinion.using(model=asked), sy.MemoryJournal()
    first = await sy.evaluate(program, CASES[:2], exact, journal=journal, run_id="r")
    again = await sy.evaluate(program, CASES[:2], exact, journal=journal, run_id="r", policy="replay_only")
    assert len(seen) == 2
    assert [(row.score, row.cost_usd) for row in first.rows] == [(row.score, row.cost_usd) for row in again.rows]


async def test_a_case_that_waits_for_a_person_has_no_score(tmp_path: Path) -> None:
    @sy.program
    async def ask(text: str) -> str:
        return await sy.ask_person(f"What of {text}?")

    with sy.SQLiteJournal(tmp_path / "j.db") as journal, pytest.raises(sy.Suspended, match="What of good"):
        await sy.evaluate(ask, CASES[:1], exact, journal=journal, run_id="r")


async def test_spans_written_from_threads_are_counted() -> None:
    @sy.program
    async def threaded(text: str) -> str:
        return await asyncio.to_thread(lambda: sync_judge(text))

    asked, _ = model()

    def sync_judge(text: str) -> str:
        with sy.span("thread"):
            return opinion.using(model=asked).sync(text)

    found = await sy.evaluate(threaded, CASES[:2], exact, journal=sy.MemoryJournal())
    assert [(row.output, row.calls) for row in found.rows] == [("yes", 1), ("no", 1)]


async def test_scores_and_feedback_lie_beside_the_spans(tmp_path: Path) -> None:
    def told(case: sy.Case[str], output: str) -> tuple[float, str]:
        return 0.5, f"not {output}"

    asked, _ = model()
    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        found = await sy.evaluate(
            opinion.using(model=asked),
            CASES[:1],
            exact,
            metrics={"half": told, "same": told},
            journal=journal,
            run_id="r",
        )
        assert (found.rows[0].score, found.rows[0].scores) == (1.0, {"exact": 1.0, "half": 0.5, "same": 0.5})
        assert found.rows[0].feedback == "not yes"
        (root,) = tree(journal.path, found.rows[0].run)
        assert [(each.name, each.value, each.comment) for each in journal.scores(root.span.id)] == [
            ("exact", 1.0, ""),
            ("half", 0.5, "not yes"),
            ("same", 0.5, "not yes"),
        ]


def measured(*scores: float, name: str = "p", latency_s: float = 1.0) -> sy.Evaluation:
    cases = sy.Cases(sy.Case({"n": n}, None, {"half": n % 2}) for n in range(len(scores)))
    rows = [
        Measured(score, {"exact": score}, cost_usd=0.5, latency_s=latency_s * (n + 1), calls=2)
        for n, score in enumerate(scores)
    ]
    return sy.Evaluation(name, cases, rows)


def test_a_better_program_is_told_from_an_equal_one() -> None:
    base = [0.0] * 30 + [1.0] * 70
    better = measured(*[1.0] * 20, *[0.0] * 10, *[1.0] * 70, name="new").compare(measured(*base, name="old"))
    assert (better.difference.value, better.discordant) == (0.2, 20)
    assert better.difference.low > 0.1
    assert better.p == pytest.approx(2 / 2**20)
    assert str(better).startswith("new - old: +0.200 [+0.1")
    same = measured(*base).compare(measured(*base[::-1]))
    assert same.p > 0.5
    assert "no difference that these cases show" in str(same)


def test_what_was_given_by_mistake_is_told() -> None:
    wrong: Any
    for wrong in ("x", 2.5, None):
        with pytest.raises(sy.UserError, match=rf"seed= was given as {wrong!r}, a {type(wrong).__name__}"):
            CASES.split(1, seed=wrong)
        with pytest.raises(sy.UserError, match=r"seed= was given as .* Pass a whole number"):
            measured(1.0).compare(measured(1.0), seed=wrong)
    with pytest.raises(sy.UserError, match=r"The size of a part was given as 1\.5, a float"):
        CASES.split(cast("Any", 1.5))
    with pytest.raises(sy.UserError, match=r"'p' was compared to 0\.5, a float\. Pass what sy\.evaluate returned"):
        measured(1.0).compare(cast("Any", 0.5))
    with pytest.raises(sy.UserError, match=r"Cases were given as 5, a int"):
        overlap(CASES, cast("Any", 5))


def test_programs_on_different_cases_are_not_compared() -> None:
    with pytest.raises(sy.UserError, match="evaluated on different cases"):
        measured(1.0).compare(measured(1.0, 0.0))
    with pytest.raises(sy.UserError, match=r"was not scored by 'f1'\. It has: exact"):
        measured(1.0).compare(measured(1.0), metric="f1")
    assert measured(1.0, 0.5).compare(measured(1.0, 0.0), metric="exact").difference.value == 0.25


def test_slices_need_a_key_that_is_there() -> None:
    found = measured(1.0, 0.0, 1.0, 1.0)
    assert {key: estimate.value for key, estimate in found.slices("half").items()} == {"0": 1.0, "1": 0.5}
    with pytest.raises(sy.UserError, match=r"metadata 'third'\. They have: half"):
        found.slices("third")


def test_the_table_and_the_json_hold_every_number() -> None:
    found = measured(1.0, 0.0)
    assert found.table().splitlines() == [
        "p: 2 cases, 0 failed",
        "  exact            0.500 [0.095, 0.905]",
        "  cost_usd         0.500000 [0.500000, 0.500000]",
        "  latency_s        p50 1.500 [0.000, inf], p95 1.950 [1.000, inf]",
        "  calls            2.00 [2.00, 2.00]",
        "  tokens_in        0 [0, 0]",
    ]
    shown = found.json()
    assert (shown["calls"], shown["tokens_in"]) == ([2.0, 2.0, 2.0], [0.0, 0.0, 0.0])
    assert shown["scores"] == {"exact": [0.5, pytest.approx(0.0945, abs=1e-4), pytest.approx(0.9055, abs=1e-4)]}
    assert [each["case"] for each in cast("list[dict[str, object]]", shown["failures"])] == [found.cases[1].id]
    assert found.compare(found).json()["difference"] == [
        0.0,
        pytest.approx(-0.658, abs=1e-3),
        pytest.approx(0.658, abs=1e-3),
    ]


@pytest.mark.parametrize("name", ["評価", "테스트 हिन्दी \U0001f9ec", "Ⓐ ℊ"])
def test_a_plot_has_letters_of_any_script_in_a_font_that_has_them_and_warns_of_none(tmp_path: Path, name: str) -> None:
    found = sy.Evaluation(name, sy.Cases([sy.Case({"n": 1}, 1, {"鍵": name})]), [Measured(1.0, {"exact": 1.0})])
    for ending in ("png", "svg", "pdf"):
        found.plot(tmp_path / f"x.{ending}", by="鍵")
    fonts = set(re.findall(r'<path id="([A-Za-z]+)[\w-]*-[0-9a-f]+"', (tmp_path / "x.svg").read_text()))
    assert "DejaVuSans" in fonts
    assert name != "Ⓐ ℊ" or fonts - {"DejaVuSans", "LastResortHE"}  # what draws brings these letters itself


def test_a_plot_is_written_in_the_format_that_its_name_says(tmp_path: Path) -> None:
    one, other = measured(1.0, 0.0, 0.5, name="one"), measured(0.2, 0.1, 0.9, name="other", latency_s=0.5)
    one.plot(tmp_path / "x.png", beside=[other], by="half")
    one.plot(tmp_path / "x.svg")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "x.svg").read_text()
    with pytest.raises(sy.UserError, match=r"plots end in \.png, \.svg, \.pdf"):
        one.plot(tmp_path / "x.txt")


@pytest.mark.engine
async def test_the_embedded_model_is_measured_once(tmp_path: Path) -> None:
    @sy.step(model=sy.local(), max_tokens=4)
    async def sentiment(text: str) -> Literal["good", "bad"]:
        """Say whether the text is good or bad."""
        ...

    cases = [sy.Case({"text": text}, mark) for text, mark in (("I love it.", "good"), ("I hate it.", "bad"))]
    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        cold = await sy.evaluate(sentiment, cases, sy.metrics.exact_match, journal=journal)
        budget = sy.Budget(calls=2)
        warm = await sy.evaluate(sentiment, cases, sy.metrics.exact_match, journal=journal, budget=budget)
    assert budget.billed_usd == 0.0
    assert [row.output for row in warm.rows] == [row.output for row in cold.rows]
    assert all(row.output in {"good", "bad"} and row.calls == 1 and row.tokens_in > 10 for row in warm.rows)
    for one, other in zip(cold.rows, warm.rows, strict=True):
        assert other.latency_s == pytest.approx(one.latency_s, rel=0.5)
