"""Records as rows: which table each goes to, and how many are stored with few statements."""

from __future__ import annotations

import hashlib
import time
from collections import defaultdict
from dataclasses import dataclass, fields
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Literal, TypeAlias

from synthon.core.errors import JournalError
from synthon.core.protocols import CallRecord, Reservation, RunRecord, Span
from synthon.journal.schema import immediately

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import apsw

LONG = 4096  # characters; a longer text is stored once, by hash
_INT_BITS = 64  # of SQLite's integers, with the sign


@dataclass(frozen=True, slots=True)
class ScoreRecord:
    """A judgement about a span (`target` is its id) or a call (`target` is its digest).

    `source` says who judged: a metric's or judge's name, or a person. `at` is in seconds since the epoch, 0.0
    until the row is stored.
    """

    target: str
    name: str
    value: float
    source: str
    comment: str = ""
    of: Literal["span", "call"] = "span"
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """One row of a dataset, as JSON text; rows keep the order in which they were written."""

    dataset: str
    row: str


Row: TypeAlias = CallRecord | Span | RunRecord | Reservation | ScoreRecord | DatasetRow
ROW_TYPES = frozenset({CallRecord, Span, RunRecord, Reservation, ScoreRecord, DatasetRow})
Value: TypeAlias = str | bytes | int | float | None
Values: TypeAlias = tuple[Value, ...]

SPAN_COLUMNS = tuple(field.name for field in fields(Span))
RUN_COLUMNS = tuple(field.name for field in fields(RunRecord))
COLUMNS: dict[str, tuple[str, ...]] = {
    "payloads": ("hash", "text"),
    "calls": ("scope", "digest", "request", "completion", "span", "at", "took"),
    "spans": SPAN_COLUMNS,
    "runs": RUN_COLUMNS,
    "reservations": ("run", "scope", "digest", "calls", "tokens", "usd"),
    "datasets": ("dataset", "row", "at"),
    "scores": ("target", "name", "value", "source", "comment", "of", "at"),
}
LONG_COLUMNS: dict[str, tuple[str, ...]] = {
    "calls": ("request", "completion"),
    "spans": ("inputs", "output", "attributes"),
    "runs": ("arguments", "result", "diverged"),
    "datasets": ("row",),
}
FIRST_WINS = {"payloads": " ON CONFLICT (hash) DO NOTHING", "calls": " ON CONFLICT (scope, digest) DO NOTHING"}
LAST_WINS = " ON CONFLICT (id) DO UPDATE SET " + ", ".join(f'"{name}"=excluded."{name}"' for name in RUN_COLUMNS[1:])
# one statement for many rows: SQLite gives the GIL up once a statement, and the loop's thread would take it
SIZES = (64, 8, 1)

_span_values = attrgetter(*SPAN_COLUMNS)
_run_values = attrgetter(*RUN_COLUMNS)
_SPAN_LONG = frozenset(map(SPAN_COLUMNS.index, LONG_COLUMNS["spans"]))
_RUN_LONG = frozenset(map(RUN_COLUMNS.index, LONG_COLUMNS["runs"]))


def quoted(columns: Iterable[str]) -> str:
    """Column names as SQL takes them."""
    return ", ".join(f'"{name}"' for name in columns)


def _statements(table: str) -> dict[int, str]:
    columns, conflict = quoted(COLUMNS[table]), LAST_WINS if table == "runs" else FIRST_WINS.get(table, "")
    row = "(" + ",".join("?" * len(COLUMNS[table])) + ")"
    return {size: f"INSERT INTO {table} ({columns}) VALUES {','.join([row] * size)}{conflict}" for size in SIZES}  # noqa: S608 - our own names


STATEMENTS = {table: _statements(table) for table in COLUMNS}


def store(cursor: apsw.Cursor, rows: Iterable[Row]) -> None:
    """Write all rows in one transaction, or none.

    A lone surrogate, which UTF-8 cannot hold, is stored as its JSON escape; a number of a type that SQLite does not
    know as a float, and anything else by its repr.
    """
    tables = _Tables()
    for row in rows:
        tables.add(row)
    with immediately(cursor.connection):
        for table, values in tables.values.items():
            _insert(cursor, STATEMENTS[table], values)


