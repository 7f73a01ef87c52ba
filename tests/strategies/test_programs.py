"""Programs that a scripted model writes, run in the sandbox for real."""

from __future__ import annotations

import itertools
from typing import Any, Literal

import pytest
from pydantic import BaseModel

import synthon as sy
from tests.strategies.scripted import Scripted, said


class Sum(BaseModel):
    total: int


def computing(model: Scripted, **options: Any) -> sy.Step[[str], int]:
    @sy.step(model=model, strategy=sy.program_of_thought(**options))
    async def compute(question: str) -> int:
        """Work it out."""
        ...

    return compute


@pytest.mark.parametrize(
    "program",
    ["answer = 6 * 7", "```python\nx = 6\nanswer: int = x * 7\n```", "6 * 7", "print('so')\nprint(6 * 7)"],
)
async def test_the_value_of_a_program_is_the_answer(program: str) -> None:
    model = Scripted(program)
    assert await computing(model)("six times seven") == 42
    assert "JSON" not in said(model.seen[0])
    assert model.seen[0].messages[-1].text.startswith("Write a short Python program")


async def test_what_one_sandbox_said_is_no_answer_of_another() -> None:
    model = sy.Journaled(sy.FunctionModel(lambda _: "answer = len([0] * 2_000_000)"))

    @sy.program
    async def measured(memory_mb: int) -> int:
        @sy.step(model=model, strategy=sy.program_of_thought(sandbox=sy.monty(memory_mb), tries=1))
        async def compute(question: str) -> int:
            """Work it out."""
            ...

        return await compute("How many?")

    journal = sy.MemoryJournal()
    with pytest.raises(sy.OutputError, match="None of 1 programs"):
        await sy.run(measured, 4, journal=journal, policy="cache")
    assert await sy.run(measured, 256, journal=journal, policy="cache") == 2_000_000


async def test_the_last_line_printed_ends_at_line_feeds_only() -> None:
    @sy.step(model=Scripted(r"print('one\ntwo\u2028three')"), strategy=sy.program_of_thought())
    async def compute(question: str) -> str:
        """Work it out."""
        ...

    assert await compute("?") == "two\u2028three"


async def test_a_program_that_fails_is_sent_back_with_its_traceback() -> None:
    model = Scripted("answer = 1 / 0", "answer = 6 * 7")
    assert await computing(model)("six times seven") == 42
    assert "ZeroDivisionError" in model.seen[1].messages[-1].text
    assert model.seen[1].messages[-2].text == "answer = 1 / 0"
    with pytest.raises(
        sy.OutputError, match=r"None of 2 programs by 'scripted' ran; the last one was 'answer = \(' and failed"
    ):
        await computing(Scripted("oops(", "answer = ("), tries=2)("six times seven")


async def test_a_program_that_says_nothing_is_no_text() -> None:
    model = Scripted("x = 6 * 7", "answer = 6 * 7")

    @sy.step(model=model, strategy=sy.program_of_thought())
    async def compute(question: str) -> str:
        """Work it out."""
        ...

    assert await compute("six times seven") == "42"
    assert "It assigned nothing to `answer` and printed nothing." in said(model.seen[1])


async def test_a_value_that_does_not_fit_or_fails_a_check_asks_for_another_program() -> None:
    model = Scripted("answer = 'much'", "answer = -42", "answer = 42")
    step = computing(model)

    @step.check
    def positive(output: int) -> str | None:
        return None if output > 0 else "it must be positive"

    assert await step("six times seven") == 42
    assert "That does not fit" in said(model.seen[1])
    assert "it must be positive" in said(model.seen[2])


async def test_programs_answer_every_type() -> None:
    @sy.step(model=Scripted("answer = {'total': 2 + 2}"), strategy=sy.program_of_thought())
    async def whole(question: str) -> Sum:
        """Work it out."""
        ...

    @sy.step(model=Scripted("answer = 'abc'[::-1]"), strategy=sy.program_of_thought())
    async def text(question: str) -> str:
        """Work it out."""
        ...

    @sy.step(model=Scripted("print('even' if 4 % 2 == 0 else 'odd')"), strategy=sy.program_of_thought())
    async def kind(question: str) -> Literal["even", "odd"]:
        """Work it out."""
        ...

    assert (await whole("?")).total == 4
    assert await text("?") == "cba"
    assert await kind("?") == "even"


DOUBLE, SQUARE, TWICE, BROKEN = (
    "def f(x):\n    return x * 2",
    "def f(x):\n    return x ** 2",
    "def f(x):\n    return x + x",
    "def f(x):\n    return x / 0",
)


def coding(model: Scripted, *args: Any, **options: Any) -> sy.Step[[str, list[str]], str]:
    @sy.step(model=model, strategy=sy.generate_and_test(*args, **options))
    async def code(problem: str, examples: list[str]) -> str:
        """Write f."""
        ...

    return code


