"""Retrieval: how good the passages are and how fast the index is; one configuration for all sets.

    python -m benchmarks.retrieval [--data DIR] [--cache DIR] [--full] [--json]

Quality: nDCG@10 and recall@5 of documents (binary relevance) on five sets, for the index's modes with the packaged
MiniLM at the defaults, beside `bm25s` (k1 0.9, b 0.4, PyStemmer `english`, its own stop words) over the same titles and
texts. A document ranks where its best chunk ranks. Intervals are 95 % over queries, differences are paired, and means
over the sets weigh each set the same. `weight.*` are other shares of the dense side; `weight.left_out` takes for each
set the one that is best on the four others; `weight.adaptive` takes one for each query, from how far the first passage
of either side stands out, and is compared with the best fixed one.

Speed: 100,000 chunks of two to five sentences in a row, drawn by seed from the sets' texts, with a static embedder and
the sets' queries; building and searching are processes of their own, whose peak memory is reported. Recall is the share
of the exact scan's first ten passages.
"""

from __future__ import annotations

import asyncio
import math
import multiprocessing
import random
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING, cast

from benchmarks import datasets, statistics
from benchmarks.embeddings import Cached
from benchmarks.peer import ask
from benchmarks.report import Measure, parse, report, skip
from synthon.core.errors import MissingExtra
from synthon.models.embedders import embedder
from synthon.retrieval import Document, Index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from benchmarks.datasets import Collection, Query
    from synthon.core.protocols import Embedder, FloatArray
    from synthon.core.values import Passage

#: Passages asked for a query; the first ten different documents among them are ranked.
_PASSAGES = 100
_WEIGHTS = (0.3, 0.4, 0.5, 0.6, 0.7)
_SYSTEMS = ("reference", "bm25", "dense", "rrf", "hybrid")
_CHUNKS, _QUERIES = 100_000, 200


@dataclass(frozen=True, slots=True)
class Scores:
    """nDCG@10 and recall@5 of one system on one set, a value a query."""

    ndcg: list[float]
    recall: list[float]


Quality = dict[str, dict[str, Scores]]  # set -> system -> scores


def main() -> None:
    arguments = parse(__doc__)
    try:
        collections = [load(arguments.data) for load in datasets.RETRIEVAL.values()]
        embedders = embedder("minilm-l6-v2"), embedder("wordllama-256")
    except (datasets.DataMissing, MissingExtra) as missing:
        skip("retrieval", str(missing), arguments)
        return
    used = Cached(embedders[0], arguments.cache / "embeddings.db")
    quality: Quality = {}
    version = ""
    for collection in collections:
        start = time.perf_counter()
        found, version = reference(collection)
        quality[collection.name] = {"reference": found, **asyncio.run(ours(collection, used))}
        print(f"{collection.name}: {time.perf_counter() - start:.0f} s", flush=True)
    measures = {**of_systems(quality), **of_weights(quality)}
    with tempfile.TemporaryDirectory() as folder:
        measures |= speed(Path(folder), collections, arguments.seed)
    report(
        "retrieval", arguments.seed, measures, as_json=arguments.json, peers={"bm25s": version}, readme=arguments.readme
    )


# ------------------------------------------------------------------------------------------------------- quality


def ndcg(ranked: Sequence[str], relevant: frozenset[str], depth: int = 10) -> float:
    """Normalised discounted cumulative gain with binary gains (Järvelin, Kekäläinen 2002)."""
    gain = sum(1 / math.log2(rank + 2) for rank, id_ in enumerate(ranked[:depth]) if id_ in relevant)
    return gain / sum(1 / math.log2(rank + 2) for rank in range(min(depth, len(relevant))))


def score(rankings: Iterable[Sequence[str]], queries: Sequence[Query]) -> Scores:
    pairs = list(zip(rankings, queries, strict=True))
    return Scores(
        [ndcg(ranked, query.relevant) for ranked, query in pairs],
        [len(query.relevant.intersection(ranked[:5])) / len(query.relevant) for ranked, query in pairs],
    )


def reference(collection: Collection) -> tuple[Scores, str]:
    """`bm25s` over whole documents, and its version."""
    texts = [f"{each.title}\n{each.text}".strip() for each in collection.documents]
    queries = [query.text for query in collection.queries]
    answer = ask("bm25s", "bm25s_ranking.py", {"texts": texts, "queries": queries, "k": 10})
    rankings = [[collection.documents[row].id for row in rows] for rows in cast("list[list[int]]", answer["rows"])]
    return score(rankings, collection.queries), str(answer["version"])


