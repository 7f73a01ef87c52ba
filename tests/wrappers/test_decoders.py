"""Decoders: what they ask of a model, whom they refuse, and which of several samples is kept."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthon as sy
from synthon.wrappers.decoders import beam, best_k, best_of
from synthon.wrappers.placement import attempts_of
from tests.models.loopback import Heard, Reply, answering

if TYPE_CHECKING:
    from collections.abc import Callable

    from synthon.wrappers.decoders import Decoder

LOGPROBS: frozenset[sy.Capability] = frozenset({"chat", "logprobs", "score"})
QUESTION = sy.Request((sy.Message("user", "Which?"),), max_tokens=16)


def sampling(*texts: tuple[str, float], asked: list[sy.Request] | None = None) -> sy.FunctionModel:
    """A model whose sample n says the n-th text, of two tokens with this mean log-probability."""

    def answer(request: sy.Request) -> sy.Completion:
        if asked is not None:
            asked.append(request)
        text, mean = texts[(request.sample - 1) % len(texts)]
        tokens = (sy.TokenLogprob("a", mean - 0.5), sy.TokenLogprob("b", mean + 0.5))
        return sy.Completion(text, sy.Usage(output_tokens=2), logprobs=tokens)

    return sy.FunctionModel(answer, capabilities=LOGPROBS)


# ------------------------------------------------------------------------------------- beam and best first


@pytest.mark.parametrize(
    ("decoder", "wanted"),
    [
        (beam(4), '{"decoder":{"kind":"beam","width":4}}'),
        (best_k(2, 64), '{"decoder":{"budget":64,"kind":"best_k","width":2}}'),
    ],
)
async def test_a_search_is_asked_of_the_engine_and_goes_by_its_own_probabilities(
    decoder: sy.Strategy, wanted: str
) -> None:
    asked: list[sy.Request] = []

    def answer(request: sy.Request) -> str:
        asked.append(request)
        return "found"

    @sy.step(strategy=decoder, temperature=0.9, top_p=0.5, extra={"other": 1})
    async def which(question: str) -> str:
        """Answer."""
        ...

    assert await which.using(model=sy.FunctionModel(answer))("?") == "found"
    (request,) = asked
    assert (request.temperature, request.top_p) == (0.0, None)
    assert sorted(request.extra.replace('"other":1,', "").replace(',"other":1', "")) == sorted(wanted)
    assert '"other":1' in request.extra


@pytest.mark.parametrize("make", [sy.openai, sy.anthropic])
async def test_endpoints_refuse_a_search_before_anything_is_sent(make: Callable[..., sy.Model]) -> None:
    async with answering(Reply({})) as loopback:
        model = beam(4).over(make("m", base_url=loopback.url))
        with pytest.raises(sy.Unsupported, match=r"'m' is no local model.*'beam'.*sy\.local"):
            await model.complete(QUESTION)
        assert loopback.received == []


async def test_scorings_pass_by_a_search() -> None:
    def answer(request: sy.Request) -> sy.Completion:
        assert not request.extra
        return sy.Completion(scores=tuple(sy.Score(-len(text), 1) for text in request.continuations))

    scores = sy.FunctionModel(answer, capabilities=LOGPROBS)

    @sy.step(model=scores)
    async def which(question: str) -> Literal["long", "no"]:
        """Choose."""
        ...

    for decoder in (beam(4), best_k(1, 8), best_of(3)):
        assert await which.using(strategy=decoder)("?") == "no"


def test_a_search_for_nothing_is_refused() -> None:
    for kind, numbers in ((beam, (0,)), (best_k, (0, 5)), (best_k, (2, 0)), (best_of, (-1,))):
        with pytest.raises(sy.UserError, match="searches for nothing"):
            kind(*numbers)


async def test_decoders_are_knob_values_and_hold_knobs() -> None:
    asked: list[sy.Request] = []

    def answer(request: sy.Request) -> str:
        asked.append(request)
        return "a"

    width = sy.knob(2, 8)

    @sy.step(model=sy.FunctionModel(answer), strategy=sy.one_of(beam(width), best_k(1, 9)))
    async def which(question: str) -> str:
        """Answer."""
        ...

    (name,) = [name for name, knob in which.parts().knobs.items() if repr(knob) == "knob(2, 8)"]
    await which("?")
    await which.using({name: 8})("?")
    await which.using(strategy=best_k(1, 9))("?")
    assert [request.extra for request in asked[:2]] == [f'{{"decoder":{{"kind":"beam","width":{n}}}}}' for n in (2, 8)]
    assert '"best_k"' in asked[2].extra


async def test_a_step_without_a_model_still_says_so() -> None:
    @sy.step(strategy=beam(2))
    async def which(question: str) -> str:
        """Answer."""
        ...

    with pytest.raises(sy.UserError, match="has no model"):
        await which("?")


# ------------------------------------------------------------------------------------------------- best_of


async def test_the_sample_with_the_highest_mean_log_probability_is_kept() -> None:
    asked: list[sy.Request] = []
    model = best_of(3).over(sampling(("bad", -2.0), ("good", -0.6), ("so-so", -1.0), asked=asked))
    completion = await model.complete(QUESTION)
    assert completion.text == "good"
    assert completion.usage == sy.Usage(output_tokens=6, attempts=3)
    assert {(request.temperature, request.logprobs) for request in asked} == {(0.7, 1)}


@given(st.lists(st.floats(-9, -1), min_size=1, max_size=6), st.sampled_from([None, 0.3, 1.5]))
async def test_the_first_of_the_best_is_kept_whatever_the_samples(
    means: list[float], temperature: float | None
) -> None:
    asked: list[sy.Request] = []
    model = sampling(*[(str(number), mean) for number, mean in enumerate(means)], asked=asked)
    completion = (
        await best_of(len(means), temperature=0.4).over(model).complete(replace(QUESTION, temperature=temperature))
    )
    exact = [(mean - 0.5 + mean + 0.5) / 2 for mean in means]
    assert completion.text == str(exact.index(max(exact)))
    assert {request.temperature for request in asked} == {temperature or 0.4}


async def test_what_keeps_to_the_constraint_comes_first() -> None:
    def answer(request: sy.Request) -> sy.Completion:
        likely = request.sample % 2
        tokens = (sy.TokenLogprob("a", -1.0 if likely else -5.0),)
        return sy.Completion(f"{likely}", logprobs=tokens, unmet="It is wrong." if likely else "")

    model = best_of(4).over(sy.FunctionModel(answer, capabilities=LOGPROBS))
    assert (await model.complete(QUESTION)).text == "0"


async def test_samples_are_drawn_at_once_and_a_failure_stops_the_others() -> None:
    meeting, stopped = asyncio.Barrier(3), list[int]()

    async def answer(request: sy.Request) -> str:
        async with asyncio.timeout(5):
            await meeting.wait()
        if request.sample == 2:
            raise sy.ProviderError("down")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            stopped.append(request.sample)
            raise
        return "late"

    with pytest.raises(sy.ProviderError, match="down"):
        await best_of(3).over(sy.FunctionModel(answer, capabilities=LOGPROBS)).complete(QUESTION)
    assert sorted(stopped) == [1, 3]


async def test_each_sample_is_a_row_and_a_resumed_run_draws_none_again() -> None:
    asked: list[sy.Request] = []
    model = sy.Journaled(sampling(("a", -2.0), ("b", -1.0), ("c", -3.0), ("d", -0.6), asked=asked))
    journal = sy.MemoryJournal()

    @sy.step(model=model, strategy=best_of(2))
    async def which(question: str) -> str:
        """Answer."""
        ...

    @sy.program
    async def twice() -> str:
        return await which("?") + await which("?")

    assert await sy.run(twice, run_id="r", journal=journal) == "bd"
    assert await sy.run(twice, run_id="r", journal=journal) == "bd"
    assert sorted(request.sample for request in asked) == [1, 2, 3, 4]


async def test_a_journal_around_the_whole_keeps_the_winner_and_counts_every_attempt() -> None:
    asked: list[sy.Request] = []
    model = sy.Journaled(best_of(2).over(sampling(("a", -2.0), ("b", -1.0), ("c", -3.0), ("d", -0.6), asked=asked)))
    assert attempts_of(model.model) == 2

    async def twice() -> str:
        return (await model.complete(warm)).text + (await model.complete(warm)).text

    warm = replace(QUESTION, temperature=0.9)
    assert await sy.run(twice, journal=sy.MemoryJournal()) == "bd"
    budget = sy.Budget(calls=3)
    with pytest.raises(sy.BudgetExceeded, match="calls"):
        await sy.run(twice, journal=sy.MemoryJournal(), budget=budget)
    assert len(asked) == 6


async def test_the_winner_streams_when_all_are_there() -> None:
    @sy.step(model=sy.Journaled(sampling(("bad one", -2.0), ("good one", -0.6))), strategy=best_of(2))
    async def which(question: str) -> str:
        """Answer."""
        ...

    async with which.stream("?") as stream:
        assert "".join([delta.text async for delta in stream]) == await stream.result() == "good one"


async def test_the_winners_tool_calls_stream_with_its_text() -> None:
    call = sy.ToolCall("c1", "look", "{}")
    heard = Heard()
    model = sy.FunctionModel(lambda _: sy.Completion("I look.", tool_calls=(call,)), capabilities=LOGPROBS)
    completion = await best_of(2).over(model).complete(QUESTION, heard)
    assert (heard.text, heard.deltas[-1].tool_call) == (completion.text, call) == ("I look.", call)


def test_a_searched_model_answers_for_constraints_as_the_model_does() -> None:
    served = sy.openai("m", base_url="http://127.0.0.1:1/v1", server="vllm")
    searched = beam(2).over(served)
    assert (searched.name, searched.capabilities) == (served.name, served.capabilities)
    assert served.identity in searched.identity != beam(3).over(served).identity
    assert searched.soundness(sy.Regex("a+")) == served.soundness(sy.Regex("a+"))  # type: ignore[attr-defined] # a Judge


async def test_equal_samples_and_models_without_log_probabilities_are_refused() -> None:
    with pytest.raises(sy.UserError, match=r"temperature 0.*all samples are equal"):
        await best_of(2).over(sampling(("a", -1.0))).complete(replace(QUESTION, temperature=0.0))
    with pytest.raises(sy.Unsupported, match="reports no log-probabilities"):
        await best_of(2).over(sy.FunctionModel(lambda _: "a")).complete(QUESTION)


# ------------------------------------------------------------------------------------------- the local engine


def total(completion: sy.Completion) -> float:
    return sum(token.logprob for token in completion.logprobs)


@pytest.mark.engine
async def test_a_search_finds_nothing_less_likely_than_greedy_decoding() -> None:
    model = sy.local(threads=1, context=2048)
    for question in ("Name a colour.", "Where do penguins live?", "What is rust?"):
        request = sy.Request((sy.Message("user", question),), max_tokens=8, logprobs=1, temperature=0.0)
        greedy = await model.complete(request)
        for decoder in (beam(1), beam(4), best_k(4, 64)):
            found = await decoder.over(model).complete(request)
            assert found.text
            assert total(found) >= total(greedy) - 1e-3, decoder


@pytest.mark.engine
@pytest.mark.parametrize("decoder", [beam(3), best_k(3, 48), best_of(2)], ids=lambda decoder: decoder.kind)
async def test_what_is_found_keeps_to_the_constraint(decoder: Decoder) -> None:
    request = replace(QUESTION, messages=(sy.Message("user", "When was it?"),), constraint=sy.Regex("in [12][0-9]{3}"))
    found = await decoder.over(sy.local(threads=1, context=2048)).complete(request)
    assert re.fullmatch("in [12][0-9]{3}", found.text)
    assert not found.unmet


@pytest.mark.engine
@pytest.mark.parametrize("decoder", [beam(8), best_k(4, 100)], ids=lambda decoder: decoder.kind)
async def test_a_search_never_computes_more_than_a_budget_of_tokens(decoder: Decoder) -> None:
    model = decoder.over(sy.local(threads=1, context=2048))

    async def found() -> str:
        return (await model.complete(replace(QUESTION, messages=(sy.Message("user", "Tell a story."),)))).text

    few, enough = sy.Budget(tokens=100), sy.Budget(tokens=300)
    with pytest.raises(sy.BudgetExceeded, match="tokens=100"):
        await sy.run(found, budget=few)
    assert few.spent.tokens == 0
    assert await sy.run(found, budget=enough)
    assert 100 < enough.spent.tokens <= 300


@pytest.mark.engine
async def test_the_local_model_refuses_other_extra_parameters() -> None:
    with pytest.raises(sy.Unsupported, match="extra"):
        await sy.local(threads=1, context=2048).complete(replace(QUESTION, extra='{"other":1}'))


@pytest.mark.engine
@pytest.mark.parametrize("wrap", [beam(2).over, lambda model: model], ids=["searched", "plain"])
@pytest.mark.parametrize("extra", ["{", "[]", '"decoder"'])
async def test_extra_parameters_that_are_none_are_refused(wrap: Callable[[sy.Model], sy.Model], extra: str) -> None:
    model = wrap(sy.local(threads=1, context=2048))

    async def asked() -> sy.Completion:
        return await model.complete(replace(QUESTION, extra=extra))

    for budget in (None, sy.Budget(tokens=1000)):
        with pytest.raises(sy.UserError, match=r"Request\.extra is no JSON"):
            await sy.run(asked, budget=budget)


@pytest.mark.parametrize("decoder", ["5", '{"kind":"beam","width":"4"}'])
async def test_a_decoder_that_is_none_is_refused_before_it_is_budgeted(decoder: str) -> None:
    async def asked() -> sy.Completion:
        extra = f'{{"decoder":{decoder}}}'
        return await sy.Journaled(sampling(("a", -1.0)), sy.Price(0, 0)).complete(replace(QUESTION, extra=extra))

    with pytest.raises(sy.UserError, match=r"Request\.extra has decoder=.*sy\.beam"):
        await sy.run(asked, budget=sy.Budget(tokens=1000))


@pytest.mark.engine
async def test_the_best_of_several_samples_is_as_likely_as_each_of_them() -> None:
    model = sy.local(threads=1, context=2048)
    request = replace(QUESTION, messages=(sy.Message("user", "Name an animal."),), max_tokens=6, temperature=1.2)

    async def drawn() -> list[float]:
        asked = replace(request, logprobs=1)
        completions = [await model.complete(replace(asked, sample=sample)) for sample in (1, 2, 3)]
        best = await best_of(3).over(model).complete(request)
        means = [total(completion) / len(completion.logprobs) for completion in completions]
        assert best.text == completions[means.index(max(means))].text
        return means

    assert len(set(await sy.run(drawn, journal=sy.MemoryJournal()))) > 1
