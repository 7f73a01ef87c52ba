"""AutoGPT, the classic loop (Significant Gravitas 2023): goals, thoughts, a command, a person who lets it go.

There, the model is begged for JSON of a shape, the loop repeats commands, and no budget ends it. Here, `autogpt(...)`
is a small system over the strategy `sy.agent`: thoughts and command are one typed answer under a mask, circles are told
and stopped, steps and budget end it, results are kept in a memory, and every call is a row, so that a killed run goes
on. `ask=sy.ask_person` suspends the run until a person answers; here, a list answers.

Enforced: each turn is thoughts with one command that exists and arguments that fit it, or the end; nothing acts that
the person refused; the given steps.
Not enforced: that 135 million parameters plan well. What it did is printed as it is.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

import synthon as sy
from synthon.systems.autogpt import Outcome, autogpt

SAID = {"type": "string", "maxLength": 24}
SHORT = sy.schema(
    {"type": "object", "properties": {"plan": SAID, "criticism": SAID}, "required": ["plan", "criticism"]}
)


Fruit = Literal["apples", "pears"]
Few = Annotated[int, Field(ge=1, le=9)]


@dataclass
class Shop:
    """A closed world: what lies on the shelves, and all that was done."""

    stock: dict[str, int] = field(default_factory=lambda: {"apples": 4, "pears": 0})
    done: list[str] = field(default_factory=list)

    def commands(self) -> list[sy.Tool]:
        @sy.tool(effects={"read"})
        async def count(fruit: Fruit) -> int:
            """How many of a fruit are in stock."""
            self.done.append(f"count {fruit}")
            return self.stock[fruit]

        @sy.tool(effects={"write"})
        async def order(fruit: Fruit, number: Few) -> str:
            """Order more of a fruit."""
            self.done.append(f"order {number} {fruit}")
            self.stock[fruit] = self.stock[fruit] + number
            return f"{self.stock[fruit]} {fruit} in stock"

        return [count, order]


@dataclass
class Person:
    """Answers from a list, then no more; keeps what it was asked."""

    answers: list[str]
    asked: list[str] = field(default_factory=list)

    async def __call__(self, question: str) -> str:
        self.asked.append(question)
        answer = self.answers.pop(0) if self.answers else "n"
        *thoughts, command, _ = question.splitlines()
        print("\n".join(f"    {thought}" for thought in thoughts))
        print(f"  {command}\n  person: {answer}")
        return answer


async def main() -> tuple[Outcome, Shop, Person]:
    """Two turns, of which the person sees each."""
    shop, person = Shop(), Person(["y", "not now"])
    with tempfile.TemporaryDirectory() as folder, sy.Index(Path(folder) / "memory.db", embedder="none") as index:
        pursue = autogpt(
            "Fruiterer",
            "keeps a fruit shop in stock",
            ["Find out how many pears there are.", "Order 5 pears if there are none."],
            shop.commands(),
            ask=person,
            memory=sy.Memory(index, k=1),
            thoughts=SHORT,
            steps=2,
            least=2,
        ).using(model=sy.local())
        outcome = await pursue.using({"act.temperature": 0.0, "act.max_tokens": 80})()
    print(f"done: {shop.done}; ended: {outcome.ended}; answer: {outcome.answer!r}")
    return outcome, shop, person


if __name__ == "__main__":
    asyncio.run(main())
