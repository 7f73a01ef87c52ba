"""Programs over cases: scores, prices, failures, budgets."""

from __future__ import annotations

import pytest

import synthon as sy


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
