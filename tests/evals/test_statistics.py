"""The statistics, against counting everything and against simulated truth."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthon as sy
from synthon.evals import statistics
from synthon.evals.statistics import Estimate, _student

DIFFERENCES = st.lists(st.integers(-6, 6), min_size=1, max_size=9)


def by_counting(differences: list[int]) -> Fraction:
    """Of all ways to turn the signs, the share whose sum is as far from 0."""
    signs = list(product((-1, 1), repeat=len(differences)))
    far = abs(sum(differences))
    sums = (sum(s * d for s, d in zip(each, differences, strict=True)) for each in signs)
    return Fraction(sum(abs(total) >= far for total in sums), len(signs))


@given(DIFFERENCES)
def test_few_pairs_are_permuted_in_every_way(differences: list[int]) -> None:
    p = statistics.permutation_p([d / 7 for d in differences], [0.0] * len(differences))
    assert p == pytest.approx(float(by_counting(differences)))


@given(st.lists(st.sampled_from([-1, 0, 0, 1]), min_size=1, max_size=12))
def test_scores_of_0_and_1_are_tested_exactly(differences: list[int]) -> None:
    one, other = [int(d > 0) for d in differences], [int(d < 0) for d in differences]
    assert statistics.permutation_p(one, other) == pytest.approx(float(by_counting(differences)))


def test_mcnemars_test_is_exact_for_many_pairs_too() -> None:
    one, other = [1.0] * 90 + [0.0] * 60 + [1.0] * 450, [0.0] * 90 + [1.0] * 60 + [1.0] * 450
    exact = 2 * sum(math.comb(150, k) for k in range(61)) / 2**150
    assert statistics.permutation_p(one, other) == pytest.approx(exact)


def test_many_pairs_are_permuted_by_seed_and_near_the_exact_value() -> None:
    values = list(np.random.default_rng(3).normal(0.3, 1, 17))
    exact = by_counting([round(1e6 * value) for value in values])
    zeros = [0.0] * 17
    drawn = statistics.permutation_p(values, zeros, seed=1)
    assert drawn == statistics.permutation_p(values, zeros, seed=1) != statistics.permutation_p(values, zeros, seed=2)
    assert drawn == pytest.approx(float(exact), abs=4 * math.sqrt(0.25 / statistics.RESAMPLES))


def test_equal_scores_are_no_difference() -> None:
    assert statistics.permutation_p([1.0, 0.5], [1.0, 0.5]) == 1.0
    with pytest.raises(sy.UserError, match="cannot be paired"):
        statistics.permutation_p([1.0], [1.0, 0.0])


def test_wilson_is_as_tabulated_and_never_empty() -> None:
    assert statistics.wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)  # Newcombe 1998's method 3
    assert statistics.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert statistics.wilson(20, 20)[1] == 1.0


@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
def test_wilson_covers_the_truth_in_95_of_100_samples_on_average(share: float) -> None:
    """Exactly, by summing over all outcomes; Wilson's is approximate, so near 0.95 and not at least."""
    n = 60
    bounds = [statistics.wilson(k, n) for k in range(n + 1)]
    covered = sum(
        math.comb(n, k) * share**k * (1 - share) ** (n - k)
        for k in range(n + 1)
        if bounds[k][0] <= share <= bounds[k][1]
    )
    assert 0.92 <= covered <= 0.98


@pytest.mark.slow
@pytest.mark.parametrize("n", [10, 40])
def test_the_bootstrap_covers_the_truth_of_skewed_scores(n: int) -> None:
    generator, rounds = np.random.default_rng(n), 600
    truth = 5 / 6
    covered = 0
    for seed in range(rounds):
        low, high = statistics.bootstrap(generator.beta(5, 1, n), seed=seed, resamples=1000)
        covered += low <= truth <= high
    assert covered / rounds == pytest.approx(0.95, abs=0.03)  # plain percentiles: 0.89 at n = 10


def test_an_interval_is_the_same_for_the_same_seed() -> None:
    values = np.linspace(0, 1, 30) ** 2
    assert statistics.mean(values, seed=1) == statistics.mean(values, seed=1) != statistics.mean(values, seed=2)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30))
