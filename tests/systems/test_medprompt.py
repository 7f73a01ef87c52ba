"""Medprompt on multiple choices, by a scripted model that likes the first place."""

from __future__ import annotations

from typing import Literal

import pytest

import synthon as sy
from synthon.systems.medprompt import medprompt
from tests.retrieval.embedding import WordEmbedder
from tests.strategies.scripted import Scripted, said

TRAIN = [
    sy.Demo({"question": "Which is a fruit?", "options": ["stone", "apple"]}, "B"),
    sy.Demo({"question": "Which is a metal?", "options": ["iron", "milk"]}, "A"),
    sy.Demo({"question": "Which is a river?", "options": ["table", "Rhine"]}, "B"),
]
RIGHT = {"fruit": "apple", "metal": "iron", "river": "Rhine", "tree": "oak"}


def knows(request: sy.Request) -> str:
    """Reasons rightly, and trusts its reasoning; of rivers it knows nothing."""
    if "step by step" in request.messages[-1].text:
        asked = request.messages[-2].text
        kind = next(kind for kind in RIGHT if kind in asked)
        return "I do not know." if kind == "river" else f"A {kind} is {RIGHT[kind]}."
    if "Now answer." not in request.messages[-1].text:
        return "A"
    thought, asked = request.messages[-2].text, request.messages[-4].text
    word = next((word for word in RIGHT.values() if f"is {word}" in thought), None)
    options = asked[asked.index("options") :]
    return "A" if word is None or options.index(word) < len('options: ["') + 2 else "B"


@sy.step
async def pick(question: str, options: list[str]) -> Literal["A", "B"]:
    """Pick the right option."""
    ...


async def test_medprompt_keeps_right_reasonings_shows_the_nearest_and_votes_over_orders() -> None:
    model = Scripted(say=knows)
    made = await medprompt(pick.using(model=model), TRAIN, "options", k=1, votes=3, embedder=WordEmbedder())
    assert [demo.inputs["question"] for demo in made.kept] == ["Which is a fruit?", "Which is a metal?"]
    assert made.kept[0].thought == "A fruit is apple."
    model.seen.clear()
    assert await made("Which is a tree?", ["car", "oak"]) == "B"
    assert len(model.seen) == 3 * 2
    assert "A fruit is apple." in said(model.seen[0]) or "A metal is iron." in said(model.seen[0])
    assert "river" not in "".join(map(said, model.seen))
    assert len({request.messages[-2].text for request in model.seen if "step by step" in said(request)}) > 1


async def test_each_rung_of_the_ladder_adds_one_ingredient() -> None:
    model = Scripted(say=knows)
    made = await medprompt(pick.using(model=model), TRAIN, "options", k=2, votes=3, embedder=WordEmbedder())
    for rung, calls, demos, answer in (
        (made.bare, 1, 0, "A"), (made.nearest, 1, 2, "A"), (made.reasoned, 2, 2, "B"), (made.whole, 6, 2, "B"),
    ):  # fmt: skip
        model.seen.clear()
        assert await rung("Which is a tree?", ["car", "oak"]) == answer
        assert len(model.seen) == calls
        assert sum(message.role == "assistant" for message in model.seen[0].messages) == demos


async def test_medprompt_without_a_right_reasoning_says_so() -> None:
    model = Scripted(say=knows)
    with pytest.raises(sy.UserError, match="no example among 1 that step 'pick' answers rightly"):
        await medprompt(pick.using(model=model), TRAIN[2:], "options", embedder=WordEmbedder())
    always = await medprompt(
        pick.using(model=model), TRAIN[2:], "options", embedder=WordEmbedder(), agrees=lambda found, wanted: True
    )
    assert len(always.kept) == 1
