"""A query with holes, where-clauses, decoders and a distribution, as one writes it in LMQL.

There, a query is a Python function whose bare strings are the prompt. A name in square brackets is a hole, `where` says
what may fill it, the decoder (`argmax`, `beam`, `best_k`) stands before the query, and `distribution` asks how likely
each of some values is. Here, the strings are `s.text(...)`, a hole is `s.gen(name, constraint=..., decoder=...)`,
predicates compose with `&` and `|`, and the rest of the function is Python that needs no parser of its own.

Enforced: every hole keeps to its where-clause, token by token under a mask, in the beams too; probabilities sum to 1.
Not enforced: that the list is useful, or that the model reads the review as you do.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import synthon as sy

SENTIMENTS = (" positive", " neutral", " negative")
ITEM = sy.regex(" [a-zA-Z ]+\n") & sy.where(length=(4, 24), stops_at="\n")
REVIEW = "We had a wonderful stay. The hike in the mountains was fabulous, and the food was really good."


@dataclass(frozen=True)
class Reading:
    """What the review is about, in the model's words, and how likely each sentiment is, in 0..1."""

    gist: str
    sentiments: dict[str, float]

    @property
    def sentiment(self) -> str:
        """The likeliest one."""
        return max(self.sentiments, key=self.sentiments.__getitem__)


@sy.program
async def packing(trip: str, count: int, *, width: int = sy.knob(3, 1, 5)) -> list[str]:
    """A list of different things; the where-clause of each hole depends on what filled those before it."""
    things: list[str] = []
    async with sy.session(name="packing") as s:
        s.text(f"Name {count} things to pack for {trip}, one a line.")
        s.assistant("Things to pack:\n")
        for number in range(count):
            s.text("-")
            fresh = ITEM & sy.where(excludes=things) if things else ITEM
            thing = await s.gen(f"thing {number}", constraint=fresh, max_tokens=12, decoder=sy.best_k(width, 48))
            things.append(thing.strip())
    return things


@sy.program
async def read(review: str) -> Reading:
    """Think first, under a where-clause and a beam; then weigh the labels after what was thought."""
    async with sy.session(name="read") as s:
        s.text(f"Review: {review}\nWhat does the guest say, and is the review positive, neutral or negative?")
        s.assistant("The guest says that")
        sentence = sy.where(stops_at=".", words=(3, 20), excludes="\n")
        gist = await s.gen("gist", constraint=sentence, max_tokens=40, decoder=sy.beam(3))
        s.text(" So the review is")
        weights = await s.distribution(SENTIMENTS)
    return Reading(gist.strip(), {label.strip(): weight for label, weight in weights.items()})


async def main() -> tuple[list[str], Reading]:
    """The packing list and the reading of the review."""
    model = sy.local()
    things = await packing.using(model=model)("a week at the sea", 3)
    print("To pack (each 4 to 24 letters and blanks, none twice):")
    for thing in things:
        print(f"  - {thing}")
    reading = await read.using(model=model)(REVIEW)
    print(f"\nThe guest says that {reading.gist}")
    for label, weight in reading.sentiments.items():
        print(f"  {label:<9} {weight:6.1%}")
    return things, reading


if __name__ == "__main__":
    asyncio.run(main())
