"""Our optimizer against DSPy's, at the same budget of model calls: `python -m benchmarks.optimizers [--json]`.

One llama.cpp server (SmolLM2-135M, its weights written out to 16 bits, which it reads prompts with three times as fast)
stands behind a proxy that counts and logs every call and refuses call B+1 of each arm (`benchmarks/counting_proxy.py`).
All arms that call a model do it there, one call at a time. That server scores no given texts (`echo` with
log-probabilities answers for generated tokens only), so ours constrains answers by a JSON schema, as DSPy's JSONAdapter
may: label scores, calibration and cascades are not in its space here.

    ours_auto          `sy.optimize`, which takes racing where no model writes instructions
    ours_tpe, ours_random                              other searches over the same space, same budget
    dspy_*             zero-shot; LabeledFewShot of 8; BootstrapFewShot, its random search, MIPROv2 light of 4 and 4;
                       KNNFewShot of 4 by the vectors that ours uses, not booted; GEPA; the last two propose with the
                       same model. Candidates and validation rows are sized so that an arm's own defaults fit B.
                       All with the adapter, ChatAdapter or JSONAdapter with the schema enforced, that did better
                       zero-shot on training rows; the pilot is beside the budget. An arm that aborts is what it left
    tfidf_knn, logistic_regression                     no model at all, where the answer is a label

Tasks are in `benchmarks/optimizer_tasks.py`. `score` is of test rows nobody saw; `gap` is a paired difference to the
best DSPy arm, the one with the highest test score, by rows; `prompt_tokens` of one row's calls; `calls` and `search_s`
of the search (seconds the model took); `failures` rows that gave no answer that can be read; p50_s and p95_s of a row.
`gain` is ours_auto's gap, its p-value corrected over the tasks by Holm.

The default runs one task small, and goes on where it was when run again. `--full` runs all tasks and seeds, `--task T`
with `--seed S` one part of it, and `--budget B` that part at another budget; `--task T --small` runs that task as small
as the default. `--report` makes the table again from the logs of the full form, with `--small` from those of the small
one; a seed that is not done is left out of a task of which another is. Logs are in
`<cache>/optimizers/f16/<part>/`: a line a call, and a file an arm.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

import synthon as sy
from benchmarks import datasets, peer
from benchmarks.counting_proxy import CountingProxy
from benchmarks.embeddings import Cached
from benchmarks.optimizer_scores import SCORES
from benchmarks.optimizer_tasks import TASKS, TOKENS, WITHOUT_LABELS, Row, Task, cases
from benchmarks.report import Measure, figure, parse, report, skip
from benchmarks.servers import server
from benchmarks.statistics import interval, paired, share
from benchmarks.tables import aligned
from synthon.core.errors import MissingExtra
from synthon.engine.converting import convert
from synthon.evals import evaluate
from synthon.evals.statistics import holm
from synthon.models.embedders import embedder as packaged
from synthon.optimize import optimize
from synthon.optimize.optimizing import METHODS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.report import Arguments

NAME, ENVIRONMENT, SERVER, CONTEXT = "optimizers", "optimizers", "llama_server", 8192
WEIGHTS = "f16"
OURS = {"ours_auto": "auto", "ours_random": "random", "ours_tpe": "tpe"}
WITHOUT = ("tfidf_knn", "logistic_regression")
ORDER = (
    *WITHOUT, "dspy_zero_shot", "ours_auto", "dspy_labeled_few_shot", "dspy_knn_few_shot", "dspy_bootstrap_few_shot",
    "dspy_bootstrap_random_search", "ours_random", "dspy_mipro_v2", "dspy_gepa", "ours_tpe",
)  # fmt: skip
SEEDS, BUDGET, OTHER_BUDGETS = 2, 200, {"slots": (50, 1000)}
WANTED = 3  # tasks ahead
QUICK, SECONDS = "slots", 9.5 * 60
ADAPTERS = ("chat", "json")
NEIGHBOURS = (1, 3, 5, 9)


@dataclass(frozen=True, slots=True)
class Part:
    """One task, seed and budget; a folder of logs."""

    task: str
    seed: int
    budget: int = BUDGET
    rows: tuple[int, int, int] = (160, 160, 300)
    pilot: int = 40

    def folder(self, cache: Path) -> Path:
        """Where its logs are."""
        sizes = "-".join(map(str, self.rows))
        return cache / NAME / WEIGHTS / f"{self.task}-calls{self.budget}-seed{self.seed}-rows{sizes}"


def small(task: str, seed: int) -> Part:
    return Part(task, seed, 40, (160, 24, 80), 6)


Arm = dict[str, Any]
"""rows: [{id, score, error, prompt_tokens, seconds, calls}]; calls, search_s, stopped, about."""


@dataclass
class Runner:
    """Runs the arms of a part that have no file yet."""

    part: Part
    task: Task
    folder: Path
    proxy: CountingProxy
    embedder: Cached

    def __post_init__(self) -> None:
        self.train, self.validation, self.test = self.task.split(*self.part.rows, seed=self.part.seed)

    async def arm(self, name: str) -> Arm | None:
        """An arm's result, from its file or by running it; None where it does not apply."""
        path = self.folder / f"{name}.json"
        if path.exists():
            return cast("Arm", json.loads(path.read_text()))
        if (name in WITHOUT and self.task.kind != "label") or (name in OURS and OURS[name] not in {"auto", *METHODS}):
            return None
        print(f"{NAME}: {self.part.task}, seed {self.part.seed}, {name}", file=sys.stderr, flush=True)
        run = self._ours if name in OURS else self._without_model if name in WITHOUT else self._dspy
        found = await run(name)
        made = self.proxy.calls(name, "optimize")
        found |= {
            "calls": len(made),
            "search_s": sum(call.seconds for call in made),
            "refused": self.proxy.refused[name],
        }
        whole = path.with_suffix(".part")
        whole.write_text(json.dumps(found))
        whole.rename(path)
        return found

    async def _ours(self, name: str) -> Arm:
        model = sy.openai(
            self._model(name), base_url=f"{self.proxy.url}/{name}/v1", server="llama.cpp",
            capabilities={"chat", "schema"},
        )  # fmt: skip
        found = await optimize(
            self.task.program.using(model=model), cases(self.train), cases(self.validation), metric=self.task.metric,
            budget=sy.Budget(calls=self.part.budget), journal=sy.MemoryJournal(), seed=self.part.seed,
            method=OURS[name], embedder=self.embedder, workers=1, watch=lambda _: None,
        )  # fmt: skip
        best = found.best()
        self.proxy.test(name)
        rows = []
        for case in cases(self.test):
            start = len(self.proxy.calls(name, "test"))
            clock = time.perf_counter()
            (row,) = (
                await evaluate(
                    best.program, [case], self.task.metric, journal=sy.MemoryJournal(), workers=1, watch=lambda _: None
                )
            ).rows
            took = time.perf_counter() - clock
            calls = len(self.proxy.calls(name, "test")) - start
            rows.append({"score": row.score, "error": row.error, "calls": calls, "took_s": took})
        about = {"changes": best.changes, "quality": best.quality.value, "programs": len(found.history.rows)}
        return {"rows": self._priced(name, rows), "stopped": "", "about": about}

    async def _dspy(self, name: str, adapter: str | None = None) -> Arm:
        rows = {"train": self.train, "validation": self.validation, "test": self.test}
        if adapter is None:
            adapter = await self.adapter()
        else:
            rows["test"] = self.train[: self.part.pilot]
        kinds = {key: "text" if isinstance(value, str) else "texts" for key, value in self.train[0].inputs.items()}
        asked: dict[str, object] = {
            "url": f"{self.proxy.url}/{name}", "arm": name.removeprefix("dspy_") if name in ORDER else "zero_shot",
            "model": self._model(name), "adapter": adapter, "budget": self.part.budget, "seed": self.part.seed,
            "max_tokens": TOKENS,
            "task": {
                "kind": self.task.kind, "instruction": self.task.instruction, "inputs": kinds,
                "output": self.task.output, "labels": list(self.task.labels),
            },
            **{
                part: [{"inputs": row.inputs, "expected": row.expected, "accepted": row.accepted} for row in some]
                for part, some in rows.items()
            },
        }  # fmt: skip
        if name == "dspy_knn_few_shot":
            asked["vectors"] = await self._vectors([*self.train, *self.test])
        said = await asyncio.to_thread(peer.ask, ENVIRONMENT, "optimizers_dspy.py", asked)
        found = self._priced(name, cast("list[dict[str, Any]]", said["rows"]), rows["test"])
        about = {key: said[key] for key in ("version", "adapter", "sized")}
        return {"rows": found, "stopped": said["stopped"], "about": about}

    async def adapter(self) -> str:
        """The adapter that does better zero-shot on training rows, of equals the one with fewer tokens."""
        pilots = {}
        for adapter in ADAPTERS:
            path = self.folder / f"pilot_{adapter}.json"
            if not path.exists():
                path.write_text(json.dumps(await self._dspy(f"pilot_{adapter}", adapter)))
            rows = json.loads(path.read_text())["rows"]
            pilots[adapter] = (mean_of(rows, "score"), -mean_of(rows, "prompt_tokens"))
        return max(pilots, key=lambda adapter: pilots[adapter])

    async def _without_model(self, name: str) -> Arm:
        asked: dict[str, object] = {
            "train": [[row.text, row.expected] for row in self.train],
            "validation": [[row.text, row.expected] for row in self.validation],
            "test": [row.text for row in self.test], "k": NEIGHBOURS,
        }  # fmt: skip
        said = await asyncio.to_thread(peer.ask, ENVIRONMENT, "optimizers_without_lm.py", asked)
        score = SCORES[self.task.kind]
        rows = [
            {"score": score(row.accepted, label), "error": "", "calls": 0}
            for row, label in zip(self.test, cast("list[str]", said[name]), strict=True)
        ]
        return {"rows": self._priced(name, rows), "stopped": "", "about": {"k": said["k"], "version": said["version"]}}

    def _priced(self, name: str, rows: Sequence[dict[str, Any]], test: Sequence[Row] = ()) -> list[dict[str, Any]]:
        """The rows with what their calls took, which the proxy knows in their order."""
        made = iter(self.proxy.calls(name, "test"))
        found = []
        for row, given in zip(rows, test or self.test, strict=True):
            calls = [next(made) for _ in range(row["calls"])]
            seconds = sum(call.seconds for call in calls) if calls else row.get("took_s", 0.0)
            tokens = sum(call.prompt_tokens for call in calls)
            found.append({**row, "id": given.id, "prompt_tokens": tokens, "seconds": seconds})
        return found

    async def _vectors(self, rows: Sequence[Row]) -> dict[str, list[float]]:
        """Of each row's inputs as DSPy's KNN writes them."""
        vectors = await self.embedder.embed([row.text for row in rows])
        written = [" | ".join(f"{key}: {value}" for key, value in row.inputs.items()) for row in rows]
        return dict(zip(written, vectors.tolist(), strict=True))

    def _model(self, arm: str) -> str:
        return f"{self.part.task}-{self.part.budget}-{self.part.seed}-{arm}"


