"""What each row would cost in production: its calls, tokens, dollars and seconds, whether or not they were hits."""

from __future__ import annotations

import asyncio
import itertools
import re
import time
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, WeakValueDictionary

from synthon.core.protocols import CallRecord, Journal, Key, Reservation, RunRecord, Span
from synthon.core.running import current_run, current_span
from synthon.evals.sums import Sums, inside, keep_inside

if TYPE_CHECKING:
    from synthon.core.protocols import Record

_STOPPED = re.compile(r"BudgetExceeded: The budget's limit (\S+)")
_Task = int  # a task's number, 0 where there is none


@dataclass(frozen=True, slots=True)
class Bill:
    """What one row takes; `cost_usd` is None where a price is not known. `root` is its outermost span's id.

    `stopped` is the limit of a budget that stopped one of its calls, if one did.
    """

    cost_usd: float | None = 0.0
    latency_s: float = 0.0
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    root: str = ""
    stopped: str = ""


@dataclass(slots=True)
class _Piece:
    """A closed span as far as time goes; `took` replaces the time that it took now."""

    id: str
    parent: str
    start: float
    end: float
    task: _Task
    order: int = 0
    took: float | None = None


@dataclass(slots=True)
class _Row:
    """What was seen of one row."""

    sums: dict[str, Sums] = field(default_factory=dict)
    stopped: str = ""
    pieces: list[_Piece] = field(default_factory=list)
    start: float = 0.0
    end: float = 0.0
    task: _Task = 0


class Tee:
    """A journal that hands all on to another, and keeps what the spans of some runs say about cost and time.

    Spans that ended one after the other may have been gathered: a hit does not suspend, so its task is done before the
    next one starts. Here a task is told from the others, and what ended before a task was made from what ended later.
    """

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self._rows: dict[str, _Row] = {}
        self._numbers: WeakKeyDictionary[asyncio.Task[object], _Task] = WeakKeyDictionary()
        self._count = itertools.count(1)
        self._order = itertools.count(1)
        self._settled = 0
        self._born: dict[_Task, int] = {}

    @classmethod
    @contextmanager
    def over(cls, journal: Journal, runs: Sequence[str]) -> Iterator[Tee]:
        """The tee of a journal, which keeps what these runs do, with the runs started inside them.

        It is one for all who evaluate under a journal at once, so that they share calls in flight.
        """
        tee = _tees.get(id(journal))
        if tee is None:
            tee = _tees[id(journal)] = cls(journal)
        tee._rows.update((run, _Row()) for run in runs)
        try:
            yield tee
        finally:
            for run in runs:
                tee._rows.pop(run, None)

    def bill(self, run: str) -> Bill:
        """What a watched run took; it is forgotten with this."""
        row = self._rows.pop(run)
        total = Sums()
        for sums in row.sums.values():
            total.add(sums)
        ids = {piece.id for piece in row.pieces if piece.id}
        return Bill(
            None if total.unpriced else total.cost_usd,
            _seconds(row, self._born),
            total.calls,
            total.tokens_in,
            total.tokens_out,
            next((piece.id for piece in reversed(row.pieces) if piece.id and piece.parent not in ids), ""),
            row.stopped,
        )

    def read(self, key: Key) -> str | None:
        self._task()
        return self.journal.read(key)

    def took(self, key: Key) -> float:
        """Seconds that a recorded call took."""
        return self.journal.took(key)

    def write(self, record: Record) -> None:
        self.journal.write(record)
        if isinstance(record, Reservation):
            return
        row = self._row(record.id if isinstance(record, RunRecord) else _span(record).run)
        if row is None:
            return
        if isinstance(record, RunRecord):
            if record.id in self._rows:
                row.start, row.end, row.task = record.start, record.end, self._task()
            return
        span = _span(record)
        sums = row.sums.pop(span.id, Sums())
        if isinstance(record, CallRecord):
            keep_inside(self.journal, record, sums)
        if span.hit and span.kind != "call":
            sums.add(inside(self.journal, span))
        sums.close(span)
        row.sums.setdefault(span.parent, Sums()).add(sums)
        if found := _STOPPED.match(span.error):
            row.stopped = found[1]
        took: float | None = None
        if span.hit:
            run = current_run()
            own, shared = Key(span.run, span.key), Key("", span.key)
            first, second = (own, shared) if run is None or run.scope else (shared, own)
            took = self.journal.took(first) or self.journal.took(second)
        row.pieces.append(self._ended(_Piece(span.id, span.parent, span.start, span.end, self._task(), took=took)))

    async def durable(self) -> None:
        """Wait for the disk; under `cache` each new call does, in production none, so this takes no time of a row."""
        above = current_span()
        row = None if above is None else self._row(above.run)
        start = time.time()
        await self.journal.durable()
        if above is not None and row is not None:
            parent = above.parent if above.key else above.id  # a call waits for its row when it has ended
            piece = _Piece("", parent, start, time.time(), self._task(), took=0.0)
            row.pieces.append(self._ended(piece))

    def run(self, run: str) -> RunRecord | None:
        return self.journal.run(run)

    def digests(self, scope: str) -> frozenset[str]:
        return self.journal.digests(scope)

    def inner(self, run: str, outer: AbstractSet[str]) -> frozenset[str]:
        return self.journal.inner(run, outer)

    def reservations(self, run: str) -> list[Reservation]:
        return self.journal.reservations(run)

    def _row(self, run: str) -> _Row | None:
        while run and run not in self._rows:
            run = run.rpartition("/")[0]
        return self._rows.get(run)

    def _task(self) -> _Task:
        """The number of the task that this is done in; what had ended when it was first seen is kept with it."""
        try:
            task = asyncio.current_task()
        except RuntimeError:
            return 0
        if task is None:
            return 0
        number = self._numbers.get(task)
        if number is None:
            number = self._numbers[task] = next(self._count)
            self._born[number] = self._settled
        return number

    def _ended(self, piece: _Piece) -> _Piece:
        """Number a piece; it is settled once all tasks that were ready when it ended have started."""
        piece.order = next(self._order)
        if piece.task:
            asyncio.get_running_loop().call_soon(self._settle, piece.order)
        return piece

    def _settle(self, order: int) -> None:
        self._settled = max(self._settled, order)


