"""llama.cpp's C API: weights with their vocabulary, streams of tokens that give logits. Not thread-safe."""

from __future__ import annotations

import ctypes
import importlib
import os
import re
from collections import deque
from dataclasses import dataclass
from functools import cache, cached_property
from threading import Lock
from typing import TYPE_CHECKING, Literal

import numpy as np

from synthon.core.errors import ProviderError, UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import ModuleType

    from numpy.typing import NDArray

    from synthon.core.protocols import FloatArray
    from synthon.decoding import Vocabulary

BATCH = 512  # tokens computed at once
_ABORTED = 2
_UNKNOWN_OR_CONTROL = 1 | 8
_NO_ROWS: FloatArray = np.empty((0, 0), np.float32)
_said: deque[str] = deque(maxlen=8)  # llama.cpp's last complaints, for error messages


class Aborted(Exception):
    """The computation was stopped from outside."""


_loading = Lock()


def library() -> ModuleType:
    """The bindings, made silent; what llama.cpp complained of before is forgotten."""
    with _loading:  # two engines may begin at once; the callback that was set last must be the one that is kept
        bound, _ = _loaded()
    _said.clear()
    return bound


def reason() -> str:
    """What llama.cpp complained of last."""
    return " ".join("; ".join(_said).split()) or "llama.cpp gave no reason"


@cache
def _loaded() -> tuple[ModuleType, object]:
    """The bindings, and the callback that must outlive them."""
    # two spinning OpenMP threads on a busy machine: 2 tokens/s for 38 with one; read once, when libgomp loads
    kept = os.environ.get("GOMP_SPINCOUNT")
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    bound = importlib.import_module("llama_cpp.llama_cpp")
    if kept is None:
        del os.environ["GOMP_SPINCOUNT"]

    def listen(level: int, text: bytes, _: object) -> None:
        if level >= 3:  # noqa: PLR2004 - GGML_LOG_LEVEL_WARN
            _said.append(text.decode(errors="replace").strip())

    callback = bound.llama_log_callback(listen)
    bound.llama_log_set(callback, None)
    bound.llama_backend_init()
    return bound, callback


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens to append to a stream's sequence from the position `start`, and which of them want logits."""

    stream: int
    start: int
    tokens: Sequence[int]
    rows: Literal["none", "last", "all"] = "last"


