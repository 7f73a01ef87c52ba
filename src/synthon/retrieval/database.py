"""The index's tables, and how a file with them is opened."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import apsw

from synthon.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS documents (
    key INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, title TEXT NOT NULL, text TEXT NOT NULL,
    metadata TEXT NOT NULL, form TEXT NOT NULL,
    digest BLOB NOT NULL, stamp BLOB NOT NULL, origin TEXT NOT NULL, source TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS documents_source ON documents (source);
CREATE TABLE IF NOT EXISTS fields (
    name TEXT, value, document INTEGER, PRIMARY KEY (name, value, document)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS fields_document ON fields (document);
CREATE TABLE IF NOT EXISTS vectors (key INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, vector BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS terms (key INTEGER PRIMARY KEY, term TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS chunks (
    key INTEGER PRIMARY KEY AUTOINCREMENT, document INTEGER NOT NULL, start INTEGER NOT NULL, stop INTEGER NOT NULL,
    title TEXT NOT NULL, vector INTEGER, terms BLOB NOT NULL, counts BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS chunks_document ON chunks (document);
CREATE INDEX IF NOT EXISTS chunks_vector ON chunks (vector);
"""
BUSY_TIMEOUT_MS = 60_000
_ADVICE = {
    apsw.BusyError: "Another process is writing this index: try again when it is done.",
    apsw.ConnectionClosedError: "This Index was closed: make a new one of the file.",
    apsw.CorruptError: "The file is damaged: delete it, and index the documents again.",
    apsw.NotADBError: "If an Index made it, it is damaged: delete it and index the documents again; else name another.",
    apsw.FullError: "Make room on its disk, then try again.",
    UnicodeEncodeError: "Paths, ids and prefixes must be UTF-8: name another.",
}


def connect(path: Path) -> apsw.Connection:
    """A connection in WAL mode to an index, or to an empty file, which is made where there is none.

    Raises:
        UserError: the file is another program's database, which is left alone, or no file at all.
    """
    if str(path) == ":memory:":
        msg = "An index cannot be kept in ':memory:': it is opened several times. Name a file, in a temporary folder."
        raise UserError(msg)
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)  # its owner's only, and so are the files that SQLite puts beside it
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(BUSY_TIMEOUT_MS)
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if tables and not {"meta", "documents", "chunks"} <= tables:
        connection.close()
        msg = f"The file {str(path)!r} is a database, but no index of Synthon's. Give the index a file of its own."
        raise UserError(msg)
    _into_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    return connection


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Say what to do in place of SQLite's errors."""
    try:
        yield
    except (apsw.Error, OSError, UnicodeEncodeError) as error:
        known = (advice for kind, advice in _ADVICE.items() if isinstance(error, kind))
        advice = next(known, "Name a file that an Index made, or a new one.")
        msg = f"Cannot use {str(path)!r} as an index: {error}. {advice}"
        raise UserError(msg) from error


def _into_wal(connection: apsw.Connection) -> None:
    """Switch to WAL; SQLite does not wait for another process that is switching too, so we do."""
    until = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except apsw.BusyError:
            if time.monotonic() > until:
                raise
            time.sleep(0.01)
        else:
            return


__all__ = ["SCHEMA", "SCHEMA_VERSION", "connect", "explained"]
