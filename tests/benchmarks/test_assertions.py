"""A row of the benchmark of assertions ends within its budget of tokens, whoever answers it."""

from __future__ import annotations

from typing import Any

import pytest

import synthon as sy
from benchmarks import assertions, datasets
from benchmarks.assertions import ARMS, BUDGET, Post, Row, ask, best, measures_of

ROW = Row("The Broncos won Super Bowl 50.", "Who won?", ("Broncos",))
GOOD, BAD = "The Broncos won.", "Go team! #win"


def saying(*texts: str, tokens: int = 10) -> sy.Model:
    said = iter(texts)
    return sy.FunctionModel(lambda _request: sy.Completion(next(said), sy.Usage(output_tokens=tokens)))


@pytest.mark.parametrize(
    ("arm", "texts", "wanted"),
    [
        ("none", [BAD], Post(BAD, 1, 10)),
        ("suggest", [GOOD], Post(GOOD, 1, 10)),
        ("suggest", [BAD, GOOD], Post(GOOD, 2, 20)),
        ("suggest", [BAD, BAD, "#"], Post("#", 3, 30)),
        ("require", [BAD, BAD, GOOD], Post(GOOD, 3, 30)),
        ("require", [BAD, BAD, BAD], Post(None, 3, 30)),
    ],
)
async def test_what_stands_follows_the_level(arm: str, texts: list[str], wanted: Post) -> None:
    assert await ask(ARMS[arm], saying(*texts), ROW) == wanted


async def test_what_comes_after_the_budget_does_not_count() -> None:
    tokens = BUDGET // 2
    late = await ask(ARMS["suggest"], saying(BAD, "#", GOOD, tokens=tokens), ROW)
    assert late == Post("#", 3, 3 * tokens)
    assert (await ask(ARMS["require"], saying(BAD, BAD, GOOD, tokens=tokens), ROW)).text is None


def test_the_best_attempt_within_the_budget_stands() -> None:
    attempts: list[list[Any]] = [[BAD, 50], [GOOD, 100], [GOOD + " #", BUDGET], ["Broncos", BUDGET + 1], [None, 400]]
    assert best(attempts, ROW.passage) == Post(GOOD, 5, 400)
    assert best(attempts[3:], ROW.passage) == Post(None, 2, 400)
    assert best(attempts[3:], ROW.passage, budget=1e9).text == "Broncos"
    assert best([], ROW.passage) == Post(None, 0, 0)


def test_a_refused_row_keeps_to_nothing() -> None:
    found = measures_of({"none": [Post(GOOD, 1, 5)] * 2, "require": [Post(GOOD, 1, 5), Post(None, 3, 15)]}, [ROW] * 2)
    assert found["none.kept"].value == 1
    assert found["require.kept"].value == 0.5
    assert found["gain.require_over_none.kept"].value == -0.5
    assert found["require.tokens"].value == 10


def test_passages_that_are_too_long_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = (datasets.Text("a", "short"), datasets.Text("b", "long " * 200))
    queries = tuple(datasets.Query(each, "?", frozenset({each})) for each in ("a", "b"))
    collection = datasets.Collection("squad", texts, queries)
    monkeypatch.setattr(datasets, "squad", lambda _data: collection)
    assert [row.passage for row in assertions.drawn("", 5, 7)] == ["short"]  # type: ignore[arg-type] # not read
