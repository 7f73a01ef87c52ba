"""Programs that are only simulated or recorded, so that the truth about each of their points is known.

    landscape = planted(seed, interactions=True)        # 1,152 to 1,944 points of 2 to 4 steps
    landscape.worth(history.front())                    # hypervolume of true score and cost, as a share of the best
    await search(method, history, landscape)            # answers asks

The truth of a planted program is over all cases there could be; a search sees a sample, so even who measures everything
is a little wrong. The truth of a recorded one is the mean of its rows.
"""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from benchmarks.datasets import DataMissing, rows
from synthon.optimize import Ask, Dimension, Measure, Point, Space

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

CASES = 160
_DIFFICULTY, _TASTE = (
    0.5,
    0.2,
)  # variances: of the case, of the case with a value; the rest is luck


@dataclass
class Landscape:
    """What each point scores, costs and takes: in truth, and on the validation cases.

    Args:
        space: its points, in order of `points`.
        truth: score, cost, seconds, shape (points, 3).
        scores: shape (points, cases); like `costs` and `seconds`.
    """

    space: Space
    truth: Floats
    scores: Floats
    costs: Floats
    seconds: Floats

    def __post_init__(self) -> None:
        self.place = {point: n for n, point in enumerate(self.space.points())}
        self.best = {with_time: self._volume(self.truth, with_time=with_time) for with_time in (False, True)}

    async def __call__(self, asks: Sequence[Ask]) -> Sequence[Mapping[int, Measure]]:
        return [dict(self._rows(ask)) for ask in asks]

    def _rows(self, ask: Ask) -> Iterator[tuple[int, Measure]]:
        n, cases = self.place[ask.point], list(ask.cases)
        values = (self.scores[n, cases], self.costs[n, cases], self.seconds[n, cases])
        for case, score, cost, seconds in zip(cases, *(each.tolist() for each in values), strict=True):
            yield case, Measure(score, cost, seconds, 1)

    def worth(self, points: Sequence[Point], *, with_time: bool = False) -> float:
        """Hypervolume of what points truly are over that of the true front, from the worst of everything."""
        return self._volume(self.truth[[self.place[point] for point in points]], with_time=with_time) / (
            self.best[with_time] or 1.0
        )

    def _volume(self, truth: Floats, *, with_time: bool) -> float:
        worst = np.array([self.truth[:, 0].min(), *self.truth[:, 1:].max(axis=0)])
        gains = (truth - worst) * [1, -1, -1]
        if not with_time:
            return area(gains[:, 0], gains[:, 1])
        by_time = gains[np.argsort(-gains[:, 2], kind="stable")]
        depths = by_time[:, 2] - np.append(by_time[1:, 2], 0.0)
        return math.fsum(
            depth * area(by_time[: n + 1, 0], by_time[: n + 1, 1])
            for n, depth in enumerate(depths.tolist())
            if depth > 0
        )


def area(score: Floats, cheapness: Floats) -> float:
    """Area under the steps of the best score at each cheapness or more."""
    order = np.argsort(-cheapness, kind="stable")
    top = np.maximum.accumulate(np.maximum(score[order], 0.0))
    return float((top * (cheapness[order] - np.append(cheapness[order][1:], 0.0))).sum())


# ------------------------------------------------------------------------------------------------------- planted


def _space(steps: int) -> Space:
    models, many = (2, 3) if steps == 4 else (3, 4 if steps == 2 else 3)
    dimensions = []
    for step in range(steps):
        dimensions.append(Dimension(f"s{step}.model", tuple(range(models)), "model"))
        if step < 2:
            dimensions.append(Dimension(f"s{step}.strategy", ("predict", "vote"), "strategy"))
    return Space([
        *dimensions,
        Dimension("program.k", tuple(range(many)), "retrieval", ordered=True),
        Dimension("s0.accept", tuple(range(many)), "other", ordered=True),
        Dimension("s0.demos", tuple(range(3 if steps == 2 else 2)), "demos"),
    ])  # fmt: skip


