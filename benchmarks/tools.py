"""Tool use by small local models: calls under a mask, free, and by BFCL's own prompt; and agents in closed worlds.

    python -m benchmarks.tools [--data DIR] [--cache DIR] [--full] [--json]

`bfcl`: single turns of the Berkeley Function-Calling Leaderboard (simple, multiple, parallel, irrelevance), greedy, 320
tokens at most. `constrained` is `sy.next_calls` under its mask, `free` the same request to the same model without one,
both asked again once where nothing fits; `bfcl_eval` is the package's own prompt for models without an interface for
functions, its answer read as the package does. `match` is the AST match (`benchmarks.function_calls`), for irrelevance
that no function was called; `well_formed` the share of rows with a function to call where what was said reads as calls
that fit the functions' schemas, or in ours as an answer; `calls` all three categories that want calls together.
`matcher.agrees` is how often our match says what the package's says, of allowed answers to all rows, many of them
altered so that they match no more (`matcher.matches`).

`agents`: tasks with an end that can be checked. `oracle` is a script that knows the way: it tests the runtime alone,
not a model. `autogpt` are AutoGPT's challenges that end in files (Significant Gravitas, agbenchmark 0.0.10), with a
file workspace and nothing else, so that those that need the web are out of a model's reach; `dbbench` SQL tasks of
AgentBench (Liu 2023, arXiv:2308.03688) on SQLite, by the answer's equality or the table's state after; `toolalpaca`
(Tang 2023, arXiv:2306.05301) asks for the golden functions in their order, each tool answering that it was done; the
arguments are not judged. Rows are drawn by seed in rounds of all; a run without a cache stops after eight minutes.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import synthon as sy
from benchmarks import agents, peer
from benchmarks.datasets import DataMissing, rows
from benchmarks.function_calls import Call, Function, matches, schema, written
from benchmarks.report import Arguments, Measure, parse, report, skip
from benchmarks.small_model import Heard, gain, share
from synthon.core.errors import MissingExtra, OutputError
from synthon.core.identity import dumps
from synthon.core.running import run
from synthon.core.values import Message, Request, ToolSpec
from synthon.decoding.validation import unmet_schema
from synthon.journal import SQLiteJournal

if TYPE_CHECKING:
    from pathlib import Path

    from synthon.core.protocols import Journal, Model

SMALL, LARGER = "smollm2-135m", "qwen2.5-0.5b"
ROWS, FULL = {SMALL: 16, LARGER: 4}, 100  # of each category
ROUND, SECONDS, TOKENS = 4, 8 * 60.0, 320
ABOVE_0 = 1e-4  # what a lower bound must reach to be above 0
CATEGORIES = {"simple": "simple_python", "multiple": "multiple", "parallel": "parallel", "irrelevance": "irrelevance"}
ARMS = ("constrained", "free", "bfcl_eval")


# ---------------------------------------------------------------------------------------------------------- bfcl


@dataclass(frozen=True, slots=True)
class Task:
    """A question, the functions offered, the answers allowed, and the messages of the peer's prompt."""

    id: str
    category: str
    messages: tuple[Message, ...]
    functions: Sequence[Function]
    allowed: Sequence[Mapping[str, Mapping[str, Sequence[Any]]]]
    theirs: tuple[Message, ...] = ()

    @property
    def tools(self) -> list[ToolSpec]:
        return [
            ToolSpec(each["name"], each["description"], dumps(schema(each["parameters"]))) for each in self.functions
        ]

    @property
    def plain(self) -> dict[str, object]:
        """As the peer's script reads it."""
        messages = [{"role": each.role, "content": each.text} for each in self.messages]
        return {
            "id": self.id, "category": self.category, "messages": messages, "functions": list(self.functions),
            "allowed": list(self.allowed),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Said:
    """What an arm made of a task: its calls, whether it read as it was asked for, and tokens generated."""

    calls: tuple[Call, ...]
    is_well_formed: bool
    tokens: int

    def is_right(self, task: Task) -> bool:
        if task.category == "irrelevance":
            return not self.calls
        return matches(self.calls, task.functions, task.allowed)


def drawn(data: Path, seed: int) -> dict[str, list[Task]]:
    """Tasks of each category, in an order drawn by seed."""
    found: dict[str, list[Task]] = {}
    for category, name in CATEGORIES.items():
        tasks = [_task(category, row) for row in rows(data / "bfcl" / f"{name}.jsonl.gz")]
        found[category] = random.Random(seed).sample(tasks, len(tasks))
    return found


def _task(category: str, row: Mapping[str, Any]) -> Task:
    messages = tuple(Message(turn["role"], turn["content"]) for turn in row["question"][0])
    return Task(str(row["id"]), category, messages, row["function"], row["ground_truth"] or [])


def prompted(tasks: Mapping[str, list[Task]]) -> tuple[dict[str, list[Task]], dict[str, str]]:
    """The tasks with the peer's messages; without them where the package cannot be had."""
    try:
        answer = judged([each for few in tasks.values() for each in few], {})
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"bfcl_eval: left out, {error}", file=sys.stderr)
        return dict(tasks), {}
    prompts = cast("dict[str, list[dict[str, str]]]", answer["prompts"])
    found = {
        category: [
            replace(
                each, theirs=tuple(Message(cast("Any", turn["role"]), turn["content"]) for turn in prompts[each.id])
            )
            for each in few
        ]
        for category, few in tasks.items()
    }
    return found, {"bfcl_eval": str(answer["version"])}


