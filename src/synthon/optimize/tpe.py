"""The tree-structured Parzen estimator, by Optuna."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np

from synthon.core.errors import MissingExtra
from synthon.optimize.history import Ask, History
from synthon.optimize.random_search import unmeasured
from synthon.optimize.space import Point

_TRIES = 16  # proposals in one round, until enough are new
_SHARE = 10  # a round is a tenth of the points before it


@dataclass(frozen=True, slots=True)
class TPE:
    """See `tpe`."""

    cases: int | None = None
    name: str = "tpe"

    async def propose(self, history: History) -> Sequence[Ask]:
        return [Ask(point, history.unseen(point, self.cases)) for point in self._next(history)]

    def _next(self, history: History) -> list[Point]:
        space, seen = history.space, len(history.rows)
        if space.default not in history.rows or seen >= space.size:
            point = unmeasured(history)
            return [] if point is None else [point]
        optuna = _optuna()
        (seed,) = np.random.SeedSequence((history.seed, seen)).generate_state(1).tolist()  # Optuna's has 32 bits
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # all dimensions at once: the trials are split once, and not once a dimension
            sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
        study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)
        choices = {
            each.name: optuna.distributions.CategoricalDistribution(range(len(each.values)))
            for each in space.dimensions
        }
        for point in history.rows:
            shown, places = history.mean(point), dict(zip(choices, point, strict=True))
            values = [shown.score, shown.cost, shown.latency_s]
            study.add_trial(optuna.trial.create_trial(params=places, distributions=choices, values=values))
        found: dict[Point, None] = {}
        for _ in range(_TRIES):
            asked = study.ask(choices).params
            point = space.plain(tuple(asked[name] for name in choices))
            if point not in history.rows and not history.is_out(point):
                found[point] = None
            if len(found) >= max(1, seen // _SHARE):
                return list(found)
        point = unmeasured(history)
        return list(found) or ([] if point is None else [point])


def _optuna() -> ModuleType:
    try:
        optuna = importlib.import_module("optuna")
    except ImportError as error:
        msg = "tpe() needs 'optuna', which is not installed. Run: pip install 'synthon[optimize]'"
        raise MissingExtra(msg) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def tpe(*, cases: int | None = None) -> TPE:
    """Points that a tree-structured Parzen estimator proposes, each measured on `cases` cases (None: all).

    The estimator is Optuna's (Ozaki et al. 2020, Multiobjective Tree-Structured Parzen Estimator for Computationally
    Expensive Optimization Problems; Akiba et al. 2019, arXiv:1907.10902) over score, cost and seconds, asked anew from
    the whole history each time; where 16 proposals bring nothing new, one point is drawn.

    Raises:
        MissingExtra: when the search starts and Optuna is not installed.
    """
    return TPE(cases)


__all__ = ["TPE", "tpe"]
