"""Exact log-probabilities of given texts after a prompt that is computed once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from synthon.core.values import Completion, Score, Usage
from synthon.engine.scheduler import Feed, Open, Opened

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from synthon.core.protocols import FloatArray
    from synthon.engine.scheduler import Program, Question

_ROWS = 64  # logits held at once: 64 x 49,152 x 4 bytes = 12.6 MB


def score(prompt: Sequence[int], continuations: Sequence[Sequence[int]], salt: str) -> Program:
    """Scores of each continuation's tokens after the prompt, in order; 0 for an empty one.

    One continuation after another follows the kept prompt, so that no score depends on what else is asked.
    """
    longest = max((len(tokens) for tokens in continuations), default=0)
    opened = yield Open(prompt, longest, salt)
    assert isinstance(opened, Opened)  # noqa: S101 - the answer to Open
    first = logprobs(opened.logits)
    scores = []
    for tokens in continuations:
        parts = [float(first[tokens[0]])] if tokens else []
        parts += yield from _rest(opened, tokens)
        opened.prefixes.cut(opened.slots[0], len(prompt))
        scores.append(Score(float(np.sum(parts, dtype=np.float64)), len(tokens), tuple(parts)))
    usage = Usage(len(prompt) - opened.cached + sum(map(len, continuations)), opened.cached)
    return Completion(usage=usage, scores=tuple(scores))


def _rest(opened: Opened, tokens: Sequence[int]) -> Generator[Question, Opened | list[FloatArray], list[float]]:
    parts: list[float] = []
    for start in range(0, len(tokens) - 1, _ROWS):
        given = tokens[start : min(start + _ROWS, len(tokens) - 1)]
        answer = yield [Feed(opened.slots[0], given, "all")]
        assert isinstance(answer, list)  # noqa: S101 - the answer to feeds
        after = tokens[start + 1 : start + 1 + len(given)]
        parts += logprobs(answer[0])[np.arange(len(given)), after].tolist()
    return parts


def logprobs(logits: FloatArray) -> FloatArray:
    """Natural logarithms of the softmax of each row, in a new array."""
    shifted: FloatArray = logits - logits.max(axis=-1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted
