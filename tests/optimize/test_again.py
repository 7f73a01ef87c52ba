"""A search starts from the program it is given, with all that this is set to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest

import synthon as sy
from synthon.core.render import Demo
from synthon.evals import Case
from synthon.optimize import optimize, plan
from synthon.optimize.diffing import differences
from synthon.strategies.labelling import linear_probe, neighbour_vote

if TYPE_CHECKING:
    from synthon.optimize import Plan

exact = sy.metrics.exact_match


def model(name: str, says: str) -> sy.Journaled:
    said = sy.Completion(says, usage=sy.Usage(input_tokens=9, output_tokens=1))
    return sy.Journaled(sy.FunctionModel(lambda _: said, name=name), price=sy.Price(1, 1))


good, bad = model("good", "yes"), model("bad", "no")
ROWS = [Case({"text": f"row {n}"}, "yes") for n in range(12)]
TOLD = [Demo({"text": f"row {n}"}, "yes") for n in range(4)]


@sy.step(model=sy.one_of(bad, good), temperature=0.0)
async def chosen(text: str) -> Literal["yes", "no"]:
    """Say."""
    ...


@sy.step(temperature=0.0)
async def open_(text: str) -> Literal["yes", "no"]:
    """Say."""
    ...


pinned = open_.using(model=good)


@sy.program
async def whole(text: str, *, marks: float = sy.between(0.0, 1.0)) -> str:
    return await open_(f"{text}{marks}")


@sy.program
async def twice(text: str, *, marks: int = sy.knob(1, 2)) -> str:
    return await pinned(f"{text}{marks}") + await open_(text)


@pytest.mark.parametrize("given", [chosen.using(model=good), open_.using(model=good), whole.using(model=good)])
async def test_the_model_that_a_program_was_given_is_where_its_search_starts(given: sy.Step[[str], str]) -> None:
    run = await optimize(
        given, ROWS[:4], ROWS[4:], metric=exact, budget=sy.Budget(calls=8), models=[bad], journal=sy.MemoryJournal(),
        embedder="wordllama-256",
    )  # fmt: skip
    start = run.history.rows[run.tuning.space.default]
    assert {row.score for row in start.values()} == {1.0}
    assert differences(run.tuning.applied(given, run.tuning.space.default), given) == "nothing"


async def planned(given: object) -> Plan:
    return await plan(given, ROWS[:4], ROWS[4:], models=[bad], embedder="wordllama-256")  # type: ignore[arg-type] # any program


nearest = sy.nearest(TOLD, embedder="wordllama-256")
SET: list[dict[str, object]] = [
    {"demos": tuple(TOLD[:3])},
    {"demos": sy.knn(3, selector=sy.nearest(TOLD[:3], embedder="wordllama-256"))},
    {"demos": sy.knn(2, selector=nearest), "strategy": sy.best_of(2)},
    {"strategy": neighbour_vote(1, nearest)},
    {"strategy": neighbour_vote(3, sy.nearest(TOLD[:3], embedder="wordllama-256")), "model": good},
    {"strategy": linear_probe(TOLD, embedder="wordllama-256"), "calibrate": True},
]


@pytest.mark.parametrize("settings", SET)
async def test_a_tuned_step_is_as_it_is_at_the_default_and_its_code_is_one_of_the_points(
    settings: dict[str, object],
) -> None:
    given = open_.using(model=good).using(**settings)
    tuning = (await planned(given)).tuning
    assert differences(tuning.applied(given, tuning.space.default), given) == "nothing"
    for name in settings.keys() - {"calibrate"}:
        values = [tuning.value(point, f"open_.{name}") for point in tuning.space.points()]
        assert getattr(open_, name) in values or name == "model"
        labels = next(each.values for each in tuning.space.dimensions if each.name == f"open_.{name}")
        assert len(set(labels)) == len(labels)


async def test_a_number_that_no_grid_has_is_in_front_of_it() -> None:
    given = whole.using(model=good, marks=0.123)
    marks, asked = (await planned(given)).tuning.space.dimensions
    assert (marks.values[marks.default], len(marks.values)) == (0.123, 8)
    assert (asked.name, asked.values, asked.default) == ("open_.model", ("good", "bad"), 0)


async def test_what_one_copy_of_a_step_is_set_to_is_not_put_on_the_others() -> None:
    given = twice.using(model=bad)
    tuning = (await planned(given)).tuning
    assert tuning.value(tuning.space.default, "open_.model") is good
    assert await tuning.applied(given, tuning.space.default)("row 1") == "yesno"


async def test_instructions_are_written_from_the_one_in_force() -> None:
    asked: list[str] = []

    def write(request: sy.Request) -> sy.Completion:
        asked.append(request.messages[0].text)
        return sy.Completion("```\nSay yes.\n```", usage=sy.Usage(input_tokens=9, output_tokens=1))

    given = open_.using(model=bad, instruction="Say no, with care.")
    run = await optimize(
        given, ROWS[:4], ROWS[4:], metric=exact, budget=sy.Budget(calls=40), method="reflective",
        proposer=sy.Journaled(sy.FunctionModel(write), price=sy.Price(1, 1)), journal=sy.MemoryJournal(),
        embedder="wordllama-256",
    )  # fmt: skip
    assert "Say no, with care." in asked[0]
    assert run.best().diff(given) == "nothing"
