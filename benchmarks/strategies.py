"""What the strategies buy: recorded samples of a large model replayed, and two small models asked live.

    python -m benchmarks.strategies [--data DIR] [--cache DIR] [--full] [--json]

`replay`: no model runs. BIG-Bench Hard as code-davinci-002 once answered it, direct and with a chain of thought, goes
through a step with the strategy (`predict`, `chain_of_thought`) and a journal, then once more from the journal alone
(`replay_only`; `calls` counts what still reached the recording). An answer is what stands after the last "answer is".

`live`: the embedded model and `qwen2.5-0.5b`, the same samples for all that draw alike, reasoning asked to be brief and
cut at 64 tokens, of numbers at 128. Votes are of five, `best_of` is judged by the model itself (how likely it finds
"true"), `refine` is criticised by it, at most two rounds, `debate` is of three in one round. `knn` shows the four
nearest problems of those that are never asked. `early_stop` is the same vote, given up as soon as nothing can change:
`saved` is the share of its votes not cast, `same` of its answers that stayed. `threshold` of `uncertainty_routed` is
the best of four on a few rows that are not asked, of all sets together. `calls`, `tokens` (generated) and
`prompt_tokens` are means a row over the sets; a gain is over the rows that both have. An answer that does not fit is
wrong.

`medprompt` is its ladder on MMLU: nothing shown (`predict`), the three nearest of 24 examples, the nearest of those
that the model reasons out rightly, with its reasoning, and five orders of the choices put to the vote. These, `debate`,
and on the sets of numbers `program_of_thought` and `react` with the calculator, are asked of fewer rows.

Rows are drawn by seed and answered in rounds of all arms; a run without a cache stops after eight minutes, so `n` says
how far it came, and the next goes on from there. `seconds` are measured anew in every run: rows of StrategyQA asked one
by one of the embedded model, nothing read from the journal. `--full` goes on to a hundred rows a set.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import fmean, median
from typing import TYPE_CHECKING, Any, cast

import synthon as sy
from benchmarks import questions
from benchmarks.datasets import DataMissing
from benchmarks.questions import Problem, Problems, Recording
from benchmarks.report import Arguments, Measure, parse, report, skip
from benchmarks.small_model import Heard, gain, mean, share
from benchmarks.solving import decision, letter, number, right_by_itself, wrong_by_itself
from synthon.core.errors import LoopDetected, MissingExtra, OutputError, UserError
from synthon.core.render import Demo
from synthon.core.running import run
from synthon.core.settings import MODEL, entered
from synthon.core.step import Step, Strategy
from synthon.journal import SQLiteJournal
from synthon.strategies.thinking import ChainOfThought
from synthon.systems.medprompt import medprompt
from synthon.tools import calculator
from synthon.wrappers.journaled import Journaled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthon.core.protocols import Journal, Model
    from synthon.retrieval.nearest import Examples

SMALL, LARGER = "smollm2-135m", "qwen2.5-0.5b"
ROWS, FULL = {SMALL: 12, LARGER: 12}, 100
DEAR = {SMALL: 4, LARGER: 4}  # of the arms that read or write most
ROUND, DEV, TIMED, SECONDS = 2, 3, 2, 8 * 60.0
VOTES, NEAREST, WORKED, SHOWN = 5, 4, 24, 3
BRIEFLY = "Let's think step by step, in at most three short sentences and without formulas in LaTeX. Do not answer yet."
THRESHOLDS = (0.4, 0.6, 0.8, 1.0)
GAINS = (
    ("chain_of_thought", "predict"), ("knn", "predict"), ("refine", "predict"), ("shuffled_ensemble", "predict"),
    ("self_consistency", "chain_of_thought"), ("uncertainty_routed", "chain_of_thought"),
    ("best_of", "chain_of_thought"), ("debate", "chain_of_thought"),
    ("program_of_thought", "predict"), ("react", "predict"),
    ("medprompt.nearest", "predict"), ("medprompt.reasoned", "medprompt.nearest"),
    ("medprompt.whole", "medprompt.reasoned"), ("medprompt.whole", "predict"),
)  # fmt: skip


# -------------------------------------------------------------------------------------------------------- replay

_ID = re.compile(r"^id: (.+)$", re.MULTILINE)


@sy.step(retries=0)
async def recorded_answer(id: str, question: str) -> str:  # noqa: A002 - what the recording calls it
    """Answer the question."""
    raise NotImplementedError


@dataclass(slots=True)
class Speaking:
    """A recording as a model: its reasoning when asked for that, else its answer."""

    rows: Mapping[str, Recording]
    calls: int = 0

    def __call__(self, request: sy.Request) -> str:
        self.calls += 1
        texts = [message.text for message in request.messages]
        found = _ID.search("\n".join(texts))
        if found is None:
            msg = f"No id in {texts!r}. Ask with recorded_answer(id, question)."
            raise ValueError(msg)
        row = self.rows[found[1]]
        return row.thought if texts[-1] == sy.chain_of_thought.prompt else row.answer


async def replayed(rows: Sequence[Recording], strategy: Strategy, journal: Journal) -> tuple[list[bool], int]:
    """Which rows come out right when read from the journal, and how many calls that still took."""
    speaking = Speaking({row.id: row for row in rows})
    model = Journaled(sy.FunctionModel(speaking, identity="recorded:code-davinci-002"))
    asked = replace(recorded_answer, model=model, strategy=strategy)

    async def all_rows() -> list[bool]:
        return [await asked(row.id, row.question) == row.target for row in rows]

    await run(all_rows, journal=journal, policy="cache")
    before = speaking.calls
    return await run(all_rows, journal=journal, policy="replay_only"), speaking.calls - before


async def measure_replay(arguments: Arguments) -> dict[str, Measure]:
    found: dict[str, list[bool]] = {}
    calls = 0
    for name, mode, strategy in (("predict", "direct", sy.predict), ("chain_of_thought", "cot", sy.chain_of_thought)):
        rows = questions.recorded(arguments.data, cast("questions.Mode", mode))
        found[name], again = await replayed(rows, strategy, sy.MemoryJournal())
        calls += again
    measures = {f"replay.bbh.{name}": share(right) for name, right in found.items()}
    measures["replay.bbh.gain"] = gain(found["chain_of_thought"], found["predict"])
    for name, published in (("predict", 0.523), ("chain_of_thought", 0.740)):
        off = abs(measures[f"replay.bbh.{name}"].value - published)
        measures[f"replay.bbh.{name}.off_published"] = Measure(off, None, len(found[name]), 0.02, "<=")
    return measures | {"replay.bbh.calls": Measure(calls, None, len(found["predict"]), 0, "<=")}


# ---------------------------------------------------------------------------------------------------------- live


@dataclass(frozen=True, slots=True)
class Said:
    """An answer, whether it is right, and what it took."""

    answer: object
    is_right: bool
    calls: int
    tokens: int
    prompt_tokens: int


def demos(problems: Problems) -> list[Demo]:
    """The problems to learn from, as examples."""
    return [Demo(each.inputs, each.answer) for each in problems.learnt]


@cache
def examples(problems: Problems) -> Examples:
    """What chooses among them, embedded once."""
    return sy.nearest(demos(problems), embedder=sy.embedder(threads=1))


@dataclass(frozen=True, slots=True)
class Task:
    """A set and the step that answers it."""

    problems: Problems
    step: Step[..., Any]
    thought: int

    @property
    def thinking(self) -> ChainOfThought:
        return replace(sy.chain_of_thought, prompt=BRIEFLY, max_tokens=self.thought)

    def arms(self, threshold: float) -> dict[str, Step[..., Any]]:
        """The step under each strategy."""
        thinking = self.thinking
        strategies: dict[str, Strategy] = {
            "predict": sy.predict,
            "chain_of_thought": thinking,
            "self_consistency": sy.self_consistency(VOTES, of=thinking, early_stop=False),
            "early_stop": sy.self_consistency(VOTES, of=thinking),
            "uncertainty_routed": sy.uncertainty_routed(VOTES, threshold, of=thinking),
            "best_of": sy.best_of(VOTES, right_by_itself, of=thinking),
            "refine": sy.refine(wrong_by_itself, 2),
        }
        if self.problems.asked[0].choices:
            strategies["shuffled_ensemble"] = sy.shuffled_ensemble("choices", VOTES)
        found = {name: replace(self.step, strategy=each) for name, each in strategies.items()}
        return found | {"knn": replace(self.step, demos=sy.knn(NEAREST, selector=examples(self.problems)))}

    async def dear_arms(self) -> dict[str, Step[..., Any]]:
        """The step under what takes most, Medprompt's rungs among it where there are choices."""
        strategies: dict[str, Strategy] = {"debate": sy.debate(3, 1)}
        if self.step.fn is number.fn:
            strategies |= {"program_of_thought": sy.program_of_thought(), "react": sy.react([calculator], 5)}
        longer = self.step.using(max_tokens=self.thought)
        found = {name: replace(longer, strategy=each) for name, each in strategies.items()}
        if not self.problems.asked[0].choices:
            return found
        made = await medprompt(
            self.step, demos(self.problems)[:WORKED], "choices", k=SHOWN, votes=VOTES, of=self.thinking
        )
        rungs = {"medprompt.nearest": made.nearest, "medprompt.reasoned": made.reasoned, "medprompt.whole": made.whole}
        return found | rungs


