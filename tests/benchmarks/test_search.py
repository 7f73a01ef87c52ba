"""The landscapes on which searches are measured are what they say."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.landscapes import area, planted
from benchmarks.search import Found, by_means, is_called_better, is_found, measured, searched
from synthon.optimize import random_search


def test_the_area_under_a_front_counts_each_step_once() -> None:
    assert area(np.array([0.5, 1.0, 0.2]), np.array([1.0, 0.5, 0.4])) == pytest.approx(0.5 * 0.5 + 1.0 * 0.5)
    assert area(np.array([-1.0]), np.array([1.0])) == 0.0


@pytest.mark.parametrize("interactions", [False, True])
def test_all_points_together_are_worth_everything_and_the_default_less(interactions: bool) -> None:  # noqa: FBT001 - a case
    landscape = planted(1, interactions=interactions)
    assert landscape.worth(list(landscape.space.points())) == pytest.approx(1.0)
    assert landscape.worth(list(landscape.space.points()), with_time=True) == pytest.approx(1.0)
    assert landscape.worth([landscape.space.default]) < 0.9
    assert 0.9 < landscape.worth(by_means(landscape)) < 1.0


def test_what_is_measured_agrees_with_the_truth_but_for_luck() -> None:
    landscape = planted(2, interactions=True)
    assert np.corrcoef(landscape.scores.mean(axis=1), landscape.truth[:, 0])[0, 1] > 0.95
    assert np.abs(landscape.costs.mean(axis=1) / landscape.truth[:, 1] - 1).max() < 0.2


def test_a_null_landscape_has_no_better_point() -> None:
    truth = planted(3, interactions=True, null=True).truth
    assert np.ptp(truth[:, 0]) == pytest.approx(0.0)


def test_a_search_spends_what_it_was_given() -> None:
    landscape = planted(4, interactions=False)
    assert searched(landscape, random_search(), 4, 1600).evaluations == 1600


def test_the_certificate_is_asked_about_chance_and_about_six_points() -> None:
    assert sum(map(is_called_better, range(6))) <= 2
    assert sum(map(is_found, range(6))) >= 3


def test_two_searches_that_found_the_same_are_level_however_their_sums_were_rounded() -> None:
    pairs = [(1.0, 1.0 + 2e-16), (1.0 + 2e-16, 1.0), (1.0, 0.9), (0.9, 1.0)]
    found = measured("x", [Found(ours, 0.0, 0.2, 0.5, tpe, 1.0) for ours, tpe in pairs])
    assert (found["x.ahead_of_tpe"].value, found["x.level_with_tpe"].value) == (0.25, 0.5)
    assert found["x.ahead_of_random"].value == 1
