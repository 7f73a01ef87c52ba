"""The steps that solve problems in the benchmarks of strategies, and how a model judges its own answers.

    await replace(number, model=model)("Two and two?")          # 4.0
    sy.best_of(5, right_by_itself)                              # judged by the model of the run

The judges ask the model that the surrounding settings name, so that one step serves any model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, cast

import synthon as sy
from synthon.core.render import Rendering, render
from synthon.core.settings import MODEL, ambient
from synthon.models.selecting import distribution

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from synthon.core.protocols import Model
    from synthon.core.values import Message

Letter = Literal["A", "B", "C", "D"]
_JUDGED = ("true", "false")


def posed(question: str, choices: Sequence[str] = ()) -> str:
    """A question with its choices under their letters."""
    return "\n".join([question, *(f"{chr(ord('A') + place)}. {choice}" for place, choice in enumerate(choices))])


def lettered(rendering: Rendering) -> list[Message]:
    """The step's own messages, the choices under their letters."""
    demos = [replace(demo, inputs=_posed(demo.inputs)) for demo in rendering.demos]
    return render(replace(rendering, inputs=_posed(rendering.inputs), demos=demos))


def _posed(inputs: Mapping[str, object]) -> dict[str, object]:
    return {"question": posed(str(inputs["question"]), cast("Sequence[str]", inputs["choices"]))}


@sy.step(temperature=0.0, max_tokens=24, retries=1, layout="compact")
async def number(question: str) -> float:
    """Solve the problem. The answer is one number."""
    raise NotImplementedError


@sy.step(temperature=0.0, retries=1)
async def decision(question: str) -> bool:
    """Is the answer to the question yes (true) or no (false)?"""
    raise NotImplementedError


@sy.step(temperature=0.0, retries=1, render=lettered)
async def letter(question: str, choices: list[str]) -> Letter:
    """Answer the question with the letter of the right choice."""
    raise NotImplementedError


# ------------------------------------------------------------------------------------------------------- judging


@sy.step(temperature=0.0)
async def is_right(problem: str, proposed_answer: str) -> bool:
    """Is the proposed answer to the problem right?"""
    raise NotImplementedError


@sy.step(temperature=0.0, max_tokens=48)
async def criticism(problem: str, proposed_answer: str) -> str:
    """Say in one sentence why the proposed answer is wrong."""
    raise NotImplementedError


async def right_by_itself(answer: object, question: str, choices: Sequence[str] = ()) -> float:
    """How likely the model finds its answer true (P(True), Kadavath 2022, arXiv:2207.05221)."""
    model = cast("Model", ambient()[MODEL])
    told = await is_right.explain(posed(question, choices), str(answer))
    return (await distribution(model, told.messages, _JUDGED))[_JUDGED[0]]


async def wrong_by_itself(answer: object, question: str, choices: Sequence[str] = ()) -> str | None:
    """What the model has against its answer; None where it holds it true."""
    problem = posed(question, choices)
    return None if await is_right(problem, str(answer)) else await criticism(problem, str(answer))


__all__ = ["criticism", "decision", "is_right", "letter", "number", "posed", "right_by_itself", "wrong_by_itself"]
