"""Closed worlds: a script that knows the way reaches every end, and one that does not reaches none."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import synthon as sy
from benchmarks import agents

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "id": "files/1", "task": "Write Rome to a .txt file",
    "ground": {"files": [".txt"], "should_contain": ["Rome"], "should_not_contain": ["Oslo"], "eval": {"type": "file"}},
    "artifacts_in": {"notes/a.md": "Rome"},
}  # fmt: skip
JUDGED = {"id": "judged/1", "task": "?", "ground": {"eval": {"type": "llm"}}}
TABLE = {"table_name": "My Towns", "table_info": {"columns": [{"name": "Town"}], "rows": [["Rome"], ["Oslo"]]}}
QUESTION: dict[str, Any] = {
    "id": 1, "description": "Which?", "add_description": "", "label": ["Rome", "2"], "type": ["other"], "table": TABLE,
}  # fmt: skip
CHANGE = QUESTION | {"id": 2, "label": ["INSERT INTO `My Towns` VALUES ('Bern')"], "type": ["INSERT"]}
BROKEN = QUESTION | {"id": 3, "label": ["INSERT INTO nowhere VALUES (1)"], "type": ["INSERT"]}
SERVICE = {
    "id": "zoo", "Function_Description": {"feed": "Feed an animal.", "clean": "Clean a cage.", "components": ""},
    "Instructions": ["Feed, then clean.", "Fly."],
    "Golden_Answers": [
        [{"Action": "feed", "Action_Input": "{}"}, {"Action": "clean", "Action_Input": "{}"}],
        [{"Action": "fly", "Action_Input": "{}"}],
    ],
}  # fmt: skip


@pytest.fixture
def worlds(tmp_path: Path) -> dict[str, list[agents.World]]:
    folder = tmp_path / "agent_tasks"
    folder.mkdir()
    (folder / "autogpt_challenges.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (FILES, JUDGED)))
    for name, rows in (("dbbench", [QUESTION, CHANGE, BROKEN]), ("toolalpaca", [SERVICE])):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))
    return agents.worlds(tmp_path, seed=7)


def test_worlds_whose_end_cannot_be_checked_are_left_out(worlds: dict[str, list[agents.World]]) -> None:
    assert {family: sorted(each.id for each in few) for family, few in worlds.items()} == {
        "autogpt": ["files/1"],
        "dbbench": ["dbbench/1", "dbbench/2"],
        "toolalpaca": ["zoo/0"],
    }


async def test_an_oracle_reaches_every_end(worlds: dict[str, list[agents.World]]) -> None:
    found = await agents.by_oracle(worlds)
    assert {name: measure.value for name, measure in found.items()} == {
        "agents.oracle.autogpt": 1.0,
        "agents.oracle.dbbench": 1.0,
        "agents.oracle.toolalpaca": 1.0,
    }


async def test_one_that_answers_at_once_reaches_none(worlds: dict[str, list[agents.World]]) -> None:
    for world in (each for few in worlds.values() for each in few):
        lazy = replace(world, way=[], answer=["something"])
        assert not await sy.run(agents.attempt, lazy, agents.oracle(lazy), policy="off")


async def test_answers_are_compared_by_value_in_any_order(worlds: dict[str, list[agents.World]]) -> None:
    (question,) = [each for each in worlds["dbbench"] if each.answer]
    for answer, is_right in ((["2.0", "rome "], True), (["2"], False), (["2", "Rome", "Rome"], False)):
        other = replace(question, way=[], answer=answer)
        assert await sy.run(agents.attempt, other, agents.oracle(other), policy="off") is is_right
