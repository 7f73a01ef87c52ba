"""Strategies refuse what they cannot work with, and say what they could."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import synthon as sy
from tests.strategies.scripted import Scripted

if TYPE_CHECKING:
    from collections.abc import Callable


@sy.tool(effects={"read"})
async def look(place: str) -> str:
    """Look."""
    return place


@sy.step(model=Scripted())
async def pick(question: str, options: list[str]) -> str:
    """Which one?"""
    ...


@pytest.mark.parametrize(
    ("make", "wrong"),
    [
        (lambda: sy.agent([look], -1), "steps=-1"),
        (lambda: sy.react([look], -2), "steps=-2"),
        (lambda: sy.agent([look], patience=-1), "patience=-1"),
        (lambda: sy.generate_and_test(2, (), temperatures=()), "no temperatures"),
        (lambda: sy.generate_and_test(2, (), hints=()), "no hints"),
    ],
)
def test_what_no_strategy_can_be_is_refused_where_it_is_made(make: Callable[[], object], wrong: str) -> None:
    with pytest.raises(sy.UserError, match=f"cannot .*{wrong}"):
        make()


async def test_an_agent_whose_steps_are_set_below_none_ends() -> None:
    with pytest.raises(sy.BudgetExceeded, match="used up its -1 steps"):
        await pick.using(strategy=sy.agent([look], sy.one_of(-1, 5)))("?", [])


@pytest.mark.parametrize("options", [{"workers": 0}, {"tries": 0}])
async def test_examples_are_not_reasoned_by_nobody(options: dict[str, Any]) -> None:
    with pytest.raises(sy.UserError, match=r"Pass at least 1 of each\."):
        await sy.reasoned(pick, [sy.Demo({"question": "?", "options": []}, "a")], **options)


@pytest.mark.parametrize("said", ["ß", "ŉ", "ı"])
async def test_a_letter_of_another_alphabet_is_no_place(said: str) -> None:
    step = pick.using(model=Scripted(said, said), strategy=sy.shuffled_ensemble("options", 2))
    assert await step("which?", ["one", "two"]) == said


@pytest.mark.parametrize("given", [True, False, 3])
async def test_what_an_approval_cannot_mean_is_refused_and_nothing_is_called(given: Any) -> None:
    called: list[str] = []

    @sy.tool
    async def pay(to: str) -> str:
        """Pay."""
        called.append(to)
        return "paid"

    model = Scripted('{"tool": "pay", "arguments": {"to": "a"}}')
    strategy = sy.agent([pay], thought=None, approve=lambda _call, _thought: given)
    with pytest.raises(sy.UserError, match=f"approve= gave {given} to the call of 'pay'. Return None to let it go"):
        await pick.using(model=model, strategy=strategy)("?", [])
    assert called == []


async def test_an_approval_need_not_be_async() -> None:
    model = Scripted('{"tool": "look", "arguments": {"place": "a"}}', '{"answer": "done"}')
    strategy = sy.agent([look], thought=None, approve=lambda _call, _thought: None)
    assert await pick.using(model=model, strategy=strategy)("?", []) == "done"


@pytest.mark.parametrize(
    "strategy",
    [
        *(sy.shuffled_ensemble("options", 0), sy.shuffled_ensemble("choices"), sy.shuffled_ensemble("question")),
        *(sy.map_reduce("options", 0), sy.map_reduce("choices"), sy.map_reduce("question", 4)),
    ],
)
async def test_only_an_input_that_is_a_list_is_shuffled_or_divided(strategy: Any) -> None:
    with pytest.raises(sy.UserError, match=r"the inputs \['question', 'options'\] of step 'pick'. Name an input that"):
        await pick.using(strategy=strategy)("which?", ["a", "b"])
