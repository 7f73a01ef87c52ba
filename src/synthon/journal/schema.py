"""The journal's tables, and how a file with them is opened.

A column that may hold a long text holds either the text itself (TEXT) or the sha256 of a row in `payloads` (BLOB).
Tables have rowids and a unique index: a WITHOUT ROWID table keyed by hash cost 26 us a row in place of 6.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import apsw

from synthon.core.errors import JournalError, UserError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Sequence

Place: TypeAlias = "str | os.PathLike[str]"
Synchronous = Literal["FULL", "NORMAL", "OFF"]
APPLICATION_ID = 0x53594E4A  # "SYNJ"
BUSY_TIMEOUT_MS = 30_000

FIRST = """
CREATE TABLE payloads (n INTEGER PRIMARY KEY, hash BLOB NOT NULL, text TEXT NOT NULL);
CREATE UNIQUE INDEX payloads_hash ON payloads (hash);
CREATE TABLE calls
    (n INTEGER PRIMARY KEY, scope TEXT NOT NULL, digest TEXT NOT NULL, request, completion, span TEXT, at REAL);
CREATE UNIQUE INDEX calls_key ON calls (scope, digest);
CREATE TABLE spans
    (n INTEGER PRIMARY KEY, id TEXT NOT NULL, run TEXT NOT NULL, parent TEXT NOT NULL, name TEXT NOT NULL,
    kind TEXT NOT NULL, start REAL, "end" REAL, inputs, output, error TEXT, key TEXT, hit INTEGER,
    tokens_in INTEGER, tokens_cached INTEGER, tokens_out INTEGER, cost_usd REAL, billed_usd REAL, attributes);
CREATE INDEX spans_run ON spans (run);
CREATE INDEX spans_name ON spans (name, start);
CREATE INDEX spans_root ON spans (start) WHERE parent = '';
CREATE TABLE runs
    (n INTEGER PRIMARY KEY, id TEXT NOT NULL, program TEXT, arguments, status TEXT, start REAL, "end" REAL,
    result, error, policy TEXT, diverged);
CREATE UNIQUE INDEX runs_id ON runs (id);
CREATE INDEX runs_start ON runs (start);
CREATE TABLE reservations
    (n INTEGER PRIMARY KEY, run TEXT NOT NULL, scope TEXT, digest TEXT, calls INTEGER, tokens INTEGER, usd REAL);
CREATE INDEX reservations_run ON reservations (run);
CREATE TABLE datasets (n INTEGER PRIMARY KEY, dataset TEXT NOT NULL, row, at REAL);
CREATE INDEX datasets_dataset ON datasets (dataset);
CREATE TABLE scores
    (n INTEGER PRIMARY KEY, target TEXT NOT NULL, "of" TEXT, name TEXT, value REAL, source TEXT, comment TEXT, at REAL);
CREATE INDEX scores_target ON scores (target);
"""

SECOND = "ALTER TABLE runs ADD COLUMN source TEXT NOT NULL DEFAULT ''"

THIRD = "ALTER TABLE calls ADD COLUMN took REAL NOT NULL DEFAULT 0.0"

MIGRATIONS: tuple[str, ...] = (FIRST, SECOND, THIRD)


def file_of(place: Place) -> Path:
    """The file that a journal's path names.

    Raises:
        UserError: SQLite cannot open it, since its path is not UTF-8.
    """
    path = Path(place).expanduser().absolute()
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        msg = f"The journal {str(path)!r} is not UTF-8. Rename it, or name another (SYNTHON_JOURNAL for the default)."
        raise UserError(msg) from error
    return path


def connect(
    path: Path, *, synchronous: Synchronous = "FULL", vfs: str | None = None, read_only: bool = False
) -> apsw.Connection:
    """An open connection in WAL mode; with `read_only` the file must exist and hold our schema."""
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    connection = apsw.Connection(str(path), flags=flags, vfs=vfs)
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    if not read_only:
        _into_wal(connection, path)
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA cache_size=-16000")
        # 16 MB of WAL: a page rewritten by many small commits is copied to the file once
        connection.execute("PRAGMA wal_autocheckpoint=4000")
    return connection


def migrate(connection: apsw.Connection, path: Path, steps: Sequence[str] = MIGRATIONS) -> None:
    """Bring the file to the newest schema, in one transaction; several processes may try at once.

    Raises:
        JournalError: the file is another program's, or a newer version of ours.
    """
    if _version(connection, path, len(steps)) == len(steps):
        return
    with immediately(connection):
        found = _version(connection, path, len(steps))
        for step in steps[found:]:
            connection.execute(step)
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version={len(steps)}")


def check(connection: apsw.Connection, path: Path) -> None:
    """Raise `JournalError` unless the file holds our newest schema."""
    found, newest = _version(connection, path, len(MIGRATIONS)), len(MIGRATIONS)
    if found < newest:
        msg = (
            f"The journal {str(path)!r} has schema version {found}, this version of Synthon reads {newest}. "
            "Open it once for writing, with synthon.journal.SQLiteJournal(path), and its tables are brought up to date."
        )
        raise JournalError(msg)


@contextmanager
def immediately(connection: apsw.Connection) -> Iterator[None]:
    """A write transaction from its start; apsw's own opens a savepoint, which takes the lock too late to wait."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: apsw.Connection, path: Path, newest: int) -> int:
    """The file's schema version, 0 for an empty file."""
    version, application, tables = connection.execute(
        "SELECT (SELECT user_version FROM pragma_user_version), (SELECT application_id FROM pragma_application_id), "
        "(SELECT count(*) FROM sqlite_schema)"
    ).get
    if application != APPLICATION_ID and (version or application or tables):
        msg = f"The file {str(path)!r} is a database, but no journal of Synthon's. Give the journal a file of its own."
        raise JournalError(msg)
    if version > newest:
        msg = (
            f"The journal {str(path)!r} has schema version {version}, this version of Synthon knows up to {newest}. "
            "Upgrade Synthon, or set SYNTHON_JOURNAL to another file."
        )
        raise JournalError(msg)
    return int(version)


def _into_wal(connection: apsw.Connection, path: Path) -> None:
    """Switch to WAL; SQLite does not wait for another process that is switching too, so we do."""
    until = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            mode = connection.pragma("journal_mode", "wal")
            break
        except apsw.BusyError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
    if mode != "wal":
        msg = (
            f"The journal {str(path)!r} cannot use a write-ahead log: SQLite stays in mode {mode!r}. "
            "Put it on a local disk; network file systems lack what it needs."
        )
        raise JournalError(msg)
