"""Answer a request; wrap models; embed text."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthon.models.anthropic_model import anthropic
    from synthon.models.budgeted import Budgeted
    from synthon.models.cascading import cascade
    from synthon.models.decoders import Decoder, beam, best_k, best_of
    from synthon.models.doubles import FunctionModel, Recorded
    from synthon.models.embedders import embedder
    from synthon.models.journaled import Journaled
    from synthon.models.local_model import local
    from synthon.models.openai_embedding import openai_embedder
    from synthon.models.openai_model import openai
    from synthon.models.retrying import Fallback, Retrying
    from synthon.models.selecting import distribution, select
    from synthon.models.sessions import Session, session
    from synthon.models.timing import Hedged, RateLimited, Timed

__all__ = [
    "Budgeted", "Decoder", "Fallback", "FunctionModel", "Hedged", "Journaled", "RateLimited", "Recorded",
    "Retrying", "Session", "Timed", "anthropic", "beam", "best_k", "best_of", "cascade", "distribution", "embedder",
    "local", "openai", "openai_embedder", "select", "session",
]  # fmt: skip
_FILES = {
    "Budgeted": "budgeted",
    "Decoder": "decoders",
    "Fallback": "retrying",
    "FunctionModel": "doubles",
    "Hedged": "timing",
    "Journaled": "journaled",
    "RateLimited": "timing",
    "Recorded": "doubles",
    "Retrying": "retrying",
    "Session": "sessions",
    "Timed": "timing",
    "anthropic": "anthropic_model",
    "beam": "decoders",
    "best_k": "decoders",
    "best_of": "decoders",
    "cascade": "cascading",
    "distribution": "selecting",
    "embedder": "embedders",
    "local": "local_model",
    "openai": "openai_model",
    "openai_embedder": "openai_embedding",
    "select": "selecting",
    "session": "sessions",
}


def __getattr__(name: str) -> object:
    """A name from the file it stands in, loaded when it is first used (PEP 562)."""
    if name not in _FILES:
        raise AttributeError(f"module 'synthon.models' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"synthon.models.{_FILES[name]}"), name)
    globals()[name] = value
    return value
