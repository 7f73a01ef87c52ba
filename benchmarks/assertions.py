"""What assertions buy: posts that must keep to four constraints, without checks, with both levels, and `dspy.Refine`.

    python -m benchmarks.assertions [--data DIR] [--cache DIR] [--full] [--json]

The task is after TweetGen of DSPy Assertions (Singhvi 2023, arXiv:2312.13382): answer a question about a passage (SQuAD
paragraphs, in the English of XQuAD) in one post of at most 140 characters, in a single sentence, without hashtags, that
mentions a name or a number of the passage. `none` asks once. `suggest` and `require` send what is wrong back up to
twice, then let the last post stand or refuse it; a refused row keeps to nothing. `dspy.Refine` (DSPy has no assertions
any more) samples up to three times, at its own temperature of 1, and lets the model advise itself in between; its
reward is the share of constraints kept.

All arms ask the embedded model and have 256 generated tokens a row, DSPy's advice included: of what comes after,
nothing counts. A post of ours has at most 64 tokens, a call of DSPy's 128, which its markers and its advice need. The
last post that was whole within the budget stands, in `dspy.Refine` the best; `dspy.Refine.unbounded` is the best of
all. DSPy asks llama.cpp's own server with the same weights. `kept`: all four; `answered`: the post holds an accepted
answer; `both`: it does and keeps to all. Gains are paired. Rows are drawn by seed; answers are kept,
DSPy's row by row. A run without a cache stops after seven minutes, ours first, and `n` says how far each arm came.
"""

from __future__ import annotations

import asyncio
import json
import math
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import synthon as sy
from benchmarks import datasets, peer, posts
from benchmarks.report import Measure, parse, report, skip
from benchmarks.servers import server
from benchmarks.small_model import Heard, gain, mean, share
from synthon.core.errors import CheckFailed, JournalError, MissingExtra
from synthon.core.recording import recorded
from synthon.core.running import run
from synthon.journal import SQLiteJournal

if TYPE_CHECKING:
    from pathlib import Path

    from synthon.core.protocols import Journal, Model, Policy
    from synthon.core.step import Level, Step

ROWS, FULL, ROUND, SECONDS = 40, 100, 2, 7 * 60.0
TOKENS, THEIRS, BUDGET, TRIES = 64, 128, 256, 3
WORDS = 120  # of a passage
SERVER, CONTEXT = "xllamacpp", 8192  # all that the model was trained with: the prompt for advice takes over 4,000


@dataclass(frozen=True, slots=True)
class Row:
    """A question about a passage, and the answers accepted."""

    passage: str
    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Post:
    """What stands of a row, None where nothing does, and what it took."""

    text: str | None
    tries: int
    tokens: int


def drawn(data: Path, count: int, seed: int) -> list[Row]:
    """Questions whose passage is short enough to be read whole."""
    collection = datasets.squad(data)
    texts = {each.id: each.text for each in collection.documents}
    found = [
        Row(text, query.text, query.answers)
        for query in collection.queries
        for text in [texts[next(iter(query.relevant))]]
        if len(text.split()) <= WORDS
    ]
    return random.Random(seed).sample(found, min(count, len(found)))


# ---------------------------------------------------------------------------------------------------------- ours


@sy.step(temperature=0.7, max_tokens=TOKENS, retries=0)
async def post(passage: str, question: str) -> str:
    """Answer the question from the passage in one short post: a single sentence of at most 140 characters, without
    hashtags, that mentions a name or a number of the passage."""  # noqa: D205, D209 - one instruction
    raise NotImplementedError


def checked(level: Level) -> Step[[str, str], str]:
    """The step with its constraints as an assertion."""
    step = replace(post, checks=[])

    @step.check(retries=TRIES - 1, level=level)
    def keeps_to(output: str, passage: str) -> str | None:
        return " ".join(posts.problems(output, passage)) or None

    return step


ARMS: dict[str, Step[[str, str], str]] = {
    "none": post, "suggest": checked("suggest"), "require": checked("require"),
}  # fmt: skip


async def ask(step: Step[[str, str], str], model: Model, row: Row) -> Post:
    """One row within the budget of tokens."""
    heard = Heard(model)
    try:
        text: str | None = await replace(step, model=heard)(row.passage, row.question)
    except CheckFailed:
        text = None
    used = [each.usage.output_tokens for each in heard.completions]
    whole = [each.text for at, each in enumerate(heard.completions) if sum(used[: at + 1]) <= BUDGET]
    if len(whole) < len(used):
        text = whole[-1] if whole and "require" not in {check.level for check in step.checks} else None
    return Post(text, len(used), sum(used))


@dataclass(frozen=True, slots=True)
class _Asking:
    """Rows at once; a class, so that no argument is written down."""

    step: Step[[str, str], str]
    model: Model
    rows: Sequence[Row]

    async def __call__(self) -> list[Post]:
        return list(await asyncio.gather(*(ask(self.step, self.model, row) for row in self.rows)))


# ---------------------------------------------------------------------------------------------------------- dspy