def mean_of(rows: Sequence[Mapping[str, Any]], key: str) -> float:
    return statistics.fmean(float(row[key]) for row in rows)


def weights_of(model: Path, cache: Path) -> Path:
    """The copy of a model's weights that the server reads, made where there is none."""
    copy = cache / f"{model.stem}.{WEIGHTS.upper()}.gguf"
    if not copy.exists():
        cache.mkdir(parents=True, exist_ok=True)
        convert(model, WEIGHTS, copy)
    return copy


async def run(part: Part, arguments: Arguments, *, end: float) -> dict[str, Arm]:
    """The arms of a part that are done by the end of the time."""
    folder = part.folder(arguments.cache)
    folder.mkdir(parents=True, exist_ok=True)
    task = TASKS[part.task](arguments.data)
    path = weights_of(cast("Any", sy.local().model).path, arguments.cache / NAME)
    embedder = Cached(packaged(), arguments.cache / "embeddings.db")
    found: dict[str, Arm] = {}
    known = sorted(folder.parent.glob(folder.name.replace(f"-calls{part.budget}-", "-calls*-")))  # of the same rows
    threads = 2 if os.getloadavg()[0] < 1 else 1  # two that wait for each other are slower than one on a busy machine
    async with (
        server(SERVER, path, parallel=1, context=CONTEXT, threads=threads) as served,
        CountingProxy(served.url, folder, budget=part.budget, known=known) as proxy,
    ):
        runner = Runner(part, task, folder, proxy, embedder)
        for name in ORDER:
            is_done = (folder / f"{name}.json").exists()
            if not is_done and time.monotonic() > end:
                print(f"{NAME}: {name} is left for the next run", file=sys.stderr)
                continue
            try:
                arm = await runner.arm(name)
            except subprocess.CalledProcessError as error:
                print(f"{NAME}: {name} failed, {error}", file=sys.stderr)
                continue
            if arm is not None:
                found[name] = arm
    return found


