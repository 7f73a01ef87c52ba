"""Blame: a check that fails for what an earlier step said has that step answer again, and the program start anew.

The run keeps what was answered, so only the blamed call and what depends on it is computed again: backtracking as in
DSPy Assertions (Singhvi 2023, arXiv:2312.13382), without a retry handler around the program.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from synthon.core.errors import UserError
from synthon.core.identity import digest, to_json
from synthon.core.light import dataclass
from synthon.core.protocols import Key
from synthon.core.running import Run, sink

if TYPE_CHECKING:
    from synthon.core.output import Output
    from synthon.core.step import Check, Step

Function: TypeAlias = Callable[..., object]
_POLL_S = 0.01


class Place(NamedTuple):
    """A call of a step: the hash of step and inputs, and its number among its equals."""

    digest: str
    number: int


class Amendment(NamedTuple):
    """What a blamed call had answered, what is wrong with it, and which check says so."""

    failed: str
    message: str
    check: str


class Made(NamedTuple):
    """A finished call that may be blamed; `life` is that of the run, `acts` the run's acts on the world before it."""

    place: Place
    life: object
    acts: int
    text: str


@dataclass(slots=True)
class Retake:
    """How a run starts again from its top: what its steps answered, what they are to mend, and whose turn it is."""

    life: object = field(default_factory=object)
    asked: bool = False
    cancels: int = 0
    made: dict[Function, list[Made]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[str, Iterator[int]] = field(default_factory=lambda: defaultdict(itertools.count))
    amended: dict[Place, list[Amendment]] = field(default_factory=lambda: defaultdict(list))
    tries: dict[tuple[int, Place], int] = field(default_factory=lambda: defaultdict(int))
    told: set[Amendment] = field(default_factory=set)

    def begins(self, run: Run) -> bool:
        """Whether the cancellation that just ended the program was blame's; then the run is as at its top."""
        owner = run.owner
        if owner is None or not self.asked:
            return False
        for _ in range(self.cancels):
            owner.uncancel()
        if owner.cancelling() > run.cancelling:
            return False  # somebody else wants it to end
        self.life, self.asked, self.cancels = object(), False, 0
        self.made.clear()
        self.numbers.clear()
        run.samples.clear()
        run.acts = 0
        journal = run.journal
        if run.budgets and journal is not None:  # what was paid for is read from the journal now, and free
            keys = [Key(run.scope, each) for each in run.touched]
            answered = {key for key in keys if journal.read(key) is not None}
            for budget in run.budgets:
                budget.paid |= answered
        listener = sink.get()
        if listener is not None:
            listener.reset()
        return True


_mine: ContextVar[Mapping[Function, Made]] = ContextVar("synthon_made")
_amended: ContextVar[Mapping[int, list[Amendment]]] = ContextVar("synthon_amended")


def amendments(output: Output[Any]) -> list[Amendment]:
    """What a call that ends in this output is to mend."""
    return _amended.get({}).get(id(output), [])


@contextmanager
def answering(step: Step[Any, Any], inputs: Mapping[str, object], run: Run) -> Iterator[Callable[[Any], None]]:
    """A call of a step that a check may blame, with what it is to mend; takes the value when it stands."""
    retake = run.retake = run.retake or Retake()
    name = digest(f"{step.fn.__module__}:{step.fn.__qualname__} {to_json(inputs)}")
    place = Place(name, next(retake.numbers[name]))
    life, acts = retake.life, run.acts

    def take(value: Any) -> None:
        made = Made(place, life, acts, step.output.written(value))
        retake.made[step.fn].append(made)
        _mine.set({**_mine.get({}), step.fn: made})

    token = _amended.set({**_amended.get({}), id(step.output): retake.amended[place]})
    try:
        yield take
    finally:
        _amended.reset(token)


async def blame(step: Step[Any, Any], check: Check, message: str, run: Run | None) -> None:
    """Have the blamed call answer again and the program start anew; returns only when no try is left.

    Raises:
        UserError: no such call, several of them, or the world was acted upon since.
        CancelledError: the program starts again.
    """
    made = _blamed(step, check, run)
    retake = None if run is None else run.retake
    if run is None or retake is None:  # for the type checker: `_blamed` has refused it
        return
    key = id(check), made.place
    if retake.tries[key] >= check.retries:
        return
    retake.tries[key] += 1
    retake.amended[made.place].append(Amendment(made.text, message, check.name))
    await _restart(run, retake)


def mended(check: Check, run: Run | None) -> list[tuple[Amendment, str]]:
    """What this check had found wrong with the call it blames, and what that answers now; each is told once."""
    retake = None if run is None or check.blame is None else run.retake
    made = None if retake is None else _find(check, retake)
    if retake is None or made is None:
        return []
    found = [each for each in retake.amended[made.place] if each.check == check.name and each not in retake.told]
    retake.told.update(found)
    return [(each, made.text) for each in found]


def _find(check: Check, retake: Retake) -> Made | None:
    """The call that a check blames: the latest in this task, else the only one of the run."""
    fn = None if check.blame is None else check.blame.fn
    if fn is None:
        return None
    mine, made = _mine.get({}).get(fn), retake.made.get(fn, [])
    if mine is not None and mine.life is retake.life:
        return mine
    return made[0] if len(made) == 1 else None


def _blamed(step: Step[Any, Any], check: Check, run: Run | None) -> Made:
    """The call that a check of `step` blames, or why there is none."""
    blamed = check.blame
    name = "" if blamed is None else blamed.name
    where = f"The check {check.name!r} of step {step.name!r} blames step {name!r}"
    if run is None or run.owner is None or run.journal is None or run.policy == "read_only":
        msg = (
            f"{where}, which needs a program that runs with a journal to write to: what was answered before is read "
            "from there. Call the steps inside a @sy.program, under another policy than 'off' and 'read_only'."
        )
        raise UserError(msg)
    retake = run.retake
    found = None if retake is None else _find(check, retake)
    if found is None:
        made = [] if retake is None or blamed is None else retake.made.get(blamed.fn, [])
        problem = f"was called {len(made)} times, by other tasks" if made else "was not called before in this run"
        msg = f"{where}, which {problem}. Call it, once, in the task that calls {step.name!r}, before it."
        raise UserError(msg)
    if run.acts != found.acts:
        msg = (
            f"{where}, but a tool has acted on the world since that call, and would act again. Check before the tool "
            "acts, or without blame."
        )
        raise UserError(msg)
    return found


async def _restart(run: Run, retake: Retake) -> None:
    listener = sink.get()
    if listener is not None and not listener.retractable:
        raise UserError("A program that streams to a listener that cannot take back cannot start again. Await it.")
    retake.asked = True  # from here on new calls of this run are parked
    await run.quiet()
    await _ended(run, retake)


async def parked(run: Run) -> None:
    """Hold a call of a program that is about to start again; never returns."""
    retake = run.retake
    while retake is not None and retake.asked and not retake.cancels:  # noqa: ASYNC110 - over several loops
        await asyncio.sleep(_POLL_S)
    if retake is not None:
        await _ended(run, retake)


async def _ended(run: Run, retake: Retake) -> None:
    """Cancel the program until it ends: it may have caught the last one."""
    life, owner = retake.life, run.owner

    def cancel() -> None:
        if retake.life is life and retake.asked and owner is not None:
            retake.cancels += 1
            owner.cancel()

    while retake.life is life and retake.asked and owner is not None and not owner.done():
        owner.get_loop().call_soon_threadsafe(cancel)
        await asyncio.sleep(_POLL_S)
    raise asyncio.CancelledError("the program has started again")
