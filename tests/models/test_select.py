from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthon as sy
from synthon.core.errors import Unsupported, UserError
from synthon.core.values import Completion, Message, Request, Score
from synthon.models.doubles import FunctionModel
from synthon.models.selecting import Normalize, Weights, distribution, score, select

SCORES = {"no": Score(-2.0, 1), "certainly not": Score(-3.0, 2), "yes": Score(-2.5, 1)}
BASELINE = {"no": Score(-0.5, 1), "certainly not": Score(-2.8, 2), "yes": Score(-2.4, 1)}


def scoring(request: Request) -> Completion:
    table = BASELINE if request.messages[0].text in {"N/A", ""} else SCORES
    return Completion(scores=tuple(table[text] for text in request.continuations))


MODEL = FunctionModel(scoring, capabilities=frozenset({"chat", "score"}))


@pytest.mark.parametrize(("normalize", "best"), [("sum", "no"), ("length", "certainly not")])
async def test_the_normalisation_decides(normalize: Normalize, best: str) -> None:
    chosen = await select(MODEL, "Is it?", list(SCORES), normalize=normalize)
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


@pytest.mark.parametrize("options", [{"no", "yes"}, frozenset({"no"}), "no", ["no", 5]])
async def test_options_without_an_order_or_that_are_no_texts_are_refused(options: Any) -> None:
    for asking in (select, distribution, score):
        with pytest.raises(UserError, match="Nothing to select from"):
            await asking(MODEL, "Is it?", options)


async def test_options_may_be_told_only_once() -> None:
    once: Any = iter(SCORES)
    assert (await select(MODEL, "Is it?", once)).option == "no"


async def test_a_model_without_scores_is_refused() -> None:
    with pytest.raises(Unsupported, match="cannot score given texts"):
        await select(FunctionModel(lambda _: "x"), "?", ["a"])


async def test_an_empty_option_is_refused_as_it_would_always_be_the_best() -> None:
    with pytest.raises(UserError, match="no empty one"):
        await select(MODEL, "?", ["a", ""])


async def test_unconditional_is_length_after_an_empty_message_or_the_baseline_given() -> None:
    chosen = await select(MODEL, "Is it?", list(SCORES), normalize="unconditional")
    given = await select(MODEL, "Is it?", list(SCORES), normalize="unconditional", baseline="N/A")
    assert chosen.scores == given.scores == pytest.approx((-1.5, -0.1, -0.1))


# ------------------------------------------------------------------------------------------------- greedy


def telling(**parts: tuple[float, ...]) -> FunctionModel:
    """A model whose scores are made of these parts."""

    def answer(request: Request) -> Completion:
        given = [parts[text] for text in request.continuations]
        return Completion(scores=tuple(Score(sum(each), len(each), each) for each in given))

    return FunctionModel(answer, capabilities=frozenset({"score"}))


def greedy_by_matrix(parts: list[tuple[float, ...]]) -> int:
    """SGLang's definition (lang/choices.py), with ends of options that never tie by accident."""
    width = max(map(len, parts))
    rows = [[*each, *[sum(each) / len(each)] * (width - len(each))] for each in parts]
    left = list(range(len(rows)))
    for place in range(width):
        best = max(rows[index][place] for index in left)
        left = [index for index in left if rows[index][place] == best]
    return left[0]


async def test_greedy_goes_by_the_first_token_that_differs() -> None:
    model = telling(ab=(-1.0, -0.1), ac=(-1.0, -0.5), d=(-1.2,))
    chosen = await select(model, "?", ["ac", "ab", "d"], normalize="greedy")
    assert (chosen.option, chosen.index) == ("ab", 1)
    assert chosen.scores == pytest.approx((-0.75, -0.55, -1.2))
    lower = telling(a=(-1.0, -9.0), b=(-1.1, -0.1))
    assert (await select(lower, "?", ["a", "b"], normalize="greedy")).option == "a"
    assert (await select(lower, "?", ["a", "b"], normalize="length")).option == "b"


async def test_greedy_extends_an_option_that_has_ended_by_its_average() -> None:
    model = telling(new=(-0.4, -0.2), newer=(-0.4, -0.2, -0.25), newest=(-0.4, -0.2, -0.5))
    assert (await select(model, "?", ["new", "newest"], normalize="greedy")).option == "new"
    assert (await select(model, "?", ["new", "newer"], normalize="greedy")).option == "newer"


@given(st.lists(st.lists(st.integers(-40, 0), min_size=1, max_size=4), min_size=1, max_size=6))
async def test_greedy_is_what_sglang_defines(parts: list[list[int]]) -> None:
    given = [tuple(part / 4 for part in each) for each in parts]
    names = {f"o{number}": each for number, each in enumerate(given)}
    averages = {sum(each) / len(each) for each in given}
    near = {abs(a - b) for a in averages for b in [*averages, *[part for each in given for part in each]]}
    if not any(0 < gap <= 2e-3 for gap in near):
        chosen = await select(telling(**names), "?", list(names), normalize="greedy")
        assert chosen.index == greedy_by_matrix(given)


