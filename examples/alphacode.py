"""Sample many programs, test them, and pick by behaviour: AlphaCode 2 (2023) on functions of one line.

There, up to a million samples at several temperatures and prompts are filtered by the problem's example tests, grouped
by what they give on inputs that a model makes up, and a scoring model picks from the ten largest groups. Here, that is
the strategy `generate_and_test` on any step that writes Python; every program runs in the sandbox `sy.monty()`. The
sampler of this example has 135 million parameters, so a grammar keeps it to expressions that parse.

Enforced: each sample is an expression of the grammar; the pick passes the given tests, if any sample does.
Not enforced: that it is right beyond them. Hidden tests below say how often, for the pick and for the samples.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import synthon as sy
from synthon.strategies.programming import ran

EXPRESSIONS = sy.grammar(r"""
start: "return " side (" " op " " side)? "\n"
side: NAME | NUMBER | "max(" NAME ", " NAME ")" | "min(" NAME ", " NAME ")" | "abs(" NAME " - " NAME ")"
op: "+" | "-" | "*"
NAME: "a" | "b"
NUMBER: "1" | "2"
""")
SAMPLES = 12


@dataclass(frozen=True)
class Problem:
    """What the function should do, tests that are given, and tests that only judge."""

    text: str
    tests: tuple[str, ...]
    hidden: tuple[str, ...]


PROBLEMS = [
    Problem("the sum of a and b", ("assert f(1, 5) == 6",), ("assert f(7, 3) == 10", "assert f(0, 0) == 0")),
    Problem("the larger one of a and b", ("assert f(1, 5) == 5",), ("assert f(7, 3) == 7", "assert f(2, 2) == 2")),
]


def program(answer: object) -> str:
    """A sample as a whole program."""
    return f"def f(a, b):\n    {answer}"


@sy.step(max_tokens=24, constraint=EXPRESSIONS)
async def body(problem: str, tests: list[str]) -> str:
    """Write the body of the Python function f(a, b) that returns what the problem says, in one line."""
    ...


PROBES = ["f(2, 9)", "f(9, 2)", "f(4, 4)", "f(-3, 6)"]
SOLVED = sy.generate_and_test(SAMPLES, "tests", PROBES, code=program, temperatures=(0.8, 1.2, 1.6))


async def passes(answer: str, tests: tuple[str, ...]) -> bool:
    """Whether a sample holds all tests, in the sandbox."""
    return not (await ran(None, "\n".join([program(answer), *tests]))).error


def text_of(record: sy.CallRecord) -> str:
    """The text of a recorded answer."""
    return str(json.loads(record.completion)["text"])


@dataclass(frozen=True)
class Solved:
    """The pick, whether it holds the hidden tests, and the share of samples that do."""

    problem: Problem
    pick: str
    is_right: bool
    share: float


async def main() -> list[Solved]:
    """Each problem's pick beside its samples, as the journal keeps them."""
    model, found = sy.local(), list[Solved]()
    for problem in PROBLEMS:
        journal = sy.MemoryJournal()
        step = body.using(model=model, strategy=SOLVED)
        pick = await sy.run(step, problem.text, list(problem.tests), journal=journal, policy="cache")
        kept = [text_of(row) for row in journal.records if isinstance(row, sy.CallRecord) and row.span.kind == "call"]
        right = [await passes(sample, problem.hidden) for sample in kept]
        found.append(Solved(problem, pick, await passes(pick, problem.hidden), sum(right) / len(right)))
        print(f"{problem.text}: {' | '.join(sorted({sample.strip() for sample in kept}))}")
        print(f"  pick {pick.strip()!r}: {'right' if found[-1].is_right else 'wrong'} by the hidden tests,")
        print(f"  as {found[-1].share:.0%} of {len(kept)} samples are")
    return found


if __name__ == "__main__":
    asyncio.run(main())