def read(part: Part, cache: Path) -> dict[str, Arm]:
    """What a part's logs hold."""
    files = {name: part.folder(cache) / f"{name}.json" for name in ORDER}
    return {name: json.loads(path.read_text()) for name, path in files.items() if path.exists()}


# ----------------------------------------------------------------------------------------------------- measures


def pooled(parts: Sequence[dict[str, Arm]]) -> dict[str, list[dict[str, Any]]]:
    """Each arm's test rows over the seeds that have it; arms that miss in one of them are left out."""
    names = [name for name in ORDER if parts and all(name in arms for arms in parts)]
    return {name: [row for arms in parts for row in arms[name]["rows"]] for name in names}


@dataclass(frozen=True, slots=True)
class Found:
    """A task's measures, and what is compared over the tasks."""

    measures: dict[str, Measure]
    gain: tuple[float, float, float] | None  # low, high, p
    without_model_wins: bool
    adapter: str = ""  # DSPy's, which its pilot chose


def measured(name: str, parts: Sequence[dict[str, Arm]]) -> Found:
    rows, measures = pooled(parts), {}
    scores = {arm: [float(row["score"]) for row in some] for arm, some in rows.items()}
    theirs = [arm for arm in rows if arm.startswith("dspy_")]
    best = max(theirs, key=lambda arm: statistics.fmean(scores[arm]), default=None)
    for arm, some in rows.items():
        ids, n = [row["id"] for row in some], len(some)
        seconds = [float(row["seconds"]) for row in some]
        failed = sum(bool(row["error"]) for row in some)
        at = f"{name}.{arm}"
        measures[f"{at}.score"] = Measure(statistics.fmean(scores[arm]), interval(scores[arm], groups=ids), n)
        if best is not None and best != arm:
            gap = paired(scores[arm], scores[best], groups=ids)
            measures[f"{at}.gap"] = Measure(gap.mean, gap.interval, n)
        runs = [arms[arm] for arms in parts]
        measures |= {
            f"{at}.prompt_tokens": Measure(mean_of(some, "prompt_tokens"), None, n, unit="tokens"),
            f"{at}.calls": Measure(mean_of(runs, "calls"), None, len(runs), unit="calls"),
            f"{at}.search_s": Measure(mean_of(runs, "search_s"), None, len(runs), unit="s"),
            f"{at}.failures": Measure(failed / n, share(failed, n), n, unit="of rows"),
            f"{at}.p50_s": Measure(float(np.quantile(seconds, 0.5)), None, n, unit="s"),
            f"{at}.p95_s": Measure(float(np.quantile(seconds, 0.95)), None, n, unit="s"),
        }
    gain: tuple[float, float, float] | None = None
    if best is not None and "ours_auto" in rows:
        gap = paired(scores["ours_auto"], scores[best], groups=[row["id"] for row in rows["ours_auto"]])
        gain = (*gap.interval, gap.p)
        tokens = mean_of(rows["ours_auto"], "prompt_tokens") / max(1.0, mean_of(rows[best], "prompt_tokens"))
        measures[f"{name}.gain"] = Measure(gap.mean, gap.interval, gap.n)
        measures[f"{name}.gain.low"] = Measure(gap.interval[0], None, gap.n, 1e-4)
        measures[f"{name}.gain.prompt_tokens"] = Measure(tokens, None, gap.n, 1.0, "<=", f"of {best}'s")
    with_model = max((statistics.fmean(scores[arm]) for arm in rows if arm not in WITHOUT), default=math.inf)
    wins = any(statistics.fmean(scores[arm]) > with_model for arm in WITHOUT if arm in rows)
    if any(arm in rows for arm in WITHOUT) and math.isfinite(with_model):
        measures[f"{name}.without_a_model_wins"] = Measure(float(wins))
    adapters = dict.fromkeys(arm["about"].get("adapter", "") for arms in parts for arm in arms.values())
    return Found(measures, gain, wins, ", ".join(filter(None, adapters)))


