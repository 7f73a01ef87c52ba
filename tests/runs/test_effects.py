"""Acts on the world: once over the lives of a run, or in doubt and settled by a person."""

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import synthon as sy
from synthon.journal import Row
from synthon.runs import answer, doubts, effect, resume, settle


class World:
    """A receiver that counts what reaches it; one that is cut dies after it acted, before it can say so."""

    def __init__(self) -> None:
        self.acts: list[str] = []
        self.cut = False

    async def act(self, key: str) -> str:
        self.acts.append(key)
        if self.cut:
            raise KeyboardInterrupt  # as near to a kill as one process comes: nothing after it runs
        return json.dumps(f"done {len(self.acts)}")


def letter(world: World, *, honours_key: bool) -> sy.Program[[], list[str]]:
    @sy.program
    async def letters() -> list[str]:
        return [await effect("send", {"to": "Ann"}, world.act, honours_key=honours_key) for _ in range(2)]

    return letters


async def test_an_act_is_started_on_disk_then_done_and_not_done_again() -> None:
    world, journal = World(), sy.MemoryJournal()
    program = letter(world, honours_key=False)
    first = await sy.run(program, run_id="r", journal=journal)
    again = await sy.run(program, run_id="r", journal=journal)
    assert first == again == ['"done 1"', '"done 2"']
    assert len(set(world.acts)) == 2
    names = [row.name for row in journal.records if isinstance(row, sy.Span) and "send" in row.name]
    spans = [row.span.name for row in journal.records if isinstance(row, sy.CallRecord)]
    assert spans == ["send: started", "send", "send: started", "send"]
    assert names == ["send", "send"]  # the second life's hits
    kept = journal.run("r")
    assert kept is not None
    assert kept.diverged == ""


async def test_other_runs_act_for_themselves_under_every_policy() -> None:
    world, journal = World(), sy.MemoryJournal()
    program = letter(world, honours_key=True)
    for run_id in ("a", "b"):
        for _ in range(2):
            await sy.run(program, run_id=run_id, journal=journal, policy="cache")
    assert len(world.acts) == len(set(world.acts)) == 4


async def test_a_receiver_that_honours_the_key_is_sent_the_same_one_again() -> None:
    world, journal = World(), sy.MemoryJournal()
    program = letter(world, honours_key=True)
    world.cut = True
    with pytest.raises(KeyboardInterrupt):
        await sy.run(program, run_id="r", journal=journal)
    world.cut = False
    await sy.run(program, run_id="r", journal=journal)
    assert len(world.acts) == 3
    assert world.acts[0] == world.acts[1] != world.acts[2]


async def killed(world: World, journal: sy.MemoryJournal) -> sy.Program[[], list[str]]:
    program = letter(world, honours_key=False)
    world.cut = True
    with pytest.raises(KeyboardInterrupt):
        await sy.run(program, run_id="r", journal=journal)
    world.cut = False
    with pytest.raises(sy.Uncertain, match="nobody knows whether it did: its receiver honours no idempotency key"):
        await sy.run(program, run_id="r", journal=journal)
    kept = journal.run("r")
    assert kept is not None
    assert (kept.status, len(world.acts)) == ("suspended", 1)
    return program


async def test_a_doubt_stops_the_run_until_it_is_settled_as_done() -> None:
    world, journal = World(), sy.MemoryJournal()
    program = await killed(world, journal)
    (doubt,) = doubts(journal, "r")
    assert (doubt.name, json.loads(doubt.arguments)) == ("send", {"to": "Ann"})
    await settle(journal, "r", doubt.key, '"it was sent"')
    assert doubts(journal, "r") == []
    assert await sy.run(program, run_id="r", journal=journal) == ['"it was sent"', '"done 2"']


async def test_an_act_that_was_not_done_is_done_after_it_is_settled_and_may_be_in_doubt_again() -> None:
    world, journal = World(), sy.MemoryJournal()
    program = await killed(world, journal)
    for attempt in range(2):
        (doubt,) = doubts(journal, "r")
        assert doubt.attempt == attempt
        await settle(journal, "r", doubt.key, None)
        assert doubts(journal, "r") == []
        if attempt == 0:
            world.cut = True
            with pytest.raises(KeyboardInterrupt):
                await sy.run(program, run_id="r", journal=journal)
            world.cut = False
    assert await sy.run(program, run_id="r", journal=journal) == ['"done 3"', '"done 4"']
    kept = journal.run("r")
    assert kept is not None
    assert kept.diverged == ""


async def test_settling_what_is_not_in_doubt_is_refused() -> None:
    with pytest.raises(sy.UserError, match="no act in doubt under the key 'k'"):
        await settle(sy.MemoryJournal(), "r", "k", None)


async def test_a_replay_never_acts() -> None:
    world, journal = World(), sy.MemoryJournal()
    with pytest.raises(sy.JournalError, match="replay_only found no row"):
        await sy.run(letter(world, honours_key=True), run_id="r", journal=journal, policy="replay_only")
    assert world.acts == []


async def test_reading_only_serves_acts_that_are_done_and_does_the_others_without_a_row() -> None:
    world, journal = World(), sy.MemoryJournal()
    first = await sy.run(letter(world, honours_key=False), run_id="r", journal=journal)
    rows = len(journal.records)
    assert await sy.run(letter(world, honours_key=False), run_id="r", journal=journal, policy="read_only") == first
    assert len(world.acts) == 2
    await sy.run(letter(world, honours_key=False), run_id="other", journal=journal, policy="read_only")
    assert len(world.acts) == 4
    assert len(journal.records) == rows


