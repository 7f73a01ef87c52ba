"""A whole system, optimized: the design's own example, on tickets of a shop.

There, DSPy optimizes prompts and demonstrations of a program (Khattab 2023, arXiv:2310.03714), and FrugalGPT learns a
cascade (Chen 2023, arXiv:2305.05176), each with a loop of its own. Here, the threshold of a cascade, the number of
nearest examples, the answering step's model and strategy and the number of passages are values of one search under one
budget of calls. Its best program is judged on rows that nothing was chosen by, saved as JSON and loaded again.

Enforced: the budget, before each call; the shape of tickets and answers. Not enforced: that anything is better; the
verdict says so where it is not. `--large NAME` takes a second model for a real ladder; without it, the embedded model
is the cheap and the dear one of the cascade.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

import synthon as sy
from synthon.optimize import Optimization, Optimized

COLOURS = ("red", "green", "blue", "white", "black", "grey")
TEXTS = {
    "card": ["My {} card was swallowed", "I lost my {} card yesterday", "When does my new {} card arrive?"],
    "refund": ["I want my money back for the {} order", "Where is my {} refund?", "I sent the {} shoes back"],
    "other": ["How late is the {} shop open?", "Can I park near the {} entrance?", "Do you sell {} paint?"],
}
PAGES = {
    "card.md": "# Cards\n\nA lost card is blocked at once on the number 0800. A new card arrives within 7 days.\n",
    "refund.md": "# Refunds\n\nA refund reaches the account within 14 days after the goods came back.\n",
    "other.md": "# The shop\n\nThe shop is open until 20:00. Parking is free behind the house.\n",
}


class Ticket(BaseModel):
    """What a customer wants."""

    intent: Literal["card", "refund", "other"]
    urgent: bool


class Answer(BaseModel):
    """What the customer is told."""

    text: str
    sources: list[int]


def system(small: sy.Model, large: sy.Model, manual: sy.Index) -> sy.Program[..., Answer]:
    """The program; its models and its index are parts like any other."""

    @sy.step(model=sy.cascade(small, large, accept=sy.knob(0.5, 0.7, 0.9, 0.99)), max_tokens=40, demos=sy.knn(0, 4, 8))
    async def route(message: str) -> Ticket:
        """Decide what the customer wants."""
        ...

    ways = sy.one_of(sy.predict, sy.chain_of_thought, sy.self_consistency(3))

    @sy.step(model=sy.one_of(small, large), strategy=ways, max_tokens=60)
    async def answer(question: str, passages: list[sy.Passage]) -> Answer:
        """Answer from the passages only and cite their numbers."""
        ...

    @answer.check(retries=1, level="suggest")
    def cites(output: Answer) -> str | None:
        return None if output.sources else "cite at least one passage"

    @sy.program
    async def support(message: str, *, k: int = sy.knob(1, 2, 3)) -> Answer:
        ticket = await route(message)
        passages = await manual.search(f"{ticket.intent}: {message}", k=k)
        return await answer(message, passages)

    return support


FACTS = {"card": ("0800", "7 days"), "refund": ("14 days",), "other": ("20:00", "free")}


def told(case: sy.Case[str], output: Answer) -> tuple[float, str]:
    """Whether the answer tells a fact of the right page; the words say which it should have told."""
    facts = FACTS[case.expected]
    is_told = any(fact.lower() in output.text.lower() for fact in facts)
    return float(is_told), "" if is_told else f"It should tell one of: {', '.join(facts)}."


async def main(
    large: str = "", calls: int = 200, rows: int = 18
) -> tuple[Optimization[..., Answer], Optimized[..., Answer]]:
    """Search, certify, save, load."""
    texts = [(text.format(colour), kind) for colour in COLOURS for kind in TEXTS for text in TEXTS[kind]]
    every = sy.Cases(sy.Case({"message": text}, kind) for text, kind in texts)
    train, validation, test = every.split(rows, rows, rows, seed=7)
    small = sy.local()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "manual").mkdir()
        for name, text in PAGES.items():
            (place / "manual" / name).write_text(text, encoding="utf-8")
        manual = sy.Index(place / "manual.db")
        await manual.add(place / "manual")
        support = system(small, sy.local(large) if large else small, manual)
        run = await sy.optimize(
            support, train, validation, metric=told, budget=sy.Budget(calls=calls), journal=place / "support.db", seed=7
        )
        best: Optimized[..., Any] = run.best().certify(test, against=support)
        print(f"{run.front}\n{best}")
        best.save(place / "support.json")
        print((await support.using(place / "support.json")("I lost my blue card")).text)
    return run, best


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", default="", metavar="NAME")
    asyncio.run(main(parser.parse_args().large))
