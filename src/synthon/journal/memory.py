"""The journal in memory: for tests, and for runs nobody will ask about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthon.core.protocols import CallRecord, Key, Reservation, RunRecord, Span
from synthon.journal.rows import DatasetRow, ScoreRecord, made_inside

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from synthon.journal.rows import Row


class MemoryJournal:
    """Keeps rows in this object only; `durable` returns at once. Safe from any thread.

    `records` holds everything written, in order, for a test to look at.
    """

    def __init__(self) -> None:
        self.records: list[Row] = []
        self._calls: dict[Key, CallRecord] = {}
        self._runs: dict[str, RunRecord] = {}

    def __repr__(self) -> str:
        return f"MemoryJournal({len(self.records)} records)"

    def write(self, record: Row) -> None:
        if isinstance(record, CallRecord):
            self._calls.setdefault(record.key, record)
        elif isinstance(record, RunRecord):
            self._runs[record.id] = record
        self.records.append(record)

    async def durable(self) -> None:
        """Return at once: memory is all there is."""

    def read(self, key: Key) -> str | None:
        record = self._calls.get(key)
        return None if record is None else record.completion

    def took(self, key: Key) -> float:
        record = self._calls.get(key)
        return 0.0 if record is None else record.span.end - record.span.start

    def run(self, run: str) -> RunRecord | None:
        return self._runs.get(run)

    def digests(self, scope: str) -> frozenset[str]:
        return frozenset(key.digest for key in self._calls.copy() if key.scope == scope)

    def inner(self, run: str, outer: AbstractSet[str]) -> frozenset[str]:
        spans = [row.span if isinstance(row, CallRecord) else row for row in self.records.copy()]
        above = {row.id: (row.parent, row.key) for row in spans if isinstance(row, Span) and row.run == run}
        calls = {key.digest: record.span.id for key, record in self._calls.copy().items() if key.scope == run}
        return made_inside(outer, calls, above)

    def reservations(self, run: str) -> list[Reservation]:
        return [row for row in self.records if isinstance(row, Reservation) and row.run == run]

    def dataset(self, name: str) -> list[str]:
        """The rows of a dataset as JSON text, in the order written."""
        return [row.row for row in self.records if isinstance(row, DatasetRow) and row.dataset == name]

    def scores(self, target: str) -> list[ScoreRecord]:
        """The scores of a span (its id) or a call (its digest), in the order written."""
        return [row for row in self.records if isinstance(row, ScoreRecord) and row.target == target]
