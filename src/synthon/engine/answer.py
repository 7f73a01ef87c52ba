"""A request's whole way through the engine, in its thread: prompt, limits, then scores or text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthon.core.errors import ContextTooLong
from synthon.core.values import Completion, Score, Usage
from synthon.models.engine.generation import Generation, Sampling, generate
from synthon.models.engine.prompt import render
from synthon.models.engine.scoring import score

if TYPE_CHECKING:
    from collections.abc import Callable

    from synthon.core.values import Request
    from synthon.models.engine.binding import Llama


def answer(llama: Llama, request: Request, emit: Callable[[str], None], *, seed: int, template: str) -> Completion:
    """The completion of a request whose `temperature` and `max_tokens` are set.

    Raises:
        ContextTooLong: the prompt and what may follow it are more than the context; says both numbers.
    """
    prompt = render(llama, request.messages, template)
    if request.continuations:
        return _scores(llama, prompt, request.continuations)
    max_tokens = request.max_tokens or 0
    _fit(llama, len(prompt), max_tokens, "max_tokens")
    sampling = Sampling(
        request.temperature or 0.0,
        request.top_k or 0,
        1.0 if request.top_p is None else request.top_p,
        request.min_p or 0.0,
    )
    generation = Generation(
        llama, sampling, emit, max_tokens=max_tokens, seed=seed, stop=request.stop, alternatives=request.logprobs
    )
    generate(llama, prompt, generation)
    usage = Usage(input_tokens=len(prompt), output_tokens=generation.tokens)
    return Completion(generation.text, usage, logprobs=tuple(generation.logprobs), finish=generation.finish)


def _scores(llama: Llama, prompt: list[int], texts: tuple[str, ...]) -> Completion:
    continuations = [llama.tokenize(text) for text in texts]
    _fit(llama, len(prompt), max(map(len, continuations)), "tokens of the longest continuation")
    logprobs = score(llama, prompt, continuations)
    scores = tuple(Score(logprob, len(tokens)) for logprob, tokens in zip(logprobs, continuations, strict=True))
    return Completion(usage=Usage(input_tokens=len(prompt) + sum(map(len, continuations))), scores=scores)


def _fit(llama: Llama, prompt: int, following: int, what: str) -> None:
    if prompt + following > llama.context:
        raise ContextTooLong(
            f"The request needs {prompt + following} tokens ({prompt} of the prompt + {following} {what}), the local "
            f"engine's context holds {llama.context}. Shorten the messages, ask for fewer tokens, or pass a larger "
            "`context` to `local` if the model was trained with one.",
            tokens=prompt + following,
            limit=llama.context,
        )
