"""What a run means: policies, resume, divergence, sample numbers, spans."""

import asyncio
import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

import synthon as sy
from synthon.core.recording import recorded
from synthon.core.running import running
from tests.core.counting import Counting, ask, until


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[sy.SQLiteJournal]:
    with sy.SQLiteJournal(tmp_path / "journal.db") as opened:
        yield opened


@sy.step(temperature=0.0)
async def first(text: str) -> str:
    """First."""
    ...


@sy.step(temperature=0.0)
async def second(text: str) -> str:
    """Second."""
    ...


@sy.step
async def idea(text: str) -> str:
    """An idea."""
    ...


@sy.program
async def both(text: str) -> str:
    return await second(await first(text))


@sy.program
async def ideas(text: str, n: int) -> list[str]:
    return list(await asyncio.gather(*(idea(text) for _ in range(n))))


def using(model: sy.Model) -> sy.Program[[str], str]:
    return both.using(model=sy.Journaled(model))


# ---------------------------------------------------------------------------------------------- policies


async def test_off_reads_nothing_and_writes_nothing(journal: sy.SQLiteJournal, tmp_path: Path) -> None:
    model = Counting()
    await sy.run(using(model), "a", journal=journal, policy="cache")
    rows = size(journal)
    await sy.run(using(model), "a", journal=journal, policy="off")
    assert model.calls == 4
    assert size(journal) == rows


async def test_fresh_shares_nothing_between_runs_and_is_the_default(journal: sy.SQLiteJournal) -> None:
    model = Counting()
    for _ in range(2):
        await sy.run(using(model), "a", journal=journal)
    assert model.calls == 4


async def test_a_named_fresh_run_resumes_without_a_new_call(journal: sy.SQLiteJournal) -> None:
    model = Counting()
    results = [await sy.run(using(model), "a", journal=journal, run_id="r") for _ in range(3)]
    assert model.calls == 2
    assert len(set(results)) == 1


async def test_cache_shares_between_runs(journal: sy.SQLiteJournal) -> None:
    model = Counting()
    results = [await sy.run(using(model), "a", journal=journal, policy="cache") for _ in range(3)]
    assert model.calls == 2
    assert len(set(results)) == 1


async def test_read_only_serves_hits_and_writes_nothing_not_even_spans(journal: sy.SQLiteJournal) -> None:
    model = Counting()
    await sy.run(using(model), "a", journal=journal, policy="cache")
    rows = size(journal)
    await sy.run(using(model), "a", journal=journal, policy="read_only")
    assert model.calls == 2
    for _ in range(2):
        await sy.run(using(model), "b", journal=journal, policy="read_only", run_id="r")
    assert model.calls == 6, "misses go to the model and are not kept"
    assert size(journal) == rows
    assert journal.run("r") is None


async def test_read_only_serves_a_named_fresh_run_too(journal: sy.SQLiteJournal) -> None:
    model = Counting()
    await sy.run(using(model), "a", journal=journal, run_id="r")
    await sy.run(using(model), "a", journal=journal, policy="read_only", run_id="r")
    assert model.calls == 2


async def test_replay_only_raises_on_a_miss(journal: sy.SQLiteJournal) -> None:
    model = Counting()
    await sy.run(using(model), "a", journal=journal, policy="cache")
    await sy.run(using(model), "a", journal=journal, policy="replay_only")
    with pytest.raises(sy.JournalError, match=r"found no row for the call .*Record it first"):
        await sy.run(using(model), "b", journal=journal, policy="replay_only")
    assert model.calls == 2


async def test_replay_only_replays_a_named_fresh_run(journal: sy.SQLiteJournal) -> None:
    model = Counting()
    told = await sy.run(using(model), "a", journal=journal, run_id="r")
    assert await sy.run(using(model), "a", journal=journal, run_id="r", policy="replay_only") == told
    with pytest.raises(sy.JournalError, match="found no row"):
        await sy.run(using(model), "a", journal=journal, run_id="other", policy="replay_only")
    assert model.calls == 2


async def test_a_changed_later_step_makes_only_its_own_call_again(journal: sy.SQLiteJournal) -> None:
    model = Counting()
    await sy.run(using(model), "a", journal=journal, policy="cache")
    changed = both.using({"second.instruction": "Say it differently."}, model=sy.Journaled(model))
    await sy.run(changed, "a", journal=journal, policy="cache")
    assert model.calls == 3
    assert model.seen[-1].messages[0].text == "Say it differently."


