"""A program's parts are found from the names its code uses, without running it."""

import dataclasses
import functools
import subprocess
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import synthon as sy

model = sy.FunctionModel(lambda request: "x", name="one")
other = sy.FunctionModel(lambda request: "y", name="two")


@sy.step(model=model)
async def first(text: str) -> str:
    """First."""
    ...


@sy.step(model=sy.one_of(model, other), temperature=sy.knob(0.0, 0.5))
async def second(text: str) -> str:
    """Second."""
    ...


@sy.step(model=model)
async def third(text: str) -> str:
    """Third."""
    ...


@sy.program
async def inner(text: str, *, k: int = sy.knob(1, 2)) -> str:
    return await second(text) * k


async def default_for_all(text: str, step: Callable[[str], Awaitable[str]]) -> str:
    return await step(text)


module = ModuleType("steps_of_a_module")
module.first = first  # type: ignore[attr-defined]  # a made-up module
namespace = SimpleNamespace(deep=SimpleNamespace(first=first))
listed = [first, second]
gathered_steps = {third, first}
half_bound = functools.partial(default_for_all, step=second)
table = {"a": first, "b": {"c": second}}


class Holder:
    step = first

    def __init__(self) -> None:
        self.own = second

    async def use(self, text: str) -> str:
        return await self.own(text)

    @staticmethod
    async def static(text: str) -> str:
        return await first(text)

    @classmethod
    async def of_class(cls, text: str) -> str:
        return await cls.step(text)

    @property
    def hidden(self) -> sy.Step[[str], str]:
        raise AssertionError("finding parts must not run properties")


holder = Holder()


async def helper(text: str) -> str:
    return await first(text)


async def default_helper(text: str, step: Callable[[str], Awaitable[str]] = second) -> str:
    return await step(text)


def decorated(fn: Callable[[str], Awaitable[str]]) -> Callable[[str], Awaitable[str]]:
    @functools.wraps(fn)
    async def wrapper(text: str) -> str:
        return await fn(text)

    return wrapper


@decorated
async def wrapped(text: str) -> str:
    return await first(text)


def spellings() -> list[tuple[str, Callable[[str], Awaitable[object]], list[str]]]:  # noqa: C901 - a table
    closed_over = second

    async def plain(text: str) -> object:
        return await second(await first(text))

    async def in_the_order_of_the_source(text: str) -> object:
        return [await third(text), await first(text), [second for _ in text], await third(text)]

    async def closure(text: str) -> object:
        return await closed_over(text)

    async def comprehension(text: str) -> object:
        return [await first(text) for _ in range(2)]

    async def nested_function(text: str) -> object:
        async def go() -> str:
            return await first(text)

        return await go()

    async def through_a_helper(text: str) -> object:
        return await helper(text)

    async def through_a_default(text: str) -> object:
        return await default_helper(text)

    async def through_a_decorator(text: str) -> object:
        return await wrapped(text)

    async def of_a_module(text: str) -> object:
        return await module.first(text)

    async def of_a_namespace(text: str) -> object:
        return await namespace.deep.first(text)

    async def in_a_list(text: str) -> object:
        return [await step(text) for step in listed]

    async def in_a_set(text: str) -> object:
        return [await step(text) for step in gathered_steps]

    async def in_a_dict(text: str) -> object:
        return table["a"]

    return [
        ("plain", plain, ["second", "first"]),
        ("order", in_the_order_of_the_source, ["third", "first", "second"]),
        ("closure", closure, ["second"]),
        ("comprehension", comprehension, ["first"]),
        ("nested function", nested_function, ["first"]),
        ("helper", through_a_helper, ["first"]),
        ("default of a helper", through_a_default, ["second"]),
        ("decorator", through_a_decorator, ["first"]),
        ("module attribute", of_a_module, ["first"]),
        ("namespace attribute", of_a_namespace, ["first"]),
        ("list", in_a_list, ["first", "second"]),
        ("set", in_a_set, ["first", "third"]),
        ("dict", in_a_dict, ["first", "second"]),
    ]