def arms_of(name: str, parts: Sequence[dict[str, Arm]]) -> Measure:
    """How many of the arms that apply to a task are done in all its parts; a comparison without all of them is none."""
    return Measure(len(pooled(parts)), None, len(parts), applying(name), unit="arms")


def applying(name: str) -> int:
    """How many arms apply to a task."""
    return len(ORDER) - (len(WITHOUT) if name.partition(".")[0] in WITHOUT_LABELS else 0)


def settled(name: str, parts: Sequence[dict[str, Arm]]) -> Sequence[dict[str, Arm]]:
    """The parts that have every arm; all of them where none has."""
    return [arms for arms in parts if len(pooled([arms])) == applying(name)] or parts


def compared(found: Mapping[str, Found], *, is_whole: bool) -> dict[str, Measure]:
    """Over the tasks: where ours is surely ahead of the best DSPy arm, and where behind."""
    gains = {name: each.gain for name, each in found.items() if each.gain is not None}
    corrected = dict(zip(gains, holm([p for _, _, p in gains.values()]), strict=True))
    ahead = sum(gains[name][0] > 0 and corrected[name] < 0.05 for name in gains)
    behind = sum(gains[name][1] < 0 and corrected[name] < 0.05 for name in gains)
    measures = {f"{name}.gain.p": Measure(p, None, op="<=") for name, p in corrected.items()}
    is_asked = is_whole or ahead >= WANTED  # with tasks left, fewer say nothing yet
    measures["tasks.ahead"] = Measure(ahead, None, len(gains), WANTED if is_asked else None, unit="tasks")
    measures["tasks.behind"] = Measure(behind, None, len(gains), 0, "<=", "tasks")
    return measures


