"""Programs and rows that a search would take for something else: told apart, taken as they are, or refused at once."""

from __future__ import annotations

import datetime as dt
import enum
import json
from typing import TYPE_CHECKING, Literal

import pytest

import synthon as sy
from synthon.cli import main
from synthon.core.saved import save
from synthon.evals import Case, Cases
from synthon.optimize import Optimization, export, optimize, plan

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

exact = sy.metrics.exact_match


def model(name: str, say: Callable[[str], str], price: sy.Price | None = None) -> sy.Journaled:
    def answer(request: sy.Request) -> sy.Completion:
        return sy.Completion(say(request.messages[-1].text), usage=sy.Usage(input_tokens=10, output_tokens=1))

    return sy.Journaled(sy.FunctionModel(answer, name=name), price=price)


PRICED = sy.Price(1, 1)


def namesake(doc: str, said: str) -> sy.Step[[str], str]:
    async def ask(text: str) -> str:
        raise NotImplementedError

    ask.__doc__ = doc
    return sy.step(model=model(said, lambda _: said, PRICED))(ask)


short, label = namesake("Shorten.", "a"), namesake("Label.", "b")


@sy.program
async def both(text: str, *, k: int = sy.knob(1, 2)) -> str:
    return f"{await short(text)}{await label(text)}{k}"


@sy.program
async def twice(text: str, *, k: int = sy.knob(1, 2)) -> str:
    return f"{await short(text)}{await short.using(temperature=0.5)(text)}{k}"


async def test_two_steps_of_one_name_are_refused_and_one_step_twice_is_not(tmp_path: Path) -> None:
    rows = [Case({"text": f"t{number}"}, "aa1") for number in range(8)]
    for refused in (
        optimize(both, rows, rows, metric=exact, budget=sy.Budget(calls=50), journal=sy.MemoryJournal()),
        export(both, rows, tmp_path / "x", metric=exact),
        plan(both, rows, rows),
    ):
        with pytest.raises(sy.UserError, match="'both' has two steps named 'ask'"):
            await refused
    run = await optimize(twice, [], rows, metric=exact, budget=sy.Budget(calls=99), journal=sy.MemoryJournal())
    assert run.best().quality.value == 1


@sy.step(model=model("m", lambda _: "card", PRICED))
async def topic(text: str) -> Literal["card", "refund", None]:  # noqa: PYI061 - a user's way to write it
    """Topic, if any."""
    ...


async def test_nothing_is_an_answer_that_rows_may_expect(tmp_path: Path) -> None:
    told = {"card": "my card was stolen", "refund": "money back please", None: "hello nice weather"}
    rows = [Case({"text": f"{text} {number}"}, kind) for number in range(8) for kind, text in told.items()]
    run = await optimize(
        topic, rows[:12], rows[12:], metric=exact, budget=sy.Budget(calls=60), journal=sy.MemoryJournal(),
        embedder="wordllama-256",
    )  # fmt: skip
    assert run.best().quality.value == 1
    assert await run.best()("hello nice weather 99") is None
    written = await export(topic, rows, tmp_path / "topics", metric=exact)
    assert len(written.files["topic"].read_text().splitlines()) == len(rows)


@sy.step(model=model("m", lambda _: "card", PRICED))
async def kind(text: str) -> Literal["card", "refund"]:
    """Topic."""
    ...


async def test_the_first_right_answer_that_fits_is_an_example(tmp_path: Path) -> None:
    rows = [Case({"text": f"t{number}"}, ["none of these", "refund", "card"]) for number in range(6)]
    written = await export(kind, rows, tmp_path / "kinds", metric=exact)
    lines = [json.loads(line) for line in written.files["kind"].read_text().splitlines()]
    assert [line["messages"][-1]["content"] for line in lines] == ["refund"] * 6


@sy.step(model=model("only", lambda _: "no"))
async def priceless(text: str, style: str) -> str:
    """Say."""
    ...


@sy.program
async def ruled(text: str, *, style: str = sy.knob("x", "y")) -> str:
    return "yes" if text[0] in "abc" else await priceless(text, style)


@pytest.mark.parametrize("seed", range(3))
async def test_rows_that_need_no_call_do_not_say_what_calls_are_counted_in(seed: int) -> None:
    rows = [Case({"text": f"{'abcdefgh'[number % 8]}{number}"}, "no") for number in range(32)]
    run = await optimize(
        ruled, [], rows, metric=exact, budget=sy.Budget(calls=100), journal=sy.MemoryJournal(), seed=seed
    )
    assert run.unit == "tokens"
    assert run.best().cost.value > 0


@sy.program
async def rules(text: str, *, n: int = sy.knob(1, 2)) -> str:
    return "yes" if "a" in text[:n] else "no"


async def test_what_cannot_be_searched_so_is_refused_before_a_call() -> None:
    writer = model("writer", lambda _: "```\nBe exact.\n```", PRICED)
    rows = [Case({"text": f"a{number}"}, "yes") for number in range(9)]
    before = sy.Budget(calls=100)
    for program, train, more, why in (
        (kind, rows, {"workers": 0}, r"workers=0\. Pass 1 or more"),
        (kind, [], {"proposer": writer}, "there are no training rows"),
        (rules, rows, {"proposer": writer}, "there is no step that has one"),
    ):
        with pytest.raises(sy.UserError, match=why):
            await optimize(
                program, train, rows, metric=exact, budget=before, journal=sy.MemoryJournal(), **more
            )  # fmt: skip

    @sy.step(model=sy.FunctionModel(lambda _: "1"))
    async def good(output: str) -> int:
        """Rate."""
        ...

    with pytest.raises(sy.UserError, match=r"The judge 'good' asks the model .* which keeps no journal"):
        await optimize(kind, rows, rows, metric=sy.metrics.judge(good), budget=before, journal=sy.MemoryJournal())
    assert before.spent.calls == 0


def test_the_command_refuses_before_it_searches_what_it_could_not_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = Cases(Case({"text": f"a{number}"}, "yes") for number in range(9))
    rows.save("rows.jsonl")
    command = ["optimize", f"{__name__}:rules", "--train", "rows.jsonl", "--validation", "rows.jsonl"]
    command += ["--metric", "exact_match", "--calls", "50", "--journal", "j.db"]
    for more, why in (
        (["--save", "none/best.json"], "is in no folder"),
        (["--plot", "front.gif"], "cannot be drawn"),
        (["--test", "none.jsonl"], "none.jsonl"),
    ):
        assert main([*command, *more]) == 1
        said = capsys.readouterr()
        assert why in said.err
        assert not said.out
    assert main([*command, "--save", "best.json"]) == 0
    assert (tmp_path / "best.json").exists()


class Language(enum.Enum):
    DE = "de"
    EN = "en"


@sy.step(model=model("m", lambda _: "yes", PRICED))
async def said_in(text: str, language: Language, day: dt.date) -> str:
    """Say."""
    ...


async def test_examples_read_the_same_once_saved(tmp_path: Path) -> None:
    first = {"text": "t1", "language": Language.DE, "day": dt.date(2026, 1, 2)}
    shown = said_in.using(demos=[sy.Demo(first, "yes")])
    save(shown, tmp_path / "said.json")
    loaded = said_in.using(tmp_path / "said.json")
    messages = (await shown.explain("t2", Language.DE, dt.date(2026, 1, 2))).messages
    assert (await loaded.explain("t2", Language.DE, dt.date(2026, 1, 2))).messages == messages
    assert [message.text.replace("t2", "t1") for message in messages if message.role == "user"] == [
        "text: t1\n\nlanguage: de\n\nday: 2026-01-02"
    ] * 2


ASKED = [
    Case({"text": f"{word}{end}"}, kind)
    for word in ("you go", "he is", "we won", "it is")
    for end, kind in (("?", "question"), (".", "statement"))
]


