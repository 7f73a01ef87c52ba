"""What cannot be searched is refused before the first call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import synthon as sy
from synthon.core.protocols import Emit, discard
from synthon.evals import Case
from synthon.optimize import Limits, optimize, plan

exact = sy.metrics.exact_match
ROWS = [Case({"text": f"row {n}"}, "yes") for n in range(12)]
asked: list[sy.Request] = []


def plain(name: str) -> sy.FunctionModel:
    def answer(request: sy.Request) -> sy.Completion:
        asked.append(request)
        return sy.Completion("yes", usage=sy.Usage(input_tokens=9, output_tokens=1))

    return sy.FunctionModel(answer, name=name)


priced = sy.Journaled(plain("priced"), price=sy.Price(1, 1))
unpriced = sy.Journaled(plain("unpriced"))
unseen = plain("unseen")


@sy.step(temperature=0.0)
async def note(text: str) -> str:
    """Note."""
    ...


@sy.step(temperature=0.0)
async def answer(text: str, hint: str) -> str:
    """Say."""
    ...


@sy.program
async def both(text: str, *, k: int = sy.knob(1, 2, 3)) -> str:
    return await answer(text + "!" * k, await note(text))


@dataclass(frozen=True)
class Routed:
    """A model of a user's own over two others."""

    short: sy.Model
    long: sy.Model
    name: str = "routed"
    identity: str = "routed"
    capabilities: frozenset[sy.Capability] = frozenset({"chat"})

    async def complete(self, request: sy.Request, emit: Emit = discard) -> sy.Completion:
        return await (self.short if len(request.messages[-1].text) < 9 else self.long).complete(request, emit)


def searching(program: Any, **more: Any) -> Any:
    given = {"metric": exact, "budget": sy.Budget(calls=30), "journal": sy.MemoryJournal(), **more}
    return optimize(program, [], ROWS, **given)


@pytest.mark.parametrize(
    ("program", "more", "why"),
    [
        (both.using({"note.model": priced, "answer.model": unseen}), {}, "'unseen' of 'both' keeps no journal"),
        (both.using(model=priced), {"models": [sy.Fallback(unseen, unseen)]}, "'unseen' of 'both' keeps no journal"),
        (both.using(model=Routed(priced, unseen)), {}, "'unseen' of 'both' keeps no journal"),
        (both.using(model=unpriced), {"models": [priced]}, "The model 'unpriced' that 'both' may use has no price"),
        (both.using(model=priced), {"models": [unpriced]}, "The model 'unpriced' that 'both' may use has no price"),
        (both.using(model=unpriced), {"within": Limits(usd=1.0)}, r"Limits\(usd=1\.0.*'unpriced' has no price\. Give"),
    ],
)  # fmt: skip
async def test_models_that_a_limit_does_not_see_or_cannot_compare_are_refused_unasked(
    program: Any, more: dict[str, Any], why: str
) -> None:
    asked.clear()
    with pytest.raises(sy.UserError, match=why):
        await searching(program, **more)
    assert not asked


async def test_models_built_of_journaled_ones_are_searched() -> None:
    run = await searching(both.using(model=Routed(priced, sy.Fallback(priced, priced))), within=Limits(usd=1.0))
    assert run.best().quality.value == 1


async def undecorated(text: str) -> str:
    return text


@pytest.mark.parametrize(
    ("program", "more", "why"),
    [
        (undecorated, {}, r"undecorated.* Pass a step or a program; @sy\.program makes one"),
        (both, {"seed": -1}, r"'both' was given seed=-1\. Pass a whole number from 0 on"),
        (both, {"seed": 0.5}, r"seed=0\.5"),
        (both, {"budget": 300}, r"budget=300\. Pass sy\.Budget"),
        (both, {"models": priced}, r"models=Journaled.* Pass a list"),
        (both, {"proposer": "gpt"}, r"proposer='gpt'\. Pass a model"),
        (both, {"within": 0.01}, r"within=0\.01\. Pass sy\.Limits"),
        (both, {"workers": 0}, r"workers=0\. Pass 1 or more, a whole number"),
        (both, {"workers": "a"}, r"workers='a'\. Pass 1 or more"),
        (both, {"workers": None}, r"workers=None\. Pass 1 or more"),
        (both, {"workers": 2.5}, r"workers=2\.5\. Pass 1 or more"),
    ],
)
async def test_an_argument_of_another_kind_is_refused_with_what_to_pass(
    program: Any, more: dict[str, Any], why: str
) -> None:
    with pytest.raises(sy.UserError, match=why):
        await searching(program, **more)
    if not more.keys() & {"within", "workers"}:
        with pytest.raises(sy.UserError, match=why):
            await plan(program, [], ROWS, **more)


@pytest.mark.parametrize("limits", [{"usd": "1"}, {"usd": -1.0}, {"p95_s": float("nan")}])
def test_limits_that_nothing_can_keep_are_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(sy.UserError, match=r"Limits\(usd=.*, p95_s=.*\): pass numbers from 0 on"):
        sy.Limits(**limits)
