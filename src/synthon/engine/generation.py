"""From logits to text, one token at a time: choosing tokens, joining characters, stopping."""

from __future__ import annotations

import codecs
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthon.core.values import Finish, TokenLogprob
from synthon.models.engine.scoring import logprobs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from synthon.core.protocols import FloatArray
    from synthon.models.engine.binding import Llama

_LIKELIEST = 1024


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn: temperature first, then `top_k`, `top_p`, `min_p` each cut what is left.

    `temperature` 0 takes the likeliest; `top_k` 0, `top_p` 1 and `min_p` 0 cut nothing.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def pick(self, logits: FloatArray, uniform: float) -> int:
        """A token by inverse transform of `uniform`, a number in [0, 1)."""
        if self.temperature == 0:
            return int(logits.argmax())
        likeliest = np.argpartition(logits, -self.top_k)[-self.top_k :] if 0 < self.top_k < logits.size else None
        kept = logits if likeliest is None else logits[likeliest]
        with np.errstate(over="ignore"):
            weights = np.exp((kept - kept.max()) / np.float32(self.temperature), dtype=np.float32)
        weights /= weights.sum()
        if self.top_p < 1:
            weights = np.where(self._nucleus(weights), weights, np.float32(0))
        if self.min_p > 0:
            weights = np.where(weights >= self.min_p * weights.max(), weights, np.float32(0))
        total = np.cumsum(weights, dtype=np.float64)
        place = int(np.searchsorted(total, uniform * total[-1], side="right"))
        return place if likeliest is None else int(likeliest[place])

    def _nucleus(self, weights: FloatArray) -> NDArray[np.bool_]:
        """The fewest likeliest tokens whose probabilities reach `top_p` (Holtzman 2020, arXiv:1904.09751)."""
        order = np.arange(weights.size)
        if weights.size > _LIKELIEST:
            few = np.argpartition(weights, -_LIKELIEST)[-_LIKELIEST:]
            order = few if weights[few].sum() >= self.top_p else order
        order = order[np.argsort(-weights[order], kind="stable")]
        enough = int(np.searchsorted(np.cumsum(weights[order]), self.top_p)) + 1
        kept = np.zeros(weights.size, np.bool_)
        kept[order[:enough]] = True
        return kept


class TextStream:
    """Joins tokens' bytes to text, keeps back half characters and what may be the beginning of a stop string."""

    def __init__(self, stop: Sequence[str] = ()) -> None:
        self._stop = [text for text in stop if text]
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self.stopped = False

    def push(self, piece: bytes) -> str:
        """The text that is now certain; after a stop string, `stopped` is set and the rest is dropped."""
        self._held += self._decoder.decode(piece)
        found = [place for text in self._stop if (place := self._held.find(text)) >= 0]
        if found:
            self.stopped = True
            return self._give(min(found))
        longest = max((len(text) for text in self._stop), default=1) - 1
        for back in range(min(longest, len(self._held)), 0, -1):
            if any(text.startswith(self._held[-back:]) for text in self._stop):
                return self._give(len(self._held) - back)
        return self._give(len(self._held))

    def close(self) -> str:
        """What was kept back, without a character cut in two."""
        return "" if self.stopped else self._give(len(self._held))

    def _give(self, count: int) -> str:
        text, self._held = self._held[:count], self._held[count:]
        return text


class Generation:
    """One answer in the making: takes logits, gives the next token to compute.

    Args:
        seed: decides every draw, so equal seeds and logits give equal text.
        alternatives: likeliest tokens to report with each, before temperature and cuts; 0 reports nothing.
        emit: takes text as soon as it is certain.
    """

    def __init__(
        self,
        llama: Llama,
        sampling: Sampling,
        emit: Callable[[str], None],
        *,
        max_tokens: int,
        seed: int = 0,
        stop: Sequence[str] = (),
        alternatives: int = 0,
    ) -> None:
        self._llama, self._sampling, self._emit = llama, sampling, emit
        self._max_tokens, self._alternatives = max_tokens, alternatives
        self._uniform = random.Random(seed).random  # Python promises the same numbers in every version
        self._stream = TextStream(stop)
        self._texts: list[str] = []
        self.tokens = 0
        self.logprobs: list[TokenLogprob] = []
        self.finish: Finish = "length"

    @property
    def text(self) -> str:
        """All that was given to `emit`."""
        return "".join(self._texts)

    def accept(self, logits: FloatArray) -> int | None:
        """The next token to compute, or None when the answer is complete."""
        token = self._sampling.pick(logits, self._uniform())
        self.tokens += 1
        if self._alternatives:
            self.logprobs.append(self._logprob(logits, token))
        if self._llama.ends(token):
            self.finish = "stop"
        else:
            self._give(self._stream.push(self._llama.piece(token)))
            if self._stream.stopped:
                self.finish = "stop"
            elif self.tokens < self._max_tokens:
                return token
        self._give(self._stream.close())
        return None

    def _give(self, text: str) -> None:
        if text:
            self._texts.append(text)
            self._emit(text)

    def _logprob(self, logits: FloatArray, token: int) -> TokenLogprob:
        row = logprobs(logits)
        count = min(self._alternatives, logits.size)
        top = np.argpartition(row, -count)[-count:]
        ordered = top[np.argsort(-row[top], kind="stable")]
        return TokenLogprob(
            self._name(token), float(row[token]), tuple((self._name(int(t)), float(row[t])) for t in ordered)
        )

    def _name(self, token: int) -> str:
        return self._llama.piece(token).decode(errors="replace")


def generate(llama: Llama, prompt: Sequence[int], generation: Generation) -> None:
    """Compute a prompt and one token after another until the answer is complete."""
    logits = llama.compute(prompt, 0)[0]
    position = len(prompt)
    while (token := generation.accept(logits)) is not None:
        logits = llama.compute([token], position)[0]
        position += 1
