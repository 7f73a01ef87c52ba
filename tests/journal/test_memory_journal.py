from __future__ import annotations

from synthon.journal import MemoryJournal
from tests.journal.rows import a_call, a_span


def test_records_hold_everything_in_order() -> None:
    journal, span, call = MemoryJournal(), a_span(), a_call('{"q":"secret"}')
    journal.write(span)
    journal.write(call)
    assert journal.records == [span, call]
    assert repr(journal) == "MemoryJournal(2 records)"
