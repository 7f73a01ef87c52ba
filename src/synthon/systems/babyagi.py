"""BabyAGI: execute a task, create new ones from its result, put them in order, until an objective is reached."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, Field

from synthon.core.budget import Budget
from synthon.core.errors import BudgetExceeded
from synthon.core.program import Program, program
from synthon.core.running import budgeted
from synthon.core.settings import knob
from synthon.core.step import step
from synthon.strategies.acting import like

if TYPE_CHECKING:
    from synthon.strategies.remembering import Memory

Execute = Callable[[str, str, str], Awaitable[str]]


class Tasks(BaseModel):
    """New tasks."""

    tasks: list[Annotated[str, Field(min_length=3, max_length=80)]] = Field(max_length=3)


class Order(BaseModel):
    """Numbers of tasks, the first one to do first."""

    numbers: list[Annotated[int, Field(ge=1, le=99)]] = Field(max_length=20)


@dataclass(frozen=True, slots=True)
class Done:
    """A task and its result."""

    task: str
    result: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done, in order, the tasks left open, and why it ended.

    `stopped` is `empty` (no task is left), `reached` (the stop said so), `steps` or `budget`.
    """

    done: tuple[Done, ...]
    left: tuple[str, ...]
    stopped: Literal["empty", "reached", "steps", "budget"]


@step(max_tokens=200)
async def execute(objective: str, remembered: str, task: str) -> str:
    """Perform the task, which serves the objective, taking what is remembered into account. Give its result only."""
    raise NotImplementedError


@step(max_tokens=300)
async def create(objective: str, task: str, result: str, open_tasks: list[str]) -> Tasks:
    """List new tasks that the result of the last task makes necessary for the objective, none of them open already.

    An empty list says that nothing more is needed.
    """
    raise NotImplementedError


@step(max_tokens=200)
async def prioritize(objective: str, tasks: list[str]) -> Order:
    """Put the tasks in the order in which they should be done for the objective: their numbers, the first one first."""
    raise NotImplementedError


Stop = Callable[[str, Sequence[Done]], Awaitable[bool] | bool]


def babyagi(
    memory: Memory, *, execute: Execute = execute, stop: Stop | None = None, budget: Budget | None = None
) -> Program[..., Outcome]:
    """A program `pursue(objective, first_task, *, steps=10)` (BabyAGI, Yohei Nakajima 2023).

    Its three agents are the steps `execute`, `create` and `prioritize`; the first takes part in what `memory` recalls
    for the objective, as the original's vector store does. The original has no end and no budget; here it ends when the
    queue is empty, `stop` says so, or steps or budget are used up, and says which. Costs at most three calls a step.

    Args:
        memory: results are kept in it and recalled from it.
        execute: takes objective, remembered text and task; a program or a step with tools may be one.
        stop: sees the objective and what was done after each task.
        budget: of one run, on top of the run's own.
    """

    @program(uses=[execute, create, prioritize, *([stop] if stop else [])])
    async def pursue(objective: str, first_task: str, *, steps: int = knob(10, 5, 20)) -> Outcome:
        """Work the queue off."""
        queue, done = deque([first_task]), list[Done]()
        try:
            with nullcontext() if budget is None else budgeted(like(budget)):
                while queue and len(done) < steps:
                    task = queue[0]  # open until it is done
                    result = await execute(objective, await memory.recall(objective), task)
                    done.append(Done(queue.popleft(), result))
                    await memory.keep(f"{task}: {result}")
                    if stop is not None and await _said(stop, objective, done):
                        return Outcome(tuple(done), tuple(queue), "reached")
                    fresh = await create(objective, task, result, list(queue))
                    queue.extend(_new(fresh.tasks, [*queue, *(each.task for each in done)]))
                    if len(queue) > 1:
                        order = await prioritize(objective, _numbered(queue))
                        queue = deque(_ordered(list(queue), order.numbers))
        except BudgetExceeded:
            return Outcome(tuple(done), tuple(queue), "budget")
        return Outcome(tuple(done), tuple(queue), "steps" if queue else "empty")

    return pursue


async def _said(stop: Stop, objective: str, done: Sequence[Done]) -> bool:
    said = stop(objective, done)
    return await said if inspect.isawaitable(said) else said


def _new(tasks: Sequence[str], known: Sequence[str]) -> list[str]:
    """The tasks that are not known, each once."""
    seen = {task.casefold().strip() for task in known}
    found = []
    for task in tasks:
        if task.casefold().strip() not in seen:
            seen.add(task.casefold().strip())
            found.append(task.strip())
    return found


def _numbered(tasks: Iterable[str]) -> list[str]:
    return [f"{number}. {task}" for number, task in enumerate(tasks, 1)]


def _ordered(tasks: Sequence[str], numbers: Sequence[int]) -> list[str]:
    """The tasks in this order; a task not named, or named twice, is neither lost nor doubled."""
    named = dict.fromkeys(number - 1 for number in numbers if 1 <= number <= len(tasks))
    rest = [place for place in range(len(tasks)) if place not in named]
    return [tasks[place] for place in [*named, *rest]]
