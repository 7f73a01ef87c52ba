"""JSON schemas as masks: are they kept, what do they cost, and what does a small model write under them?

    python -m benchmarks.schemas [--data DIR] [--cache DIR] [--full] [--json]

Walks: each schema of `jsonschemabench` and of JSON Schema's own test suite is compiled for the embedded model's
vocabulary, and each of its instances is walked token by token: the mask decides on every token and on the end, then
`decoding.unmet` checks the whole text. Raw llguidance walks along in the same process, token by token in turn. A mask
is the time from an array of logits to the same array with -inf in it; for raw llguidance that is `fill` (its bits) and
one `copyto`; with its own numpy kernel instead it is `kernel`. Times are CPU times: of the thread
for masks, of the process for a compile, which may use a second thread.

Written: 60 schemas drawn by seed (the first 2,000 characters of each go into the prompt), at most 256 tokens, greedy;
valid is what jsonschema-rs says with formats asserted. Free answers may stand in a code fence.

Peers, on the same 60 schemas and instances: a schema each in a process of its own, killed after 20 CPU seconds, which
counts as 20 s in ratios. They have no final check, so what they accept is compared with our masks alone too.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchmarks import datasets, peer, statistics
from benchmarks.report import Arguments, Measure, parse, report, skip
from benchmarks.walks import SETS, Case, Found, Instance, Language, cases, fits, walked
from synthon.core.errors import MissingExtra, SynthonError
from synthon.core.running import run
from synthon.core.values import Message, Request
from synthon.journal import SQLiteJournal
from synthon.models.local_model import DEFAULT, local
from synthon.weights.on_disk import path_of

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from synthon.core.protocols import Model
    from synthon.core.values import Completion

PEERS = ("outlines_core", "xgrammar")
_PEERS = Path(__file__).parent / "peers"
DRAWN, MAX_TOKENS, PROMPT = 60, 256, 2_000
RETRIES = 2  # a step's
CAP_S, INSTALL_S = 20, 900
_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL)


# ------------------------------------------------------------------------------------------------------ measures


def mean(
    values: Sequence[float], groups: Sequence[object] | None = None, target: float | None = None, unit: str = ""
) -> Measure:
    value = float(np.mean(values)) if len(values) else float("nan")
    return Measure(value, statistics.interval(values, groups=groups), len(values), target, "<=", unit)


def share(count: int, n: int, target: float | None = None) -> Measure:
    return Measure(count / n if n else float("nan"), statistics.share(count, n), n, target)


def count(number: int, n: int, target: float | None = None) -> Measure:
    return Measure(number, n=n, target=target, op="<=")


def at(values: Sequence[float], percent: float, target: float | None = None, unit: str = "ms") -> Measure:
    """A percentile; the median with its 95 % interval by order statistics."""
    if not values:
        return Measure(float("nan"), n=0, target=target, op="<=", unit=unit)
    bounds = order_interval(values) if percent == 50 else None
    return Measure(float(np.percentile(values, percent)), bounds, len(values), target, "<=", unit)


def order_interval(values: Sequence[float]) -> tuple[float, float]:
    ordered, n = sorted(values), len(values)
    half = 0.98 * n**0.5  # 1.96 standard deviations of the count below the median
    low, high = int(n / 2 - half), int(n / 2 + half)
    return ordered[max(low, 0)], ordered[min(high, n - 1)]


def ratio(groups: Sequence[tuple[float, float]], n: int, target: float | None = None, *, seed: int) -> Measure:
    """Sum of the first over sum of the second, over groups (schemas); percentile bootstrap over groups."""
    sums = np.asarray(groups, np.float64)
    if not len(sums):
        return Measure(float("nan"), n=0, target=target, op="<=")
    drawn = np.random.default_rng(seed).integers(len(sums), size=(2_000, len(sums)))
    totals = sums[drawn].sum(axis=1)
    low, high = np.quantile(totals[:, 0] / totals[:, 1], [0.025, 0.975])
    value = float(sums[:, 0].sum() / sums[:, 1].sum())
    return Measure(value, (float(low), float(high)), n, target, "<=")


def spread(values: Mapping[str, Sequence[float]], unit: str) -> Measure:
    """The mean over all values, with its interval by schema."""
    flat = [value for each in values.values() for value in each]
    return mean(flat, [name for name, each in values.items() for _ in each], unit=unit)


def cost_measures(name: str, found: Sequence[Found], seed: int) -> dict[str, Measure]:
    compiled = [each for each in found if each.is_compiled]
    compile_ms = [each.compile_ms for each in compiled]
    raw_ms = [each.raw_compile_ms for each in compiled if each.raw_compile_ms is not None]
    masks_us = [us for each in compiled for us in each.masks_us]
    raw_us = [us for each in compiled for us in each.raw_us]
    sampled = {each.case.id: each.samples for each in compiled if each.samples}
    n = sum(map(len, sampled.values()))
    by_fill = [(sum(us for us, _ in each), sum(raw.fill_us for _, raw in each)) for each in sampled.values()]
    by_kernel = [
        (sum(us for us, _ in each), sum(raw.fill_us + raw.kernel_us for _, raw in each)) for each in sampled.values()
    ]
    by_raw = [(sum(each.ours_us), sum(each.raw_us)) for each in compiled if each.raw_us]
    measures = {
        "compile.mean_ms": mean(compile_ms, unit="ms"),
        "compile.p50_ms": at(compile_ms, 50, 5.0),
        "compile.p99_ms": at(compile_ms, 99),
        "compile.max_ms": at(compile_ms, 100),
        "compile.llguidance.p50_ms": at(raw_ms, 50),
        "mask.mean_us": spread({each.case.id: each.masks_us for each in compiled}, "us"),
        "mask.p50_us": replace(at(masks_us, 50, unit="us"), interval=None),  # masks of one walk are not independent
        "mask.p99_us": at(masks_us, 99, 1_000.0, "us"),
        "mask.max_us": at(masks_us, 100, unit="us"),
        "mask.llguidance.mean_us": spread({each.case.id: each.raw_us for each in compiled}, "us"),
        "mask.llguidance.p99_us": at(raw_us, 99, unit="us"),
        "mask.llguidance.ratio": ratio(by_raw, len(raw_us), 1.2, seed=seed),
        "mask.llguidance.fill.ratio": ratio(by_fill, n, seed=seed),
        "mask.llguidance.kernel.ratio": ratio(by_kernel, n, seed=seed),
        "check.mean_us": spread({each.case.id: each.check_us for each in compiled}, "us"),
    }
    return {f"{name}.{key}": measure for key, measure in measures.items()}


def verdict_measures(name: str, found: Sequence[Found]) -> dict[str, Measure]:
    how = [each.how for each in found]
    verdicts = [verdict for each in found for verdict in each.verdicts]
    wholly = [verdict for each in found if each.how == "enforced" for verdict in each.verdicts if not verdict.is_valid]
    valid = [verdict for verdict in verdicts if verdict.is_valid]
    invalid = [verdict for verdict in verdicts if not verdict.is_valid]
    raw_valid = [verdict.by_raw for verdict in valid if verdict.by_raw is not None]
    raw_invalid = [verdict.by_raw for verdict in invalid if verdict.by_raw is not None]
    rejected = [verdict for verdict in valid if not verdict.by_mask]
    unmet = [verdict for verdict in valid if not verdict.by_check]
    raw_refused = sum(each.raw_compile_ms is None for each in found if each.is_compiled)
    measures = {
        "schemas.enforced": share(how.count("enforced"), len(how)),
        "schemas.checked": share(how.count("checked"), len(how)),
        "schemas.refused": share(how.count("refused"), len(how)),
        "schemas.crashed": count(how.count("crashed"), len(how), 0),
        "keywords.enforced": share(sum(each.parts[1] for each in found), sum(each.parts[0] for each in found)),
        "schemas.refused_by_llguidance_alone": share(raw_refused, len(how)),
        "accepted_wrongly": count(sum(each.by_mask and each.by_check for each in invalid), len(invalid), 0),
        "accepted_wrongly.mask_alone": count(sum(each.by_mask for each in invalid), len(invalid)),
        "accepted_wrongly.mask_alone.enforced": count(sum(each.by_mask for each in wholly), len(wholly), 0),
        "accepted_wrongly.check_alone": count(sum(each.by_check for each in invalid), len(invalid), 0),
        "accepted_wrongly.llguidance": count(sum(raw_invalid), len(raw_invalid)),
        "rejected_wrongly.mask": count(len(rejected), len(valid)),
        "rejected_wrongly.mask.spelling": count(sum(each.otherwise for each in rejected), len(valid)),
        "rejected_wrongly.mask.too_costly": count(sum(each.is_lost for each in rejected), len(valid)),
        "rejected_wrongly.check": count(len(unmet), len(valid)),
        "rejected_wrongly.check.formats": count(sum(each.without_formats for each in unmet), len(valid)),
        "rejected_wrongly.llguidance": count(raw_valid.count(False), len(raw_valid)),
    }
    return {f"{name}.{key}": measure for key, measure in measures.items()}


# ------------------------------------------------------------------------------------------------------- written


@dataclass(frozen=True, slots=True)
class Writing:
    """A model's answers to each case, under its schema or free; none where the schema is refused.

    As a step does, a finished answer that leaves something unmet is sent back with what it is, `RETRIES` times.
    """

    model: Model
    rows: Sequence[Case]
    is_free: bool

    async def __call__(self) -> list[list[Completion]]:
        return list(await asyncio.gather(*map(self._one, self.rows)))

    async def _one(self, case: Case) -> list[Completion]:
        cut = case.json if len(case.json) <= PROMPT else f"{case.json[:PROMPT]} ..."
        text = f"Write one JSON document, with values you make up, that fits this JSON schema:\n{cut}\nOnly the JSON."
        request = Request(
            (Message("user", text),),
            temperature=0.0,
            max_tokens=MAX_TOKENS,
            constraint=None if self.is_free else case.constraint,
        )
        answers: list[Completion] = []
        try:
            while not answers or (answers[-1].finish != "length" and answers[-1].unmet and len(answers) <= RETRIES):
                if answers:
                    again = Message("user", f"That does not fit: {answers[-1].unmet}\nAnswer again.")
                    request = replace(request, messages=(*request.messages, answers[-1].message, again))
                answers.append(await self.model.complete(request))
        except SynthonError as error:
            print(f"{case.id}: {error}", file=sys.stderr)
        return answers


def is_valid(case: Case, text: str) -> bool:
    """Whether a text is JSON that fits the schema, formats asserted."""
    try:
        return fits(case.json, json.loads(text), formats=True)
    except (ValueError, RecursionError):
        return False


def unfenced(text: str) -> str:
    found = _FENCE.search(text)
    return found[1] if found else text


async def written_measures(arguments: Arguments, rows: Sequence[Case]) -> dict[str, Measure]:
    model = local()
    start = time.perf_counter()
    with SQLiteJournal(arguments.cache / "schemas.db") as journal:
        # what our own code decides is written anew, but for --full, which resumes
        kept: dict[str, Any] = {"journal": journal, "policy": "cache"} if arguments.full else {"policy": "off"}
        bound = await run(Writing(model, rows, is_free=False), **kept)
        print(f"written: {len(rows)} answers in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        free = await run(Writing(model, rows, is_free=True), journal=journal, policy="cache")
    taken = [(case, answers) for case, answers in zip(rows, bound, strict=True) if answers]
    first = [(case, answers[0]) for case, answers in taken if answers[0].finish != "length"]
    finished = [(case, answers[-1]) for case, answers in taken if answers[-1].finish != "length"]
    handed_out = [(case, answer) for case, answer in finished if not answer.unmet]  # a step raises for the others
    said = [(case, answers[0]) for case, answers in zip(rows, free, strict=True) if answers]
    ended = [(case, answer) for case, answer in said if answer.finish != "length"]
    fitting = [is_valid(case, unfenced(answer.text)) for case, answer in said]
    return {
        "written.refused": share(len(rows) - len(taken), len(rows)),
        "written.finished": share(len(finished), len(taken)),
        "written.valid_of_handed_out": share(_valid(handed_out), len(handed_out), 1.0),
        "written.valid_of_finished": share(_valid(first), len(first), 1.0),  # at the first try, as it was asked for
        "written.asked_again": count(sum(len(answers) > 1 for _, answers in taken), len(taken)),
        "written.never_met": count(len(finished) - len(handed_out), len(finished)),
        "written.free.finished": share(len(ended), len(said)),
        "written.free.valid": share(sum(fitting), len(said)),
        "written.free.valid_of_finished": share(
            sum(is_valid(case, unfenced(answer.text)) for case, answer in ended), len(ended)
        ),
    }


def _valid(answers: Sequence[tuple[Case, Completion]]) -> int:
    return sum(is_valid(case, answer.text) for case, answer in answers)


# --------------------------------------------------------------------------------------------------------- peers


@dataclass(frozen=True, slots=True)
class Answer:
    """What a peer did with one schema; `failure` is why it did not compile."""

    failure: Literal["", "refused", "time", "killed"]
    compile_ms: float = CAP_S * 1e3
    masks_us: tuple[float, ...] = ()
    accepted: tuple[bool, ...] = ()


def is_installed(name: str) -> bool:
    """Make a peer's environment, for so long as is within reason."""
    command = [sys.executable, "-c", f"from benchmarks import peer; peer.python({name!r})"]
    making = subprocess.Popen(command, start_new_session=True)
    try:
        return making.wait(INSTALL_S) == 0
    except subprocess.TimeoutExpired:
        os.killpg(making.pid, signal.SIGKILL)
        making.wait()
        return False


