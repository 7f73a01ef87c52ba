"""The history: what was measured, what may still be spent, what is concluded."""

from __future__ import annotations

import numpy as np
import pytest

from synthon.optimize import Ask, Dimension, History, Limits, Measure, Point, Space

MODELS = Space([Dimension("answer.model", ("small", "middle", "large"), "model")])
SMALL, MIDDLE, LARGE = (0,), (1,), (2,)


def measured(history: History, point: Point, scores: list[int], *, cost: float = 1.0, latency_s: float = 1.0) -> None:
    """Score the first cases of the order."""
    history.add(
        point, {case: Measure(score, cost, latency_s, 1) for case, score in zip(history.order, scores, strict=False)}
    )


def test_every_point_sees_the_cases_in_one_order_that_the_seed_draws() -> None:
    one, same, other = History(MODELS, 40, seed=1), History(MODELS, 40, seed=1), History(MODELS, 40, seed=2)
    assert sorted(one.order) == list(range(40))
    assert one.order == same.order != other.order
    measured(one, SMALL, [1, 0, 1])
    assert one.unseen(SMALL, 2) == one.order[3:5]
    assert one.unseen(LARGE) == one.order


def test_a_summary_is_of_the_cases_a_point_was_measured_on() -> None:
    history = History(MODELS, 10)
    history.add(SMALL, {0: Measure(1.0, 0.2, 1.0, 2), 4: Measure(0.0, 0.4, 3.0, 4)})
    shown = history.mean(SMALL)
    assert (shown.score, shown.calls, shown.n) == (0.5, 3.0, 2)
    assert shown.cost == pytest.approx(0.3)
    assert shown.latency_s == 2.0
    assert shown.p95_s == pytest.approx(2.9)


def test_what_is_left_counts_the_calls_measured_or_asks_the_meter() -> None:
    history = History(MODELS, 10, calls=20)
    assert history.left == 20
    measured(history, SMALL, [1, 0, 1])
    assert (history.spent, history.left, history.evaluations) == (3, 17, 3)
    history.meter = lambda: 19
    assert history.left == 1
    assert History(MODELS, 10).left is None


def test_an_ask_is_priced_by_what_the_point_was_seen_to_need_at_most() -> None:
    history = History(MODELS, 10)
    assert history.worst_case([Ask(SMALL, (0, 1))]) == 2
    history.add(SMALL, {0: Measure(1.0, 0.2, 1.0, 2), 4: Measure(0.0, 0.4, 3.0, 4)})
    history.add(LARGE, {0: Measure(1.0, 0.2, 1.0, 7)})
    assert history.worst_case([Ask(SMALL, (0, 1, 2))]) == 10  # what case 0 needed may come again, but twice more
    assert history.worst_case([Ask(MIDDLE, (0, 1))]) == 14  # never seen: as the dearest
    history.price = lambda point: 5 + point[0]
    assert history.worst_case([Ask(MIDDLE, (0, 1))]) == 12


def test_only_the_asks_that_fit_into_what_is_left_are_affordable() -> None:
    history = History(MODELS, 10, calls=5, price=lambda point: 1 + point[0])
    asks = [Ask(SMALL, (0, 1)), Ask(MIDDLE, (0,)), Ask(LARGE, (0,)), Ask(SMALL, (2,))]
    assert history.affordable(asks) == asks[:2]
    assert history.affordable(asks, share=0.4) == asks[:1]


def test_a_point_with_luck_on_few_cases_does_not_win() -> None:
    history = History(MODELS, 100)
    measured(history, SMALL, [1, 1, 1])
    measured(history, LARGE, [1, 1, 1, *([1] * 9 + [0]) * 8])
    assert history.mean(SMALL).score > history.mean(LARGE).score
    assert history.best() == LARGE


