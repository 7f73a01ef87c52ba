"""Medprompt (Nori 2023): nearest worked examples, the model's own reasoning, and a vote over shuffled choices.

There, a script over GPT-4 embeds the training questions, lets the model explain each, keeps the explanations that end
in the right answer, and asks five times with shuffled choices. Here, the same is `medprompt(step, train, "options")`
over any step with multiple choices; what it is made of are a selector for `sy.knn`, `sy.reasoned` and
`sy.shuffled_ensemble`, and each rung of its ablation is a step of its own.

Enforced: an answer is one of the letters; an example is shown only if the model's own reasoning reached its right
answer.
Not enforced: that more rungs are better for a model of this size. The table says what they did here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

import synthon as sy
from synthon.strategies.thinking import ChainOfThought
from synthon.systems.medprompt import Medprompt, medprompt

Letter = Literal["A", "B"]


def row(question: str, right: Letter, *options: str) -> sy.Demo:
    return sy.Demo({"question": question, "options": list(options)}, right)


TRAIN = [
    row("Which of these is an animal?", "B", "spoon", "horse"),
    row("Which of these can you drink?", "A", "milk", "brick"),
    row("Which of these is a country?", "B", "butter", "France"),
]
TEST = [
    row("Which of these is a fruit?", "B", "hammer", "apple"),
    row("Which of these is a bird?", "A", "sparrow", "engine"),
]


CHAIN = ChainOfThought(prompt="Which option is it? Say it in a few words.", max_tokens=8)


def lettered(rendering: sy.Rendering) -> list[sy.Message]:
    """Choices with their letters, a line each."""

    def shown(inputs: Mapping[str, object]) -> dict[str, object]:
        given = inputs["options"]
        lines = [f"{letter}. {option}" for letter, option in zip("AB", cast("list[str]", given), strict=True)]
        return {"question": "\n".join([str(inputs["question"]), *lines])}

    demos = [replace(demo, inputs=shown(demo.inputs)) for demo in rendering.demos]
    return sy.render(replace(rendering, inputs=shown(rendering.inputs), demos=demos))


@sy.step(temperature=0.0, render=lettered)
async def pick(question: str, options: list[str]) -> Letter:
    """Choose the right option by its letter."""
    ...


@dataclass(frozen=True)
class Ladder:
    """Right answers of each rung over the test questions, and the examples that were kept."""

    right: dict[str, int]
    made: Medprompt[[str, list[str]], Letter]


async def main() -> Ladder:
    """Prepare it on the training questions, and climb the ladder over the test questions."""
    step, journal = pick.using(model=sy.local()), sy.MemoryJournal()  # rungs share their equal calls
    made = await medprompt(step, TRAIN, "options", k=1, votes=3, of=CHAIN)
    print(f"{len(made.kept)} of {len(TRAIN)} training questions were explained to the right answer:")
    for demo in made.kept:
        print(f"  {demo.inputs['question']} {demo.output}: {' '.join(demo.thought.split())}")
    rungs = {"bare": made.bare, "+ nearest": made.nearest, "+ reasoning": made.reasoned, "+ shuffling": made.whole}
    right = {}
    for name, rung in rungs.items():
        answers = [await sy.run(rung, **each.inputs, journal=journal, policy="cache") for each in TEST]  # type: ignore[arg-type]  # inputs by name
        right[name] = sum(answer == each.output for answer, each in zip(answers, TEST, strict=True))
        print(f"{name:<12} {' '.join(answers)}   {right[name]} of {len(TEST)} right")
    return Ladder(right, made)


if __name__ == "__main__":
    asyncio.run(main())