def overview(found: Mapping[str, Found], measures: Mapping[str, Measure]) -> str:
    """Scores, arms by tasks, and under them ours against the best DSPy arm."""
    rows = [["score", *found]]
    for arm in ORDER:
        scores = [each.measures.get(f"{name}.{arm}.score") for name, each in found.items()]
        if any(scores):
            rows.append([arm, *("" if score is None else figure(score.value) for score in scores)])
    words = {"ahead by": "gain", "p, corrected": "gain.p", "prompt tokens / theirs": "gain.prompt_tokens"}
    for label, key in words.items():
        told = [measures.get(f"{name}.{key}") for name in found]
        rows.append([label, *("" if each is None else f"{figure(each.value)}{_within(each)}" for each in told)])
    rows.append(["DSPy's adapter", *(each.adapter for each in found.values())])
    return aligned(rows)


def _within(measure: Measure) -> str:
    return "" if measure.interval is None else f" ({' .. '.join(map(figure, measure.interval))})"


def versions(parts: Sequence[dict[str, Arm]]) -> dict[str, str]:
    """Of DSPy and of scikit-learn, as the arms tell them."""
    found = {}
    for arms in parts:
        for name, arm in arms.items():
            if "adapter" in arm["about"]:
                found["dspy"] = arm["about"]["version"]
            elif name in WITHOUT:
                found["scikit-learn"] = arm["about"]["version"]
    return found


def told(name: str, parts: Sequence[dict[str, Arm]]) -> str:
    """What the arms ended as, for people: what ours chose, what stopped."""
    lines = []
    for arms in parts:
        for arm, each in arms.items():
            what = each["about"].get("changes") or (f"stopped: {each['stopped']}" if each["stopped"] else "")
            if what:
                lines.append(f"{name}.{arm}: {what}")
    return "\n".join(lines)


