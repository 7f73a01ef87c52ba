"""The journal on disk: one SQLite file, one writer thread, readers that never wait for it."""

from __future__ import annotations

import atexit
import logging
import math
import os
import threading
from array import array
from collections import deque
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Self
from weakref import WeakSet

import apsw

from synthon.core.errors import JournalError, UserError
from synthon.core.protocols import CallRecord, Key, Reservation, RunRecord
from synthon.journal._writer import Writer
from synthon.journal.rows import (
    COLUMNS,
    LONG_COLUMNS,
    ROW_TYPES,
    DatasetRow,
    ScoreRecord,
    long_text,
    made_inside,
    quoted,
    store,
)
from synthon.journal.schema import Synchronous, connect, file_of, immediately, migrate

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from synthon.journal.rows import Row, Value, Values
    from synthon.journal.schema import Place

log = logging.getLogger("synthon")

_BUSY_TRIES = 20  # each of BUSY_TIMEOUT_MS: ten minutes
_READ = "SELECT completion FROM calls WHERE scope = ? AND digest = ?"
_RUN = f"SELECT {quoted(COLUMNS['runs'])} FROM runs WHERE id = ?"  # noqa: S608 - our own names
_SCORES = f"SELECT {quoted(COLUMNS['scores'])} FROM scores WHERE target = ? ORDER BY n"  # noqa: S608 - our own names
_RESERVED = "SELECT run, scope, digest, calls, tokens, usd FROM reservations WHERE run = ? ORDER BY n"
# with the runs that were started inside them, whose ids go on with a slash ("0" is the character after it)
_SUSPENDED = (
    "(SELECT part.id FROM runs AS whole JOIN runs AS part ON part.id = whole.id "
    "OR (part.id > whole.id || '/' AND part.id < whole.id || '0') WHERE whole.status = 'suspended')"
)
_OLDEST = f'SELECT "end" FROM spans WHERE run NOT IN {_SUSPENDED} ORDER BY n LIMIT 1'  # noqa: S608 - our own names
_PRUNE = (
    f'DELETE FROM spans WHERE "end" < ? AND run NOT IN {_SUSPENDED}',  # noqa: S608 - our own names
    f"DELETE FROM calls WHERE at < ? AND scope NOT GLOB 'thread:*' AND scope NOT IN {_SUSPENDED}",  # noqa: S608 - our own names
    f"DELETE FROM reservations WHERE run IN (SELECT id FROM runs WHERE start < ?) AND run NOT IN {_SUSPENDED}",  # noqa: S608
    "DELETE FROM scores WHERE at < ?",
    f"DELETE FROM runs WHERE start < ? AND id NOT IN {_SUSPENDED}",  # noqa: S608 - our own names
)
_USED = " UNION ALL ".join(
    f"SELECT {column} FROM {table} WHERE typeof({column}) = 'blob'"  # noqa: S608 - our own names
    for table, columns in LONG_COLUMNS.items()
    for column in columns
)
_COLLECT = f"DELETE FROM payloads WHERE hash NOT IN ({_USED})"  # noqa: S608 - our own names