@dataclass(frozen=True, slots=True)
class _Refining:
    """A row answered by `dspy.Refine`, kept by what it was asked and by the pins."""

    model: Model
    row: Row

    async def __call__(self) -> dict[str, Any]:
        asked = {
            "rows": [[self.row.passage, self.row.question]],
            "tries": TRIES, "max_tokens": THEIRS, "temperature": 0.7, "instruction": post.instruction,
        }  # fmt: skip
        identity = {"pins": [peer.pins("dspy"), peer.pins(SERVER)], "model": self.model.identity, "context": CONTEXT}
        return cast("dict[str, Any]", json.loads(await recorded("dspy.Refine", identity | asked, _Peer(asked))))


@dataclass(frozen=True, slots=True)
class _Peer:
    asked: dict[str, object]

    async def __call__(self) -> str:
        path = sy.local().model.path  # type: ignore[attr-defined] # a local model has one
        async with server(SERVER, path, parallel=1, context=CONTEXT) as served:
            answer = await asyncio.to_thread(peer.ask, "dspy", "dspy_refine.py", {**self.asked, "url": served.url})
        return json.dumps(answer)


def best(attempts: Sequence[Sequence[Any]], passage: str, *, budget: float = BUDGET) -> Post:
    """The best of the attempts within the budget; each is a post and the tokens generated until then."""
    whole = [str(text) for text, tokens in attempts if tokens <= budget and text is not None]
    text = max(whole, key=lambda each: sum(posts.kept(each, passage).values()), default=None)
    return Post(text, len(attempts), int(attempts[-1][1]) if attempts else 0)


# ------------------------------------------------------------------------------------------------------ measures


def measures_of(found: dict[str, list[Post]], rows: Sequence[Row]) -> dict[str, Measure]:
    kept: dict[str, list[bool]] = {}
    answered: dict[str, list[bool]] = {}
    both: dict[str, list[bool]] = {}
    measures: dict[str, Measure] = {}
    for arm, said in found.items():
        pairs = list(zip(said, rows, strict=False))
        by_row = [posts.kept(each.text or "", row.passage) for each, row in pairs]
        kept[arm] = [all(each.values()) for each in by_row]
        answered[arm] = [posts.answers(each.text or "", list(row.answers)) for each, row in pairs]
        both[arm] = [left and right for left, right in zip(kept[arm], answered[arm], strict=True)]
        measures |= {f"{arm}.kept": share(kept[arm]), f"{arm}.answered": share(answered[arm])}
        measures |= {f"{arm}.both": share(both[arm])}
        measures |= {f"{arm}.kept.{name}": share([each[name] for each in by_row]) for name in posts.CONSTRAINTS}
        measures[f"{arm}.tries"] = mean([float(each.tries) for each in said])
        measures[f"{arm}.tokens"] = mean([float(each.tokens) for each in said], "tokens")
    for ours, theirs in (
        ("suggest", "none"), ("require", "none"), ("suggest", "dspy.Refine"), ("require", "dspy.Refine"),
        ("dspy.Refine", "none"),
    ):  # fmt: skip
        if ours in found and theirs in found:
            for name, arms in (("kept", kept), ("answered", answered), ("both", both)):
                measures[f"gain.{ours}_over_{theirs}.{name}"] = gain(arms[ours], arms[theirs])
    return measures


async def measure(rows: Sequence[Row], journal: Journal, *, end: float) -> tuple[dict[str, Measure], dict[str, str]]:
    model, peers = sy.local(), {}
    found: dict[str, list[Post]] = {}
    for few in batched(rows):
        policy = _policy(end)
        try:
            for arm, step in ARMS.items():
                found.setdefault(arm, []).extend(await run(_Asking(step, model, few), journal=journal, policy=policy))
        except JournalError:
            break
    print(f"assertions: ours, {len(found['none'])} of {len(rows)} rows", file=sys.stderr)
    for few in batched(rows):
        policy = _policy(end)
        try:
            refined = await asyncio.gather(*(run(_Refining(model, row), journal=journal, policy=policy) for row in few))
        except (OSError, subprocess.CalledProcessError, JournalError) as error:
            print(f"dspy: no more, {error}", file=sys.stderr)
            break
        for said, row in zip(refined, few, strict=True):
            attempts = said["attempts"][0]
            peers["dspy"] = str(said["version"])
            found.setdefault("dspy.Refine", []).append(best(attempts, row.passage))
            found.setdefault("dspy.Refine.unbounded", []).append(best(attempts, row.passage, budget=math.inf))
    return measures_of(found, rows), peers


def _policy(end: float) -> Policy:
    """What is kept is read in any case; nobody is asked when the time is over."""
    return "cache" if time.monotonic() < end else "replay_only"


def batched(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows of a round, round by round."""
    return (rows[start : start + ROUND] for start in range(0, len(rows), ROUND))


def main() -> None:
    arguments = parse(__doc__)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    end = time.monotonic() + (math.inf if arguments.full else SECONDS)
    try:
        rows = drawn(arguments.data, FULL if arguments.full else ROWS, arguments.seed)
        with SQLiteJournal(arguments.cache / "assertions.db") as journal:
            measures, peers = asyncio.run(measure(rows, journal, end=end))
    except (datasets.DataMissing, MissingExtra) as missing:
        skip("assertions", str(missing), arguments)
        return
    report("assertions", arguments.seed, measures, as_json=arguments.json, peers=peers, readme=arguments.readme)


if __name__ == "__main__":
    main()
