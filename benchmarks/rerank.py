"""Reranking: is a language model's yes or no a better order than the index's own, and what does it cost?

    python -m benchmarks.rerank [--data DIR] [--cache DIR] [--full] [--json]

Ten passages of the hybrid search for each of 30 queries a set, drawn by seed, put in the order of the embedded model's
probability of Yes, by `ModelReranker` as it comes: query before passage. `gain` is nDCG@10 of documents (binary) after
minus before, paired, with its 95 % interval over queries; `mixed` is the mean of both scores, each scaled to 0..1
within its query, a weight nobody chose on any set; `best` is the best order these ten passages could have. The prompt
was chosen on one half of Cranfield's queries (by digest), so Cranfield reports on the other half and means are over the
four other sets, each weighing the same.

Seconds a query and the share of prompt tokens read from the engine's prefix cache are measured on three queries asked
anew in every run, for the other order too (`passage_first`). Scores are kept in the cache; a run without them stops
asking after eight minutes, going round the sets query by query, and `n` says how far it came. `--full` asks all, in
both orders, and Qwen2.5-0.5B too where its weights are.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks import datasets, statistics
from benchmarks.embeddings import Cached
from benchmarks.report import Measure, parse, report, skip
from benchmarks.retrieval import ndcg
from synthon.core.errors import MissingExtra
from synthon.core.protocols import discard
from synthon.core.running import run
from synthon.core.values import Usage
from synthon.journal import SQLiteJournal
from synthon.models.embedders import embedder
from synthon.models.local_model import local
from synthon.retrieval import Document, Index, ModelReranker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.datasets import Collection, Query
    from benchmarks.report import Arguments
    from synthon.core.protocols import Embedder, Emit, Model
    from synthon.core.values import Capability, Completion, Passage, Request

_CHOSEN_ON = "cranfield"
_QUERIES, _PASSAGES, _TIMED = 30, 10, 3
_SECONDS = 8 * 60.0


@dataclass(frozen=True, slots=True)
class Asked:
    """A query of a set with the passages found for it, best first."""

    set: str
    query: Query
    passages: tuple[Passage, ...]

    def ndcg(self, scores: Sequence[float]) -> float:
        """nDCG@10 of the documents when the passages are ordered by these scores, ties as they were."""
        order = np.argsort(-np.asarray(scores), kind="stable")
        ranked = list(dict.fromkeys(self.passages[place].document for place in order))
        return ndcg(ranked, self.query.relevant)

    @property
    def best(self) -> float:
        """nDCG@10 of the best order."""
        return self.ndcg([float(passage.document in self.query.relevant) for passage in self.passages])


@dataclass(slots=True)
class Counted:
    """A model that adds up what its answers used."""

    model: Model
    used: Usage = field(default_factory=Usage)

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def identity(self) -> str:
        return self.model.identity

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self.model.capabilities

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        completion = await self.model.complete(request, emit)
        self.used += completion.usage
        return completion


# -------------------------------------------------------------------------------------------------------- asking


def drawn(collection: Collection, seed: int) -> list[Query]:
    """Queries by seed, none of those the prompt was chosen on."""
    rest = [query for query in collection.queries if collection.name != _CHOSEN_ON or not is_chosen_on(query)]
    return random.Random(seed).sample(rest, min(_QUERIES, len(rest)))


def is_chosen_on(query: Query) -> bool:
    """Whether a query of Cranfield is of the half that prompts are compared on."""
    return hashlib.sha256(query.text.encode()).digest()[0] < 128


async def found(collections: Sequence[Collection], used: Embedder, seed: int) -> list[Asked]:
    """The passages of each query drawn, one query of each set after another."""
    sets = []
    for collection in collections:
        with tempfile.TemporaryDirectory() as folder, Index(Path(folder) / "index.db", embedder=used) as index:
            await index.add(Document(each.text, each.id, each.title) for each in collection.documents)
            queries = drawn(collection, seed)
            passages = [tuple(await index.search(query.text, k=_PASSAGES)) for query in queries]
        sets.append([Asked(collection.name, *pair) for pair in zip(queries, passages, strict=True)])
    return [asked for together in zip_longest(*sets) for asked in together if asked is not None]


async def judged(reranker: ModelReranker, asked: Sequence[Asked], seconds: float) -> list[tuple[Asked, list[float]]]:
    """Scores of each query's passages, in turn, until the time is over."""
    end = time.monotonic() + seconds
    rows = []
    for number, each in enumerate(asked, 1):
        rows.append((each, await reranker.scores(each.query.text, each.passages)))
        print(f"\r{reranker.name}: {number}/{len(asked)}", end="", file=sys.stderr, flush=True)
        if time.monotonic() > end:
            break
    print(file=sys.stderr)
    return rows


async def timed(reranker: ModelReranker, asked: Sequence[Asked]) -> tuple[float, float]:
    """Seconds a query (median), and the share of prompt tokens read from the prefix cache, nothing being kept."""
    counted = Counted(reranker.model)
    reranker = replace(reranker, model=counted)
    await reranker.scores("warm up", asked[0].passages[:1])  # loads the weights, and the instruction into the cache
    counted.used = Usage()
    seconds = []
    for each in asked:
        start = time.perf_counter()
        await reranker.scores(each.query.text, each.passages)
        seconds.append(time.perf_counter() - start)
    return median(seconds), counted.used.cached_tokens / counted.used.tokens


