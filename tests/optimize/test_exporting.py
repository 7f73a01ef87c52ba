"""What a program should answer becomes chats that trainers read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest
from pydantic import BaseModel

import synthon as sy
from synthon.evals import Case
from synthon.optimize import Exported, export
from tests.optimize.programs import System, right, rows


class Slip(BaseModel):
    total: int
    currency: str


def chats(found: Exported, name: str) -> list[list[dict[str, str]]]:
    lines = found.files[name].read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["messages"] for line in lines]


def same(case: Case[object], output: object) -> float:
    return float(case.expected == output)


@sy.step
async def mood(text: str) -> Literal["good", "bad"]:
    """Say how the writer feels."""
    ...


async def test_rows_of_a_program_of_one_step_are_its_examples_and_nobody_is_asked(tmp_path: Path) -> None:
    train = [Case({"text": text}, answer) for text, answer in [("Jé!", "good"), ("Boo!", "bad"), ("Jé!", "good")]]
    found = await export(mood, train, tmp_path / "deep" / "chats", metric=same)
    system = "Say how the writer feels.\n\nAnswer with exactly one of: good, bad."
    assert chats(found, "mood") == [
        [
            {"role": "system", "content": system},
            {"role": "user", "content": text},
            {"role": "assistant", "content": answer},
        ]
        for text, answer in [("Jé!", "good"), ("Boo!", "bad")]
    ]
    assert "Jé!" in found.files["mood"].read_text(encoding="utf-8")
    assert str(found) == "2 of 'mood'; from 3 of 3 rows; 1 repeated, 0 unfit left out"


async def test_of_a_run_only_what_the_metric_accepts_is_kept(tmp_path: Path) -> None:
    system, train = System(), rows(30)
    found = await export(system.program, train, tmp_path, metric=right, journal=sy.MemoryJournal())
    kept = chats(found, "label")
    assert 0 < found.accepted < 30
    assert len(kept) + found.repeated >= found.accepted
    expected = {f"text: {case.inputs['text']}!\n\nhint:": case.expected for case in train}
    for _, question, answer in kept:
        assert expected[question["content"].rpartition(" ")[0]] == answer["content"]
    assert set(found.examples) == {"label", "tidy"}


async def test_messages_are_those_that_the_step_sends_whoever_answered(tmp_path: Path) -> None:
    system = System()
    shown = {"label.demos": (sy.Demo({"text": "b", "hint": "b"}, "no"),), "label.instruction": "Is there an a?"}
    student = system.program.using(shown)
    teacher = system.program.using({"label.model": system.large.model(30)})
    found = await export(student, rows(10), tmp_path, metric=right, teacher=teacher, journal=sy.MemoryJournal())
    assert all("Say yes if it has an a, else no." in each.messages[0].text for each in system.large.asked)
    assert found.accepted > 6
    for turns in chats(found, "label"):
        assert turns[0]["content"] == "Is there an a?"
        assert [turn["content"] for turn in turns[1:3]] == ["text: b\n\nhint: b", "no"]


async def test_a_value_is_written_as_the_steps_layout_has_it(tmp_path: Path) -> None:
    @sy.step(layout="pretty")
    async def read(text: str) -> Slip:
        """Read the slip."""
        ...

    found = await export(read, [Case({"text": "7 EUR"}, Slip(total=7, currency="EUR"))], tmp_path, metric=same)
    assert chats(found, "read")[0][-1]["content"] == '{"total": 7, "currency": "EUR"}'


async def test_a_conversation_is_exported_turn_by_turn(tmp_path: Path) -> None:
    @sy.step
    async def reply(talk: list[sy.Message]) -> str:
        """Reply."""
        ...

    def answer(request: sy.Request) -> sy.Completion:
        return sy.Completion(f"{len(request.messages)} turns")

    program = reply.using(model=sy.Journaled(sy.FunctionModel(answer)))
    talk = [sy.Message("user", "Hi."), sy.Message("assistant", "Hello."), sy.Message("user", "Bye.")]
    train = [Case({"talk": talk}, "4 turns")]
    found = await export(program, train, tmp_path, metric=same, teacher=program, journal=sy.MemoryJournal())
    assert [(turn["role"], turn["content"]) for turn in chats(found, "reply")[0]] == [
        ("system", "Reply."), ("user", "Hi."), ("assistant", "Hello."), ("user", "Bye."), ("assistant", "4 turns"),
    ]  # fmt: skip


async def test_what_a_strategy_asks_on_the_way_is_left_out_and_counted(tmp_path: Path) -> None:
    def answer(request: sy.Request) -> sy.Completion:
        return sy.Completion("Well, well." if "step by step" in request.messages[-1].text else "good")

    program = mood.using(model=sy.Journaled(sy.FunctionModel(answer)), strategy=sy.chain_of_thought)
    train = [Case({"text": "Yes!"}, "good")]
    found = await export(program, train, tmp_path, metric=same, teacher=program, journal=sy.MemoryJournal())
    assert (found.examples, found.unfit) == ({"mood": 1}, 1)
    assert [turn["content"] for turn in chats(found, "mood")[0][1:]] == ["Yes!", "good"]


async def test_without_an_accepted_row_there_is_nothing_to_export(tmp_path: Path) -> None:
    program = mood.using(model=sy.Journaled(sy.FunctionModel(lambda _: sy.Completion("bad"))))
    train = [Case({"text": "Yes!"}, "good")]
    with pytest.raises(sy.UserError, match=r"No row of 1 gave an example of 'mood'.*accepted 0 with accept=1\.0"):
        await export(program, train, tmp_path, metric=same, teacher=program, journal=sy.MemoryJournal())
    assert not (tmp_path / "mood.jsonl").exists()


async def test_a_step_that_sends_images_cannot_be_exported(tmp_path: Path) -> None:
    @sy.step
    async def look(picture: sy.Image) -> str:
        """Say what is on it."""
        ...

    with pytest.raises(sy.Unsupported, match="'look' sends Image, Text"):
        await export(look, [Case({"picture": sy.Image(data="eA==")}, "a cat")], tmp_path, metric=same)
