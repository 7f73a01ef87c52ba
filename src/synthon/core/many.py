"""One program over many rows: workers, progress, and a failed row in its place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import TypeVar, cast

from synthon.core.budget import Budget
from synthon.core.errors import JournalError, SynthonError, UserError
from synthon.core.light import dataclass
from synthon.core.progress import Progress, Watch
from synthon.core.protocols import AnyJournal, Policy
from synthon.core.running import Defaults, name_of, run, running

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Failed:
    """A row that raised, in the place of its result."""

    row: object
    error: Exception


async def run_many(
    program: Callable[..., Awaitable[T]],
    rows: Iterable[object],
    *,
    workers: int = 8,
    run_id: str | None = None,
    journal: AnyJournal | None = None,
    policy: Policy | None = None,
    budget: Budget | None = None,
    watch: Watch | None = None,
) -> list[T | Failed]:
    """The program's results in the order of the rows, `workers` at a time; each row is a run of its own.

    A mapping is passed as keyword arguments, a tuple as positional ones, anything else as the one argument.
    Row i runs as `{run_id}/{i}`, so the same `run_id` resumes the batch. Cancelling it leaves nothing running.
    `watch` gets a `Progress` after each row; without one a bar is drawn on a terminal.

    Raises:
        UserError: the set-up is wrong (no model, a missing extra): the batch stops at once.
        JournalError: rows can no longer be kept.
    """
    if not hasattr(workers, "__index__") or workers < 1:
        raise UserError(f"run_many was given workers={workers!r:.200}. Pass at least 1, a whole number.")
    todo = list(rows)
    results: list[T | Failed] = [cast("T", None)] * len(todo)
    pending = iter(range(len(todo)))
    name = name_of(program)
    done = failed = 0

    async def work(batch: str, seen: Watch) -> None:
        nonlocal done, failed
        for index in pending:
            try:
                results[index] = await run(_call(program, todo[index]), run_id=f"{batch}/{index}")
            except (UserError, JournalError):
                raise
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the edge of a row
                results[index] = Failed(todo[index], _as_error(error))
                failed += 1
            done += 1
            seen(Progress(done, len(todo), failed, budget.billed_usd if budget else None, name))

    shape = {"rows": len(todo)}
    drawn = Defaults.watch(name) if watch is None else nullcontext(watch)
    with Defaults.opened(journal) as kept:
        opening = running(name, shape, run_id=run_id, journal=kept, policy=policy, budget=budget, among=todo)
        async with opening as opened:
            with drawn as seen:
                seen(Progress(0, len(todo), 0, None, name))
                try:
                    async with asyncio.TaskGroup() as group:
                        for _ in range(min(workers, len(todo))):
                            group.create_task(work(opened.run.id, seen))
                except* (UserError, JournalError) as errors:
                    raise errors.exceptions[0] from None
    return results


def _as_error(error: Exception | asyncio.CancelledError) -> Exception:
    """What a failed row keeps; one that was cancelled from inside failed, one cancelled with its batch did not."""
    if isinstance(error, Exception):
        return error
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise error
    return SynthonError("The row ended by a cancellation of its own. Await what it cancels, or catch CancelledError.")


def _call(program: Callable[..., Awaitable[T]], row: object) -> Callable[[], Awaitable[T]]:
    if isinstance(row, Mapping):
        return partial(program, **row)
    return partial(program, *row) if isinstance(row, tuple) else partial(program, row)
