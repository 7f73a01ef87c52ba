"""Cases from files, and their parts."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import duckdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

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


class Aliased(BaseModel):
    text: str = Field(alias="says")


def test_scalars_of_numpy_and_fields_with_an_alias_are_read_again(tmp_path: Path) -> None:
    sy.Cases([sy.Case({"n": np.int64(3), "share": [np.float32(0.5)]}, Aliased(says="x"))]).save(tmp_path / "x.jsonl")
    (case,) = sy.cases(tmp_path / "x.jsonl", Aliased)
    assert (case.inputs, case.expected) == ({"n": 3, "share": [0.5]}, Aliased(says="x"))


@pytest.mark.parametrize(
    ("case", "field"),
    [
        (sy.Case({"text": "a", "photo": b"\x89PNG"}, "cat", id="x"), r"inputs\['photo'\] is b"),
        (sy.Case({"text": "a"}, [object()], id="x"), r"expected is \[<object"),
        (sy.Case({"text": "a"}, "cat", {"seen": [b"\xff"]}, id="x"), "metadata is {'seen'"),  # type: ignore[list-item] # what a caller may do
    ],
)
def test_a_case_that_would_be_lost_is_named_and_nothing_is_written(
    tmp_path: Path, case: sy.Case[object], field: str
) -> None:
    path = written(tmp_path / "x.jsonl", "as it was")
    with pytest.raises(sy.UserError, match=f"Case 'x' cannot be saved: its {field}"):
        sy.Cases([sy.Case({"text": "fine"}, "yes"), case]).save(path)
    assert path.read_text() == "as it was"


def test_a_file_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(
        sy.UserError, match=r"gone.x\.jsonl' cannot be written: .*No such file.* Pass a path in a folder"
    ):
        sy.Cases([sy.Case({"text": "fine"}, "yes")]).save(tmp_path / "gone" / "x.jsonl")


def test_an_answer_of_another_type_is_named_by_row_and_column(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"q": "a", "expected": 1}\n\n{"q": "b", "expected": "two"}\n')
    with pytest.raises(sy.UserError, match=r"Row 3 of .*x\.jsonl', column 'expected': it is 'two', no int"):
        sy.cases(path, int)
    several = r"it is 'two', no value of its type: Input should be 'b' or 'c'; Input should be a valid list\. Mend"
    with pytest.raises(sy.UserError, match=several):
        sy.cases(written(tmp_path / "y.jsonl", '{"expected": "two"}\n'), Literal["b", "c"] | list[Literal["b", "c"]])


def test_answers_of_another_type_or_none_are_read_where_a_metric_needs_no_other(tmp_path: Path) -> None:
    path = written(tmp_path / "x.jsonl", '{"q": 1, "gold": 3}\n{"q": 2, "gold": "three", "id": "own"}\n{"q": 3}\n')
    found = sy.cases(path, int, expected="gold", strict=False)
    assert [case.expected for case in found] == [3, "three", None]
    assert [case.inputs for case in found] == [{"q": 1}, {"q": 2}, {"q": 3}]
    assert (found[1].id, found[2].id) == ("own", sy.Case({"q": 3}, None).id)
    with pytest.raises(sy.UserError, match="'gald'"):
        sy.cases(path, int, expected="gald", strict=False)
    with pytest.raises(sy.UserError, match=r"Row 2 .*'gold'"):
        sy.cases(path, int, expected="gold")


def test_parts_are_disjoint_and_the_same_for_a_seed() -> None:
    kept = sy.Cases(sy.Case({"n": n}, n) for n in range(10))
    one, two = kept.split(4, 5, seed=7)
    assert (len(one), len(two)) == (4, 5)
    assert not {case.id for case in one} & {case.id for case in two}
    assert kept.split(4, 5, seed=7) == (one, two) != kept.split(4, 5, seed=8)


def test_more_parts_than_there_are_cases_are_refused() -> None:
    with pytest.raises(sy.UserError, match=r"1 cases cannot be split into 1 \+ 1"):
        sy.Cases([sy.Case({}, 1)]).split(1, 1)


ROWS = st.lists(
    st.fixed_dictionaries({"question": st.text(), "answer": st.text(), "topic": st.text()}), min_size=1, max_size=5
)


@given(ROWS, st.sampled_from(["jsonl", "csv"]))
def test_any_texts_are_read_as_they_were_written(rows: list[dict[str, str]], kind: str) -> None:
    rows = [{key: clean(value, kind) for key, value in row.items()} for row in rows]
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"x.{kind}"
        write(path, rows)
        found = sy.cases(path, str, inputs=["question"], expected="answer")
    assert [(case.inputs["question"], case.expected, case.metadata["topic"]) for case in found] == [
        (row["question"], row["answer"], row["topic"]) for row in rows
    ]


def clean(text: str, kind: str) -> str:
    """What the format can hold: CSV has no NUL, none has lone surrogates."""
    text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", "") if kind == "csv" else text


def write(path: Path, rows: list[dict[str, str]]) -> None:
    names = list(rows[0])
    if path.suffix == ".jsonl":
        path.write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8", newline=""
        )
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, names, quoting=csv.QUOTE_ALL)
            writer.writeheader()
            writer.writerows(rows)


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 'How?' AS q, [1, 2] AS ns, {{'text': 'so'}} AS expected) TO '{path}'")
    (case,) = sy.cases(path, Answer)
    assert (case.inputs, case.expected) == ({"q": "How?", "ns": [1, 2]}, Answer(text="so"))
    path.write_text('{"q": "b", "expected": {"text": 1}}')
    with pytest.raises(sy.UserError, match=r"Row 1 of .*, column 'expected'"):
        sy.cases(path.rename(tmp_path / "x.jsonl"), Answer)


def test_a_parquet_file_with_brackets_in_its_name_is_no_pattern(tmp_path: Path) -> None:
    for name, text in (("mine", "mine"), ("data1", "another")):
        duckdb.sql(f"COPY (SELECT '{text}' AS q, 1 AS expected) TO '{tmp_path / name}.parquet'")
    (case,) = sy.cases((tmp_path / "mine.parquet").rename(tmp_path / "data[1].parquet"))
    assert case.inputs == {"q": "mine"}


def test_a_column_named_as_a_knob_is_metadata(tmp_path: Path) -> None:
    async def program(text: str, *, style: str = sy.knob("short", "long")) -> str:
        return text + style

    (case,) = sy.cases(written(tmp_path / "x.csv", "text,style,expected\na,mail,b\n"), str, inputs=program)
    assert (case.inputs, case.metadata) == ({"text": "a"}, {"style": "mail"})


def test_inputs_get_types_of_their_own(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", 'passages,n,expected\n"[""a"", ""b""]",3,yes\n')
    (case,) = sy.cases(path, inputs={"passages": list[str], "n": int})
    assert (case.inputs, case.expected) == ({"passages": ["a", "b"], "n": 3}, "yes")


def test_flat_rows_are_inputs_but_for_the_answer_metadata_and_id(tmp_path: Path) -> None:
    row = '{"a": 1, "b": [2], "expected": 3, "metadata": {"x": "y"}, "id": "first"}\n'
    (case,) = sy.cases(written(tmp_path / "x.jsonl", row))
    assert case == sy.Case({"a": 1, "b": [2]}, 3, {"x": "y"}, "first")
    numbered = sy.cases(written(tmp_path / "y.jsonl", "".join(f'{{"expected": 3, "id": {n}}}\n' for n in range(2))))
    assert [each.id for each in numbered] == ["0", "1"]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("x.txt", "a", r"has the ending '\.txt'\. Pass a \.jsonl, \.csv or \.parquet"),
        ("x.jsonl", "", "holds no row"),
        ("x.jsonl", '{"expected": 1}\n{broken\n', "Line 2 of .* is no JSON"),
        ("x.jsonl", "[1]\n", r"Line 1 of .* is \[1\], no object"),
        ("x.jsonl", '{"a": 1}', "Row 1 of .*, column 'expected': it is not there; it has 'a'"),
        ("x.jsonl", '{"a": 1, "expected": 1, "metadata": 3}', "column 'metadata': it is 3, no object"),
        ("x.csv", "a,expected\n1,2\n1,2,3\n", "Line 3 of .* has 3 cells, its header 2"),
        ("x.csv", "a,a\n1,2\n", "not all different"),
        ("x.csv", 'a,expected\n"1,2\n', r"Line 2 of .* is no CSV: unexpected end of data\. Close its quotes"),
        ("x.csv", 'a,expected\n1,2\n"say "so"",2\n', "Line 3 of .* is no CSV: ',' expected"),
        ("x.jsonl", '{"expected": 1}\n' + "[" * 100_000, "Line 2 of .* is no JSON: maximum recursion depth"),
        ("x.parquet", "no parquet", "cannot be read: .*Parquet"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_why(tmp_path: Path, name: str, text: str, problem: str) -> None:
    with pytest.raises(sy.UserError, match=problem):
        sy.cases(written(tmp_path / name, text))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(sy.UserError, match=r"x\.csv' is no file"):
        sy.cases(tmp_path / "x.csv")


def test_the_same_case_has_the_same_id_wherever_it_is_made() -> None:
    assert sy.Case({"a": 1}, "x").id == sy.Case({"a": 1}, "x", {"m": 1}).id != sy.Case({"a": 2}, "x").id
    assert sy.Case({"a": 1, "b": 2}, "x").id == sy.Case({"b": 2, "a": 1}, "x").id  # as columns in another order are
    assert repr(sy.Cases([sy.Case({"a": 1}, "x")])) == "Cases(1: a)"
    assert sy.Cases([sy.Case({}, n, id=str(n)) for n in range(5)])[1:3][0].expected == 1


def test_a_cell_may_be_as_long_as_it_is(tmp_path: Path) -> None:
    limit = csv.field_size_limit()
    path = written(tmp_path / "x.csv", f"text,expected\n{'x' * 200_000},yes\n")
    assert [len(str(case.inputs["text"])) for case in sy.cases(path, str)] == [200_000]
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("value", ["hello", {"a": 1}, {"inputs": {"a": 1}}, {}])
def test_an_argument_called_inputs_is_read_again(tmp_path: Path, value: Any) -> None:
    async def ask(inputs: Any) -> str:
        return "yes"

    kept = sy.Cases([sy.Case({"inputs": value}, "yes", {"kind": "a"})])
    kept.save(tmp_path / "in.jsonl")
    for inputs in (ask, ["inputs"], {"inputs": object}, None):
        assert sy.cases(tmp_path / "in.jsonl", str, inputs=inputs) == kept


@pytest.mark.parametrize("value", ["hello", {"a": 1}, {"text": "b"}, {}])
def test_a_column_called_inputs_is_the_argument_of_that_name(tmp_path: Path, value: Any) -> None:
    async def ask(inputs: Any, text: str = "") -> str:
        return "yes"

    path = written(tmp_path / "x.jsonl", json.dumps({"inputs": value, "text": "b", "expected": "yes"}))
    assert dict(sy.cases(path, str, inputs=ask)[0].inputs) == {"inputs": value, "text": "b"}