def answers(name: str, rows: Sequence[Case], language: Language, log: Path | None) -> tuple[str, list[Answer]]:
    """A peer's version and its answers; with a log those that stand there are not asked for again."""
    questions = [
        {
            "schema": case.json,
            "walks": [language.weights.tokenize(instance.text) for instance in case.instances],
            "timed": [instance.is_valid for instance in case.instances],
        }
        for case in rows
    ]
    pins = (_PEERS / f"{name}.txt").read_text(encoding="utf-8")
    keys = [hashlib.sha256((pins + json.dumps(question)).encode()).hexdigest() for question in questions]
    known: dict[str, dict[str, Any]] = {row["key"]: row for row in read(log)}
    missing = {key: question for key, question in zip(keys, questions, strict=True) if key not in known}
    common = {
        "library": name,
        "tokens": [base64.b64encode(text).decode() for text in language.tokens],
        "eos": language.eos,
        "ends": language.ends,
        "cap_s": CAP_S,
    }
    with contextlib.closing(asked(name, {**common, "schemas": list(missing.values())})) as lines:
        version = str(next(lines)["version"])
        for key, line in zip(missing, lines, strict=True):
            known[key] = line
            write(log, {"key": key, **line})
    return version, [answered(known[key]) for key in keys]


def asked(name: str, question: Mapping[str, object]) -> Generator[dict[str, Any]]:
    """The lines of a peer's process as they come."""
    command = [str(peer.python(name)), str(_PEERS / "masks.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:  # both are pipes
            return
        with process.stdin as pipe:
            pipe.write(json.dumps(question).encode())
        yield from map(json.loads, process.stdout)


def answered(line: Mapping[str, Any]) -> Answer:
    if line["failure"]:
        return Answer(line["failure"])
    return Answer("", line["compile_ms"], tuple(line["masks_us"]), tuple(line["accepted"]))


def read(log: Path | None) -> list[dict[str, Any]]:
    if log is None or not log.exists():
        return []
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def write(log: Path | None, row: Mapping[str, object]) -> None:
    if log is not None:
        with log.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")


def wrong(pairs: Sequence[tuple[Found, Sequence[bool]]], *, accepted: bool) -> tuple[int, int]:
    """Instances judged wrongly, and how many there were: accepted though invalid, or rejected though valid."""
    verdicts = [
        verdict
        for found, given in pairs
        for instance, verdict in zip(found.case.instances, given, strict=True)
        if instance.is_valid != accepted
    ]
    return verdicts.count(accepted), len(verdicts)


def peer_measures(name: str, found: Sequence[Found], given: Sequence[Answer]) -> dict[str, Measure]:
    """A peer's figures, and ours on the schemas that both compile."""
    pairs = list(zip(found, given, strict=True))
    compiled = [(ours, theirs) for ours, theirs in pairs if not theirs.failure]
    both = [(ours, theirs) for ours, theirs in compiled if ours.is_compiled]
    raced = [
        theirs.compile_ms / ours.compile_ms
        for ours, theirs in pairs
        if ours.is_compiled and theirs.failure in {"", "time"}
    ]
    masks_us = [us for _, theirs in compiled for us in theirs.masks_us]
    failures = [theirs.failure for theirs in given]
    measures = {
        "compiled": share(len(compiled), len(pairs)),
        "failed.refused": count(failures.count("refused"), len(pairs)),
        "failed.time": count(failures.count("time"), len(pairs)),
        "failed.killed": count(failures.count("killed"), len(pairs)),
        "compile.p50_ms": at([theirs.compile_ms for theirs in given if theirs.failure in {"", "time"}], 50),
        "compile.times_ours": replace(
            at(raced, 50, unit="x"), target=100.0 if name == "outlines_core" else None, op=">="
        ),
        "mask.mean_us": mean(masks_us, unit="us"),
        "mask.p99_us": at(masks_us, 99, unit="us"),
    }
    sides: dict[str, list[tuple[Found, Sequence[bool]]]] = {
        "": [(ours, theirs.accepted) for ours, theirs in both],
        ".ours": [(ours, [verdict.by_mask for verdict in ours.verdicts]) for ours, _ in both],
    }
    for side, judged in sides.items():
        measures[f"accepted_wrongly{side}"] = count(*wrong(judged, accepted=True))
        measures[f"rejected_wrongly{side}"] = count(*wrong(judged, accepted=False))
    return {f"{name}.{key}": measure for key, measure in measures.items()}


# ----------------------------------------------------------------------------------------------------------- run


def measured(arguments: Arguments) -> tuple[dict[str, Measure], dict[str, str]]:
    language = Language()
    warm = Case("", '{"type":"object"}', (Instance({}, is_valid=True),))
    walked(warm, language)
    measures: dict[str, Measure] = {}
    sets: dict[str, list[Found]] = {}
    for name in SETS:
        start = time.perf_counter()
        sets[name] = [walked(case, language) for case in cases(arguments.data, name)]
        print(f"{name}: {len(sets[name])} schemas in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        measures |= verdict_measures(name, sets[name]) | cost_measures(name, sets[name], arguments.seed)
    found = sets["jsonschemabench"]
    drawn = found if arguments.full else random.Random(arguments.seed).sample(found, min(DRAWN, len(found)))
    rows = [each.case for each in drawn]
    measures |= asyncio.run(written_measures(arguments, rows))
    versions = {}
    for name in PEERS:
        measures[f"{name}.installed"] = Measure(float(is_installed(name)))
        if not measures[f"{name}.installed"].value:
            versions[name] = "not installed"
            continue
        start = time.perf_counter()
        log = arguments.cache / f"schemas-{name}.jsonl" if arguments.full else None
        versions[name], given = answers(name, rows, language, log)
        print(f"{name}: {len(rows)} schemas in {time.perf_counter() - start:.0f} s", file=sys.stderr)
        measures |= peer_measures(name, drawn, given)
    return measures, versions


def main() -> None:
    arguments = parse(__doc__)
    try:
        for name in SETS:
            cases(arguments.data, name)
        path_of(DEFAULT)
    except (datasets.DataMissing, MissingExtra) as missing:
        skip("schemas", str(missing), arguments)
        return
    measures, versions = measured(arguments)
    versions = {"llguidance": metadata.version("llguidance"), **versions}
    report("schemas", arguments.seed, measures, as_json=arguments.json, peers=versions, readme=arguments.readme)


if __name__ == "__main__":
    main()
