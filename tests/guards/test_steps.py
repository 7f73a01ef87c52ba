"""Guards on steps: eight actions, and the same result awaited, from ordinary code, and streamed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import BaseModel, Field

import synthon as sy
from synthon.guards import Fail, Pass, Rule, choices, guard, in_range, length

if TYPE_CHECKING:
    from collections.abc import Callable

Way = Literal["async", "sync", "stream"]
WAYS: tuple[Way, ...] = ("async", "sync", "stream")


class Card(BaseModel):
    title: str
    note: str | None = None
    tags: list[str] = Field(default_factory=list)


class Script:
    """A model that says its lines in order and keeps what it was asked."""

    def __init__(self, *lines: object) -> None:
        self.lines = [line if isinstance(line, str) else json.dumps(line) for line in lines]
        self.requests: list[sy.Request] = []

    def __call__(self, request: sy.Request) -> str:
        self.requests.append(request)
        return self.lines[len(self.requests) - 1]

    def said(self, call: int) -> str:
        """The last message of a call."""
        return str(self.requests[call].messages[-1].content)


FIRST = {"title": "hello world", "note": "ring twice", "tags": ["a", "bbbbbbb"]}


async def result(step: sy.Step[[str], Any], way: Way) -> object:
    """The step's result, or the error it raised, got in one of three ways."""
    try:
        if way == "sync":
            return await asyncio.to_thread(step.sync, "now")
        if way == "async":
            return await step("now")
        async with step.stream("now") as stream:
            async for _ in stream:
                pass
            return await stream.result()
    except sy.SynthonError as error:
        return type(error)


def made(model: Script, *guards: Rule) -> sy.Step[[str], Card]:
    @sy.step(model=sy.FunctionModel(model), guards=guards)
    async def card(when: str) -> Card:
        """Write a card."""
        ...

    return card


def card(**changes: object) -> Card:
    return Card.model_validate(FIRST | changes)


def five(value: str) -> Pass | Fail:
    return Pass() if len(value) <= 5 else Fail("too long", fix=value[:5])


def stubborn(value: str) -> Pass | Fail:
    return Pass() if len(value) <= 5 else Fail("too long", fix=value[:6])


async def backwards(value: object, fail: Fail) -> object:
    return f"{fail.message}: {str(value)[::-1]}"


