"""The tree-structured Parzen estimator, by Optuna."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

from synthon.core.errors import MissingExtra
from synthon.optimize.history import Ask, History
from synthon.optimize.random_search import unmeasured
from synthon.optimize.space import Point

_TRIES = 16  # proposals in one round, until one is new


@dataclass(frozen=True, slots=True)
class TPE:
    """See `tpe`."""

    cases: int | None = None
    name: str = "tpe"

    async def propose(self, history: History) -> Sequence[Ask]:
        point = self._next(history)
        return [] if point is None else [Ask(point, history.unseen(point, self.cases))]

    def _next(self, history: History) -> Point | None:
        space = history.space
        if space.default not in history.rows or len(history.rows) >= space.size:
            return unmeasured(history)
        optuna = _optuna()
        sampler = optuna.samplers.TPESampler(seed=history.seed * 1_000_003 + len(history.rows))
        study = optuna.create_study(directions=["maximize", "minimize", "minimize"], sampler=sampler)
        choices = {
            each.name: optuna.distributions.CategoricalDistribution(range(len(each.values)))
            for each in space.dimensions
        }
        for point in history.rows:
            shown, names = history.mean(point), dict(zip(choices, point, strict=True))
            values = [shown.score, shown.cost, shown.latency_s]
            study.add_trial(optuna.trial.create_trial(params=names, distributions=choices, values=values))
        for _ in range(_TRIES):
            found = study.ask(choices).params
            point = tuple(found[name] for name in choices)
            if point not in history.rows:
                return point
        return unmeasured(history)


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
