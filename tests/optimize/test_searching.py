"""The loop and its methods on a small simulated program."""

from __future__ import annotations

import pytest

from synthon.optimize import History, Method, racing, random_search, search
from tests.optimize.landscapes import Landscape, two_steps

METHODS = [random_search(), racing()]


async def searched(method: Method, landscape: Landscape, *, seed: int = 0, calls: int | None = None) -> History:
    history = History(landscape.space, landscape.cases, seed, calls=calls)
    await search(method, history, landscape)
    return history


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_a_search_is_the_same_again_with_one_worker_or_sixteen(method: Method) -> None:
    one = await searched(method, Landscape(two_steps()), seed=3, calls=600)
    many = await searched(method, Landscape(two_steps(), workers=16), seed=3, calls=600)
    other = await searched(method, Landscape(two_steps()), seed=4, calls=600)
    assert one.rows == many.rows
    assert list(one.rows) == list(many.rows)
    assert one.front() == many.front()
    assert one.rows != other.rows


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
@pytest.mark.parametrize("calls", [1, 10, 137])
async def test_a_search_never_asks_for_more_than_is_left(method: Method, calls: int) -> None:
    landscape = Landscape(two_steps(), calls=2)
    history = History(landscape.space, landscape.cases, calls=calls, price=lambda point: 2 + 4 * point[0])
    await search(method, history, landscape)
    assert history.spent <= calls


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
async def test_a_batch_that_the_budget_stops_is_dropped_whole(method: Method) -> None:
    landscape = Landscape(two_steps(), limit=333)
    history = await searched(method, landscape)
    whole = [sum(len(ask.cases) for ask in asks) for asks in landscape.asked[:-1]]
    assert landscape.answered == 333
    assert history.evaluations == sum(whole) < 333


async def test_random_search_starts_with_the_default_and_ends_when_all_is_measured() -> None:
    landscape = Landscape(two_steps(), cases=5)
    history = await searched(random_search(), landscape)
    assert landscape.asked[0][0].point == landscape.space.default
    assert len(history.rows) == landscape.space.size
    assert all(len(rows) == 5 for rows in history.rows.values())


async def test_racing_finds_the_best_point_of_a_small_space() -> None:
    landscape = Landscape(two_steps(), cases=120)
    history = await searched(racing(), landscape, calls=4000)
    best = history.best()
    assert best is not None
    top = max(map(landscape.expected, landscape.space.points()))
    assert landscape.expected(best) > top - 0.03
    assert history.evaluations < 0.7 * landscape.space.size * landscape.cases