async def ours(collection: Collection, used: Embedder) -> dict[str, Scores]:
    """The index in each mode, and the default one with other weights."""
    rankings: dict[str, list[list[str]]] = {}
    with tempfile.TemporaryDirectory() as folder, Index(Path(folder) / "index.db", embedder=used) as index:
        added = await index.add(Document(each.text, each.id, each.title) for each in collection.documents)
        if added.failed:
            print(f"{collection.name}: {added}")
        for query in collection.queries:
            words, meaning = [await index.search(query.text, k=_PASSAGES, mode=mode) for mode in ("bm25", "dense")]
            found = {
                "bm25": words,
                "dense": meaning,
                "rrf": await index.search(query.text, k=_PASSAGES, mode="rrf"),
                "hybrid": await index.search(query.text, k=_PASSAGES),
                "adaptive": await index.search(query.text, k=_PASSAGES, weight=adaptive(words, meaning)),
            }
            for weight in _WEIGHTS:
                found[str(weight)] = await index.search(query.text, k=_PASSAGES, weight=weight)
            for name, passages in found.items():
                rankings.setdefault(name, []).append(list(dict.fromkeys(each.document for each in passages))[:10])
    return {name: score(ranked, collection.queries) for name, ranked in rankings.items()}


def adaptive(words: Sequence[Passage], meaning: Sequence[Passage]) -> float:
    """A weight for one query: the dense side's share of how far both first passages stand out."""
    left, right = _prominence(words), _prominence(meaning)
    return right / (left + right) if left + right > 0 else 0.5


def _prominence(passages: Sequence[Passage]) -> float:
    """How far the first is above the next nineteen, in units of its distance to the last; 0..1."""
    scores = [each.score for each in passages]
    if len(scores) < 2 or scores[0] <= scores[-1]:
        return 0.0
    return (scores[0] - fmean(scores[1:20])) / (scores[0] - scores[-1])


def of_systems(quality: Quality) -> dict[str, Measure]:
    """Each system on each set, and the default against the reference and rank fusion."""
    measures: dict[str, Measure] = {}
    for system in _SYSTEMS:
        for name, scores in quality.items():
            for kind, values in (("ndcg10", scores[system].ndcg), ("recall5", scores[system].recall)):
                bounds = statistics.interval(values)
                measures[f"{kind}.{name}.{system}"] = Measure(fmean(values), bounds, len(values))
        measures[f"ndcg10.mean.{system}"] = _mean([scores[system].ndcg for scores in quality.values()])
    for name, scores in quality.items():
        found = statistics.paired(scores["hybrid"].ndcg, scores["reference"].ndcg)
        measures[f"gain.{name}.reference"] = Measure(found.mean, found.interval, found.n)
        # asked for is that no interval lies wholly below 0, so the target stands at its upper end
        upper = Measure(found.interval[1], None, found.n, target=0.0)
        measures[f"gain.{name}.reference.upper"] = upper
    for other, target in (("reference", 0.10), ("rrf", 0.015)):
        gains = [_gains(scores["hybrid"], scores[other]) for scores in quality.values()]
        measures[f"gain.mean.{other}"] = _mean(gains, target)
    return measures


def of_weights(quality: Quality) -> dict[str, Measure]:
    """Other weights, the one chosen on other sets, and one for each query against the best fixed."""
    table = {str(weight): [scores[str(weight)].ndcg for scores in quality.values()] for weight in _WEIGHTS}
    measures = {f"weight.{weight}": _mean(values) for weight, values in table.items()}
    means = {weight: [fmean(values) for values in sets] for weight, sets in table.items()}
    left_out = []
    for number in range(len(quality)):
        best = max(means, key=lambda weight: sum(means[weight]) - means[weight][number])  # used at once
        left_out.append(table[best][number])
    measures["weight.left_out"] = _mean(left_out)
    best = max(means, key=lambda weight: sum(means[weight]))
    measures["weight.best"] = Measure(float(best), None, len(quality))
    measures["weight.adaptive"] = _mean([scores["adaptive"].ndcg for scores in quality.values()])
    gains = [_gains(scores["adaptive"], scores[best]) for scores in quality.values()]
    measures["weight.adaptive.gain"] = _mean(gains)
    return measures


def _gains(ours: Scores, theirs: Scores) -> list[float]:
    return [left - right for left, right in zip(ours.ndcg, theirs.ndcg, strict=True)]


def _mean(sets: Sequence[Sequence[float]], target: float | None = None) -> Measure:
    rows = sum(len(values) for values in sets)
    return Measure(fmean(fmean(values) for values in sets), statistics.stratified(sets), rows, target)


# --------------------------------------------------------------------------------------------------------- speed


