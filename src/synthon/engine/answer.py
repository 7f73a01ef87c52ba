"""A request's whole way through the engine: prompt, limits, then scores, a search, or text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

import numpy as np

from synthon.core.errors import ContextTooLong
from synthon.core.values import Completion, Usage
from synthon.engine.generation import Generation, Sampling
from synthon.engine.prompt import render
from synthon.engine.scheduler import Feed, Open, Opened
from synthon.engine.scoring import score
from synthon.engine.search import search

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from synthon.core.protocols import FloatArray
    from synthon.core.values import Request
    from synthon.decoding import Matcher
    from synthon.engine.binding import Weights
    from synthon.engine.prefixes import Slot
    from synthon.engine.scheduler import Program, Question
    from synthon.engine.search import Decoder

_PIECE = 64  # forced tokens at once


def answer(
    weights: Weights,
    request: Request,
    emit: Callable[[str], None],
    *,
    seed: int,
    template: str,
    context: int,
    decoder: Decoder | None = None,
) -> Program:
    """The program of a request whose `temperature` and `max_tokens` are set.

    Raises:
        ContextTooLong: the prompt and what may follow it are more than the context; says both numbers.
    """
    limit = min(context, weights.trained_context)
    prompt = render(weights, request.messages, template)
    if request.continuations:
        continuations = [weights.tokenize(text) for text in request.continuations]
        longest = max(map(len, continuations))
        _fit(limit, len(prompt), longest, "tokens of the longest continuation")
        return score(prompt, continuations, request.salt)
    _fit(limit, len(prompt), request.max_tokens or 0, "max_tokens")
    matcher = _matcher(weights, request)
    if decoder is not None:
        return search(weights, prompt, request, decoder, matcher, emit)
    sampling = Sampling(
        request.temperature or 0.0,
        request.top_k or 0,
        1.0 if request.top_p is None else request.top_p,
        request.min_p or 0.0,
    )
    generation = Generation(
        weights,
        sampling,
        emit,
        max_tokens=request.max_tokens or 0,
        seed=seed,
        stop=request.stop,
        alternatives=request.logprobs,
        matcher=matcher,
    )
    return _generate(prompt, generation, request)


def _matcher(weights: Weights, request: Request) -> Matcher | None:
    if request.constraint is None:
        return None
    from synthon.decoding import compiled  # noqa: PLC0415 - needs llguidance, and only constraints do

    return compiled(request.constraint, weights.vocabulary).matcher()


def _generate(prompt: list[int], generation: Generation, request: Request) -> Program:
    begun = generation.begin()
    is_read = bool(request.logprobs and begun)  # forced tokens are read apart, for their probabilities
    cached = 0
    if is_read or not generation.is_done:
        opened = yield Open(prompt if is_read else [*prompt, *begun], request.max_tokens or 0, request.salt)
        assert isinstance(opened, Opened)  # noqa: S101 - the answer to Open
        cached, slot = opened.cached, opened.slots[0]
        if is_read:
            generation.read(opened.logits, begun[0])
            following = begun
        else:
            following = generation.accept(opened.logits[np.newaxis])
        while following and not generation.is_done:
            rows = yield from _fed(slot, following, "all" if request.logprobs else "last")
            following = generation.accept(rows, following)
        if request.logprobs and len(following) > 1:  # the last tokens were forced
            rows = yield from _fed(slot, following[:-1], "all")
            for row, token in zip(rows, following[1:], strict=True):
                generation.read(row, token)
    cached = min(cached, len(prompt))
    usage = Usage(len(prompt) - cached, cached, output_tokens=generation.tokens)
    return Completion(generation.text, usage, logprobs=tuple(generation.logprobs), finish=generation.finish)


def _fed(
    slot: Slot, tokens: Sequence[int], rows: Literal["last", "all"]
) -> Generator[Question, Opened | list[FloatArray], FloatArray]:
    """The logits after tokens, computed in pieces where they are many."""
    if len(tokens) <= _PIECE:
        (found,) = cast("list[FloatArray]", (yield [Feed(slot, tokens, rows)]))
        return found
    parts = []
    for start in range(0, len(tokens), _PIECE):
        (found,) = cast("list[FloatArray]", (yield [Feed(slot, tokens[start : start + _PIECE], rows)]))
        parts.append(found.copy())
    return np.concatenate(parts) if rows == "all" else parts[-1]


def _fit(limit: int, prompt: int, following: int, what: str) -> None:
    if prompt + following > limit:
        raise ContextTooLong(
            f"The request needs {prompt + following} tokens ({prompt} of the prompt + {following} {what}), the local "
            f"engine's context holds {limit}. Shorten the messages, ask for fewer tokens, or pass a larger "
            "`context` to `local` if the model was trained with one.",
            tokens=prompt + following,
            limit=limit,
        )
