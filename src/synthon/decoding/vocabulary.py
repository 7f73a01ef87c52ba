"""A model's tokens as bytes, in the form that masks are computed from."""

from __future__ import annotations

import functools
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from synthon.core.errors import SchemaTooLarge, UserError
from synthon.decoding.libraries import llguidance

if TYPE_CHECKING:
    from llguidance import LLTokenizer
    from numpy.typing import NDArray

MAX_KEPT = 128  # compiled constraints
_SLOW_S = 1.0  # a refusal that took longer is remembered
_REFUSED_S = 30.0  # and for so long, as the machine may have been busy
_Made = TypeVar("_Made")


class Vocabulary:
    """A model's tokens; made once per model (0.2 s for 49,152 tokens), shared by all its constraints.

    Args:
        tokens: the bytes of each token, by number.
        ends: the tokens that end a text; a mask lets them through where the text may end.
        eos: the one of them that is written by default.
        control: tokens that are no text; no mask ever lets one through, the ends aside.
        tokenize: a text's tokens as the model was trained to see them, without any put before or behind.

    Raises:
        MissingExtra: llguidance is not installed.
        UserError: an end is no token.
    """

    def __init__(
        self,
        tokens: Sequence[bytes],
        *,
        ends: frozenset[int],
        eos: int,
        control: frozenset[int],
        tokenize: Callable[[bytes], list[int]],
    ) -> None:
        odd = sorted(token for token in {*ends, eos} if not 0 <= token < len(tokens))
        if odd:
            raise UserError(f"The end tokens {odd} are outside a vocabulary of {len(tokens)}. Pass their numbers.")
        self.tokens, self.ends, self.eos, self.control = tuple(tokens), ends | {eos}, eos, control
        self.texts = _bits([token not in control or token in self.ends for token in range(len(tokens))])
        self._tokenize = tokenize
        self._kept: OrderedDict[Hashable, object] = OrderedDict()
        self._refused: dict[Hashable, tuple[float, str]] = {}  # until when, and why
        self._lock = threading.Lock()

    @functools.cached_property
    def engine(self) -> LLTokenizer:
        """The tokens as llguidance wants them."""
        library = llguidance()
        shown = library.TokenizerWrapper(_Shown(self.tokens, self.eos, self.control | self.ends, self._tokenize))
        # the first of its slices is white space in any number, which no layout of ours has: a mask never uses it
        slices = library.LLTokenizer.general_slices()[1:]
        ends = [self.eos, *sorted(self.ends - {self.eos})]
        made: LLTokenizer = library.LLTokenizer(shown, eos_token=ends, slices=slices)
        return made

    def kept(self, key: Hashable, make: Callable[[], _Made]) -> _Made:
        """What `make` made for this key, the last `MAX_KEPT` of them; what raises is not kept.

        Raises:
            SchemaTooLarge: it was refused a short while ago, after a long time.
        """
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]  # type: ignore[return-value]  # a key is always asked for with the same type
            until, why = self._refused.get(key, (0.0, ""))
        if time.monotonic() < until:
            raise SchemaTooLarge(why)
        began = time.monotonic()
        try:
            made = make()
        except SchemaTooLarge as error:
            self._refuse(key, str(error), began)
            raise
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return made

    def holds(self, key: Hashable) -> bool:
        """Whether something is kept for this key."""
        with self._lock:
            return key in self._kept

    def _refuse(self, key: Hashable, why: str, began: float) -> None:
        now = time.monotonic()
        if now - began > _SLOW_S:
            with self._lock:
                self._refused = {other: found for other, found in self._refused.items() if found[0] > now}
                self._refused[key] = (now + _REFUSED_S, why)


class _Shown:
    """The names under which llguidance looks for a tokenizer's parts."""

    bos_token_id = None

    def __init__(
        self, tokens: Sequence[bytes], eos: int, special: frozenset[int], tokenize: Callable[[bytes], list[int]]
    ) -> None:
        self.tokens, self.eos_token_id, self.special_token_ids = list(tokens), eos, sorted(special)
        self._tokenize = tokenize

    def __call__(self, text: bytes | str) -> list[int]:
        return self._tokenize(text if isinstance(text, bytes) else text.encode())


def _bits(flags: Sequence[bool]) -> NDArray[np.int32]:
    """32 flags a word, the first in the lowest bit, as llguidance writes masks."""
    padded = np.zeros((len(flags) + 31) // 32 * 32, np.uint8)
    padded[: len(flags)] = flags
    return np.packbits(padded, bitorder="little").view(np.int32)


@functools.cache
def plain_bytes() -> Vocabulary:
    """The 256 bytes and an end: for questions about a constraint without a model."""
    tokens = [*(bytes([byte]) for byte in range(256)), b"<end>"]
    return Vocabulary(tokens, ends=frozenset({256}), eos=256, control=frozenset({256}), tokenize=list)


__all__ = ["MAX_KEPT", "Vocabulary", "plain_bytes"]