def made_inside(
    outer: AbstractSet[str], calls: Mapping[str, str], above: Mapping[str, tuple[str, str]]
) -> frozenset[str]:
    """Digests of calls whose span lies under the span of one of the `outer` digests.

    Args:
        outer: digests.
        calls: the span's id by a call's digest.
        above: by a span's id its parent's id, and the digest of the call that it is, if any.
    """

    def is_inner(digest: str, span: str) -> bool:
        while span:
            span, key = above.get(span, ("", ""))
            if key != digest and key in outer:
                return True
        return False

    return frozenset(digest for digest, span in calls.items() if is_inner(digest, span))


class _Tables:
    """Rows sorted into tables; a long text is replaced by its hash."""

    def __init__(self) -> None:
        self.values: defaultdict[str, list[Values]] = defaultdict(list)
        self._hashes: set[bytes] = set()
        self._now = time.time()

    def add(self, row: Row) -> None:
        if isinstance(row, Span):
            self._add_span(row)
        elif isinstance(row, CallRecord):
            (scope, digest), span = row.key, row.span
            request, completion = self._short(row.request), self._short(row.completion)
            self.values["calls"].append((scope, digest, request, completion, span.id, self._now, span.end - span.start))
            self._add_span(span)
        elif isinstance(row, RunRecord):
            self.values["runs"].append(self._all_short(_run_values(row), _RUN_LONG))
        elif isinstance(row, Reservation):
            self.values["reservations"].append((row.run, *row.key, row.calls, row.tokens, row.usd))
        elif isinstance(row, DatasetRow):
            self.values["datasets"].append((row.dataset, self._short(row.row), self._now))
        else:
            at = row.at or self._now
            value = _bindable(row.value)  # numpy's would be stored as their bytes
            self.values["scores"].append((row.target, row.name, value, row.source, row.comment, row.of, at))

    def _add_span(self, span: Span) -> None:
        values: Values = _span_values(span)
        if len(span.inputs) > LONG or len(span.output) > LONG or len(span.attributes) > LONG:
            values = self._all_short(values, _SPAN_LONG)
        self.values["spans"].append(values)

    def _all_short(self, values: Values, where: frozenset[int]) -> Values:
        return tuple(self._short(value) if at in where else value for at, value in enumerate(values))

    def _short(self, value: Value) -> Value:
        if not isinstance(value, str) or len(value) <= LONG:
            return value
        data = value.encode("utf-8", "backslashreplace")
        digest = hashlib.sha256(data).digest()
        if digest not in self._hashes:
            self._hashes.add(digest)
            self.values["payloads"].append((digest, data.decode()))
        return digest


def _insert(cursor: apsw.Cursor, statements: dict[int, str], rows: Sequence[Values]) -> None:
    at = 0
    for size, statement in statements.items():
        while len(rows) - at >= size:
            values = list(chain.from_iterable(rows[at : at + size]))
            try:
                cursor.execute(statement, values)
            except (UnicodeEncodeError, TypeError, OverflowError):
                cursor.execute(statement, [_bindable(value) for value in values])
            at += size


def _bindable(value: object) -> Value:
    """As SQLite takes it: numbers of other types, a price in decimals say, as floats."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if value is None or isinstance(value, bytes | float) or (isinstance(value, int) and value.bit_length() < _INT_BITS):
        return value
    try:
        return float(value)  # type: ignore[arg-type] # what is no number says so
    except (TypeError, ValueError, OverflowError):
        return repr(value)


def long_text(cursor: apsw.Cursor, value: Value) -> str:
    """A column's text, fetched by its hash where it is long.

    Raises:
        JournalError: the file has lost the text.
    """
    if isinstance(value, bytes):
        value = cursor.execute("SELECT text FROM payloads WHERE hash = ?", (value,)).get
    if not isinstance(value, str):
        msg = (
            f"A row of the journal {cursor.connection.filename!r} has lost a long text. Restore the file from a backup."
        )
        raise JournalError(msg)
    return value
