"""What calls come to: their number, tokens and dollars, also of those inside what is a hit as a whole."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from synthon.core.identity import digest, dumps
from synthon.core.protocols import CallRecord, Key, Span
from synthon.core.running import new_id

if TYPE_CHECKING:
    from synthon.core.protocols import Journal


@dataclass(slots=True)
class Sums:
    """Calls of models with their tokens and dollars.

    `unpriced` counts what has no known price: calls without one, and steps whose model keeps no journal. `rows` counts
    what left a row.
    """

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    unpriced: int = 0
    rows: int = 0

    def add(self, other: Sums) -> None:
        """Count the other's too."""
        self.calls += other.calls
        self.tokens_in += other.tokens_in
        self.tokens_out += other.tokens_out
        self.cost_usd += other.cost_usd
        self.unpriced += other.unpriced
        self.rows += other.rows

    def close(self, span: Span) -> None:
        """Count a span in which all this was."""
        is_call = span.kind == "call"
        self.cost_usd += span.cost_usd or 0.0
        self.calls += is_call
        self.tokens_in += is_call * span.tokens_in
        self.tokens_out += is_call * span.tokens_out
        self.rows += bool(span.key)
        silent = span.cost_usd is None if is_call else span.kind == "step" and not self.rows
        self.unpriced += silent and not span.error


def inside(journal: Journal, span: Span) -> Sums:
    """What was called inside a hit when it was no hit, see `keep_inside`."""
    row = journal.read(_place(span.key)[0])
    return Sums() if row is None else Sums(**json.loads(row))


def keep_inside(journal: Journal, record: CallRecord, sums: Sums) -> None:
    """Keep what was called inside of something that is a row of its own (a tool that asks a model), for its next hit.

    Only in the scope that runs share: a run that is resumed counts what it recorded.
    """
    if sums.calls and record.span.kind != "call" and not record.key.scope:
        span = record.span
        key, request = _place(record.key.digest)
        bill = Span(new_id(), span.run, span.id, "bill", "span", span.end, span.end, key=key.digest)
        journal.write(CallRecord(key, request, dumps(asdict(sums)), bill))


def _place(of: str) -> tuple[Key, str]:
    request = dumps({"call": "bill", "of": of})
    return Key("", digest(request)), request
