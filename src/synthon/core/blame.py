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
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias, cast

from synthon.core.errors import UserError
from synthon.core.identity import fingerprint
from synthon.core.light import dataclass
from synthon.core.protocols import Key
from synthon.core.running import Run, inside, sink
from synthon.core.settings import MODEL, ambient, current

if TYPE_CHECKING:
    from synthon.core.output import Output
    from synthon.core.step import Check, Step

Function: TypeAlias = Callable[..., object]
_POLL_S = 0.01


class Place(NamedTuple):
    """A call of a step: the hash of step, inputs and settings, and its number among its equals."""

    digest: str
    number: int


class Amendment(NamedTuple):
    """What a blamed call had answered, what is wrong with it, and which check says so."""

    failed: str
    message: str
    check: str


class Tried(NamedTuple):
    """Which check of which step blamed which call: by name, as a program may make its steps anew in each life."""

    step: str
    check: tuple[int, str]
    place: Place


class Made(NamedTuple):
    """A finished call that may be blamed; `life` is that of the run, `acts` the run's acts on the world before it."""

    place: Place
    life: object
    acts: int
    text: str


@dataclass(slots=True)
class Retake:
    """How a run starts again from its top: what its steps answered, what they are to mend, and whose turn it is.

    `asked` says which checks have this life start again, over which calls; `untold` what no row says yet, by the same.
    """

    life: object = field(default_factory=object)
    asked: set[Tried] = field(default_factory=set)
    cancels: int = 0
    made: dict[Function, list[Made]] = field(default_factory=lambda: defaultdict(list))
    numbers: dict[str, Iterator[int]] = field(default_factory=lambda: defaultdict(itertools.count))
    amended: dict[Place, list[Amendment]] = field(default_factory=lambda: defaultdict(list))
    tries: dict[Tried, int] = field(default_factory=lambda: defaultdict(int))
    untold: dict[Tried, list[Amendment]] = field(default_factory=lambda: defaultdict(list))

    def begins(self, run: Run) -> bool:
        """Whether the cancellation that just ended the program was blame's; then the run is as at its top."""
        owner = cast("asyncio.Task[object]", run.owner)
        if not self.asked:
            return False
        for _ in range(self.cancels):
            owner.uncancel()
        if owner.cancelling() > run.cancelling:
            return False  # somebody else wants it to end
        self.life, self.asked, self.cancels = object(), set(), 0
        self.made.clear()
        self.numbers.clear()
        run.samples.clear()
        run.past.acts = 0
        if run.budgets and run.journal is not None:  # what was paid for is read from the journal now, and free
            answered = {key for each in run.touched if run.journal.read(key := Key(run.scope, each)) is not None}
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
    retake = run.past.retake = run.past.retake or Retake()
    name = _digest(step, inputs)
    place = Place(name, next(retake.numbers[name]))
    life, acts = retake.life, run.past.acts

    def take(value: Any) -> None:
        made = Made(place, life, acts, step.output.written(value))
        retake.made[step.fn].append(made)
        _mine.set({**_mine.get({}), step.fn: made})

    token = _amended.set({**_amended.get({}), id(step.output): retake.amended[place]})
    try:
        yield take
    finally:
        _amended.reset(token)


def _digest(step: Step[Any, Any], inputs: Mapping[str, object]) -> str:
    """The hash of a step, its inputs and what it is set to here; what the program makes anew in each life is equal."""
    model = step.setting("model") or current(ambient().get(MODEL))
    own = [model, *map(step.setting, ("strategy", "demos", "constraint", "layout", "calibrate"))]
    told = [getattr(each, "identity", None) or getattr(each, "name", each) for each in own]
    shape = [step.fn.__module__, step.fn.__qualname__, inputs, step.instruction, step.sampled(), told]
    return fingerprint(shape)


