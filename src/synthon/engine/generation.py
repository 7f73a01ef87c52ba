"""From logits to text, one token at a time: choosing tokens, joining characters, stopping."""

from __future__ import annotations

import codecs
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from synthon.core.values import Finish, TokenLogprob
from synthon.engine.scoring import logprobs

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from synthon.core.constraints import Constraint
    from synthon.core.protocols import FloatArray
    from synthon.decoding import Matcher
    from synthon.engine.binding import Weights

_LIKELIEST = 1024
# float32 would divide 0 by 0 below its smallest normal number, -inf by inf above its largest, and choose no token
_COLDEST, _HOTTEST = 1e-37, 1e38


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
        if self.temperature < _COLDEST:
            return int(logits.argmax())
        likeliest = np.argpartition(logits, -self.top_k)[-self.top_k :] if 0 < self.top_k < logits.size else None
        kept = logits if likeliest is None else logits[likeliest]
        with np.errstate(over="ignore"):
            weights = np.exp((kept - kept.max()) / np.float32(min(self.temperature, _HOTTEST)), dtype=np.float32)
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


def left_open(constraint: Constraint | None, matcher: Matcher | None, finish: Finish) -> str:
    """What a text leaves unmet that ended before its masks let it end, in words for the model; else empty.

    A text before a stop string may be right although the stop string is not: only a count of tokens is judged there.
    """
    if constraint is None or matcher is None or matcher.may_end:
        return ""
    from synthon.decoding.predicates import counts  # noqa: PLC0415 - needs llguidance, and only constraints do

    is_left = finish == "length" or counts(constraint)
    return "it ended before its constraint lets it end" if is_left else ""


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
    """One answer in the making: takes logits, gives the next tokens to compute.

    Args:
        seed: decides every draw, so equal seeds and logits give equal text.
        alternatives: likeliest tokens to report with each, before masks, temperature and cuts; 0 reports nothing.
        emit: takes text as soon as it is certain.
        matcher: what the text must keep to; tokens that it forces are not sampled, and are computed at once.
    """

    def __init__(
        self,
        weights: Weights,
        sampling: Sampling,
        emit: Callable[[str], None],
        *,
        max_tokens: int,
        seed: int = 0,
        stop: Sequence[str] = (),
        alternatives: int = 0,
        matcher: Matcher | None = None,
    ) -> None:
        self._weights, self._sampling, self._emit = weights, sampling, emit
        self._max_tokens, self._alternatives, self.matcher = max_tokens, alternatives, matcher
        self._uniform = random.Random(seed).random  # Python promises the same numbers in every version
        self._stream = TextStream(stop)
        self._texts: list[str] = []
        self.tokens = 0
        self.logprobs: list[TokenLogprob] = []
        self.finish: Finish = "length"
        self.is_done = False

    @property
    def text(self) -> str:
        """All that was given to `emit`."""
        return "".join(self._texts)

    def begin(self) -> list[int]:
        """The tokens that must come first, which need no logits; with them the answer may be complete already."""
        return self._forced()

    def accept(self, logits: FloatArray) -> list[int]:
        """The next tokens to compute, none when the answer is complete; masks the logits in place."""
        distribution = logprobs(logits) if self._alternatives else None
        if self.matcher is not None:
            self.matcher.mask(logits)
        token = self._sampling.pick(logits, self._uniform())
        if distribution is not None:
            self.logprobs.append(self._logprob(distribution, token))
        if self._weights.ends(token):
            self.tokens += 1
            self.finish = "stop"
            return self._close()
        if self.matcher is not None:
            self.matcher.consume(token)
        self._take(token)
        return [] if self.is_done else [token, *self._forced()]

    def read(self, logits: FloatArray, token: int) -> None:
        """Report the probability of a token that was forced."""
        self.logprobs.append(self._logprob(logprobs(logits), token))

    def _forced(self) -> list[int]:
        """What must follow now, taken already."""
        forced: list[int] = []
        if self.matcher is None:
            return forced
        for token in self.matcher.forced():
            self.matcher.consume(token)
            self._take(token)
            forced.append(token)
            if self.is_done:
                return forced
        if self.matcher.is_complete:
            self.finish = "stop"
            self._close()
        return forced

    def _take(self, token: int) -> None:
        self.tokens += 1
        self._give(self._stream.push(self._weights.piece(token)))
        if self._stream.stopped:
            self.finish = "stop"
            self._close()
        elif self.tokens >= self._max_tokens:
            if self.matcher is not None and self.matcher.is_complete:
                self.finish = "stop"
            self._close()

    def _close(self) -> list[int]:
        if not self.is_done:
            self.is_done = True
            self._give(self._stream.close())
        return []

    def _give(self, text: str) -> None:
        if text:
            self._texts.append(text)
            self._emit(text)

    def _logprob(self, row: FloatArray, token: int) -> TokenLogprob:
        count = min(self._alternatives, row.size)
        top = np.argpartition(row, -count)[-count:]
        ordered = top[np.argsort(-row[top], kind="stable")]
        return TokenLogprob(
            self._name(token), float(row[token]), tuple((self._name(int(t)), float(row[t])) for t in ordered)
        )

    def _name(self, token: int) -> str:
        return self._weights.piece(token).decode(errors="replace")
