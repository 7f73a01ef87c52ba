"""What a search hands over: every number with its interval, the differences that are some, and a dial."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest

import synthon as sy
from synthon.evals import Case
from synthon.evals.statistics import mean, quantile
from synthon.optimize import Front, Optimized

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthon.optimize import Optimization

exact = sy.metrics.exact_match
ROWS = [Case({"text": f"t{end}{at}{end}"}, word) for at in range(8) for end, word in (("?", "ask"), (".", "say"))]


def answer(request: sy.Request) -> sy.Completion:
    asked = request.messages[-1].text
    usage = sy.Usage(input_tokens=10 + sum(map(ord, asked)) % 3, output_tokens=1)
    return sy.Completion("ask" if "?" in asked else "say", usage=usage)


def model(price: sy.Price | None = None) -> sy.Journaled:
    return sy.Journaled(sy.FunctionModel(answer, name="m"), price=price)


async def searched(price: sy.Price | None = None) -> Optimization[[str], str]:
    @sy.step(model=model(price), temperature=sy.knob(0.0, 0.5))
    async def kind(text: str) -> str:
        """Say what it is."""
        ...

    return await sy.optimize(
        kind, [], ROWS, metric=exact, budget=sy.Budget(calls=60), journal=sy.MemoryJournal(), watch=lambda _: None
    )


async def test_a_front_and_its_programs_tell_every_number_with_its_interval() -> None:
    run = await searched(sy.Price(0.01, 0.01))
    head, *lines = str(run.front).splitlines()
    assert head.split("  ")[-2:] == ["rows", "settings"]
    assert [line.count("[") for line in (head, *lines)] == [4] * (1 + len(run.front))
    best = run.best()
    assert best.cost.low < best.cost.value < best.cost.high
    assert f"${best.cost.value:.9f} [" in str(best)  # a tenth of a millionth is shown as such
    assert (best.p50_s, best.p95_s) == (np.quantile(best.seconds, 0.5), np.quantile(best.seconds, 0.95))
    assert best.latency_s(0.95) == quantile(best.seconds, 0.95, least=0.0)
    assert f"p50 {best.latency_s(0.5)} s, p95 {best.latency_s(0.95)} s" in str(best)


async def test_costs_in_tokens_have_intervals_too() -> None:
    run = await searched()
    best = run.best()
    assert best.unit == "tokens"
    assert best.cost == mean([row.tokens_in + row.tokens_out for row in run.evidence[(0,)].values()], scores=False)
    assert f"{best.cost:.0f} tokens" in str(best)
    assert f"{best.cost:.0f}" in str(run.front)


class Letters:
    """An embedder that no file can hold."""

    identity = "letters"
    dim = 26

    async def embed(self, texts: Sequence[str]) -> np.ndarray:
        counts = [[text.count(chr(97 + place)) for place in range(26)] for text in texts]
        return np.array(counts, np.float32)


def shown(*outputs: str) -> list[sy.Demo]:
    return [sy.Demo({"text": f"row {at}"}, output) for at, output in enumerate(outputs)]


def optimized(program: sy.Step[[str], str], **settings: object) -> Optimized[[str], str]:
    one = mean([1.0])
    return Optimized(program.using(**settings), "", one, one, "usd", [0.1])


async def test_a_program_that_was_left_as_it_is_differs_in_nothing() -> None:
    @sy.step(model=model(), demos=sy.knn(0, 2))
    async def kind(text: str) -> str:
        """Say what it is."""
        ...

    run = await sy.optimize(
        kind, ROWS, ROWS, metric=exact, budget=sy.Budget(calls=60), journal=sy.MemoryJournal(),
        embedder="wordllama-256", watch=lambda _: None,
    )  # fmt: skip
    best = run.best()
    assert best.changes == "as it is"
    assert best.diff(kind) == "nothing"
    two = next(point for point in run.tuning.space.points() if point != run.tuning.space.default)
    told = optimized(run.tuning.applied(kind, two)).diff(best).splitlines()  # type: ignore[arg-type] # a step as well
    assert told[:2] == ["kind.demos:", "  -none"]
    assert re.fullmatch(
        r"  \+Nearest\(k=2, selector=Examples\(examples=16 examples [0-9a-f]{16}, the first "
        r'\{"text":"t\?0\?"\} -> "ask", embedder=wordllama-256\)\)',
        told[2],
    )
    assert len(told) == 3


def test_examples_are_counted_and_those_that_differ_are_told_apart() -> None:
    @sy.step(model=model())
    async def kind(text: str) -> str:
        """Say what it is."""
        ...

    few, many, other = shown("a", "b"), shown(*"abcdefghijklmnop"), shown(*"abcdefghijklmnox")
    assert optimized(kind, demos=[]).diff(kind) == "nothing"
    told = optimized(kind, demos=few).diff(kind).splitlines()
    assert told[1:2] + told[3:] == ["  -none", '  + {"text":"row 0"} -> "a"', '  + {"text":"row 1"} -> "b"']
    assert len(optimized(kind, demos=many).diff(kind).splitlines()) == 3
    assert len(optimized(kind, demos=many).diff(optimized(kind, demos=other)).splitlines()) == 3
    wide = optimized(kind, demos=[sy.Demo({"text": "x" * 999}, "a")]).diff(kind)
    assert max(map(len, wide.splitlines())) < 120
    ways: list[object] = [sy.neighbour_vote(3, sy.nearest(many, embedder=own)) for own in (None, Letters())]
    ways += [sy.linear_probe(many), sy.linear_probe(other), sy.linear_probe(many, embedder=Letters())]
    diffs = {optimized(kind, strategy=way).diff(kind) for way in ways}
    assert len(diffs) == len(ways)
    assert all(len(diff.splitlines()) == 3 for diff in diffs)
    assert "embedder=letters" in optimized(kind, strategy=ways[1]).diff(kind)


def test_options_of_a_knob_that_read_the_same_are_told_apart() -> None:
    @sy.step(model=sy.one_of(model(), model(sy.Price(1, 1))), stop=("x",))
    async def kind(text: str) -> str:
        """Say what it is."""
        ...

    dear = kind.parts().knobs["kind.model"].values[1]
    told = optimized(kind, model=dear, stop=("y",), constraint=sy.regex("[a-z]+")).diff(kind)
    assert "kind.model:\n  -m (option 1)\n  +m (option 2)" in told
    assert '  - "x"' in told
    assert '"pattern": "[a-z]+"' in told


def test_a_dial_refuses_a_program_whose_own_parameter_it_would_take() -> None:
    @sy.step(model=model())
    async def photo(text: str, quality: float, *, latency_s: float = 1.0) -> str:
        """Say what it is."""
        ...

    one = mean([1.0])
    front = Front([Optimized(photo, "", one, one, "usd", [0.1])])
    with pytest.raises(sy.UserError, match=r"'photo' has a parameter 'latency_s', 'quality', .* Rename it, or call"):
        front.dial()


async def test_rows_that_are_no_cases_are_refused() -> None:
    @sy.step(model=model(), temperature=sy.knob(0.0, 0.5))
    async def kind(text: str) -> str:
        """Say what it is."""
        ...

    rows: Any = [*ROWS[:1], {"inputs": {"text": "x"}, "expected": "ask"}]
    journal = sy.MemoryJournal()
    with pytest.raises(sy.UserError, match=r"Case 1 is .*, a dict\. Pass a list of sy\.Case"):
        await sy.certify(kind, rows, against=kind, metric=exact, journal=journal)
    with pytest.raises(sy.UserError, match=r"Case 1 is .*, a dict\. Pass a list of sy\.Case"):
        await sy.certify(kind, ROWS, against=kind, metric=exact, journal=journal, known={"training": rows})
    with pytest.raises(sy.UserError, match=r"is .*, a dict\. Pass a list of sy\.Case"):
        await sy.optimize(kind, [], rows, metric=exact, budget=sy.Budget(calls=9), journal=journal)


WANTED = {f"row {n}": random.Random(n).choice(["yes", "no"]) for n in range(80)}


def guessing(name: str, skill: float, usd: float) -> sy.Journaled:
    def guess(request: sy.Request) -> sy.Completion:
        text = request.messages[-1].text
        is_right = random.Random(f"{name}{len(request.messages)}{text}").random() < skill
        said = WANTED[text] if is_right else "no" if WANTED[text] == "yes" else "yes"
        return sy.Completion(said, usage=sy.Usage(input_tokens=50 * len(request.messages), output_tokens=1))

    return sy.Journaled(sy.FunctionModel(guess, name=name), price=sy.Price(usd, usd))


@sy.step(model=sy.one_of(guessing("small", 0.5, 1), guessing("large", 0.8, 10)), temperature=0.0)
async def guessed(text: str) -> Literal["yes", "no"]:
    """Say."""
    ...


@pytest.mark.parametrize("seed", [1, 7, 18])  # in which several are lucky
async def test_a_dial_and_its_front_begin_with_the_best_whoever_was_lucky_on_few_rows(seed: int) -> None:
    rows = [Case({"text": text}, answer) for text, answer in WANTED.items()]
    run = await sy.optimize(
        guessed, rows[:20], rows[20:], metric=exact, budget=sy.Budget(calls=60), journal=sy.MemoryJournal(), seed=seed,
        embedder="wordllama-256",
    )  # fmt: skip
    front = run.front
    dial = front.dial()
    lucky = [each for each in front if each.quality.value == 1.0 and each.quality.n < 9]
    assert len(lucky) > 1
    assert dial.at().changes == front[0].changes == run.best().changes
    assert [each.sure for each in front] == sorted([each.sure for each in front], reverse=True)
    kept = [each for each in front if each.sure >= front[1].sure]
    assert dial.at(quality=front[1].sure) in kept
    assert dial.at(quality=front[1].sure).cost.value == min(each.cost.value for each in kept)
    with pytest.raises(
        sy.UserError, match=r"keeps quality=1\.0 on 4 rows or more\. Ask for one of these:\n *sure +quality"
    ):
        dial.at(quality=1.0)


async def test_the_luck_of_a_pick_is_taken_off_where_few_saw_all_its_rows() -> None:
    shown, expected = [], []
    for seed in range(4):

        def coin(request: sy.Request, seed: int = seed) -> str:
            return "yes" if random.Random(f"{seed}{request.messages[-1].text}").random() < 0.6 else "no"

        @sy.step(model=sy.Journaled(sy.FunctionModel(coin, name=f"coin {seed}"), price=sy.Price(1, 1)), temperature=0.0)
        async def say(text: str) -> str:
            """Say."""
            ...

        @sy.program
        async def asked(text: str, *, marks: int = sy.knob(*range(16))) -> str:
            return await say(text + "!" * marks)

        run = await sy.optimize(
            asked, [], [Case({"text": f"q{n}"}, "yes") for n in range(40)], metric=exact, budget=sy.Budget(calls=200),
            journal=sy.MemoryJournal(), seed=seed, watch=lambda _: None,
        )  # fmt: skip
        shown.append(run.best().quality.value)
        expected.append(run.best().expected or 0.0)
    assert np.mean(shown) > 0.75
    assert 0.5 < np.mean(expected) < 0.65  # 0.7 where only programs that saw all rows of the pick were its rivals