def judged(tasks: Sequence[Task], texts: Mapping[str, str]) -> dict[str, object]:
    """What the peer says of texts by the id of their tasks."""
    return peer.ask("bfcl", "bfcl_calls.py", {"rows": [each.plain for each in tasks], "texts": dict(texts)})


async def ask(arm: str, model: Model, task: Task) -> Said:
    """One task by one arm."""
    heard = Heard(model, plain=arm == "free")
    if arm == "bfcl_eval":
        text = (await heard.complete(Request(task.theirs, temperature=0.0, max_tokens=TOKENS))).text
        calls = written(text)
        return Said(tuple(calls or ()), bool(calls) and all(_fits(each, task) for each in calls or ()), _tokens(heard))
    asked = Request(task.messages, temperature=0.0, max_tokens=TOKENS)
    try:
        found = await sy.next_calls(heard, asked, task.tools, parallel=True, retries=1)
    except OutputError:
        return Said((), is_well_formed=False, tokens=_tokens(heard))
    calls = [Call(each.name, json.loads(each.arguments)) for each in found.calls]
    return Said(tuple(calls), is_well_formed=True, tokens=_tokens(heard))


def _fits(call: Call, task: Task) -> bool:
    parameters = next((each.parameters for each in task.tools if each.name == call.name), None)
    return parameters is not None and not unmet_schema(parameters, json.dumps(call.arguments, default=str))


def _tokens(heard: Heard) -> int:
    return sum(each.usage.output_tokens for each in heard.completions)


@dataclass(frozen=True, slots=True)
class _Asking:
    """Tasks at once; a class, so that no argument is written down."""

    arm: str
    model: Model
    tasks: Sequence[Task]

    async def __call__(self) -> list[Said]:
        return list(await asyncio.gather(*(ask(self.arm, self.model, each) for each in self.tasks)))


@dataclass(slots=True)
class Calling:
    """A model asked in rounds, until the rows or the time are over."""

    model: Model
    journal: Journal
    tasks: Mapping[str, Sequence[Task]]
    end: float
    found: dict[tuple[str, str], list[Said]] = field(default_factory=dict)  # by category and arm

    async def round(self, start: int, stop: int) -> None:
        for category, tasks in self.tasks.items():
            for arm in ARMS:
                few = tasks[start:stop]
                if time.monotonic() > self.end or not few or (arm == "bfcl_eval" and not few[0].theirs):
                    continue
                before = time.monotonic()
                said = await run(_Asking(arm, self.model, few), journal=self.journal, policy="cache")
                self.found.setdefault((category, arm), []).extend(said)
                if (took := time.monotonic() - before) > 1:
                    print(f"{self.model.name} {category} {arm} {start}..{stop}: {took:.0f} s", file=sys.stderr)

    def right(self, arm: str, categories: Sequence[str]) -> list[bool]:
        return [said.is_right(task) for task, said in self.pairs(arm, categories)]

    def pairs(self, arm: str, categories: Sequence[str]) -> list[tuple[Task, Said]]:
        parts = [zip(self.tasks[each], self.found.get((each, arm), ()), strict=False) for each in categories]
        return list(chain(*parts))

    def measures(self) -> dict[str, Measure]:
        calling = [each for each in CATEGORIES if each != "irrelevance"]
        measures: dict[str, Measure] = {}
        for arm in ARMS:
            for category in CATEGORIES:
                measures[f"{arm}.match.{category}"] = share(self.right(arm, [category]))
            measures[f"{arm}.match.calls"] = share(self.right(arm, calling))
            formed = [said.is_well_formed for _, said in self.pairs(arm, calling)]
            measures[f"{arm}.well_formed"] = share(formed, 1.0 if arm == "constrained" else None)
        for theirs in ARMS[1:]:
            for name, categories in (("calls", calling), ("irrelevance", ["irrelevance"])):
                sides = _paired(self, categories, "constrained", theirs)
                if not sides[0]:
                    continue
                found = gain(*sides)
                measures[f"gain.constrained_over_{theirs}.{name}"] = found
                if name == "calls" and theirs == "free" and found.interval is not None:
                    low = Measure(found.interval[0], None, found.n, ABOVE_0)
                    measures[f"gain.constrained_over_{theirs}.{name}.low"] = low
        return {f"bfcl.{self.model.name}.{name}": each for name, each in measures.items() if each.n}


