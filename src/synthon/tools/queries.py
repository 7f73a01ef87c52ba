"""Queries over SQLite and DuckDB, read-only unless told otherwise."""

from __future__ import annotations

import asyncio
import importlib
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import apsw

from synthon.core.errors import MissingExtra, UserError
from synthon.core.identity import to_json
from synthon.tools.contents import cut
from synthon.tools.function import FunctionTool, tool

Query = Callable[[str, int, float], tuple[Sequence[str], Sequence[Sequence[object]]]]
_SCHEMA_BYTES = 4_000
_VALUE_BYTES = _ANSWER_BYTES = 1_000_000
_READS = {apsw.SQLITE_SELECT, apsw.SQLITE_READ, apsw.SQLITE_FUNCTION, apsw.SQLITE_RECURSIVE}
_NEVER = {apsw.SQLITE_ATTACH, apsw.SQLITE_DETACH, apsw.SQLITE_CREATE_VTABLE, apsw.SQLITE_DROP_VTABLE}
_TRANSACTIONS = {apsw.SQLITE_TRANSACTION, apsw.SQLITE_SAVEPOINT}
_OWN = "Each query is a transaction of its own: leave out BEGIN, COMMIT, ROLLBACK, SAVEPOINT and their like."
_ONE = "A query is one statement, and nothing after it: none of these was run. Send them one by one."
_NOTHING = re.compile(r"(?:[\s;]|--[^\n]*|/\*.*?(?:\*/|\Z))*+", re.DOTALL)  # comments and empty statements
_PRAGMAS = {"table_info", "table_xinfo", "table_list", "index_list", "index_info", "foreign_key_list"}
_HEADS = {"sqlite": b"SQLite format 3", "duckdb": b"DUCK"}  # of their files
_SETTINGS = {"enable_external_access": False, "memory_limit": "512MB", "threads": 2, "lock_configuration": True}


def sql(
    database: str | Path,
    *,
    engine: Literal["sqlite", "duckdb"] = "sqlite",
    write: bool = False,
    max_rows: int = 100,
    timeout_s: float = 10.0,
) -> FunctionTool[[str], str]:
    """A tool that answers queries over one database; its description shows a model the tables.

    Neither can reach another file: SQLite under an authorizer, DuckDB without external access. A query is one statement
    and a transaction of its own. Its rows are of this database, and under `cache` too of the run that asked: another
    run looks again.

    Args:
        database: a file that exists, or ":memory:" for an empty one, which may always be changed.
        engine: DuckDB needs `pip install 'synthon[duckdb]'`.
        write: whether it may change the database; then it is a tool with effects.
        max_rows: of an answer; a note says that there are more.
        timeout_s: after which a query is stopped.

    Raises:
        UserError: there is no such database, or no such engine.
        MissingExtra: DuckDB is not installed.
    """
    is_new = str(database) == ":memory:"
    if engine not in _HEADS or not (is_new or (Path(database).is_file() and _begins(database, _HEADS[engine]))):
        msg = f"sy.tools.sql found no database at {str(database)!r} for engine={engine!r}. Pass a file that exists and"
        raise UserError(f"{msg} holds one, and its engine: {' or '.join(map(repr, _HEADS))}.")
    write = write or is_new
    answer = _sqlite(database, write) if engine == "sqlite" else _duckdb(database, write)
    tables = "sqlite_schema WHERE sql IS NOT NULL" if engine == "sqlite" else "duckdb_tables()"
    known = "\n".join(str(sql) for (sql,) in answer(f"SELECT sql FROM {tables}", 200, timeout_s)[1])  # noqa: S608 - ours

    def told(query: str) -> str:
        names, rows = answer(query, max_rows + 1, timeout_s)
        shown = [[_plain(value) for value in row] for row in rows[:max_rows]]
        more = f"\n[there are more rows; {max_rows} are shown]" if len(rows) > max_rows else ""
        return f"{cut(to_json({'columns': names, 'rows': shown}), _ANSWER_BYTES)}{more}"

    async def query(query: str) -> str:
        return await asyncio.to_thread(told, query)

    words = f"Query a {engine} database in SQL{'' if write else ', read-only'}."
    words = cut(f"{words} Its tables:\n{known}" if known else words, _SCHEMA_BYTES)
    effects: set[Literal["read", "write"]] = {"read", "write"} if write else {"read"}
    made = tool(name="sql", description=words, effects=effects, timeout_s=timeout_s + 5)(query)
    return replace(made, identity="" if is_new else str(Path(database).resolve()), rows="own")


