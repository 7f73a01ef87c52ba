"""What control buys a small model: labels and JSON as free text, under a mask, scored, calibrated, after examples.

    python -m benchmarks.small_model [--data DIR] [--cache DIR] [--full] [--json]

Labels: the direction that a headline tells (FrugalGPT's HEADLINES), the same messages in every arm, greedy. `text` is
free text; a step's own reading wants the label alone (`fits`), a patient user takes the first label it holds (`right`).
`mask` generates under `choice`, `scored` is a step's default (the likeliest option), `length` divides by the option's
tokens, `calibrated` takes off what each option scores without content. 100 rows drawn by seed are generated, 500 are
scored; a difference is over the rows that both arms have. `majority` always says the file's most frequent label;
`balanced` is the mean of the labels' recalls (chance is one over their number), without labels on less than two rows.

Extraction: NLU++ messages that state one of five fields of a hotel booking, or of four of a payment; values are gold, a
field the message does not state is null. Rows are drawn by seed, 50 a set, both sets pooled. `whole`: all fields are
right; `fields`: share of a row's fields; `f1`: of the values said, nulls apart; text without regard to case and blanks,
numbers by value. What does not fit the type has nothing right. `text` is free text as a step reads it: any JSON in it
that fits; `text.lenient` takes the first object and null for what is missing or misfits. `layout_*` are the white space
a mask allows; `.demos` puts two worked examples before, from rows that are not asked. `finished` is what the limit of
tokens did not cut; `tokens` are generated. A run without a cache goes on round by round of all arms and stops after
seven minutes, so `n` says how far it came. Seconds are the median of three rows asked one by one in every run, each arm
its own, the instruction in the prefix cache; calibration asks its second question each time.

Asked again: free text that does not fit is sent back with what is wrong, up to once and twice (`reasks`).

`gain` is a paired difference. `--full` takes five times the rows without a limit of time, and the other models whose
weights are here.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, cycle
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

from benchmarks import datasets, statistics
from benchmarks.extraction import FIGURES, Figure, Row, Task, booking, payment, task
from benchmarks.report import Arguments, Measure, parse, report, skip
from synthon.core.constraints import Layout, choice
from synthon.core.errors import MissingExtra, OutputError
from synthon.core.protocols import discard
from synthon.core.render import Rendering, render
from synthon.core.running import run
from synthon.core.step import Step, step
from synthon.journal import SQLiteJournal
from synthon.models.local_model import DEFAULT, local
from synthon.models.selecting import select

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from synthon.core.protocols import Emit, Journal, Model
    from synthon.core.values import Capability, Completion, Message, Request

GENERATED, EXTRACTED, SCORED, FULL = 100, 50, 500, 5
REASKED_LABELS, REASKED, TIMED, ROUND = 50, 10, 3, 8
SECONDS = 7 * 60.0
OTHERS = ("gemma3-270m", "qwen2.5-0.5b")
REASKS = (0, 1, 2)

T = TypeVar("T")
Direction = Literal["up", "down", "neutral", "none"]
LABELS: tuple[str, ...] = get_args(Direction)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
_LABEL = re.compile(rf"\b(?:{'|'.join(LABELS)})\b", re.IGNORECASE)


@step(temperature=0.0, retries=0)
async def direction(headline: str) -> Direction:
    """Which way does the price go, according to the headline? If it tells of no price, the answer is none."""
    raise NotImplementedError


# -------------------------------------------------------------------------------------------------------- asking


@dataclass(slots=True)
class Heard:
    """A model that keeps what it answered; a `plain` one can do nothing but chat."""

    model: Model
    plain: bool = False
    completions: list[Completion] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def identity(self) -> str:
        return self.model.identity

    @property
    def capabilities(self) -> frozenset[Capability]:
        return frozenset({"chat"}) if self.plain else self.model.capabilities

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        completion = await self.model.complete(request, emit)
        self.completions.append(completion)
        return completion


@dataclass(frozen=True, slots=True)
class Answer:
    """What a step made of a text, None where nothing fitted, and the last thing the model said."""

    value: object
    text: str
    tokens: int
    is_finished: bool


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to ask: a step, and whether its model can do no more than chat."""

    step: Step[[str], Any]
    plain: bool = False

    async def ask(self, model: Model, text: str) -> Answer:
        heard = Heard(model, self.plain)
        try:
            value = await replace(self.step, model=heard)(text)
        except OutputError:
            value = None
        last, used = heard.completions[-1], [each.usage.output_tokens for each in heard.completions]
        return Answer(value, last.text, sum(used), last.finish != "length")


@dataclass(frozen=True, slots=True)
class _Asking:
    """All answers of an arm at once; a class, so that no argument is written down."""

    arm: Arm
    model: Model
    texts: Sequence[str]

    async def __call__(self) -> list[Answer]:
        return list(await asyncio.gather(*(self.arm.ask(self.model, text) for text in self.texts)))


