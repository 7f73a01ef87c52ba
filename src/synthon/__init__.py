"""Synthon: design, optimize and operate compound AI systems.

A compound system is an ordinary typed Python program; every call it makes is one row in one journal.
"""

from __future__ import annotations

import importlib
from contextlib import nullcontext
from os import PathLike
from typing import TYPE_CHECKING

from synthon.core import *
from synthon.core import Defaults, Journal, Watch

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from synthon.core.protocols import AnyJournal
    from synthon.evals import Case, Cases, Evaluation, cases, cases_from_runs, evaluate, metrics
    from synthon.guards import Fail, Pass, guard, guarded, guarded_sync
    from synthon.journal import MemoryJournal, SQLiteJournal, default_journal
    from synthon.models.anthropic_model import anthropic
    from synthon.models.doubles import FunctionModel, Recorded
    from synthon.models.embedders import embedder
    from synthon.models.local_model import local
    from synthon.models.openai_embedding import openai_embedder
    from synthon.models.openai_model import openai
    from synthon.models.selecting import distribution, select
    from synthon.models.sessions import Session, session
    from synthon.optimize import Limits, certify, optimize
    from synthon.retrieval import Index, nearest
    from synthon.runs import Thread, ask_person
    from synthon.strategies import (
        Calls,
        Ends,
        Memory,
        agent,
        best_of,
        chain_of_thought,
        debate,
        generate_and_test,
        linear_probe,
        map_reduce,
        multi_hop,
        neighbour_vote,
        next_calls,
        predict,
        program_of_thought,
        react,
        reasoned,
        refine,
        self_consistency,
        shuffled_ensemble,
        uncertainty_routed,
    )
    from synthon.tools import IdempotencyKey, bubblewrap, mcp_tools, monty, serve_mcp, tool
    from synthon.wrappers.budgeted import Budgeted
    from synthon.wrappers.cascading import cascade
    from synthon.wrappers.decoders import Decoder, beam, best_k
    from synthon.wrappers.journaled import Journaled
    from synthon.wrappers.retrying import Fallback, Retrying
    from synthon.wrappers.timing import Hedged, RateLimited, Timed