_tees: WeakValueDictionary[int, Tee] = WeakValueDictionary()


def _span(record: CallRecord | Span) -> Span:
    return record.span if isinstance(record, CallRecord) else record


def _seconds(row: _Row, born: dict[_Task, int]) -> float:
    """How long a row takes where every hit takes as long as its call did."""
    children: dict[str, list[_Piece]] = {}
    ids = {piece.id for piece in row.pieces}
    for piece in row.pieces:
        children.setdefault(piece.parent if piece.parent in ids else "", []).append(piece)
    top = children.get("", [])
    start = row.start or min((piece.start for piece in top), default=0.0)
    end = row.end or max((piece.end for piece in top), default=0.0)
    return _replayed(_Piece("", "", start, end, row.task), children, born)


def _replayed(piece: _Piece, children: dict[str, list[_Piece]], born: dict[_Task, int]) -> float:
    """The seconds of a span: its own between its children, and theirs; a child starts once what it waits for ended."""
    if piece.took is not None:
        return piece.took
    ended: list[tuple[_Piece, float]] = []
    for child in sorted(children.get(piece.id, ()), key=lambda each: (each.start, each.order)):
        start = _after([pair for pair in ended if _waits(child, pair[0], piece, born)], piece.start, child.start)
        ended.append((child, start + _replayed(child, children, born)))
    return _after([pair for pair in ended if pair[0].end <= piece.end], piece.start, piece.end)


def _after(ended: list[tuple[_Piece, float]], start: float, moment: float) -> float:
    """The new time of a moment, from the new ends of all before it and the span's own time since the last of them."""
    last = max((piece.end for piece, _ in ended), default=start)
    return max((end for _, end in ended), default=0.0) + max(0.0, moment - last)


def _waits(child: _Piece, earlier: _Piece, above: _Piece, born: dict[_Task, int]) -> bool:
    """Whether a child may have waited for an earlier one: in its task, the one that gathers, or before it was."""
    if earlier.end > child.start:
        return False
    return child.task in {0, earlier.task, above.task} or earlier.order <= born.get(child.task, 0)
