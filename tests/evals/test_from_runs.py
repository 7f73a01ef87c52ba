"""Cases from a journal's runs."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from pydantic import BaseModel
from typing_extensions import TypedDict, Unpack

import synthon as sy


class Topic(BaseModel):
    name: str


class Reply(BaseModel):
    text: str


@sy.program
async def reply(topic: Topic, tone: str = "kind", *, k: int = sy.knob(2, 4)) -> Reply:
    if topic.name == "boom":
        raise sy.ProviderError("out of order")
    return Reply(text=f"{tone} words on {topic.name}")


@sy.program
async def other(topic: Topic) -> str:
    return topic.name


def is_short(case: sy.Case[None], output: Reply) -> tuple[float, str]:
    return float(len(output.text) < 20), "be brief"


async def _fill(path: Path) -> None:
    with sy.SQLiteJournal(path) as journal:
        for name in ("cats", "dogs", "cats"):
            await sy.run(reply, Topic(name=name), journal=journal)
        await sy.run(other, Topic(name="cats"), journal=journal)
        with pytest.raises(sy.ProviderError, match="out of order"):
            await sy.run(reply, Topic(name="boom"), journal=journal)
        cases = [sy.Case({"topic": Topic(name=name)}, None) for name in ("elephants", "fish")]
        await sy.evaluate(reply, cases, is_short, journal=journal)


async def test_runs_that_ended_well_become_cases_each_once(tmp_path: Path) -> None:
    await _fill(tmp_path / "j.db")
    found = sy.cases_from_runs(tmp_path / "j.db", reply)
    assert {case.expected.text for case in found} == {
        f"kind words on {name}" for name in ("cats", "dogs", "elephants", "fish")
    }
    assert all(set(case.inputs) == {"topic"} and isinstance(case.inputs["topic"], Topic) for case in found)
    assert all(isinstance(case.metadata["run"], str) for case in found)
    again = await sy.evaluate(reply, found, sy.metrics.exact_match, journal=sy.MemoryJournal())
    assert again.mean.value == 1.0


async def test_only_the_well_scored_or_the_wanted_are_taken(tmp_path: Path) -> None:
    await _fill(tmp_path / "j.db")
    (best,) = sy.cases_from_runs(tmp_path / "j.db", reply, scored="is_short")
    assert best.expected.text == "kind words on fish"
    assert len(sy.cases_from_runs(tmp_path / "j.db", reply, where=lambda run: "/" not in run.id)) == 2
    with pytest.raises(sy.UserError, match=r"holds no well scored \(grace >= 1\) run of 'reply'"):
        sy.cases_from_runs(tmp_path / "j.db", reply, scored="grace")


async def test_a_run_that_fits_the_program_no_more_is_named(tmp_path: Path) -> None:
    @sy.program
    async def gone(topic: Topic) -> str:
        return topic.name

    now = gone
    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        await sy.run(now, Topic(name="x"), journal=journal, run_id="r1")

    @sy.program  # type: ignore[no-redef] # the program changes
    async def gone(topic: int) -> str:
        return str(topic)

    with pytest.raises(sy.UserError, match="Run 'r1' does not fit 'gone' any more"):
        sy.cases_from_runs(tmp_path / "j.db", gone)


async def test_a_parameter_may_be_called_args(tmp_path: Path) -> None:
    @sy.program
    async def joined(sep: str, args: list[str]) -> str:
        return sep.join(args)

    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        await sy.run(joined, "+", args=["a", "b"], journal=journal)
    (case,) = sy.cases_from_runs(tmp_path / "j.db", joined)
    assert (case.inputs, case.expected) == ({"sep": "+", "args": ["a", "b"]}, "a+b")


class Marks(TypedDict, total=False):
    weight: float
    seal: bytes


@sy.program
async def marked(text: str, /, *rest: Topic, tone: str = "kind", **more: Topic) -> str:
    return f"{tone} {text} {[each.name for each in (*rest, *more.values())]}"


@sy.program
async def sealed(text: str, **more: Unpack[Marks]) -> str:
    return f"{text} {sorted(more)}"


async def test_arguments_without_a_parameter_of_their_own_are_inputs_by_name(tmp_path: Path) -> None:
    one, two = Topic(name="1"), Topic(name="2")
    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        await sy.run(marked, "a", x=one, more=two, journal=journal)
        await sy.run(marked, "a", more=two, x=one, tone="kind", journal=journal)
        await sy.run(marked, "a", one, two, y=two, journal=journal)
        await sy.run(marked, "a", journal=journal)
        await sy.run(sealed, "a", weight=1, seal=b"x", journal=journal)
        await sy.run(sealed, "a", journal=journal)
    found = [dict(case.inputs) for case in sy.cases_from_runs(tmp_path / "j.db", marked)]
    passed_on = {"text": "a", "tone": "kind", "more": two, "x": one}
    assert found == [{"text": "a"}, {"text": "a", "rest": [one, two], "y": two}, passed_on]
    cases = sy.cases_from_runs(tmp_path / "j.db", sealed)
    assert [dict(case.inputs) for case in cases] == [{"text": "a"}, {"text": "a", "weight": 1.0, "seal": b"x"}]
    again = await sy.evaluate(sealed, cases, sy.metrics.exact_match, journal=sy.MemoryJournal())
    assert again.mean.value == 1.0


async def test_one_name_for_two_arguments_is_told(tmp_path: Path) -> None:
    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        await sy.run(marked, "a", text=Topic(name="b"), journal=journal, run_id="r1")
    with pytest.raises(sy.UserError, match=r"Run 'r1' .* 'text' was given by its place and by its name\. Leave it out"):
        sy.cases_from_runs(tmp_path / "j.db", marked)


async def test_bytes_that_are_no_text_become_inputs_again(tmp_path: Path) -> None:
    @sy.program
    async def measured(picture: bytes) -> int:
        return len(picture)

    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        await sy.run(measured, b"\xff\xd8", journal=journal)
    (case,) = sy.cases_from_runs(tmp_path / "j.db", measured)
    assert (case.inputs, case.expected) == ({"picture": b"\xff\xd8"}, 2)


async def test_the_same_inputs_are_one_case_however_they_were_passed(tmp_path: Path) -> None:
    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        await sy.run(reply, Topic(name="cats"), journal=journal)
        await sy.run(reply, topic=Topic(name="cats"), journal=journal)
        await sy.run(reply, Topic(name="cats"), "kind", journal=journal)
        await sy.run(reply.using(k=4), tone="kind", topic=Topic(name="cats"), journal=journal, run_id="last")
        await sy.run(reply, Topic(name="cats"), "curt", journal=journal)
    curt, kind = sy.cases_from_runs(tmp_path / "j.db", reply)
    assert (curt.inputs["tone"], curt.expected.text) == ("curt", "curt words on cats")
    assert kind.metadata == {"run": "last"}


async def test_defaults_are_compared_as_their_types(tmp_path: Path) -> None:
    @sy.program
    async def scaled(by: float = 3, unit: str = cast("str", None)) -> float:
        return by

    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        await sy.run(scaled, journal=journal)
        await sy.run(scaled, 3, journal=journal)
        await sy.run(scaled, unit="m", journal=journal)
    assert [case.inputs for case in sy.cases_from_runs(tmp_path / "j.db", scaled)] == [{"unit": "m"}, {"by": 3.0}]