def _begins(database: str | Path, head: bytes) -> bool:
    with Path(database).open("rb") as file:
        return head in (file.read(16) or head)  # an empty file is an empty database


def _sqlite(database: str | Path, write: bool) -> Query:  # noqa: FBT001 - private
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE if write else apsw.SQLITE_OPEN_READONLY
    connection = apsw.Connection(str(database), flags=flags)
    connection.limit(apsw.SQLITE_LIMIT_LENGTH, _VALUE_BYTES)
    lock = threading.Lock()

    def authorizer(code: int, first: str | None, second: str | None, *_: object) -> int:
        if code in _TRANSACTIONS:
            raise ValueError(_OWN)
        allowed = code in _READS or (write and code not in _NEVER)
        if code == apsw.SQLITE_PRAGMA:
            allowed = first in _PRAGMAS
        elif code == apsw.SQLITE_FUNCTION:
            allowed = second != "load_extension"
        return apsw.SQLITE_OK if allowed else apsw.SQLITE_DENY

    connection.authorizer = authorizer

    def answer(query: str, rows: int, timeout_s: float) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
        with lock:
            names: list[str] = []
            connection.set_busy_timeout(int(min(timeout_s, 60.0) * 1000))  # others write to it too
            alarm = threading.Timer(timeout_s, connection.interrupt)  # heard at each row; a count of steps is not
            alarm.start()
            try:
                found: list[Sequence[object]] = []
                cursor = connection.cursor()
                cursor.exec_trace = _alone(query)
                for row in islice(cursor.execute(query), rows):
                    names = [name for name, *_ in cursor.get_description()]
                    found.append(row)
                cursor.close(force=True)
            except apsw.InterruptError as error:
                raise TimeoutError(f"The query was stopped after {timeout_s:g} s.") from error
            finally:
                alarm.cancel()
            return names, found

    return answer


def _alone(query: str) -> Callable[..., bool]:
    """Hears each statement before it is run, and refuses the first where another comes after it."""
    at = 0

    def hear(_cursor: object, statement: str, _bindings: object) -> bool:
        nonlocal at
        at += len(statement)
        if not _NOTHING.fullmatch(statement) and not _NOTHING.fullmatch(query, at):
            raise ValueError(_ONE)
        return True

    return hear


def _duckdb(database: str | Path, write: bool) -> Query:  # noqa: FBT001 - private
    try:
        library: Any = importlib.import_module("duckdb")
    except ImportError as error:
        msg = "sy.tools.sql(engine='duckdb') needs 'duckdb', which is not installed. Run: pip install 'synthon[duckdb]'"
        raise MissingExtra(msg) from error
    connection = library.connect(str(database), read_only=not write, config=_SETTINGS)
    lock = threading.Lock()

    def answer(query: str, rows: int, timeout_s: float) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
        with lock:
            alarm = threading.Timer(timeout_s, connection.interrupt)
            alarm.start()
            try:
                statements = connection.extract_statements(query)
                if not statements:
                    return [], []
                if len(statements) > 1:
                    raise ValueError(_ONE)
                if any(each.type == library.StatementType.TRANSACTION for each in statements):
                    raise ValueError(_OWN)
                cursor = connection.execute(query)
                found = cursor.fetchmany(rows) if cursor.description else []
                return [name for name, *_ in cursor.description or []], found
            except library.InterruptException as error:
                raise TimeoutError(f"The query was stopped after {timeout_s:g} s.") from error
            finally:
                alarm.cancel()

    return answer


def _plain(value: object) -> object:
    return f"x'{value.hex()}'" if isinstance(value, bytes) else value
