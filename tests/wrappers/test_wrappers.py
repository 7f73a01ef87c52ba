"""Wrappers: what each does to a call, and where it stands."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

import synthon as sy
from synthon.journal import export
from synthon.wrappers import timing
from synthon.wrappers.placement import attempts_of
from tests.core.counting import Counting, ask, until

DOWN = sy.ProviderError("down", status=503)


def down(**options: float) -> sy.ProviderError:
    return sy.ProviderError("down", status=503, **options)  # type: ignore[arg-type] # by name


# ---------------------------------------------------------------------------------------------- Retrying


async def test_retrying_asks_again_until_the_model_answers_and_counts_every_attempt() -> None:
    model = Counting(fails=[down(), down()])
    completion = await sy.Retrying(model, tries=3, base_s=0.0).complete(ask("q"))
    assert (completion.text, completion.usage.attempts, model.calls) == ("counting says q 0", 3, 3)


async def test_retrying_gives_up_after_its_tries_and_says_how_many() -> None:
    model = Counting(fails=[down() for _ in range(5)])
    with pytest.raises(sy.ProviderError, match=r"down.* It was tried 2 times\.") as caught:
        await sy.Retrying(model, tries=2, base_s=0.0).complete(ask("q"))
    assert (caught.value.attempts, model.calls) == (2, 2)


async def test_retrying_does_not_repeat_what_cannot_succeed() -> None:
    for failure in (sy.ContextTooLong("long"), sy.ProviderError("no", retryable=False), ValueError("bug")):
        model = Counting(fails=[failure])
        with pytest.raises(type(failure), match=str(failure)):
            await sy.Retrying(model).complete(ask("q"))
        assert model.calls == 1


async def test_retrying_waits_as_long_as_the_endpoint_asks() -> None:
    model = Counting(fails=[down(retry_after_s=0.08)])
    start = time.monotonic()
    await sy.Retrying(model, base_s=0.0).complete(ask("q"))
    assert time.monotonic() - start >= 0.08


async def test_a_long_wait_that_the_endpoint_asks_for_is_told(caplog: pytest.LogCaptureFixture) -> None:
    model = Counting(fails=[down(retry_after_s=86_400.0)])
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await sy.Retrying(model).complete(ask("q"))
    assert "asked again in 86400 s" in caplog.text


async def test_retrying_waits_no_longer_than_its_cap() -> None:
    model = Counting(fails=[down() for _ in range(3)])
    start = time.monotonic()
    await sy.Retrying(model, base_s=100.0, cap_s=0.01).complete(ask("q"))
    assert time.monotonic() - start < 5


def test_wrappers_refuse_settings_that_make_no_sense() -> None:
    with pytest.raises(sy.UserError, match=r"tries=0. Pass at least 1"):
        sy.Retrying(Counting(), tries=0)
    with pytest.raises(sy.UserError, match=r"no model. Pass at least one"):
        sy.Fallback()
    with pytest.raises(sy.UserError, match=r"no limit. Pass requests_per_minute"):
        sy.RateLimited(Counting())


# ---------------------------------------------------------------------------------------------- Fallback


async def test_fallback_takes_the_first_model_that_answers() -> None:
    a, b, c = Counting("a", fails=[down()]), Counting("b", fails=[sy.ContextTooLong("long")]), Counting("c")
    completion = await sy.Fallback(a, b, c).complete(ask("q"))
    assert (completion.text, completion.model, completion.usage.attempts) == ("c says q 0", "c", 3)


async def test_fallback_raises_the_last_failure_and_tells_of_those_before(caplog: pytest.LogCaptureFixture) -> None:
    a, b = Counting("a", fails=[down()]), Counting("b", fails=[sy.ProviderError("b is down.")])
    with pytest.raises(sy.ProviderError, match=r"^b is down\. Before it, 'a' failed: down") as caught:
        await sy.Fallback(a, b).complete(ask("q"))
    assert caught.value.attempts == 2
    assert "the next one is asked: 'a' failed: down" in caplog.text


async def test_fallback_may_name_one_model_twice() -> None:
    a, b = Counting("a", fails=[down()]), Counting("b", fails=[down()])
    assert (await sy.Fallback(a, b, a).complete(ask("q"))).text == "a says q 0"


def test_fallback_can_do_what_all_its_models_can() -> None:
    a = sy.FunctionModel(lambda _: "", "a", capabilities=frozenset({"chat", "tools"}))
    b = sy.FunctionModel(lambda _: "", "b", capabilities=frozenset({"chat", "schema"}))
    both = sy.Fallback(a, b)
    assert both.capabilities == {"chat"}
    assert both.name == "a"
    assert a.identity in both.identity
    assert b.identity in both.identity


# ---------------------------------------------------------------------------------------------- time


async def test_timed_cancels_a_call_that_takes_too_long() -> None:
    model = Counting(waits_s=30)
    with pytest.raises(sy.ProviderTimeout, match=r"'counting' did not answer.*0\.02 s"):
        await sy.Timed(model, timeout_s=0.02).complete(ask("q"))
    assert (model.running, model.cancelled) == (0, 1)


async def test_timed_lets_the_models_own_time_out_pass() -> None:
    with pytest.raises(TimeoutError, match="its own"):
        await sy.Timed(Counting(fails=[TimeoutError("its own")]), timeout_s=9).complete(ask("q"))


async def test_a_time_out_counts_every_attempt_it_may_have_cut() -> None:
    model = sy.Timed(sy.Retrying(Counting(waits_s=9), tries=3), timeout_s=0.01)
    with pytest.raises(sy.ProviderTimeout, match="did not answer") as caught:
        await model.complete(ask("q"))
    assert caught.value.attempts == 3


async def test_a_time_out_tells_what_the_next_try_waited_after() -> None:
    with pytest.raises(sy.ProviderTimeout, match=r"not answer in 0\.2 s\. .* after this: down"):
        await sy.Timed(sy.Retrying(Counting(fails=[down(retry_after_s=9)])), timeout_s=0.2).complete(ask("q"))


async def test_hedged_asks_once_while_the_answer_is_quick() -> None:
    model = Counting()
    completion = await sy.Hedged(model, after_s=5).complete(ask("q"))
    assert (model.calls, completion.usage.attempts) == (1, 1)


async def test_hedged_takes_the_first_answer_and_cancels_the_other() -> None:
    waits = iter([30.0, 0.0])

    class Slow(Counting):
        async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
            self.seen.append(request)
            self.running += 1
            try:
                await asyncio.sleep(next(waits))
            finally:
                self.running -= 1
            return sy.Completion("quick", sy.Usage(2, output_tokens=3))

    model = Slow()
    completion = await sy.Hedged(model, after_s=0.01).complete(ask("q"))
    assert (completion.text, completion.usage.attempts, completion.usage.tokens) == ("quick", 2, 10)
    assert (model.calls, model.running) == (2, 0)


async def test_hedged_survives_the_failure_of_one_and_counts_both_when_both_fail() -> None:
    one = Counting(waits_s=0.03, fails=[down()])
    assert (await sy.Hedged(one, after_s=0.01).complete(ask("q"))).text == "counting says q 0"
    both = Counting(waits_s=0.03, fails=[down(), down()])
    with pytest.raises(sy.ProviderError, match="down") as caught:
        await sy.Hedged(both, after_s=0.01).complete(ask("q"))
    assert caught.value.attempts == both.calls == 2


async def test_a_hedge_that_lost_counts_every_attempt_it_could_make() -> None:
    model = sy.Hedged(sy.Retrying(Counting(waits_s=0.03), tries=3), after_s=0.01)
    assert attempts_of(model) == 6
    assert (await model.complete(ask("q"))).usage.attempts == 4


async def test_hedged_leaves_nothing_running_when_it_is_cancelled() -> None:
    model = Counting(waits_s=30)
    task = asyncio.create_task(sy.Hedged(model, after_s=0.01).complete(ask("q")))
    await until(lambda: model.running == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (model.running, model.cancelled) == (0, 2)


@pytest.mark.parametrize("wrap", [sy.Retrying, sy.Fallback, partial(sy.Hedged, after_s=9)])
async def test_a_model_is_not_asked_to_stream_when_nobody_listens(wrap: Callable[[sy.Model], sy.Model]) -> None:
    heard_by: list[sy.Emit] = []

    class Asked(Counting):
        async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
            heard_by.append(emit)
            return await super().complete(request, emit)

    await wrap(Asked(fails=[down()] if wrap is sy.Retrying else [])).complete(ask("q"))
    assert set(heard_by) == {sy.discard}


async def test_hedged_streams_its_answer_at_the_end() -> None:
    call = sy.ToolCall("1", "add", "{}")
    seen: list[sy.Delta] = []

    class Keep:
        retractable = False

        def __call__(self, delta: sy.Delta, /) -> None:
            seen.append(delta)

    answer = sy.Completion("a b", tool_calls=(call,), reasoning=(sy.Reasoning("why"),))
    await sy.Hedged(sy.FunctionModel(lambda _: answer), after_s=1).complete(ask("q"), Keep())
    assert seen == [sy.Delta(reasoning="why"), sy.Delta(text="a b"), sy.Delta(tool_call=call)]


async def test_rate_limited_spreads_requests_over_the_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_MINUTE_S", 0.2)
    model = sy.RateLimited(Counting(), requests_per_minute=3)
    start = time.monotonic()
    await asyncio.gather(*(model.complete(ask(str(n))) for n in range(7)))
    assert time.monotonic() - start >= 0.4


async def test_rate_limited_corrects_its_estimate_of_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_MINUTE_S", 0.3)
    model = sy.RateLimited(Counting(usage=sy.Usage(1, output_tokens=1)), tokens_per_minute=150)
    start = time.monotonic()
    for _ in range(4):
        await model.complete(ask("q", max_tokens=100))
    assert time.monotonic() - start < 0.25, "each used 2 of the 100 it might have"


async def test_a_request_larger_than_the_rate_goes_alone() -> None:
    model = sy.RateLimited(Counting(), tokens_per_minute=10)
    async with asyncio.timeout(5):
        await model.complete(ask("q", max_tokens=1000))


async def test_calls_at_once_are_estimated_before_and_who_waits_hears_of_a_correction() -> None:
    most, at_once = 0, 0

    async def answer(_: sy.Request) -> sy.Completion:
        nonlocal most, at_once
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        return sy.Completion("ok", usage=sy.Usage(5, output_tokens=5))

    model = sy.RateLimited(sy.FunctionModel(answer), tokens_per_minute=1000)
    async with asyncio.timeout(5):
        await asyncio.gather(*(model.complete(ask(str(n), max_tokens=900)) for n in range(4)))
    assert most == 1


async def test_who_waits_for_tokens_hears_of_a_correction_in_another_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_MINUTE_S", 30.0)
    begun, told = asyncio.Event(), asyncio.Event()

    async def answer(request: sy.Request) -> sy.Completion:
        if request.messages[-1].text == "here":
            begun.set()
            await told.wait()
        return sy.Completion("ok", usage=sy.Usage(5, output_tokens=5))

    model = sy.RateLimited(sy.FunctionModel(answer), tokens_per_minute=1000)
    here = asyncio.create_task(model.complete(ask("here", max_tokens=900)))
    await begun.wait()
    there = asyncio.create_task(asyncio.to_thread(asyncio.run, model.complete(ask("there", max_tokens=900))))
    await asyncio.sleep(0.2)
    assert not there.done()
    told.set()
    async with asyncio.timeout(5):
        await asyncio.gather(here, there)


async def test_requests_that_wait_for_tokens_are_not_sent_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_MINUTE_S", 0.4)
    sent: list[float] = []

    async def answer(request: sy.Request) -> sy.Completion:
        sent.append(time.monotonic())
        await asyncio.sleep(0.5 if len(sent) == 1 else 0.0)
        return sy.Completion("ok", usage=sy.Usage(1, output_tokens=1))

    model = sy.RateLimited(sy.FunctionModel(answer), requests_per_minute=2, tokens_per_minute=100)
    await asyncio.gather(*(model.complete(ask(str(n), max_tokens=150 if n == 0 else 10)) for n in range(6)))
    assert all(later - sooner > 0.39 for sooner, later in zip(sent, sent[2:], strict=False))


async def test_a_rate_may_be_below_one_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "_MINUTE_S", 0.2)
    model = sy.RateLimited(Counting(), requests_per_minute=0.5)
    start = time.monotonic()
    for n in range(2):
        await model.complete(ask(str(n)))
    assert time.monotonic() - start >= 0.4


@pytest.mark.parametrize("around", [lambda model: model, partial(sy.Timed, timeout_s=9)])
async def test_each_try_waits_for_its_place(
    around: Callable[[sy.Model], sy.Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "_MINUTE_S", 0.2)
    retried = sy.Retrying(sy.Journaled(Counting(fails=[down(), down()]), price=sy.Price(1, 1)), base_s=0.0)
    model, start = sy.RateLimited(around(retried), requests_per_minute=1), time.monotonic()
    completion = await sy.run(model.complete, ask("q"), journal=sy.MemoryJournal())
    assert completion.usage.attempts == 3
    assert time.monotonic() - start >= 0.4


# ---------------------------------------------------------------------------------------------- placement

WRAPPERS: dict[str, Callable[[sy.Model], sy.Model]] = {
    "Retrying": lambda model: sy.Retrying(model, base_s=0.0),
    "Fallback": lambda model: sy.Fallback(model, sy.Journaled(Counting("second"))),
    "Hedged": lambda model: sy.Hedged(model, after_s=9),
    "RateLimited": lambda model: sy.RateLimited(model, requests_per_minute=99),
    "Timed": lambda model: sy.Timed(model, timeout_s=9),
}


@pytest.mark.parametrize("which", WRAPPERS)
async def test_what_depends_on_time_or_failure_stands_inside_one_journaled(which: str) -> None:
    journaled = WRAPPERS[which](sy.Journaled(Counting(), price=sy.Price(1.0, 1.0)))
    assert isinstance(journaled, sy.Journaled)
    inner: object = journaled.model
    while inner is not None:
        assert not isinstance(inner, sy.Journaled)
        inner = getattr(inner, "model", None) or next(iter(getattr(inner, "models", ())), None)
    journal = sy.MemoryJournal()
    completion = await sy.run(journaled.complete, ask("q"), journal=journal)
    assert len([row for row in journal.records if isinstance(row, sy.CallRecord)]) == 1
    assert completion.usage.cost_usd == pytest.approx(2e-6)
    assert journaled.name == "counting"
    assert journaled.capabilities == {"chat"}
    assert "counting" in journaled.identity


@pytest.mark.parametrize("which", WRAPPERS)
def test_plain_models_stay_plain(which: str) -> None:
    if which != "Fallback":
        assert not isinstance(WRAPPERS[which](Counting()), sy.Journaled)


def test_a_whole_stack_is_one_journaled_and_knows_its_attempts() -> None:
    stack: sy.Model = sy.Journaled(Counting())
    for wrap in WRAPPERS.values():
        stack = wrap(stack)
    assert isinstance(stack, sy.Journaled)
    assert attempts_of(stack.model) == (4 + 1) * 2


async def test_what_a_fallback_answered_while_the_first_was_down_is_answered_on_resume() -> None:
    journal = sy.MemoryJournal()
    a, b = Counting("a", fails=[down()]), Counting("b")
    model = sy.Fallback(sy.Journaled(a), sy.Journaled(b))
    for _ in range(2):
        assert (await sy.run(model.complete, ask("q"), journal=journal, run_id="r")).text == "b says q 0"
    assert (a.calls, b.calls) == (1, 1)


async def test_a_threshold_over_journaled_leaves_costs_no_new_calls() -> None:
    small, large = Counting("small"), Counting("large")
    leaves = sy.Journaled(small), sy.Journaled(large)

    class Cascade:
        name = identity = "cascade"
        capabilities: frozenset[sy.Capability] = frozenset({"chat"})

        def __init__(self, accept: int) -> None:
            self.accept = accept

        async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
            first = await leaves[0].complete(request)
            sure = int(request.messages[-1].text) >= self.accept
            return first if sure else await leaves[1].complete(request, emit)

    journal = sy.MemoryJournal()
    for accept in (70, 50, 30, 60, 70):
        for question in range(0, 100, 10):
            await sy.run(Cascade(accept).complete, ask(str(question)), journal=journal, policy="cache")
    assert (small.calls, large.calls) == (10, 7)


def test_several_prices_are_the_dearest_part_by_part() -> None:
    cheap = sy.Journaled(Counting("a"), price=sy.Price(1.0, 9.0, cached_usd=0.5))
    dear = sy.Journaled(Counting("b"), price=sy.Price(2.0, 3.0, cache_write_usd=4.0))
    both, one = sy.Fallback(cheap, dear), sy.Fallback(cheap, sy.Journaled(Counting("c")))
    assert isinstance(both, sy.Journaled)
    assert isinstance(one, sy.Journaled)
    assert getattr(both.model, "price", None) == sy.Price(2.0, 9.0, 2.0, 4.0)
    assert getattr(one.model, "price", None) is None


async def test_each_model_of_a_fallback_is_billed_at_its_own_price() -> None:
    cheap = sy.Journaled(Counting("a", fails=[down()]), price=sy.Price(1e6, 1e6))
    dear = sy.Journaled(Counting("b"), price=sy.Price(5e6, 5e6))
    budget = sy.Budget(usd=1e9)
    model = sy.Fallback(cheap, dear)
    costs = [await sy.run(model.complete, ask(q, max_tokens=5), budget=budget) for q in "xy"]
    assert [answer.usage.cost_usd for answer in costs] == [10.0, 2.0]
    assert budget.billed_usd == 12.0


# ---------------------------------------------------------------------------------------------- doubles


async def test_a_function_model_may_be_async_and_answer_with_a_completion() -> None:
    async def slowly(request: sy.Request) -> sy.Completion:
        await asyncio.sleep(0)
        return sy.Completion(request.messages[-1].text.upper(), finish="length")

    told = await sy.FunctionModel(slowly, "f").complete(ask("q"))
    assert (told.text, told.finish, told.model) == ("Q", "length", "")
    assert (await sy.FunctionModel(lambda _: "x", "f").complete(ask("q"))).model == "f"


@pytest.mark.parametrize("answer", [None, {"a": 1}])
async def test_a_function_model_that_answers_neither_text_nor_completion_is_refused(answer: Any) -> None:
    with pytest.raises(sy.UserError, match=r"FunctionModel 'f' answered (None|\{'a': 1\})\. Return a text"):
        await sy.FunctionModel(lambda _: answer, "f").complete(ask("q"))


class Saying:
    def __init__(self, word: object) -> None:
        self.word = word

    def __call__(self, _: sy.Request) -> str:
        return str(self.word)


def say(word: object, _: sy.Request, *, mark: str = "", end: str = "") -> str:
    return f"{word}{mark}{end}"


@pytest.mark.parametrize("made", [Saying, partial(partial, say)])
async def test_what_a_function_model_was_made_with_tells_it_from_others(
    made: Callable[[object], Callable[[sy.Request], str]],
) -> None:
    one, two, again = (sy.Journaled(sy.FunctionModel(made(word))) for word in ("one", "two", "one"))
    assert one.identity == again.identity != two.identity

    @sy.program
    async def both() -> list[str]:
        return [(await model.complete(ask("q", temperature=0.0))).text for model in (one, two)]

    assert await sy.run(both, journal=sy.MemoryJournal()) == ["one", "two"]


def test_the_order_of_bound_arguments_does_not_matter() -> None:
    first, second = partial(say, "a", mark="!", end=";"), partial(say, "a", end=";", mark="!")
    assert sy.FunctionModel(first).identity == sy.FunctionModel(second).identity


def test_a_name_tells_an_object_from_others_whatever_it_holds() -> None:
    log = Saying(["a log"])
    assert sy.FunctionModel(log, "one").identity == sy.FunctionModel(Saying(Path("other")), "one").identity
    assert sy.FunctionModel(log, "one").identity != sy.FunctionModel(log, "two").identity


@pytest.mark.parametrize("made", [Saying(Path("a")), partial(say, Path("a")), attrgetter("messages")])
def test_a_function_model_made_with_what_is_no_json_is_refused_without_identity(made: Any) -> None:
    with pytest.raises(sy.UserError, match=r"holds what is no JSON.* Pass identity="):
        sy.FunctionModel(made)
    assert sy.FunctionModel(made, identity="a").identity == "a"


@pytest.mark.parametrize("said", ["two words", "two\u2028words"])
async def test_recorded_answers_what_was_exported_and_nothing_else(tmp_path: Path, said: str) -> None:
    path = tmp_path / "rows.jsonl"
    model = sy.FunctionModel(lambda request: said, "m")
    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        await sy.run(sy.Journaled(model).complete, ask("q"), run_id="r", journal=journal)
    path.write_text("".join(f"{line}\n" for line in export(tmp_path / "j.db", "r")))
    recorded = sy.Recorded.load(path, name="m", identity=model.identity)
    pieces: list[str] = []

    class Keep:
        retractable = False

        def __call__(self, delta: sy.Delta, /) -> None:
            pieces.append(delta.text)

    assert (await recorded.complete(ask("q"), Keep())).text == said
    assert (await recorded.complete(ask("q"))).text == said
    assert pieces == [said]
    with pytest.raises(sy.UserError, match=r"no recorded answer for .*among 1 rows"):
        await recorded.complete(ask("other"))


@pytest.mark.parametrize("line", ["no json", '{"kind": "call", "key": "x"}', "[1]"])
def test_a_line_that_is_no_exported_row_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n" + line + "\n")
    with pytest.raises(sy.UserError, match=r"line 2 is no row"):
        sy.Recorded.load(path, name="m", identity="m")
