"""Pass@1 of the program that `generate_and_test` picks, against a random sample, with each of its parts left out.

    python -m benchmarks.humaneval [--data DIR] [--cache DIR] [--full] [--json]

HumanEval (Chen 2021, arXiv:2107.03374), five samples of each function from `qwen2.5-0.5b` (Coder), the same for all
arms. `sample` is the mean of the five, what a random one is worth; `any` whether one of them passes, what a perfect
pick is worth. `filter` drops what fails the examples in the task's own text, `cluster` joins what behaves alike on
inputs changed from those of the examples and takes the largest group, `rank` asks the model how likely it finds a
group's program right; `picked` is all three, `without_*` two of them, the parts' own names one alone. The hidden tests
decide, and no arm sees them. All code runs under bubblewrap. Gains are paired over tasks. Tasks are drawn by seed,
those without examples among them; programs and runs are kept. A run without a cache stops after eight minutes, and `n`
says how far it came. `--full` takes all tasks, and `qwen2.5-coder-1.5b` too where its weights are here.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import TYPE_CHECKING, cast

import synthon as sy
from benchmarks.datasets import DataMissing
from benchmarks.programs import Programming, humaneval
from benchmarks.report import Arguments, Measure, parse, report, skip
from benchmarks.small_model import Heard, gain, mean, share
from synthon.core.errors import MissingExtra
from synthon.core.running import run
from synthon.core.settings import MODEL, ambient, entered
from synthon.journal import SQLiteJournal
from synthon.models.selecting import distribution
from synthon.strategies.programming import python_of, ran

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthon.core.protocols import Journal, Model

MODELS = ("qwen2.5-0.5b", "qwen2.5-coder-1.5b")
ROWS, SAMPLES, ROUND, SECONDS = 25, 5, 2, 8 * 60.0
PARTS = ("filter", "cluster", "rank")
ARMS: dict[str, frozenset[str]] = {
    "picked": frozenset(PARTS),
    **{f"without_{part}": frozenset(PARTS) - {part} for part in PARTS},
    **{part: frozenset({part}) for part in PARTS},
}
_JUDGED = ("true", "false")


@sy.step(max_tokens=224)
async def write(prompt: str) -> str:
    """Complete the Python function. Write the whole function in one fenced block of code, without its docstring, and
    nothing else."""  # noqa: D205, D209 - one instruction
    raise NotImplementedError


@sy.step(temperature=0.0)
async def is_right(prompt: str, program: str) -> bool:
    """Does the program do what the prompt asks for, on all inputs?"""
    raise NotImplementedError


async def likely(answer: str, prompt: str) -> float:
    """How likely the model finds a program right."""
    told = await is_right.explain(prompt, python_of(answer))
    return (await distribution(cast("Model", ambient()[MODEL]), told.messages, _JUDGED))[_JUDGED[0]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task: which samples pass, and by arm whether its pick does."""

    samples: tuple[bool, ...]
    picks: dict[str, bool]
    calls: int
    tokens: int


def strategy(task: Programming, parts: frozenset[str]) -> sy.generate_and_test:
    """The strategy with some of its parts."""
    return sy.generate_and_test(
        SAMPLES,
        task.examples if "filter" in parts else (),
        probes=task.probes if "cluster" in parts else (),
        scorer=likely if "rank" in parts else None,
        sandbox=sy.bubblewrap(),
        code=lambda answer: task.program(python_of(answer)),
    )


@dataclass(frozen=True, slots=True)
class _Asking:
    """One arm of one task; a class, so that no argument is written down."""

    task: Programming
    parts: frozenset[str]
    model: Heard

    async def __call__(self) -> str:
        with entered({MODEL: self.model}):
            return await replace(write, strategy=strategy(self.task, self.parts))(self.task.prompt)


@dataclass(frozen=True, slots=True)
class _Testing:
    """Whether programs pass the hidden tests."""

    task: Programming
    answers: Sequence[str]

    async def __call__(self) -> list[bool]:
        sandbox = sy.bubblewrap()
        found = await asyncio.gather(
            *(ran(sandbox, self.task.tested(python_of(each))) for each in dict.fromkeys(self.answers))
        )
        passed = dict(zip(dict.fromkeys(self.answers), (not each.error for each in found), strict=True))
        return [passed[each] for each in self.answers]


async def outcome(task: Programming, model: Model, journal: Journal) -> Outcome:
    """All arms on one task."""

    async def kept(asking: Callable[[], object]) -> object:
        return await run(cast("Callable[..., object]", asking), journal=journal, policy="cache")  # type: ignore[arg-type] # both are awaited

    picks: dict[str, str] = {}
    heard = Heard(model)
    for name, parts in ARMS.items():
        heard = Heard(model)
        picks[name] = cast("str", await kept(_Asking(task, parts, heard)))
        if not parts & {"rank"}:
            samples = [each.text for each in heard.completions]
    passed = cast("list[bool]", await kept(_Testing(task, [*samples, *picks.values()])))
    used = sum(each.usage.output_tokens for each in heard.completions)
    return Outcome(
        tuple(passed[: len(samples)]), dict(zip(picks, passed[len(samples) :], strict=True)), len(samples), used
    )


def measures_of(found: Sequence[Outcome]) -> Iterator[tuple[str, Measure]]:
    random = [fmean(each.samples) for each in found]
    yield "sample", mean(random)
    yield "any", share([any(each.samples) for each in found])
    for arm in ARMS:
        picked = [each.picks[arm] for each in found]
        yield arm, share(picked)
        yield f"gain.{arm}_over_sample", gain(picked, random)
    for part in PARTS:
        with_, without = ([each.picks[arm] for each in found] for arm in ("picked", f"without_{part}"))
        yield f"gain.{part}", gain(with_, without)


def models(*, full: bool) -> Iterator[Model]:
    for name in MODELS if full else MODELS[:1]:
        try:
            yield sy.local(name, deterministic=False)
        except MissingExtra as missing:
            print(f"{name}: left out, {missing}", file=sys.stderr)


async def measure(arguments: Arguments, journal: Journal) -> dict[str, Measure]:
    tasks = humaneval(arguments.data, seed=arguments.seed)[: None if arguments.full else ROWS]
    end = math.inf if arguments.full else time.monotonic() + SECONDS
    measures: dict[str, Measure] = {}
    for model in models(full=arguments.full):
        found: list[Outcome] = []
        for start in range(0, len(tasks), ROUND):
            if time.monotonic() > end:
                break
            few = tasks[start : start + ROUND]
            found += await asyncio.gather(*(outcome(each, model, journal) for each in few))
            print(f"{model.name}: {len(found)} of {len(tasks)}", file=sys.stderr)
        if found:
            measures |= {f"humaneval.{model.name}.{name}": each for name, each in measures_of(found)}
    return measures


def main() -> None:
    arguments = parse(__doc__)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    try:
        with SQLiteJournal(arguments.cache / "humaneval.db") as journal:
            measures = asyncio.run(measure(arguments, journal))
    except (DataMissing, MissingExtra) as missing:
        skip("humaneval", str(missing), arguments)
        return
    if not measures:
        skip("humaneval", f"no weights of {MODELS[0]!r}; get them by `synthon models fetch {MODELS[0]}`", arguments)
        return
    report("humaneval", arguments.seed, measures, as_json=arguments.json, readme=arguments.readme)


if __name__ == "__main__":
    main()
