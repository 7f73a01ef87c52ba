"""Run GGUF weights on this machine: one llama.cpp engine per process and model, in a worker thread."""

from __future__ import annotations

from synthon.models.engine.answer import answer
from synthon.models.engine.worker import Settings, engine_for

__all__ = ["Settings", "answer", "engine_for"]
