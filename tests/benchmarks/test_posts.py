"""A post's constraints say what is wrong with it, and an answer is found whatever its spelling."""

from __future__ import annotations

import pytest

from benchmarks import posts

PASSAGE = "The Broncos, led by Peyton Manning, won Super Bowl 50 on February 7, 2016."


def test_a_post_that_keeps_to_all_has_no_problems() -> None:
    assert posts.problems("Peyton Manning led the winners!", PASSAGE) == []


@pytest.mark.parametrize(
    ("post", "wrong"),
    [
        ("", {"length", "sentence", "mention"}),
        ("x" * 141, {"length", "mention"}),
        ("Manning won. #sports", {"hashtags", "sentence"}),
        ("Manning won it.\nSo did his team.", {"sentence"}),
        ("The team won it.", {"mention"}),
        ("Who? Manning.", {"sentence"}),
        ("It ended 7.5 to 6.", {"mention"}),
        ("It was on 7 February.", set()),
    ],
)
def test_each_broken_constraint_is_named(post: str, wrong: set[str]) -> None:
    assert {name for name, is_kept in posts.kept(post, PASSAGE).items() if not is_kept} == wrong
    assert len(posts.problems(post, PASSAGE)) == len(wrong)


def test_an_answer_is_found_without_regard_to_case_articles_and_punctuation() -> None:
    assert posts.answers("Led by peyton-manning, the team won.", ["Peyton Manning"])
    assert posts.answers("It was Broncos!", ["The Broncos"])
    assert not posts.answers("It was 1501.", ["150"])