def _paired(calling: Calling, categories: Sequence[str], ours: str, theirs: str) -> tuple[list[bool], list[bool]]:
    """Both arms on the rows that both have."""
    left: list[bool] = []
    right: list[bool] = []
    for category in categories:
        sides = [calling.right(arm, [category]) for arm in (ours, theirs)]
        n = min(map(len, sides))
        left, right = left + sides[0][:n], right + sides[1][:n]
    return left, right


def agreement(tasks: Mapping[str, Sequence[Task]], seed: int) -> dict[str, Measure]:
    """How often our match says what the peer's says of the same calls: allowed ones, many of them altered."""
    generator = random.Random(seed)
    same: list[bool] = []
    rights: list[bool] = []
    for few in tasks.values():
        calls = {task.id: altered(task, generator) for task in few}
        texts = {name: _text(each) for name, each in calls.items()}
        verdicts = cast("dict[str, dict[str, bool]]", judged(few, texts)["verdicts"])
        for task in few:
            is_right = Said(tuple(calls[task.id]), is_well_formed=True, tokens=0).is_right(task)
            same.append(verdicts[task.id]["right"] == is_right)
            rights.append(is_right)
    return {"bfcl.matcher.agrees": share(same, 1.0), "bfcl.matcher.matches": share(rights)}


def altered(task: Task, generator: random.Random) -> list[Call]:
    """An allowed answer, with some arguments wrong, left out or of another type, some calls twice, in any order."""
    calls = [
        Call(name, {key: _altered(value, generator) for key, value in _chosen(arguments, generator).items()})
        for answer in task.allowed
        for name, arguments in answer.items()
    ]
    calls += calls[: generator.random() < 0.1]
    return generator.sample(calls, len(calls))


def _chosen(arguments: Mapping[str, Sequence[Any]], generator: random.Random) -> dict[str, Any]:
    """One allowed value of each argument, but for some that are left out, rightly or not."""
    chosen = {name: generator.choice(values) for name, values in arguments.items()}
    return {name: value for name, value in chosen.items() if value != "" and generator.random() < 0.95}


def _altered(value: Any, generator: random.Random) -> object:
    if isinstance(value, dict):
        return _chosen(value, generator)
    draw = generator.random()
    if draw < 0.05:
        return f"{value}x"
    if draw < 0.1 and isinstance(value, int):
        return float(value)
    return value.upper() if isinstance(value, str) and draw < 0.5 else value


def _text(calls: Sequence[Call]) -> str:
    said = (
        f"{each.name}({', '.join(f'{name}={value!r}' for name, value in each.arguments.items())})" for each in calls
    )
    return f"[{', '.join(said)}]"


# ----------------------------------------------------------------------------------------------------------- run


def models() -> list[Model]:
    """Those whose weights are here."""
    found: list[Model] = []
    for name in (SMALL, LARGER):
        try:
            found.append(sy.local(name, deterministic=name == SMALL))
        except MissingExtra as missing:
            print(f"{name}: left out, {missing}", file=sys.stderr)
    return found


async def measure(arguments: Arguments, journal: Journal) -> tuple[dict[str, Measure], dict[str, str]]:
    tasks, peers = prompted(drawn(arguments.data, arguments.seed))
    worlds = agents.worlds(arguments.data, arguments.seed)
    measures = await agents.by_oracle(worlds)
    end = math.inf if arguments.full else time.monotonic() + SECONDS
    callings = [Calling(model, journal, tasks, end) for model in models()]
    for start in range(0, FULL, ROUND):
        for calling in callings:
            stop = min(start + ROUND, FULL if arguments.full else ROWS[calling.model.name])
            await calling.round(start, stop)
    for calling in callings:
        measures |= calling.measures()
    if peers:
        measures |= agreement(tasks, arguments.seed)
    kept = arguments.cache / "tools_worlds"
    for model in models():
        measures |= await agents.by_model(model, worlds, kept, end=end + SECONDS / 2, full=arguments.full)
    return measures, peers


def main() -> None:
    arguments = parse(__doc__)
    (arguments.cache / "tools_worlds").mkdir(parents=True, exist_ok=True)
    try:
        sy.local()
        with SQLiteJournal(arguments.cache / "tools.db") as journal:
            measures, peers = asyncio.run(measure(arguments, journal))
    except (DataMissing, MissingExtra) as missing:
        skip("tools", str(missing), arguments)
        return
    report("tools", arguments.seed, measures, as_json=arguments.json, peers=peers, readme=arguments.readme)


if __name__ == "__main__":
    main()