@pytest.mark.parametrize("policy", ["off", "read_only"])
async def test_where_nothing_is_kept_each_act_has_a_key_of_its_own(policy: sy.Policy) -> None:
    world = World()
    await sy.run(letter(world, honours_key=True), journal=sy.MemoryJournal(), policy=policy)
    assert len(set(world.acts)) == 2


class Meeting(sy.MemoryJournal):
    """Lets two threads that both found no mark of the other write theirs together."""

    def __init__(self) -> None:
        super().__init__()
        self.door = threading.Barrier(2, timeout=60)

    def write(self, record: Row) -> None:
        if isinstance(record, sy.CallRecord) and record.span.name.endswith(": started"):
            self.door.wait()
        super().write(record)


@pytest.mark.parametrize(("honours_key", "acts", "uncertain"), [(False, 1, 1), (True, 2, 0)])
def test_of_two_lives_at_once_one_acts_unless_the_receiver_honours_the_key(
    *, honours_key: bool, acts: int, uncertain: int
) -> None:
    world, journal = World(), Meeting()
    said: list[str] = []

    @sy.program
    async def pays() -> str:
        return await effect("pay", 7, world.act, honours_key=honours_key)

    def live() -> None:
        try:
            said.append(asyncio.run(sy.run(pays, run_id="r", journal=journal)))
        except sy.Uncertain:
            said.append("uncertain")

    threads = [threading.Thread(target=live) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(world.acts), len(set(world.acts)), said.count("uncertain")) == (acts, 1, uncertain)


TWO = """
import asyncio, sys, time
from pathlib import Path
import synthon as sy

me, other = sys.argv[1:]

class Meeting(sy.SQLiteJournal):
    # both have looked for the other's mark before either writes its own
    def write(self, record):
        if isinstance(record, sy.CallRecord) and record.span.name == "pay: started":
            Path(f"{me} is here").touch()
            while not Path(f"{other} is here").exists():
                time.sleep(0.005)
        super().write(record)

@sy.tool(effects={"write"})
async def pay(x: str) -> str:
    '''Pay.'''
    with open("paid", "a") as file:
        file.write(me)
    return "ok"

@sy.program
async def pays(x: str) -> str:
    return await pay(x)

with Meeting("journal.db") as journal:
    try:
        print(asyncio.run(sy.run(pays, "a", run_id="r", journal=journal)))
    except sy.Uncertain:
        print("uncertain")
"""


def test_of_two_processes_at_once_one_acts_and_the_other_is_told(tmp_path: Path) -> None:
    def start(me: str, other: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", TWO, me, other]
        return subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True)

    def said(process: subprocess.Popen[str]) -> str:
        return process.communicate(timeout=120)[0].strip()

    with start("a", "b") as one, start("b", "a") as two:
        both = [said(one), said(two)]
    assert sorted(both) == ["ok", "uncertain"]
    with start("c", "c") as later:
        assert said(later) == "ok"  # as the one that acted has it
    assert (tmp_path / "paid").read_text() == "ab"[both.index("ok")]


async def test_a_run_that_acted_is_not_taken_up_by_other_arguments_or_another_program() -> None:
    sent = list[str]()

    async def act(key: str) -> str:
        sent.append(key)
        return '"ok"'

    @sy.program
    async def pay(customer: str) -> str:
        return f"{customer}: {json.loads(await effect('pay', {'usd': 30}, act, honours_key=True))}"

    @sy.program
    async def refund(customer: str) -> str:
        return await pay(customer)

    @sy.program
    async def asked(customer: str) -> str:
        return f"{customer}: {await sy.ask_person('Pay?')}"

    journal = sy.MemoryJournal()
    assert await sy.run(pay, "Ann", run_id="r", journal=journal) == "Ann: ok"
    for _ in range(2):  # the refusal leaves the record as it is
        with pytest.raises(sy.UserError, match=r"Run 'r' is of 'pay' with .*Ann.* is given 'pay' with .*Bob"):
            await sy.run(pay, "Bob", run_id="r", journal=journal)
    with pytest.raises(sy.UserError, match=r"is given 'refund'"):
        await sy.run(refund, "Ann", run_id="r", journal=journal)
    assert await sy.run(pay, "Ann", run_id="r", journal=journal) == "Ann: ok"
    assert len(sent) == 1
    assert await sy.run(pay, "Bob", run_id="other", journal=journal) == "Bob: ok"
    assert len(sent) == 2
    with pytest.raises(sy.Suspended):
        await sy.run(asked, "Ann", run_id="q", journal=journal)
    await answer(journal, "q", "yes")
    with pytest.raises(sy.UserError, match=r"has acted or asked a person"):
        await sy.run(asked, "Bob", run_id="q", journal=journal)
    assert await sy.run(asked, "Ann", run_id="q", journal=journal) == "Ann: yes"
    assert await sy.run(asked, customer="Ann", run_id="q", journal=journal) == "Ann: yes"  # the same, written otherwise
    with pytest.raises(sy.UserError, match=r"has acted or asked a person"):
        await sy.run(asked, "Ann", "and more than it takes", run_id="q", journal=journal)


async def test_a_run_goes_on_though_its_arguments_were_read_as_their_types() -> None:
    @sy.program
    async def refund(amount: float, *, note: str = "none") -> str:
        return f"{amount} {note}: {await sy.ask_person('Refund?')}"

    journal = sy.MemoryJournal()
    with pytest.raises(sy.Suspended):
        await sy.run(refund, 20, run_id="r", journal=journal)
    await answer(journal, "r", "yes")
    assert await resume(journal, "r", program=refund) == "20.0 none: yes"
    assert await sy.run(refund, 20.0, note="none", run_id="r", journal=journal) == "20.0 none: yes"
    record = journal.run("r")
    assert record is not None
    assert record.status == "done"
