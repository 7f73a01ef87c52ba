"""Answers that cannot leave their type: choice, regex, Pydantic model, JSON schema, grammar, as in Outlines.

There, a model is called with a prompt and an output type: a `Literal` or `Choice`, a `Regex`, a Pydantic model, a JSON
schema or a grammar. The type is compiled to an automaton over the model's tokens, and what a back-end cannot compile
is its own affair. Here, a step's return type is its constraint by itself, `constraint=` takes the other kinds, and
`explain` says of each keyword whether a mask enforces it, the finished answer is checked for it, or it is refused.

Enforced: the shape of every answer. Not enforced: that what stands in it is true; a model of 135 million parameters
copies a time or a name from a short letter, and is easily wrong about anything it would have to think of.
"""

from __future__ import annotations

import asyncio
from typing import Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

import synthon as sy

T = TypeVar("T")
LETTER = (
    "Dear hotel, I am Mary Poole and want a double room for 3 nights. My train arrives at 18:45. "
    "I bring two dogs, Rex and Bella. Kind regards"
)
TIME = "([01][0-9]|2[0-3]):[0-5][0-9]"
PETS = {
    "type": "array",
    "items": {"type": "string", "maxLength": 12},
    "minItems": 1,
    "maxItems": 3,
    "uniqueItems": True,  # a mask does not compare items, so this one is checked, and asked again
}
CONTACT = {"type": "object", "properties": {"pets": PETS}, "required": ["pets"], "additionalProperties": False}
FORMULA = r"""
start: term (" " ("+" | "-") " " term)*
term: factor (" " ("*" | "/") " " factor)*
factor: /[0-9]{1,3}/ | "(" start ")"
"""


class Booking(BaseModel):
    """Without `forbid`, a Pydantic model lets any further field pass, and so does its mask."""

    model_config = ConfigDict(extra="forbid")
    guest: str = Field(max_length=24)
    nights: int = Field(ge=1, le=30)
    room: Literal["single", "double"]


@sy.step(constraint=sy.choice("booking", "complaint", "question"))
async def kind(letter: str) -> str:
    """What kind of letter is it?"""
    ...


@sy.step(constraint=sy.regex(TIME))
async def arrival(letter: str) -> str:
    """At what time does the guest's train arrive?"""
    ...


@sy.step(layout="pretty")
async def booking(letter: str) -> Booking:
    """Extract the booking from the letter."""
    ...


@sy.step(constraint=sy.schema(CONTACT, layout="pretty"))
async def contact(letter: str) -> dict[str, list[str]]:
    """Extract the names of the pets."""
    ...


@sy.step(constraint=sy.grammar(FORMULA))
async def formula(words: str) -> str:
    """Write the words as a formula in digits."""
    ...


async def shown(step: sy.Step[[str], T], text: str) -> T:
    """The step's answer, printed with what became of each keyword of its constraint."""
    answer = await step(text)
    print(f"{step.name}: {answer!r}")
    rows = (await step.explain(text)).soundness
    for how in ("enforced", "checked", "unsupported"):
        kept = {row.keyword + (f" ({row.reason})" if row.reason else ""): None for row in rows if row.how == how}
        if kept:
            print(f"    {how}: {', '.join(kept)}")
    return answer


async def main() -> dict[str, object]:
    """The answers by step."""
    model = sy.local()
    return {
        "kind": await shown(kind.using(model=model), LETTER),
        "arrival": await shown(arrival.using(model=model), LETTER),
        "booking": await shown(booking.using(model=model), LETTER),
        "contact": await shown(contact.using(model=model), LETTER),
        "formula": await shown(formula.using(model=model), "Three plus four times five."),
    }


if __name__ == "__main__":
    asyncio.run(main())
