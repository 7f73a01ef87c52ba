"""How much of the best front a search finds, of what it would cost to measure everything.

    python -m benchmarks.search [--data DIR] [--full] [--json]

`planted`: simulated programs of 2 to 4 steps, 1,152 to 1,944 points, 160 validation cases with scores of 0 or 1,
separable or with interactions. `share` is the hypervolume (score, cost) of what the points of the front truly are, over
that of the true front; `share_with_time` the same of score, cost and seconds; `evaluations` the share of all points on
all cases that racing measured; `exhaustive` what measuring all of them and taking the best means would have found: less
than 1, since it also picks by luck. `ahead_of_*` counts the seeds in which racing's front is worth more than that of
random search and of TPE (Optuna, whole cases) after as many evaluations; `level_with_tpe` those in which both are
worth the same, as where both found all of the best front.

`frugalml`: cascades of two of four recorded services with a threshold, eleven tasks. `llmrouter`: one of nine recorded
models for each of three groups of tasks. The truth is the mean of a thousand rows, drawn by seed; the search may see
them all, but not often.

`null`: every point is worth the same, racing chooses one, and the certificate judges it on 300 fresh cases; `better` of
400 runs must be the five of a hundred that a test at this level may be wrong in. `found`: six points better on 600
cases, a fifth of them discordant.
"""

from __future__ import annotations

import asyncio
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from benchmarks.datasets import DataMissing
from benchmarks.landscapes import CASES, FRUGALML, Landscape, frugalml, llmrouter, planted
from benchmarks.report import Arguments, Measure, parse, report
from benchmarks.statistics import interval, share
from synthon.optimize import Dimension, History, Method, Space, certificate, racing, random_search, search, tpe

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SEEDS, RECORDED, NULLS = 50, 22, 400
BUDGET = 0.2  # of all evaluations
_SAME = 1e-9  # sums that are rounded otherwise


class Found(NamedTuple):
    """One seed: what each front is worth, and what share of all evaluations racing took."""

    racing: float
    with_time: float
    evaluations: float
    random: float
    tpe: float
    exhaustive: float


def fronts(make: Callable[[int], Landscape], seed: int) -> Found:
    """Racing, the others after as many evaluations, and everything measured."""
    landscape = make(seed)
    every = landscape.space.size * landscape.scores.shape[1]
    ours = searched(landscape, racing(), seed, int(BUDGET * every))
    front = ours.front()
    random, parzen = (
        landscape.worth(searched(landscape, method, seed, ours.evaluations).front())
        for method in (random_search(), tpe())
    )
    return Found(
        landscape.worth(front), landscape.worth(front, with_time=True), ours.evaluations / every, random, parzen,
        landscape.worth(by_means(landscape)),
    )  # fmt: skip


def searched(landscape: Landscape, method: Method, seed: int, evaluations: int) -> History:
    history = History(landscape.space, landscape.scores.shape[1], seed, calls=evaluations)
    asyncio.run(search(method, history, landscape))
    return history


def by_means(landscape: Landscape) -> list[tuple[int, ...]]:
    """The points with the highest mean score at each mean cost."""
    means, costs = landscape.scores.mean(axis=1), landscape.costs.mean(axis=1)
    points, top, kept = list(landscape.space.points()), -np.inf, []
    for n in np.lexsort((-means, costs)):
        if means[n] > top:
            top = means[n]
            kept.append(points[n])
    return kept


def measured(name: str, found: Sequence[Found]) -> dict[str, Measure]:
    """The measures of one family of landscapes."""
    n = len(found)

    def mean(values: Sequence[float], target: float | None = None, *, most: bool = False) -> Measure:
        return Measure(fmean(values), interval(values), n, target, "<=" if most else ">=", "share")

    def ahead(of: Sequence[float]) -> Measure:
        wins = sum(each.racing > other + _SAME for each, other in zip(found, of, strict=True))
        return Measure(wins / n, share(wins, n), n, 0.9, unit="share")

    level = sum(abs(each.racing - each.tpe) <= _SAME for each in found)

    whole = [each.exhaustive for each in found]
    times = [each.with_time for each in found]
    return {
        f"{name}.share": mean([each.racing for each in found], 0.99),
        **({f"{name}.share_with_time": mean(times)} if any(times) else {}),
        f"{name}.evaluations": mean([each.evaluations for each in found], 0.2, most=True),
        f"{name}.random": mean([each.random for each in found]),
        f"{name}.tpe": mean([each.tpe for each in found]),
        **({f"{name}.exhaustive": mean(whole)} if min(whole) < 1 - 1e-9 else {}),
        f"{name}.ahead_of_random": ahead([each.random for each in found]),
        f"{name}.ahead_of_tpe": ahead([each.tpe for each in found]),
        f"{name}.level_with_tpe": Measure(level / n, share(level, n), n, unit="share"),
    }


