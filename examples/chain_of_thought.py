"""Reason first, then answer: chain-of-thought prompting (Wei 2022, Kojima 2022).

There, one prompt ends in "Let's think step by step", and the answer is cut out of the text with a second prompt or a
pattern. Here, the strategy is a value on a typed step: reasoning is a call of its own in free text, and the answer
after it keeps its type, so a closed set is still scored and a number still masked. A worked example is a `Demo`; its
`thought` shows how to reason.

Enforced: every answer is a whole number, with reasoning and without; each reasoning is bounded in tokens.
Not enforced: that the reasoning is sound. What is right below is counted against the key, not claimed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import synthon as sy
from synthon.strategies.thinking import ChainOfThought

KEY = {
    "Tom has 3 apples and buys 4 more. How many apples has he?": 7,
    "Anna reads 2 books a week for 4 weeks. How many books is that?": 8,
}
EXAMPLE = sy.Demo(
    {"question": "Ben has 6 cups and breaks 2. How many cups are left?"},
    4,
    "Ben starts with 6. He breaks 2. 6 - 2 = 4.",
)


@sy.step(temperature=0.0, max_tokens=32, demos=[EXAMPLE])
async def solve(question: str) -> int:
    """Solve the problem. The answer is a whole number."""
    ...


@dataclass(frozen=True)
class Solved:
    """One problem's answers: at once, after reasoning, and the reasoning itself."""

    question: str
    direct: int
    reasoned: int
    thought: str


@sy.program
async def compare(question: str) -> Solved:
    """The same step under two strategies; the third line shows the reasoning that the second one saw."""
    chain = ChainOfThought(max_tokens=28)
    direct = await solve(question)
    reasoned = await solve.using(strategy=chain)(question)
    thought = await chain.thinking(solve)(question)  # greedy and journaled: the same words again
    return Solved(question, direct, reasoned, thought)


async def main() -> list[Solved]:
    """All problems, and how many of each kind of answer are right."""
    model = sy.local()
    found = [await compare.using(model=model)(question) for question in KEY]
    for each in found:
        print(f"{each.question}\n  at once {each.direct}, after reasoning {each.reasoned}, right {KEY[each.question]}")
        print(f"  reasoning: {' '.join(each.thought.split())}")
    for name in ("direct", "reasoned"):
        right = sum(getattr(each, name) == KEY[each.question] for each in found)
        print(f"{name}: {right} of {len(found)} right")
    return found


if __name__ == "__main__":
    asyncio.run(main())