def test_easy_cases_do_not_make_a_point_better() -> None:
    history = History(MODELS, 100)
    measured(history, SMALL, [1] * 20)
    measured(history, LARGE, [1] * 20 + [1, 0] * 20)
    measured(history, MIDDLE, [1] * 20 + [0, 0] * 20)
    judged = dict(zip(history.rows, history.judged()[:, 0], strict=True))
    assert history.mean(SMALL).score > history.mean(LARGE).score + 0.2
    assert judged[SMALL] < judged[LARGE] + 0.1


def test_the_front_holds_what_nothing_beats_and_keeps_the_limits() -> None:
    history = History(MODELS, 20)
    measured(history, SMALL, [1, 0] * 10, cost=1.0)
    measured(history, MIDDLE, [1, 0] * 10, cost=2.0)
    measured(history, LARGE, [1] * 20, cost=3.0)
    assert history.front() == [LARGE, SMALL]
    history.limits = Limits(usd=2.5)
    assert history.front() == [SMALL]
    history.limits = Limits(p95_s=0.5)
    assert history.front() == []


def test_the_best_is_the_highest_score_within_the_limits() -> None:
    history = History(MODELS, 20)
    assert history.best() is None
    assert history.front() == []
    measured(history, SMALL, [1, 0] * 10, cost=1.0)
    measured(history, MIDDLE, [1, 0] * 10, cost=0.5)
    measured(history, LARGE, [1] * 20, cost=3.0, latency_s=9.0)
    assert history.best() == LARGE
    assert history.best(Limits(p95_s=5.0)) == MIDDLE  # as good as the small one, and cheaper
    assert history.best(Limits(usd=0.1)) is None


def test_a_cascade_is_judged_by_what_it_cost_not_by_what_those_like_it_did() -> None:
    prices, shares = (60.0, 41.0, 25.0, 0.02), (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
    places = [Dimension(name, prices, "model") for name in ("answer.first", "answer.second")]
    history = History(Space([*places, Dimension("answer.accept", shares, "other", ordered=True)]), 200)
    unsure = np.random.default_rng(0).random((4, 200))
    for first, second, accept in history.space.points():
        costs = prices[first] + prices[second] * (unsure[first] < shares[accept])
        history.add((first, second, accept), {n: Measure(n % 2, cost, 1.0, 1) for n, cost in enumerate(costs.tolist())})
    spent = np.array([history.mean(point).cost for point in history.rows])
    judged = history.judged()[:, 1]
    assert np.corrcoef(judged, spent)[0, 1] > 0.9999
    assert (np.diff(judged[np.argsort(spent)]) > -1e-9).all()


def test_luck_on_hard_cases_does_not_beat_being_right_on_all_for_less() -> None:
    history = History(MODELS, 40)
    measured(history, SMALL, [0] * 4 + [1, 0] * 18)
    measured(history, MIDDLE, [1] * 40, cost=0.001)
    measured(history, LARGE, [1] * 4, cost=5.0)
    assert history.front()[0] == LARGE  # the surrogate hopes so
    assert history.best() == MIDDLE
    measured(history, MIDDLE, [1] * 40, cost=9.0)
    assert history.best() == LARGE


def test_of_two_that_were_right_equally_often_on_all_cases_the_cheaper_is_taken() -> None:
    places = [Dimension("answer.model", ("small", "large"), "model"), Dimension("answer.k", (1, 3), "other")]
    history = History(Space(places), 40)
    measured(history, (0, 0), [1, 0, 0, 0] * 10, cost=0.1)
    measured(history, (1, 0), [1, 1, 1, 0] * 10, cost=5.0)
    for point, cost in {(0, 1): 0.1, (1, 1): 5.0}.items():
        measured(history, point, [1, 1, 1, 0] * 10, cost=cost)
    assert history.front()[0][0] == 1  # those like it did better
    assert history.best() == (0, 1)


def test_of_equal_points_the_front_holds_the_one_that_is_taken() -> None:
    history = History(MODELS, 4)
    for point in (LARGE, SMALL, MIDDLE):
        measured(history, point, [1, 0, 1, 0])
    assert history.front() == [history.best()] == [LARGE]