@dataclass(frozen=True, slots=True)
class _Selecting:
    """The option with the best score by token, after the messages that the step would send."""

    model: Model
    texts: Sequence[str]

    async def __call__(self) -> list[str]:
        return list(await asyncio.gather(*map(self._one, self.texts)))

    async def _one(self, text: str) -> str:
        told = await replace(direction, model=self.model).explain(text)
        return (await select(self.model, told.messages, LABELS, normalize="length")).option


@dataclass(frozen=True, slots=True)
class _Timing:
    """Seconds a row of each arm, one by one, arms in turn; the first turn warms up.

    Each call takes another text while there are some: a prompt that an arm has computed is free for the next.
    """

    arms: Mapping[str, Arm]
    model: Model
    texts: Sequence[str]

    async def __call__(self) -> dict[str, list[float]]:
        seconds: dict[str, list[float]] = {name: [] for name in self.arms}
        texts = cycle(self.texts)
        for _ in range(TIMED + 1):
            for name, arm in self.arms.items():
                text, start = next(texts), time.perf_counter()
                await arm.ask(self.model, text)
                seconds[name].append(time.perf_counter() - start)
        return {name: found[1:] for name, found in seconds.items()}


@dataclass(frozen=True, slots=True)
class Asker:
    """Asks a model and keeps its answers."""

    model: Model
    journal: Journal

    async def ask(self, name: str, arm: Arm, texts: Sequence[str]) -> list[Answer]:
        return await self.kept(name, _Asking(arm, self.model, texts))

    async def kept(self, name: str, asking: Callable[[], Awaitable[list[T]]]) -> list[T]:
        start = time.perf_counter()
        found = await run(asking, journal=self.journal, policy="cache")
        print(f"{self.model.name} {name}: {len(found)} in {time.perf_counter() - start:.1f} s", file=sys.stderr)
        return found

    async def seconds(self, prefix: str, arms: Mapping[str, Arm], texts: Sequence[str]) -> dict[str, Measure]:
        found = await run(_Timing(arms, self.model, texts), policy="off")
        return {
            f"{prefix}.{name}.seconds": Measure(median(each), None, len(each), unit="s")
            for name, each in found.items()
            if each
        }


# ------------------------------------------------------------------------------------------------------ measures


def mean(values: Sequence[float], unit: str = "") -> Measure:
    return Measure(fmean(values) if values else math.nan, statistics.interval(values), len(values), unit=unit)


def share(found: Sequence[bool], target: float | None = None) -> Measure:
    n = len(found)
    return Measure(sum(found) / n if n else math.nan, statistics.share(sum(found), n), n, target)


def gain(ours: Sequence[float], theirs: Sequence[float], target: float | None = None) -> Measure:
    """Ours less theirs on the rows that both have, which are the first."""
    n = min(len(ours), len(theirs))
    found = statistics.paired(ours[:n], theirs[:n])
    return Measure(found.mean, found.interval, found.n, target)


def kept_to(answers: Sequence[Answer]) -> dict[str, Measure]:
    """What a mask promises: an answer that was not cut fits."""
    finished = [answer.value is not None for answer in answers if answer.is_finished]
    return {
        "finished": share([answer.is_finished for answer in answers]),
        "valid_of_finished": share(finished, 1.0 if finished else None),
    }


# -------------------------------------------------------------------------------------------------------- labels


@dataclass(frozen=True, slots=True)
class Headlines:
    """Headlines drawn by seed and their labels; `majority` is the most frequent of the whole file."""

    texts: tuple[str, ...]
    gold: tuple[str, ...]
    majority: str

    def right(self, said: Sequence[object]) -> list[float]:
        return [float(one == gold) for one, gold in zip(said, self.gold, strict=False)]

    def balanced(self, said: Sequence[object]) -> Measure:
        by_label: dict[str, list[float]] = {}
        for right, gold in zip(self.right(said), self.gold, strict=False):
            by_label.setdefault(gold, []).append(right)
        sets = [values for values in by_label.values() if len(values) > 1]
        value = fmean(map(fmean, sets)) if sets else math.nan
        return Measure(value, statistics.stratified(sets) if sets else None, sum(map(len, sets)))


def headlines(data: Path, count: int, seed: int) -> Headlines:
    found = list(datasets.rows(data / "frugalgpt" / "headlines.jsonl"))
    ((majority, _),) = Counter(str(row["label"]) for row in found).most_common(1)
    drawn = random.Random(seed).sample(found, min(count, len(found)))
    return Headlines(tuple(str(row["headline"]) for row in drawn), tuple(str(row["label"]) for row in drawn), majority)


def as_usual(rendering: Rendering) -> list[Message]:
    """The messages of the step without a constraint of its own, so that arms differ in nothing else."""
    return render(replace(rendering, expected=direction.output.expected))