def test_an_interval_holds_its_mean_and_stays_inside_the_values(values: list[float]) -> None:
    low, high = statistics.bootstrap(values, resamples=500)
    middle = float(np.mean(values))
    assert min(values) - 1e-12 <= low <= middle + 1e-12
    assert middle - 1e-12 <= high <= max(values) + 1e-12


def test_students_quantile_is_as_tabulated() -> None:
    for freedom, known in ((4, 2.776), (9, 2.262), (30, 2.042)):
        assert _student(0.975, freedom) == pytest.approx(known, rel=0.01)


def test_means_of_nothing_and_of_one_say_that_they_know_nothing() -> None:
    assert math.isnan(statistics.mean([]).value)
    one = statistics.mean([0.4])
    assert one == Estimate(0.4, 0.0, 1.0, 1)
    assert statistics.mean([4.0]) == Estimate(4.0, -math.inf, math.inf, 1)  # of an unknown scale
    assert statistics.mean([4.0], scores=False) == Estimate(4.0, 0.0, math.inf, 1)
    assert math.isnan(statistics.paired([], []).low)
    same = statistics.mean([0.5] * 9)
    others = statistics.wilson(0, 9)[1]  # the most that may be otherwise
    assert (same.value, same.n) == (0.5, 9)
    assert (same.low, same.high) == pytest.approx((0.5 - others / 2, 0.5 + others / 2))
    assert statistics.mean([0.5] * 9, scores=False).high == 0.5


def test_scores_and_differences_that_are_all_the_same_leave_room_for_others() -> None:
    almost, right = statistics.mean([1 - 1e-12] * 20), statistics.mean([1.0] * 20)
    assert (almost.low, almost.high) == pytest.approx((right.low, right.high))  # as Wilson's of all right ones
    few, many = statistics.paired([0.5] * 5, [0.5] * 5), statistics.paired([0.5] * 500, [0.5] * 500)
    assert few.low == -few.high < -0.4
    assert many.low == -many.high > -0.01
    better = statistics.paired([1.0] * 6, [0.0] * 6)
    assert 0 < better.low < better.high == 1.0
    assert 0.1 < statistics.detectable_gain([0.1] * 30) < 0.3  # of no spread, which is not a gain of 0
    assert statistics.detectable_gain([0.3 - 0.2, 0.4 - 0.3] * 15) > 0.1


@pytest.mark.parametrize(("share", "n"), [(0.5, 15), (0.95, 100)])
def test_a_quantile_is_covered_at_least_as_often_as_said(share: float, n: int) -> None:
    generator, rounds = np.random.default_rng(n), 2000
    covered = 0
    for _ in range(rounds):
        found = statistics.quantile(generator.random(n), share)
        covered += found.low <= share <= found.high
    assert 0.94 <= covered / rounds <= 0.99


def test_bounds_that_few_values_do_not_show_are_infinite() -> None:
    assert math.isfinite(statistics.quantile(range(72), 0.95).high)
    assert statistics.quantile(range(71), 0.95).high == math.inf
    assert statistics.quantile([1.0], 0.5) == Estimate(1.0, -math.inf, math.inf, 1)
    assert statistics.quantile([1.0], 0.5, least=0.0) == Estimate(1.0, 0.0, math.inf, 1)
    assert math.isnan(statistics.quantile([], 0.5).value)
    with pytest.raises(sy.UserError, match=r"A quantile was asked for at 1\.0\. Pass a share between 0 and 1"):
        statistics.quantile([1.0], 1.0)


def test_a_paired_difference_is_surer_than_two_means() -> None:
    generator = np.random.default_rng(0)
    hard = generator.random(200)
    one, other = np.clip(hard + 0.05, 0, 1), hard
    found = statistics.paired(one, other)
    assert 0.03 < found.low < found.value < found.high < 0.06
    assert statistics.mean(one).low < statistics.mean(other).high


POINTS = st.lists(st.tuples(*[st.integers(0, 5)] * 3), max_size=8)


