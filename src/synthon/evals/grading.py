"""Metrics over outputs: functions of a case and an output, plain or async, that give a score or one with words."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from functools import partial
from typing import Any, TypeAlias, TypeVar

import numpy as np

from synthon.core.errors import BudgetExceeded, JournalError, OutputError, UserError
from synthon.core.many import Failed, run_many
from synthon.core.progress import Progress
from synthon.evals.cases import Case

E = TypeVar("E")
OutputT = TypeVar("OutputT")
Grade: TypeAlias = float | tuple[float, str]
"""A score (a bool counts 0 or 1), or a score with feedback: what is wrong, in words that a model can learn from."""
Metric: TypeAlias = Callable[[Case[E], OutputT], Grade | Awaitable[Grade]]
AnyMetric: TypeAlias = Metric[Any, Any]
Graded: TypeAlias = dict[str, tuple[float, str]]
ROUNDING = 1e-9  # of sums, which may pass 1 or stay below


def called(metric: AnyMetric) -> str:
    """The name of a metric in tables."""
    while isinstance(metric, partial):
        metric = metric.func
    return str(getattr(metric, "name", None) or getattr(metric, "__name__", None) or type(metric).__name__)


async def graded(
    metrics: Mapping[str, AnyMetric], rows: Sequence[tuple[Case[Any], object]], *, workers: int, run_id: str
) -> list[Graded]:
    """What each metric says of each row; async ones run under the surrounding run's journal, policy and budget.

    Raises:
        UserError: a metric raised, or gave no score; with its name and the case.
        BudgetExceeded: a judge would pass the budget.
    """
    results: list[Graded] = [{} for _ in rows]
    later: list[tuple[int, str]] = []

    async def judge(place: int, name: str) -> None:
        case, output = rows[place]
        try:
            given = metrics[name](case, output)
            results[place][name] = _score(await given if inspect.isawaitable(given) else given)
        except (BudgetExceeded, JournalError):
            raise
        except Exception as error:
            raise _broken(name, case, error) from error

    for place, (case, output) in enumerate(rows):
        for name, metric in metrics.items():
            given = _at_once(name, metric, case, output)
            if given is None:
                later.append((place, name))
            else:
                results[place][name] = given
    said = await run_many(judge, later, workers=workers, run_id=run_id, watch=_unseen) if later else []
    for each in said:
        if isinstance(each, Failed):
            raise each.error
    return results


def _at_once(name: str, metric: AnyMetric, case: Case[Any], output: object) -> tuple[float, str] | None:
    """A plain metric's score; None from an async one, which starts later, under the budget."""
    try:
        given = metric(case, output)
        if not inspect.isawaitable(given):
            return _score(given)
    except Exception as error:
        raise _broken(name, case, error) from error
    if inspect.iscoroutine(given):
        given.close()
    return None


def _score(given: object) -> tuple[float, str]:
    score, feedback = given if isinstance(given, tuple) and len(given) == 2 else (given, "")  # noqa: PLR2004 - a score and words
    if isinstance(score, np.bool_):
        score = bool(score)
    if not isinstance(score, numbers.Real | Decimal) or not math.isfinite(score) or not isinstance(feedback, str):
        raise TypeError(f"it gave {given!r:.200}, which is no finite score nor (score, feedback)")
    number = float(score)
    if not -ROUNDING <= number <= 1 + ROUNDING:
        raise ValueError(f"it gave {number:g}; a score is in 0..1, higher is better, and a case that fails gets 0")
    whole = float(round(number))
    return whole if abs(number - whole) <= ROUNDING else number, feedback


def _broken(name: str, case: Case[Any], error: Exception) -> UserError:
    kept = "what the program answered is in the journal"
    if isinstance(error, OutputError):
        kept += ", and what the judge did: ask it otherwise, or with another salt="
    return UserError(
        f"The metric {name!r} failed on case {case.id!r} ({dict(case.inputs)!r:.200}): {type(error).__name__}: {error}."
        f" Mend the metric and evaluate again; {kept}."
    )


def _unseen(_: Progress) -> None:
    """Judging draws no bar of its own."""
