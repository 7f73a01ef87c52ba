"""Cases from files, and their parts."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

import synthon as sy


class Answer(BaseModel):
    text: str
    score: int = 0


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_columns_become_inputs_the_answer_and_metadata(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", 'question,answer,topic\nHow?,"{""text"":""so""}",a\n')
    (case,) = sy.cases(path, Answer, inputs=["question"], expected="answer")
    assert (case.inputs, case.expected, case.metadata) == ({"question": "How?"}, Answer(text="so"), {"topic": "a"})


def test_what_is_saved_is_read_again(tmp_path: Path) -> None:
    kept = sy.Cases([sy.Case({"a": 1}, Answer(text="x"), {"topic": "b"}), sy.Case({"a": 2}, Answer(text="y"))])
    kept.save(tmp_path / "x.jsonl")
    assert sy.cases(tmp_path / "x.jsonl", Answer) == kept


def test_an_answer_of_another_type_is_named_by_row_and_column(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"q": "a", "expected": 1}\n\n{"q": "b", "expected": "two"}\n')
    with pytest.raises(sy.UserError, match=r"Row 3 of .*x\.jsonl', column 'expected': it is 'two', no int"):
        sy.cases(path, int)


def test_parts_are_disjoint_and_the_same_for_a_seed() -> None:
    kept = sy.Cases(sy.Case({"n": n}, n) for n in range(10))
    one, two = kept.split(4, 5, seed=7)
    assert (len(one), len(two)) == (4, 5)
    assert not {case.id for case in one} & {case.id for case in two}
    assert kept.split(4, 5, seed=7) == (one, two) != kept.split(4, 5, seed=8)


def test_more_parts_than_there_are_cases_are_refused() -> None:
    with pytest.raises(sy.UserError, match=r"1 cases cannot be split into 1 \+ 1"):
        sy.Cases([sy.Case({}, 1)]).split(1, 1)
