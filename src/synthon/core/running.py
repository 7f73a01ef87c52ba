"""Runs and spans: whose call this is, under which journal, policy and budgets, and what it was part of."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import logging
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from copy import copy
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar, get_args

from synthon.core.budget import Budget, restore
from synthon.core.errors import Suspended, Uncertain, UserError
from synthon.core.identity import fingerprint, to_json
from synthon.core.progress import Watch
from synthon.core.protocols import AnyJournal, Journal, Key, Policy, Record, RunRecord, Span

if TYPE_CHECKING:
    from synthon.core.blame import Retake
    from synthon.core.stream import Sink

T = TypeVar("T")
Kind = Literal["program", "step", "call", "search", "tool", "embed", "check", "span"]
log = logging.getLogger("synthon")
log.addHandler(logging.NullHandler())


class Defaults:
    """What the composition root supplies: the default journal (None: none), one by its path, who draws progress."""

    journal: Callable[[], Journal | None] = staticmethod(lambda: None)
    opened: Callable[[AnyJournal | None], AbstractContextManager[Journal | None]]
    watch: Callable[[str], AbstractContextManager[Watch]] = staticmethod(lambda _label: nullcontext(lambda _: None))


class _Ids:
    """Sixteen hex digits, unique over processes: a random prefix and a counter."""

    def __init__(self) -> None:
        self.renew()

    def renew(self) -> None:
        self.prefix = os.urandom(5).hex()
        self.counter: Iterator[int] = itertools.count()

    def new(self) -> str:
        return f"{self.prefix}{next(self.counter):06x}"


_ids = _Ids()
new_id = _ids.new
if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows cannot fork
    os.register_at_fork(after_in_child=_ids.renew)


class Past:
    """What a run and its copies under more budgets share: its acts on the world, and how it starts again.

    An act of a run is one of the run that it was started in, too.
    """

    __slots__ = ("above", "acts", "retake")

    def __init__(self) -> None:
        self.above: Past | None = None
        self.acts = 0
        self.retake: Retake | None = None

    def acted(self) -> None:
        """Count an act on the world."""
        self.acts += 1
        if self.above is not None:
            self.above.acted()


class Run:
    """One run: its journal, policy, budgets, and the numbers of its equal requests.

    `scope` is where its rows lie: its own id, or empty under `cache`, where runs share rows. `known` are the
    digests that earlier lives of the run recorded, `touched` those this life asked for, `written` those it wrote.
    `flying` are its calls in flight. `owner` is the task that runs its program, with the number of `cancelling`
    requests it had before. `durable` says that a call is on disk before it returns.
    """

    __slots__ = (
        "budgets", "cancelling", "durable", "flying", "id", "journal", "known", "owner", "past", "policy", "samples",
        "scope", "touched", "written",
    )  # fmt: skip

    def __init__(
        self, id_: str, journal: Journal | None, policy: Policy = "fresh", budgets: Sequence[Budget] = ()
    ) -> None:
        self.id = id_
        self.journal = None if policy == "off" else journal
        self.policy: Policy = "off" if self.journal is None else policy
        self.budgets = tuple(budgets)
        self.scope = "" if policy == "cache" else id_
        self.samples: dict[str, Iterator[int]] = {}
        self.known: frozenset[str] = frozenset()
        self.touched: set[str] = set()
        self.written: set[str] = set()
        self.flying: set[object] = set()
        self.cancelling = 0
        self.durable = False
        self.owner: asyncio.Task[object] | None = None
        self.past = Past()

    async def quiet(self) -> None:
        """Return when none of its calls is in flight, on any loop, but those that this code is part of."""
        self.flying.difference_update(inside.get())
        while self.flying:  # noqa: ASYNC110 - its calls may be on several loops
            await asyncio.sleep(0.005)

    def sample(self, digest: str) -> int:
        """The number of this request among its equals in this run, in order."""
        return next(self.samples.setdefault(digest, itertools.count()))

    def inner(self, asked: object) -> str:
        """The name of a run in this one, by what is asked of it: in another life several at once begin in any order."""
        name = fingerprint(asked)[:8]
        return f"{self.id}/{name}.{self.sample(name)}"

    def write(self, record: Record) -> None:
        """Hand a row to the journal, if there is one that may be written to."""
        if self.journal is not None and self.policy != "read_only":
            self.journal.write(record)

    def diverged(self) -> tuple[list[str], list[str]]:
        """Digests recorded by earlier lives and not called again, and called now but not recorded then.

        What was made inside a call that is read now is not called again, and not gone.
        """
        gone = self.known - self.touched
        if gone and self.journal is not None:
            gone -= self.journal.inner(self.id, self.touched)
        return sorted(gone), sorted(self.touched - self.known)


_MARK = '{"synthon.'  # how a row begins that is no answer: of an act on the world, or a question to a person
_run: ContextVar[Run | None] = ContextVar("synthon_run", default=None)
_span: ContextVar[Span | None] = ContextVar("synthon_span", default=None)
sink: ContextVar[Sink | None] = ContextVar("synthon_sink", default=None)
inside: ContextVar[tuple[object, ...]] = ContextVar("synthon_inside", default=())
"""The calls of tools that this code is part of."""
acting: ContextVar[str] = ContextVar("synthon_acting", default="")
"""The act on the world that this code is part of, by its tool's name; empty outside of one."""


