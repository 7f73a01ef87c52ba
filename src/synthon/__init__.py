"""Synthon: design, optimize and operate compound AI systems.

A compound system is an ordinary typed Python program; every call it makes is one row in one journal.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from synthon.core import *
from synthon.core import Defaults, Journal, Watch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from synthon.journal import MemoryJournal, SQLiteJournal, default_journal
    from synthon.models.anthropic_model import anthropic
    from synthon.models.budgeted import Budgeted
    from synthon.models.doubles import FunctionModel, Recorded
    from synthon.models.embedders import embedder
    from synthon.models.journaled import Journaled
    from synthon.models.local_model import local
    from synthon.models.openai_embedding import openai_embedder
    from synthon.models.openai_model import openai
    from synthon.models.retrying import Fallback, Retrying
    from synthon.models.selecting import select
    from synthon.models.timing import Hedged, RateLimited, Timed
    from synthon.retrieval import Index

__version__ = "0.1.0.dev0"
__all__ = [
    "Amount",
    "Budget",
    "BudgetExceeded",
    "Budgeted",
    "CallRecord",
    "Capability",
    "Check",
    "CheckFailed",
    "Choice",
    "Completion",
    "Constraint",
    "ContextTooLong",
    "Defaults",
    "Delta",
    "Demo",
    "Demos",
    "Draft",
    "Embedder",
    "Emit",
    "Failed",
    "Fallback",
    "Filter",
    "FunctionModel",
    "Grammar",
    "GuardBlocked",
    "Hedged",
    "Image",
    "Index",
    "Journal",
    "JournalError",
    "Journaled",
    "Key",
    "Knob",
    "MemoryJournal",
    "Message",
    "MissingExtra",
    "Model",
    "OutputError",
    "Partial",
    "Parts",
    "Passage",
    "Policy",
    "Price",
    "Program",
    "Progress",
    "ProviderError",
    "ProviderTimeout",
    "RateLimited",
    "Reasoning",
    "Recorded",
    "Regex",
    "Render",
    "Rendering",
    "Request",
    "Reservation",
    "Retriever",
    "Retrying",
    "Run",
    "RunRecord",
    "SQLiteJournal",
    "Schema",
    "SchemaTooLarge",
    "Score",
    "Selector",
    "Span",
    "Step",
    "Strategy",
    "Stream",
    "Suspended",
    "SynthonError",
    "Text",
    "Timed",
    "TokenLogprob",
    "TooManyRequests",
    "Tool",
    "ToolCall",
    "ToolResult",
    "ToolSpec",
    "Uncertain",
    "Unsupported",
    "Usage",
    "UserError",
    "Watch",
    "__version__",
    "anthropic",
    "between",
    "current",
    "current_run",
    "current_span",
    "default_journal",
    "discard",
    "embedder",
    "knn",
    "knob",
    "local",
    "now",
    "one_of",
    "openai",
    "openai_embedder",
    "program",
    "random",
    "recorded",
    "render",
    "run",
    "run_many",
    "select",
    "span",
    "step",
]
_LATER = {
    "Budgeted": "models",
    "Fallback": "models",
    "FunctionModel": "models",
    "Hedged": "models",
    "Index": "retrieval",
    "Journaled": "models",
    "MemoryJournal": "journal",
    "RateLimited": "models",
    "Recorded": "models",
    "Retrying": "models",
    "SQLiteJournal": "journal",
    "Timed": "models",
    "anthropic": "models",
    "default_journal": "journal",
    "embedder": "models",
    "local": "models",
    "openai": "models",
    "openai_embedder": "models",
    "select": "models",
}


def __getattr__(name: str) -> object:
    """Names of the other rooms, loaded when they are first used (PEP 562)."""
    if name not in _LATER:
        msg = f"module 'synthon' has no attribute {name!r}"
        raise AttributeError(msg)
    value: object = getattr(importlib.import_module(f"synthon.{_LATER[name]}"), name)
    globals()[name] = value
    return value


def _open_default_journal() -> Journal | None:
    from synthon.journal import default_journal as opened  # noqa: PLC0415 - loaded with the first call

    return opened()


def _draw(label: str) -> AbstractContextManager[Watch]:
    from synthon.progress import bar  # noqa: PLC0415 - loaded with the first batch

    return bar(label)


Defaults.journal = staticmethod(_open_default_journal)
Defaults.watch = staticmethod(_draw)
