"""What points are judged to be worth from few cases."""

from __future__ import annotations

import numpy as np

from synthon.optimize.surrogate import paired_means


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
