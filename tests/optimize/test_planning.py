"""What a search would do is said before anybody is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import pytest

import synthon as sy
from synthon.cli import main
from synthon.optimize import plan
from tests.optimize.programs import System, rows

PROGRAM = '''
import synthon as sy
from typing import Literal

def answer(request: sy.Request) -> sy.Completion:
    with open({log!r}, "a") as file:
        file.write("asked\\n")
    return sy.Completion("drink" if "tea" in request.messages[-1].text else "food", sy.Usage(input_tokens=50))

@sy.step(model=sy.Journaled(sy.FunctionModel(answer), price=sy.Price(1, 2)), temperature=0.0, max_tokens=8)
async def kind(text: str) -> Literal["drink", "food"]:
    """Say what it is."""
    ...
'''


async def test_a_plan_names_the_space_and_the_most_that_it_can_cost_and_calls_nobody() -> None:
    system = System()
    planned = await plan(system.program, rows(20), rows(30, 100), budget=sy.Budget(calls=100))
    assert system.calls == 0
    assert planned.calls == 100
    assert list(planned.unknown) == ["tidy", "label"]  # which of them answers is known from a run only
    said = str(planned)
    assert "answer.marks" in said
    assert "label.model" in said
    assert "label.demos: from a recorded pass" in said
    assert "at most 100 calls" in said
    every = await plan(system.program, rows(20), rows(30, 100))
    assert every.calls == every.tuning.space.size * 30 * 2


async def test_the_worst_price_of_a_call_bounds_what_calls_cost() -> None:
    model = sy.FunctionModel(lambda request: sy.Completion("yes", sy.Usage(input_tokens=10, output_tokens=2)))

    @sy.step(model=sy.Journaled(model, price=sy.Price(100, 200)), temperature=0.0, max_tokens=4)
    async def holds(text: str) -> Literal["yes", "no"]:
        """Say whether it holds an a."""
        ...

    planned = await plan(holds, rows(20), rows(30, 100), budget=sy.Budget(calls=10))
    assert planned.call_usd is not None
    assert planned.call_usd > (10 * 100 + 2 * 200) / 1e6
    assert planned.usd == pytest.approx(10 * planned.call_usd)
    limited = await plan(holds, rows(20), rows(30, 100), budget=sy.Budget(usd=0.000001))
    assert limited.usd == 0.000001
    unpriced = holds.using(model=sy.Journaled(model))
    assert (await plan(unpriced, [], rows(30, 100), models=[sy.Journaled(model)])).usd is None


def test_the_command_plans_searches_certifies_and_saves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = {"tea": "drink", "milk": "drink", "juice": "drink", "bread": "food", "cheese": "food", "soup": "food"}
    ends = ("please", "now", "today", "again", "soon", "later")
    told = [{"text": f"{start} {word} {end}", "expected": kind} for end in ends for word, kind in words.items()
            for start in ("some", "my")]  # fmt: skip
    for name, part in {"train": told[:36], "validation": told[36:60], "test": told[60:]}.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in part), "utf-8")
    (tmp_path / "system.py").write_text(PROGRAM.format(log=str(tmp_path / "log")), "utf-8")
    monkeypatch.chdir(tmp_path)
    asked = ["optimize", "system.py:kind", "--train", "train.jsonl", "--validation", "validation.jsonl", "--metric",
             "exact_match", "--inputs", "text", "--journal", "j.db"]  # fmt: skip
    assert main([*asked, "--plan"]) == 0
    assert "kind.demos" in capsys.readouterr().out
    assert not (tmp_path / "log").exists()
    assert main(asked) == 1
    assert "Pass --calls, --usd or --minutes" in capsys.readouterr().err
    limit = ["--calls", "120", "--test", "test.jsonl", "--save", "best.json", "--plot", "front.svg"]
    assert main([*asked, *limit]) == 0
    said = capsys.readouterr().out
    assert "best: " in said
    assert "held-out cases" in said
    assert json.loads((tmp_path / "best.json").read_text("utf-8"))["program"] == "kind"
    assert (tmp_path / "front.svg").exists()
    spent = len((tmp_path / "log").read_text("utf-8").splitlines())
    assert spent <= 120 + 12
    first = (tmp_path / "best.json").read_bytes()
    assert main([*asked, *limit]) == 0
    assert len((tmp_path / "log").read_text("utf-8").splitlines()) == spent  # the journal knew all of it
    assert (tmp_path / "best.json").read_bytes() == first
