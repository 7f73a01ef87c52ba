"""The cascade: which model answers, what it costs, and what its trace says of it."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthon as sy
from synthon.weights.on_disk import is_here, named
from synthon.wrappers.cascading import confidence, confidences, escalated
from synthon.wrappers.placement import attempts_of
from tests.core.counting import Counting, ask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOGPROBS: frozenset[sy.Capability] = frozenset({"chat", "logprobs"})
SCORE: frozenset[sy.Capability] = frozenset({"chat", "score"})


class Sure(Counting):
    """As sure as the number that the question ends in: two tokens of this geometric mean."""

    capabilities = LOGPROBS

    async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
        completion = await super().complete(request, emit)
        logprob = math.log(float(request.messages[-1].text.split()[-1]))
        return replace(completion, logprobs=(sy.TokenLogprob("a", logprob - 0.1), sy.TokenLogprob("b", logprob + 0.1)))


def scoring(name: str, table: Mapping[str, float], neutral: Mapping[str, float]) -> sy.FunctionModel:
    """A model that scores options from a table, and from another where the message says nothing."""

    def answer(request: sy.Request) -> sy.Completion:
        found = neutral if request.messages[-1].text == "N/A" else table
        return sy.Completion(scores=tuple(sy.Score(found[text], 1) for text in request.continuations), model=name)

    return sy.FunctionModel(answer, name, capabilities=SCORE)


@pytest.mark.parametrize(
    ("accept", "question", "answers"),
    [(0.7, "0.71", "cheap"), (0.7, "0.69", "dear"), (0.0, "0.01", "cheap"), (1.0, "0.99", "dear"), (1.0, "1", "cheap")],
)
async def test_the_cheap_answer_stands_where_its_confidence_reaches_the_threshold(
    accept: float, question: str, answers: str
) -> None:
    cheap, dear = Sure("cheap"), Counting("dear")
    completion = await sy.cascade(cheap, dear, accept=accept).complete(ask(question))
    assert completion.model == answers
    assert (cheap.calls, dear.calls) == (1, answers == "dear")
    assert [request.logprobs for request in (*cheap.seen, *dear.seen)] == [1, 0][: 1 + dear.calls]


async def test_another_threshold_asks_the_cheap_model_nothing_new() -> None:
    cheap, dear = Sure("cheap"), Counting("dear")
    journal = sy.MemoryJournal()
    for accept in (0.5, 0.9, 0.0, 0.7, 1.0, 0.5):
        model = sy.cascade(sy.Journaled(cheap), sy.Journaled(dear), accept=accept)
        for sure in range(1, 10):
            await sy.run(model.complete, ask(str(sure / 10)), journal=journal, policy="cache")
    assert (cheap.calls, dear.calls) == (9, 9)


async def test_each_call_is_metered_once_as_its_own_models() -> None:
    cheap = sy.Journaled(Sure("cheap"), price=sy.Price(1e6, 1e6))
    dear = sy.Journaled(Counting("dear"), price=sy.Price(10e6, 10e6))
    journal, budget = sy.MemoryJournal(), sy.Budget(usd=1e9)
    model = sy.cascade(cheap, dear, accept=0.5)
    asked = replace(ask("0.4"), max_tokens=5)
    completion = await sy.run(model.complete, asked, journal=journal, budget=budget)
    assert completion.usage.cost_usd == 20.0
    assert (budget.billed_usd, budget.spent.calls) == (22.0, 2)
    assert [row.span.cost_usd for row in journal.records if isinstance(row, sy.CallRecord)] == [2.0, 20.0]


async def test_the_trace_says_which_model_answered_and_how_sure_the_cheap_one_was() -> None:
    model = sy.cascade(sy.Journaled(Sure("small")), sy.Journaled(Counting("large")), accept=0.5)

    @sy.step(model=model)
    async def say(text: str) -> str:
        """Say."""
        ...

    async def two() -> None:
        for text in ("0.25", "0.75"):
            await say(text)

    journal = sy.MemoryJournal()
    await sy.run(two, journal=journal)
    rows = [row for row in journal.records if isinstance(row, sy.Span)]
    decided = [json.loads(row.output) for row in rows if row.name == model.name]
    assert [(row["model"], row["accepted"]) for row in decided] == [("large", False), ("small", True)]
    found = confidences(journal.records, model)
    assert list(found) == [row.id for row in rows if row.kind == "step"]
    assert list(found.values()) == pytest.approx([0.25, 0.75])
    assert escalated([0.25, 0.75], [0.0, 0.5, 0.75, 1.0]) == {0.0: 0.0, 0.5: 0.5, 0.75: 0.5, 1.0: 1.0}
    assert escalated([], [0.5]) == {0.5: 0.0}


# ---------------------------------------------------------------------------------------------- confidence


async def test_of_given_options_the_best_ones_share_is_the_confidence() -> None:
    cheap = scoring("cheap", {"card": -1.0, "refund": -1.0 + math.log(0.25)}, {})
    dear = scoring("dear", {"card": -2.0, "refund": -1.0}, {})

    @sy.step(model=sy.cascade(cheap, dear, accept=sy.knob(0.79, 0.81)))
    async def route(message: str) -> Literal["card", "refund"]:
        """Route."""
        ...

    assert await route("hm") == "card"
    assert await route.using({"route.model.accept": 0.81})("hm") == "refund"


async def test_under_calibration_the_decision_is_taken_on_calibrated_scores_of_the_model_that_answers() -> None:
    cheap = scoring("cheap", {"card": -1.0, "refund": -3.0}, {"card": -1.0, "refund": -2.9})
    dear = scoring("dear", {"card": -1.0, "refund": -2.0}, {"card": -0.5, "refund": -5.0})

    @sy.step(model=sy.cascade(cheap, dear, accept=0.8))
    async def route(message: str) -> Literal["card", "refund"]:
        """Route."""
        ...

    assert await route("hm") == "card", "the cheap one is sure of 0.88, for it says card whatever it is asked"
    assert await route.using(calibrate=True)("hm") == "refund"
    three = sy.cascade(sy.cascade(cheap, cheap, accept=0.9), dear, accept=0.8)
    assert await route.using(calibrate=True, model=three)("hm") == "refund"
    certain = replace(three, accept=0.1)
    assert await route.using(calibrate=True, model=certain)("hm") == "card"


async def test_selections_take_the_baseline_of_the_model_that_answers() -> None:
    cheap = scoring("cheap", {"a": -1.0, "b": -1.0}, {"a": -1.0, "b": -1.0})
    dear = scoring("dear", {"a": -1.0, "b": -2.0}, {"a": -0.5, "b": -5.0})
    chosen = await sy.select(sy.cascade(cheap, dear, accept=0.9), "?", ["a", "b"], baseline="N/A")
    assert (chosen.option, chosen.scores) == ("b", (-0.5, 3.0))


SCORES = st.lists(st.floats(-500, 0), min_size=1, max_size=9)


@given(SCORES, st.booleans())
async def test_a_confidence_is_a_probability(logprobs: list[float], of_text: bool) -> None:  # noqa: FBT001 - drawn
    scores = tuple(sy.Score(logprob, 1) for logprob in logprobs)
    tokens = tuple(sy.TokenLogprob("", logprob) for logprob in logprobs)
    options = () if of_text else tuple(map(str, range(len(logprobs))))
    asked = sy.Request((), continuations=options)
    sure = confidence(asked, sy.Completion(scores=scores, logprobs=tokens))
    assert (0 if of_text else 1 / len(logprobs) - 1e-12) <= sure <= 1


def test_nothing_is_known_of_an_answer_without_tokens_or_one_that_does_not_fit() -> None:
    asked = ask("q")
    assert confidence(asked, sy.Completion("")) == 0.0
    assert confidence(asked, sy.Completion("x", logprobs=(sy.TokenLogprob("x", 0.0),))) == 1.0
    assert confidence(asked, sy.Completion("x", logprobs=(sy.TokenLogprob("x", math.nan),))) == 0.0
    assert confidence(asked, sy.Completion("x", logprobs=(sy.TokenLogprob("x", 0.0),), unmet="no JSON")) == 0.0


async def test_a_model_that_cannot_say_how_sure_it_is_is_refused() -> None:
    model = sy.cascade(Counting("cheap"), Counting("dear"), accept=0.5)
    with pytest.raises(sy.Unsupported, match=r"how sure 'cheap' is, which lacks 'logprobs'. Put a model first"):
        await model.complete(ask("q"))
    with pytest.raises(sy.Unsupported, match=r"lacks 'score'"):
        await model.complete(replace(ask("q"), continuations=("a", "b")))


# ---------------------------------------------------------------------------------------------- its place


def test_a_cascade_tells_both_models_and_offers_what_both_can() -> None:
    cheap = sy.FunctionModel(lambda _: "", "a", capabilities=LOGPROBS | {"score"})
    dear = sy.FunctionModel(lambda _: "", "b", capabilities=LOGPROBS | {"tools"})
    model = sy.cascade(cheap, dear, accept=sy.knob(0.5, 0.9))
    assert model.name == "cascade(a, b, accept=knob(0.5, 0.9))"
    assert model.capabilities == LOGPROBS
    assert model.identity == f"cascade({cheap.identity},{dear.identity},0.5)"
    assert model.soundness is None


@pytest.mark.parametrize("accept", [-0.1, 1.1, math.nan])
async def test_a_threshold_that_is_no_probability_is_refused(accept: float) -> None:
    with pytest.raises(sy.UserError, match=rf"is to accept at {accept}. Pass a probability"):
        sy.cascade(Sure(), Counting(), accept=accept)
    with pytest.raises(sy.UserError, match="Pass a probability"):
        await sy.cascade(Sure(), Counting(), accept=sy.knob(accept, 0.5)).complete(ask("1"))


def test_a_knob_over_the_models_inside_is_refused() -> None:
    with pytest.raises(sy.UserError, match="Make whole cascades the values"):
        sy.cascade(sy.one_of(Sure("a"), Sure("b")), Counting(), accept=0.5)


async def test_a_cascade_inside_a_journaled_model_is_refused() -> None:
    for leaf in (Sure(), sy.Journaled(Sure())):
        model = sy.Journaled(sy.cascade(leaf, Counting("dear"), accept=0.5))
        with pytest.raises(sy.UserError, match=r"inside journaled model .*Journal its two models, not the cascade"):
            await sy.run(model.complete, ask("1"), journal=sy.MemoryJournal())


async def test_what_depends_on_time_or_failure_goes_around_each_of_its_models() -> None:
    down = sy.ProviderError("down", status=503)
    cheap, dear = Sure("cheap", fails=[down]), Counting("dear", fails=[down])
    model = sy.Retrying(sy.cascade(sy.Journaled(cheap), sy.Journaled(dear), accept=0.5), tries=2, base_s=0.0)
    assert isinstance(model, sy.cascade)
    assert isinstance(model.cheap, sy.Journaled)
    assert attempts_of(model.cheap.model) == 2
    assert (await model.complete(ask("0.1"))).model == "dear"
    assert (cheap.calls, dear.calls) == (2, 2)
    with pytest.raises(sy.UserError, match=r"its threshold must stay outside. Put sy.Fallback around its models"):
        sy.Fallback(model, sy.Journaled(Counting()))


SMALL, LARGE = sy.Journaled(Sure("small")), sy.Journaled(Counting("large"))


@sy.step(model=sy.one_of(SMALL, sy.cascade(SMALL, LARGE, accept=sy.knob(0.5, 0.9))))
async def said(text: str) -> str:
    """Say."""
    ...


@sy.program
async def talk(text: str) -> str:
    return await said(text)


async def test_a_saved_program_names_the_cascade_and_its_threshold(tmp_path: Path) -> None:
    (threshold,) = [name for name in talk.parts().knobs if name.endswith(".accept")]
    knob = talk.parts().knobs["said.model"]
    talk.using({"said.model": knob.values[1], threshold: 0.9}).save(tmp_path / "talk.json")
    saved = json.loads((tmp_path / "talk.json").read_text())["settings"]
    assert saved == {"said.model": {"name": "cascade(small, large, accept=knob(0.5, 0.9))"}, threshold: 0.9}
    loaded = talk.using(tmp_path / "talk.json")
    assert (await loaded("0.8")).startswith("large")
    assert (await loaded.using({threshold: 0.5})("0.8")).startswith("small")


# ---------------------------------------------------------------------------------------------- real models


@pytest.mark.engine
async def test_two_local_models_share_the_questions_and_another_threshold_asks_the_small_one_nothing_new() -> None:
    if not is_here(named("qwen2.5-0.5b")):
        pytest.skip("qwen2.5-0.5b is not on this machine: synthon models fetch qwen2.5-0.5b")
    small, large = sy.local("smollm2-135m"), sy.local("qwen2.5-0.5b")
    model = sy.cascade(small, large, accept=sy.knob(0.0, 1.0, 0.6))

    @sy.step(model=model, calibrate=True)
    async def mood(review: str) -> Literal["good", "bad"]:
        """Is the review good or bad?"""
        ...

    @sy.step(model=model, max_tokens=8, temperature=0.0)
    async def capital(country: str) -> str:
        """Name the capital of the country."""
        ...

    @sy.program
    async def asked(reviews: list[str]) -> list[str]:
        return [*[await mood(review) for review in reviews], await capital("France")]

    reviews = ["I loved every minute.", "A dull, endless bore.", "It rained."]
    journal = sy.MemoryJournal()
    calls, sure = [], []
    for accept in (0.0, 1.0, 0.6):
        await sy.run(asked.using({"mood.model.accept": accept}), reviews, journal=journal, policy="cache")
        calls.append(len([row for row in journal.records if isinstance(row, sy.CallRecord)]))
        sure.append([*confidences(journal.records, model).values()][-4:])
    assert calls == [5, 10, 10], "each model is asked four questions and one without content"
    assert sure[0] == sure[1] == sure[2]
    assert all(0.5 <= each < 1 for each in sure[0][:3])
    assert 0 < sure[0][3] < 1