async def test_leaves_take_journal_and_policy_from_the_run_around_them(journal: sy.SQLiteJournal) -> None:
    model = Counting()

    async def outer() -> object:
        return await sy.run(using(model), "a")

    for _ in range(2):
        await sy.run(outer, journal=journal, policy="cache")
    assert model.calls == 2


async def test_a_run_without_a_journal_uses_the_default_one(home: Path) -> None:
    model = Counting()
    for _ in range(2):
        await sy.run(using(model), "a", run_id="r")
    assert model.calls == 2
    default = sy.default_journal()
    assert default is not None
    assert default.path.is_relative_to(home)


async def test_the_default_journal_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHON_JOURNAL", "off")
    model = Counting()
    for _ in range(2):
        await sy.run(using(model), "a", run_id="r")
    assert model.calls == 4


# ---------------------------------------------------------------------------------------------- samples


async def test_a_vote_over_a_cache_gets_as_many_answers_as_it_asks_for(journal: sy.SQLiteJournal) -> None:
    model = Counting()
    told: dict[int, list[str]] = {}
    for n, calls in ((5, 5), (3, 5), (7, 7)):
        told[n] = await sy.run(ideas.using(model=sy.Journaled(model)), "q", n, journal=journal, policy="cache")
        assert model.calls == calls
        assert len(set(told[n])) == n
    assert set(told[3]) < set(told[5]) < set(told[7])


async def test_greedy_requests_always_have_sample_0(journal: sy.SQLiteJournal) -> None:
    model = Counting()

    async def thrice() -> list[str]:
        return [await first.using(model=sy.Journaled(model))("a") for _ in range(3)]

    assert len(set(await sy.run(thrice, journal=journal))) == 1
    assert [request.sample for request in model.seen] == [0]


async def test_scorings_always_have_sample_0(journal: sy.SQLiteJournal) -> None:
    model = sy.Journaled(Counting())
    request = sy.Request((sy.Message("user", "q"),), continuations=("a", "b"))

    async def twice() -> None:
        for _ in range(2):
            await model.complete(request)

    await sy.run(twice, journal=journal)
    assert isinstance(model.model, Counting)
    assert model.model.calls == 1


@pytest.mark.parametrize("policy", ["fresh", "cache", "off"])
async def test_a_loop_until_an_answer_is_good_ends(journal: sy.SQLiteJournal, policy: sy.Policy) -> None:
    model = Counting(answer=lambda request: str(request.sample))

    async def until_good() -> int:
        while (said := int(await idea.using(model=sy.Journaled(model))("q"))) < 4:
            pass
        return said

    for _ in range(2):
        assert await sy.run(until_good, journal=journal, policy=policy, run_id="r") == 4
    assert model.calls == (10 if policy == "off" else 5)


async def test_a_resumed_run_numbers_alike(journal: sy.SQLiteJournal) -> None:
    model = Counting()

    async def three(upto: int) -> list[str]:
        found = []
        for at in range(3):
            if at == upto:
                raise ValueError(at)
            found.append(await idea.using(model=sy.Journaled(model))("q"))
        return found

    with pytest.raises(ValueError, match="2"):
        await sy.run(three, 2, journal=journal, run_id="r")
    told = await sy.run(three, 9, journal=journal, run_id="r")
    assert told == [f"counting says q {n}" for n in range(3)]
    assert model.calls == 3


async def test_a_sample_number_that_is_given_is_taken(journal: sy.SQLiteJournal) -> None:
    model = Counting()
    complete = sy.Journaled(model).complete
    await sy.run(complete, ask("q", temperature=1.0, sample=5), journal=journal, policy="cache")
    assert [request.sample for request in model.seen] == [5]


# ---------------------------------------------------------------------------------------------- resume


async def test_a_failed_run_goes_on_where_it_stopped(journal: sy.SQLiteJournal) -> None:
    model = Counting(fails=[None, sy.ProviderError("down")])
    with pytest.raises(sy.ProviderError, match="down"):
        await sy.run(using(model), "a", journal=journal, run_id="r")
    kept = journal.run("r")
    assert kept is not None
    assert (kept.status, kept.error) == ("failed", "ProviderError: down")
    await sy.run(using(model), "a", journal=journal, run_id="r")
    assert model.calls == 3
    kept = journal.run("r")
    assert kept is not None
    assert (kept.status, kept.program, kept.arguments, kept.policy) == ("done", "both", '{"args":["a"]}', "fresh")
    assert kept.diverged == ""