class Weights:
    """A loaded model: its vocabulary, its chat template, and what is asked of its architecture.

    Args:
        adapter: a LoRA adapter for it (Hu 2021, arXiv:2106.09685), added in every context.

    Raises:
        UserError: the file is no GGUF model that this llama.cpp can run, or the adapter is none for it.
    """

    def __init__(self, path: Path, adapter: Path | None = None) -> None:
        self._c = library()
        parameters = self._c.llama_model_default_params()
        # repacked weights round a prompt by the length of its pieces (seen with Qwen 0.5B), and are no faster here
        parameters.use_extra_bufts = False
        self.native = self._c.llama_model_load_from_file(str(path).encode(), parameters)
        if not self.native:
            raise UserError(
                f"Cannot load the model file {str(path)!r}: {reason()}. "
                "Fetch it again, or pass a GGUF file of a text model that llama.cpp knows."
            )
        kinds = ("is_recurrent", "is_hybrid", "has_encoder")
        if any(getattr(self._c, f"llama_model_{kind}")(self.native) for kind in kinds):
            self.close()
            raise UserError(
                f"The model file {str(path)!r} is recurrent, hybrid or has an encoder: its sequences cannot be cut "
                "back, so no prefix could be taken up. Pass a transformer that only decodes."
            )
        self.adapter = None if adapter is None else self._adapter(path, adapter)
        self._vocabulary = self._c.llama_model_get_vocab(self.native)
        self.size = int(self._c.llama_vocab_n_tokens(self._vocabulary))
        self.trained_context = int(self._c.llama_model_n_ctx_train(self.native))
        self.bos = self._text(self._c.llama_vocab_bos(self._vocabulary))
        self.eos = self._text(self._c.llama_vocab_eos(self._vocabulary))
        self.template = (self._c.llama_model_chat_template(self.native, None) or b"").decode(errors="replace")
        self.control = re.compile("|".join(map(re.escape, self._control_texts())) or r"(?!)")

    def _adapter(self, path: Path, adapter: Path) -> object:
        _said.clear()
        loaded = self._c.llama_adapter_lora_init(self.native, str(adapter).encode())
        if not loaded:
            self.close()
            raise UserError(
                f"Cannot load the adapter {str(adapter)!r} into {str(path)!r}: "
                f"{reason()}. Pass a GGUF LoRA file made for these weights."
            )
        return loaded

    def _text(self, token: int) -> str:
        text = self._c.llama_vocab_get_text(self._vocabulary, token) if token >= 0 else None
        return text.decode(errors="replace") if text else ""

    def _control_tokens(self) -> list[int]:
        attribute, vocabulary = self._c.llama_vocab_get_attr, self._vocabulary
        return [token for token in range(self.size) if attribute(vocabulary, token) & _UNKNOWN_OR_CONTROL]

    def _control_texts(self) -> list[str]:
        return sorted(filter(None, map(self._text, self._control_tokens())), key=len, reverse=True)

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The tokens as the masks of `decoding` need them; some 0.2 s once."""
        from synthon.decoding import Vocabulary  # noqa: PLC0415 - needs llguidance, and only constraints do

        ends = frozenset(token for token in range(self.size) if self.ends(token))
        return Vocabulary(
            [self.piece(token) for token in range(self.size)],
            ends=ends,
            eos=int(self._c.llama_vocab_eos(self._vocabulary)),
            control=frozenset(self._control_tokens()) | ends,
            tokenize=self._tokens_of,
        )

    def _tokens_of(self, raw: bytes) -> list[int]:
        return self._tokenize(raw, first=False, control=False)

    def tokenize(self, text: str, *, control: bool = False, first: bool = False) -> list[int]:
        """Tokens of a text.

        Args:
            control: read the spellings of control tokens as those tokens; never for text from outside.
            first: put the beginning-of-text token before it, if the model wants one.
        """
        return self._tokenize(text.encode(errors="replace"), first=first, control=control)

    def _tokenize(self, raw: bytes, *, first: bool, control: bool) -> list[int]:
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

    def close(self) -> None:
        """Free the memory, the adapter's too; neither this nor its streams are used again."""
        self._c.llama_model_free(self.native)


