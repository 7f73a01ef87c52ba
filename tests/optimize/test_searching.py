"""The loop and its methods on a small simulated program."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from synthon.core.errors import BudgetExceeded, MissingExtra, UserError
from synthon.optimize import (
    Ask,
    Dimension,
    History,
    Limits,
    Measure,
    Method,
    Point,
    Space,
    racing,
    random_search,
    search,
    tpe,
)
from synthon.optimize.outlook import Outlook
from tests.optimize.landscapes import Landscape, two_steps

METHODS = [random_search(), tpe(cases=10), racing()]


async def searched(method: Method, landscape: Landscape, *, seed: int = 0, calls: int | None = None) -> History:
    history = History(landscape.space, landscape.cases, seed, calls=calls)
    await search(method, history, landscape)
    return history


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_a_search_is_the_same_again_with_one_worker_or_sixteen(method: Method) -> None:
    one = await searched(method, Landscape(two_steps()), seed=3, calls=150)
    many = await searched(method, Landscape(two_steps(), workers=16), seed=3, calls=150)
    other = await searched(method, Landscape(two_steps()), seed=4, calls=150)
    assert one.rows == many.rows
    assert list(one.rows) == list(many.rows)
    assert one.front() == many.front()
    assert one.rows != other.rows


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("calls", [1, 10, 67])
async def test_a_search_never_asks_for_more_than_is_left(method: Method, calls: int) -> None:
    landscape = Landscape(two_steps(), calls=2)
    history = History(landscape.space, landscape.cases, calls=calls, price=lambda point: 2 + 4 * point[0])
    await search(method, history, landscape)
    assert history.spent <= calls


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_a_batch_that_the_budget_stops_is_dropped_whole(method: Method) -> None:
    landscape = Landscape(two_steps(), limit=155)
    history = await searched(method, landscape)
    whole = [sum(len(ask.cases) for ask in asks) for asks in landscape.asked[:-1]]
    assert landscape.answered == 155
    assert history.evaluations == sum(whole) < 155


@dataclass(frozen=True)
class Asking:
    """Asks for the same until it is known."""

    asks: Sequence[Ask] = ()
    name: str = "asking"

    def propose(self, history: History) -> Sequence[Ask]:
        return [ask for ask in self.asks if ask.point not in history.rows or len(history.rows) == 1]


async def test_what_does_not_fit_is_set_aside_and_the_others_go_on() -> None:
    prices: dict[Point, int] = {(0, 0, 0, 0): 1, (1, 0, 0, 0): 90, (0, 1, 0, 0): 1, (0, 0, 1, 0): 3}
    landscape = Landscape(two_steps(offline=False), cases=20)
    history = History(landscape.space, 20, calls=50, price=lambda point: prices[point])
    asks = [Ask(point, history.unseen(point, 8)) for point in prices]
    await search(Asking(asks), history, landscape)
    assert history.aside >= {(1, 0, 0, 0)}
    assert set(history.rows) == prices.keys() - {(1, 0, 0, 0)}
    assert history.spent > 40


async def test_an_ask_is_shortened_to_the_cases_that_fit_and_the_front_gets_the_rest() -> None:
    landscape = Landscape(two_steps(offline=False), cases=20)
    default, better = landscape.space.default, (0, 1, 1, 1)
    history = History(landscape.space, 20, calls=30, price=lambda point: 30 if point[0] else 1)
    asks = [Ask(default, history.unseen(default, 4)), Ask(better, history.unseen(better, 8)), Ask((1, 0, 0, 0), (0,))]
    await search(Asking(asks), history, landscape)
    assert history.best() == better
    assert len(history.rows[better]) == 20
    assert history.spent == 30
    history = History(landscape.space, 20, calls=10, price=lambda _: 1)
    await search(
        Asking([Ask(default, history.unseen(default, 4)), Ask(better, history.unseen(better, 8))]), history, landscape
    )
    assert {point: len(rows) for point, rows in history.rows.items()} == {default: 4, better: 6}


async def test_minutes_that_are_over_end_a_search() -> None:
    landscape = Landscape(two_steps())

    async def late(asks: Sequence[Ask]) -> Sequence[Mapping[int, Measure]]:
        if landscape.asked:
            raise BudgetExceeded("late", limit="minutes=1")
        return await landscape(asks)

    history = History(landscape.space, landscape.cases)
    await search(racing(), history, late)
    assert len(landscape.asked) == len(history.rows) == 1


async def test_the_default_is_measured_first_whatever_a_method_asks() -> None:
    landscape = Landscape(two_steps(), cases=20)
    several: list[list[Ask]] = [[], [Ask((1, 1, 1, 1), (0, 3))], [Ask((1, 1, 1, 1), (0,)), Ask((0, 0, 0, 0), (0, 3))]]
    for asks in several:
        history = History(landscape.space, 20)
        await search(Asking(asks), history, landscape)
        assert next(iter(history.rows)) == landscape.space.default
        assert len(history.rows) == 1 + bool(asks)


@pytest.mark.parametrize(
    ("asks", "why"),
    [
        ({"route.model": "large"}, r"'asking' proposed \{'route.model': 'large'\}, which is no list"),
        ([((0, 0, 0, 0), (1,))], "which is no Ask"),
        ([Ask((99, 0, 0, 0), (0,))], r"asked for the point \(99, 0, 0, 0\).*answer.strategy 0 to 1"),
        ([Ask((0, 0), (0,))], "which the space has not"),
        ([Ask((0, 0, 0, 0), (9999,))], r"asked for the case 9999 .*there are 60: 0 to 59"),
    ],
)
async def test_an_ask_for_what_there_is_not_is_refused(asks: list[Ask], why: str) -> None:
    @dataclass
    class Wrong:
        name: str = "asking"

        async def propose(self, history: History) -> Sequence[Ask]:
            return asks

    history = History(two_steps(), 60)
    with pytest.raises(UserError, match=why):
        await search(Wrong(), history, Landscape(two_steps()))


async def test_random_search_starts_with_the_default_and_ends_when_all_is_measured() -> None:
    landscape = Landscape(two_steps(), cases=5)
    history = await searched(random_search(), landscape)
    assert landscape.asked[0][0].point == landscape.space.default
    assert len(history.rows) == landscape.space.size
    assert all(len(rows) == 5 for rows in history.rows.values())


@pytest.mark.parametrize("seed", range(4))
async def test_racing_finds_the_best_point_with_sixty_of_a_hundred_evaluations(seed: int) -> None:
    landscape = Landscape(two_steps(offline=False), cases=120, seed=seed)
    every = landscape.space.size * landscape.cases
    history = await searched(racing(), landscape, seed=seed)
    best = history.best()
    assert best is not None
    assert landscape.expected(best) > max(map(landscape.expected, landscape.space.points())) - 0.03
    assert history.evaluations < 0.6 * every
    assert len(history.rows[best]) == landscape.cases


@pytest.mark.parametrize("seed", range(4))
async def test_racing_is_sensible_when_the_budget_pays_for_little(seed: int) -> None:
    landscape = Landscape(two_steps(), cases=160, seed=seed)
    history = await searched(racing(), landscape, seed=seed, calls=200)
    best = history.best()
    assert best is not None
    assert history.spent <= 200
    default, top = landscape.expected(landscape.space.default), max(map(landscape.expected, landscape.space.points()))
    assert landscape.expected(best) > (default + top) / 2


async def test_racing_measures_what_differs_offline_on_the_same_calls() -> None:
    landscape = Landscape(two_steps())
    history = await searched(racing(), landscape, calls=150)
    assert sum(row.calls for rows in history.rows.values() for row in rows.values()) == 3 * history.spent
    for point in history.rows:
        assert {len(history.rows[each]) for each in history.space.siblings(point)} == {len(history.rows[point])}


async def test_racing_measures_what_needs_no_call_on_all_cases_at_once() -> None:
    landscape = Landscape(two_steps(), calls=0)
    history = await searched(racing(), landscape, calls=10)
    best = history.best()
    assert best is not None
    assert len(history.rows[best]) == landscape.cases


async def test_racing_leaves_a_large_space_mostly_alone() -> None:
    space = Space([Dimension(f"s{n}.model", tuple(range(4)), "model") for n in range(6)])

    async def measure(asks: Sequence[Ask]) -> Sequence[Mapping[int, Measure]]:
        return [
            {case: Measure(float(case * 7 % 40 < 2 * sum(ask.point)), 1 + sum(ask.point), 1.0, 1) for case in ask.cases}
            for ask in asks
        ]

    found = []
    for seed in range(4):
        history = History(space, 40, seed, calls=120)
        await search(racing(), history, measure)
        best = history.best(Limits(usd=16.0))
        assert best is not None
        found.append(sum(best))
    assert max(found) <= 15
    assert sum(found) >= 4 * 10


async def test_limits_steer_the_search_to_what_keeps_them() -> None:
    landscape = Landscape(two_steps(offline=False), cases=80)
    cheap = [point for point in landscape.space.points() if landscape.cost(point) <= 3.5]
    shares = []
    for limits in (Limits(), Limits(usd=3.5)):
        history = History(landscape.space, landscape.cases, limits=limits, calls=1200)
        await search(racing(), history, landscape)
        shares.append(sum(len(history.rows.get(point, {})) for point in cheap) / history.evaluations)
    assert shares[1] > shares[0] + 0.2
    best = history.best()
    assert best is not None
    assert landscape.cost(best) <= 3.5
    assert landscape.expected(best) > max(map(landscape.expected, cheap)) - 0.05


async def test_tpe_starts_with_the_default_and_ends_when_all_is_measured() -> None:
    space = Space([Dimension("a", (1, 2)), Dimension("b", (1, 2, 3))])

    async def measure(asks: Sequence[Ask]) -> Sequence[Mapping[int, Measure]]:
        return [{case: Measure(float(case < sum(ask.point)), 1.0, 1.0, 1) for case in ask.cases} for ask in asks]

    history = History(space, 4, seed=2**40)
    await search(tpe(), history, measure)
    assert next(iter(history.rows)) == space.default
    assert len(history.rows) == space.size


async def test_tpe_without_optuna_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"pip install 'synthon\[optimize\]'"):
        await searched(tpe(), Landscape(two_steps()))


@pytest.mark.parametrize("limits", [Limits(), Limits(usd=4.0, p95_s=0.4)], ids=["none", "both"])
async def test_a_quarter_of_the_users_wants_the_best_that_the_search_allows(limits: Limits) -> None:
    landscape = Landscape(two_steps())
    history = History(landscape.space, landscape.cases, 0, calls=200, limits=limits)
    await search(racing(), history, landscape)
    generator = np.random.default_rng(0)
    users = Outlook.of(history, generator).users(history, generator)
    dearest = max(history.mean(point).cost for point in history.rows) if limits.usd is None else limits.usd
    assert sum(usd >= dearest for usd, _ in users) >= len(users) / 4
    assert max(usd for usd, _ in users) == (limits.usd or math.inf)
    assert users.count(max(users)) >= len(users) / 4  # no limit of seconds either
    assert len({usd for usd, _ in users}) > len(users) / 2