@pytest.mark.parametrize(
    "slots",
    [
        {"demos": sy.one_of((), sy.knn(2, 4))},
        {"demos": sy.one_of(sy.knn(0, 2), ())},
        {"demos": sy.one_of((), (sy.Demo({"text": "a?"}, "question"),))},
        {"calibrate": sy.knob(False, True)},
    ],
    ids=["nearest among", "nearest first", "lists", "calibrate"],
)
async def test_a_knob_over_whole_examples_or_calibration_is_searched(slots: dict[str, object], tmp_path: Path) -> None:
    shown: list[int] = []

    def answer(request: sy.Request) -> sy.Completion:
        shown.append(len(request.messages))
        text = request.continuations[0] if request.continuations else "question"
        scores = tuple(sy.Score(-1.0 - place, 1) for place, _ in enumerate(request.continuations))
        return sy.Completion(text, usage=sy.Usage(input_tokens=10, output_tokens=1), scores=scores)

    can = frozenset[sy.Capability]({"chat", "score"} if "calibrate" in slots else {"chat", "schema"})
    asked = sy.Journaled(sy.FunctionModel(answer, name="m", capabilities=can), price=PRICED)

    @sy.step(model=asked, **slots)  # type: ignore[call-overload, untyped-decorator] # what a test names
    async def kind(text: str) -> Literal["question", "statement"]:
        """Say which."""
        ...

    run: Optimization[[str], str] = await optimize(
        kind, ASKED, ASKED[:4], metric=exact, budget=sy.Budget(calls=100), journal=sy.MemoryJournal(),
        embedder="wordllama-256", method="random",
    )  # fmt: skip
    (name,) = slots
    dimension = next(each for each in run.tuning.space.dimensions if each.name == f"kind.{name}")
    assert len(dimension.values) == 2
    assert len(run.history.rows) > 2
    if name == "demos":
        assert max(shown) > min(shown)  # examples were found and shown
    for point in run.history.rows:
        run.tuning.applied(kind, point).save(tmp_path / "kind.json")
        assert kind.using(tmp_path / "kind.json").settings


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (10, {"none", "fixed 4", "fixed 8", "nearest 2", "nearest 4", "nearest 8"}),
        (3000, {"none", "nearest 2"}),
        (9000, set()),
    ],
)
async def test_examples_too_long_for_a_prompt_are_not_tried_unasked(length: int, shown: set[str]) -> None:
    @sy.step(model=model("m", lambda _: "x", PRICED), max_tokens=5)
    async def read(text: str) -> str:
        """Read."""
        ...

    rows = [Case({"text": str(number) * length}, "x") for number in range(1, 10)]
    found = await plan(read, rows, rows, models=[model("n", lambda _: "x", PRICED)])
    values = {each.name: set(each.values) for each in found.tuning.space.dimensions}
    assert values.get("read.demos", set()) - {"none"} == shown - {"none"}


class Desk:
    """Has a step that is seen only while it runs."""

    def __init__(self) -> None:
        self._steps = {"at": namesake("Hidden.", "x")}

    @property
    def hidden(self) -> sy.Step[[str], str]:
        return self._steps["at"]


async def test_a_step_that_runs_and_was_not_found_is_refused_unless_it_is_declared() -> None:
    desk = Desk()

    async def look(text: str, *, k: int = sy.knob(1, 2)) -> str:
        return f"{await desk.hidden(text)}{k}"

    async def deeper(text: str, *, k: int = sy.knob(1, 2)) -> str:
        return f"{(await sy.run_many(desk.hidden, [text]))[0]}{k}"  # in a run within the row's

    rows = [Case({"text": f"t{number}"}, "x1") for number in range(8)]
    searched = [
        optimize(program, [], rows, metric=exact, budget=sy.Budget(calls=50), journal=sy.MemoryJournal())
        for program in (sy.program(look), sy.program(deeper), sy.program(uses=[desk.hidden])(look))
    ]
    for refused in searched[:2]:
        with pytest.raises(sy.UserError, match=r"ran the steps \['ask'\].*uses="):
            await refused
    assert (await searched[2]).best().quality.value == 1
