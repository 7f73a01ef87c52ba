"""An essay judged in several dimensions at once: fork, generate, select, join, as one writes it in SGLang.

There, a program gets a state `s`, appends prompts to it, calls `gen` and `select`, and `s.fork(n)` gives n states whose
common prefix the server keeps in a radix tree. Here, `sy.session` is the state, `asyncio.gather` runs the branches, and
the engine in this process finds the longest known prefix of every request by itself, so the same holds without forks.

Enforced: grades are letters of the scale, remarks are one sentence that begins with "It"; each branch computes only
what is its own. Not enforced: that a grade is deserved; a model of 135 million parameters likes whatever it reads.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import synthon as sy

ESSAY = """
Every autumn the storks leave our village, and every spring people argue about who saw the first one come back. My
grandmother kept a list on the kitchen door. It went back to 1951, one date a year, in pencil, and in the dry years in
ink, because she was angry. I have copied the list into a table. Over seventy years the first stork has come eleven days
earlier, which is what the weather service finds for the first warm week as well. I do not claim that one door proves
anything about the climate. A list like this has holes: in 1968 she was in hospital, and in 1983 she wrote down a heron.
But there are hundreds of such doors, notebooks and calendars, and nobody collects them. The school could. A class that
rings ten old people and types up what they kept would learn what a date is worth, how a table is made, and why a
measurement without a method is a story. It would cost a telephone and a term. The storks, at any rate, are punctual.
""".replace("\n", " ").strip()
DIMENSIONS = ("clarity", "evidence", "style")
GRADES = ("A", "B", "C", "D")
REMARK = sy.where(startswith="It ", stops_at=".", words=(3, 24), excludes="\n")


@dataclass(frozen=True)
class Verdict:
    """Grades and remarks in the order of `DIMENSIONS`."""

    is_essay: bool
    grades: list[str]
    remarks: list[str]
    overall: str


@dataclass(frozen=True)
class Tokens:
    """The prompt of one call, with options it scores: tokens from the prefix cache, and tokens computed."""

    cached: int
    computed: int


async def grade(branch: sy.Session, dimension: str) -> None:
    """One dimension, in a branch of its own: first the remark, then a grade that fits it."""
    branch.user(f"Say in one short sentence how good its {dimension} is.")
    await branch.gen("remark", constraint=REMARK, max_tokens=40)
    branch.user(f"Grade its {dimension}: A, B, C or D?")
    await branch.select("grade", GRADES)


@sy.program
async def judge(essay: str) -> Verdict:
    """Ask whether it is an essay at all, judge all dimensions at once, then grade the whole."""
    async with sy.session(name="judge", system="You are a teacher who grades essays.") as s:
        s.user(f"{essay}\n\nIs this an essay? Answer yes or no.")
        is_essay = await s.select("is_essay", ["yes", "no"])
        branches = s.fork(len(DIMENSIONS))
        await asyncio.gather(*map(grade, branches, DIMENSIONS))
        found = s.join(branches)
        s.user(f"Colleagues say: {' '.join(map(str.strip, found['remark']))} Grade the whole: A, B, C or D?")
        overall = await s.select("overall", GRADES)
    return Verdict(is_essay == "yes", found["grade"], found["remark"], overall)


def tokens(journal: sy.MemoryJournal) -> list[Tokens]:
    """What each call of a run took from the cache, in the order they ended."""
    calls = [json.loads(row.completion)["usage"] for row in journal.records if isinstance(row, sy.CallRecord)]
    return [Tokens(usage.get("cached_tokens", 0), usage.get("input_tokens", 0)) for usage in calls]


async def main() -> tuple[Verdict, list[Tokens]]:
    """The verdict, and what each of its calls took from the prefix cache."""
    journal = sy.MemoryJournal()
    verdict = await sy.run(judge.using(model=sy.local()), ESSAY, journal=journal)
    print(f"An essay: {verdict.is_essay}. Overall: {verdict.overall}")
    for dimension, letter, remark in zip(DIMENSIONS, verdict.grades, verdict.remarks, strict=True):
        print(f"  {dimension:<9} {letter}  {remark.strip()}")
    used = tokens(journal)
    for number, call in enumerate(used, 1):
        print(f"call {number}: {call.cached:4} prompt tokens from the cache, {call.computed:4} computed")
    cached = sum(call.cached for call in used)
    print(f"{cached / (cached + sum(call.computed for call in used)):.0%} of all prompt tokens came from the cache")
    return verdict, used


if __name__ == "__main__":
    asyncio.run(main())
