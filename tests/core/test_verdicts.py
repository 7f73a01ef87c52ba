"""What the kernel does with a guard's verdict: fixes, one further request for the failed fields, an end."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

import synthon as sy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Line(BaseModel):
    name: str
    price: float = 0.0


class Order(BaseModel):
    lines: list[Line]
    pair: tuple[int, str] = (0, "")
    notes: dict[str, str] = {}
    note: str | None = None
    best: Line | None = None


@dataclass(frozen=True)
class Held:
    """A guard by a function."""

    function: Callable[[Any], sy.Verdict]
    retries: int = 1
    name: str = "held"

    def fits(self, output: object) -> None:
        """Anything does."""

    async def judge(self, output: object, inputs: Mapping[str, object]) -> sy.Verdict:
        return self.function(output)


def model(*answers: object, seen: list[sy.Request]) -> sy.FunctionModel:
    left = [answer if isinstance(answer, str) else json.dumps(answer) for answer in answers]

    def answer(request: sy.Request) -> str:
        seen.append(request)
        return left.pop(0)

    return sy.FunctionModel(answer, capabilities=frozenset({"chat", "schema"}))


def named(path: tuple[str | int, ...], wrong: Callable[[Order], bool]) -> Held:
    def judge(order: Order) -> sy.Verdict:
        return sy.Verdict(order, (sy.Failure(path, "is wrong"),) if wrong(order) else ())

    return Held(judge)


ORDER: dict[str, Any] = {"lines": [{"name": "tea"}, {"name": ""}]}


def ordering(answers: Sequence[object], *guards: Held, seen: list[sy.Request], **options: Any) -> Any:
    @sy.step(model=model(*answers, seen=seen), guards=guards, **options)
    async def order(text: str) -> Order:
        """Read the order."""
        ...

    return order


async def test_only_the_failed_fields_are_asked_for_and_put_into_the_old_answer() -> None:
    seen: list[sy.Request] = []
    guard = named(("lines", 1, "name"), lambda order: not order.lines[1].name)
    order = await ordering([ORDER, {"lines.1.name": "milk"}], guard, seen=seen)("tea and milk")
    assert [line.name for line in order.lines] == ["tea", "milk"]
    assert "lines.1.name: is wrong" in seen[1].messages[-1].text
    constraint = seen[1].constraint
    assert isinstance(constraint, sy.Schema)
    assert json.loads(constraint.json)["required"] == ["lines.1.name"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("pair", 1), "x"),
        (("notes", "a"), "x"),
        (("note",), "x"),
        (("best", "name"), "x"),
        (("lines",), [{"name": "x"}]),
    ],
)
async def test_tuples_dicts_and_optional_fields_can_be_asked_again(path: tuple[str | int, ...], value: Any) -> None:
    seen: list[sy.Request] = []
    rounds = iter([True, False])
    guard = named(path, lambda order: next(rounds))
    answers = [ORDER | {"notes": {"a": "y"}, "best": {"name": "y"}}, {".".join(map(str, path)): value}]
    order = await ordering(answers, guard, seen=seen)("?")
    found: Any = order.model_dump()
    for key in path:
        found = found[key]
    assert found == value or found[0]["name"] == value[0]["name"]


async def test_a_flat_type_needs_no_definitions() -> None:
    seen: list[sy.Request] = []
    judged = Held(lambda line: sy.Verdict(line, () if line.name else (sy.Failure(("name",), "is empty"),)))

    @sy.step(model=model({"name": "", "price": 2}, {"name": "tea"}, seen=seen), guards=[judged])
    async def read(text: str) -> Line:
        """Read the line."""
        ...

    assert await read("?") == Line(name="tea", price=2)


async def test_what_the_schema_does_not_name_is_asked_for_as_a_whole() -> None:
    seen: list[sy.Request] = []
    rounds = iter([True, False])
    guard = named(("lines", 0, "colour"), lambda order: next(rounds))
    await ordering([ORDER, ORDER], guard, seen=seen)("?")
    assert seen[1].messages[-1].text.endswith("Answer again.")
    assert seen[1].constraint == seen[0].constraint


async def test_a_repair_that_does_not_fit_is_asked_for_again() -> None:
    seen: list[sy.Request] = []
    guard = named(("lines", 1, "price"), lambda order: order.lines[1].price == 0)
    order = await ordering([ORDER, "no", {"lines.1.price": "dear"}, {"lines.1.price": 2}], guard, seen=seen)("?")
    assert order.lines[1].price == 2
    assert "no JSON object with the fields lines.1.price" in seen[2].messages[-1].text
    assert "lines.1.price" in seen[3].messages[-1].text


async def test_retries_used_up_raise_with_the_last_output() -> None:
    seen: list[sy.Request] = []
    guard = named((), lambda order: True)
    with pytest.raises(sy.CheckFailed, match=r"guard 'held' after 1 retries: is wrong\. The last output was") as caught:
        await ordering([ORDER, ORDER], guard, seen=seen)("?")
    assert caught.value.check == "held"
    assert len(seen) == 2


async def test_a_fix_stands_and_is_what_a_stream_ends_with() -> None:
    seen: list[sy.Request] = []
    fixed = Held(lambda order: sy.Verdict(order.model_copy(update={"note": "fixed"})))
    step = ordering([ORDER, ORDER], fixed, seen=seen)
    assert (await step("?")).note == "fixed"
    async with step.stream("?") as stream:
        text = ""
        async for delta in stream:
            text = "" if delta.reset else text + delta.text
        assert Order.model_validate_json(text) == await stream.result()
    assert '"fixed"' in text


async def test_a_text_is_judged_and_asked_again_as_a_whole() -> None:
    seen: list[sy.Request] = []
    guard = Held(lambda text: sy.Verdict(text.upper(), (sy.Failure((), "too short"),) if len(text) < 3 else ()))

    @sy.step(model=model("ab", "abc", seen=seen), guards=[guard])
    async def say(text: str) -> str:
        """Say."""
        ...

    assert await say("?") == "ABC"
    assert seen[1].messages[-1].text == "too short\nAnswer again."


async def test_a_guard_that_makes_something_of_another_type_is_an_output_error() -> None:
    seen: list[sy.Request] = []
    with pytest.raises(sy.OutputError, match="does not fit"):
        await ordering([ORDER], Held(lambda order: sy.Verdict("nothing")), seen=seen)("?")


async def test_checks_come_after_guards() -> None:
    seen: list[sy.Request] = []
    fixed = Held(lambda order: sy.Verdict(order.model_copy(update={"note": "fixed"})))
    step = ordering([ORDER], fixed, seen=seen)
    notes: list[str] = []

    @step.check  # type: ignore[untyped-decorator] # the step is of any type here
    def noted(order: Order) -> str | None:
        notes.append(str(order.note))
        return None

    await step("?")
    assert notes == ["fixed"]