async def test_programs_that_fail_a_test_drop_out_and_the_largest_group_by_behaviour_wins() -> None:
    model = Scripted(BROKEN, SQUARE, f"Here:\n```python\n{DOUBLE}\n```\nDone.", TWICE, "no program")
    step = coding(model, 5, "examples", ["f(2)", "f(3)", "f(0)"])
    assert await step("double it", ["assert f(2) == 4"]) == f"Here:\n```python\n{DOUBLE}\n```\nDone."
    assert {request.temperature for request in model.seen} == {0.6, 0.8, 1.0}


async def test_without_probes_only_equal_programs_are_alike_and_without_survivors_all_stay() -> None:
    model = Scripted(SQUARE, DOUBLE, TWICE, DOUBLE)
    assert await coding(model, 4, "examples")("?", ["assert f(2) == 4"]) == DOUBLE
    model = Scripted(SQUARE, DOUBLE, DOUBLE, BROKEN)
    assert await coding(model, 4, ["assert f(2) == 5"])("?", []) == DOUBLE
    model = Scripted(BROKEN, BROKEN, BROKEN, DOUBLE)
    assert await coding(model, 4, ())("?", []) == BROKEN


async def test_a_scorer_chooses_among_the_largest_groups() -> None:
    model = Scripted(SQUARE, DOUBLE, DOUBLE, TWICE)

    def short(output: str, problem: str) -> float:
        assert problem == "double it"
        return "**" in output

    step = coding(model, 4, (), lambda problem: ["f(5)"], scorer=short)
    assert await step("double it", []) == SQUARE
    model.answers = [SQUARE, DOUBLE, DOUBLE, TWICE]
    step = coding(model, 4, (), ["f(5)"], scorer=short, clusters=1)
    assert await step("double it", []) == DOUBLE


@pytest.mark.parametrize("scorer", [None, lambda _: 1.0])
@pytest.mark.parametrize("probes", [(), ["f(1)"]])
async def test_of_equals_the_order_in_which_they_came_decides_nothing(scorer: Any, probes: Any) -> None:
    found = set()
    for order in itertools.permutations([SQUARE, DOUBLE, TWICE, f"{TWICE}  # a"]):
        found.add(await coding(Scripted(*order), 4, (), probes, scorer=scorer)("?", []))
    assert len(found) == 1


@pytest.mark.parametrize("given", [float("nan"), None, "0.9"])
async def test_what_is_no_score_is_refused_with_its_scorer(given: Any) -> None:
    def judge(output: str) -> Any:
        return given if output == SQUARE else 1.0

    with pytest.raises(sy.UserError, match=rf"The scorer judge gave '?{given}'? to the answer 'def f"):
        await coding(Scripted(SQUARE, DOUBLE), 2, (), scorer=judge)("?", [])

    @sy.step(model=Scripted(SQUARE, DOUBLE), strategy=sy.best_of(2, judge))
    async def best(problem: str) -> str:
        """Write f."""
        ...

    with pytest.raises(sy.UserError, match=r"The scorer judge gave .* Let it return a number\."):
        await best("?")


async def test_no_group_is_no_program() -> None:
    with pytest.raises(sy.UserError, match=r"clusters=0 groups\. Pass at least 1"):
        await coding(Scripted(SQUARE), 1, (), clusters=0)("?", [])


async def test_errors_are_behaviour_and_hints_make_samples_differ() -> None:
    other = "def f(x):\n    return 1 % 0"
    model = Scripted(BROKEN, DOUBLE, other)
    step = coding(model, 3, (), ["f(1)"], hints=("", "Use a loop."))
    assert await step("?", []) == other, "of programs that are alike the first by its text"
    assert ["Use a loop." in said(request) for request in model.seen] == [False, True, False]


async def test_samples_that_are_no_answers_do_not_stop_the_others() -> None:
    class Code(BaseModel):
        code: str

    def written(answer: object) -> str:
        assert isinstance(answer, Code)
        return answer.code

    model = Scripted("nothing", '{"code": "def f(x): return x"}', "nothing")

    @sy.step(model=model, strategy=sy.generate_and_test(3, ["assert f(1) == 1"], code=written), retries=0)
    async def code(problem: str) -> Code:
        """Write f."""
        ...

    assert (await code("identity")).code.startswith("def f")
    model.answers = ["nothing"] * 3
    with pytest.raises(sy.OutputError, match="No sample of step 'code' was an answer, of 3"):
        await code("identity")
    with pytest.raises(sy.UserError, match="looks for snippets in an input 'missing'; the step has"):
        await coding(Scripted(DOUBLE), 1, "missing")("?", [])