def further_spellings() -> list[tuple[str, Callable[[str], Awaitable[object]], list[str]]]:  # noqa: C901 - a table
    async def bound_method(text: str) -> object:
        return await holder.use(text)

    async def static_method(text: str) -> object:
        return await Holder.static(text)

    async def class_attribute(text: str) -> object:
        return await Holder.step(text)

    async def instance_attribute(text: str) -> object:
        return await holder.own(text)

    async def partially(text: str) -> object:
        return await functools.partial(first, text)()

    async def partially_before(text: str) -> object:
        return await half_bound(text)

    async def changed_copy(text: str) -> object:
        return await first.using(temperature=0.1)(text)

    async def in_branches(text: str) -> object:
        return await first(text) if text else await second(text)

    async def in_try(text: str) -> object:
        try:
            return await first(text)
        except ValueError:
            return await second(text)

    async def nested_program(text: str) -> object:
        return await inner(text)

    async def gathered(text: str) -> object:
        import asyncio  # noqa: PLC0415 - a name of the standard library, which is not followed

        return await asyncio.gather(first(text), second(text))

    return [
        ("bound method", bound_method, ["second"]),
        ("static method", static_method, ["first"]),
        ("class attribute", class_attribute, ["first"]),
        ("instance attribute", instance_attribute, ["second"]),
        ("partial", partially, ["first"]),
        ("partial made before", partially_before, ["second"]),
        ("changed copy", changed_copy, ["first"]),
        ("branches", in_branches, ["first", "second"]),
        ("try", in_try, ["first", "second"]),
        ("nested program", nested_program, ["second"]),
        ("gather", gathered, ["first", "second"]),
    ]


@pytest.mark.parametrize(("spelling", "fn", "expected"), spellings() + further_spellings())
def test_steps_are_found_however_a_program_spells_them(
    spelling: str, fn: Callable[[str], Awaitable[object]], expected: list[str]
) -> None:
    assert [step.name for step in sy.program(fn).parts().steps] == expected, spelling


def unseen() -> list[tuple[str, Callable[..., Awaitable[object]]]]:
    async def as_an_argument(text: str, step: Callable[[str], Awaitable[str]]) -> object:
        return await step(text)

    async def by_computed_name(text: str) -> object:
        return await getattr(module, "fir" + "st")(text)

    async def made_in_the_body(text: str) -> object:
        return await sy.step(model=model)(helper)(text)

    async def behind_a_property(text: str) -> object:
        return await holder.hidden(text)

    return [
        ("argument", as_an_argument),
        ("computed name", by_computed_name),
        ("body", made_in_the_body),
        ("property", behind_a_property),
    ]


@pytest.mark.parametrize(("spelling", "fn"), unseen())
def test_what_code_does_not_show_must_be_declared(spelling: str, fn: Callable[..., Awaitable[object]]) -> None:
    assert "second" not in [step.name for step in sy.program(fn).parts().steps], spelling
    assert "second" in [step.name for step in sy.program(uses=[second])(fn).parts().steps], spelling


@dataclasses.dataclass(frozen=True)
class Cascade:
    small: sy.Model
    large: sy.Model
    accept: float
    name: str = "cascade"
    identity: str = "cascade"
    capabilities: frozenset[sy.Capability] = frozenset({"chat"})

    async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
        chosen = self.small if sy.current(self.accept) < 0.6 else self.large
        return await chosen.complete(request, emit)


@sy.step(model=Cascade(model, other, accept=sy.knob(0.5, 0.9)), demos=sy.knn(0, 4))
async def routed(text: str) -> str:
    """Route."""
    ...


async def test_a_local_name_is_no_step_whatever_a_module_calls_so() -> None:
    @sy.program
    async def assigned(text: str) -> str:
        second = text.strip()
        return await first(second)

    @sy.program
    async def given(third: str) -> str:
        return await first(third)

    @sy.program
    async def nested(text: str) -> str:
        second = text.strip()
        return "".join([await first(f"{word} {second}") for word in text.split()])

    for program in (assigned, given, nested):
        assert [step.name for step in program.parts().steps] == ["first"]


