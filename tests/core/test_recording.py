"""One call, one row: joined while in flight, the first row wins, time and chance repeat."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

import synthon as sy
from synthon.core.identity import dump_completion
from synthon.core.recording import recorded
from tests.core.counting import Counting, ask


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[sy.SQLiteJournal]:
    with sy.SQLiteJournal(tmp_path / "journal.db") as opened:
        yield opened


async def at_once(model: sy.Model, request: sy.Request, n: int) -> list[sy.Completion | BaseException]:
    return await asyncio.gather(*(model.complete(request) for _ in range(n)), return_exceptions=True)


# ---------------------------------------------------------------------------------------------- single flight


@pytest.mark.parametrize("policy", ["fresh", "cache", "read_only"])
async def test_100_equal_greedy_requests_at_once_are_one_call(journal: sy.SQLiteJournal, policy: sy.Policy) -> None:
    model = Counting(waits_s=0.01)
    told = await sy.run(at_once, sy.Journaled(model), ask("q"), 100, journal=journal, policy=policy)
    assert model.calls == 1
    assert told == [told[0]] * 100


async def test_equal_requests_with_chance_are_as_many_calls(journal: sy.SQLiteJournal) -> None:
    model = Counting(waits_s=0.01)
    told = await sy.run(at_once, sy.Journaled(model), ask("q", temperature=1.0), 20, journal=journal)
    assert model.calls == 20
    assert len({str(answer) for answer in told}) == 20


async def test_a_cancelled_leader_is_followed_by_another(journal: sy.SQLiteJournal) -> None:
    model = Counting(waits_s=0.05)
    journaled = sy.Journaled(model)

    async def ten() -> list[object]:
        tasks = [asyncio.create_task(journaled.complete(ask("q"))) for _ in range(10)]
        await asyncio.sleep(0.01)
        tasks[0].cancel()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    told = await sy.run(ten, journal=journal)
    assert (model.calls, model.cancelled) == (2, 1)
    assert isinstance(told[0], asyncio.CancelledError)
    assert told[1:] == [told[1]] * 9
    assert isinstance(told[1], sy.Completion)


async def test_a_cancelled_follower_leaves_the_call_to_the_others(journal: sy.SQLiteJournal) -> None:
    model = Counting(waits_s=0.05)
    journaled = sy.Journaled(model)

    async def three() -> list[object]:
        tasks = [asyncio.create_task(journaled.complete(ask("q"))) for _ in range(3)]
        await asyncio.sleep(0.01)
        tasks[1].cancel()
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    told = await sy.run(three, journal=journal)
    assert (model.calls, model.cancelled) == (1, 0)
    assert isinstance(told[1], asyncio.CancelledError)
    assert told[0] == told[2]


async def test_a_providers_error_reaches_all_who_joined_and_the_next_asks_again(journal: sy.SQLiteJournal) -> None:
    model = Counting(waits_s=0.01, fails=[sy.ProviderError("down")])

    async def twice() -> tuple[list[sy.Completion | BaseException], list[sy.Completion | BaseException]]:
        return await at_once(sy.Journaled(model), ask("q"), 5), await at_once(sy.Journaled(model), ask("q"), 5)

    failed, told = await sy.run(twice, journal=journal)
    assert [str(error) for error in failed] == ["down"] * 5
    assert model.calls == 2
    assert all(isinstance(answer, sy.Completion) for answer in told)


async def test_runs_that_share_rows_share_flights_and_others_do_not(journal: sy.SQLiteJournal) -> None:
    for policy, calls in (("cache", 1), ("fresh", 5)):
        model = Counting(policy, waits_s=0.01)
        journaled = sy.Journaled(model)
        runs = [sy.run(journaled.complete, ask("q"), journal=journal, policy=policy) for _ in range(5)]  # type: ignore[arg-type] # a literal
        await asyncio.gather(*runs)
        assert model.calls == calls


# ---------------------------------------------------------------------------------------------- the first row wins


async def test_the_first_row_wins_over_two_journals_on_one_file(tmp_path: Path) -> None:
    with sy.SQLiteJournal(tmp_path / "j.db") as one, sy.SQLiteJournal(tmp_path / "j.db") as two:
        first, second = Counting("m", lambda _: "first", waits_s=0.01), Counting("m", lambda _: "second", waits_s=0.05)
        runs = [
            sy.run(sy.Journaled(model).complete, ask("q"), journal=journal, policy="cache")
            for model, journal in ((first, one), (second, two))
        ]
        told = await asyncio.gather(*runs)
    assert (first.calls, second.calls) == (1, 1)
    assert [answer.text for answer in told] == ["first", "first"]


async def test_what_is_streamed_is_the_row_that_won(tmp_path: Path) -> None:
    @sy.step(temperature=0.0)
    async def answer(text: str) -> str:
        """Answer."""
        ...

    for retractable in (True, False):
        path = tmp_path / f"{retractable}.db"
        with sy.SQLiteJournal(path) as one, sy.SQLiteJournal(path) as two:
            slow = answer.using(model=sy.Journaled(Counting("m", lambda _: "my own words", waits_s=0.1)))
            fast = answer.using(model=sy.Journaled(Counting("m", lambda _: "the row that won")))
            text = ""

            async def streamed(step=slow, journal=two) -> str:  # type: ignore[no-untyped-def] # noqa: ANN001 - bound here
                return str(await sy.run(step, "q", journal=journal, policy="cache"))

            async with sy.Stream(streamed, retractable=retractable) as stream:
                await asyncio.sleep(0.02)
                await sy.run(fast, "q", journal=one, policy="cache")
                async for delta in stream:
                    assert retractable or not delta.reset
                    text = "" if delta.reset else text + delta.text
                assert text == await stream.result() == "the row that won"


async def test_what_is_streamed_under_a_cache_is_what_is_returned(journal: sy.SQLiteJournal) -> None:
    for retractable in (True, False):
        for hit in (False, True):
            pieces: list[str] = []
            model = sy.Journaled(Counting(f"m{retractable}"))

            async def streamed(model: sy.Model = model) -> str:
                step = sy.step(model=model, temperature=0.0)(say)
                return str(await sy.run(step, "q", journal=journal, policy="cache"))

            async with sy.Stream(streamed, retractable=retractable) as stream:
                pieces += [delta.text async for delta in stream]
                assert "".join(pieces) == await stream.result()
            assert (len(pieces) == 1) == hit


async def say(text: str) -> str:
    """Say it."""
    raise NotImplementedError


# ---------------------------------------------------------------------------------------------- time and chance


@pytest.mark.parametrize("policy", ["fresh", "cache"])
async def test_time_and_chance_repeat_when_a_run_is_resumed(journal: sy.SQLiteJournal, policy: sy.Policy) -> None:
    async def moments() -> list[object]:
        await asyncio.sleep(0.001)
        return [sy.now(), sy.random(), sy.now(), sy.random()]

    once = await sy.run(moments, journal=journal, run_id="r", policy=policy)
    assert len(set(once)) == 4
    assert await sy.run(moments, journal=journal, run_id="r", policy=policy) == once
    other = await sy.run(moments, journal=journal, policy=policy)
    assert not set(other) & set(once), "another run has moments of its own, under a cache too"


async def test_time_and_chance_outside_of_a_run_are_plain() -> None:
    assert sy.now().tzinfo is not None
    assert sy.now() < sy.now()
    assert 0 <= sy.random() < 1


async def test_a_replay_has_no_time_of_its_own(journal: sy.SQLiteJournal) -> None:
    async def moment() -> object:
        return sy.now()

    with pytest.raises(sy.JournalError, match=r"found no row for the call '\{\"call\":\"sy.now\"\}'"):
        await sy.run(moment, journal=journal, policy="replay_only")


# ---------------------------------------------------------------------------------------------- no model's calls


class World:
    """Something to be read: it answers with how often it was."""

    def __init__(self) -> None:
        self.read = 0

    async def __call__(self) -> str:
        self.read += 1
        await asyncio.sleep(0.01)
        return json.dumps(self.read)


async def test_a_recorded_search_is_made_once_and_read_again(journal: sy.SQLiteJournal) -> None:
    world = World()

    async def search() -> list[str]:
        return [await sy.recorded("search", {"q": q, "index": "abc"}, world, kind="search") for q in ("a", "b", "a")]

    for _ in range(2):
        assert await sy.run(search, journal=journal, run_id="r") == ["1", "2", "1"]
    assert world.read == 2


async def test_recorded_calls_in_flight_are_one(journal: sy.SQLiteJournal) -> None:
    world = World()

    async def ten() -> list[str]:
        return await asyncio.gather(*(sy.recorded("search", "q", world) for _ in range(10)))

    assert await sy.run(ten, journal=journal) == ["1"] * 10


async def test_a_recorded_call_that_repeats_is_numbered(journal: sy.SQLiteJournal) -> None:
    world = World()

    async def three() -> list[str]:
        return [await sy.recorded("draw", None, world, repeats=True) for _ in range(3)]

    for _ in range(2):
        assert await sy.run(three, journal=journal, run_id="r") == ["1", "2", "3"]


async def test_a_recorded_call_that_fails_is_made_again(journal: sy.SQLiteJournal) -> None:
    async def fails() -> str:
        raise OSError("gone")

    async def once(act: object) -> str:
        return await sy.recorded("read", "x", act)  # type: ignore[arg-type] # one of the two

    with pytest.raises(OSError, match="gone"):
        await sy.run(once, fails, journal=journal, run_id="r")
    assert await sy.run(once, World(), journal=journal, run_id="r") == "1"


async def test_a_recorded_call_without_a_journal_just_acts() -> None:
    world = World()

    async def twice() -> list[str]:
        return [await sy.recorded("read", "x", world) for _ in range(2)]

    assert await sy.run(twice, policy="off") == ["1", "2"]


async def test_a_recorded_call_leaves_one_row_and_its_repetition_a_hit() -> None:
    journal = sy.MemoryJournal()

    async def once() -> str:
        return await sy.recorded("search", {"q": 1}, World(), kind="search")

    for _ in range(2):
        await sy.run(once, journal=journal, policy="cache")
    rows = [row for row in journal.records if not isinstance(row, sy.RunRecord)]
    made, hit = rows
    assert isinstance(made, sy.CallRecord)
    assert isinstance(hit, sy.Span)
    assert (made.span.kind, made.span.inputs, made.completion) == ("search", '{"q":1}', "1")
    assert (hit.kind, hit.hit, hit.key) == ("search", True, made.key.digest)


# ---------------------------------------------------------------------------------------------- what models say


async def test_a_completion_of_half_a_character_is_kept(journal: sy.SQLiteJournal) -> None:
    model = Counting(answer=lambda _: "half \ud83d")
    for _ in range(2):
        answer = await sy.run(sy.Journaled(model).complete, ask("q"), journal=journal, run_id="r")
        assert answer.text == "half \ud83d"
    assert model.calls == 1


async def test_a_row_is_the_completion_as_json() -> None:
    journal = sy.MemoryJournal()
    answer = await sy.run(sy.Journaled(Counting("m")).complete, ask("q"), journal=journal)
    [row] = [row for row in journal.records if isinstance(row, sy.CallRecord)]
    assert row.completion == dump_completion(answer)
    assert json.loads(row.request) == {"model": "m", "messages": [["user", "q"]], "temperature": 0.0}


async def test_a_span_in_a_generator_that_is_left_is_a_row_and_raises_nothing() -> None:
    async def numbers() -> AsyncIterator[int]:
        with sy.span("counting"):
            yield 1
            yield 2

    async def work() -> None:
        async for _ in numbers():
            break
        gc.collect()
        await asyncio.sleep(0.01)

    journal = sy.MemoryJournal()
    await sy.run(work, journal=journal)
    assert [row.name for row in journal.records if isinstance(row, sy.Span)] == ["counting"]


async def test_an_act_that_returns_no_text_is_refused() -> None:
    async def act() -> str:
        return None  # type: ignore[return-value] # the mistake under test

    journal = sy.MemoryJournal()
    with pytest.raises(sy.UserError, match=r"The act of 'look' returned None, .* Return JSON text"):
        await sy.run(recorded, "look", {}, act, journal=journal)
    assert not [row for row in journal.records if isinstance(row, sy.CallRecord)]
