"""Answers are read from solutions and recordings; sets are drawn by seed and never overlap."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from benchmarks import questions
from benchmarks.datasets import DataMissing
from benchmarks.questions import Problem, final_number, parted

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "answer"), [("3*2=<<3*2=6>>6\n#### 6", 6.0), ("#### 70,000", 70_000.0), ("#### -1.5", -1.5)]
)
def test_the_answer_to_a_word_problem_follows_the_marks(text: str, answer: float) -> None:
    assert final_number(text) == answer


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("Two and two is 4. So the answer is 4.", "Two and two is 4. So the ", "4"),
        ("First the answer is A.\nNo: the answer is (B).", "First the answer is A.\nNo: the ", "(B)"),
        ("the answer is ] ].", "the ", "] ]"),
        ("valid", "", "valid"),
        (" 24 ", "", "24"),
    ],
)
def test_a_recording_parts_before_its_last_answer(text: str, thought: str, answer: str) -> None:
    assert parted(text) == (thought, answer)


def test_numbers_are_right_to_a_millionth_and_other_answers_exactly() -> None:
    assert Problem("", 4.0).is_right(4)
    assert Problem("", 1 / 3).is_right(0.33333333)
    assert not Problem("", 4.0).is_right(4.1)
    assert not Problem("", 4.0).is_right(None)
    assert not Problem("", 4.0).is_right("4")
    assert Problem("", answer=False).is_right(False)
    assert not Problem("", answer=False).is_right(None)
    assert Problem("", "A", ("x", "y")).is_right("A")


def written(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        file.write(lines)


def test_rows_to_ask_and_rows_to_learn_from_do_not_overlap_and_follow_the_seed(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"question": f"{number} + {number}?", "answer": 2.0 * number} for number in range(30)
    ]
    again: dict[str, object] = {"question": "0 + 0 ?", "answer": 0.0}
    other: list[dict[str, object]] = [{"question": "Which?", "answer": "A"}, {"question": "x" * 501, "answer": 1.0}]
    written(tmp_path / "math_word_problems" / "problems.jsonl.gz", [*rows, again, *other])
    found = questions.math_word_problems(tmp_path, seed=7)
    assert not set(found.asked) & set(found.learnt)
    assert len(found.asked) + len(found.learnt) == 30
    assert found == questions.math_word_problems(tmp_path, seed=7)
    assert found != questions.math_word_problems(tmp_path, seed=8)


def test_choices_are_inputs_of_their_own(tmp_path: Path) -> None:
    row: dict[str, object] = {"question": "Which?", "choices": ["x", "y"], "answer": "B"}
    written(tmp_path / "mmlu" / "questions.jsonl.gz", [row])
    written(tmp_path / "mmlu" / "fewshot.jsonl", [row])
    (problem,) = questions.mmlu(tmp_path, seed=7).asked
    assert problem.inputs == {"question": "Which?", "choices": ["x", "y"]}


def test_a_missing_set_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataMissing, match="gsm8k"):
        questions.gsm8k(tmp_path, seed=7)