def label_in(text: str) -> str | None:
    """The first label that a text holds."""
    found = _LABEL.search(text)
    return found[0].lower() if found else None


written = replace(direction, sampling={"temperature": 0.0, "max_tokens": 24})
LABEL_ARMS = {
    "text": Arm(written, plain=True),
    "mask": Arm(replace(written, constraint=choice(*LABELS), render=as_usual)),
    "scored": Arm(direction),
    "calibrated": Arm(replace(direction, calibrate=True)),
}


async def measure_labels(asker: Asker, rows: Headlines, generated: int) -> dict[str, Measure]:
    few = rows.texts[:generated]
    answers = {
        name: await asker.ask(f"labels {name}", arm, few if name in {"text", "mask"} else rows.texts)
        for name, arm in LABEL_ARMS.items()
    }
    said: dict[str, list[Any]] = {name: [answer.value for answer in each] for name, each in answers.items()}
    said["text"] = [label_in(answer.text) for answer in answers["text"]]
    said["length"] = await asker.kept("labels length", _Selecting(asker.model, rows.texts))
    right = {name: rows.right(each) for name, each in said.items()}
    right["majority"] = rows.right([rows.majority] * len(rows.texts))
    found = {
        "text.fits": share([answer.value is not None for answer in answers["text"]]),
        "text.parseable": share([each is not None for each in said["text"]]),
        **{f"mask.{name}": measure for name, measure in kept_to(answers["mask"]).items()},
        **{f"{name}.right": share([value > 0 for value in each]) for name, each in right.items()},
        **{f"{name}.balanced": rows.balanced(said[name]) for name in ("scored", "length", "calibrated")},
    }
    for ours, theirs in (
        ("mask", "text"), ("scored", "text"), ("calibrated", "text"), ("mask", "majority"), ("scored", "mask"),
        ("length", "scored"), ("calibrated", "scored"), ("calibrated", "majority"),
    ):  # fmt: skip
        found[f"gain.{ours}_over_{theirs}"] = gain(right[ours], right[theirs])
    measures = {f"labels.{name}": measure for name, measure in found.items()}
    return measures | await asker.seconds("labels", LABEL_ARMS, rows.texts)


# ---------------------------------------------------------------------------------------------------- extraction


def arms_of(task: Task) -> Iterator[tuple[str, Arm]]:
    for suffix, demos in (("", ()), (".demos", task.demos)):
        shown = replace(task.step, demos=demos)
        yield f"text{suffix}", Arm(shown, plain=True)
        for layout in LAYOUTS:
            yield f"layout_{layout}{suffix}", Arm(replace(shown, layout=layout))


@dataclass(slots=True)
class Extracted:
    """An arm's answers to the first rows of a task; `values` are what is counted."""

    task: Task
    answers: list[Answer] = field(default_factory=list)
    values: list[object] = field(default_factory=list)

    def of(self, figure: Figure) -> list[float]:
        """A figure of each row."""
        return [row.figures(value)[figure] for row, value in zip(self.task.rows, self.values, strict=False)]


Found = dict[str, list[Extracted]]


async def extracted(asker: Asker, tasks: Sequence[Task], end: float) -> Found:
    """Each arm's answers, task by task; rounds of all arms until the rows or the time are over."""
    names = ["all_null", *(name for name, _ in arms_of(tasks[0])), "text.lenient", "text.demos.lenient"]
    found = {name: [Extracted(each) for each in tasks] for name in names}
    for start in range(0, max(len(each.rows) for each in tasks), ROUND):
        if start and time.monotonic() > end:
            break
        for number, each in enumerate(tasks):
            await one_round(
                asker, each, each.rows[start : start + ROUND], {name: found[name][number] for name in names}
            )
    return found


async def one_round(asker: Asker, task: Task, rows: Sequence[Row], found: Mapping[str, Extracted]) -> None:
    """Add the answers of all arms to a few rows."""
    if not rows:
        return
    found["all_null"].values += [dict.fromkeys(row.gold) for row in rows]
    for name, arm in arms_of(task):
        answers = await asker.ask(f"{task.name} {name}", arm, [row.text for row in rows])
        found[name].answers += answers
        found[name].values += [answer.value for answer in answers]
        if arm.plain:
            found[f"{name}.lenient"].values += [task.lenient(answer.text) for answer in answers]


def arm_measures(name: str, arm: Sequence[Extracted]) -> Iterator[tuple[str, Measure]]:
    answers = [answer for part in arm for answer in part.answers]
    if name != "all_null":
        yield "valid", share([value is not None for part in arm for value in part.values])
    if name.startswith("layout"):
        yield from kept_to(answers).items()
    for figure in FIGURES:
        values = [value for part in arm for value in part.of(figure)]
        yield figure, share([value == 1 for value in values]) if figure == "whole" else mean(values)
    if answers:
        yield "tokens", mean([float(answer.tokens) for answer in answers], "tokens")