class SQLiteJournal:
    """Keeps calls, spans, runs, reservations, datasets and scores in one SQLite file, mode 0600 when it is new.

    `write` costs the caller 1 us and never waits; one thread commits what came together. `durable` returns when the
    commit is fsynced. The first row of a key wins, across processes too. Any thread, event loop and process may use
    the same file; a forked child starts with nothing pending.

    Args:
        path: the file; its folder must exist.
        linger_s: how long a commit waits for more rows while nobody waits for it; at most these are lost at a kill.
        synchronous: "FULL" fsyncs each commit. The others lose acknowledged rows at a power cut; they are for tests.
        vfs: name of a registered apsw VFS.

    Raises:
        JournalError: the file cannot be opened or created, is no journal, or one of a newer version.
        UserError: its path is not UTF-8, which SQLite needs.
    """

    def __init__(
        self, path: Place, *, linger_s: float = 0.03, synchronous: Synchronous = "FULL", vfs: str | None = None
    ) -> None:
        self.path = file_of(path)
        self._synchronous: Synchronous = synchronous
        self._vfs = vfs
        self._pending: dict[Key, CallRecord] = {}
        self._states: dict[str, RunRecord] = {}
        self._readers: deque[apsw.Cursor] = deque()
        self._cursor: apsw.Cursor | None = self._open()
        self._writer = Writer(self._commit, self._explain, linger_s)
        _journals.add(self)

    def __repr__(self) -> str:
        return f"SQLiteJournal({str(self.path)!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with suppress(*(() if kind is None else (JournalError,))):
            self.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._writer.stopped

    def write(self, record: Row) -> None:
        if type(record) is CallRecord:
            self._pending.setdefault(record.key, record)
        elif type(record) is RunRecord:
            self._states[record.id] = record
        elif type(record) not in ROW_TYPES:
            msg = f"The journal was given a {type(record).__name__}, which is no row. Pass one of journal.Row's types."
            raise UserError(msg)
        elif type(record) is DatasetRow and type(record.row) is not str:
            msg = f"A row of the dataset {record.dataset!r} is a {type(record.row).__name__}. Pass it as JSON text."
            raise UserError(msg)
        self._writer.put(record)

    async def durable(self) -> None:
        await self._writer.durable()

    def flush(self) -> None:
        """Block until all that was written before is fsynced."""
        self._writer.flush()

    def read(self, key: Key) -> str | None:
        pending = self._pending.get(key)
        if pending is not None:
            return pending.completion
        try:
            readers, cursor = self._reader()
            found: Value = cursor.execute(_READ, key).get
            if type(found) is bytes:
                found = long_text(cursor, found)
        except apsw.Error as error:
            raise JournalError(self._explain(error)) from error
        readers.append(cursor)
        return found  # type: ignore[return-value] # a completion is text, here or in payloads

    def took(self, key: Key) -> float:
        pending = self._pending.get(key)
        if pending is not None:
            return pending.span.end - pending.span.start
        found = self._select("SELECT took FROM calls WHERE scope = ? AND digest = ?", key)
        return float(found[0][0] or 0.0) if found else 0.0

    def run(self, run: str) -> RunRecord | None:
        if run in self._states:  # else nothing is waited for: each named run asks, and this holds up its loop
            self._writer.flush()
        found = self._select(_RUN, (run,))
        return RunRecord(*found[0]) if found else None  # type: ignore[arg-type] # its columns in its order

    def digests(self, scope: str) -> frozenset[str]:
        pending = [key.digest for key in self._pending.copy() if key.scope == scope]
        kept = self._select("SELECT digest FROM calls WHERE scope = ?", (scope,))
        return frozenset([*pending, *(str(digest) for (digest,) in kept)])

    def inner(self, run: str, outer: AbstractSet[str]) -> frozenset[str]:
        self._writer.flush()
        spans = self._select("SELECT id, parent, key FROM spans WHERE run = ?", (run,))
        calls = self._select("SELECT digest, span FROM calls WHERE scope = ?", (run,))
        above = {str(span): (str(parent), str(key)) for span, parent, key in spans}
        return made_inside(outer, {str(digest): str(span) for digest, span in calls}, above)

    def reservations(self, run: str) -> list[Reservation]:
        self._writer.flush()
        return [
            Reservation(run, Key(scope, digest), calls, tokens, usd)  # type: ignore[arg-type] # its columns in its order
            for run, scope, digest, calls, tokens, usd in self._select(_RESERVED, (run,))
        ]

    def dataset(self, name: str) -> list[str]:
        """The rows of a dataset as JSON text, in the order written; empty when there is none of this name."""
        self._writer.flush()
        return [str(row) for (row,) in self._select("SELECT row FROM datasets WHERE dataset = ? ORDER BY n", (name,))]

    def scores(self, target: str) -> list[ScoreRecord]:
        """The scores of a span (its id) or a call (its digest), in the order written."""
        self._writer.flush()
        return [
            ScoreRecord(target, name, math.nan if value is None else value, source, comment, of, at)  # type: ignore[arg-type] # its columns in its order
            for target, name, value, source, comment, of, at in self._select(_SCORES, (target,))
        ]

    def oldest(self) -> float | None:
        """When the oldest span ended that `prune` may remove, in seconds since the epoch; None when there is none."""
        return next((float(end or 0.0) for (end,) in self._select(_OLDEST, ())), None)

    def prune(self, before: float) -> int:
        """Delete spans, calls, scores and runs older than `before` (seconds since the epoch); returns how many rows.

        Suspended runs with the runs inside them, conversations and datasets stay. Texts that no row needs any more go
        too; the file keeps its size and reuses the space. Blocks for a scan of the whole file, and other writers wait
        meanwhile.
        """
        self._writer.flush()
        try:
            opened = connect(self.path, synchronous=self._synchronous, vfs=self._vfs)
            with closing(opened) as connection, immediately(connection):
                for statement in _PRUNE:
                    connection.execute(statement, (before,))
                removed = connection.total_changes()
                if removed:
                    connection.execute(_COLLECT)
        except apsw.Error as error:
            raise JournalError(self._explain(error)) from error
        return removed

    def close(self) -> None:
        """Keep what was written and let the file go.

        Raises:
            JournalError: a row could not be kept.
        """
        if self.closed:
            return
        _journals.discard(self)
        try:
            self._writer.stop()
        finally:
            self._let_go()

    def _open(self) -> apsw.Cursor:
        try:
            if self._vfs is None:
                _create(self.path)
            connection = connect(self.path, synchronous=self._synchronous, vfs=self._vfs)
            migrate(connection, self.path)
        except (OSError, apsw.Error) as error:
            msg = (
                f"The journal {str(self.path)!r} cannot be opened: {type(error).__name__}: {error}. Give it a file in "
                "a folder that exists and may be written to (SYNTHON_JOURNAL for the default one; 'off' for none)."
            )
            raise JournalError(msg) from error
        return connection.cursor()

    def _reader(self) -> tuple[deque[apsw.Cursor], apsw.Cursor]:
        """A connection, and where to put it back: not among those of a file that came after its own."""
        readers = self._readers
        try:
            return readers, readers.pop()
        except IndexError:
            if not self.closed and (self._cursor is None or not self.path.exists()):
                with self._writer.committing:
                    self._begin()
            return self._readers, connect(self.path, vfs=self._vfs, read_only=True).cursor()

    def _select(self, statement: str, bindings: tuple[Value, ...]) -> list[Values]:
        """All rows, long texts fetched."""
        try:
            readers, cursor = self._reader()
            found: list[Values] = cursor.execute(statement, bindings).fetchall()
            rows = [tuple(long_text(cursor, v) if type(v) is bytes else v for v in row) for row in found]
        except apsw.Error as error:
            raise JournalError(self._explain(error)) from error
        readers.append(cursor)
        return rows

    def _begin(self) -> apsw.Cursor:
        """Open the file, also where another lies at its path by now, or none, so that what is written would be lost."""
        moved = array("i", [0])
        if self._cursor is not None:
            self._cursor.connection.file_control("main", apsw.SQLITE_FCNTL_HAS_MOVED, moved.buffer_info()[0])
        if moved[0]:
            log.warning("The journal %r was moved or deleted; what it held is gone, a new one begins", str(self.path))
            self._let_go()
        if self._cursor is None:
            self._cursor = self._open()
        return self._cursor

    def _commit(self, rows: Sequence[Row]) -> None:
        cursor = self._begin()
        for left in reversed(range(_BUSY_TRIES)):
            try:
                store(cursor, rows)
                break
            except apsw.BusyError:  # nothing was written: another holds the lock, as VACUUM and `prune` do for long
                if not left:
                    raise
                log.warning("The journal %r is locked by another; its rows wait, nothing is lost", str(self.path))
        pending, states = self._pending, self._states
        for row in rows:
            if type(row) is CallRecord and pending.get(row.key) is row:
                del pending[row.key]
            elif type(row) is RunRecord and states.get(row.id) is row:
                del states[row.id]

    def _explain(self, error: Exception) -> str:
        if isinstance(error, JournalError):  # it could not be opened again
            return str(error)
        # only SQLite's own words: another error's text may quote the row
        words = str(error) if isinstance(error, apsw.Error | OSError) else "a row it cannot store"
        return (
            f"The journal {str(self.path)!r} failed: {type(error).__name__}: {words}. What it acknowledged is on disk, "
            "later rows are not. Free space or mend the disk, open the journal again, and resume the run by its id."
        )

    def _let_go(self) -> None:
        """Close all connections that no other thread is using."""
        self._readers = deque()  # which closes them
        cursor, self._cursor = self._cursor, None
        if cursor is not None:
            with suppress(apsw.Error):  # a full disk stops the checkpoint that a close makes; the log keeps the rows
                cursor.connection.close()

    def _before_fork(self) -> None:
        self._writer.committing.acquire()
        self._let_go()  # SQLite forbids carrying a connection over a fork

    def _after_fork(self, *, is_child: bool) -> None:
        if is_child:
            self._pending.clear()
            self._states.clear()
            self._writer.reset()
        else:
            self._writer.committing.release()


def _create(path: Path) -> None:
    """Make the file readable by its owner only, and its name as durable as its rows will be."""
    if path.exists():
        return
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


_journals: WeakSet[SQLiteJournal] = WeakSet()
_forking: list[SQLiteJournal] = []
_fork = threading.Lock()


def _before_fork() -> None:
    _fork.acquire()
    _forking[:] = _journals
    for journal in _forking:
        journal._before_fork()  # noqa: SLF001 - the same module


def _after_fork(*, is_child: bool) -> None:
    while _forking:
        _forking.pop()._after_fork(is_child=is_child)  # noqa: SLF001 - the same module
    _fork.release()


def _close_all() -> None:
    for journal in list(_journals):
        try:
            journal.close()
        except JournalError:
            log.exception("rows written last are not in the journal")


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=partial(_after_fork, is_child=False),
        after_in_child=partial(_after_fork, is_child=True),
    )
