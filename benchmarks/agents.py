"""Closed worlds for agents: a goal, tools that act on a copy of the world, and an end that can be checked.

    worlds = worlds(data, seed=7)                   # by family: autogpt, dbbench, toolalpaca
    await attempt(worlds["dbbench"][0], model)      # whether the agent reached the end

`World.way` is the way that a script goes: the moves of an oracle, for the tests of the runtime.
"""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import synthon as sy
from benchmarks.datasets import Row, rows
from benchmarks.report import Measure
from benchmarks.small_model import share
from synthon.core.errors import BudgetExceeded, LoopDetected, OutputError
from synthon.core.identity import digest, dumps
from synthon.core.running import run
from synthon.core.values import ToolResult
from synthon.journal import SQLiteJournal
from synthon.tools import sql, workspace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthon.core.protocols import Model, Tool

ROWS, FULL, STEPS, TOKENS = 4, 30, 6, 160
Check = Callable[[Sequence[str]], bool]
Move = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class World:
    """A task in a world of its own, made anew for each attempt."""

    id: str
    goal: str
    made: Callable[[], Any]  # a context manager that gives the tools, and the check of an answer
    way: Sequence[Move]
    answer: Sequence[str]


@sy.step(temperature=0.0, max_tokens=TOKENS)
async def reach(goal: str) -> list[str]:
    """Reach the goal with the tools. The answer lists what was asked for; it is empty where only acts were wanted."""
    raise NotImplementedError


async def attempt(world: World, model: Model) -> bool:
    """Whether an agent with this model reaches the end."""
    with world.made() as (tools, check):
        steps = max(STEPS, len(world.way) + 2)
        acting = replace(reach, model=model, strategy=sy.agent(tools, steps, thought=None, last="answer"))
        try:
            answer = await acting(world.goal)
        except (OutputError, BudgetExceeded, LoopDetected):
            answer = []
        return bool(check(answer))


@dataclass(frozen=True, slots=True)
class _Attempts:
    """Some worlds one after another; a class, so that no argument is written down."""

    worlds: Sequence[World]
    model: Callable[[World], Model]

    async def __call__(self) -> list[bool]:
        return list(await asyncio.gather(*(attempt(each, self.model(each)) for each in self.worlds)))


def oracle(world: World) -> Model:
    """A script that goes the way and says the answer."""
    turn = iter([*world.way, {"answer": {"value": list(world.answer)}}])
    return sy.FunctionModel(lambda _request: json.dumps(next(turn)), identity=f"oracle:{world.id}")


async def by_oracle(worlds: Mapping[str, Sequence[World]]) -> dict[str, Measure]:
    """The share of all worlds whose end a script reaches: what the runtime loses."""
    found = {family: await run(_Attempts(few, oracle), policy="off") for family, few in worlds.items()}
    return {f"agents.oracle.{family}": share(reached, 1.0) for family, reached in found.items()}


async def by_model(
    model: Model, worlds: Mapping[str, Sequence[World]], kept: Path, *, end: float, full: bool
) -> dict[str, Measure]:
    """The share of the first worlds whose end a model reaches.

    Args:
        kept: the folder of the journals, which is there; one a world, since equal reads of two worlds are not one.
    """
    measures: dict[str, Measure] = {}
    for family, few in worlds.items():
        reached: list[bool] = []
        for world in few[: FULL if full else ROWS]:
            if time.monotonic() > end:
                break
            with SQLiteJournal(kept / f"{digest(world.id)[:16]}.db") as journal:
                reached += await run(_Attempts([world], lambda _world: model), journal=journal, policy="cache")
        print(f"{model.name} {family}: {sum(reached)} of {len(reached)}", file=sys.stderr)
        if reached:
            measures[f"agents.{model.name}.{family}"] = share(reached)
    return measures


def worlds(data: Path, seed: int) -> dict[str, list[World]]:
    """All worlds, each family in an order drawn by seed."""
    folder = data / "agent_tasks"
    found = {
        "autogpt": list(filter(None, map(_files, rows(folder / "autogpt_challenges.jsonl")))),
        "dbbench": list(filter(None, map(_table, rows(folder / "dbbench.jsonl.gz")))),
        "toolalpaca": [each for row in rows(folder / "toolalpaca.jsonl.gz") for each in _service(row)],
    }
    return {name: random.Random(seed).sample(few, len(few)) for name, few in found.items()}


# --------------------------------------------------------------------------------------------------------- files


def _files(row: Row) -> World | None:
    """A challenge whose end is what files contain; None where the end is judged otherwise."""
    ground: Any = row["ground"]
    if ground["eval"]["type"] != "file":
        return None
    artifacts: Any = row.get("artifacts_in") or {}
    wanted = [str(name) for name in ground["files"]]
    written = {"path": f"result{wanted[0]}" if wanted[0].startswith(".") else wanted[0]}

    @contextmanager
    def made() -> Iterator[tuple[list[Tool], Check]]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            for path, text in artifacts.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(str(text), encoding="utf-8")
            yield list(workspace(folder)), lambda _answer: _holds(folder, wanted, ground)

    move = {"tool": "write_file", "arguments": {**written, "text": " ".join(ground["should_contain"])}}
    listing: Move = {"tool": "list_files", "arguments": {}}
    return World(str(row["id"]), str(row["task"]), made, [listing, move], [])