def speed(folder: Path, collections: Sequence[Collection], seed: int) -> dict[str, Measure]:
    """Build and search a large index, each in a process of its own."""
    drawn = random.Random(seed)
    chunks = sorted({chunk for one in collections for each in one.documents for chunk in _windows(each.text)})
    queries = [query.text for one in collections for query in one.queries]
    built = _alone(_build, folder, drawn.sample(chunks, min(_CHUNKS, len(chunks))))
    searched = _alone(_search, folder, drawn.sample(queries, min(_QUERIES, len(queries))))
    return {
        "large.chunks": Measure(built["chunks"]),
        "large.build": Measure(built["chunks"] / built["seconds"], unit="chunks/s"),
        "large.build.embedding": Measure(built["chunks"] / built["embedding"], unit="chunks/s"),
        "large.build.memory": Measure(built["memory"], unit="MB"),
        "large.disk": Measure(built["disk"], unit="MB"),
        "large.open": Measure(searched["open"], unit="s"),
        "large.search.p50": Measure(searched["p50"], None, _QUERIES, unit="ms"),
        "large.search.dense.p50": Measure(searched["dense"], None, _QUERIES, unit="ms"),
        "large.search.bm25.p50": Measure(searched["bm25"], None, _QUERIES, unit="ms"),
        "large.search.filtered.p50": Measure(searched["filtered"], None, _QUERIES, unit="ms"),
        "large.search.memory": Measure(searched["memory"], unit="MB"),
        "large.recall10": Measure(searched["recall"], (searched["low"], searched["high"]), _QUERIES),
    }


def _windows(text: str) -> list[str]:
    """Runs of two to five sentences."""
    parts = [part.strip() for part in text.split(". ") if part.strip()]
    return [". ".join(parts[at : at + size])[:2_000] for size in range(2, 6) for at in range(len(parts) - size + 1)]


def _alone(
    work: Callable[[Path, Sequence[str]], dict[str, float]], folder: Path, texts: Sequence[str]
) -> dict[str, float]:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, folder, texts).result()


class _Timed:
    """An embedder that adds up the seconds it takes."""

    def __init__(self, inner: Embedder) -> None:
        self._inner = inner
        self.seconds = 0.0

    @property
    def identity(self) -> str:
        return self._inner.identity

    async def embed(self, texts: Sequence[str]) -> FloatArray:
        start = time.perf_counter()
        try:
            return await self._inner.embed(texts)
        finally:
            self.seconds += time.perf_counter() - start


def _build(folder: Path, texts: Sequence[str]) -> dict[str, float]:
    documents = (
        Document(text, f"{number:06}", metadata={"hundredth": number % 100}) for number, text in enumerate(texts)
    )
    used = _Timed(embedder("wordllama-256"))
    with Index(folder / "large.db", embedder=used, chunk_characters=2_000) as index:
        start = time.perf_counter()
        added = asyncio.run(index.add(documents))
        seconds = time.perf_counter() - start
    disk = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    return {
        "chunks": added.chunks, "seconds": seconds, "embedding": used.seconds, "memory": _peak_mb(), "disk": disk,
    }  # fmt: skip


def _search(folder: Path, queries: Sequence[str]) -> dict[str, float]:
    return asyncio.run(_searched(folder / "large.db", queries))


async def _searched(path: Path, queries: Sequence[str]) -> dict[str, float]:
    used = embedder("wordllama-256")
    await used.embed(queries[:1])
    found: dict[str, float] = {}
    with Index(path, embedder=used) as index:
        start = time.perf_counter()
        await index.search(queries[0], k=10)
        found["open"] = time.perf_counter() - start
        options: dict[str, dict[str, object]] = {
            "p50": {}, "dense": {"mode": "dense"}, "bm25": {"mode": "bm25"}, "filtered": {"where": {"hundredth": 7}},
        }  # fmt: skip
        for name, chosen in options.items():
            found[name] = median([await _milliseconds(index, query, chosen) for query in queries])
        near = [{each.document for each in await index.search(query, k=10, mode="dense")} for query in queries]
    found["memory"] = _peak_mb()  # before the exact scan, which holds all vectors
    with Index(path, embedder=used, exact_chunks=_CHUNKS * 10) as index:
        exact = [{each.document for each in await index.search(query, k=10, mode="dense")} for query in queries]
    recalls = [len(left & right) / len(right) for left, right in zip(near, exact, strict=True)]
    found["recall"], (found["low"], found["high"]) = fmean(recalls), statistics.interval(recalls)
    return found


async def _milliseconds(index: Index, query: str, options: Mapping[str, object]) -> float:
    start = time.perf_counter()
    await index.search(query, k=10, **options)  # type: ignore[arg-type]  # by name, from the table above
    return (time.perf_counter() - start) * 1e3


def _peak_mb() -> float:
    """Of this process alone: `ru_maxrss` holds that of who started it, too."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1e3


if __name__ == "__main__":
    main()