def planted(seed: int, *, interactions: bool, null: bool = False) -> Landscape:
    """A program of 2 to 4 steps whose best points are known: model x strategy x k x threshold x demos.

    Scores are 0 or 1: a case is right when what the point brings exceeds what the case demands, which is difficulty,
    taste (some cases want some values) and luck. With interactions, dimensions help or hurt each other, and three
    values together are better than they have reason to be. With null, every point is worth the same.
    """
    generator, steps = np.random.default_rng((seed, 1)), 2 + seed % 3
    space = _space(steps)
    at = np.array(list(space.points()))
    column = {each.name: at[:, n] for n, each in enumerate(space.dimensions)}
    brings, cost, seconds = np.zeros(len(at)), np.zeros(len(at)), np.zeros(len(at))
    for step in range(steps):
        models = len(space.dimensions[0].values)
        ability = np.sort(generator.normal(0, 0.5, models)) * generator.uniform(0.3, 1.3)
        if generator.random() < 0.2:  # sometimes the dearest is not the best
            generator.shuffle(ability)
        price = np.cumprod([1.0, *generator.uniform(2, 5, models - 1)]) * generator.uniform(0.5, 1.5)
        model = column[f"s{step}.model"]
        brings += ability[model]
        dollars, wait = price[model], price[model] ** 0.4
        if step < 2:
            vote = column[f"s{step}.strategy"]
            brings += generator.normal(0.2, 0.3) * vote
            dollars, wait = dollars * generator.uniform(2, 5) ** vote, wait * generator.uniform(1, 2) ** vote
        if step == 0:
            escalated = np.array([0, 0.15, 0.35, 0.6])[column["s0.accept"]]
            dollars = dollars * (1 + 0.5 * column["s0.demos"]) + 2 * escalated * price[-1]
            wait = wait * (1 + 0.1 * column["s0.demos"]) + escalated * price[-1] ** 0.4
        if step == steps - 1:
            dollars, wait = (
                dollars * (1 + 0.25 * 2.0 ** column["program.k"]),
                wait * (1 + 0.1 * 2.0 ** column["program.k"]),
            )
        cost, seconds = cost + dollars, seconds + wait
    brings -= 0.08 * (column["program.k"] - generator.uniform(0.5, 3)) ** 2
    brings += np.array([0, 0.5, 0.8, 0.9])[column["s0.accept"]] * generator.uniform(0.1, 0.6)
    brings += np.array([0, generator.normal(0.2, 0.2), generator.normal(0.25, 0.25)])[column["s0.demos"]]
    if interactions:
        brings += _interactions(space, at, generator)
    brings = (brings - brings.mean()) * generator.uniform(0.5, 0.8) / brings.std() * (not null)
    brings += generator.normal(0.1, 0.3)
    return _answered(space, at, np.stack([brings, cost, seconds], axis=1), seed)


def _interactions(space: Space, at: NDArray[np.int64], generator: np.random.Generator) -> Floats:
    found = np.zeros(len(at))
    for one, other in itertools.combinations(range(at.shape[1]), 2):
        if generator.random() < 0.4:
            effect = generator.normal(0, 0.35, (space.shape[one], space.shape[other]))
            effect -= effect.mean(axis=0)
            found += (effect - effect.mean(axis=1, keepdims=True))[at[:, one], at[:, other]]
    three = generator.choice(at.shape[1], 3, replace=False)
    meets = [at[:, each] == generator.integers(space.shape[each]) for each in three]
    together: Floats = found + 0.6 * (meets[0] & meets[1]) + 0.4 * (meets[0] & meets[1] & meets[2])
    return together


def _answered(space: Space, at: NDArray[np.int64], worth: Floats, seed: int) -> Landscape:
    generator = np.random.default_rng((seed, 2))
    brings = worth[:, :1] - generator.normal(0, math.sqrt(_DIFFICULTY), CASES)
    for n, size in enumerate(space.shape):
        brings = brings + generator.normal(0, math.sqrt(_TASTE / len(space.shape)), (size, CASES))[at[:, n]]
    brings = brings + generator.normal(0, math.sqrt(1 - _DIFFICULTY - _TASTE), brings.shape)
    length = np.exp(generator.normal(0, 0.35, CASES) - 0.35**2 / 2)
    costs = worth[:, 1:2] * length * np.exp(generator.normal(0, 0.1, brings.shape) - 0.1**2 / 2)
    seconds = worth[:, 2:] * length * np.exp(generator.normal(0, 0.2, brings.shape) - 0.2**2 / 2)
    share = np.array([0.5 * (1 + math.erf(each / math.sqrt(2))) for each in worth[:, 0].tolist()])
    return Landscape(space, np.column_stack([share, worth[:, 1:]]), (brings > 0).astype(float), costs, seconds)


