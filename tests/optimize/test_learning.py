"""Rows that say what the whole should answer become examples of the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import pytest

import synthon as sy
from synthon.core.parts import Parts
from synthon.evals import Case, Cases
from synthon.optimize.learning import Teacher
from tests.optimize.programs import Answering, System, right, rows


def teacher(program: Any, calls: int = 1000) -> Teacher:
    return Teacher(program, right, sy.MemoryJournal(), sy.Budget(calls=calls, once=True))


async def examples_of(found: Teacher, parts: Parts, train: Sequence[Case[Any]]) -> dict[str, list[sy.Demo]]:
    """As a search asks for them: in a run that counts under the same budget."""
    return await sy.run(lambda: found.examples(parts, train), budget=found.budget, journal=found.journal)


async def test_a_step_that_is_the_program_has_its_rows_as_examples_without_a_call() -> None:
    system = System()
    examples = await examples_of(teacher(system.tidy), system.tidy.parts(), rows(5))
    assert [demo.inputs for demo in examples["tidy"]] == [case.inputs for case in rows(5)]
    assert [demo.output for demo in examples["tidy"]] == [case.expected for case in rows(5)]
    assert system.calls == 0


@pytest.mark.parametrize(("calls", "run"), [(1000, 8), (40, 2)])
async def test_the_step_that_answers_has_every_row_as_an_example_for_the_price_of_what_comes_before(
    calls: int, run: int
) -> None:
    asked: list[str] = []

    @sy.step(model=Answering("small", 1.0).model(1), temperature=0.0)
    async def clean(text: str) -> list[str]:
        """Split into letters."""
        ...

    def say(request: sy.Request) -> str:
        asked.append(request.messages[-1].text)
        return "yes"

    @sy.step(model=sy.Journaled(sy.FunctionModel(say)), temperature=0.0)
    async def decide(letters: str, text: str) -> Literal["yes", "no"]:
        """Say whether it holds an a."""
        ...

    @sy.program
    async def whole(text: str) -> str:
        return await decide(text.upper(), text)

    train = rows(40)
    examples = await examples_of(teacher(whole, calls), whole.parts(), train)
    assert len(asked) == run  # to see which step answers; the others stop at its door
    assert [demo.output for demo in examples["decide"]] == [case.expected for case in train]
    assert examples["decide"][3].inputs == {
        "letters": str(train[3].inputs["text"]).upper(), "text": train[3].inputs["text"]
    }  # fmt: skip


async def test_of_steps_that_all_return_text_the_one_that_answers_has_the_rows() -> None:
    system = System()
    examples = await examples_of(teacher(system.program), system.program.parts(), rows(40))
    assert [demo.output for demo in examples["label"]] == [case.expected for case in rows(40)]
    assert len(examples["tidy"]) <= 8  # its own words, of the rows that were run


async def test_the_inputs_of_the_answering_step_take_a_part_of_the_budget_only() -> None:
    system = System()
    found = teacher(system.program, 300)
    examples = await examples_of(found, system.program.parts(), rows(400))
    assert 8 < len(examples["label"]) < 100
    assert system.calls <= 8 * 2 + 300 // 4


async def test_other_steps_keep_what_they_said_in_rows_that_went_well() -> None:
    system = System()
    examples = await examples_of(teacher(system.program), system.program.parts(), rows(30))
    said = {demo.inputs["text"]: demo.output for demo in examples["tidy"]}
    right_rows = [case for case in rows(8) if await system.program(str(case.inputs["text"])) == case.expected]
    assert len(said) >= len(right_rows) > 0


async def test_a_small_budget_is_not_spent_on_examples() -> None:
    system = System()
    assert await examples_of(teacher(system.label, 10), system.program.parts(), []) == {}
    await examples_of(teacher(system.program, 19), system.program.parts(), rows(30))
    assert system.calls == 0


async def test_a_row_whose_answer_is_none_of_the_steps_is_no_example() -> None:
    @sy.step(model=Answering("small", 1.0).model(1))
    async def holds(text: str) -> Literal["yes", "no"]:
        """Say whether it holds an a."""
        ...

    cases = Cases([Case({"text": "a"}, "yes"), Case({"text": "b"}, "perhaps"), Case({"other": "c"}, "no")])
    examples = await examples_of(teacher(holds), holds.parts(), cases)
    assert [demo.inputs for demo in examples["holds"]] == [{"text": "a"}]
