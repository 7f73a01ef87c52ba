from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, Field

import synthon as sy
from synthon.core.verdicts import Failure, Verdict
from synthon.guards import Fail, Pass, Rule, guard, guarded, guarded_sync, in_range, length


class Item(BaseModel):
    name: str
    price: float = 1.0


class Order(BaseModel):
    title: str
    items: list[Item] = Field(default_factory=list)
    note: str | None = None


ORDER = Order(title="hello world", items=[Item(name="pear"), Item(name="pineapple")], note="ring twice")


def short(value: str) -> Pass | Fail:
    return Pass() if len(value) <= 5 else Fail("too long", fix=value[:5])


def shout(value: str) -> Pass | Fail:
    return Pass() if value.isupper() else Fail("not in capitals", fix=value.upper())


async def judged(rule: Rule, value: object, **inputs: object) -> Verdict:
    return await rule.judge(value, inputs)


async def test_reask_leaves_the_value_and_names_each_failed_field() -> None:
    verdict = await judged(guard(short, field="items.*.name"), ORDER)
    assert verdict == Verdict(ORDER, (Failure(("items", 1, "name"), "too long"),))


async def test_reask_collects_what_every_validator_says() -> None:
    verdict = await judged(guard(short, shout), "hello world")
    assert [failure.message for failure in verdict.failed] == ["too long", "not in capitals"]


async def test_fix_takes_the_place_of_the_value_and_the_next_validator_sees_it() -> None:
    seen = []

    def look(value: str) -> Pass | Fail:
        seen.append(value)
        return Pass()

    verdict = await judged(guard(short, shout, look, then="fix"), "hello world")
    assert (verdict, seen) == (Verdict("HELLO"), ["HELLO"])


async def test_fix_without_a_fix_is_the_programs_error() -> None:
    with pytest.raises(sy.UserError, match=r"'never' failed without a fix \(no\)"):
        await judged(guard(never, then="fix"), "text")


def never(value: object) -> Fail:
    return Fail("no")


async def test_fix_reask_takes_a_fix_that_passes_and_asks_where_it_does_not() -> None:
    def even(value: int) -> Pass | Fail:
        return Pass() if value % 2 == 0 else Fail("odd", fix=value * 3 if value > 5 else value + 1)

    verdict = await judged(guard(even, field="*", then="fix_reask"), [1, 2, 7])
    assert verdict == Verdict([2, 2, 7], (Failure((2,), "odd"),))


async def test_fix_reask_asks_where_there_is_no_fix() -> None:
    verdict = await judged(guard(never, then="fix_reask"), "text")
    assert verdict == Verdict("text", (Failure((), "no"),))


async def test_filter_takes_elements_out_of_lists_and_dicts() -> None:
    small = guard(in_range(high=2), field="*", then="filter")
    assert (await judged(small, [1, 5, 2, 9])).value == [1, 2]
    assert (await judged(small, (5, 1))).value == (1,)
    assert (await judged(small, {"a": 1, "b": 5})).value == {"a": 1}


async def test_filter_gives_an_optional_field_its_default_or_none() -> None:
    assert (await judged(guard(never, field="note", then="filter"), ORDER)).value == ORDER.model_copy(
        update={"note": None}
    )
    priced = Order(title="a", items=[Item(name="b", price=7.0)])
    found = (await judged(guard(in_range(high=2), field="items.*.price", then="filter"), priced)).value
    assert found == Order(title="a", items=[Item(name="b", price=1.0)])
    found = (await judged(guard(never, field="items", then="filter"), ORDER)).value
    assert isinstance(found, Order)
    assert found.items == []


async def test_filter_blocks_where_a_field_is_required() -> None:
    with pytest.raises(sy.GuardBlocked, match="cannot be left out, since it is required") as caught:
        await judged(guard(short, field="title", then="filter"), ORDER)
    assert (caught.value.guard, caught.value.evidence) == ("short on title", "'hello world'")
    with pytest.raises(sy.GuardBlocked, match="too long"):
        await judged(guard(short, then="filter"), "hello world")


async def test_refrain_withholds_the_whole_output_or_gives_what_stands_in_its_place() -> None:
    with pytest.raises(sy.GuardBlocked, match="Pass instead="):
        await judged(guard(short, field="title", then="refrain"), ORDER)
    assert await judged(guard(short, field="title", then="refrain", instead=None), ORDER) == Verdict(None)
    assert await judged(guard(short, field="items.0.name", then="refrain", instead=None), ORDER) == Verdict(ORDER)


async def test_noop_leaves_everything() -> None:
    assert (await judged(guard(never, field="title", then="noop"), ORDER)) == Verdict(ORDER)


async def test_raise_stops_at_once_with_the_whole_output() -> None:
    with pytest.raises(sy.CheckFailed, match="'short on title' refused 'hello world': too long") as caught:
        await judged(guard(short, field="title", then="raise"), ORDER)
    assert (caught.value.check, caught.value.output) == ("short on title", ORDER)


async def test_a_function_may_decide_sync_or_async() -> None:
    def cut(value: object, fail: Fail) -> object:
        return f"{value}: {fail.message}"

    async def later(value: object, fail: Fail) -> object:
        return fail.fix

    assert (await judged(guard(short, then=cut), "hello world")).value == "hello world: too long"
    assert (await judged(guard(short, then=later), "hello world")).value == "hello"