# ------------------------------------------------------------------------------------------------------- certificate


def is_called_better(seed: int) -> bool:
    """Whether the certificate calls a chosen point better where all points are worth the same."""
    generator = np.random.default_rng((seed, 3))
    space = Space([Dimension("s.model", (0, 1, 2), "model"), Dimension("s.demos", (0, 1, 2, 3), "demos")])
    demand = generator.normal(0, 0.7, CASES)
    scores = (generator.normal(0.2, 0.7, (space.size, CASES)) > demand).astype(float)
    truth = np.ones((space.size, 3)) * [0.5, 1.0, 1.0]
    landscape = Landscape(space, truth, scores, np.ones_like(scores), np.ones_like(scores))
    history = searched(landscape, racing(), seed, 600)
    demand = generator.normal(0, 0.7, 300)
    ours, theirs = ((generator.normal(0.2, 0.7, 300) > demand).astype(float) for _ in range(2))
    return history.best() != space.default and certificate(ours, theirs, seed=seed).verdict == "better"


def is_found(seed: int) -> bool:
    """Whether the certificate finds six points on 600 cases, a fifth of them discordant."""
    generator = np.random.default_rng((seed, 4))
    ours, theirs = np.ones(600), np.ones(600)
    drawn = generator.random(600)
    ours[drawn < 0.07], theirs[drawn > 0.87] = 0.0, 0.0
    return certificate(ours, theirs, seed=seed).verdict == "better"


# --------------------------------------------------------------------------------------------------------------- run


def measure(arguments: Arguments, pool: ProcessPoolExecutor) -> dict[str, Measure]:
    seeds = [arguments.seed * 1000 + n for n in range(SEEDS)]
    found: dict[str, Measure] = {}
    for name, interactions in (("planted", False), ("interactions", True)):
        make = partial(planted, interactions=interactions)
        found |= measured(name, list(pool.map(partial(fronts, make), seeds)))
        print(f"{name}: done", file=sys.stderr)
    nulls = [arguments.seed * 1000 + n for n in range(NULLS)]
    better, power = list(pool.map(is_called_better, nulls, chunksize=20)), list(pool.map(is_found, nulls, chunksize=20))
    found["null.better"] = Measure(sum(better), None, NULLS, 27, "<=", "runs")
    found["null.found"] = Measure(fmean(power), share(sum(power), NULLS), NULLS, 0.8, unit="share")
    return {**found, **recorded(arguments, pool, seeds if arguments.full else seeds[:RECORDED])}


def recorded(arguments: Arguments, pool: ProcessPoolExecutor, seeds: Sequence[int]) -> Mapping[str, Measure]:
    """The tables that are there: seeds go round over frugalml's tasks."""
    found: dict[str, Measure] = {}
    try:
        tasks = [FRUGALML[n % len(FRUGALML)] for n in range(len(seeds))]
        makes = [partial(frugalml, arguments.data, task) for task in tasks]
        found |= measured("frugalml", list(pool.map(fronts, makes, seeds)))
        found |= measured("llmrouter", list(pool.map(partial(fronts, partial(llmrouter, arguments.data)), seeds)))
    except DataMissing as missing:
        print(f"recorded tables: left out, {missing}", file=sys.stderr)
    return found


def main() -> None:
    arguments = parse(__doc__)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with ProcessPoolExecutor(2) as pool:
        report("search", arguments.seed, measure(arguments, pool), as_json=arguments.json, readme=arguments.readme)


if __name__ == "__main__":
    main()
