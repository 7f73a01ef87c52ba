"""A request's whole way through the engine: prompt, limits, then scores, a search, or text."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from synthon.core.errors import ContextTooLong
from synthon.core.values import Completion, Usage
from synthon.engine.generation import Generation, Sampling, left_open
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
        read = prompt if is_read else [*prompt, *begun]
        opened = yield Open(read, len(prompt) + (request.max_tokens or 0) - len(read), request.salt)
        assert isinstance(opened, Opened)  # noqa: S101 - the answer to Open
        cached, slot = opened.cached, opened.slots[0]
        if is_read:
            generation.read(opened.logits, begun[0])
            following = begun
        else:
            following = generation.accept(opened.logits)
        while following and not generation.is_done:
            logits = yield from _fed(slot, generation, following, following[1:] if request.logprobs else ())
            following = generation.accept(logits)
        if request.logprobs and len(following) > 1:  # the last tokens were forced
            yield from _fed(slot, generation, following[:-1], following[1:])
    cached = min(cached, len(prompt))
    usage = Usage(len(prompt) - cached, cached, output_tokens=generation.tokens)
    unmet = left_open(request.constraint, generation.matcher, generation.finish)
    return Completion(
        generation.text, usage, logprobs=tuple(generation.logprobs), finish=generation.finish, unmet=unmet
    )


def _fed(
    slot: Slot, generation: Generation, tokens: Sequence[int], forced: Sequence[int]
) -> Generator[Question, Opened | list[FloatArray], FloatArray]:
    """The logits after the last of the tokens, computed in pieces; `forced` came after each and are reported."""
    found = np.empty((0, 0), np.float32)
    for start in range(0, len(tokens), _PIECE):
        end = start + _PIECE
        (found,) = cast("list[FloatArray]", (yield [Feed(slot, tokens[start:end], "all" if forced else "last")]))
        for row, token in zip(found, forced[start:end], strict=False):
            generation.read(row, token)
    last: FloatArray = found[-1]
    return last


def _fit(limit: int, prompt: int, following: int, what: str) -> None:
    if prompt + following > limit:
        raise ContextTooLong(
            f"The request needs {prompt + following} tokens ({prompt} of the prompt + {following} {what}), the local "
            f"engine's context holds {limit}. Shorten the messages, ask for fewer tokens, or pass a larger "
            "`context` to `local` if the model was trained with one.",
            tokens=prompt + following,
            limit=limit,
        )