async def ask(step: Step[..., Any], model: Model, problem: Problem) -> Said:
    """One row, and what it took."""
    heard = Heard(model)
    try:
        with entered({MODEL: heard}):
            answer = await step(**problem.inputs)
    except (OutputError, LoopDetected):
        answer = None
    used = [each.usage for each in heard.completions]
    output = sum(each.output_tokens for each in used)
    return Said(answer, problem.is_right(answer), len(used), output, sum(each.tokens for each in used) - output)


@dataclass(frozen=True, slots=True)
class _Asking:
    """Rows at once; a class, so that no argument is written down."""

    step: Step[..., Any]
    model: Model
    problems: Sequence[Problem]

    async def __call__(self) -> list[Said]:
        return list(await asyncio.gather(*(ask(self.step, self.model, each) for each in self.problems)))


Found = dict[tuple[str, str], list[Said]]  # by set and arm


@dataclass(slots=True)
class Live:
    """A model asked in rounds until the rows or the time are over."""

    model: Model
    journal: Journal
    tasks: Sequence[Task]
    end: float
    found: Found = field(default_factory=dict)
    threshold: float = 0.6
    dev_rows: int = 0

    async def round(self, start: int, stop: int) -> None:
        """All arms but the routed one, whose threshold is learnt last: it costs no new samples."""
        for task in self.tasks:
            for name, step in task.arms(self.threshold).items():
                if name != "uncertainty_routed":
                    await self._round(task, name, step, range(start, stop))

    async def dear_round(self, start: int, stop: int) -> None:
        for task in self.tasks:
            for name, step in (await self._dear_arms(task)).items():
                await self._round(task, name, step, range(start, stop))

    async def _dear_arms(self, task: Task) -> dict[str, Step[..., Any]]:
        """Those; none where the model works out no example, or the time is over."""
        if time.monotonic() > self.end:
            return {}
        try:
            with entered({MODEL: self.model}):
                return await run(task.dear_arms, journal=self.journal, policy="cache")
        except UserError as error:
            print(f"{self.model.name} {task.problems.name}: {error}", file=sys.stderr)
            return {}

    async def routed(self) -> None:
        """Learn the threshold on rows that are not asked, then route those that are."""
        dev = [(task, task.problems.learnt[:DEV]) for task in self.tasks]
        right: dict[float, list[bool]] = {}
        for threshold, (task, problems) in itertools.product(THRESHOLDS, dev):
            if time.monotonic() > self.end:
                break
            said = await self._kept(task.arms(threshold)["uncertainty_routed"], problems)
            right.setdefault(threshold, []).extend(each.is_right for each in said)
        self.dev_rows = min(map(len, right.values())) if len(right) == len(THRESHOLDS) else 0
        if self.dev_rows:
            self.threshold = max(THRESHOLDS, key=lambda each: fmean(right[each][: self.dev_rows]))
        for task in self.tasks:
            done = len(self.found.get((task.problems.name, "self_consistency"), ()))
            routed = task.arms(self.threshold)["uncertainty_routed"]
            await self._round(task, "uncertainty_routed", routed, range(done))

    async def _round(self, task: Task, name: str, step: Step[..., Any], places: range) -> None:
        if time.monotonic() > self.end:
            return
        before, problems = time.monotonic(), [task.problems.asked[place] for place in places]
        said = await self._kept(step, problems)
        self.found.setdefault((task.problems.name, name), []).extend(said)
        if (took := time.monotonic() - before) > 1:
            rows = f"{places.start}..{places.stop}"
            print(f"{self.model.name} {task.problems.name} {name} {rows}: {took:.0f} s", file=sys.stderr)

    async def _kept(self, step: Step[..., Any], problems: Sequence[Problem]) -> list[Said]:
        return await run(_Asking(step, self.model, problems), journal=self.journal, policy="cache")

    def measures(self) -> dict[str, Measure]:
        """Accuracy by set and arm; gains, calls and tokens over the sets."""
        measures = {
            f"{name}.{arm}": share([each.is_right for each in said]) for (name, arm), said in self.found.items()
        }
        measures |= {f"gain.{ours}_over_{theirs}": self._gain(ours, theirs) for ours, theirs in GAINS}
        measures |= self._early()
        measures["threshold"] = Measure(self.threshold, None, self.dev_rows)
        for arm in dict.fromkeys(arm for _, arm in self.found):
            said = [each for (_, name), rows in self.found.items() if name == arm for each in rows]
            measures[f"{arm}.calls"] = mean([float(each.calls) for each in said])
            measures[f"{arm}.tokens"] = mean([float(each.tokens) for each in said], "tokens")
            measures[f"{arm}.prompt_tokens"] = mean([float(each.prompt_tokens) for each in said], "tokens")
        return {f"live.{self.model.name}.{name}": each for name, each in measures.items() if each.n}

    def _pairs(self, ours: str, theirs: str) -> Iterator[tuple[Said, Said]]:
        for task in self.tasks:
            name = task.problems.name
            yield from zip(self.found.get((name, ours), ()), self.found.get((name, theirs), ()), strict=False)

    def _gain(self, ours: str, theirs: str) -> Measure:
        pairs = list(self._pairs(ours, theirs))
        if not pairs:
            return Measure(math.nan, n=0)
        return gain([left.is_right for left, _ in pairs], [right.is_right for _, right in pairs])

    def _early(self) -> dict[str, Measure]:
        found: dict[str, Measure] = {}
        pairs = list(self._pairs("early_stop", "self_consistency"))
        if pairs:
            same = [left.answer == right.answer for left, right in pairs]
            saved = [1 - left.calls / right.calls for left, right in pairs]
            found["early_stop.same"] = replace(share(same), target=1.0)
            found["early_stop.saved"] = replace(mean(saved), target=0.3)
        return found