async def test_greedy_takes_a_baseline_off_token_by_token() -> None:
    def answer(request: Request) -> Completion:
        parts = {"a": (-1.0, -2.0), "b": (-0.5, -0.5)}
        off = {"a": (-0.9, -0.1), "b": (-0.1, -0.1)}
        table = off if request.messages[0].text == "N/A" else parts
        found = [table[text] for text in request.continuations]
        return Completion(scores=tuple(Score(sum(each), 2, each) for each in found))

    model = FunctionModel(answer, capabilities=frozenset({"score"}))
    assert (await select(model, "?", ["a", "b"], normalize="greedy")).option == "b"
    assert (await select(model, "?", ["a", "b"], normalize="greedy", baseline="N/A")).option == "a"


async def test_greedy_needs_the_tokens_own_log_probabilities() -> None:
    with pytest.raises(Unsupported, match="no log-probabilities of single tokens"):
        await select(MODEL, "?", list(SCORES), normalize="greedy")


@pytest.mark.parametrize("name", ["Sum", "mean", None])
async def test_a_normalisation_that_there_is_not_is_refused_with_those_there_are(name: Any) -> None:
    with pytest.raises(UserError, match="'sum', 'length', 'greedy', 'unconditional'"):
        await select(MODEL, "Is it?", list(SCORES), normalize=name)


# ------------------------------------------------------------------------------------------- distribution


@given(
    st.lists(st.tuples(st.floats(-700, 0), st.integers(1, 5)), min_size=1, max_size=8),
    st.sampled_from(["sum", "length", "unconditional"]),
)
async def test_a_distribution_sums_to_one_and_weighs_by_the_scores(
    given: list[tuple[float, int]], normalize: Weights
) -> None:
    options = [str(number) for number in range(len(given))]

    def answer(request: Request) -> Completion:
        return Completion(scores=tuple(Score(*given[int(text)]) for text in request.continuations))

    model = FunctionModel(answer, capabilities=frozenset({"score"}))
    weights = await distribution(model, "?", options, normalize=normalize)
    scores = (await select(model, "?", options, normalize=normalize)).scores
    assert list(weights) == options
    assert math.fsum(weights.values()) == pytest.approx(1.0)
    best = max(scores)
    assert [weights[option] / max(weights.values()) for option in options] == pytest.approx(
        [math.exp(score - best) for score in scores]
    )


async def test_a_distribution_is_calibrated_by_its_baseline() -> None:
    plain = await distribution(MODEL, "Is it?", ["no", "yes"])
    calibrated = await distribution(MODEL, "Is it?", ["no", "yes"], baseline="N/A")
    assert plain["no"] > plain["yes"]
    assert calibrated == pytest.approx({"no": 1 / (1 + math.exp(1.4)), "yes": 1 / (1 + math.exp(-1.4))})


@pytest.mark.parametrize(("options", "normalize"), [(["a", "a"], "sum"), (["a", "b"], "greedy"), ([], "sum")])
async def test_what_has_no_distribution_is_refused(options: list[str], normalize: Weights) -> None:
    with pytest.raises(UserError, match=r"No distribution|Nothing to select"):
        await distribution(MODEL, "?", options, normalize=normalize)


# ------------------------------------------------------------------------------------------- the local engine

CITIES = [" Paris", " London", " New York City", " New York State", " Rome, the city of seven hills"]
PROMPT = (Message("user", "What is the capital of France?"), Message("assistant", "The capital of France is"))


@pytest.mark.engine
async def test_the_local_engines_choices_are_the_argmax_of_its_scores() -> None:
    model = sy.local(threads=1, context=2048)
    scores = (await model.complete(Request(PROMPT, temperature=0.0, continuations=tuple(CITIES)))).scores
    assert all(len(score.parts) == score.tokens for score in scores)
    assert [math.fsum(score.parts) for score in scores] == pytest.approx([score.logprob for score in scores], abs=1e-3)
    sums = [score.logprob for score in scores]
    means = [score.logprob / score.tokens for score in scores]
    assert (await select(model, PROMPT, CITIES)).index == sums.index(max(sums))
    assert (await select(model, PROMPT, CITIES, normalize="length")).index == means.index(max(means))
    chosen = await select(model, PROMPT, CITIES, normalize="greedy")
    assert chosen.index == greedy_by_matrix([tuple(round(part, 2) for part in score.parts) for score in scores])
    weights = await distribution(model, PROMPT, CITIES)
    total = math.fsum(map(math.exp, sums))
    assert math.fsum(weights.values()) == pytest.approx(1.0)
    assert list(weights.values()) == pytest.approx([math.exp(each) / total for each in sums])


@pytest.mark.engine
async def test_options_that_begin_alike_have_equal_parts_there() -> None:
    model = sy.local(threads=1, context=2048)
    city, state = (await model.complete(Request(PROMPT, temperature=0.0, continuations=tuple(CITIES[2:4])))).scores
    assert city.parts[:2] == pytest.approx(state.parts[:2], abs=5e-4)
    assert city.parts[2] != pytest.approx(state.parts[2], abs=5e-4)