def current_run() -> Run | None:
    """The run this code belongs to, None outside of one."""
    return _run.get()


def current_span() -> Span | None:
    """The innermost open span here."""
    return _span.get()


class span:  # noqa: N801 - read as a statement: with span("name"): ...
    """An open span; one row when it closes, unless it is `kept` already. Opens a run of one call where there is none.

    `inputs` and `output` are serialised when it closes, and only where there is a journal.
    """

    __slots__ = ("_alone", "_token", "inputs", "kept", "output", "row", "run")

    def __init__(self, name: str, kind: Kind = "span", inputs: object = None) -> None:
        current = _run.get()
        self._alone: Token[Run | None] | None = None
        if current is None:
            current = Run(new_id(), Defaults.journal())
            self._alone = _run.set(current)
        above = _span.get()
        self.run = current
        self.inputs: object = inputs
        self.output: object = None
        self.kept = False
        self.row = Span(new_id(), current.id, "" if above is None else above.id, name, kind, time.time())

    def __enter__(self) -> Self:
        self._token = _span.set(self.row)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            _span.reset(self._token)
            if self._alone is not None:
                _run.reset(self._alone)
        except ValueError:  # an async generator that was left is closed in a context of its own
            log.debug("the span %r was closed in another context", self.row.name)
        if self.run.journal is None or self.kept:
            return
        if error is not None:
            self.row.error = described(error)
        self.run.write(self.closed())

    def closed(self) -> Span:
        """The row as it stands now, ended and with its inputs and output."""
        row = self.row
        row.end = time.time()
        if self.inputs is not None:
            row.inputs = to_json(self.inputs, unread=True)
        if self.output is not None:
            row.output = to_json(self.output, unread=True)
        return row


def described(error: BaseException) -> str:
    """An error as a row keeps it."""
    try:
        return f"{type(error).__name__}: {error}"[:2000]
    except Exception:  # noqa: BLE001 - it is another's `__str__`
        return type(error).__name__


