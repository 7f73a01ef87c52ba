"""The space: its points, its default, its neighbours."""

from __future__ import annotations

import numpy as np
import pytest

from synthon.core.errors import UserError
from synthon.optimize import Dimension, Space
from tests.optimize.landscapes import two_steps


def test_a_space_has_every_combination_once() -> None:
    space = two_steps()
    points = list(space.points())
    assert len(points) == len(set(points)) == space.size == 36
    assert points[0] == space.default == (0, 0, 0, 0)


def test_a_point_reads_as_settings_by_name() -> None:
    assert two_steps().settings((1, 0, 2, 1)) == {
        "answer.strategy": "vote", "route.model": "small", "support.k": 8, "route.accept": 0.7,
    }  # fmt: skip


def test_neighbours_differ_in_one_dimension_and_come_in_the_order_of_spending() -> None:
    near = two_steps().neighbours((0, 0, 0, 0))
    assert near == [(0, 0, 0, 1), (0, 0, 0, 2), (0, 0, 1, 0), (0, 0, 2, 0), (0, 1, 0, 0), (1, 0, 0, 0)]


def test_a_value_added_to_a_dimension_leaves_the_points_there_are_as_they_are() -> None:
    space = two_steps()
    place = space.add("answer.strategy", "debate")
    assert place == 2
    assert space.size == 54
    assert space.settings((1, 0, 0, 0))["answer.strategy"] == "vote"
    assert space.settings((place, 0, 0, 0))["answer.strategy"] == "debate"


def test_a_value_for_no_dimension_names_those_there_are() -> None:
    with pytest.raises(UserError, match=r"No dimension is named 'answer.modl'; there are answer.strategy, route"):
        two_steps().add("answer.modl", "large")


def test_a_default_that_is_no_value_is_refused() -> None:
    with pytest.raises(UserError, match="'k' has 2 values and the default 2"):
        Dimension("k", (2, 4), default=2)
    with pytest.raises(UserError, match="'k' has 0 values"):
        Dimension("k", ())


def test_a_space_without_dimensions_has_one_point() -> None:
    assert list(Space([]).points()) == [()]


def idle_space() -> Space:
    """Two steps; the second's strategies 1 and 2 ask no model, so nothing else of it matters there."""
    return Space(
        [
            Dimension("tidy.demos", (0, 1, 2)),
            Dimension("label.demos", ("none", "fixed", "nearest"), "demos"),
            Dimension("label.model", ("small", "large"), "model", default=1),
            Dimension("label.strategy", ("ask", "vote", "probe"), "strategy"),
            Dimension("labels", (0, 1)),
        ],
        {("label.strategy", 1): "label.", ("label.strategy", 2): "label."},
    )


def test_what_changes_nothing_is_no_other_point() -> None:
    space = idle_space()
    points = list(space.points())
    assert len(points) == len(set(points)) == space.size == 3 * 2 * (3 * 2 + 2)
    assert all(space.plain(point) == point for point in points)
    assert space.plain((2, 2, 0, 1, 1)) == (2, 0, 1, 1, 1)
    assert space.plain((2, 2, 0, 0, 1)) == (2, 2, 0, 0, 1)
    reached = {other for point in points for other in space.neighbours(point)}
    assert reached == set(points)
    assert space.neighbours((0, 0, 1, 1, 0)) == [
        (0, 0, 1, 0, 0),
        (0, 0, 1, 2, 0),
        (1, 0, 1, 1, 0),
        (2, 0, 1, 1, 0),
        (0, 0, 1, 1, 1),
    ]
    generator = np.random.default_rng(0)
    assert {space.drawn(generator) for _ in range(2_000)} == set(points)


def test_what_is_added_to_a_step_that_asks_nothing_changes_nothing_either() -> None:
    space = idle_space()
    space.dimensions.append(Dimension("label.instruction", ("as it is", "written"), "instruction"))
    assert space.size == len(list(space.points())) == 3 * 2 * (3 * 2 * 2 + 2)
    assert space.plain((0, 0, 1, 2, 0, 1)) == (0, 0, 1, 2, 0, 0)
