"""Options that mean nothing are refused where they are given."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest

import synthon as sy
from synthon.core.recording import recorded
from synthon.guards import guard, length


def said(*answers: object) -> sy.FunctionModel:
    left = list(answers)
    return sy.FunctionModel(lambda _request: str(left.pop(0)))


def step() -> sy.Step[[str], str]:
    @sy.step
    async def say(topic: str) -> str:
        """Say it."""
        ...

    return say


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"retries": -1}, r"has retries=-1 .*Pass at least 0"),
        ({"level": "sugest"}, r"has .*level='sugest'\. Pass .*one of \('require', 'suggest'\)"),
        ({"blame": "draft"}, r"blames 'draft'\. Pass the step itself"),
    ],
)
def test_a_check_that_cannot_be_is_refused_with_its_step(options: Any, wrong: str) -> None:
    say = step()

    def brief(output: str) -> str | None:
        return None

    with pytest.raises(sy.UserError, match=f"The check .*brief.* of step 'say' {wrong}"):
        say.check(**options)(brief)
    assert say.checks == []


@pytest.mark.parametrize("given", [True, False, 0])
@pytest.mark.parametrize("is_async", [True, False])
async def test_a_check_says_what_is_wrong_in_words(given: Any, is_async: bool) -> None:  # noqa: FBT001 - a parameter
    say = step().using(model=said("a", "b"))

    async def later(output: str) -> Any:
        return given

    say.check(later if is_async else lambda output: given)
    with pytest.raises(sy.UserError, match=rf"The check .* gave {given}\. Return what is wrong, in words, or None"):
        await say("x")


def test_a_step_cannot_be_asked_fewer_times_than_once() -> None:
    with pytest.raises(sy.UserError, match=r"cannot have retries=-1\. Pass at least 0"):
        sy.step(retries=-1)


@pytest.mark.parametrize("policy", ["replay-only", "Fresh", 5])
async def test_a_policy_that_there_is_not_is_refused_before_anything_runs(policy: Any) -> None:
    journal, ran = sy.MemoryJournal(), []

    async def program() -> None:
        ran.append(1)

    with pytest.raises(sy.UserError, match=f"There is no policy {policy!r}. Pass one of .*'replay_only'"):
        await sy.run(program, run_id="r", journal=journal, policy=policy)
    assert ran == []
    assert journal.run("r") is None


async def test_what_is_no_model_is_refused_with_the_step_that_has_it() -> None:
    @sy.step(model="gpt-4")  # type: ignore[call-overload,untyped-decorator]  # the mistake under test
    async def answer(text: str) -> str:
        """Answer."""
        ...

    with pytest.raises(sy.UserError, match=r"Step 'answer' has 'gpt-4' for a model. Pass a model: sy.openai"):
        await answer("x")


async def test_what_run_cannot_run_is_refused() -> None:
    @sy.program
    async def system(text: str) -> str:
        return text

    def plain(text: str) -> str:
        return text

    with pytest.raises(sy.UserError, match=r"sy.run was given <coroutine .*sy.run\(program, x\)"):
        await sy.run(system("x"), policy="off")  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(sy.UserError, match="was given 'system'"):
        await sy.run("system", policy="off")  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(sy.UserError, match=r"plain' gave 'x', so it is not async. Write `async def`"):
        await sy.run(plain, "x", policy="off")  # type: ignore[arg-type]  # the mistake under test


def test_a_knob_among_the_positional_parameters_is_refused_with_the_right_line() -> None:
    async def system(text: str, k: int = sy.knob(1, 2)) -> str:
        return text * k

    with pytest.raises(sy.UserError, match=r"'system' has the knob 'k' .*async def system\(..., \*, k=knob\(1, 2\)\)"):
        sy.program(system)


@pytest.mark.parametrize("value", [{1}, dt.datetime(2024, 1, 1, tzinfo=dt.UTC)])
async def test_arguments_and_extra_that_are_no_json_are_refused(value: object) -> None:
    async def act() -> str:
        return "1"

    @sy.step(model=sy.FunctionModel(lambda _: "x"), extra={"a": value})
    async def answer(text: str) -> str:
        """Answer."""
        ...

    with pytest.raises(sy.UserError, match=r"A call holds what JSON cannot hold \(.* and text, lists and dicts"):
        await answer("x")
    with pytest.raises(sy.UserError, match="holds what JSON cannot hold"):
        await sy.run(recorded, "look", {"at": value}, act, journal=sy.MemoryJournal())


@pytest.mark.parametrize("given", [{"journal": 3}, {"budget": 5}])
async def test_a_journal_or_a_budget_that_is_none_is_refused_and_leaves_no_run_behind(given: Any) -> None:
    say = step().using(model=said("a"))
    with pytest.raises(sy.UserError, match=r"is none\. Pass sy\.SQLiteJournal\(path\), or sy\.Budget"):
        await sy.run(say, "x", **given)
    assert sy.current_run() is None


async def test_a_run_that_cannot_begin_leaves_nothing_to_what_comes_after(tmp_path: Path) -> None:
    say = step().using(model=sy.Journaled(said("a", "b")))
    closed = sy.SQLiteJournal(tmp_path / "closed.db")
    await closed.durable()
    closed.close()
    with pytest.raises(sy.JournalError):
        await sy.run(say, "x", journal=closed, budget=sy.Budget(calls=0), policy="cache")
    assert sy.current_run() is None
    assert await sy.run(say, "x", journal=sy.MemoryJournal()) == "a"


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"strategy": "chain_of_thought"}, r"has strategy='chain_of_thought'\. Pass one such as"),
        ({"strategy": sy.self_consistency}, r"has strategy=<class .*self_consistency'>\. Pass one such as"),
        ({"demos": [("x", "a")]}, r"takes \['topic'\], and is shown the example \('x', 'a'\)\. Pass sy\.Demo"),
        ({"demos": [{"topic": "x"}]}, r"takes .*, and is shown the example \{'topic': 'x'\}\. Pass sy\.Demo"),
        (
            {"demos": [sy.Demo({"topik": "x"}, "a")]},
            r"takes .*, and is shown the example Demo\(.*with none but its inputs",
        ),
    ],
)
async def test_what_a_step_cannot_use_is_refused_at_its_first_call(options: Any, wrong: str) -> None:
    with pytest.raises(sy.UserError, match=rf"Step 'say' {wrong}"):
        await step().using(model=said("a"), **options)("x")


@pytest.mark.parametrize("guards", [guard(length(at_most=3)), [length(at_most=3)], "short"])
async def test_guards_are_a_list_of_rules(guards: Any) -> None:
    @sy.step(model=said("a"), guards=guards)
    async def say(topic: str) -> str:
        """Say it."""
        ...

    with pytest.raises(sy.UserError, match=r"Step 'say' has guards=.*Pass a list: \[guard\(length"):
        await say("x")
