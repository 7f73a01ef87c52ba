"""BabyAGI (Nakajima 2023): a queue of tasks that works itself off, makes new ones, and puts them in order.

There, three prompts run in a loop over a list and a vector store, numbers are cut out of text, and nothing but ctrl-C
ends it. Here, the three are typed steps of one program, `babyagi(memory)`: new tasks are a list of texts, an order is a
list of numbers, a task is never lost or doubled, and the loop ends when the queue is empty, a stop says so, or steps or
a budget are used up. Every call is a row of the journal.

Enforced: the shape of tasks and order, one or two new tasks a step, no task twice, the steps.
Not enforced: that the tasks are wise; the model has 135 million parameters.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path

import synthon as sy
from synthon.systems.babyagi import Done, Outcome, babyagi

OBJECTIVE, FIRST = "Plan a birthday party.", "Choose a place for the party."
TASK = {"type": "string", "minLength": 8, "maxLength": 48}
TASKS = {"type": "array", "items": TASK, "minItems": 1, "maxItems": 2}
SMALL = {  # for a small model: short results, and at least one new task
    **{f"{step}.temperature": 0.0 for step in ("execute", "create", "prioritize")},
    "execute.max_tokens": 16,
    "create.constraint": sy.schema({"type": "object", "properties": {"tasks": TASKS}, "required": ["tasks"]}),
}


def enough(objective: str, done: Sequence[Done]) -> bool:
    """The stop: two results are enough for this objective."""
    return objective == OBJECTIVE and len(done) == 2


async def main() -> Outcome:
    """Work on the objective over a memory of words; with `embedder=None` it would recall by meaning."""
    with tempfile.TemporaryDirectory() as folder, sy.Index(Path(folder) / "memory.db", embedder="none") as index:
        pursue = babyagi(sy.Memory(index), stop=enough, budget=sy.Budget(calls=20)).using(model=sy.local())
        outcome = await pursue.using(SMALL)(OBJECTIVE, FIRST, steps=4)
    for each in outcome.done:
        print(f"done: {each.task}\n  {' '.join(each.result.split())}")
    for task in outcome.left:
        print(f"left: {task}")
    print(f"stopped: {outcome.stopped}")
    return outcome


if __name__ == "__main__":
    asyncio.run(main())
