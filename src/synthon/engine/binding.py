"""llama.cpp's C API: a model with one context, tokens in, logits out. Not thread-safe; see `worker`."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
from collections import deque
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from synthon.core.errors import ProviderError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

    from synthon.core.protocols import FloatArray

BATCH = 512  # tokens computed at once
_ABORTED = 2
_UNKNOWN_OR_CONTROL = 1 | 8
_said: deque[str] = deque(maxlen=8)  # llama.cpp's last complaints, for error messages


class Aborted(Exception):
    """The computation was stopped from outside."""


@cache
def _load() -> tuple[ModuleType, object]:
    """The bindings, made silent, and the callback that must outlive them."""
    # two spinning OpenMP threads on a busy machine: 2 tokens/s for 38 with one; read once, when libgomp loads
    kept = os.environ.get("GOMP_SPINCOUNT")
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    library = importlib.import_module("llama_cpp.llama_cpp")
    if kept is None:
        del os.environ["GOMP_SPINCOUNT"]

    def listen(level: int, text: bytes, _: object) -> None:
        if level >= 3:  # noqa: PLR2004 - GGML_LOG_LEVEL_WARN
            _said.append(text.decode(errors="replace").strip())

    callback = library.llama_log_callback(listen)
    library.llama_log_set(callback, None)
    library.llama_backend_init()
    return library, callback


class Llama:
    """A loaded model and one context that holds one sequence of tokens.

    Args:
        context: tokens; cut to what the model was trained with.
        threads: for prompts and for generation.

    Raises:
        UserError: the file is no GGUF model that this llama.cpp can run, or there is no memory for the context.
    """

    def __init__(self, path: Path, *, context: int, threads: int) -> None:
        self._c, _ = _load()
        _said.clear()
        self._model = self._c.llama_model_load_from_file(str(path).encode(), self._c.llama_model_default_params())
        if not self._model:
            raise UserError(
                f"Cannot load the model file {str(path)!r}: {'; '.join(_said) or 'llama.cpp gave no reason'}. "
                "Fetch it again, or pass a GGUF file of a text model that llama.cpp knows."
            )
        self._vocabulary = self._c.llama_model_get_vocab(self._model)
        self.size = int(self._c.llama_vocab_n_tokens(self._vocabulary))
        self.context = min(context, int(self._c.llama_model_n_ctx_train(self._model)))
        self._context = self._open(threads)
        self._memory = self._c.llama_get_memory(self._context)
        self._batch()
        self.bos = self._text(self._c.llama_vocab_bos(self._vocabulary))
        self.eos = self._text(self._c.llama_vocab_eos(self._vocabulary))
        self.template = (self._c.llama_model_chat_template(self._model, None) or b"").decode(errors="replace")
        self.control = re.compile("|".join(map(re.escape, self._control_texts())) or r"(?!)")

    def _open(self, threads: int) -> object:
        parameters = self._c.llama_context_default_params()
        parameters.n_ctx = self.context
        parameters.n_batch = parameters.n_ubatch = BATCH
        parameters.n_outputs_max_per_seq = 0
        # With flash attention or a float16 cache the same score moved by up to 0.4 with the size of the batches.
        parameters.flash_attn_type = self._c.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.type_k = parameters.type_v = self._c.GGML_TYPE_F32
        parameters.n_threads = parameters.n_threads_batch = threads
        context = self._c.llama_init_from_model(self._model, parameters)
        if not context:
            self._c.llama_model_free(self._model)
            raise UserError(
                f"No context of {self.context} tokens could be made: {'; '.join(_said) or 'llama.cpp gave no reason'}. "
                "Pass a smaller `context` to `local`."
            )
        return context

    def _batch(self) -> None:
        """Arrays that llama.cpp reads as its batch, made once; a decode only fills them."""
        c = self._c
        self._tokens, self._positions, self._zero = (np.zeros(BATCH, np.int32) for _ in range(3))
        self._wanted, self._ones = np.zeros(BATCH, np.int8), np.ones(BATCH, np.int32)
        self._rows = np.full(BATCH, self._zero.ctypes.data, np.uintp)
        kinds = dict(c.llama_batch._fields_)
        arrays: dict[str, NDArray[np.generic]] = {
            "token": self._tokens,
            "pos": self._positions,
            "n_seq_id": self._ones,
            "seq_id": self._rows,
            "logits": self._wanted,
        }
        pointers = {name: ctypes.cast(array.ctypes.data, kinds[name]) for name, array in arrays.items()}
        self._native = c.llama_batch(n_tokens=0, embd=None, **pointers)

    def _text(self, token: int) -> str:
        text = self._c.llama_vocab_get_text(self._vocabulary, token) if token >= 0 else None
        return text.decode(errors="replace") if text else ""

    def _control_texts(self) -> list[str]:
        attribute, vocabulary = self._c.llama_vocab_get_attr, self._vocabulary
        tokens = [token for token in range(self.size) if attribute(vocabulary, token) & _UNKNOWN_OR_CONTROL]
        return sorted(filter(None, map(self._text, tokens)), key=len, reverse=True)

    def tokenize(self, text: str, *, control: bool = False, first: bool = False) -> list[int]:
        """Tokens of a text.

        Args:
            control: read the spellings of control tokens as those tokens; never for text from outside.
            first: put the beginning-of-text token before it, if the model wants one.
        """
        raw = text.encode(errors="replace")
        room = len(raw) + 8
        out = (ctypes.c_int32 * room)()
        count = self._c.llama_tokenize(self._vocabulary, raw, len(raw), out, room, first, control)
        if count < 0:
            raise ProviderError(
                f"llama.cpp could not tokenize a text of {len(raw)} bytes. Shorten it.", retryable=False
            )
        return out[:count]

    def piece(self, token: int) -> bytes:
        """The bytes of a token; none for control tokens."""
        room = 256
        buffer = ctypes.create_string_buffer(room)
        count = self._c.llama_token_to_piece(self._vocabulary, token, buffer, room, 0, False)
        if count < 0:
            buffer = ctypes.create_string_buffer(-count)
            count = self._c.llama_token_to_piece(self._vocabulary, token, buffer, -count, 0, False)
        return buffer.raw[:count]

    def ends(self, token: int) -> bool:
        """Whether the model says with this token that it is done."""
        return bool(self._c.llama_vocab_is_eog(self._vocabulary, token))

    def watch(self, flag: ctypes.Array[ctypes.c_char]) -> None:
        """Stop computing, within a batch too, once `flag` holds a byte other than 0."""
        # C's strlen is the callback: 0 goes on, 1 stops. One in Python would take the GIL about 1,000 times a token.
        kind = self._c.ggml_abort_callback
        self._flag, self._stop = flag, ctypes.cast(ctypes.CDLL(None).strlen, kind)
        self._c.llama_set_abort_callback(self._context, self._stop, ctypes.addressof(flag))

    def compute(self, tokens: Sequence[int], start: int, *, every: bool = False) -> FloatArray:
        """Logits after the last of the tokens, or after every one; a view that lasts until the next call.

        Args:
            start: position of the first token; those before it are kept from earlier calls.
            every: rows for all tokens, of which there are then at most `BATCH`.

        Returns:
            Shape (1 or len(tokens), vocabulary).

        Raises:
            Aborted: the flag was set; a part of the tokens may be kept.
            ProviderError: llama.cpp failed.
        """
        rows = np.empty((0, self.size), np.float32)
        for begin in range(0, len(tokens), BATCH):
            count = min(BATCH, len(tokens) - begin)
            self._tokens[:count] = tokens[begin : begin + count]
            self._positions[:count] = np.arange(start + begin, start + begin + count)
            self._wanted[:count] = every
            self._wanted[count - 1] = every or begin + count == len(tokens)
            rows = self._run(count)
        return rows

    def _run(self, count: int) -> FloatArray:
        self._native.n_tokens = count
        code = self._c.llama_decode(self._context, self._native)
        if code == _ABORTED:
            raise Aborted
        if code:
            reason = "; ".join(_said) or "no reason given"
            raise ProviderError(f"llama.cpp could not compute {count} tokens (code {code}: {reason}). Ask again.")
        shape = int(self._wanted[:count].sum()), self.size
        return np.ctypeslib.as_array(self._c.llama_get_logits(self._context), shape)

    def cut(self, position: int) -> None:
        """Forget the tokens from a position on."""
        self._c.llama_memory_seq_rm(self._memory, 0, position, -1)

    def clear(self) -> None:
        """Forget all tokens, so that what comes next is computed as in a new context."""
        self._c.llama_memory_clear(self._memory, False)

    def close(self) -> None:
        """Free the memory; the object is not used again."""
        self._c.llama_free(self._context)
        self._c.llama_model_free(self._model)
