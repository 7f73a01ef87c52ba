"""Chains of several steps, as one builds them in LangChain, and as a plain program.

There, a chain is composed of objects: `prompt | model | parser` in sequence, `RunnableParallel` side by side,
`RunnableBranch` for a choice, `RunnablePassthrough.assign` to carry values on, `.with_retry`, `.with_fallbacks`,
`.batch` and `.stream` on top. Here, a chain is a Python function over typed steps: a value is a variable, side by side
is `asyncio.gather`, a branch is `if`, a fallback is a model, many rows are `run_many`; it streams, resumes, is
journaled and can be tuned without more words.

Enforced: each step's output has its type before the next step sees it; the branch taken is one of the two there are.
Not enforced: that the small model sorts the message as you would.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

import synthon as sy

MESSAGES = ["My parcel never came and I want my money back.", "Do you also sell blue lamps?"]


@sy.step(temperature=0.0)
async def kind(message: str) -> Literal["complaint", "question"]:
    """Is the customer's message a complaint or a question?"""
    ...


@sy.step(temperature=0.0)
async def topic(message: str) -> Literal["delivery", "products", "payment"]:
    """What is the customer's message about?"""
    ...


@sy.step(temperature=0.0, max_tokens=32)
async def apologise(message: str, topic: str) -> str:
    """Apologise in one sentence and say what happens next."""
    ...


@sy.step(temperature=0.0, max_tokens=32)
async def reply(message: str, topic: str) -> str:
    """Answer in one friendly sentence."""
    ...


@dataclass(frozen=True)
class Handled:
    """What each link of the chain gave."""

    kind: str
    topic: str
    answer: str


@sy.program
async def handle(message: str) -> Handled:
    """Two steps side by side, then one of two branches, which sees what came before."""
    sorted_, about = await asyncio.gather(kind(message), topic(message))
    answer = await (apologise if sorted_ == "complaint" else reply)(message, about)
    return Handled(sorted_, about, answer.strip())


async def main() -> list[Handled | sy.Failed]:
    """Both messages at once, each a run of its own; then one streamed, from its rows."""
    model, journal = sy.local(), sy.MemoryJournal()  # sy.Fallback(model, other) would be a model, too
    chain = handle.using(model=model)
    found = await sy.run_many(chain, MESSAGES, journal=journal, policy="cache")
    for message, each in zip(MESSAGES, found, strict=True):
        print(f"{message}\n  {each}")

    async def streamed() -> Handled:
        async with chain.stream(MESSAGES[0]) as stream:
            async for delta in stream:
                print(f"  {delta.step}: {delta.text!r}{' (taken back)' if delta.reset else ''}")
            return await stream.result()

    again = await sy.run(streamed, journal=journal, policy="cache")
    print("the stream ends in the same:", again == found[0])
    return found


if __name__ == "__main__":
    asyncio.run(main())