async def timed(model: Model, task: Task) -> dict[str, Measure]:
    """Seconds a row of each arm, one by one; each asks rows of its own, which nothing has computed before."""
    seconds: dict[str, list[float]] = {}
    rows = itertools.cycle(task.problems.asked[::-1])
    for _ in range(TIMED):
        for name, step in task.arms(1.0).items():
            asking = _Asking(step, model, [next(rows)])
            start = time.perf_counter()
            await run(asking, policy="off")
            seconds.setdefault(name, []).append(time.perf_counter() - start)
    return {f"{name}.seconds": Measure(median(each), None, len(each), unit="s") for name, each in seconds.items()}


# ----------------------------------------------------------------------------------------------------------- run


def tasks(arguments: Arguments) -> list[Task]:
    steps: dict[str, tuple[Step[..., Any], int]] = {
        "gsm8k": (number, 128), "math_word_problems": (number, 128), "strategyqa": (decision, 64), "mmlu": (letter, 64),
    }  # fmt: skip
    found = [load(arguments.data, seed=arguments.seed) for load in questions.SETS]
    return [Task(each, *steps[each.name]) for each in found]


def models() -> Iterator[Model]:
    """Those whose weights are here; qwen's numbers depend on what is computed beside them, so its answers are kept."""
    for name in (SMALL, LARGER):
        try:
            yield sy.local(name, deterministic=name == SMALL)
        except MissingExtra as missing:
            print(f"{name}: left out, {missing}", file=sys.stderr)


