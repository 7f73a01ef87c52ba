"""Rows and numbers at the edge: no output, scores of other scales, few cases, free calls."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import BaseModel

import synthon as sy
from synthon.evals import Case, Cases, Measured
from synthon.evals.statistics import Estimate, detectable_gain, dollars, mean, paired, permutation_p, wilson
from synthon.optimize.front import Front


class Named(BaseModel):
    name: str


CASES = Cases([Case({"place": str(at)}, {"name": "q"}) for at in range(20)])


async def find(place: str) -> Named | None:
    return None if place == "7" else Named(name="q")


@pytest.mark.parametrize("metric", [sy.metrics.fields_f1, sy.metrics.field("name")])
async def test_an_output_without_fields_is_wrong_and_stops_nothing(metric: Any) -> None:
    found = await sy.evaluate(find, CASES, metric, journal=sy.MemoryJournal(), watch=lambda _: None)
    assert [row.score for row in found.rows] == [float(at != 7) for at in range(20)]
    assert "None has no field" in found.rows[7].feedback


@pytest.mark.parametrize(
    "score", [sum([0.05] * 20), sum([0.1] * 10), 1 + 9e-10, -1e-17, Decimal("0.25"), Fraction(1, 4)]
)
async def test_a_sum_that_rounding_moves_is_a_score_and_so_is_every_number(score: Any) -> None:
    found = await sy.evaluate(
        find, CASES, lambda case, output: score, journal=sy.MemoryJournal(), watch=lambda _: None,
        metrics={"judged": sy.metrics.judge(half)},
    )  # fmt: skip
    assert {row.score for row in found.rows} == {round(float(score), 6)}
    assert len(found.failures()) == (0 if score > 0.5 else 20)
    assert found.scores["judged"].value == 1.0


async def half(output: object) -> float:
    return sum([0.05] * 20)


@pytest.mark.parametrize("score", [-0.5, 7.0])
async def test_a_score_of_another_scale_is_refused(score: float) -> None:
    with pytest.raises(sy.UserError, match=rf"it gave {score:g}; a score is in 0\.\.1"):
        await sy.evaluate(find, CASES, lambda case, output: score, journal=sy.MemoryJournal(), watch=lambda _: None)


async def test_a_case_that_costs_nothing_is_no_share_of_cases() -> None:
    free = sy.Journaled(sy.FunctionModel(lambda request: "q"), price=sy.Price(0, 0))

    @sy.step(model=free)
    async def name(place: str) -> str:
        """Name it."""
        ...

    cases = Cases([Case({"place": str(at)}, "q") for at in range(4)])
    found = await sy.evaluate(name, cases, sy.metrics.exact_match, journal=sy.MemoryJournal(), watch=lambda _: None)
    cost = found.cost_usd
    assert cost is not None
    assert (cost.value, cost.low, cost.high) == (0.0, 0.0, 0.0)
    assert (found.calls.value, found.calls.low, found.calls.high) == (1.0, 1.0, 1.0)
    assert found.mean.low < 1.0  # four right ones are no proof of always


async def test_one_case_says_what_its_numbers_can_be_and_never_nan() -> None:
    one = Cases(CASES[:1])
    found = await sy.evaluate(find, one, lambda case, output: 0.4, journal=sy.MemoryJournal(), watch=lambda _: None)
    assert found.table().splitlines()[1:3] == [
        "  <lambda>         0.400 [0.000, 1.000]",
        "  cost_usd         0.000000 [0.000000, inf]",
    ]
    assert "+0.000 [-1.000, +1.000]" in str(found.compare(found))
    assert "nan" not in found.table() + str(found.compare(found))
    assert found.json()["calls"] == [0.0, 0.0, None]
    assert paired([3.0], [9.0]) == Estimate(-6.0, -math.inf, math.inf, 1)  # of another scale


def test_small_costs_are_told_apart() -> None:
    assert dollars(Estimate(0.0123456, 0.01, 0.02, 9)) == "0.012346 [0.010000, 0.020000]"
    assert dollars(Estimate(3.14159e-7, 0.0, 4e-7, 9)) == "0.000000314 [0.000000000, 0.000000400]"
    assert dollars(Estimate(0.0, 0.0, 0.0, 9)).startswith("0.000000 ")


def test_what_few_cases_can_show() -> None:
    assert detectable_gain([1.0] * 5) == math.inf
    assert 0.3 < detectable_gain([0.0] * 6) < 1.0  # that none differ says little
    assert detectable_gain([0.0] * 600) < 0.02
    assert detectable_gain([0.0] * 600, level=0.001) > detectable_gain([0.0] * 600)
    assert mean([0.0, 0.0], scores=False).high == 0.0


async def test_a_comparison_of_few_cases_says_that_they_show_nothing() -> None:
    few = Cases(CASES[:3])
    found = await sy.evaluate(find, few, sy.metrics.fields_f1, journal=sy.MemoryJournal(), watch=lambda _: None)
    compared = found.compare(found)
    assert "so few can show none" in str(compared)
    assert json.loads(json.dumps(compared.json()))["detectable"] is None


async def test_a_picture_is_drawn_of_scores_that_rounding_moves_and_of_labels_with_dollars(tmp_path: Path) -> None:
    cases = Cases([Case({"place": str(at)}, {"name": "q"}, {"price": "$\\bad{$"}) for at in range(7)])
    found = await sy.evaluate(
        find, cases, lambda case, output: 0.7, journal=sy.MemoryJournal(), watch=lambda _: None, name="$\\bad{$"
    )
    found.plot(tmp_path / "x.svg", by="price")
    sy.Evaluation("_own", found.cases, found.rows).plot(tmp_path / "z.svg")  # a legend without it would warn
    sy.Evaluation("\0\x1b[31m\ud800", found.cases, found.rows).plot(tmp_path / "odd.svg")
    assert not {"\0", "\x1b"} & set((tmp_path / "odd.svg").read_text())  # which are no XML
    with pytest.raises(sy.UserError, match=r"gone.x\.svg' cannot be written: .*No such file.* Pass a path in a folder"):
        found.plot(tmp_path / "gone" / "x.svg")
    moved = Estimate(0.7, 0.7 + 1e-16, 0.7 - 2e-16, 7)
    assert moved.low > moved.value > moved.high
    unbounded = Estimate(0.7, 0.0, math.inf, 1)
    point: Any = SimpleNamespace(quality=moved, cost=moved, latency_s=lambda share: moved, unit="usd")
    alone: Any = SimpleNamespace(quality=moved, cost=unbounded, latency_s=lambda share: unbounded, unit="usd")
    Front([point, alone]).plot(tmp_path / "y.svg")
    assert (tmp_path / "x.svg").is_file()
    assert (tmp_path / "y.svg").is_file()


def test_what_rounding_makes_of_equal_scores_is_no_difference() -> None:
    one, other = [0.1 + 0.2] * 10, [0.3] * 10
    assert one != other
    assert permutation_p(one, other) == 1.0
    assert permutation_p([0.5, *one], [0.25, *other]) == 1.0
    assert paired(one, other) == paired(other, other)
    cases = Cases(CASES[:10])
    first, second = (sy.Evaluation("p", cases, [Measured(s, {"s": s}) for s in each]) for each in (one, other))
    assert "0 of 10 cases differ; no difference" in str(first.compare(second))
    assert permutation_p([2e-10] * 10, [1e-10] * 10) == 2 / 2**10  # of another scale: dollars
    assert permutation_p([0.3, 0.1 + 0.2] * 20, [0.0] * 40) == 2 / 2**40  # all by the same amount


def test_what_is_no_number_shows_nothing() -> None:
    with pytest.raises(sy.UserError, match=r"Scores nan and 1\.0 of case 1 have no difference"):
        permutation_p([0.5, math.nan], [0.5, 1.0])
    with pytest.raises(sy.UserError, match=r"wilson got 3 successes of n=2\. Pass 0 to n of them"):
        wilson(3, 2)


async def test_an_evaluation_under_a_path_asks_nothing_the_second_time(tmp_path: Path) -> None:
    asked: list[str] = []

    def answer(request: sy.Request) -> str:
        asked.append(request.messages[-1].text)
        return "yes"

    @sy.step(model=sy.Journaled(sy.FunctionModel(answer, name="yes")), temperature=0.0)
    async def sure(text: str) -> str:
        """Answer."""
        ...

    cases = sy.Cases(sy.Case({"text": text}, "yes") for text in "ab")
    for _ in range(2):
        found = await sy.evaluate(sure, cases, sy.metrics.exact_match, journal=tmp_path / "path.db")
        assert found.mean.value == 1.0
    assert len(asked) == 2
