"""Agents by scripted models and tools of a closed world: what they do, when they stop, and how a killed one goes on."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

import synthon as sy
from tests.retrieval.embedding import WordEmbedder
from tests.strategies.scripted import Scripted, said

if TYPE_CHECKING:
    from collections.abc import Sequence


class Total(BaseModel):
    total: int


def does(tool: str, **arguments: object) -> str:
    return json.dumps({"thought": f"I use {tool}.", "tool": tool, "arguments": arguments})


def ends(answer: object) -> str:
    return json.dumps({"thought": "I know.", "answer": answer})


@dataclass
class World:
    """Numbers in files; what was done to them."""

    files: dict[str, str] = field(default_factory=lambda: {"a": "17", "b": "25"})
    done: list[str] = field(default_factory=list)

    def tools(self) -> list[sy.Tool]:
        @sy.tool(effects={"read"})
        async def read(name: str) -> str:
            """Read a file."""
            self.done.append(f"read {name}")
            return self.files[name]

        @sy.tool(effects={"write"})
        async def write(name: str, text: str) -> str:
            """Write a file."""
            self.done.append(f"write {name}")
            self.files[name] = text
            return "written"

        @sy.tool(effects=())
        async def add(numbers: list[int]) -> int:
            """Add numbers."""
            return sum(numbers)

        return [read, write, add]


def oracle(request: sy.Request) -> str:
    """A policy that reads the goal and the history, and always knows what is next."""
    text = said(request)
    goal = re.search(r"Add the numbers in (.+?) and write the sum to (\w+)", text)
    assert goal is not None
    names, target = goal[1].split(", "), goal[2]
    numbers = re.findall(r"read gave: (\d+)", text)
    if len(numbers) < len(names):
        return does("read", name=names[len(numbers)])
    total = re.search(r"add gave: (\d+)", text)
    if total is None:
        return does("add", numbers=[int(number) for number in numbers])
    if "write gave" not in text:
        return does("write", name=target, text=total[1])
    return ends({"total": int(total[1])})


def solver(model: Any, tools: Sequence[sy.Tool], **options: Any) -> sy.Step[[str], Total]:
    @sy.step(model=model, strategy=sy.agent(tools, **options))
    async def solve(goal: str) -> Total:
        """Do what the goal says with the tools, then say the total."""
        ...

    return solve


@pytest.mark.parametrize("goal", [(["a", "b"], "c"), (["b"], "sum"), (["a", "b", "a"], "b")])
async def test_an_oracle_solves_a_closed_task_by_its_end_state(goal: tuple[list[str], str]) -> None:
    names, target = goal
    world = World()
    wanted = sum(int(world.files[name]) for name in names)
    step = solver(sy.FunctionModel(oracle), world.tools())
    found = await step(f"Add the numbers in {', '.join(names)} and write the sum to {target}")
    assert found.total == wanted
    assert world.files[target] == str(wanted)
    assert world.done == [*(f"read {name}" for name in names), f"write {target}"]


async def test_an_agent_asks_natively_where_the_model_takes_tools() -> None:
    def native(request: sy.Request) -> sy.Completion:
        results = [part for turn in request.messages if isinstance(turn.content, tuple) for part in turn.content]
        gave = [
            "".join(p.text for p in r.content if isinstance(p, sy.Text))
            for r in results
            if isinstance(r, sy.ToolResult)
        ]
        if len(gave) < 2:
            calls = tuple(sy.ToolCall(f"c{name}", "read", json.dumps({"name": name})) for name in "ab")
            return sy.Completion("Reading.", tool_calls=calls)
        return sy.Completion(
            "", tool_calls=(sy.ToolCall("f", "final_answer", json.dumps({"total": sum(map(int, gave))})),)
        )

    world = World()
    model = Scripted(say=native, able=("chat", "tools"))
    assert (await solver(model, world.tools(), parallel=True)("Sum a and b")).total == 42
    assert world.done == ["read a", "read b"]
    assert [turn.role for turn in model.seen[1].messages[-2:]] == ["assistant", "tool"]


async def test_a_failed_tool_and_wrong_arguments_go_back_as_results() -> None:
    model = Scripted(does("read", name="zzz"), does("read", name="a"), ends({"total": 17}))
    assert (await solver(model, World().tools())("Read a")).total == 17
    assert "read failed: KeyError" in said(model.seen[1])
    assert "read gave: 17" in said(model.seen[2])


async def test_a_repeated_call_is_told_so_and_then_stopped() -> None:
    model = Scripted(say=lambda request: does("read", name="a"))
    with pytest.raises(
        sy.LoopDetected, match=r"circle of 1 step\(s\), the last of them 'read'.*told so 2 times"
    ) as error:
        await solver(model, World().tools())("Read b")
    assert error.value.period == 1
    assert len(model.seen) == 4
    assert "You made the same calls before" not in said(model.seen[1])
    assert "You made the same calls before" in said(model.seen[2])


async def test_arguments_are_compared_as_json_and_broken_ones_as_text() -> None:
    written = iter(['{"name":"a","x":1}', '{ "x": 1, "name": "a" }', "{", "{", "{", "{"])

    def native(request: sy.Request) -> sy.Completion:
        return sy.Completion("", tool_calls=(sy.ToolCall("1", "read", next(written)),))

    model = Scripted(say=native, able=("chat", "tools"))
    with pytest.raises(sy.LoopDetected, match="circle of 1"):
        await solver(model, World().tools(), patience=2)("Read a")
    assert "You made the same calls before" in said(model.seen[2])
    assert len(model.seen) == 6


async def test_an_oscillation_is_a_circle_of_two() -> None:
    model = Scripted(say=lambda request: does("read", name="ab"[len(model.seen) % 2]))
    with pytest.raises(sy.LoopDetected, match="circle of 2 step"):
        await solver(model, World().tools(), patience=0)("Read c")
    assert len(model.seen) == 4


async def test_a_circle_that_is_left_when_told_does_no_harm() -> None:
    def heeds(request: sy.Request) -> str:
        return ends({"total": 17}) if "same calls before" in said(request) else does("read", name="a")

    assert (await solver(Scripted(say=heeds), World().tools())("Read a")).total == 17


async def test_equal_calls_with_other_results_are_no_circle() -> None:
    count = iter(range(99))

    @sy.tool(effects={"read"})
    async def poll() -> int:
        """How far it is."""
        return next(count)

    model = Scripted(*[does("poll")] * 5, ends({"total": 4}))
    assert (await solver(model, [poll])("Wait")).total == 4


async def test_steps_and_budget_end_it_with_typed_errors() -> None:
    def wanders(request: sy.Request) -> str:
        return does("add", numbers=[len(request.messages)])

    with pytest.raises(sy.BudgetExceeded, match="used up its 3 steps on 'Wander'") as error:
        await solver(Scripted(say=wanders), World().tools(), steps=3)("Wander")
    assert error.value.limit == "steps=3"
    model = sy.Journaled(Scripted(say=wanders))
    step = solver(model, World().tools(), budget=sy.Budget(calls=2))
    for _ in range(2):  # the limit is one call's, not all calls'
        with pytest.raises(sy.BudgetExceeded, match="calls=2"):
            await step("Wander")


async def test_a_check_on_the_answer_sends_the_agent_on_with_what_it_did() -> None:
    model = Scripted(does("read", name="a"), ends({"total": 1}), does("read", name="b"), ends({"total": 42}))
    step = solver(model, World().tools())

    @step.check
    def enough(output: Total) -> str | None:
        return None if output.total > 10 else "that is too little"

    assert (await step("Sum a and b")).total == 42
    assert "that is too little" in said(model.seen[2])
    assert "read gave: 17" in said(model.seen[3])
    assert said(model.seen[3]).index("read gave: 17") < said(model.seen[3]).index("too little")


async def test_a_durable_budget_of_one_step_is_refused() -> None:
    step = solver(Scripted(), World().tools(), budget=sy.Budget(calls=2, durable=True))
    with pytest.raises(sy.UserError, match="durable, which only a named run can hold"):
        await step("Wander")


async def test_each_answer_that_failed_is_heard_once() -> None:
    model = Scripted(ends({"total": 1}), ends({"total": 2}), ends({"total": 42}))
    step = solver(model, World().tools())

    @step.check(retries=2)
    def enough(output: Total) -> str | None:
        return None if output.total > 10 else f"{output.total} is too little"

    assert (await step("Sum a and b")).total == 42
    assert said(model.seen[2]).count("1 is too little") == said(model.seen[2]).count("2 is too little") == 1


async def test_a_person_may_refuse_a_call_with_words_for_the_model() -> None:
    asked: list[tuple[str, str]] = []

    async def approve(call: sy.ToolCall, thought: str) -> str | None:
        asked.append((call.name, thought))
        return "Ask b instead." if call.arguments == '{"name":"a"}' else None

    world = World()
    model = Scripted(does("read", name="a"), does("read", name="b"), ends({"total": 25}))
    assert (await solver(model, world.tools(), approve=approve)("Read")).total == 25
    assert world.done == ["read b"]
    assert asked == [("read", "I use read."), ("read", "I use read.")]
    assert "read failed: Ask b instead." in said(model.seen[1])


async def test_where_the_context_is_full_the_oldest_steps_go_first_and_then_the_ends_of_results() -> None:
    @sy.tool(effects={"read"})
    async def page(number: int) -> str:
        """A page."""
        return f"page {number} " + "x" * 600

    limit = 2_600
    longest = 0

    def say(request: sy.Request) -> str:
        nonlocal longest
        if len(said(request)) > limit:
            raise sy.ContextTooLong("too long", tokens=len(said(request)), limit=limit)
        longest = max(longest, len(said(request)))
        numbers = [int(found) for found in re.findall(r"page gave: page (\d+)", said(request))]
        last = max(numbers, default=0)
        return ends({"total": last}) if last == 6 else does("page", number=last + 1)

    model = Scripted(say=say)
    assert (await solver(model, [page])("Read six pages")).total == 6
    assert "page 1 " not in said(model.seen[-1])
    assert "page 6 " in said(model.seen[-1])

    @sy.tool(effects={"read"})
    async def book() -> str:
        """A long text."""
        return "once " + "x" * 9_000

    def reads(request: sy.Request) -> str:
        if len(said(request)) > limit:
            raise sy.ContextTooLong("too long")
        return ends({"total": 1}) if "book gave: once" in said(request) else does("book")

    assert (await solver(Scripted(say=reads), [book])("Read the book")).total == 1
    with pytest.raises(sy.ContextTooLong, match="too long"):
        await solver(Scripted(say=reads), [book])("Read " + "the book " * 400)


async def test_native_results_are_cut_as_well() -> None:
    @sy.tool(effects={"read"})
    async def book() -> str:
        """A long text."""
        return "once " + "x" * 9_000

    def reads(request: sy.Request) -> sy.Completion:
        parts = [part for turn in request.messages if isinstance(turn.content, tuple) for part in turn.content]
        texts = [
            text.text
            for part in parts
            if isinstance(part, sy.ToolResult)
            for text in part.content
            if isinstance(text, sy.Text)
        ]
        if sum(map(len, texts)) > 2_000:
            raise sy.ContextTooLong("too long")
        if texts:
            return sy.Completion("", tool_calls=(sy.ToolCall("2", "final_answer", '{"total":1}'),))
        return sy.Completion("", tool_calls=(sy.ToolCall("1", "book", "{}"),))

    model = Scripted(say=reads, able=("chat", "tools"))
    assert (await solver(model, [book])("Read the book")).total == 1


async def test_a_memory_keeps_results_and_recalls_them_for_the_next_goal(tmp_path: Path) -> None:
    with sy.Index(tmp_path / "memory.db", embedder=WordEmbedder()) as index:
        memory = sy.Memory(index, k=2)
        first = Scripted(does("read", name="a"), ends({"total": 17}))
        await solver(first, World().tools(), memory=memory)("Read file a")
        assert "You remember" not in said(first.seen[0])
        assert len(index) == 1
        second = Scripted(ends({"total": 17}))
        await solver(second, World().tools(), memory=memory)("Read file a")
        assert 'You remember:\n- read {"name": "a"}: 17' in said(second.seen[0]).replace(
            '{"name":"a"}', '{"name": "a"}'
        )


async def test_another_run_recalls_for_itself_under_every_policy() -> None:
    @dataclass
    class Notes:
        text: str

        async def search(self, query: str, *, k: int, where: sy.Filter | None = None) -> list[sy.Passage]:
            return [sy.Passage(self.text)]

    notes = Notes("old")

    @sy.program
    async def recall() -> str:
        return await sy.Memory(notes).recall("goal")

    journal = sy.MemoryJournal()
    for run, known, text in (("a", "old", "old"), ("b", "new", "new"), ("a", "newer", "old")):
        notes.text = known
        assert (await sy.run(recall, run_id=run, journal=journal, policy="cache")).endswith(f"- {text}")


async def test_an_agent_may_have_to_act_before_it_answers() -> None:
    model = Scripted(ends({"total": 1}), does("read", name="a"), ends({"total": 17}))
    assert (await solver(model, World().tools(), least=1)("Read a")).total == 17
    assert '{"answer"' not in model.seen[0].messages[0].text
    assert '{"answer"' in model.seen[2].messages[0].text


async def test_react_must_answer_at_its_last_step() -> None:
    model = Scripted(does("read", name="a"), does("read", name="b"), ends({"total": 42}))

    @sy.step(model=model, strategy=sy.react(World().tools(), steps=3))
    async def solve(goal: str) -> Total:
        """Solve it."""
        ...

    assert (await solve("Sum a and b")).total == 42
    assert "You have these tools" in said(model.seen[1])
    assert "You have these tools" not in said(model.seen[2])


async def test_react_must_answer_at_its_last_step_natively_too() -> None:
    read = sy.Completion("", tool_calls=(sy.ToolCall("1", "read", '{"name":"a"}'),))
    finish = sy.Completion("", tool_calls=(sy.ToolCall("2", "final_answer", '{"total":17}'),))
    model = Scripted(read, finish, able=("chat", "tools"))

    @sy.step(model=model, strategy=sy.react(World().tools(), steps=2))
    async def solve(goal: str) -> Total:
        """Solve it."""
        ...

    assert (await solve("Sum a")).total == 17
    assert [request.tool_choice for request in model.seen] == ["auto", "required"]
    assert [tool.name for tool in model.seen[1].tools] == ["final_answer"]


async def test_a_sub_agent_is_a_tool() -> None:
    world = World()
    inner = solver(sy.FunctionModel(oracle), world.tools())

    @sy.program
    async def accountant(goal: str, *, k: int = sy.knob(1, 2)) -> Total:
        """Add the numbers in files."""
        return await inner(goal)

    goal = "Add the numbers in a, b and write the sum to c"
    model = Scripted(
        does("accountant", wrong=1), does("accountant", goal=goal), does("slow", goal="x"), ends({"total": 42})
    )
    slow = sy.tool(name="slow")(solver(Scripted(*["nothing"] * 3), []))
    outer = solver(model, [sy.tool(accountant), slow])
    assert (await outer("Have it added")).total == 42
    assert world.files["c"] == "42"
    assert "That does not fit: the arguments of 'accountant': " in said(model.seen[1])
    assert 'accountant gave: {"total":42}' in said(model.seen[3])
    assert "slow failed: OutputError" in said(model.seen[3])
    assert [step.name for step in outer.parts().steps] == ["solve", "solve", "solve"]
    spent = sy.tool(solver(Scripted(say=oracle), World().tools(), steps=1))
    with pytest.raises(sy.BudgetExceeded, match="used up its 1 steps"):
        await solver(Scripted(does("solve", goal=goal)), [spent])("Have it added")


async def test_a_killed_agent_goes_on_from_its_journal(tmp_path: Path) -> None:
    world, calls = World(), 0

    class Killed(BaseException):
        pass

    def once(request: sy.Request) -> str:
        nonlocal calls
        calls += 1
        if calls == 4:
            raise Killed
        return oracle(request)

    step = solver(sy.Journaled(sy.FunctionModel(once, identity="oracle")), world.tools())

    @sy.program
    async def work(goal: str) -> int:
        return (await step(goal)).total

    goal = "Add the numbers in a, b and write the sum to c"
    with sy.SQLiteJournal(tmp_path / "journal.db") as journal:
        with pytest.raises(Killed):
            await sy.run(work, goal, run_id="one", journal=journal)
        assert world.done == ["read a", "read b"]
        assert await sy.run(work, goal, run_id="one", journal=journal) == 42
    assert world.done == ["read a", "read b", "write c"]
    assert calls == 6


async def test_an_agent_needs_a_model() -> None:
    with pytest.raises(sy.UserError, match=r"Step 'solve' has no model\. Pass @sy\.step"):
        await solver(None, [])("?")


async def test_an_agent_that_wants_a_constraint_of_another_kind_is_refused() -> None:
    step = solver(Scripted(ends("x")), []).using(constraint=sy.regex("a+"))
    with pytest.raises(sy.Unsupported, match="The model 'scripted' cannot keep to the constraint of step 'solve'"):
        await step("?")


async def test_agents_vote_like_any_strategy() -> None:
    totals = iter([17, 25, 25])
    model = Scripted(say=lambda request: ends({"total": next(totals)}))
    vote = sy.self_consistency(3, of=sy.agent(World().tools(), steps=sy.knob(4, 8)))
    step = solver(model, []).using(strategy=vote)
    assert (await step("Guess")).total == 25
    assert vote.name == "self_consistency(3, of=agent)"


async def test_an_agents_answer_streams_once_it_stands() -> None:
    step = solver(Scripted(does("read", name="a"), ends({"total": 17})), World().tools())
    async with step.stream("Read a") as stream:
        pieces = [delta.text async for delta in stream]
        assert (await stream.result()).total == 17
    assert "".join(pieces) == '{"total":17}'