async def test_a_validator_may_be_async_and_take_inputs_of_the_step() -> None:
    async def answers(value: str, question: str, *, strict: bool = True) -> Pass | Fail:
        return Pass() if question in value and strict else Fail("it does not answer")

    assert not (await judged(guard(answers), "why? because", question="why?", other=1)).failed
    assert (await judged(guard(answers), "because", question="why?")).failed
    with pytest.raises(sy.UserError, match=r"takes 'question', which is none of the inputs \['other'\]"):
        await judged(guard(answers), "because", other=1)


@pytest.mark.parametrize("said", [True, None, "too long", Fail], ids=repr)
async def test_a_validator_that_answers_something_else_is_shown_how(said: object) -> None:
    def wrong(value: object) -> Any:
        return said

    with pytest.raises(sy.UserError, match=r"(?s)'.*wrong' answered .*return Pass\(\) if \.\.\. else Fail"):
        await judged(guard(wrong), "text")


async def test_nothing_is_judged_where_there_is_none() -> None:
    assert not (await judged(guard(never, field="note"), Order(title="a"))).failed
    assert not (await judged(guard(never), None)).failed


async def test_values_are_never_mutated_and_the_rest_is_shared() -> None:
    before = ORDER.model_copy(deep=True)
    verdict = await judged(guard(short, field="items.*.name", then="fix"), ORDER)
    assert before == ORDER
    assert isinstance(verdict.value, Order)
    assert verdict.value.items[0] is ORDER.items[0]
    assert [item.name for item in verdict.value.items] == ["pear", "pinea"]


async def test_an_output_that_passes_comes_back_itself() -> None:
    assert (await judged(guard(length(at_most=99), field="items.*.name", then="fix"), ORDER)).value is ORDER


async def test_every_finding_is_in_the_trace() -> None:
    journal = sy.MemoryJournal()

    async def program() -> None:
        await judged(guard(short, field="items.*.name", then="fix", name="names"), ORDER)
        with pytest.raises(sy.CheckFailed):
            await judged(guard(never, field="title", then="raise"), ORDER)
        await judged(guard(short, field="items.0.name"), ORDER)

    await sy.run(program, journal=journal, run_id="one")
    fixed, raised, passed = [row for row in journal.records if isinstance(row, sy.Span) and row.kind == "check"]
    assert (fixed.name, json.loads(fixed.attributes)["findings"]) == (
        "names",
        [
            {
                "field": "items.1.name",
                "validator": "short",
                "value": "pineapple",
                "message": "too long",
                "then": "fix",
                "became": "pinea",
            }
        ],
    )
    assert json.loads(raised.attributes)["findings"][0]["then"] == "raise"
    assert raised.error.startswith("CheckFailed: The guard 'never on title' refused")
    assert (passed.attributes, passed.error) == ("", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"then": "retry"}, "no action 'retry'; take one of reask, fix"),
        ({"retries": -1}, "retries=-1 is less than 0"),
        ({"instead": None}, "for then='refrain' alone"),
        ({"field": "a..b"}, "'a..b' is no path or has an empty part"),
        ({"field": 5}, "The field 5 is no path"),
        ({"field": None}, "The field None is no path"),
    ],
)
def test_a_guard_that_makes_no_sense_is_refused_when_it_is_made(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(sy.UserError, match=said):
        guard(short, **arguments)
    with pytest.raises(sy.UserError, match="needs validators"):
        guard()


@dataclass(frozen=True)
class Point:
    x: int
    y: int


async def test_a_value_outside_of_steps_is_guarded_and_validated_alike_sync_and_async() -> None:
    guards = [guard(short, field="title", then="fix"), guard(shout, field="title", then="fix")]
    expected = ORDER.model_copy(update={"title": "HELLO"})
    found = await guarded(ORDER, *guards), await asyncio.to_thread(guarded_sync, ORDER, *guards)
    assert found == (expected, expected)
    assert await guarded(Point(3, 9), guard(in_range(0, 5), field="y", then="fix")) == Point(3, 5)
    assert await guarded([1, 9], guard(in_range(0, 5), field="*", then="filter")) == [1]
    assert await guarded("fine", *[guard(short)]) == "fine"


async def test_without_a_model_to_ask_a_refused_value_raises() -> None:
    with pytest.raises(
        sy.CheckFailed, match=r"'short on title' refused .*: title: too long. No model can be asked"
    ) as e:
        await guarded(ORDER, guard(short, field="title"))
    assert e.value.output == ORDER


async def test_a_validator_that_is_given_as_a_guard_is_refused() -> None:
    bare: Any = length(at_most=3)
    with pytest.raises(sy.UserError, match=r"which is no guard\. Write guard\(length"):
        await guarded("hello", guard(short), bare)


async def test_what_guards_make_of_a_value_must_fit_its_type() -> None:
    def wrong(value: object) -> Fail:
        return Fail("no", fix="many")

    with pytest.raises(sy.OutputError, match=r"does not fit Order: (?s:.*)price"):
        await guarded(ORDER, guard(wrong, field="items.*.price", then="fix"))
    withheld: Order | None = ORDER
    refused = guard(short, field="title", then="refrain", instead=None)
    assert await guarded(withheld, refused, expected=Order | None) is None
    with pytest.raises(sy.OutputError, match="None, does not fit Order"):
        await guarded(ORDER, refused)
