"""Knobs and steps inside strategies are found, named and turned; demonstrations carry reasoning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

import synthon as sy
from tests.strategies.scripted import Scripted, said

if TYPE_CHECKING:
    from pathlib import Path


class Sum(BaseModel):
    total: int


def thinks_then_says(request: sy.Request) -> str:
    return "hm" if "step by step" in request.messages[-1].text else '{"total":4}'


def adding(strategy: Any, model: Any = None) -> sy.Step[[str], Sum]:
    @sy.step(model=model or Scripted(say=thinks_then_says), strategy=strategy)
    async def add(question: str) -> Sum:
        """Add the numbers."""
        ...

    return add


async def test_knobs_inside_nested_strategies_are_found_and_turned() -> None:
    model = Scripted(say=thinks_then_says)
    vote = sy.self_consistency(
        sy.knob(1, 3), of=sy.one_of(sy.predict, sy.chain_of_thought), temperature=sy.knob(0.5, 0.9), early_stop=False
    )
    step = adding(vote, model)
    assert {"add.strategy.n", "add.strategy.of", "add.strategy.temperature"} <= step.parts().knobs.keys()
    assert "self_consistency(knob(1, 3), of=knob(" in vote.name
    await step("2+2")
    assert len(model.seen) == 1
    turned = {"add.strategy.n": 3, "add.strategy.of": sy.chain_of_thought, "add.strategy.temperature": 0.9}
    await step.using(turned)("2+2")
    assert len(model.seen) == 1 + 3 * 2
    assert {request.temperature for request in model.seen[1:]} == {0.9}


@pytest.mark.parametrize(
    ("strategy", "names"),
    [
        (lambda k: sy.uncertainty_routed(k, sy.knob(0.5, 0.7)), {"n", "threshold"}),
        (lambda k: sy.best_of(k, lambda output: 1.0, of=sy.one_of(sy.predict, sy.chain_of_thought)), {"n", "of"}),
        (lambda k: sy.refine(lambda output: None, k), {"rounds"}),
        (lambda k: sy.debate(2, k), {"rounds"}),
        (lambda k: sy.map_reduce("question", k), {"size"}),
        (lambda k: sy.multi_hop(Fixed(), k, sy.knob(1, 2)), {"hops", "k"}),
    ],
)
def test_every_strategy_shows_its_knobs_and_has_a_name(strategy: Any, names: set[str]) -> None:
    made = strategy(sy.knob(2, 3))
    assert {f"add.strategy.{name}" for name in names} <= adding(made).parts().knobs.keys()
    assert "(" in made.name


class Fixed:
    async def search(self, query: str, *, k: int, where: sy.Filter | None = None) -> list[sy.Passage]:
        return []


def test_steps_inside_strategies_are_found() -> None:
    @sy.step
    async def critic(output: Sum) -> str:
        """Say what is wrong."""
        ...

    steps = adding(sy.self_consistency(3, of=sy.refine(critic))).parts().steps
    assert [step.name for step in steps] == ["add", "critic"]


async def test_a_demonstrations_thought_shows_how_to_reason_and_is_saved(tmp_path: Path) -> None:
    model = Scripted("hm", '{"total":4}')
    demos = [sy.Demo({"question": "1+1"}, Sum(total=2), "One and one."), sy.Demo({"question": "0+0"}, Sum(total=0))]
    step = adding(sy.chain_of_thought, model)

    @sy.program
    async def program(question: str) -> Sum:
        return await step(question)

    program.using({"add.demos": demos}).save(tmp_path / "program.json")
    await program.using(str(tmp_path / "program.json"))("2+2")
    thinking, answering = model.seen
    assert "One and one." in said(thinking)
    assert "0+0" not in said(thinking)
    assert '"total"' not in said(thinking)
    turns = [message.text for message in answering.messages[1:7]]
    assert turns[:2] == ["1+1", "Let's think step by step. Do not answer yet."]
    assert turns[2:5] == ["One and one.", "Now answer.", '{"total":2}']
    assert '{"total":0}' in said(answering)
