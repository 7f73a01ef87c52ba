"""Tiny LoRA adapters for the embedded model, as GGUF files."""

from __future__ import annotations

import numpy as np
from gguf import GGUFWriter

from tests.conftest import MODELS

WEIGHTS = f"{MODELS}/smollm2-135m/SmolLM2-135M-Instruct.Q4_1.gguf"
_RANK = 4


def adapter(path: str, *, scale: float, architecture: str = "llama") -> str:
    """Writes an adapter of rank 4 on two matrices, drawn with this standard deviation; returns its path."""
    writer, drawn = GGUFWriter(path, architecture), np.random.default_rng(0)
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 2.0 * _RANK)
    for name, outputs, inputs in (("blk.0.attn_q", 576, 576), ("blk.3.ffn_down", 576, 1536)):
        for part, shape in (("a", (_RANK, inputs)), ("b", (outputs, _RANK))):
            writer.add_tensor(f"{name}.weight.lora_{part}", (scale * drawn.normal(size=shape)).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