class running:  # noqa: N801 - read as a statement: async with running(...): ...
    """A run from its start to its end on disk: rows of the run, divergence, and the wait for durability."""

    def __init__(
        self,
        program: str,
        arguments: object,
        *,
        run_id: str | None = None,
        journal: Journal | None = None,
        policy: Policy | None = None,
        budget: Budget | None = None,
        source: str = "",
        durable: bool = False,
        among: object = None,
    ) -> None:
        above = _run.get()
        is_own = above is None or (journal is not None and above.policy == "off")
        inherited: Policy = "fresh" if above is None or is_own else above.policy
        policy = policy or inherited
        if policy not in get_args(Policy):
            raise UserError(f"There is no policy {policy!r}. Pass one of {get_args(Policy)}.")
        for what, each, method in (("journal", journal, "digests"), ("budget", budget, "spent")):
            if each is not None and not hasattr(each, method):
                raise UserError(f"{what}={each!r:.200} is none. Pass sy.SQLiteJournal(path), or sy.Budget(calls=...).")
        if journal is None and policy != "off":
            journal = above.journal if above is not None and above.journal is not None else Defaults.journal()
        id_ = run_id or (new_id() if above is None else above.inner([program, arguments, among]))
        self.run = Run(id_, journal, policy, _under(above, budget))
        self.run.past.above = None if above is None else above.past
        self.run.durable = durable or (above is not None and above.durable)
        self.program, self.arguments, self.start, self.source = program, arguments, time.time(), source
        self.result: object = None
        journal = self.run.journal
        if budget is not None and budget.durable:
            if journal is None or run_id is None or policy == "read_only":
                raise UserError("Budget(durable=True) outlives a run. Pass run_id= and a journal that is written to.")
            restore(budget, journal, run_id)
        if journal is not None and self.run.scope and (run_id is not None or above is not None):
            self.run.known = journal.digests(self.run.scope)

    def _record(self, status: Literal["running", "done", "failed", "cancelled", "suspended"], error: str = "") -> None:
        run = self.run
        if run.journal is None or run.policy == "replay_only":  # a replay leaves the record of the run it replays
            return
        gone, new = run.diverged() if run.known and status == "done" else ([], [])
        diverged = to_json({"gone": gone, "new": new}) if gone else ""
        if diverged:
            log.warning(
                "run %s diverged: %d recorded calls were not made again, %d are new", run.id, len(gone), len(new)
            )
        arguments = self.arguments
        if not isinstance(arguments, str):
            arguments = self.arguments = to_json(arguments, again=True, unread=True)
        end = 0.0 if status == "running" else time.time()
        result = to_json(self.result, unread=True) if status == "done" else ""
        times = self.start, end
        run.write(
            RunRecord(run.id, self.program, arguments, status, *times, result, error, run.policy, diverged, self.source)
        )

    async def __aenter__(self) -> Self:
        self._token = _run.set(self.run)
        self.run.owner = task = asyncio.current_task()
        self.run.cancelling = 0 if task is None else task.cancelling()
        try:
            self._record("running")
        except BaseException:
            _run.reset(self._token)
            raise
        return self

    def refuse_another(self, program: object) -> None:
        """What a run did in the world, and was told by people, was not for another program or other arguments.

        Raises:
            UserError: says what the run is of.
        """
        id_, journal = self.run.id, self.run.journal
        record = None if journal is None or self.run.policy not in {"fresh", "cache"} else journal.run(id_)
        self.arguments = to_json(self.arguments, again=True, unread=True)
        if journal is None or record is None:
            return
        was, now = ((each.program, re.sub(r" at 0x\w+", "", str(each.arguments))) for each in (record, self))
        is_same = was == now or (was[0] == now[0] and _meant(program, was[1]) == _meant(program, now[1]))
        if not is_same and any((journal.read(Key(id_, each)) or "").startswith(_MARK) for each in journal.digests(id_)):
            msg = f"Run {id_!r} is of {was[0]!r} with {was[1]:.200}, and has acted or asked a person. It is given"
            raise UserError(f"{msg} {now[0]!r} with {now[1]:.200}, for which that was not done. Take another run_id.")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _run.reset(self._token)
        if error is None:
            self._record("done")
        elif (waits := _waits(error)) is not None:
            self._record("suspended", described(waits))
        else:
            self._record("failed" if isinstance(error, Exception) else "cancelled", described(error))
        if self.run.journal is not None and self.run.policy != "read_only":
            await self.run.journal.durable()


def _waits(error: BaseException) -> BaseException | None:
    """What a run waits for a person with: the error, or the first of a task group whose errors are all such."""
    if not isinstance(error, BaseExceptionGroup):
        return error if isinstance(error, Suspended | Uncertain) else None
    found = [_waits(each) for each in error.exceptions]
    return None if None in found else found[0]