# ------------------------------------------------------------------------------------------------------ measures


def measures_of(name: str, rows: Sequence[tuple[Asked, list[float]]]) -> Iterator[tuple[str, Measure]]:
    """What a reranker's scores make of each set's order."""
    sets = list(dict.fromkeys(asked.set for asked, _ in rows))
    gains: dict[str, list[list[float]]] = {}
    for set_ in sets:
        here = [(asked, scores) for asked, scores in rows if asked.set == set_]
        before = [asked.ndcg([passage.score for passage in asked.passages]) for asked, _ in here]
        after = {
            "": [asked.ndcg(scores) for asked, scores in here],
            ".mixed": [asked.ndcg(mixed(asked, scores)) for asked, scores in here],
        }
        yield f"ndcg10.{set_}.hybrid", Measure(fmean(before), statistics.interval(before), len(before))
        yield f"ndcg10.{set_}.best", Measure(fmean(asked.best for asked, _ in here), None, len(here))
        for kind, values in after.items():
            bounds = statistics.interval(values)
            yield f"ndcg10.{set_}.{name}{kind}", Measure(fmean(values), bounds, len(values))
            difference = statistics.paired(values, before)
            yield f"gain.{set_}.{name}{kind}", Measure(difference.mean, difference.interval, difference.n)
            if set_ != _CHOSEN_ON:
                gains.setdefault(kind, []).append([new - old for new, old in zip(values, before, strict=True)])
    for kind, values_by_set in gains.items():
        mean = fmean(map(fmean, values_by_set))
        count = sum(map(len, values_by_set))
        yield f"gain.mean.{name}{kind}", Measure(mean, statistics.stratified(values_by_set), count)


def mixed(asked: Asked, scores: Sequence[float]) -> list[float]:
    """The mean of the search's and the reranker's scores, each scaled to 0..1."""
    own = _scaled([passage.score for passage in asked.passages])
    return [(left + right) / 2 for left, right in zip(own, _scaled(scores), strict=True)]


def _scaled(scores: Sequence[float]) -> list[float]:
    low, high = min(scores), max(scores)
    return [(score - low) / (high - low) if high > low else 0.0 for score in scores]


# ----------------------------------------------------------------------------------------------------------- run


@dataclass(frozen=True, slots=True)
class _Judging:
    """`judged`, without arguments that a journal would write down."""

    reranker: ModelReranker
    asked: Sequence[Asked]
    seconds: float

    async def __call__(self) -> list[tuple[Asked, list[float]]]:
        return await judged(self.reranker, self.asked, self.seconds)


@dataclass(frozen=True, slots=True)
class _Timing:
    """`timed`, same."""

    reranker: ModelReranker
    asked: Sequence[Asked]

    async def __call__(self) -> tuple[float, float]:
        return await timed(self.reranker, self.asked)


@dataclass(frozen=True, slots=True)
class _Finding:
    """`found`, same."""

    collections: Sequence[Collection]
    used: Embedder
    seed: int

    async def __call__(self) -> list[Asked]:
        return await found(self.collections, self.used, self.seed)


async def measure(arguments: Arguments, collections: Sequence[Collection], used: Embedder) -> dict[str, Measure]:
    asked = await run(_Finding(collections, used, arguments.seed), policy="off")
    measures: dict[str, Measure] = {}
    with SQLiteJournal(arguments.cache / "rerank.db") as journal:
        for model in _models(full=arguments.full):
            ways = {
                model.name: ModelReranker(model),
                f"{model.name}.passage_first": ModelReranker(model, first="passage"),
            }
            for name, reranker in ways.items():
                seconds, share = await run(_Timing(reranker, asked[:_TIMED]), policy="off")
                measures[f"seconds.{name}"] = Measure(seconds, None, _TIMED, unit="s")
                measures[f"cached.{name}"] = Measure(share, None, _TIMED * _PASSAGES, unit="of prompt tokens")
                if name == model.name or arguments.full:
                    judging = _Judging(reranker, asked, math.inf if arguments.full else _SECONDS)
                    measures |= measures_of(name, await run(judging, journal=journal, policy="cache"))
    return measures


def _models(*, full: bool) -> Iterator[Model]:
    yield local()
    if full:
        try:
            yield local("qwen2.5-0.5b")
        except MissingExtra as missing:
            print(f"qwen2.5-0.5b: left out, {missing}", file=sys.stderr)


def main() -> None:
    arguments = parse(__doc__)
    try:
        collections = [load(arguments.data) for load in datasets.RETRIEVAL.values()]
        used = Cached(embedder(), arguments.cache / "embeddings.db")
        local()
    except (datasets.DataMissing, MissingExtra) as missing:
        skip("rerank", str(missing), arguments)
        return
    measures = asyncio.run(measure(arguments, collections, used))
    report("rerank", arguments.seed, measures, as_json=arguments.json, readme=arguments.readme)


if __name__ == "__main__":
    main()
