"""What a journal says to people: its runs, their trees, and a run as JSON lines."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import apsw

from synthon.core.errors import JournalError, UserError
from synthon.core.protocols import Span
from synthon.journal.rows import LONG_COLUMNS, SPAN_COLUMNS, long_text
from synthon.journal.schema import check, connect, file_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from synthon.core.values import JSON
    from synthon.journal.rows import Values
    from synthon.journal.schema import Place


# a run holds the runs started inside it, whose ids go on with a slash ("0" is the character after it)
_MINE = "(run = :run OR (run > :run || '/' AND run < :run || '0'))"
_SUMS = f"""
SELECT count(*), coalesce(sum(kind = 'call'), 0), coalesce(sum(kind = 'call' AND hit), 0),
    coalesce(sum(error <> ''), 0), coalesce(sum(tokens_in), 0), coalesce(sum(tokens_cached), 0),
    coalesce(sum(tokens_out), 0), sum(cost_usd), sum(billed_usd), coalesce(sum(kind = 'call' AND cost_usd IS NULL), 0)
FROM spans WHERE {_MINE}
"""  # noqa: S608 - our own names
_RUNS = """
SELECT id, program, status, start, "end", error, policy FROM runs WHERE {run}
UNION ALL
SELECT run, name, iif(error = '', 'done', 'failed'), start, "end", error, '' FROM spans
WHERE {span} AND parent = '' AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.id = spans.run)
ORDER BY start DESC LIMIT :limit
"""
_NEWEST = _RUNS.format(run="true", span="true")
_OUTER = "rtrim(rtrim(runs.id, replace(runs.id, '/', '')), '/')"  # up to the last slash
_WHOLE = _RUNS.format(run=f"NOT EXISTS (SELECT 1 FROM runs AS whole WHERE whole.id = {_OUTER})", span="true")  # noqa: S608 - same
_MOST = 2**63 - 1  # that SQLite counts to
_ONE = _RUNS.format(run="id = :run", span="run = :run")
_CALL = "SELECT request, completion FROM calls WHERE scope IN (?, '') AND digest = ? ORDER BY scope DESC LIMIT 1"
_TEXTS = "SELECT inputs, output FROM spans WHERE id = ? AND run = ?"
_RUN_TEXTS = "SELECT arguments, result, diverged FROM runs WHERE id = ?"
_SCORES = """
SELECT name, value, source, comment, "of", at FROM scores
WHERE ("of" = 'span' AND target = ?) OR ("of" = 'call' AND target = ?) ORDER BY n
"""
_CORRECTIONS = """
SELECT above.name, checks.name, above.inputs, checks.inputs, checks.output FROM spans AS checks
JOIN spans AS above ON above.id = checks.parent
WHERE checks.kind = 'check' AND (:step = '' OR above.name = :step) ORDER BY checks.n
"""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run and what it used, with the runs started inside it.

    A step called outside a program is a run of its own, named after the step. `cost_usd` is what its calls cost
    without cache, `billed_usd` what was paid; both leave out the `unpriced` calls and are None where no call had a
    price. Times are seconds since the epoch; `end` is 0.0 while it runs.
    """

    id: str
    program: str
    status: str
    start: float
    end: float
    error: str = ""
    policy: str = ""
    spans: int = 0
    calls: int = 0
    hits: int = 0
    errors: int = 0
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    cost_usd: float | None = None
    billed_usd: float | None = None
    unpriced: int = 0

    @property
    def seconds(self) -> float:
        """How long it took; 0.0 while it runs."""
        return max(0.0, self.end - self.start)


@dataclass(frozen=True, slots=True)
class Correction:
    """An output that a check or guard of `step` refused, and what mended it; the texts are the model's.

    `inputs` are the step's, as JSON text; `corrected` is empty where nothing mended it.
    """

    step: str
    check: str
    inputs: str
    failed: str
    message: str
    corrected: str


@dataclass(frozen=True, slots=True)
class Node:
    """A span in a tree, without its texts (`content` fetches them); children in the order they started."""

    span: Span
    children: list[Node] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """How long it took."""
        return max(0.0, self.span.end - self.span.start)


def runs(path: Place, limit: int = 20, *, parts: bool = False) -> list[RunSummary]:
    """The newest runs, the newest first, all where `limit` is negative; with `parts` also those started inside others.

    Raises:
        JournalError: there is no journal at `path`.
    """
    most = {"limit": max(-1, min(limit, _MOST))}
    with closing(_open(path)) as connection:
        cursor = connection.cursor()
        return [_summed(cursor, values) for values in cursor.execute(_NEWEST if parts else _WHOLE, most).fetchall()]


def summary(path: Place, run: str) -> RunSummary:
    """One run.

    Raises:
        JournalError: there is no journal at `path`, or it has lost a text.
        UserError: there is no such run.
    """
    with closing(_open(path)) as connection:
        return _summary(connection.cursor(), run)


def tree(path: Place, run: str) -> list[Node]:
    """The spans of a run, nested, in the order they started; several roots if it was resumed. Raises as `summary`."""
    with closing(_open(path)) as connection:
        cursor = connection.cursor()
        nodes = [Node(span) for span in _spans(cursor, _summary(cursor, run).id, without=LONG_COLUMNS["spans"])]
    by_id = {node.span.id: node for node in nodes}
    roots: list[Node] = []
    for node in nodes:
        parent = by_id.get(node.span.parent)
        (roots if parent is None else parent.children).append(node)
    return roots


def content(path: Place, span: Span) -> tuple[str, str]:
    """What went into a span and what came out, as JSON text; a call's are its request and completion."""
    with closing(_open(path)) as connection:
        return _content(connection.cursor(), span)


