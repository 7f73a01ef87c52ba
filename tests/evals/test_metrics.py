"""The ready metrics, beside the libraries and on what people write."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import synthon as sy
from synthon import metrics
from synthon.evals.grading import AnyMetric


def score(metric: AnyMetric, expected: object, output: object, **inputs: object) -> float:
    return told(metric, expected, output, **inputs)[0]


def told(metric: AnyMetric, expected: object, output: object, **inputs: object) -> tuple[float, str]:
    async def evaluated() -> sy.Evaluation:
        async def program(**_: object) -> object:
            return output

        return await sy.evaluate(program, [sy.Case(inputs, expected)], metric, journal=sy.MemoryJournal())

    row = asyncio.run(evaluated()).rows[0]
    return row.score, row.feedback


@dataclass
class Vectors:
    text: str
    numbers: Any


class Slots(BaseModel):
    city: str = ""
    people: int | None = None


@pytest.mark.parametrize(
    ("expected", "output", "right"),
    [("Card", " card\n", 1), ("card", "cards", 0), (["a", "b"], "B", 1), (3, 3, 1), ([1, 2], [1, 2], 1), ([1], [2], 0)],
)
def test_an_exact_match_overlooks_case_and_space_only(expected: object, output: object, right: float) -> None:
    assert score(metrics.exact_match, expected, output) == right


def test_a_wrong_answer_is_told_with_the_right_one() -> None:
    assert told(metrics.exact_match, "card", "refund") == (0.0, "Expected 'card', got 'refund'.")


def test_f1_counts_shared_words_and_takes_the_best_answer() -> None:
    assert score(metrics.f1, "the Eiffel Tower", "Eiffel tower!") == 1.0
    assert score(metrics.f1, ["nothing", "in Paris, France"], "Paris") == pytest.approx(2 / 4)


@given(st.text(), st.text())
def test_f1_is_symmetric_and_bounded(one: str, other: str) -> None:
    there, back = (metrics.f1(sy.Case({}, a), b) for a, b in ((one, other), (other, one)))
    assert isinstance(there, tuple)
    assert isinstance(back, tuple)
    assert there[0] == back[0]
    assert 0 <= there[0] <= 1


@pytest.mark.parametrize(
    ("module", "metric"), [("rouge_score.rouge_scorer", metrics.rouge), ("sacrebleu", metrics.bleu)]
)
def test_a_missing_library_is_named_with_its_extra(
    module: str, metric: AnyMetric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(sy.MissingExtra, match=r"not installed\. Run: pip install 'synthon\[evals\]'"):
        metric(sy.Case({}, "a"), "a")


def test_rouge_and_bleu_are_those_of_the_libraries() -> None:
    text, other = "the cat sat on the mat", "a cat was sitting on the mat"
    assert score(metrics.rouge, text, text) == score(metrics.bleu, text, text) == pytest.approx(1.0)
    # by hand: the longest common subsequence is cat on the mat, 4 of 6 and of 7 words
    assert score(metrics.rouge, text, other) == pytest.approx(2 * 4 / (6 + 7))
    assert score(partial(metrics.rouge, kind="rouge2"), text, other) == pytest.approx(2 * 2 / (5 + 6))
    assert 0 < score(metrics.bleu, text, other) < 0.5
    assert score(metrics.bleu, [text, other], other) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("expected", "output", "right"),
    [
        ("def f(x):\n    '''Say.'''\n    return x+1", "def f(x): # add\n  return (x + 1)", 1),
        ("def f(x): return x+1", "def f(x): return 1+x", 0),
        ("f(a=1, b='x')", 'f( b = "x", a=1.0 )', 1),
        ("f(1)", "f(a=1)", 0),
        ("f(1); g(2)", "[g(2), f(1)]", 1),
        ("f(1); f(1)", "f(1)", 0),
        ("f(a=(1, 2))", {"name": "f", "arguments": {"a": [1, 2]}}, 1),
        ("f(a={'k': True})", [sy.ToolCall("7", "f", '{"a": {"k": true}}')], 1),
        ([{"name": "f", "arguments": {}}], "f()", 1),
        ("f(x, y=g(1))", "f(x, y = g( 1 ))", 1),
        ("f(1)", "f(1", 0),
        ("f(1)", "x = 1", 0),
        ("f(1)", {"name": "f", "arguments": "{"}, 0),
        ("f(1)", ["x = 1"], 0),
        ("f(**{'b': 1}, a=[2.5])", "f(a=[2.5], **{'b': 1})", 1),
        ("f(g(a=1, b=2))", "f(g(b=2, a=1.0))", 1),
        ("f(g(2))", "f(g(3))", 0),
        ("f(x=[2, y])", "f(x=[2.0, y])", 1),
        ("f(x=[-2, y])", "f(x=[2.0, y])", 0),
        ("f(a=x, b=y)", "f(a=y, b=x)", 0),
        ("x = 2", "x = 2.0", 1),
        ("x = 1", "x = True", 0),
        ("y = f(a=1, b=2)", "y = f(b=2, a=1)", 1),
        ("y = f(1, 2)", "y = f(2, 1)", 0),
        ("x = 'a'", "x = u'a'", 1),
        ("f({2, 'b', 'a'})", "f({'a', 2.0, 'b'})", 1),
        ("'yes'", "'no'", 0),
        ({"name": "f", "arguments": {"x": np.int64(2)}}, "f(x=2.0)", 1),
        (r"f('\d')", r"f('\\d')", 1),
        ("f()", None, 0),
        ("f()", {"arguments": {}}, 0),
    ],
)
def test_code_and_calls_match_by_meaning(expected: object, output: object, right: float) -> None:
    assert score(metrics.ast_match, expected, output) == right


def test_fields_may_hold_arrays_and_empty_ones_do_not_count() -> None:
    one, other = {"v": np.array([1, 2]), "w": "x"}, {"v": np.array([1, 2]), "w": "y", "none": set()}
    assert score(metrics.fields_f1, one, other) == 0.5
    assert score(metrics.fields_f1, {"zero": 0, "no": False, "set": set()}, {"zero": 0, "no": False}) == 1.0


@pytest.mark.parametrize("metric", [metrics.exact_match, metrics.f1])
def test_an_accent_may_be_a_character_of_its_own(metric: AnyMetric) -> None:
    assert score(metric, "Caf\u00e9", "cafe\u0301") == 1.0
    assert score(metric, "caf\u00e9", "cafe") == 0.0


@pytest.mark.parametrize(
    "text", ["\u201cyes\u201d", "\u00abyes\u00bb", "yes\u2026", "\u00bfyes?", "yes\u3002", "'yes'"]
)
def test_f1_counts_words_without_punctuation_of_any_script(text: str) -> None:
    assert score(metrics.f1, "yes", text) == 1.0
    assert score(metrics.f1, text, "\U0001f44d") == 0.0  # a sign is no punctuation
    assert score(metrics.f1, "\u0915\u093f", "\u0915") == 0.0  # nor is a vowel that is a mark


@pytest.mark.parametrize(
    ("expected", "output", "right"),
    [
        (np.array([1, 2]), np.array([1, 2]), 1),
        ([1, 2], np.array([1, 2]), 1),
        (np.array([1, 2]), [1, 3], 0),
        (np.array([1, 2]), "1 2", 0),
        ({"v": np.array([1, 2])}, {"v": np.array([1, 2])}, 1),
        ({"v": np.array([1, 2])}, {"v": np.array([1, 3])}, 0),
        ({"v": [np.array([1, 2])]}, {"v": [np.array([1, 2]), 3]}, 0),
        (Vectors("a", np.array([1, 2])), Vectors("a", np.array([1, 2])), 1),
        (Vectors("a", np.array([1, 2])), Vectors("A", np.array([1, 2])), 0),
        ((np.array([1, 2]), np.array([3])), (np.array([1, 2]), np.array([3])), 1),
    ],
)
def test_arrays_are_the_same_where_their_numbers_are(expected: object, output: object, right: float) -> None:
    assert score(metrics.exact_match, expected, output) == right


def test_rouge_counts_words_in_any_script_and_english_ones_as_its_library_does() -> None:
    assert score(metrics.rouge, "\u65e5\u672c", "\u65e5\u672c") == 1.0
    assert score(metrics.rouge, "Grüße aus Köln", "Grüße aus Bonn") == pytest.approx(2 / 3)
    library = import_module("rouge_score.rouge_scorer").RougeScorer(["rougeL"], use_stemmer=True)
    for one, other in (("The cats' runs, well_done: 3.5%", "a cat ran well, done 3 5"), ("state-of-the-art", "state")):
        assert score(metrics.rouge, one, other) == pytest.approx(library.score(one, other)["rougeL"].fmeasure)


def test_feedback_names_missing_and_wrong_calls() -> None:
    assert told(metrics.ast_match, "f(1); g(2)", "f(1); h(3)")[1] == "Missing calls: g(2); wrong calls: h(3)."
    assert "no Python" in told(metrics.ast_match, "f(1)", "f(1")[1]
    assert told(metrics.ast_match, "f()", None)[1] == "None is no call: it needs a name and arguments."
    assert "no Python: RecursionError" in told(metrics.ast_match, "f(1)", "+".join(["1"] * 900))[1]


def test_an_expected_value_that_is_no_code_is_an_error_of_the_cases() -> None:
    with pytest.raises(sy.UserError, match=r"The metric 'ast_match' failed on case .* no Python"):
        score(metrics.ast_match, "f(", "f()")


@pytest.mark.parametrize(
    ("expected", "output", "right"),
    [
        (1234.5, "so it is 7, then 1,234.5 dollars.", 1),
        ("#### 42", 42, 1),
        (3, "3.1", 0),
        (3, "none", 0),
        (-2, "x = -2", 1),
        (-2, "x = \N{MINUS SIGN}2", 1),
        (20, "10-20", 1),
        (30, "20%-30%", 1),
        (5, "on 2024-01-05", 1),
        (-0.5, "-.5", 1),
        (1e-5, "1e-5", 1),
        ([3, 5], "3", 1),
        ([3, "five"], 3, 1),
        ([1, 200], "200", 1),
        ([1, 200], "1200", 0),
        ([1, 200], [1, 200], 0),
        (1200, [1, 200], 0),
        (1200, {"sizes": [1, 200]}, 0),
        (1200, {"size": "1,200 m"}, 1),
        (5, 10**400, 0),
        (10**400, 10**400, 1),
        (Fraction(1, 2), 0.5, 1),
        (10**400, -(10**400), 0),
    ],
)
def test_the_last_number_counts(expected: object, output: object, right: float) -> None:
    assert score(metrics.numeric(), expected, output) == right


def test_a_tolerance_may_be_a_share() -> None:
    assert score(metrics.numeric(0.05, relative=True), 200, "195") == 1.0
    assert score(metrics.numeric(0.05), 200, "195") == 0.0


@given(st.one_of(st.integers(-(10**9), 10**9), st.floats(-1e12, 1e12)))
def test_every_number_is_found_in_a_text(number: float) -> None:
    for text in (f"It is {number!r}.", f"{number:,}" if isinstance(number, int) else f"{number!r}"):
        assert metrics.numeric(1e-12, relative=True)(sy.Case({}, number), text) == (1.0, "")


def test_a_field_that_is_not_there_or_a_number_that_is_none_is_an_error_of_the_cases() -> None:
    with pytest.raises(sy.UserError, match="has no field 'town'"):
        score(metrics.field("town"), Slots(), Slots())
    with pytest.raises(sy.UserError, match="'x' has no fields"):
        score(metrics.fields_f1, "x", Slots())
    with pytest.raises(sy.UserError, match="the expected value 'x' holds no number"):
        score(metrics.numeric(), "x", 1)
    with pytest.raises(sy.UserError, match="the case has no expected text"):
        score(metrics.f1, [], "x")
    assert score(metrics.fields_f1, {"city": "Rome", "people": None}, Slots(city="rome")) == 1.0
    assert told(metrics.numeric(), [3, 5], "4")[1] == "Expected 3 or 5, got 4."
    assert told(metrics.numeric(), 3, "none")[1] == "Expected the number 3, got 'none', which holds none."


def test_a_field_is_judged_alone() -> None:
    metric = metrics.field("city")
    assert told(metric, Slots(city="Rome"), Slots(city="Bonn")) == (0.0, "city: Expected 'Rome', got 'Bonn'.")
    assert score(metrics.field("city", metrics.f1), {"city": "New York"}, Slots(city="York")) == pytest.approx(2 / 3)


def test_filled_fields_make_an_f1() -> None:
    found, feedback = told(metrics.fields_f1, Slots(city="Rome", people=2), Slots(city="Rome"))
    assert (found, feedback) == (2 / 3, "people should be 2, not None")
    assert score(metrics.fields_f1, Slots(), Slots()) == 1.0


class Opinion(BaseModel):
    score: int
    feedback: str


async def test_a_judge_is_journaled_paid_from_the_budget_and_not_part_of_the_price() -> None:
    asked: list[str] = []

    def say(request: sy.Request) -> sy.Completion:
        text = "\n".join(message.text for message in request.messages)
        asked.append(text)
        said = '{"score": 7, "feedback": "be brief"}' if "Judge" in text else "fine"
        return sy.Completion(said, usage=sy.Usage(input_tokens=10, output_tokens=1))

    model = sy.Journaled(sy.FunctionModel(say), price=sy.Price(1.0, 1.0))

    @sy.step(model=model)
    async def answer(question: str) -> str:
        """Answer."""
        ...

    @sy.step(model=model)
    async def opinion(question: str, output: str) -> Opinion:
        """Judge the output from 1 to 10."""
        ...

    cases = [sy.Case({"question": "How?"}, None), sy.Case({"question": "Why?"}, None)]
    journal, budget = sy.MemoryJournal(), sy.Budget(calls=4)
    metric = metrics.judge(opinion, best=10)
    first = await sy.evaluate(answer, cases, metric, journal=journal, budget=budget)
    assert (budget.spent.calls, len(asked)) == (4, 4)
    assert [(row.score, row.feedback, row.calls) for row in first.rows] == [(0.7, "be brief", 1)] * 2
    assert list(first.scores) == ["opinion"]
    second = await sy.evaluate(answer, cases, metric, journal=journal)
    assert len(asked) == 4
    assert [row.score for row in second.rows] == [0.7, 0.7]
    with pytest.raises(sy.BudgetExceeded, match="calls=3"):
        await sy.evaluate(answer, cases, metric, journal=journal, budget=sy.Budget(calls=3))


async def test_a_judge_that_no_budget_sees_is_refused_under_one() -> None:
    asked: list[sy.Request] = []

    def say(request: sy.Request) -> sy.Completion:
        asked.append(request)
        return sy.Completion("1")

    bare = sy.FunctionModel(say, name="bare")

    @sy.step(model=bare)
    async def rate(output: str) -> int:
        """Rate."""
        ...

    @sy.program
    async def twice(output: str) -> int:
        return await rate(output) * await rate(output)

    async def program() -> str:
        return "x"

    cases, judges = [sy.Case({}, {"a": "x"})], [metrics.judge(rate), metrics.judge(twice)]
    every: list[AnyMetric] = [*judges, metrics.field("a", judges[0])]
    for metric in every:
        with pytest.raises(
            sy.UserError, match=r"The judge '.*' asks the model 'bare'.*no budget.*sy\.Journaled\(model\)"
        ):
            await sy.evaluate(program, cases, metrics.exact_match, metrics={"own": metric}, budget=sy.Budget(calls=9))
    assert not asked
    seen = sy.Journaled(bare)
    for step in (rate.using(model=seen), twice.using({"rate.model": seen})):
        budget, journal = sy.Budget(calls=9), sy.MemoryJournal()
        found = await sy.evaluate(program, cases, metrics.judge(step), budget=budget, journal=journal)
        assert found.mean.value == 1.0
        assert budget.spent.calls > 0
    cascaded = rate.using(model=sy.cascade(seen, seen, accept=0.5))
    assert not metrics.unseen(metrics.judge(cascaded))
    assert (await sy.evaluate(program, cases, judges[0])).mean.value == 1.0


async def test_a_judge_that_asks_for_what_is_not_there_or_says_too_much_is_named() -> None:
    async def program() -> str:
        return "x"

    async def lost(color: str) -> float:
        return 1.0

    async def loud(output: str) -> float:
        return 7.0

    async def verbal(output: str) -> str:
        return "good"

    cases = [sy.Case({}, "x")]
    assert (await sy.evaluate(program, cases, metrics.judge(verbal, marks={"good": 0.5}))).mean.value == 0.5
    for step, problem in ((lost, "asks for 'color'"), (loud, r"7.0, which is not in 0..1")):
        with pytest.raises(sy.UserError, match=problem):
            await sy.evaluate(program, cases, metrics.judge(step))
    with pytest.raises(sy.UserError, match="'good', which is not among the marks"):
        await sy.evaluate(program, cases, metrics.judge(verbal, marks={"bad": 0.0}))
