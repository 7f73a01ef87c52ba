"""Ask several times and vote: self-consistency (Wang 2022), and Gemini's CoT@32 (2023) that doubts its majority.

There, a script samples m chains of thought at a temperature, cuts the answers out, and counts them. Here, both are
strategies over any typed step. A vote stops as soon as its majority cannot change; CoT@32 takes the majority only if
its share reaches a threshold, set on validation data, else the greedy answer. Every sample is a row of the journal, so
under the policy `cache` the second strategy finds the samples of the first.

Enforced: answers are of the step's type, so each vote counts; a stopped vote has the winner that all votes would have.
Not enforced: that the majority is right. Small models vote for what they like to say.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Literal

import synthon as sy
from synthon.strategies.thinking import ChainOfThought

KEY = {
    "We waited an hour and the soup was cold.": "negative",
    "What a lovely evening, we will come back!": "positive",
}
VOTES = 3
BRIEF = ChainOfThought(prompt="In a few words: how did the guest feel?", max_tokens=10)
STRATEGIES: dict[str, sy.Strategy] = {
    "all votes": sy.self_consistency(VOTES, of=BRIEF, early_stop=False),
    "self-consistency": sy.self_consistency(VOTES, of=BRIEF),
    f"CoT@{VOTES}": sy.uncertainty_routed(VOTES, 0.9, of=BRIEF),
}


@sy.step(temperature=0.0)
async def sentiment(review: str) -> Literal["positive", "negative"]:
    """Say whether the guest's review is positive or negative."""
    ...


@dataclass(frozen=True)
class Voted:
    """One strategy on one review: its answer, and the model calls that it counts."""

    review: str
    strategy: str
    answer: str
    calls: int


async def main() -> list[Voted]:
    """Each review under each strategy, over one journal."""
    model, journal, found = sy.local(), sy.MemoryJournal(), list[Voted]()
    for review, right in KEY.items():
        print(f"{review} ({right})")
        for name, strategy in STRATEGIES.items():
            budget = sy.Budget(calls=1_000)  # counts what a hit cost, too
            step = sentiment.using(model=model, strategy=strategy)
            answer = await sy.run(step, review, journal=journal, policy="cache", budget=budget)
            found.append(Voted(review, name, answer, budget.spent.calls))
            print(f"  {name:<18} {answer:<9} {budget.spent.calls:>3} calls")
    whole, stopped = (sum(each.calls for each in found if each.strategy == name) for name in list(STRATEGIES)[:2])
    print(f"stopping early spared {1 - stopped / whole:.0%} of the calls")
    return found


if __name__ == "__main__":
    asyncio.run(main())