async def test_a_cancelled_run_is_recorded_and_resumes(journal: sy.SQLiteJournal) -> None:
    model = Counting(waits_s=30)
    task = asyncio.create_task(sy.run(using(model), "a", journal=journal, run_id="r"))
    await until(lambda: model.running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    kept = journal.run("r")
    assert kept is not None
    assert kept.status == "cancelled"
    model.waits_s = 0
    await sy.run(using(model), "a", journal=journal, run_id="r")
    assert model.calls == 3


async def test_a_suspended_run_is_recorded_as_that(journal: sy.SQLiteJournal) -> None:
    async def waits() -> None:
        raise sy.Suspended("for a person")

    with pytest.raises(sy.Suspended, match="person"):
        await sy.run(waits, journal=journal, run_id="r")
    kept = journal.run("r")
    assert kept is not None
    assert kept.status == "suspended"


async def test_runs_within_a_run_resume_with_it(journal: sy.SQLiteJournal) -> None:
    model = Counting(answer=lambda _: f"call {model.calls}")

    @sy.program
    async def outer() -> list[object]:
        inner = idea.using(model=sy.Journaled(model))
        here = await sy.run(inner, "a")
        there = await asyncio.to_thread(inner.sync, "a")
        rows = await sy.run_many(inner, ["a", "b"], workers=1, watch=print)
        return [here, there, *rows, await asyncio.to_thread(ideas.using(model=sy.Journaled(model)).sync, "a", 2)]

    told = await sy.run(outer, journal=journal, run_id="r")
    assert model.calls == 6
    assert await sy.run(outer, journal=journal, run_id="r") == told
    assert model.calls == 6


async def test_a_program_that_changed_is_reported_on_its_run_and_on_the_logger(
    journal: sy.SQLiteJournal, caplog: pytest.LogCaptureFixture
) -> None:
    model = Counting()
    await sy.run(using(model), "a", journal=journal, run_id="r")
    changed = both.using({"second.instruction": "Differently."}, model=sy.Journaled(model))
    with caplog.at_level(logging.WARNING, "synthon"):
        await sy.run(changed, "a", journal=journal, run_id="r")
    kept = journal.run("r")
    assert kept is not None
    found = json.loads(kept.diverged)
    assert (len(found["gone"]), len(found["new"])) == (1, 1)
    assert "run r diverged: 1 recorded calls were not made again, 1 are new" in caplog.text


async def test_the_order_of_calls_is_no_divergence(journal: sy.SQLiteJournal) -> None:
    model = Counting()

    async def ordered(texts: list[str]) -> None:
        for text in texts:
            await first.using(model=sy.Journaled(model))(text)

    for texts in (["a", "b"], ["b", "a"]):
        await sy.run(ordered, texts, journal=journal, run_id="r")
    kept = journal.run("r")
    assert kept is not None
    assert kept.diverged == ""


@pytest.mark.parametrize("is_on_disk", [False, True])
async def test_what_a_recorded_part_called_is_no_divergence_when_the_part_is_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_on_disk: bool
) -> None:
    model = Counting()
    journal = sy.SQLiteJournal(tmp_path / "journal.db") if is_on_disk else sy.MemoryJournal()

    async def part() -> str:
        return json.dumps(await first.using(model=sy.Journaled(model))("inner"))

    async def whole(*, with_another: bool) -> None:
        await recorded("part", {}, part)
        if with_another:
            await first.using(model=sy.Journaled(model))("outer")

    for with_another, gone in ((True, 0), (True, 0), (False, 1)):
        await sy.run(whole, with_another=with_another, journal=journal, run_id="r")
        kept = journal.run("r")
        assert kept is not None
        assert len(json.loads(kept.diverged or '{"gone": []}')["gone"]) == gone
    assert model.calls == 2
    assert "run r diverged: 1 recorded calls" in caplog.text


# ---------------------------------------------------------------------------------------------- rows


async def test_a_run_leaves_one_row_for_each_thing_that_happened() -> None:
    journal = sy.MemoryJournal()
    await sy.run(using(Counting("m")), "a", journal=journal, run_id="r")
    spans = [row.span if isinstance(row, sy.CallRecord) else row for row in journal.records]
    shown = {(s.kind, s.name): s for s in spans if isinstance(s, sy.Span)}
    assert set(shown) == {("program", "both"), ("step", "first"), ("step", "second"), ("call", "m")}
    assert shown["step", "first"].parent == shown["program", "both"].id
    assert shown["program", "both"].output == shown["step", "second"].output == '"m says m says a 0 0"'
    calls = [row for row in journal.records if isinstance(row, sy.CallRecord)]
    assert [call.span.parent for call in calls] == [shown["step", "first"].id, shown["step", "second"].id]
    assert all(call.key.scope == "r" and call.span.key == call.key.digest and not call.span.hit for call in calls)