async def measure(arguments: Arguments, journal: Journal) -> dict[str, Measure]:
    measures = await measure_replay(arguments)
    asked, end = tasks(arguments), math.inf if arguments.full else time.monotonic() + SECONDS
    lives = [Live(model, journal, asked, end) for model in models()]
    for most, ask in ((ROWS, Live.round), (DEAR, Live.dear_round)):
        for start, live in itertools.product(range(0, FULL, ROUND), lives):
            rows = FULL if arguments.full else most[live.model.name]
            if start < rows:
                await ask(live, start, min(start + ROUND, rows))
    for live in lives:
        await live.routed()
        measures |= live.measures()
    (closed,) = [task for task in asked if task.problems.name == "strategyqa"]
    seconds = await timed(lives[0].model, closed)
    return measures | {f"live.{SMALL}.{arm}": each for arm, each in seconds.items()}


def main() -> None:
    arguments = parse(__doc__)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    try:
        sy.local()
        with SQLiteJournal(arguments.cache / "strategies.db") as journal:
            measures = asyncio.run(measure(arguments, journal))
    except (DataMissing, MissingExtra) as missing:
        skip("strategies", str(missing), arguments)
        return
    report("strategies", arguments.seed, measures, as_json=arguments.json, readme=arguments.readme)


if __name__ == "__main__":
    main()
