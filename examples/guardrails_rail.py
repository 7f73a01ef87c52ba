"""Validators on fields, each with its action on failure, as one writes a rail in Guardrails.

There, validators hang on the fields of a Pydantic model, each with an `on_fail` action, and a `Guard` around the call
asks again for what failed; `fix`, `filter`, `refrain` and `reask` differ, or are refused, once the answer is streamed.
Here, `guard(validator, field=..., then=...)` stands at the step, all that failed goes back in one request for these
fields alone, and a stream ends with the same value: text that a guard still takes back is withdrawn by a `reset`.

Enforced: nothing that a guard refuses leaves the step, streamed or awaited; a model that cannot do better is a
`CheckFailed`. Not enforced: what no validator looks at. A scripted model shows the rounds word by word; then the
embedded one gets the same rail around whatever it says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field

import synthon as sy
from synthon.guards import choices, in_range, length

T = TypeVar("T")
MESSAGE = "My name is Ann Lee. The parcel never arrived and nobody answers the telephone. Please send my money back."
DRAFT = '{"customer":"A. Lee","summary":"The parcel has never arrived at all","urgency":9,"tags":["parcel","misc"]}'


class Ticket(BaseModel):
    """What the desk needs to know of a message; bounds keep a small model from running on."""

    model_config = ConfigDict(extra="forbid")
    customer: str = Field(max_length=24)
    summary: str = Field(max_length=60)
    urgency: int
    tags: list[Annotated[str, Field(max_length=12)]] = Field(max_length=3)


def stands_in(value: str, message: str) -> sy.Pass | sy.Fail:
    """A validator is a function; inputs of the step come by name."""
    return sy.Pass() if value in message else sy.Fail(f"{value!r} is not in the message")


@sy.step(
    guards=[
        sy.guard(stands_in, field="customer", then="reask"),  # this field alone is asked for again
        sy.guard(length(at_most=24), field="summary", then="fix_reask"),  # cut, and asked again if that would not pass
        sy.guard(in_range(1, 5), field="urgency", then="fix"),  # the nearer bound
        sy.guard(choices("parcel", "refund", "telephone"), field="tags.*", then="filter"),  # leaves the list
    ]
)
async def ticket(message: str) -> Ticket:
    """Extract the customer's name, a short summary, how urgent it is from 1 to 5, and tags."""
    ...


@sy.step(guards=[sy.guard(stands_in, then="refrain", instead="(no quote)")], max_tokens=40)
async def quote(message: str) -> str:
    """Copy the sentence of the message that says what the customer wants."""
    ...


@dataclass
class Script:
    """Says the draft, then the one field it is asked for again; keeps what it was asked."""

    asked: list[sy.Request] = field(default_factory=list)

    def __call__(self, request: sy.Request) -> str:
        self.asked.append(request)
        return DRAFT if len(self.asked) % 2 else '{"customer":"Ann Lee"}'


@dataclass(frozen=True)
class Outcome:
    """A ticket, or why there is none, awaited and streamed; `left` is the text that a listener is left with."""

    awaited: Ticket | str
    streamed: Ticket | str
    left: str


async def settled(answer: Awaitable[T]) -> T | str:
    """The answer, or the words in which it was refused."""
    try:
        return await answer
    except (sy.CheckFailed, sy.OutputError) as error:
        return f"refused: {error}"


async def both(step: sy.Step[[str], Ticket]) -> Outcome:
    """The same step, awaited and streamed."""
    awaited, left = await settled(step(MESSAGE)), ""
    async with step.stream(MESSAGE) as stream:
        async for delta in stream:
            left = "" if delta.reset else left + delta.text
        return Outcome(awaited, await settled(stream.result()), left)


async def main() -> tuple[Script, Outcome, Outcome, str]:
    """The script with what it was asked, its outcome, the embedded model's outcome, and its quote."""
    script, model = Script(), sy.local()
    scripted = await both(ticket.using(model=sy.FunctionModel(script)))
    print(f"scripted, first answer   {DRAFT}\nsent back to it          {script.asked[1].messages[-1].text!r}")
    print(f"awaited                  {scripted.awaited!r}\nstreamed, the same       {scripted.streamed!r}")
    embedded = await both(ticket.using(model=model))
    print(f"embedded, awaited        {embedded.awaited!r}\nstreamed, the same       {embedded.streamed!r}")
    quoted = await quote.using(model=model)(MESSAGE)
    print(f"a quote, or none         {quoted!r}")
    return script, scripted, embedded, quoted


if __name__ == "__main__":
    asyncio.run(main())
