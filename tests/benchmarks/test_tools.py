"""Arms of the benchmark of tools: what a model said is read, judged and compared on the rows that both arms have."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

import synthon as sy
from benchmarks import tools
from benchmarks.function_calls import Call
from benchmarks.tools import Calling, Said, Task, altered, ask

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FUNCTION = {
    "name": "math.add",
    "description": "Adds.",
    "parameters": {
        "type": "dict",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a"],
    },
}
ASKED = (sy.Message("user", "Add one and two."),)
TASK = Task("t/1", "simple", ASKED, [FUNCTION], [{"math.add": {"a": [1], "b": [2, ""]}}], ASKED)


def saying(text: str) -> sy.Model:
    return sy.FunctionModel(lambda _request: text)


def asked_for(*arguments: Mapping[str, object]) -> str:
    return json.dumps({"calls": [{"tool": "math.add", "arguments": each} for each in arguments]})


async def test_calls_are_read_from_json_and_from_python() -> None:
    wanted = (Call("math.add", {"a": 1, "b": 2}),)
    for arm, text in (("free", asked_for({"a": 1, "b": 2})), ("bfcl_eval", "[math.add(a=1, b=2)]")):
        said = await ask(arm, saying(text), TASK)
        assert said.calls == wanted
        assert said.is_well_formed
        assert said.is_right(TASK)


async def test_what_reads_as_no_call_is_not_well_formed() -> None:
    said = [await ask(arm, saying("I would add them."), TASK) for arm in ("free", "bfcl_eval")]
    assert [each.is_well_formed for each in said] == [False, False]
    assert not any(each.is_right(TASK) for each in said)


@pytest.mark.parametrize("text", ["[math.add(a='one')]", "[math.add(b=2)]", "[math.add(a=1, c=3)]", "[subtract(a=1)]"])
async def test_a_call_that_fits_no_function_is_not_well_formed(text: str) -> None:
    assert not (await ask("bfcl_eval", saying(text), TASK)).is_well_formed


async def test_irrelevant_functions_are_rightly_left_uncalled() -> None:
    irrelevant = replace(TASK, category="irrelevance", allowed=[])
    assert (await ask("free", saying('{"answer": "None of them helps."}'), irrelevant)).is_right(irrelevant)
    assert not (await ask("free", saying(asked_for({"a": 1})), irrelevant)).is_right(irrelevant)


def test_arms_are_compared_on_the_rows_that_both_have() -> None:
    right, wrong = Said((Call("math.add", {"a": 1}),), is_well_formed=True, tokens=5), Said((), True, 5)
    found = {("simple", "constrained"): [right, right, wrong], ("simple", "free"): [wrong, right]}
    calling = Calling(saying(""), sy.MemoryJournal(), {name: [TASK] * 3 for name in tools.CATEGORIES}, 0.0, found)
    measures = calling.measures()
    assert measures["bfcl.function.constrained.match.simple"].n == 3
    assert measures["bfcl.function.gain.constrained_over_free.calls"].value == 0.5
    assert measures["bfcl.function.constrained.well_formed"].target == 1
    assert "bfcl.function.bfcl_eval.match.simple" not in measures


def test_altered_answers_are_sometimes_right_and_sometimes_wrong() -> None:
    generator = random.Random(7)
    found = [Said(tuple(altered(TASK, generator)), is_well_formed=True, tokens=0).is_right(TASK) for _ in range(100)]
    assert 0 < sum(found) < 100


def test_a_row_is_a_task(tmp_path: Path) -> None:
    folder = tmp_path / "bfcl"
    folder.mkdir()
    row = {"id": "x", "question": [[{"role": "user", "content": "?"}]], "function": [FUNCTION], "ground_truth": None}
    for name in tools.CATEGORIES.values():
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
            file.write(json.dumps(row) + "\n")
    found = tools.drawn(tmp_path, 7)
    assert found["irrelevance"][0].allowed == []
    assert json.loads(found["simple"][0].tools[0].parameters)["properties"]["a"] == {"type": "integer"}
