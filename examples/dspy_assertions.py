"""Assertions that send a step back to work: DSPy Assertions (Singhvi 2023, arXiv:2312.13382), since removed from DSPy.

There, `dspy.Assert` and `dspy.Suggest` in a module's forward made a handler retry the module before, with the failed
output and the message in its prompt. Here, a check belongs to a step; `level` says whether it is required or only
suggested, and `blame` which earlier step is to mend it. The program starts again from its top, and what did not change
is read from the journal. What was refused and what mended it are rows, to train on.

Enforced: a value that fails a required check never gets out; a step is asked again so often and not more.
Not enforced: that a small model can mend what it is told. What it could not is printed as it is.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import synthon as sy
from synthon.journal import Correction, corrections

Subject = Literal["prize", "garden", "opening hours"]
NOTES: dict[str, dict[Subject, str]] = {
    "bakery": {
        "prize": "Its rye won a prize.",
        "garden": "It has tables outside.",
        "opening hours": "It opens at 7:30.",
    },
    "library": {"prize": "It won one.", "garden": "It has a rose garden.", "opening hours": "It opens at 10:00."},
}


@sy.step
async def subject(notes: str) -> Subject:
    """What should the notice be about?"""
    ...


@sy.step(temperature=0.0, max_tokens=25)
async def post(line: str) -> str:
    """Say this in a few friendly words."""
    ...


@post.check(retries=2, level="suggest", blame=subject)
def tells_when(_: str, line: str) -> str | None:
    return None if ":" in line else "The notice should be about the opening hours."


@post.check(retries=2, level="suggest")
def is_short(output: str) -> str | None:
    return None if len(output) <= 80 else f"that is {len(output)} characters; use at most 80"


@sy.program
async def notice(topic: str) -> str:
    lines = NOTES[topic]
    return await post(lines[await subject(" ".join(lines.values()))])


@dataclass(frozen=True)
class Noticed:
    """A notice, what was refused on the way, and the calls that reached the model."""

    topic: str
    text: str
    refused: list[Correction]
    calls: int


async def main() -> list[Noticed]:
    """Each topic in a run of its own."""
    found = []
    program = notice.using(model=sy.local())
    with tempfile.TemporaryDirectory() as folder:
        for topic in NOTES:
            path, budget = Path(folder) / f"{topic}.db", sy.Budget(calls=20)
            with sy.SQLiteJournal(path) as journal:
                text = await sy.run(program, topic, journal=journal, budget=budget)
                journal.flush()
                found.append(Noticed(topic, text, corrections(path), budget.spent.calls))
            print(f"{topic}: {text!r} ({budget.spent.calls} calls)")
            for each in found[-1].refused:
                came = f"mended to {each.corrected!r}" if each.corrected else "never mended"
                print(f"  {each.check}: {each.failed!r} -> {each.message}: {came}")
    return found


if __name__ == "__main__":
    asyncio.run(main())
