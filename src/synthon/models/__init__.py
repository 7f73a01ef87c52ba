"""Answer a request; wrap models; embed text."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

__all__ = [
    "Budgeted",
    "Fallback",
    "FunctionModel",
    "Hedged",
    "Journaled",
    "RateLimited",
    "Recorded",
    "Retrying",
    "Timed",
    "anthropic",
    "embedder",
    "local",
    "openai",
    "openai_embedder",
    "select",
]
_FILES = {
    "Budgeted": "budgeted",
    "Fallback": "retrying",
    "FunctionModel": "doubles",
    "Hedged": "timing",
    "Journaled": "journaled",
    "RateLimited": "timing",
    "Recorded": "doubles",
    "Retrying": "retrying",
    "Timed": "timing",
    "anthropic": "anthropic_model",
    "embedder": "embedders",
    "local": "local_model",
    "openai": "openai_model",
    "openai_embedder": "openai_embedding",
    "select": "selecting",
}


def __getattr__(name: str) -> object:
    """A name from the file it stands in, loaded when it is first used (PEP 562)."""
    if name not in _FILES:
        msg = f"module 'synthon.models' has no attribute {name!r}"
        raise AttributeError(msg)
    value: object = getattr(importlib.import_module(f"synthon.models.{_FILES[name]}"), name)
    globals()[name] = value
    return value