def export(path: Place, run: str) -> Iterator[str]:
    """A run as JSON lines: it with its sums, then its spans with inputs, output and scores. Raises as `summary`."""
    with closing(_open(path)) as connection:
        cursor = connection.cursor()
        one = _summary(cursor, run)
        texts = cursor.execute(_RUN_TEXTS, (one.id,)).fetchall() or [("", "", "")]
        shown: dict[str, JSON] = {name: getattr(one, name) for name in RunSummary.__dataclass_fields__}
        for name, value in zip(("arguments", "result", "diverged"), texts[0], strict=True):
            shown[name] = _json(long_text(cursor, value))
        yield _line("run", shown)
        for span in _spans(cursor, one.id):
            yield _line("span", _shown(cursor, span))


def corrections(path: Place, step: str = "") -> list[Correction]:
    """What checks and guards refused and what mended it, of one step or of all, the oldest first; each once.

    With `blame` the step is the one whose check it is; `failed` and `corrected` are what the blamed step said.
    """
    with closing(_open(path)) as connection:
        cursor = connection.cursor()
        found = []
        for name, check, inputs, shape, corrected in cursor.execute(_CORRECTIONS, {"step": step}).fetchall():
            told = json.loads(long_text(cursor, shape) or "null")
            if not isinstance(told, dict):
                continue  # a journal of before: a text with half a character was kept as no object
            said = json.loads(long_text(cursor, corrected) or '""')
            inputs_ = long_text(cursor, inputs)
            found.append(Correction(str(name), str(check), inputs_, told["failed"], told["message"], said))
    return list(dict.fromkeys(found))


def diverged(path: Place, run: str) -> list[tuple[str, str]]:
    """Calls that a resumed run no longer made ("gone") or made for the first time ("new"), as canonical JSON text.

    Empty where nothing was gone. Raises as `summary`.
    """
    with closing(_open(path)) as connection:
        cursor = connection.cursor()
        one = _summary(cursor, run)
        text = next((long_text(cursor, value) for _, _, value in cursor.execute(_RUN_TEXTS, (one.id,)).fetchall()), "")
        found = []
        for what, digests in (json.loads(text) if text else {}).items():
            for digest in digests:
                rows = cursor.execute(_CALL, (one.id, digest)).fetchall()
                found += [(what, long_text(cursor, request)) for request, _ in rows]
    return found


def _open(path: Place) -> apsw.Connection:
    place = file_of(path)
    if not place.is_file():
        msg = f"There is no journal at {str(place)!r}. Name its file, or run something first that writes to it."
        raise JournalError(msg)
    try:
        connection = connect(place, read_only=True)
        check(connection, place)
    except apsw.Error as error:
        msg = (
            f"The journal {str(place)!r} cannot be read: {type(error).__name__}: {error}. "
            "Its folder must be writable, for readers and writers share a file there; or copy the journal elsewhere."
        )
        raise JournalError(msg) from error
    return connection


def _summary(cursor: apsw.Cursor, run: str) -> RunSummary:
    found = cursor.execute(_ONE, {"run": run, "limit": 1}).fetchall()
    if not found:
        place = cursor.connection.filename
        msg = f"Run {run!r} is not in the journal {place!r}. Take an id from `synthon trace list`."
        raise UserError(msg)
    return _summed(cursor, found[0])


def _summed(cursor: apsw.Cursor, values: Values) -> RunSummary:
    sums: Values = cursor.execute(_SUMS, {"run": values[0]}).fetchall()[0]
    return RunSummary(*values, *sums)  # type: ignore[arg-type] # its fields in its order


def _spans(cursor: apsw.Cursor, run: str, *, without: Sequence[str] = ()) -> list[Span]:
    columns = ", ".join("''" if name in without else f'"{name}"' for name in SPAN_COLUMNS)
    statement = f"SELECT {columns} FROM spans WHERE {_MINE} ORDER BY start, n"  # noqa: S608 - our own names
    found: list[Values] = cursor.execute(statement, {"run": run}).fetchall()
    spans = [Span(*values) for values in found]  # type: ignore[arg-type] # its columns in its order
    for span in spans:
        span.hit = bool(span.hit)
    return spans


def _content(cursor: apsw.Cursor, span: Span) -> tuple[str, str]:
    found = cursor.execute(_CALL, (span.run, span.key)).fetchall() if span.key else []
    inputs, output = (found or cursor.execute(_TEXTS, (span.id, span.run)).fetchall() or [("", "")])[0]
    is_its_own = span.hit or not (span.error and found)  # else another life, or a person, gave it
    return long_text(cursor, inputs), long_text(cursor, output) if is_its_own else ""


def _shown(cursor: apsw.Cursor, span: Span) -> dict[str, JSON]:
    shown: dict[str, JSON] = {name: getattr(span, name) for name in SPAN_COLUMNS}
    inputs, output = _content(cursor, span)
    scores = cursor.execute(_SCORES, (span.id, span.key)).fetchall()
    names = ("name", "value", "source", "comment", "of", "at")
    return shown | {
        "inputs": _json(inputs),
        "output": _json(output),
        "attributes": _json(long_text(cursor, span.attributes)),
        "scores": [dict(zip(names, values, strict=True)) for values in scores],
    }


def _json(text: str) -> JSON:
    """JSON text as its value; a text that is none stays text, an empty one is None."""
    try:
        value: JSON = json.loads(text) if text else None
    except ValueError:
        return text
    return value


def _line(kind: str, fields: dict[str, JSON]) -> str:
    text = json.dumps({"type": kind} | fields, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace").decode()