# ------------------------------------------------------------------------------------------------------ recorded

FRUGALML = ("YELP", "IMDB", "WAIMAI", "SHOP", "FERPLUS", "RAFDB", "EXPW", "DIGIT", "AUDIOMNIST", "COMMAND", "FLUENT")
_ROWS = 1000
_SHARES = (0.1, 0.25, 0.5, 0.75, 0.9)  # of cases on which a service's confidence is below the threshold


def _sampled(space: Space, scores: Floats, costs: Floats, seed: int) -> Landscape:
    """A thousand rows of a table; what it says of them is the truth, and nothing is known of time."""
    chosen = np.random.default_rng(seed).choice(scores.shape[1], min(_ROWS, scores.shape[1]), replace=False)
    scores, costs, seconds = scores[:, chosen], costs[:, chosen], np.ones((len(scores), len(chosen)))
    return Landscape(
        space, np.stack([each.mean(axis=1) for each in (scores, costs, seconds)], axis=1), scores, costs, seconds
    )


def frugalml(data: Path, task: str, seed: int) -> Landscape:
    """Two services of four in a cascade: the first answers where it is sure enough, else the second: 112 points."""
    folder = data / "frugalml"
    services = list(rows(folder / f"{task}_services.jsonl"))
    names = [str(each["Index"]) for each in services]
    prices = [float(str(next(value for key, value in each.items() if "Cost" in key))) for each in services]
    path = folder / f"{task}.csv.gz"
    if not path.is_file():
        msg = f"no {path}"
        raise DataMissing(msg)
    table = np.genfromtxt(path, delimiter=",", names=True, dtype=float)
    right = np.array([table[f"pred_{name}"] == table["label"] for name in names], float)
    sure = np.array([table[f"conf_{name}"] for name in names])
    thresholds = [np.concatenate([[-np.inf], np.quantile(each, _SHARES), [np.inf]]) for each in sure]
    space = Space([
        Dimension("answer.first", tuple(names), "model"),
        Dimension("answer.accept", (0.0, *_SHARES, 1.0), "other", ordered=True),
        Dimension("answer.second", tuple(names), "model"),
    ])  # fmt: skip
    scores, costs = [], []
    for first, accept, second in space.points():
        passes = sure[first] < thresholds[first][accept]
        scores.append(np.where(passes, right[second], right[first]))
        costs.append(prices[first] + prices[second] * passes)
    return _sampled(space, np.array(scores), np.array(costs, float), seed)


def llmrouter(data: Path, seed: int) -> Landscape:
    """One of nine models for each of three groups of tasks: 729 points; rows cost their length at the list price."""
    path = data / "llmrouter" / "models_prices.json"
    scored = list(rows(data / "llmrouter" / "scores.jsonl.gz"))
    prices = json.loads(path.read_text(encoding="utf-8"))
    task = {str(row["query"]): str(row["task_name"]) for row in rows(data / "llmrouter" / "queries.jsonl.gz")}
    kept = [row for row in scored if str(row["question"]) in task]
    names = sorted(cast("dict[str, float]", kept[0]["scores"]))
    tasks = sorted(set(task.values()))
    group = np.array([tasks.index(task[str(row["question"])]) % 3 for row in kept])
    right = np.array([[cast("dict[str, float]", row["scores"])[name] for row in kept] for name in names])
    length = np.array([len(str(row["question"])) for row in kept]) / 4e6
    dollars = np.array([float(prices[name]["input_price"]) for name in names])
    space = Space([Dimension(f"group{n}.model", tuple(names), "model") for n in range(3)])
    chosen = np.array(list(space.points()))[:, group]  # model of each point for each row
    return _sampled(space, right[chosen, np.arange(len(kept))], dollars[chosen] * length, seed)


__all__ = ["CASES", "FRUGALML", "Landscape", "area", "frugalml", "llmrouter", "planted"]
