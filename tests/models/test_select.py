from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthon.core.errors import Unsupported, UserError
from synthon.core.values import Completion, Message, Request, Score
from synthon.models.doubles import FunctionModel
from synthon.models.selecting import select

SCORES = {"no": Score(-2.0, 1), "certainly not": Score(-3.0, 2), "yes": Score(-2.5, 1)}
BASELINE = {"no": Score(-0.5, 1), "certainly not": Score(-2.8, 2), "yes": Score(-2.4, 1)}


def scoring(request: Request) -> Completion:
    table = BASELINE if request.messages[0].text == "N/A" else SCORES
    return Completion(scores=tuple(table[text] for text in request.continuations))


MODEL = FunctionModel(scoring, capabilities=frozenset({"chat", "score"}))


@pytest.mark.parametrize(("normalize", "best"), [("sum", "no"), ("length", "certainly not")])
async def test_the_normalisation_decides(normalize: str, best: str) -> None:
    chosen = await select(MODEL, "Is it?", list(SCORES), normalize="sum" if normalize == "sum" else "length")
    assert chosen.option == best == list(SCORES)[chosen.index]
    assert len(chosen.scores) == 3


async def test_a_baseline_takes_off_what_is_likely_anyway() -> None:
    chosen = await select(MODEL, [Message("user", "Is it?")], list(SCORES), normalize="sum", baseline="N/A")
    assert chosen.option == "yes"
    assert chosen.scores == pytest.approx((-1.5, -0.2, -0.1))


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=8))
async def test_the_best_is_the_first_maximum(logprobs: list[float]) -> None:
    model = FunctionModel(
        lambda _: Completion(scores=tuple(Score(logprob, 1) for logprob in logprobs)), capabilities=frozenset({"score"})
    )
    chosen = await select(model, "?", [str(number) for number in range(len(logprobs))])
    assert chosen.index == logprobs.index(max(logprobs))
    assert not math.isnan(chosen.scores[chosen.index])


async def test_nothing_to_select_from_is_refused() -> None:
    with pytest.raises(UserError, match="Nothing to select from"):
        await select(MODEL, "?", [])


async def test_a_model_without_scores_is_refused() -> None:
    with pytest.raises(Unsupported, match="cannot score given texts"):
        await select(FunctionModel(lambda _: "x"), "?", ["a"])