class Streams:
    """Some sequences of tokens side by side, each with room for `cells` of them in a cache of its own.

    Each sequence's keys and values lie in a stream of their own from cell 0 on, and one call computes equally many
    tokens of each, so that what a sequence gives never depends on its neighbours: with one cache for all
    (`kv_unified`) they do, and a token costs more the more tokens of others lie in it.

    Args:
        cells: tokens a sequence may hold.

    Raises:
        UserError: there is no memory for it.
    """

    def __init__(self, weights: Weights, *, count: int, cells: int, threads: int) -> None:
        self._c = library()
        self._weights, self.count, self.cells = weights, count, cells
        parameters = self._c.llama_context_default_params()
        parameters.n_ctx = count * cells
        parameters.n_seq_max = count
        parameters.kv_unified = False
        parameters.n_batch = parameters.n_ubatch = BATCH
        parameters.n_outputs_max_per_seq = 0
        # flash attention computes a row alone otherwise than among others: 7 of 8 rows moved, by up to 0.8
        parameters.flash_attn_type = self._c.LLAMA_FLASH_ATTN_TYPE_DISABLED
        parameters.n_threads = parameters.n_threads_batch = threads
        self._context = self._c.llama_init_from_model(weights.native, parameters)
        if not self._context:
            raise UserError(
                f"No room for {count} x {cells} tokens could be made: {reason()}."
                " Pass a smaller `context` or fewer `parallel` to `local`."
            )
        if weights.adapter is not None:
            adapters, scales = (self._c.llama_adapter_lora_p_ctypes * 1)(weights.adapter), (ctypes.c_float * 1)(1.0)
            self._c.llama_set_adapters_lora(self._context, adapters, 1, scales)
        self._memory = self._c.llama_get_memory(self._context)
        self._batch()

    def _batch(self) -> None:
        """Arrays that llama.cpp reads as its batch, made once; a decode only fills them."""
        c = self._c
        self._tokens, self._positions, self._numbers = (np.zeros(BATCH, np.int32) for _ in range(3))
        self._wanted, self._ones = np.zeros(BATCH, np.int8), np.ones(BATCH, np.int32)
        self._rows = self._numbers.ctypes.data + np.arange(BATCH, dtype=np.uintp) * np.uintp(4)
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

    def watch(self, flag: ctypes.Array[ctypes.c_char]) -> None:
        """Stop computing, within a batch too, once `flag` holds a byte other than 0."""
        # C's strlen is the callback: 0 goes on, 1 stops. One in Python would take the GIL about 1,000 times a token.
        kind = self._c.ggml_abort_callback
        self._flag, self._stop = flag, ctypes.cast(ctypes.CDLL(None).strlen, kind)
        self._c.llama_set_abort_callback(self._context, self._stop, ctypes.addressof(flag))

    def compute(self, pieces: Sequence[Piece]) -> FloatArray:
        """Logits of the tokens that want them, in order; a view that lasts until the next call.

        Args:
            pieces: one for a sequence, all of one length, together at most `BATCH` tokens.

        Returns:
            Shape (wanted rows, vocabulary).

        Raises:
            Aborted: the flag was set; a part of the tokens may be kept.
            ProviderError: llama.cpp failed.
        """
        at = 0
        for piece in pieces:
            end = at + len(piece.tokens)
            self._tokens[at:end] = piece.tokens
            self._positions[at:end] = np.arange(piece.start, piece.start + len(piece.tokens))
            self._numbers[at:end] = piece.stream
            self._wanted[at:end] = piece.rows == "all"
            self._wanted[end - 1] = piece.rows != "none"
            at = end
        self._native.n_tokens = at
        code = self._c.llama_decode(self._context, self._native)
        if code == _ABORTED:
            raise Aborted
        if code:
            raise ProviderError(f"llama.cpp could not compute {at} tokens (code {code}: {reason()}). Ask again.")
        shape = int(self._wanted[:at].sum()), self._weights.size
        return np.ctypeslib.as_array(self._c.llama_get_logits(self._context), shape) if shape[0] else _NO_ROWS

    def cut(self, stream: int, position: int) -> None:
        """Forget a sequence's tokens from a position on."""
        self._c.llama_memory_seq_rm(self._memory, stream, position, -1)

    def save(self, stream: int) -> NDArray[np.uint8]:
        """All that is kept of a sequence, as bytes that `restore` takes, also in other streams of the same weights."""
        size = self._c.llama_state_seq_get_size(self._context, stream)
        kept = np.empty(size, np.uint8)
        written = self._c.llama_state_seq_get_data(self._context, _bytes(kept), size, stream)
        if written != size:
            raise ProviderError(f"llama.cpp saved {written} of {size} bytes of a sequence. Ask again.")
        return kept

    def restore(self, stream: int, kept: NDArray[np.uint8]) -> None:
        """Put what `save` gave in a sequence's place."""
        if not self._c.llama_state_seq_set_data(self._context, _bytes(kept), kept.size, stream):
            raise ProviderError(f"llama.cpp could not restore {kept.size} bytes of a sequence. Ask again.")

    def close(self) -> None:
        """Free the memory; the object is not used again."""
        self._c.llama_free(self._context)


def rounds_alike(weights: Weights, threads: int) -> bool:
    """Whether two sequences give the same to the bit in one call as each alone; it depends on the weights' kernels.

    Tried on a few tokens, some 0.3 s for 135M parameters: with weights that round otherwise in company, 9 of 10 rows
    of logits differ.
    """
    streams = Streams(weights, count=2, cells=256, threads=threads)
    texts = [[(seed * place + 5) % weights.size for place in range(10)] for seed in (101, 211)]
    try:
        for start, end in ((0, 6), (6, 7), (7, 8), (8, 9)):
            pieces = [Piece(stream, start, texts[stream][start:end]) for stream in (0, 1)]
            alone = [streams.compute([piece]).copy() for piece in pieces]
            for stream in (0, 1):
                streams.cut(stream, start)
            if not np.array_equal(np.concatenate(alone), streams.compute(pieces)):
                return False
        return True
    finally:
        streams.close()


def _bytes(array: NDArray[np.uint8]) -> object:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(ctypes.c_uint8))