async def run(
    program: Callable[..., Awaitable[T]],
    *args: object,
    run_id: str | None = None,
    journal: AnyJournal | None = None,
    policy: Policy | None = None,
    budget: Budget | None = None,
    durable: bool = False,
    **kwargs: object,
) -> T:
    """Run a program under a name; the same name again resumes it: what the journal holds is not called again.

    The program starts from its top, so between calls it must be deterministic: take time and randomness from
    `sy.now` and `sy.random`. Arguments are JSON. The result is returned once all before it is on disk.
    `journal` (or its path), `policy` and `budget` default to those of the surrounding run, else to the default journal
    and `fresh`. With `durable` each call is on disk before its answer reaches the program, at the cost of an fsync a
    call; without, a kill may repeat what was answered in the 30 ms before. A resumed program that no longer makes a
    recorded call is reported as diverged.

    Raises:
        BudgetExceeded: a call would pass the budget.
        JournalError: the journal cannot keep the run.
        UserError: there is no such policy, or the program is no async function.
    """
    if not callable(program):
        if inspect.iscoroutine(program):
            program.close()
        raise UserError(f"sy.run was given {program!r}. Pass the program, then its arguments: sy.run(program, x).")
    bound = partial(program, *args, **kwargs)
    inputs = given(bound.args, bound.keywords)
    with Defaults.opened(journal) as kept:
        opening = running(
            name_of(program), inputs, run_id=run_id, journal=kept, policy=policy, budget=budget,
            source=source_of(program), durable=durable,
        )  # fmt: skip
        if run_id is not None:
            opening.refuse_another(program)
        return await through(opening, bound)


async def through(opening: running, bound: Callable[[], Awaitable[T]]) -> T:
    """What a program gives in a run that is to be opened; begun again where a later step blames an earlier one.

    Raises:
        UserError: the program is no async function.
    """
    async with opening as opened:
        while True:
            try:
                answer = bound()
                if not inspect.isawaitable(answer):
                    raise UserError(f"{opening.program!r} gave {answer!r}, so it is not async. Write `async def`.")
                opened.result = result = await answer
            except asyncio.CancelledError:
                if opened.run.past.retake is None or not opened.run.past.retake.begins(opened.run):
                    raise
            else:
                return result


def given(args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
    """A call's arguments as a record keeps them: named ones lie apart where one is called as these places are."""
    named = {"kwargs": kwargs} if kwargs.keys() & {"args", "kwargs"} else kwargs
    return {"args": args, **named} if args else {**named}


def taken(kept: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The positional and the named arguments of what `given` made, read from JSON."""
    named = {**kept}
    args, apart = named.pop("args", []), named.get("kwargs")
    if named.keys() == {"kwargs"} and isinstance(apart, dict) and apart.keys() & {"args", "kwargs"}:
        named = apart
    return args, named


def _meant(program: object, kept: str) -> object:
    """Recorded arguments by name, those left out with them: equal calls are equal however they are written."""
    fn = getattr(_unbound(program), "fn", _unbound(program))
    try:
        args, named = taken(json.loads(kept))
        bound = inspect.signature(fn).bind(*args, **named)  # type: ignore[arg-type] # what is not callable raises
    except (TypeError, ValueError):
        return kept
    bound.apply_defaults()
    return json.loads(to_json(bound.arguments, again=True, unread=True))


def name_of(program: object) -> str:
    """What a row calls a step, a program, or any other function."""
    program = _unbound(program)
    return str(getattr(program, "name", None) or getattr(program, "__qualname__", None) or type(program).__name__)


def _unbound(program: object) -> object:
    while isinstance(program, partial):
        program = program.func
    return program


def source_of(program: object) -> str:
    """Where a program is defined, see `RunRecord`; arguments bound to it are the run's."""
    program = _unbound(program)
    fn = getattr(program, "fn", program)
    name, module = getattr(fn, "__qualname__", ""), getattr(fn, "__module__", "")
    if not name.isidentifier():
        return ""
    if module == "__main__":
        module = getattr(sys.modules["__main__"], "__file__", None) or ""
    return f"{module}:{name}{'?' if getattr(program, 'settings', None) else ''}" if module else ""


def _under(above: Run | None, budget: Budget | None) -> tuple[Budget, ...]:
    """The budgets of what runs under `above`; one that is there already does not count twice."""
    budgets = () if above is None else above.budgets
    return budgets if budget is None or budget in budgets else (*budgets, budget)


@contextmanager
def budgeted(budget: Budget) -> Iterator[None]:
    """Count the calls made here against one more budget.

    Raises:
        UserError: the budget is durable, which only a named run can hold.
    """
    if budget.durable and budget.home is None:
        msg = f"{budget!r} is durable, which only a named run can hold. Pass it to sy.run(..., run_id=, budget=)."
        raise UserError(msg)
    above = _run.get()
    inner = Run(new_id(), Defaults.journal()) if above is None else copy(above)
    inner.budgets = _under(above, budget)
    token = _run.set(inner)
    try:
        yield
    finally:
        _run.reset(token)
