"""Rows for tests."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import apsw

from synthon.core.protocols import CallRecord, Key, Span

if TYPE_CHECKING:
    from pathlib import Path


def a_span(id_: str = "s1", run: str = "r1", **more: object) -> Span:
    span = Span(id_, run, "", "answer", "step", 1_000.0, 1_001.5)
    for name, value in more.items():
        setattr(span, name, value)
    return span


def a_call(request: str, completion: str = '{"text":"yes"}', *, scope: str = "", run: str = "r1") -> CallRecord:
    digest = hashlib.sha256(request.encode()).hexdigest()
    span = a_span(f"call-{digest[:8]}", run, kind="call", key=digest, tokens_in=10, tokens_out=2)
    return CallRecord(Key(scope, digest), request, completion, span)


class rows_locked:  # noqa: N801 - read as a statement
    """Holds SQLite's write lock, as another process may."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path))

    def __enter__(self) -> None:
        self._connection.set_busy_timeout(10_000)  # the writer may be at its first row
        self._connection.execute("BEGIN IMMEDIATE")

    def __exit__(self, *_: object) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.close()
