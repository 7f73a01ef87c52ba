"""Pick the best of given options by a model's own probabilities."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from synthon.core.errors import Unsupported, UserError
from synthon.core.values import Message, Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthon.core.protocols import Model
    from synthon.core.values import Score

Normalize = Literal["length", "sum"]


@dataclass(frozen=True, slots=True)
class Selection:
    """The best option, its place, and all scores in the options' order: normalised natural logarithms."""

    option: str
    index: int
    scores: tuple[float, ...]


async def select(
    model: Model,
    prompt: str | Sequence[Message],
    options: Sequence[str],
    *,
    normalize: Normalize = "sum",
    baseline: str | Sequence[Message] = (),
) -> Selection:
    """The option that the model finds likeliest as its answer; the first of equals.

    Costs one scoring of the prompt and all options, and one more with a `baseline`.

    Args:
        normalize: `length` divides a log-probability by its tokens and so favours long options, `sum` short ones.
        baseline: the prompt without its content. What the options score after it is taken off first, so an option
            that is likely anyway gains nothing (contextual calibration, Zhao 2021, arXiv:2102.09690, in the form of
            domain-conditional PMI, Holtzman 2021, arXiv:2104.08315).

    Raises:
        UserError: there are no options.
        Unsupported: the model cannot score.
    """
    if not options:
        raise UserError(f"Nothing to select from: `options` is {options!r}. Pass at least one text.")
    logprobs = await _scores(model, prompt, options)
    taken_off = (
        [score.logprob for score in await _scores(model, baseline, options)] if baseline else [0.0] * len(options)
    )
    scores = tuple(
        (score.logprob - before) / (max(score.tokens, 1) if normalize == "length" else 1)
        for score, before in zip(logprobs, taken_off, strict=True)
    )
    index = max(range(len(options)), key=scores.__getitem__)
    return Selection(options[index], index, scores)


async def _scores(model: Model, prompt: str | Sequence[Message], options: Sequence[str]) -> tuple[Score, ...]:
    if "score" not in model.capabilities:
        raise Unsupported(
            f"The model {model.name!r} cannot score given texts, so it cannot select. Use a model that can, such as "
            "`sy.local()`."
        )
    messages = (Message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)
    completion = await model.complete(Request(messages, temperature=0.0, continuations=tuple(options)))
    return completion.scores
