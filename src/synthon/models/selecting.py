"""Pick the best of given options by a model's own probabilities, or weigh them all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import sub
from typing import TYPE_CHECKING, Literal, get_args

from synthon.core.constraints import are_texts
from synthon.core.errors import Unsupported, UserError
from synthon.core.values import Completion, Message, Request, Score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthon.core.protocols import Model

Normalize = Literal["sum", "length", "greedy", "unconditional"]
Weights = Literal["sum", "length", "unconditional"]
_NOTHING = (Message("user", ""),)
_SAME_TOKEN = 1e-3  # options that begin alike are computed apart; their logarithms differ by less than this


@dataclass(frozen=True, slots=True)
class Selection:
    """The best option, its place, and all scores in the options' order: normalised natural logarithms.

    Under `greedy` the scores are averages over tokens, and the best need not have the highest.
    """

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

    Costs one scoring of the prompt and all options, and one more with a baseline.

    Args:
        normalize: `sum` is the log-probability of the whole option, which favours short ones. The others are
            SGLang's three (`lang/choices.py`; Zheng 2024, arXiv:2312.07104). `length` is the average over its
            tokens. `greedy` goes token by token and keeps the options whose next token is likeliest; one that has
            ended is extended by its own average. `unconditional` is `length` with a baseline that says nothing;
            SGLang takes the option alone and leaves its first token out, here it follows an empty message, whole.
        baseline: the prompt without its content. What the options score after it is taken off first, so an option
            that is likely anyway gains nothing (contextual calibration, Zhao 2021, arXiv:2102.09690, in the form of
            domain-conditional PMI, Holtzman 2021, arXiv:2104.08315).

    Raises:
        UserError: there are no options, an empty one, or they have no order; `normalize` is none of these.
        Unsupported: the model cannot score, or under `greedy` gives no log-probabilities of single tokens.
    """
    options = _listed(options)
    found = await _calibrated(model, prompt, options, normalize, baseline)
    scores = _normalised(found, normalize)
    index = _greedy(model, found, scores) if normalize == "greedy" else scores.index(max(scores))
    return Selection(options[index], index, scores)


async def distribution(
    model: Model,
    prompt: str | Sequence[Message],
    options: Sequence[str],
    *,
    normalize: Weights = "sum",
    baseline: str | Sequence[Message] = (),
) -> dict[str, float]:
    """How likely each option is if the answer is one of them: probabilities in the options' order that sum to 1.

    The exponentials of `select`'s scores, divided by their sum (LMQL's `distribution`, Beurer-Kellner 2022,
    arXiv:2212.06094). Costs what `select` costs; see there for `normalize` and `baseline`.

    Raises:
        UserError: there are no options, an empty one, one twice or no order; `greedy` has no weights.
        Unsupported: the model cannot score.
    """
    options = _listed(options)
    if len(set(options)) < len(options) or normalize not in get_args(Weights):
        raise UserError(
            f"No distribution over {list(options)!r} with normalize={normalize!r}. Pass each option once, and "
            "normalize='sum', 'length' or 'unconditional'."
        )
    scores = _normalised(await _calibrated(model, prompt, options, normalize, baseline), normalize)
    weights = [math.exp(score - max(scores)) for score in scores]
    return {option: weight / sum(weights) for option, weight in zip(options, weights, strict=True)}


async def score(model: Model, prompt: str | Sequence[Message], options: Sequence[str]) -> tuple[Score, ...]:
    """The log-probability of each option as the model's answer to a prompt, in the options' order.

    Raises:
        UserError: there are no options, an empty one, or they have no order.
        Unsupported: the model cannot score.
    """
    return (await _scored(model, prompt, _listed(options))).scores


async def _scored(
    model: Model, prompt: str | Sequence[Message], options: Sequence[str], baseline: str | Sequence[Message] = ()
) -> Completion:
    if "score" not in model.capabilities:
        raise Unsupported(
            f"The model {model.name!r} cannot score given texts, so it cannot select. Use a model that can, such as "
            "`sy.local()`."
        )
    asked, neutral = map(_turns, (prompt, baseline))
    return await model.complete(Request(asked, temperature=0.0, continuations=tuple(options), neutral=neutral))


def _listed(options: Sequence[str]) -> tuple[str, ...]:
    """The options in their order, which a set has not."""
    found = () if isinstance(options, str | set | frozenset) else tuple(options)
    if not found or not are_texts(found):
        raise UserError(
            f"Nothing to select from: `options` is {options!r}. Pass a list of texts: at least one, and no empty one, "
            "as nothing is likelier than that."
        )
    return found


def _turns(prompt: str | Sequence[Message]) -> tuple[Message, ...]:
    return (Message("user", prompt),) if isinstance(prompt, str) else tuple(prompt)


async def _calibrated(
    model: Model,
    prompt: str | Sequence[Message],
    options: Sequence[str],
    normalize: Normalize,
    baseline: str | Sequence[Message],
) -> tuple[Score, ...]:
    """Scores after the prompt, less those after the baseline."""
    if normalize not in (known := get_args(Normalize)):
        raise UserError(f"No scores with normalize={normalize!r}. Pass one of {', '.join(map(repr, known))}.")
    less_of = baseline or (_NOTHING if normalize == "unconditional" else ())
    completion = await _scored(model, prompt, options, less_of)
    found = completion.scores
    if not less_of:
        return found
    off = completion.neutral or await score(model, less_of, options)
    return tuple(
        Score(each.logprob - less.logprob, each.tokens, tuple(map(sub, each.parts, less.parts)))
        for each, less in zip(found, off, strict=True)
    )


def _normalised(found: Sequence[Score], normalize: Normalize) -> tuple[float, ...]:
    return tuple(each.logprob / (1 if normalize == "sum" else max(each.tokens, 1)) for each in found)


def _greedy(model: Model, found: Sequence[Score], averages: Sequence[float]) -> int:
    """The option left when, token by token, all but those with the likeliest next token have dropped out."""
    if any(each.tokens != len(each.parts) for each in found):
        raise Unsupported(
            f"The model {model.name!r} gives no log-probabilities of single tokens, which normalize='greedy' needs. "
            "Use normalize='length', or a model that gives them, such as `sy.local()`."
        )
    left = list(range(len(found)))
    for place in range(max(each.tokens for each in found)):
        at = {index: (*found[index].parts, *[averages[index]] * (place + 1))[place] for index in left}
        left = [index for index in left if at[index] >= max(at.values()) - _SAME_TOKEN]
    return left[0]