async def test_a_hit_is_a_row_with_its_usage_and_both_costs() -> None:
    journal = sy.MemoryJournal()
    model = sy.Journaled(Counting(usage=sy.Usage(10, 2, 3, 5)), price=sy.Price(1.0, 2.0, 0.5, 4.0))
    for _ in range(2):
        await sy.run(model.complete, ask("q"), journal=journal, policy="cache")
    made, hit = (
        row.span if isinstance(row, sy.CallRecord) else row
        for row in journal.records
        if not isinstance(row, sy.RunRecord)
    )
    assert isinstance(made, sy.Span)
    assert isinstance(hit, sy.Span)
    cost = (10 * 1.0 + 5 * 2.0 + 2 * 0.5 + 3 * 4.0) / 1e6
    assert (made.hit, made.cost_usd, made.billed_usd) == (False, cost, cost)
    assert (hit.hit, hit.cost_usd, hit.billed_usd) == (True, cost, 0.0)
    assert (hit.tokens_in, hit.tokens_cached, hit.tokens_out) == (15, 2, 5)


async def test_a_failed_call_is_a_row_with_its_error() -> None:
    journal = sy.MemoryJournal()
    with pytest.raises(sy.ProviderError, match="down"):
        await sy.run(using(Counting(fails=[sy.ProviderError("down")])), "a", journal=journal)
    errors = [row.error for row in journal.records if isinstance(row, sy.Span)]
    assert errors == ["ProviderError: down"] * 3


async def test_a_span_of_ones_own_is_a_row_too() -> None:
    journal = sy.MemoryJournal()

    async def work() -> None:
        assert sy.current_span() is None
        with sy.span("part", inputs={"a": 1}) as opened:
            assert sy.current_span() is opened.row
            opened.output = [1]

    await sy.run(work, journal=journal, run_id="r")
    [row] = [row for row in journal.records if isinstance(row, sy.Span)]
    assert (row.name, row.kind, row.inputs, row.output, row.run, row.parent) == (
        "part",
        "span",
        '{"a":1}',
        "[1]",
        "r",
        "",
    )
    assert row.end >= row.start


async def test_a_span_outside_of_a_run_is_a_run_of_its_own() -> None:
    assert sy.current_run() is None
    with sy.span("alone"):
        inside = sy.current_run()
        assert inside is not None
    assert sy.current_run() is None


async def test_rows_call_a_program_by_its_function_name() -> None:
    journal = sy.MemoryJournal()

    class Callable:
        async def __call__(self) -> None: ...

    async def plain() -> None: ...

    for program, name in ((Callable(), "Callable"), (plain, plain.__qualname__)):
        await sy.run(program, journal=journal, run_id=name)
        kept = journal.run(name)
        assert kept is not None
        assert kept.program == name


async def test_a_journal_that_has_failed_fails_the_run(journal: sy.SQLiteJournal) -> None:
    journal.close()
    with pytest.raises(sy.JournalError, match="closed"):
        await sy.run(using(Counting()), "a", journal=journal)


async def test_runs_in_threads_keep_to_themselves() -> None:
    found: dict[str, set[str]] = {}

    def one(name: str) -> None:
        async def work() -> None:
            for _ in range(20):
                run = sy.current_run()
                assert run is not None
                found.setdefault(name, set()).add(run.id)
                await asyncio.sleep(0)

        asyncio.run(sy.run(work, run_id=name, policy="off"))

    threads = [threading.Thread(target=one, args=(f"run {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {f"run {n}": {f"run {n}"} for n in range(4)}


async def test_arguments_are_kept_once_and_as_json() -> None:
    journal = sy.MemoryJournal()
    async with running("named", {"a": (1, 2)}, run_id="r", journal=journal) as opened:
        opened.result = {"b": 3}
    kept = journal.run("r")
    assert kept is not None
    assert (kept.arguments, kept.result) == ('{"a":[1,2]}', '{"b":3}')


def size(journal: sy.SQLiteJournal) -> int:
    """Rows of all tables."""
    journal.flush()
    connection = apsw.Connection(str(journal.path))
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    total = sum(int(connection.execute(f"SELECT count(*) FROM {name}").get) for name in tables)  # noqa: S608 - its own names
    connection.close()
    return total
