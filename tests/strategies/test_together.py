"""Strategies that ask several times at once: nothing outlives them, and the order of arrival decides nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import synthon as sy
from synthon.strategies.programming import assigns, python_of
from synthon.strategies.together import together
from tests.strategies.scripted import Scripted, said

SEEN: list[str] = []


async def one(name: str, wait: float, error: BaseException | None = None) -> str:
    try:
        await asyncio.sleep(wait)
    except asyncio.CancelledError:
        await asyncio.sleep(0.01)  # cleaning up
        SEEN.append(f"{name} cancelled")
        raise
    if error is not None:
        raise error
    SEEN.append(name)
    return name


async def test_where_one_fails_the_others_have_ended_before_its_error_goes_on() -> None:
    SEEN.clear()
    assert await together(one(name, 0.01) for name in "ab") == ["a", "b"]
    with pytest.raises(RuntimeError, match="down"):
        await together([one("c", 5), one("d", 0, RuntimeError("down")), one("e", 5)])
    assert SEEN == ["a", "b", "c cancelled", "e cancelled"]


async def test_where_one_waits_for_a_person_the_others_go_as_far_as_they_can() -> None:
    SEEN.clear()
    with pytest.raises(sy.Suspended):
        await together([one("a", 0.02), one("b", 0, sy.Suspended("it waits"))])
    assert SEEN == ["a"]


async def test_whoever_cancels_waits_for_all_to_end() -> None:
    SEEN.clear()
    task = asyncio.ensure_future(together(one(name, 5) for name in "ab"))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert SEEN == ["a cancelled", "b cancelled"]


STRATEGIES: dict[str, Any] = {
    "self_consistency": lambda of: sy.self_consistency(3, of=of, early_stop=False),
    "best_of": lambda of: sy.best_of(3, len, of=of),
    "generate_and_test": lambda of: sy.generate_and_test(3, [], of=of),
    "shuffled_ensemble": lambda of: sy.shuffled_ensemble("names", 3, of=of),
}


@pytest.mark.parametrize("name", STRATEGIES)
async def test_a_failed_strategy_does_nothing_to_the_world_after_its_run(name: str) -> None:
    sent, asked = list[str](), 0

    @sy.tool(effects={"write"})
    async def send(to: str) -> str:
        """Send."""
        sent.append(to)
        return "sent"

    async def say(request: sy.Request) -> str:
        nonlocal asked
        asked += 1
        if "sent" in said(request):
            return '{"thought": "done", "tool": "finish", "arguments": {"answer": "ok"}}'
        if asked == 1:
            msg = "the provider is down"
            raise RuntimeError(msg)
        await asyncio.sleep(0.05)
        return '{"thought": "t", "tool": "send", "arguments": {"to": "bob"}}'

    @sy.step(model=sy.FunctionModel(say), strategy=STRATEGIES[name](sy.agent([send])))
    async def do(goal: str, names: list[str]) -> str:
        """Do it."""
        ...

    @sy.program
    async def program(goal: str) -> str:
        return await do(goal, ["a", "b", "c"])

    with pytest.raises(RuntimeError, match="down"):
        await sy.run(program, "greet", run_id="r", journal=sy.MemoryJournal())
    paid = asked
    await asyncio.sleep(0.2)
    assert sent == []
    assert asked == paid == 3


@pytest.mark.parametrize("strategy", [sy.self_consistency(2), sy.best_of(2, len, of=sy.chain_of_thought), sy.debate(2)])
async def test_a_tie_has_the_same_winner_when_the_run_is_read_from_its_journal(strategy: Any) -> None:
    thoughts = 0

    async def say(request: sy.Request) -> str:
        nonlocal thoughts
        if request.messages[-1].text.startswith("Let's think"):
            thoughts += 1
            await asyncio.sleep(0.1 if thoughts == 1 else 0.01)  # the first is the last to come
            return "the same thought"
        return "YX"[request.sample]

    @sy.step(model=sy.Journaled(sy.FunctionModel(say)), strategy=strategy)
    async def ask(question: str) -> str:
        """Answer."""
        ...

    @sy.program
    async def program(question: str) -> str:
        return await ask(question)

    journal = sy.MemoryJournal()
    answers = [await sy.run(program, "?", run_id="r", journal=journal) for _ in range(3)]
    assert answers == ["X"] * 3


@pytest.mark.parametrize(
    ("options", "says", "expected"),
    [([3, 1, 2], "2", 2), ([1, 2, 3, 4, 5], "4", 4), ([10, 20, 30], None, 1)],
)
async def test_a_choice_is_no_place(options: list[int], says: str | None, expected: int) -> None:
    def say(request: sy.Request) -> str:
        if says is not None:
            return says
        (listed,) = [line for line in said(request).splitlines() if "10" in line and "20" in line]
        order = sorted((listed.index(str(option)), option) for option in options)
        return str([option for _, option in order].index(20))  # by its place in the order shown

    @sy.step(model=Scripted(say=say), strategy=sy.shuffled_ensemble("options", 5))
    async def pick(question: str, options: list[int]) -> int:
        """Pick one of the options."""
        ...

    assert await pick("?", options) == expected


PROGRAMS = {
    'n = 7\nprint("checking", n)\nif n % 2:\n    answer = "odd"\nelse:\n    answer = "even"': True,
    "for i in range(3):\n    answer = i": True,
    "answer, rest = 3, 4": True,
    "a = answer = 5": True,
    "def f():\n    global answer\n    answer = 6\nf()": True,
    "answer: int = 7": True,
    "answer = 1\nanswer += 1": True,
    "print(answer := 2)": True,
    'text = """\nanswer = 99\n"""\n8': False,
    "def f():\n    answer = 1\nf()\n9": False,
    "def answer():\n    return 1\nanswer()": False,
    "print(answer)": False,
    "answer = (": False,
}


@pytest.mark.parametrize("code", PROGRAMS)
def test_an_answer_is_found_wherever_a_program_assigns_it(code: str) -> None:
    assert assigns(code, "answer") is PROGRAMS[code]


async def test_a_program_may_assign_its_answer_in_a_branch() -> None:
    model = Scripted(f"```Python3\n{next(iter(PROGRAMS))}\n```")

    @sy.step(model=model, strategy=sy.program_of_thought())
    async def parity(n: int) -> str:
        """Odd or even?"""
        ...

    assert await parity(7) == "odd"
    assert python_of("```py\n1\n```") == python_of("```python\n1") == "1"