async def test_copies_of_a_step_are_one_part_since_they_share_their_settings() -> None:
    cold, warm = first.using(temperature=0.0), first.using(temperature=1.0)

    @sy.program
    async def twice(text: str) -> str:
        return await cold(text) + await warm(text)

    parts = twice.parts()
    assert [step.name for step in parts.steps] == ["first"]
    assert [name for name in parts.settings if "temperature" in name] == ["first.temperature"]


async def test_knobs_within_models_demos_and_signatures_have_names() -> None:
    @sy.program
    async def outer(text: str, *, k: int = sy.knob(2, 4), weight: float = sy.between(0.1, 0.9, log=True)) -> str:
        return await routed(text) + await inner(text) + str(weight * k)

    parts = outer.parts()
    assert [*parts.knobs] == [
        *("outer.k", "outer.weight", "routed.model.accept", "routed.demos.k"),
        *("inner.k", "second.model", "second.temperature"),
    ]
    assert [program.name for program in parts.programs] == ["outer", "inner"]
    assert await outer("q") == "xx0.2"
    assert await outer.using(weight=0.5)("q", k=1) == "xx0.5"
    changed = {"outer.weight": 1.0, "routed.model.accept": 0.9, "second.model": other, "inner.k": 2}
    assert await outer.using(changed)("q") == "yyy2.0"


async def test_two_settings_of_one_name_get_numbers() -> None:
    @sy.program
    async def same(text: str, *, k: int = sy.knob(1, 2)) -> str:
        return await twin(text) * k

    @sy.program
    async def twin(text: str, *, k: int = sy.knob(1, 2)) -> str:
        return await first(text) * k

    twin.fn.__name__ = "same"
    assert list(same.parts().knobs) == ["same.k", "same.k~2"]
    assert await same.using({"same.k": 2, "same.k~2": 2})("q") == "xxxx"


def test_a_name_that_is_not_there_is_refused_with_those_that_are() -> None:
    with pytest.raises(sy.UserError, match=r"'inner' has no setting 'inner.j'. It has: inner.k, second.instruction"):
        inner.using(j=3)
    with pytest.raises(sy.UserError, match=r"'inner.k' is a knob and cannot be set to knob"):
        inner.using(k=sy.knob(1, 2))


def test_order_does_not_depend_on_the_hash_seed() -> None:
    code = (
        "import synthon as sy\n"
        "m = sy.FunctionModel(lambda r: 'x')\n"
        "def make(n):\n"
        "    async def f(x: str) -> str:\n        '''Do.'''\n        ...\n"
        "    f.__name__ = n\n    return sy.step(model=m)(f)\n"
        "steps = {make(n) for n in 'abcdefgh'}\n"
        "names = {'a', 'b'}\n"
        "async def p(x: str) -> str:\n    return [await s(x) for s in steps] and names\n"
        "print(len(sy.program(p).parts().steps), [type(s).__name__ for s in sy.program(p).parts().steps])\n"
    )
    results = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert len(results) == 1
    assert results.pop().startswith("8 ")


async def test_parts_are_looked_up_afresh_after_a_step_is_redefined() -> None:
    scope: dict[str, Any] = {"sy": sy, "model": model}
    source = "@sy.step(model=model)\nasync def say(x: str) -> str:\n    'V{}.'\n    ...\n"
    exec(source.format(1), scope)  # noqa: S102 - what a notebook does
    exec("@sy.program\nasync def ask(x: str) -> str:\n    return await say(x)\n", scope)  # noqa: S102 - same
    exec(source.format(2), scope)  # noqa: S102 - same
    assert scope["ask"].parts().steps[0].instruction == "V2."


def test_an_empty_cell_and_foreign_code_are_passed_over() -> None:
    def outer() -> Callable[[str], Awaitable[object]]:
        async def early(text: str) -> object:
            return await late(text)

        parts = sy.program(early).parts()
        assert parts.steps == []
        late = first
        return early

    assert [step.name for step in sy.program(outer()).parts().steps] == ["first"]