async def blame(step: Step[Any, Any], check: Check, message: str, run: Run | None) -> list[Amendment]:
    """Have the blamed call answer again and the program start anew; when no try is left, all that it failed by.

    Raises:
        UserError: no such call, several of them, or the world was acted upon since.
        CancelledError: the program starts again.
    """
    alive, retake, made = _blamed(step, check, run)
    key, failure = _tried(step, check, made), Amendment(made.text, message, check.name)
    if retake.asked and (key in retake.asked or retake.tries[key] >= check.retries):
        await parked(alive, retake)  # one of several that failed by the same call; the next life judges anew
    if retake.tries[key] >= check.retries:
        return [*retake.untold.pop(key, []), failure]
    listener = sink.get()
    if listener is not None and not listener.retractable:
        raise UserError("A program that streams to a listener that cannot take back cannot start again. Await it.")
    retake.tries[key] += 1
    retake.amended[made.place].append(failure)
    retake.untold[key].append(failure)
    retake.asked.add(key)  # from here on new calls of this run are parked
    life = retake.life
    await alive.quiet()
    return await _ended(alive, retake, life)


def mended(step: Step[Any, Any], check: Check, run: Run | None) -> tuple[list[Amendment], str]:
    """What this check had found wrong with the call it blames, and what that answers now; each is told once."""
    retake = None if run is None else run.past.retake
    made = None if retake is None or check.blame is None else _find(check.blame.fn, retake)
    if retake is None or made is None:
        return [], ""
    key = _tried(step, check, made)
    return ([], "") if key in retake.asked else (retake.untold.pop(key, []), made.text)


def _tried(step: Step[Any, Any], check: Check, made: Made) -> Tried:
    return Tried(step.name, (step.checks.index(check), check.name), made.place)


def _find(fn: Function, retake: Retake) -> Made | None:
    """The call of a step that a check blames: the latest in this task, else the only one of the run."""
    mine, made = _mine.get({}).get(fn), retake.made.get(fn, [])
    if mine is not None and mine.life is retake.life:
        return mine
    return made[0] if len(made) == 1 else None


def _blamed(step: Step[Any, Any], check: Check, run: Run | None) -> tuple[Run, Retake, Made]:
    """The call that a check of `step` blames, or why there is none."""
    blamed = cast("Step[Any, Any]", check.blame)
    where = f"The check {check.name!r} of step {step.name!r} blames step {blamed.name!r}"
    if run is None or run.owner is None or run.journal is None or run.policy == "read_only":
        msg = (
            f"{where}, which needs a program that runs with a journal to write to: what was answered before is read "
            "from there. Call the steps inside a @sy.program, under another policy than 'off' and 'read_only'."
        )
        raise UserError(msg)
    retake = run.past.retake or Retake()
    found = _find(blamed.fn, retake)
    if found is None:
        made = retake.made.get(blamed.fn, [])
        problem = f"was called {len(made)} times, by other tasks" if made else "was not called before in this run"
        msg = f"{where}, which {problem}. Call it, once, in the task that calls {step.name!r}, before it."
        raise UserError(msg)
    if run.past.acts != found.acts:
        msg = f"{where}, but a tool has acted on the world since that call, and would again. Check before it does."
        raise UserError(msg)
    return run, retake, found


async def parked(run: Run, retake: Retake) -> NoReturn:
    """Hold a call of a program that is about to start again; never returns."""
    life = retake.life
    run.flying.difference_update(inside.get())  # nobody is to wait for the tools that this is part of
    while retake.life is life and not retake.cancels:  # noqa: ASYNC110 - over several loops
        await asyncio.sleep(_POLL_S)
    await _ended(run, retake, life)


async def _ended(run: Run, retake: Retake, life: object) -> NoReturn:
    """Cancel the program until this life of it ends: it may have caught the last one."""
    owner = cast("asyncio.Task[object]", run.owner)

    def cancel() -> None:
        if retake.life is life:  # pragma: no branch - one that was on its way when the program started again
            retake.cancels += 1
            owner.cancel()

    while retake.life is life and not owner.done():
        owner.get_loop().call_soon_threadsafe(cancel)
        await asyncio.sleep(_POLL_S)
    raise asyncio.CancelledError("the program has started again")
