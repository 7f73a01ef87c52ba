"""Measure: metrics, judges, intervals, paired comparison."""

from synthon.evals import metrics, statistics
from synthon.evals.cases import Case, Cases, cases
from synthon.evals.evaluating import evaluate
from synthon.evals.evaluation import Comparison, Evaluation, Measured
from synthon.evals.from_runs import cases_from_runs
from synthon.evals.grading import Grade, Metric
from synthon.evals.overlap import Overlap, overlap
from synthon.evals.statistics import Estimate

__all__ = [
    "Case",
    "Cases",
    "Comparison",
    "Estimate",
    "Evaluation",
    "Grade",
    "Measured",
    "Metric",
    "Overlap",
    "cases",
    "cases_from_runs",
    "evaluate",
    "metrics",
    "overlap",
    "statistics",
]
