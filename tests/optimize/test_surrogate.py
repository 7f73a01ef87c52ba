"""What points are judged to be worth from few cases."""

from __future__ import annotations

import numpy as np

from synthon.optimize.features import Features
from synthon.optimize.space import Dimension, Space
from synthon.optimize.surrogate import Means, Surrogate, paired_logs, paired_means


def test_seeing_easy_cases_only_is_no_merit() -> None:
    table = np.tile(np.concatenate([np.ones(50), np.zeros(50)]), (24, 1))
    table[12:, 50:] = np.nan
    raw, (means, _) = np.nanmean(table, axis=1), paired_means(table)
    assert raw[12] - raw[0] == 0.5
    assert np.ptp(means) < 0.1


def test_cases_that_are_easy_for_other_points_leave_room_for_doubt() -> None:
    generator = np.random.default_rng(0)
    table = np.full((30, 200), np.nan)
    table[:6] = generator.random((6, 200)) < 0.7
    table[:6, :8] = 1.0  # easy for these, who alone have seen the others
    table[6:, :8] = generator.random((24, 8)) < 0.75
    means, noise = paired_means(table)
    assert noise[0] < noise[6]
    assert np.mean(np.abs(means[6:] - 0.75) < 2 * np.sqrt(noise[6:])) > 0.7


def test_what_a_cascade_costs_is_less_sure_than_what_a_model_costs() -> None:
    generator = np.random.default_rng(0)
    table = np.full((40, 200), np.nan)
    table[:20, :8] = 1.0  # a model by itself
    asked = generator.random((20, 8)) < 0.25
    table[20:, :8] = 0.1 + 10 * asked  # a cascade whose second model a quarter of the cases need
    table[20, :] = 0.1 + 10 * (generator.random(200) < 0.25)
    _, noise = paired_logs(table)
    assert noise[:20].mean() < 0.5 * noise[21:].mean()
    assert noise[20] < 0.2 * noise[21:].mean()


def test_points_that_no_pair_explains_are_not_believed_known() -> None:
    space = Space([Dimension(name, tuple(range(4)), "other") for name in "abc"])
    points = list(space.points())
    values = np.random.default_rng(1).normal(0, 0.1, len(points))  # each its own
    features, places = Features(space), np.arange(0, len(points), 2)
    rows, measured = features.of(points), Means(values[::2], np.full(len(places), 1e-5))
    fit = Surrogate.fitted(rows[places], features.blocks, measured)
    assert fit.own > 0.3 * values.var()
    worth, draws = fit.drawn(rows, places, measured, 200, np.random.default_rng(2))
    off = np.abs(values - worth)[1::2] / draws.std(axis=1)[1::2]
    assert np.mean(off < 2) > 0.8