@given(POINTS)
def test_the_front_is_what_nothing_dominates(points: list[tuple[int, int, int]]) -> None:
    def dominated(point: tuple[int, ...]) -> bool:
        return any(all(a <= b for a, b in zip(each, point, strict=True)) and each != point for each in points)

    assert statistics.pareto(points) == [place for place, point in enumerate(points) if not dominated(point)]


@given(POINTS, st.integers(1, 3))
def test_the_hypervolume_is_what_inclusion_and_exclusion_count(
    points: list[tuple[int, int, int]], objectives: int
) -> None:
    table = [point[:objectives] for point in points]
    corner = (5,) * objectives
    total = 0
    for size in range(1, len(table) + 1):
        for chosen in combinations(table, size):
            worst = [max(each[o] for each in chosen) for o in range(objectives)]
            total += (-1) ** (size + 1) * math.prod(max(0, c - w) for c, w in zip(corner, worst, strict=True))
    assert statistics.hypervolume(np.array(table).reshape(-1, objectives), corner) == pytest.approx(total)


def test_more_than_three_objectives_are_refused() -> None:
    with pytest.raises(sy.UserError, match="hypervolume of 4 objectives"):
        statistics.hypervolume([[1, 1, 1, 1]], (2, 2, 2, 2))


def test_holm_is_as_in_his_paper() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == []


@pytest.mark.slow
def test_the_detectable_effect_is_found_in_80_of_100_samples() -> None:
    n, discordant = 600, 0.2
    effect = statistics.minimum_detectable_effect(n, discordant=discordant)
    assert effect == pytest.approx(0.0527, abs=1e-4)
    generator, rounds = np.random.default_rng(5), 400
    shares = [(discordant - effect) / 2, 1 - discordant, (discordant + effect) / 2]
    draws = generator.choice([-1.0, 0.0, 1.0], (rounds, n), p=shares)
    found = sum(statistics.permutation_p(np.maximum(row, 0), np.maximum(-row, 0)) < 0.05 for row in draws)
    assert found / rounds == pytest.approx(0.8, abs=0.06)
    with pytest.raises(sy.UserError, match="one of the two"):
        statistics.minimum_detectable_effect(600)


@pytest.mark.parametrize(("n", "discordant"), [(8, 0.0), (10, 0.4), (30, 0.0), (40, 0.2), (100, 0.05)])
def test_a_detectable_effect_of_few_cases_is_found_as_often(n: int, discordant: float) -> None:
    effect, rounds = statistics.minimum_detectable_effect(n, discordant=discordant), 200
    share = max(discordant, effect)
    p = [(share - effect) / 2, 1 - share, (share + effect) / 2]
    draws = np.random.default_rng(n).choice([-1.0, 0.0, 1.0], (rounds, n), p=p)
    found = sum(statistics.permutation_p(np.maximum(row, 0), np.maximum(-row, 0)) < 0.05 for row in draws)
    assert found / rounds > 0.73  # the normal approximation's effects were found in 2 to 75 of 100


def test_an_effect_on_graded_scores_needs_some_cases_that_differ() -> None:
    one = statistics.detectable_gain([0.1] + [0.0] * 29)
    assert 0.02 < one < 0.03  # a quarter of the cases better by as much, of which six are a proof
    generator, rounds = np.random.default_rng(8), 200
    effect = statistics.minimum_detectable_effect(8, sd=0.3)
    found = sum(statistics.permutation_p(generator.normal(effect, 0.3, 8), [0.0] * 8) < 0.05 for _ in range(rounds))
    assert found / rounds > 0.73


@pytest.mark.parametrize("n", [30, 60])
def test_the_interval_of_differences_that_are_mostly_none_covers_the_truth(n: int) -> None:
    generator, rounds, missed = np.random.default_rng(n), 300, 0
    for _ in range(rounds):
        gain = np.where(generator.random(n) < 0.1, generator.uniform(-1, 1, n), 0.0)
        found = statistics.paired(np.maximum(gain, 0), np.maximum(-gain, 0))
        missed += not found.low <= 0 <= found.high
    assert missed / rounds < 0.08  # the bootstrap alone misses it 13 times of 100