ACTIONS: dict[str, tuple[Callable[[], Rule], object, int]] = {
    "reask": (lambda: guard(five, field="title"), card(title="hi"), 2),
    "reask nothing": (lambda: guard(in_range(high=0), field="price?"), card(), 1),
    "reask used up": (lambda: guard(choices("yes"), field="title"), sy.CheckFailed, 2),
    "reask never": (lambda: guard(five, field="title", retries=0), sy.CheckFailed, 1),
    "fix": (lambda: guard(five, field="title", then="fix"), card(title="hello"), 1),
    "fix each": (lambda: guard(five, field="tags.*", then="fix"), card(tags=["a", "bbbbb"]), 1),
    "fix that does not fit": (
        lambda: guard(lambda _: Fail("no", fix=5), field="title", then="fix", name="wrong"),
        sy.OutputError,
        1,
    ),
    "filter an element": (lambda: guard(five, field="tags.*", then="filter"), card(tags=["a"]), 1),
    "filter an optional field": (lambda: guard(five, field="note", then="filter"), card(note=None), 1),
    "filter a required field": (lambda: guard(five, field="title", then="filter"), sy.GuardBlocked, 1),
    "refrain": (lambda: guard(five, field="title", then="refrain"), sy.GuardBlocked, 1),
    "refrain instead": (
        lambda: guard(five, field="title", then="refrain", instead=Card(title="none")),
        Card(title="none"),
        1,
    ),
    "noop": (lambda: guard(five, field="title", then="noop"), card(), 1),
    "raise": (lambda: guard(five, field="title", then="raise"), sy.CheckFailed, 1),
    "fix_reask fixed": (lambda: guard(five, field="title", then="fix_reask"), card(title="hello"), 1),
    "fix_reask asked": (lambda: guard(stubborn, field="title", then="fix_reask"), card(title="hi"), 2),
    "custom": (lambda: guard(five, field="title", then=backwards), card(title="too long: dlrow olleh"), 1),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("action", ACTIONS)
async def test_each_action_gives_the_same_awaited_sync_and_streamed(action: str, way: Way) -> None:
    rule, expected, calls = ACTIONS[action]
    model = Script(FIRST, {"title": "hi"}, {"title": "late"})
    assert await result(made(model, rule()), way) == expected
    assert len(model.requests) == calls


@pytest.mark.parametrize("way", WAYS)
async def test_asking_again_converges_and_sends_the_failed_field_alone(way: Way) -> None:
    model = Script(FIRST, {"title": "still too long"}, {"title": "hi"})
    step = made(model, guard(five, field="title", retries=2))
    assert await result(step, way) == card(title="hi")
    assert len(model.requests) == 3
    for call in (1, 2):
        assert "too long" in model.said(call)
        assert '"title"' in model.said(call)
        assert '"tags"' not in model.said(call)
    old = [str(message.content) for message in model.requests[1].messages if message.role == "assistant"]
    assert "hello world" in old[-1]


@pytest.mark.parametrize("way", WAYS)
async def test_what_was_right_stands_whatever_the_second_answer_says_of_it(way: Way) -> None:
    model = Script(FIRST, {"title": "hi", "note": "another", "tags": []})
    assert await result(made(model, guard(five, field="title")), way) == card(title="hi")


@pytest.mark.parametrize("way", WAYS)
async def test_several_guards_ask_in_one_request_and_each_sees_what_the_one_before_left(way: Way) -> None:
    seen: list[object] = []

    def look(value: object) -> Pass:
        seen.append(value)
        return Pass()

    guards = [
        guard(five, field="tags.*", then="fix"),
        guard(look, field="tags.1"),
        guard(five, field="title"),
        guard(choices("ring once"), field="note"),
    ]
    model = Script(FIRST, {"title": "hi", "note": "ring once"})
    assert await result(made(model, *guards), way) == card(title="hi", note="ring once", tags=["a", "bbbbb"])
    assert len(model.requests) == 2
    assert seen[0] == "bbbbb"
    assert "too long" in model.said(1)
    assert "it must be one of 'ring once'" in model.said(1)


@pytest.mark.parametrize("way", WAYS)
async def test_a_text_is_guarded_as_a_whole(way: Way) -> None:
    model = Script("hello world", "hi")

    @sy.step(model=sy.FunctionModel(model), guards=[guard(length(at_most=5))])
    async def greet(when: str) -> str:
        """Greet."""
        ...

    assert await result(greet, way) == "hi"
    assert "It has 11 characters; it must have at most 5." in model.said(1)


async def test_what_is_streamed_in_the_end_is_never_what_a_guard_took_back() -> None:
    model = Script("hello world", "hi")

    @sy.step(model=sy.FunctionModel(model), guards=[guard(length(at_most=5))])
    async def greet(when: str) -> str:
        """Greet."""
        ...

    text = ""
    async with greet.stream("now") as stream:
        async for delta in stream:
            text = "" if delta.reset else text + delta.text
        assert (text, await stream.result()) == ("hi", "hi")


async def test_a_validator_takes_inputs_of_the_step() -> None:
    def repeats(value: str, when: str) -> Pass | Fail:
        return Pass() if when in value else Fail(f"say {when!r}")

    model = Script("hello", "hello now")

    @sy.step(model=sy.FunctionModel(model), guards=[guard(repeats)])
    async def greet(when: str) -> str:
        """Greet."""
        ...

    assert await greet("now") == "hello now"
    assert "say 'now'" in model.said(1)


async def test_guards_of_one_field_keep_their_own_retries() -> None:
    model = Script("aaaaaa", "bbbbbb", "cc")
    patient, hasty = guard(five, retries=2), guard(choices("aaaaaa", "bbbbbb", "dd"), retries=0)

    @sy.step(model=sy.FunctionModel(model), guards=[patient, hasty])
    async def say(when: str) -> str:
        """Say something."""
        ...

    with pytest.raises(sy.CheckFailed, match="choices") as caught:
        await say("now")
    assert (caught.value.output, len(model.requests)) == ("cc", 3)


async def test_every_round_and_finding_is_in_the_trace() -> None:
    journal = sy.MemoryJournal()
    model = Script(FIRST, {"title": "still too long"}, {"title": "hi"})
    step = made(model, guard(five, field="title", retries=2, name="short"))
    await sy.run(step, "now", journal=journal)
    rows = [row for row in journal.records if isinstance(row, sy.Span) and row.name == "short"]
    kept = [(json.loads(row.inputs)["failed"], row.output) for row in rows if '"failed"' in row.inputs]
    assert len(kept) == 2  # what was refused, with what mended it
    assert all("hi" in corrected and "too long" not in corrected for _, corrected in kept)
    rounds = [row for row in rows if '"failed"' not in row.inputs]
    found = [json.loads(row.attributes)["findings"][0]["value"] if row.attributes else None for row in rounds]
    assert found == ["hello world", "still too long", None]
    (step_row,) = [row for row in journal.records if isinstance(row, sy.Span) and row.kind == "step"]
    assert {row.parent for row in rounds} == {step_row.id}


class Line(BaseModel):
    name: str
    amount: int


class Bill(BaseModel):
    lines: list[Line]


@pytest.mark.parametrize("way", WAYS)
async def test_fields_of_list_elements_are_asked_for_and_merged_by_place(way: Way) -> None:
    lines = [{"name": "pear", "amount": 1}, {"name": "pineapple", "amount": 2}, {"name": "fig", "amount": 3}]
    model = Script({"lines": lines}, {"lines.1.name": "kiwi"})

    @sy.step(model=sy.FunctionModel(model), guards=[guard(five, field="lines.*.name")])
    async def bill(when: str) -> Bill:
        """Write a bill."""
        ...

    lines[1]["name"] = "kiwi"
    assert await result(bill, way) == Bill.model_validate({"lines": lines})
    assert len(model.requests) == 2


async def test_an_element_that_leaves_does_not_move_the_fields_that_are_asked_for() -> None:
    lines = [{"name": "pear", "amount": 9}, {"name": "pineapple", "amount": 2}, {"name": "fig", "amount": 3}]
    model = Script({"lines": lines}, {"lines.1.name": "kiwi"})

    def little(line: Line) -> Pass | Fail:
        return Pass() if line.amount < 5 else Fail("too much")

    guards = [guard(five, field="lines.*.name"), guard(little, field="lines.*", then="filter")]

    @sy.step(model=sy.FunctionModel(model), guards=guards)
    async def bill(when: str) -> Bill:
        """Write a bill."""
        ...

    assert await bill("now") == Bill(lines=[Line(name="kiwi", amount=2), Line(name="fig", amount=3)])
    assert '"lines.1.name"' in model.said(1)


async def test_the_whole_is_constrained_again_after_a_field_was() -> None:
    model = Script({"name": "pineapple", "amount": 1}, {"name": "kiwi"}, {"name": "kiwi", "amount": 2})
    able = sy.FunctionModel(model, capabilities=frozenset({"chat", "schema"}))

    @sy.step(model=able, guards=[guard(five, field="name")])
    async def line(when: str) -> Line:
        """Write a line."""
        ...

    @line.check
    def two(output: Line) -> str | None:
        return None if output.amount == 2 else "the amount must be 2"

    assert await line("now") == Line(name="kiwi", amount=2)
    first, field, again = [request.constraint for request in model.requests]
    assert first == again != field


@pytest.mark.parametrize("way", WAYS)
async def test_a_list_is_guarded_element_by_element(way: Way) -> None:
    model = Script({"value": [{"name": "pineapple", "amount": 1}]}, {"0.name": "kiwi"})

    @sy.step(model=sy.FunctionModel(model), guards=[guard(five, field="*.name")])
    async def lines(when: str) -> list[Line]:
        """Write lines."""
        ...

    assert await result(lines, way) == [Line(name="kiwi", amount=1)]


async def test_the_last_partial_of_a_stream_is_the_result() -> None:
    model = Script(FIRST, {"title": "hi"})
    step = made(model, guard(five, field="tags.*", then="fix"), guard(five, field="title"))
    async with step.stream("now") as stream:
        values = [partial.value async for partial in stream.partials()]
        assert values[-1] == await stream.result() == card(title="hi", tags=["a", "bbbbb"])