def gain_measures(found: Found) -> Iterator[tuple[str, Measure]]:
    """Mask over text, layouts over the default one, examples over none; layouts for each task too."""
    pairs = [("layout_free", "text.lenient"), ("layout_free.demos", "text.demos.lenient")]
    layouts = [(f"layout_{name}{demos}", f"layout_free{demos}") for demos in ("", ".demos") for name in LAYOUTS[1:]]
    examples = [(f"{name}.demos", name) for name in ("text", *(f"layout_{layout}" for layout in LAYOUTS))]
    for ours, theirs in (*pairs, *layouts, *examples):
        for figure in FIGURES if (ours, theirs) in layouts else ("whole", "f1"):
            sides = [[part.of(figure) for part in found[arm]] for arm in (ours, theirs)]
            left, right = (list(chain(*side)) for side in sides)
            yield f"gain.{ours}_over_{theirs}.{figure}", gain(left, right)
            if (ours, theirs) in layouts and figure == "f1":
                for part, left, right in zip(found[ours], *sides, strict=True):
                    yield f"gain.{ours}_over_{theirs}.{figure}.{part.task.name}", gain(left, right)


async def measure_extraction(asker: Asker, tasks: Sequence[Task], end: float) -> dict[str, Measure]:
    found = await extracted(asker, tasks, end)
    measures = {
        f"extraction.{name}.{kind}": measure for name, arm in found.items() for kind, measure in arm_measures(name, arm)
    }
    measures |= {f"extraction.{name}": measure for name, measure in gain_measures(found)}
    first = tasks[0]
    texts = [row.text for row in first.rows]
    return measures | await asker.seconds("extraction", dict(arms_of(first)), texts)


# -------------------------------------------------------------------------------------------------------- reasks


async def measure_reasks(
    asker: Asker, name: str, asked: Sequence[tuple[Step[[str], Any], Sequence[str]]]
) -> dict[str, Measure]:
    """Share of free texts that fit after being sent back at most so many times."""
    measures: dict[str, Measure] = {}
    before: list[bool] = []
    for times in REASKS:
        valid: list[bool] = []
        for asks, texts in asked:
            arm = Arm(replace(asks, retries=times), plain=True)
            answers = await asker.ask(f"{asks.name} sent back {times}", arm, texts)
            valid += [answer.value is not None for answer in answers]
        measures[f"reasks.{name}.{times}.valid"] = share(valid)
        if before:
            measures[f"reasks.{name}.gain.{times}"] = gain(valid, before, 0.0)
        before = valid
    return measures


# ----------------------------------------------------------------------------------------------------------- run


async def measure(asker: Asker, rows: Headlines, tasks: Sequence[Task], scale: int) -> dict[str, Measure]:
    end = time.monotonic() + (SECONDS if scale == 1 else math.inf)
    measures = await measure_labels(asker, rows, GENERATED * scale)
    measures |= await measure_reasks(asker, "labels", [(written, rows.texts[: REASKED_LABELS * scale])])
    few = [(each.step, [row.text for row in each.rows[: REASKED * scale]]) for each in tasks]
    measures |= await measure_reasks(asker, "extraction", few)
    return measures | await measure_extraction(asker, tasks, end)


def models(*, full: bool) -> Iterator[Model]:
    yield local()
    for name in OTHERS if full else ():
        try:
            yield local(name)
        except MissingExtra as missing:
            print(f"{name}: left out, {missing}", file=sys.stderr)


def measured(arguments: Arguments, scale: int) -> dict[str, Measure]:
    rows = headlines(arguments.data, SCORED * scale, arguments.seed)
    tasks = [
        task(arguments.data, domain, asks, count=EXTRACTED * scale, seed=arguments.seed)
        for domain, asks in (("hotels", booking), ("banking", payment))
    ]
    measures: dict[str, Measure] = {}
    arguments.cache.mkdir(parents=True, exist_ok=True)
    with SQLiteJournal(arguments.cache / "small_model.db") as journal:
        for model in models(full=arguments.full):
            found = asyncio.run(measure(Asker(model, journal), rows, tasks, scale))
            prefix = "" if model.name == DEFAULT else f"{model.name}."
            measures |= {f"{prefix}{name}": each for name, each in found.items()}
    return measures


def main() -> None:
    arguments = parse(__doc__)
    try:
        local()
        measures = measured(arguments, FULL if arguments.full else 1)
    except (datasets.DataMissing, MissingExtra) as missing:
        skip("small_model", str(missing), arguments)
        return
    report("small_model", arguments.seed, measures, as_json=arguments.json, readme=arguments.readme)


if __name__ == "__main__":
    main()
