"""Keep what happened: calls, spans, datasets, scores."""

from synthon.journal.default import default_journal, default_path
from synthon.journal.memory import MemoryJournal
from synthon.journal.rows import DatasetRow, Row, ScoreRecord
from synthon.journal.sqlite import SQLiteJournal
from synthon.journal.traces import (
    Correction,
    Node,
    RunSummary,
    content,
    corrections,
    diverged,
    export,
    runs,
    summary,
    tree,
)

__all__ = [
    "Correction",
    "DatasetRow",
    "MemoryJournal",
    "Node",
    "Row",
    "RunSummary",
    "SQLiteJournal",
    "ScoreRecord",
    "content",
    "corrections",
    "default_journal",
    "default_path",
    "diverged",
    "export",
    "runs",
    "summary",
    "tree",
]
