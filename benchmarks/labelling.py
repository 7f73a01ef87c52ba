"""Labels without a language model: examples that vote, and a linear probe, beside TF-IDF's nearest neighbours.

    python -m benchmarks.labelling [--data DIR] [--cache DIR] [--full] [--json]

BANKING77 (77 intents) and CLINC150 (150, and out of scope), all labels: 160 or 1,000 training rows and 300 test rows,
drawn by seed. `accuracy` is that of `sy.neighbour_vote` and `sy.linear_probe` over the packaged embedder's vectors, and
of a vote of the rows nearest by TF-IDF of words. Each vote's `k` is that of 1, 3, 5 and 8 which is right most often on
the training rows, each asked without itself. `gain` is the probe's accuracy minus another's, paired. `train` is the
time from the first question to its answer, the vectors being there. `--full` draws five times.
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import synthon as sy
from benchmarks import datasets, statistics
from benchmarks.embeddings import Cached
from benchmarks.report import Measure, parse, report, skip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from synthon.core.protocols import Embedder, FloatArray
    from synthon.core.step import Strategy

_SETS = ("banking77", "clinc150")
_TRAIN, _TEST, _KS = (160, 1000), 300, (1, 3, 5, 8)


@sy.step
async def intent(message: str) -> str:
    """Name the intent."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Draw:
    """Rows of a set: training and test, each (text, label)."""

    train: tuple[tuple[str, str], ...]
    test: tuple[tuple[str, str], ...]


def drawn(data: Path, name: str, rows: int, seed: int) -> Draw:
    """Rows by seed; fewer where the set has fewer."""

    def some(split: str, n: int) -> tuple[tuple[str, str], ...]:
        found = datasets.rows(data / "intents" / f"{name}_{split}.jsonl.gz")
        pairs = [(str(row["text"]), str(row["label"])) for row in found]
        return tuple(random.Random(seed).sample(pairs, min(n, len(pairs))))

    return Draw(some("train", rows), some("test", _TEST))


async def right(strategy: Strategy, rows: Sequence[tuple[str, str]]) -> list[bool]:
    """Whether a step under this strategy gives each row's label."""
    step = intent.using(strategy=strategy)

    async def asked() -> list[bool]:
        return [await step(text) == label for text, label in rows]

    return await sy.run(asked, policy="off")


async def voting(draw: Draw, embedder: Embedder) -> list[bool]:
    """The vote over vectors, its number chosen on the training rows; a row never sees itself."""
    selector = sy.nearest([sy.Demo({"message": text}, label) for text, label in draw.train], embedder=embedder)
    found = {k: sum(await right(sy.neighbour_vote(k, selector), draw.train)) for k in _KS}
    return await right(sy.neighbour_vote(max(_KS, key=found.__getitem__), selector), draw.test)


async def probing(draw: Draw, embedder: Embedder) -> tuple[list[bool], float]:
    """The probe, and the seconds to its first answer."""
    await embedder.embed([text for text, _ in (*draw.train, *draw.test)])
    probe = sy.linear_probe([sy.Demo({"message": text}, label) for text, label in draw.train], embedder=embedder)
    start = time.perf_counter()
    await right(probe, draw.test[:1])
    seconds = time.perf_counter() - start
    return await right(probe, draw.test), seconds


def by_words(draw: Draw) -> list[bool]:
    """The vote over TF-IDF of words (smoothed, sublinear), its number chosen the same way."""
    texts, labels = zip(*draw.train, strict=True)
    vector = tf_idf(texts)
    known, asked = vector(texts), vector([text for text, _ in draw.test])
    apart = known @ known.T - 9 * np.eye(len(texts), dtype=np.float32)
    found = {k: np.mean(voted(apart, labels, k) == np.array(labels)) for k in _KS}
    answers = voted(asked @ known.T, labels, max(_KS, key=found.__getitem__))
    return [answer == label for answer, (_, label) in zip(answers, draw.test, strict=True)]


def tf_idf(texts: Sequence[str]) -> Callable[[Sequence[str]], FloatArray]:
    """Vectors of unit length over the words of these texts."""
    seen = Counter(word for text in texts for word in set(_words(text)))
    places = {word: place for place, word in enumerate(seen)}
    weights = {word: math.log((1 + len(texts)) / (1 + count)) + 1 for word, count in seen.items()}

    def vectors(asked: Sequence[str]) -> FloatArray:
        found = np.zeros((len(asked), len(places)), np.float32)
        for row, text in enumerate(asked):
            for word, count in Counter(_words(text)).items():
                if word in places:
                    found[row, places[word]] = (1 + math.log(count)) * weights[word]
        return np.asarray(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9), np.float32)

    return vectors


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def voted(likeness: FloatArray, labels: Sequence[str], k: int) -> np.ndarray:
    """The majority label of each row's `k` likest, of equals the likest."""
    order = np.argsort(-likeness, axis=1, kind="stable")[:, :k]
    return np.array([Counter(labels[place] for place in row).most_common(1)[0][0] for row in order])


async def measured(data: Path, cache: Path, seeds: Sequence[int]) -> dict[str, Measure]:
    """Every measure, pooled over draws."""
    embedder = Cached(sy.embedder(), cache / "embeddings.db")
    measures: dict[str, Measure] = {}
    for name in _SETS:
        for rows in _TRAIN:
            found: dict[str, list[bool]] = {"linear_probe": [], "neighbour_vote": [], "tf_idf_knn": []}
            seconds = []
            for seed in seeds:
                draw = drawn(data, name, rows, seed)
                answers, took_s = await probing(draw, embedder)
                found["linear_probe"] += answers
                found["neighbour_vote"] += await voting(draw, embedder)
                found["tf_idf_knn"] += by_words(draw)
                seconds.append(took_s)
            where, probe = f"{name}.{rows}", [float(one) for one in found["linear_probe"]]
            for what, each in found.items():
                measures[f"{where}.accuracy.{what}"] = Measure(
                    float(np.mean(each)), statistics.share(sum(each), len(each)), len(each), unit="share"
                )
            for what in ("neighbour_vote", "tf_idf_knn"):
                gain = statistics.paired(probe, [float(one) for one in found[what]])
                measures[f"{where}.gain_over.{what}"] = Measure(gain.mean, gain.interval, gain.n, unit="share")
            measures[f"{where}.train"] = Measure(float(np.median(seconds)), None, len(seconds), unit="s")
    return measures


def main() -> None:
    arguments = parse(__doc__)
    seeds = range(arguments.seed, arguments.seed + (5 if arguments.full else 1))
    try:
        measures = asyncio.run(measured(arguments.data, arguments.cache, seeds))
    except (datasets.DataMissing, sy.MissingExtra) as error:
        skip("labelling", str(error), arguments)
        return
    report("labelling", arguments.seed, measures, as_json=arguments.json, readme=arguments.readme)


if __name__ == "__main__":
    main()
