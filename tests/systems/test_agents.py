"""AutoGPT and BabyAGI by scripted models: who decides, what is remembered, and why it ends."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import synthon as sy
from synthon.runs import answer
from synthon.systems.autogpt import autogpt
from synthon.systems.babyagi import Outcome, babyagi
from tests.retrieval.embedding import WordEmbedder
from tests.strategies.scripted import Scripted, said

THOUGHTS = dict.fromkeys(("text", "reasoning", "plan", "criticism", "speak"), "hm")


def does(tool: str, **arguments: object) -> str:
    return json.dumps({"thought": THOUGHTS, "tool": tool, "arguments": arguments})


DONE = json.dumps({"thought": THOUGHTS, "answer": "All reached."})


@sy.tool(effects={"read"})
async def look(place: str) -> str:
    """Look somewhere."""
    return f"nothing in {place}"


class Person:
    """Says what is written down, and keeps what was asked."""

    def __init__(self, *words: str) -> None:
        self.words = list(words)
        self.asked: list[str] = []

    async def __call__(self, question: str) -> str:
        self.asked.append(question)
        return self.words.pop(0)


def led(model: Any, person: Person | None = None, **options: Any) -> sy.Program[[], Any]:
    return autogpt("Finder", "finds things", ["find the key"], [look], ask=person, **options).using(model=model)


async def test_a_person_lets_commands_go_one_by_one_or_several_gives_feedback_and_ends() -> None:
    places = iter(["hall", "attic", "car", "shed", "sea"])
    model = Scripted(say=lambda request: does("look", place=next(places)))
    person = Person("y", "not the attic", "y -2", "n")
    outcome = await led(model, person)()
    assert (outcome.answer, outcome.ended) == (None, "stopped")
    assert len(person.asked) == 4
    assert 'next command: look {"place":"hall"}' in person.asked[0]
    assert "criticism: hm" in person.asked[0]
    assert "The person did not let it go and says: not the attic" in said(model.seen[2])
    assert "nothing in attic" not in said(model.seen[4])
    assert "nothing in shed" in said(model.seen[4])


async def test_thoughts_and_command_are_one_typed_answer() -> None:
    model = Scripted(does("look", place="hall"), DONE, able=("chat", "schema"))
    outcome = await led(model)()
    assert (outcome.answer, outcome.ended) == ("All reached.", "finished")
    constraint = model.seen[0].constraint
    assert isinstance(constraint, sy.Schema)
    shape = json.loads(constraint.json)
    assert shape["$defs"]["thought"]["required"] == list(THOUGHTS)
    assert [list(move["properties"]) for move in shape["anyOf"]] == [
        ["thought", "tool", "arguments"],
        ["thought", "answer"],
    ]
    assert "find the key" in said(model.seen[0])
    assert "Finder" in said(model.seen[0])


@pytest.mark.parametrize("goals", ["find the key", []])
def test_autogpt_needs_a_list_of_goals(goals: Any) -> None:
    with pytest.raises(sy.UserError, match=r"The goals of 'Finder' are .*\. Pass a list of texts"):
        autogpt("Finder", "finds things", goals, [look])


async def test_autogpt_ends_by_itself_when_it_goes_round_or_has_used_up_its_steps() -> None:
    same = Scripted(say=lambda request: does("look", place="hall"))
    assert (await led(same)()).ended == "circle"
    other = Scripted(say=lambda request: does("look", place=str(len(other.seen))))
    assert (await led(other, steps=4)()).ended == "steps or budget"
    assert len(other.seen) == 4


async def test_autogpt_without_thoughts_from_a_native_model_still_asks() -> None:
    call = sy.ToolCall("1", "look", '{"place":"hall"}')
    model = Scripted(sy.Completion("", tool_calls=(call,)), able=("chat", "tools"))
    person = Person("n")
    assert (await led(model, person)()).ended == "stopped"
    assert person.asked[0].startswith('next command: look {"place":"hall"}')


async def test_a_run_that_waits_for_a_person_goes_on_in_a_later_life_and_after_a_kill(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    calls = 0

    def model(request: sy.Request) -> str:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise Killed
        return DONE if "nothing in hall" in said(request) else does("look", place="hall")

    asking = sy.Journaled(sy.FunctionModel(model, identity="finder"))
    program = autogpt("Finder", "finds", ["find the key"], [look], ask=sy.ask_person).using(model=asking)
    with sy.SQLiteJournal(tmp_path / "journal.db") as journal:
        with pytest.raises(sy.Suspended, match="next command: look"):
            await sy.run(program, run_id="one", journal=journal)
        await answer(journal, "one", "y")
        with pytest.raises(Killed):
            await sy.run(program, run_id="one", journal=journal)
        assert (await sy.run(program, run_id="one", journal=journal)).ended == "finished"
    assert calls == 3


# ------------------------------------------------------------------------------------------------- BabyAGI


def worker(request: sy.Request) -> str:
    """Executes by naming the task, finds two more after the first, and puts the shorter first."""
    text = said(request)
    if text.startswith("Perform the task"):
        task = text[text.rindex("task: ") + 6 :]
        return f"done {task}"
    if text.startswith("List new tasks"):
        fresh = ["write it down", "tell", "plan"] if "task: plan\n" in text else []
        return json.dumps({"tasks": fresh})
    tasks = re.findall(r"(\d+)\. (\w[\w ]*)", text[text.index("tasks: ") :])
    shorter = sorted(tasks, key=lambda task: len(task[1]))
    return json.dumps({"numbers": [int(shorter[0][0]), 99]})


def memory(folder: Path) -> sy.Memory:
    return sy.Memory(sy.Index(folder / "memory.db", embedder=WordEmbedder()))


async def test_babyagi_executes_creates_and_puts_in_order_until_nothing_is_left(tmp_path: Path) -> None:
    model = Scripted(say=worker)
    outcome = await babyagi(memory(tmp_path)).using(model=model)("a book", "plan")
    assert [each.task for each in outcome.done] == ["plan", "tell", "write it down"]
    assert [each.result for each in outcome.done] == ["done plan", "done tell", "done write it down"]
    assert (outcome.left, outcome.stopped) == ((), "empty")
    executed = [said(request) for request in model.seen if said(request).startswith("Perform")]
    assert "You remember" not in executed[0]
    assert "plan: done plan" in executed[1]


async def test_babyagi_stops_when_it_is_told_and_when_steps_or_budget_are_used_up(tmp_path: Path) -> None:
    model = sy.Journaled(sy.FunctionModel(worker))

    async def told(objective: str, done: Any) -> bool:
        return objective == "a book" and len(done) == 2

    async def ended(**options: Any) -> Outcome:
        steps = options.pop("steps", 10)
        program = babyagi(memory(tmp_path), **options).using(model=model)
        return await program("a book", "plan", steps=steps)

    reached = await ended(stop=told)
    assert (reached.stopped, len(reached.done), reached.left) == ("reached", 2, ("write it down",))
    assert (await ended(stop=lambda objective, done: True)).left == ()
    assert (await ended(steps=1)).stopped == "steps"
    budget = sy.Budget(calls=3)
    for _ in range(2):  # it is one run's
        spent = await ended(budget=budget)
        assert (spent.stopped, [each.task for each in spent.done]) == ("budget", ["plan"])
        assert sorted(spent.left) == ["tell", "write it down"]  # the one in hand is not lost
    assert (await ended(budget=sy.Budget(calls=0))).left == ("plan",)


def test_the_steps_of_babyagi_are_found_where_a_program_calls_it(tmp_path: Path) -> None:
    @sy.step
    async def judge(objective: str, done: list[str]) -> bool:
        """Say whether the objective is reached."""
        ...

    async def told(objective: str, done: Any) -> bool:
        return await judge(objective, [each.result for each in done])

    inner = babyagi(memory(tmp_path), stop=told)

    @sy.program
    async def outer(objective: str) -> Outcome:
        return await inner(objective, "plan")

    assert [step.name for step in outer.parts().steps] == ["execute", "create", "prioritize", "judge"]


async def test_babyagis_execution_may_be_an_agent_of_its_own(tmp_path: Path) -> None:
    @sy.step(model=Scripted(say=lambda request: "by hand"))
    async def by_hand(objective: str, remembered: str, task: str) -> str:
        """Do it."""
        ...

    outcome = await babyagi(memory(tmp_path), execute=by_hand).using(model=Scripted(say=worker))(
        "a book", "plan", steps=1
    )
    assert outcome.done[0].result == "by hand"
