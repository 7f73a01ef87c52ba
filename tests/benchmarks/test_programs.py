"""Examples and probes are read from a task's text, and the hidden tests come after a whole program."""

from __future__ import annotations

import pytest

from benchmarks.programs import PROBES, Programming

HEAD = "from typing import List\n\n\ndef area(base: int, height: int) -> int:\n"


def task(text: str) -> Programming:
    return Programming(
        "t/1", f'{HEAD}    """Area.\n{text}\n    """\n', "area", "def check(f):\n    assert f(2, 3) == 6\n"
    )


@pytest.mark.parametrize(
    "text",
    [
        "    >>> area(2, 3)\n    6",
        "    area(2, 3) == 6",
        "    area(2, 3) ==> 6",
        "    area(2,  3) => 6",
        "    area(2, 3)➞ 6",
        "    area(2, 3) returns 6.",
        "    area(2, 3) should return 6.",
        "    area(2, 3) = 6 # by hand",
        "    For area(2, 3) -> 6",
    ],
)
def test_an_example_is_read_however_it_is_written(text: str) -> None:
    assert task(text).examples == ["assert area(2, 3) == 6"]


@pytest.mark.parametrize(
    "text",
    ["    no example", "    area(x, 3) == 6", "    area(2, 3", "    area(2, 3) is six", "    area(2, base=3) == 6"],
)
def test_what_is_no_example_is_not_read(text: str) -> None:
    assert task(text).examples == []


def test_arguments_may_hold_brackets_and_texts_with_brackets() -> None:
    found = task("    area((1, 2), ')') == [1, 2]").examples
    assert found == ["assert area((1, 2), ')') == [1, 2]"]


def test_probes_are_calls_near_the_examples_and_the_same_each_time() -> None:
    probes = task("    area(2, [3, 4, 'ab']) == 6").probes
    assert 0 < len(probes) <= PROBES
    assert probes == task("    area(2, [3, 4, 'ab']) == 6").probes
    assert all(each.startswith("area(") for each in probes)
    assert "area(2, [3, 4, 'ab'])" not in probes
    assert task("    no example").probes == []


def run(program: str) -> None:
    exec(compile(program, "program", "exec"), {})  # noqa: S102 - ours


def test_a_program_is_the_tasks_own_head_and_the_answer_which_the_hidden_tests_judge() -> None:
    found = task("")
    run(found.tested("def area(base, height):\n    return base * height"))
    with pytest.raises(AssertionError):
        run(found.tested("def area(base, height):\n    return base + height"))
    run(found.program("def first(rows: List[int]) -> int:\n    return rows[0]"))