# --------------------------------------------------------------------------------------------------------- main


def chosen(argv: Sequence[str]) -> tuple[argparse.Namespace, Arguments]:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--task", choices=TASKS)
    parser.add_argument("--budget", type=int, default=BUDGET)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--report", action="store_true")
    own, rest = parser.parse_known_args(argv)
    return own, parse(__doc__, rest)


def groups_of(own: argparse.Namespace, arguments: Arguments) -> dict[str, list[Part]]:
    """The parts asked for, by the name their measures have."""
    seeds = range(arguments.seed, arguments.seed + SEEDS)
    if is_small(own, arguments):
        tasks = TASKS if own.report else [own.task or QUICK]
        return {f"{task}.small": [small(task, seed) for seed in (seeds if own.report else seeds[:1])] for task in tasks}
    if own.task is not None and not own.report:
        name = own.task if own.budget == BUDGET else f"{own.task}.budget_{own.budget}"
        return {name: [Part(own.task, arguments.seed, own.budget)]}
    found = {task: [Part(task, seed) for seed in seeds] for task in TASKS}
    for task, budgets in OTHER_BUDGETS.items():
        found |= {f"{task}.budget_{budget}": [Part(task, seed, budget) for seed in seeds] for budget in budgets}
    return found


def days(cache: Path, parts: Sequence[Part]) -> str:
    """When the arms of the parts were done, which is before their table is made."""
    files = [file for part in parts for name in ORDER if (file := part.folder(cache) / f"{name}.json").exists()]
    done = sorted({f"{datetime.fromtimestamp(file.stat().st_mtime, UTC):%Y-%m-%d}" for file in files})
    return f", arms done {' to '.join(dict.fromkeys([done[0], done[-1]]))}, reported" if done else ""


def is_small(own: argparse.Namespace, arguments: Arguments) -> bool:
    return own.small or (own.task is None and not (arguments.full or own.report))


def main() -> None:
    own, arguments = chosen(sys.argv[1:])
    end = time.monotonic() + (SECONDS if is_small(own, arguments) and own.task is None else math.inf)
    groups = groups_of(own, arguments)
    done: dict[str, list[dict[str, Arm]]] = {}
    try:
        for name, parts in groups.items():
            for part in parts:
                arms = read(part, arguments.cache) if own.report else asyncio.run(run(part, arguments, end=end))
                if arms:
                    done.setdefault(name, []).append(arms)
    except (datasets.DataMissing, MissingExtra, OSError, subprocess.CalledProcessError) as missing:
        skip(NAME, str(missing), arguments)
        return
    if own.report:
        done = {name: list(settled(name, parts)) for name, parts in done.items()}
    if arguments.readme:  # shows nothing that is begun only
        done = {name: parts for name, parts in done.items() if len(pooled(parts)) == applying(name)}
    found = {name: measured(name, finished) for name, finished in done.items()}
    measures = {key: each for one in found.values() for key, each in one.measures.items()}
    measures |= {f"{name}.arms": arms_of(name, finished) for name, finished in done.items()}
    whole = {name: each for name, each in found.items() if name in TASKS}
    measures |= compared(whole or found, is_whole=len(whole) == len(TASKS))
    for name, finished in done.items():
        print(told(name, finished))
        if found[name].without_model_wins:
            print(f"{name}: an arm without any language model has the highest score")
    everyone = [arms for finished in done.values() for arms in finished]
    used = [part for name in done for part in groups[name]]
    seeds = sorted({part.seed for part in used})
    flags = (" --report" if own.report else "") + (" --small" if own.small else "")
    report(
        NAME, arguments.seed, measures, as_json=arguments.json, peers=versions(everyone), readme=arguments.readme,
        block=NAME if is_small(own, arguments) else f"{NAME}_full", overview=overview(found, measures),
        how=f"`python -m benchmarks.{NAME}{flags}`, seeds {' and '.join(map(str, seeds))}{days(arguments.cache, used)}",
    )  # fmt: skip


if __name__ == "__main__":
    main()
