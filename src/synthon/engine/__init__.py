"""Run GGUF weights on this machine: batches, prefix cache, masks, beams."""

from __future__ import annotations

from synthon.engine.answer import answer
from synthon.engine.search import Decoder
from synthon.engine.worker import Settings, engine_for

__all__ = ["Decoder", "Settings", "answer", "engine_for"]
