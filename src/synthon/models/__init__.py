"""Answer a request, embed a text: weights on this machine, endpoints, doubles."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from synthon.models.anthropic_model import anthropic
    from synthon.models.doubles import FunctionModel, Recorded
    from synthon.models.embedders import embedder
    from synthon.models.local_model import local
    from synthon.models.openai_embedding import openai_embedder
    from synthon.models.openai_model import openai
    from synthon.models.selecting import distribution, select
    from synthon.models.sessions import Session, session

__all__ = [
    "FunctionModel", "Recorded", "Session", "anthropic", "distribution", "embedder", "local", "openai",
    "openai_embedder", "select", "session",
]  # fmt: skip
_FILES = {
    "FunctionModel": "doubles",
    "Recorded": "doubles",
    "Session": "sessions",
    "anthropic": "anthropic_model",
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