def _holds(folder: Path, wanted: Sequence[str], ground: Mapping[str, Any]) -> bool:
    """Whether the wanted files hold all that they should and nothing that they should not."""
    files = [each for each in folder.rglob("*") if each.is_file() and str(each).endswith(tuple(wanted))]
    text = "\n".join(each.read_text(encoding="utf-8") for each in files)
    has_all = all(str(each) in text for each in ground["should_contain"])
    return bool(files) and has_all and not any(str(each) in text for each in ground.get("should_not_contain", ()))


# -------------------------------------------------------------------------------------------------------- tables


def _table(row: Row) -> World | None:
    """A question to a table, or a change of it; None where the golden change is no SQL that SQLite takes."""
    table: Any = row["table"]
    label = [str(each) for each in row["label"]]  # type: ignore[attr-defined] # a list in every row
    changes = row["type"][0] in {"INSERT", "UPDATE", "DELETE"}  # type: ignore[index] # same
    name = str(table["table_name"])
    try:
        wanted = _after(table, label) if changes else ""
    except sqlite3.Error:
        return None

    @contextmanager
    def made() -> Iterator[tuple[list[Tool], Check]]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tables.db"
            _filled(table, path).close()

            def check(answer: Sequence[str]) -> bool:
                return _state(path) == wanted if changes else _same(answer, label)

            yield [sql(path, write=True)], check

    goal = f"{row['description']}\n{row['add_description']}"
    queries = label if changes else [f"SELECT * FROM {_quoted(name)} LIMIT 3"]  # noqa: S608 - the name is quoted
    way = [{"tool": "sql", "arguments": {"query": query}} for query in queries]
    return World(f"dbbench/{row['id']}", goal, made, way, [] if changes else label)


def _filled(table: Mapping[str, Any], path: Path) -> sqlite3.Connection:
    columns, values = table["table_info"]["columns"], table["table_info"]["rows"]
    database = sqlite3.connect(path, isolation_level=None)
    name = _quoted(str(table["table_name"]))
    database.execute(f"CREATE TABLE {name} ({', '.join(_quoted(str(each['name'])) for each in columns)})")
    places = ", ".join("?" * len(columns))
    database.executemany(f"INSERT INTO {name} VALUES ({places})", values)  # noqa: S608 - the name is quoted
    return database


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _after(table: Mapping[str, Any], changes: Sequence[str]) -> str:
    """The table's state after its golden changes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tables.db"
        database = _filled(table, path)
        for change in changes:
            database.execute(change)
        database.close()
        return _state(path)


def _state(path: Path) -> str:
    database = sqlite3.connect(path)
    try:
        return "\n".join(database.iterdump())
    finally:
        database.close()


def _same(answer: Sequence[str], label: Sequence[str]) -> bool:
    """Whether all values are those wanted, in any order; numbers by value, texts without regard to case."""
    return sorted(map(_plain, answer)) == sorted(map(_plain, label))


def _plain(text: str) -> str:
    try:
        return repr(float(text.replace(",", "").rstrip("%")))
    except ValueError:
        return text.strip().casefold()


# ------------------------------------------------------------------------------------------------------ services


@dataclass(frozen=True, slots=True)
class Function:
    """A function of a simulated service: it says that it was done, as which act, and is remembered."""

    name: str
    description: str
    parameters: str
    called: list[str]
    effects: frozenset[str] = frozenset({"write"})

    async def call(self, arguments: Mapping[str, object]) -> ToolResult:
        self.called.append(self.name)
        return ToolResult("", (sy.Text(f"{self.name} was done, as act {len(self.called)}."),))


def _service(row: Row) -> Iterator[World]:
    """The instructions to a service whose golden calls name functions it has."""
    described: Any = row["Function_Description"]
    functions = {name: text for name, text in described.items() if name != "components"}
    pairs: Any = zip(row["Instructions"], row["Golden_Answers"], strict=True)  # type: ignore[call-overload] # lists
    for number, (instruction, golden) in enumerate(pairs):
        names = [str(each["Action"]) for each in golden]
        if names and set(names) <= functions.keys():
            way = [{"tool": each["Action"], "arguments": {"input": str(each["Action_Input"])}} for each in golden]
            yield World(f"{row['id']}/{number}", str(instruction), _serving(functions, names), way, [])


def _serving(functions: Mapping[str, str], names: Sequence[str]) -> Callable[[], Any]:
    @contextmanager
    def made() -> Iterator[tuple[list[Tool], Check]]:
        called: list[str] = []
        parameters = dumps(
            {"type": "object", "properties": {"input": {"type": "string", "maxLength": 300}}, "required": ["input"]}
        )
        tools: list[Tool] = [Function(name, text, parameters, called) for name, text in functions.items()]
        yield tools, lambda _answer: called == list(names)

    return made


__all__ = ["World", "attempt", "by_model", "by_oracle", "oracle", "worlds"]
