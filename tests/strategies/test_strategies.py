"""Strategies by scripted models: what they ask, how often, and which answer stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

import synthon as sy
from synthon.strategies.voting import Votes

if TYPE_CHECKING:
    from collections.abc import Callable


class Scripted:
    """A model that says what a function makes of the request, and keeps the requests."""

    name = "scripted"
    identity = "scripted"
    capabilities: frozenset[Any] = frozenset({"chat"})

    def __init__(self, *answers: str, say: Callable[[sy.Request], str] | None = None) -> None:
        self.answers, self.say = list(answers), say
        self.seen: list[sy.Request] = []

    async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
        self.seen.append(request)
        return sy.Completion(self.say(request) if self.say else self.answers.pop(0))


class Sum(BaseModel):
    total: int


def adding(model: Scripted, strategy: Any, **options: Any) -> sy.Step[[str], Sum]:
    @sy.step(model=model, strategy=strategy, **options)
    async def add(question: str) -> Sum:
        """Add the numbers."""
        ...

    return add


def total(number: int) -> str:
    return f'{{"total":{number}}}'


async def test_predict_asks_once() -> None:
    model = Scripted(total(3))
    assert (await adding(model, sy.predict)("1+2")).total == 3
    assert len(model.seen) == 1


async def test_chain_of_thought_reasons_in_text_and_then_answers_in_shape() -> None:
    model = Scripted("One and two make three.", total(3))
    assert (await adding(model, sy.chain_of_thought)("1+2")).total == 3
    thinking, answering = model.seen
    assert "schema" not in "".join(message.text for message in thinking.messages)
    assert thinking.messages[-1].text.startswith("Let's think step by step.")
    assert [message.role for message in answering.messages[-3:]] == ["user", "assistant", "user"]
    assert answering.messages[-2].text == "One and two make three."
    assert "fits this schema" in answering.messages[-1].text


async def test_chain_of_thought_keeps_checks_for_the_answer_alone() -> None:
    model = Scripted("hm", total(3), total(4))
    step = adding(model, sy.chain_of_thought)

    @step.check
    def even(output: Sum) -> str | None:
        return None if output.total % 2 == 0 else "it must be even"

    assert (await step("1+2")).total == 4
    assert len(model.seen) == 3


async def test_a_constraint_that_is_set_holds_the_answer_and_not_the_reasoning() -> None:
    model = Scripted("hm", "yes")

    @sy.step(model=model)
    async def answer(question: str) -> str:
        """Answer."""
        ...

    constraint = sy.regex("yes|no", check=True)
    able = answer.using(constraint=constraint, strategy=sy.chain_of_thought, model=sy.Journaled(model))
    assert await able("Is it?") == "yes"
    assert [request.messages[-1].text for request in model.seen] == [
        "Let's think step by step. Do not answer yet.",
        "Now answer.\nAnswer with text that matches the regular expression yes|no, and nothing else.",
    ]


async def test_the_majority_of_sampled_answers_stands() -> None:
    model = Scripted(total(3), total(4), total(4), total(3), total(4))
    asked = adding(model, sy.self_consistency(5, of=sy.predict, early_stop=False))
    assert (await asked("2+2")).total == 4
    assert {request.temperature for request in model.seen} == {0.7}
    assert len(model.seen) == 5


async def test_a_vote_stops_as_soon_as_the_majority_cannot_change() -> None:
    model = Scripted(*[total(4)] * 3)
    assert (await adding(model, sy.self_consistency(5, of=sy.predict))("2+2")).total == 4
    assert len(model.seen) == 3
    model = Scripted(total(4), total(3), total(4), total(4))
    assert (await adding(model, sy.self_consistency(5, of=sy.predict))("2+2")).total == 4
    assert len(model.seen) == 4


@given(st.lists(st.integers(0, 2), min_size=1, max_size=12))
def test_stopping_early_never_changes_the_winner(ballots: list[int]) -> None:
    votes: Votes[int] = Votes(len(ballots))
    cast = 0
    while votes.open:
        for ballot in ballots[cast : cast + votes.open]:
            votes.cast(ballot)
        cast = len(ballots) - votes.left
    counts = [ballots.count(answer) for answer in range(3)]
    assert ballots.count(votes.leader[0]) == max(counts)
    if counts.count(max(counts)) == 1:
        assert counts[votes.leader[0]] == max(counts)


async def test_a_vote_of_none_is_refused() -> None:
    with pytest.raises(sy.UserError, match="vote of 0 answers decides nothing"):
        await adding(Scripted(), sy.self_consistency(0))("2+2")
    with pytest.raises(sy.UserError, match="best of 0 answers is none"):
        await adding(Scripted(), sy.best_of(0, lambda output: 1.0))("2+2")


@pytest.mark.parametrize(("third", "expected", "calls"), [(4, 4, 3), (5, 9, 4)])
async def test_an_unclear_majority_is_routed_to_the_greedy_answer(third: int, expected: int, calls: int) -> None:
    def say(request: sy.Request) -> str:
        if request.temperature == 0:
            return total(9)
        return total([3, 4, third][len(model.seen) - 1])

    model = Scripted(say=say)
    assert (await adding(model, sy.uncertainty_routed(3, 0.6, of=sy.predict))("2+2")).total == expected
    assert len(model.seen) == calls


async def test_shuffling_the_choices_takes_away_a_models_liking_for_the_first_place() -> None:
    def first_place_unless_sure(request: sy.Request) -> str:
        return "A"

    model = Scripted(say=first_place_unless_sure)

    @sy.step(model=model, strategy=sy.shuffled_ensemble("options", 9, seed=1))
    async def pick(question: str, options: list[str]) -> Literal["A", "B", "C"]:
        """Which option is right?"""
        ...

    await pick("?", ["x", "y", "z"])
    shown = {request.messages[-1].text for request in model.seen}
    assert len(shown) > 3
    assert "x" in model.seen[0].messages[-1].text

    def knows(request: sy.Request) -> str:
        text = request.messages[-1].text
        order = sorted("xyz", key=text.index)
        return "ABC"[order.index("y")]

    sure = Scripted(say=knows)
    assert await pick.using(model=sure)("?", ["x", "y", "z"]) == "B"

    @sy.step(model=sure, strategy=sy.shuffled_ensemble("options", 5))
    async def place(question: str, options: list[str]) -> int:
        """The place of the right option."""
        ...

    sure.say = lambda request: str("ABC".index(knows(request)))
    assert await place("?", ["x", "y", "z"]) == 1


async def test_the_best_sample_by_a_scorer_that_sees_the_inputs() -> None:
    model = Scripted(total(3), total(5), total(4))

    async def near(output: Sum, question: str) -> float:
        return -abs(output.total - len(question))

    assert (await adding(model, sy.best_of(3, near))("12345")).total == 5


async def test_refining_ends_when_the_critic_is_content() -> None:
    model = Scripted(total(3), total(4), total(5))

    def critic(output: Sum) -> str | None:
        return None if output.total == 4 else "too small"

    assert (await adding(model, sy.refine(critic, 5))("2+2")).total == 4
    assert "too small" in model.seen[1].messages[-1].text
    assert model.seen[1].messages[-2].text == total(3)
    assert len(model.seen) == 2


def thinks_then_says(number: int) -> Callable[[sy.Request], str]:
    return lambda request: "hm" if "step by step" in request.messages[-1].text else total(number)


async def test_a_step_may_be_the_critic_and_strategies_nest() -> None:
    judge = Scripted("say four", "")

    @sy.step(model=judge)
    async def critic(output: Sum) -> str:
        """Say what is wrong, or nothing."""
        ...

    model = Scripted(say=thinks_then_says(3))
    vote = sy.self_consistency(2, of=sy.chain_of_thought)
    assert (await adding(model, sy.refine(critic, 2, of=vote))("2+2")).total == 3
    assert len(model.seen) == 5
    assert "say four" in model.seen[4].messages[-1].text
    assert judge.seen[0].messages[-1].text == total(3)


async def test_a_strategy_is_a_knob_that_is_saved_by_name(tmp_path: Any) -> None:
    model = Scripted(total(3))
    step = adding(model, sy.one_of(sy.predict, sy.self_consistency(3)))

    @sy.program
    async def program(question: str) -> Sum:
        return await step(question)

    changed = program.using({"add.strategy": sy.self_consistency(3)})
    changed.save(tmp_path / "program.json")
    loaded = program.using(str(tmp_path / "program.json"))
    model.say = thinks_then_says(4)
    assert (await loaded("2+2")).total == 4
