"""Conversations that outlive a run."""

import asyncio
import hashlib
import json
import time
from pathlib import Path

import pytest

import synthon as sy


@sy.step
async def reply(history: list[sy.Message], question: str) -> str:
    """Answer."""
    ...


@sy.program
async def chat(name: str, question: str) -> str:
    talk = sy.Thread(name)
    said = await reply(await talk.messages(), question)
    await talk.add(sy.Message("user", question), sy.Message("assistant", said))
    return said


async def test_a_conversation_goes_on_over_runs_and_processes(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def say(request: sy.Request) -> str:
        seen.append([message.text for message in request.messages[1:]])
        return f"answer {len(seen)}"

    program = chat.using(model=sy.Journaled(sy.FunctionModel(say)))
    for question in ("one?", "two?"):
        with sy.SQLiteJournal(tmp_path / "journal.db") as journal:
            await sy.run(program, "alice", question, journal=journal, policy="cache")
    assert seen == [["one?"], ["one?", "answer 1", "two?"]]
    with sy.SQLiteJournal(tmp_path / "journal.db") as journal:
        assert len(await sy.Thread("alice", journal).messages()) == 4
        assert await sy.Thread("bob", journal).messages() == []


async def test_a_resumed_run_reads_and_adds_its_turns_once() -> None:
    journal = sy.MemoryJournal()
    program = chat.using(model=sy.Journaled(sy.FunctionModel(lambda request: str(len(request.messages)))))
    for _ in range(3):
        assert await sy.run(program, "alice", "q", run_id="r", journal=journal) == "2"
    assert len(await sy.Thread("alice", journal).messages()) == 2


async def test_a_run_that_is_killed_while_it_adds_adds_each_turn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    @sy.program
    async def note() -> None:
        for _ in range(2):
            await sy.Thread("alice").add(sy.Message("user", "one"), sy.Message("user", "two"))

    journal = sy.MemoryJournal()

    async def killed() -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(journal, "durable", killed)
        with pytest.raises(KeyboardInterrupt):
            await sy.run(note, run_id="r", journal=journal)
    await sy.run(note, run_id="r", journal=journal)
    assert [turn.text for turn in await sy.Thread("alice", journal).messages()] == ["one", "two"] * 2


async def test_pruning_leaves_conversations_whole(tmp_path: Path) -> None:
    with sy.SQLiteJournal(tmp_path / "journal.db") as journal:
        talk = sy.Thread("alice", journal)
        await talk.add(sy.Message("user", "Hello?"))
        journal.prune(time.time() + 1)
        await talk.add(sy.Message("assistant", "Hello."))
        assert [turn.text for turn in await talk.messages()] == ["Hello?", "Hello."]


async def test_turns_keep_their_parts() -> None:
    thread = sy.Thread("alice", sy.MemoryJournal())
    parts = (sy.Text("a", cache=True), sy.Image("aGk="), sy.ToolCall("1", "look", "{}"))
    turns = [
        sy.Message("user", parts),
        sy.Message("tool", (sy.ToolResult("1", (sy.Text("b"),), is_error=True),)),
        sy.Message("assistant", "c"),
    ]
    await thread.add(*turns)
    assert await thread.messages() == turns


async def test_half_a_character_in_a_turn_leaves_the_conversation_readable(tmp_path: Path) -> None:
    turns = [sy.Message("user", "half \ud83d"), sy.Message("assistant", (sy.Text("\udd25"), sy.Image("aGk=")))]
    for journal in (sy.MemoryJournal(), sy.SQLiteJournal(tmp_path / "journal.db")):
        thread = sy.Thread("alice", journal)
        await thread.add(*turns)
        await thread.add(sy.Message("user", "next"))
        assert await thread.messages() == [*turns, sy.Message("user", "next")]


@pytest.mark.parametrize("turn", ["hello", sy.Message("user", (sy.Image(b"\xff\x89"),))])  # type: ignore[arg-type]
async def test_a_turn_that_could_not_be_read_back_is_refused(turn: sy.Message) -> None:
    thread = sy.Thread("alice", sy.MemoryJournal())
    with pytest.raises(sy.UserError, match=r"cannot be kept as JSON\. Give a Message of text"):
        await thread.add(turn)
    assert await thread.messages() == []


async def test_a_run_that_writes_nothing_adds_no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """They went to the journal under `read_only`, and to the user's own default one under `off`."""
    journal, default = sy.MemoryJournal(), sy.MemoryJournal()
    monkeypatch.setattr(sy.Defaults, "journal", staticmethod(lambda: default))
    program = chat.using(model=sy.Journaled(sy.FunctionModel(lambda _: "hello")))
    with pytest.raises(sy.UserError, match="takes no turns in a run under 'read_only'"):
        await sy.run(program, "alice", "q", journal=journal, policy="read_only")
    with pytest.raises(sy.JournalError, match="run under another policy than 'off'"):
        await sy.run(program, "alice", "q", journal=journal, policy="off")
    assert not journal.records
    assert not default.records


async def test_two_who_add_at_once_both_find_a_place(tmp_path: Path) -> None:
    """The second journal stands for another process: its first choice of a place is taken meanwhile."""
    path = tmp_path / "journal.db"
    with sy.SQLiteJournal(path) as one, sy.SQLiteJournal(path) as two:
        for number in range(5):
            await sy.Thread("alice", one).add(sy.Message("user", f"one {number}"))
            await sy.Thread("alice", two).add(sy.Message("user", f"two {number}"))
        texts = [message.text for message in await sy.Thread("alice", one).messages()]
    assert texts == [f"{who} {number}" for number in range(5) for who in ("one", "two")]


async def test_what_is_added_at_once_stays_together() -> None:
    talk = sy.Thread("alice", sy.MemoryJournal())
    pairs = [(sy.Message("user", f"q{n}"), sy.Message("assistant", f"a{n}")) for n in range(6)]
    await asyncio.gather(*(talk.add(*pair) for pair in pairs))
    await talk.add()
    assert [turn.text for turn in await talk.messages()] == [turn.text for pair in pairs for turn in pair]


async def test_reading_a_conversation_does_not_write_it_down_again() -> None:
    journal = sy.MemoryJournal()
    talk = sy.Thread("alice", journal)
    await talk.add(sy.Message("user", "x" * 10_000))

    @sy.program
    async def read() -> int:
        return len((await sy.Thread("alice").messages())[0].text)

    for _ in range(2):
        assert await sy.run(read, run_id="r", journal=journal) == 10_000
        await talk.add(sy.Message("user", "more"))
    written = [row for row in journal.records if isinstance(row, sy.CallRecord)]
    assert max(len(row.completion) for row in written if not row.key.scope.startswith("thread:")) < 100


async def test_a_resumed_run_says_that_turns_it_has_read_are_gone() -> None:
    journal, kept = sy.MemoryJournal(), [sy.MemoryJournal(), sy.MemoryJournal()]
    await sy.Thread("alice", kept[0]).add(sy.Message("user", "Hello?"))

    @sy.program
    async def read() -> int:
        return len(await sy.Thread("alice", kept[0]).messages())

    assert await sy.run(read, run_id="r", journal=journal) == 1
    del kept[0]
    with pytest.raises(sy.JournalError, match="had 1 additions when this run read it, and now has 0"):
        await sy.run(read, run_id="r", journal=journal, policy="replay_only")


async def test_turns_of_an_older_version_are_still_read() -> None:
    journal = sy.MemoryJournal()
    talk = sy.Thread("alice", journal)
    for at, text in enumerate(["one", "two"]):
        key = sy.Key("thread:alice", hashlib.sha256(f"alice {at}".encode()).hexdigest())
        turn = json.dumps({"role": "user", "content": text, "by": f"a.{at}"})
        journal.write(sy.CallRecord(key, "{}", turn, sy.Span(f"s{at}", "thread:alice", "", "turn", "span", 0.0, 0.0)))
    await talk.add(sy.Message("user", "three"), sy.Message("user", "four"))
    assert [turn.text for turn in await talk.messages()] == ["one", "two", "three", "four"]


async def test_a_thread_without_a_journal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sy.Defaults, "journal", staticmethod(lambda: None))
    with pytest.raises(sy.JournalError, match="The thread 'alice' has no journal to lie in"):
        await sy.Thread("alice").messages()
