"""Keep what happened: calls, spans, datasets, scores."""

from synthon.journal.default import default_journal, default_path
from synthon.journal.effects import Doubt, doubts, effect, settle
from synthon.journal.memory import MemoryJournal
from synthon.journal.rows import DatasetRow, Row, ScoreRecord
from synthon.journal.sqlite import SQLiteJournal
from synthon.journal.traces import Node, RunSummary, content, export, runs, summary, tree

__all__ = [
    "DatasetRow",
    "Doubt",
    "MemoryJournal",
    "Node",
    "Row",
    "RunSummary",
    "SQLiteJournal",
    "ScoreRecord",
    "content",
    "default_journal",
    "default_path",
    "doubts",
    "effect",
    "export",
    "runs",
    "settle",
    "summary",
    "tree",
]