__version__ = "0.1.0.dev0"
__all__ = [
    "Amount",
    "Both",
    "Budget",
    "BudgetExceeded",
    "Budgeted",
    "CallRecord",
    "Calls",
    "Capability",
    "Case",
    "Cases",
    "Check",
    "CheckFailed",
    "Choice",
    "Completion",
    "Constraint",
    "ContextTooLong",
    "Decoder",
    "Defaults",
    "Delta",
    "Demo",
    "Demos",
    "Draft",
    "Either",
    "Embedder",
    "Emit",
    "Ends",
    "Evaluation",
    "Explanation",
    "Fail",
    "Failed",
    "Failure",
    "Fallback",
    "Filter",
    "FunctionModel",
    "Grammar",
    "Guard",
    "GuardBlocked",
    "Hedged",
    "IdempotencyKey",
    "Image",
    "Index",
    "Journal",
    "JournalError",
    "Journaled",
    "Key",
    "Knob",
    "Limits",
    "LoopDetected",
    "Memory",
    "MemoryJournal",
    "Message",
    "MissingExtra",
    "Model",
    "OutputError",
    "Partial",
    "Parts",
    "Pass",
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
    "Session",
    "Soundness",
    "Span",
    "Step",
    "Strategy",
    "Stream",
    "Suspended",
    "SynthonError",
    "Text",
    "Thread",
    "Timed",
    "TokenLogprob",
    "TooManyRequests",
    "Tool",
    "ToolCall",
    "ToolFailed",
    "ToolResult",
    "ToolSpec",
    "Uncertain",
    "Unsupported",
    "Usage",
    "UserError",
    "Verdict",
    "Watch",
    "Where",
    "__version__",
    "agent",
    "anthropic",
    "ask_person",
    "beam",
    "best_k",
    "best_of",
    "between",
    "bubblewrap",
    "cascade",
    "cases",
    "cases_from_runs",
    "certify",
    "chain_of_thought",
    "choice",
    "current",
    "current_run",
    "current_span",
    "debate",
    "default_journal",
    "discard",
    "distribution",
    "embedder",
    "evaluate",
    "generate_and_test",
    "grammar",
    "guard",
    "guarded",
    "guarded_sync",
    "knn",
    "knob",
    "linear_probe",
    "local",
    "map_reduce",
    "mcp_tools",
    "metrics",
    "monty",
    "multi_hop",
    "nearest",
    "neighbour_vote",
    "next_calls",
    "now",
    "one_of",
    "openai",
    "openai_embedder",
    "optimize",
    "predict",
    "program",
    "program_of_thought",
    "random",
    "react",
    "reasoned",
    "recorded",
    "refine",
    "regex",
    "render",
    "run",
    "run_many",
    "schema",
    "select",
    "self_consistency",
    "serve_mcp",
    "session",
    "shuffled_ensemble",
    "span",
    "step",
    "tool",
    "uncertainty_routed",
    "where",
]
_LATER = {
    "Budgeted": "wrappers",
    "Calls": "strategies",
    "Case": "evals",
    "Cases": "evals",
    "Decoder": "wrappers",
    "Evaluation": "evals",
    "Ends": "strategies",
    "Fail": "guards",
    "Fallback": "wrappers",
    "FunctionModel": "models",
    "Hedged": "wrappers",
    "IdempotencyKey": "tools",
    "Index": "retrieval",
    "Journaled": "wrappers",
    "Memory": "strategies",
    "MemoryJournal": "journal",
    "Pass": "guards",
    "RateLimited": "wrappers",
    "Recorded": "models",
    "Retrying": "wrappers",
    "SQLiteJournal": "journal",
    "Session": "models",
    "Thread": "runs",
    "Timed": "wrappers",
    "agent": "strategies",
    "anthropic": "models",
    "ask_person": "runs",
    "beam": "wrappers",
    "best_k": "wrappers",
    "best_of": "strategies",
    "bubblewrap": "tools",
    "Limits": "optimize",
    "certify": "optimize",
    "optimize": "optimize",
    "cascade": "wrappers",
    "cases": "evals",
    "cases_from_runs": "evals",
    "chain_of_thought": "strategies",
    "debate": "strategies",
    "default_journal": "journal",
    "distribution": "models",
    "embedder": "models",
    "evaluate": "evals",
    "generate_and_test": "strategies",
    "guard": "guards",
    "guarded": "guards",
    "guarded_sync": "guards",
    "linear_probe": "strategies",
    "local": "models",
    "map_reduce": "strategies",
    "mcp_tools": "tools",
    "metrics": "evals",
    "monty": "tools",
    "multi_hop": "strategies",
    "nearest": "retrieval",
    "neighbour_vote": "strategies",
    "next_calls": "strategies",
    "openai": "models",
    "openai_embedder": "models",
    "predict": "strategies",
    "program_of_thought": "strategies",
    "react": "strategies",
    "reasoned": "strategies",
    "refine": "strategies",
    "select": "models",
    "self_consistency": "strategies",
    "serve_mcp": "tools",
    "session": "models",
    "shuffled_ensemble": "strategies",
    "tool": "tools",
    "uncertainty_routed": "strategies",
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


def _opened(journal: AnyJournal | None) -> AbstractContextManager[Journal | None]:
    if isinstance(journal, str | PathLike):
        from synthon.journal import SQLiteJournal  # noqa: PLC0415 - same

        return SQLiteJournal(journal)
    return nullcontext(journal)


def _draw(label: str) -> AbstractContextManager[Watch]:
    from synthon.progress import bar  # noqa: PLC0415 - loaded with the first batch

    return bar(label)


Defaults.journal = staticmethod(_open_default_journal)
Defaults.opened = staticmethod(_opened)
Defaults.watch = staticmethod(_draw)
