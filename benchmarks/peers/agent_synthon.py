"""The agent of benchmarks/durability.py as docs/runs.md has a user write it."""

from __future__ import annotations

import asyncio
import json

from agent_world import CALLS, serve, world

import synthon as sy
from synthon.runs import doubts, effect, settle

model = sy.Journaled(sy.FunctionModel(lambda request: world.model(request.messages[-1].text), identity="model"))


@sy.step(model=model)
async def think(text: str) -> str:
    """Think."""
    ...


async def act(what: str) -> str:
    async def send(key: str) -> str:
        return json.dumps(world.send(what, key))

    return str(json.loads(await effect("send", what, send, honours_key=world.honours_key)))


@sy.program
async def agent(goal: str) -> list[str]:
    done = [goal]
    for number in range(CALLS * world.laps):
        world.point()
        done.append(await think(f"{number} {done[-1]}"))
        world.point()
        if world.acts_after(number):
            done.append(await act(str(number)))
            world.point()
    return done


async def life(*, durable: bool = False) -> object:
    with sy.SQLiteJournal(world.folder / "journal.db") as journal:
        if world.settles:
            for doubt in doubts(journal, "r"):
                what = json.loads(doubt.arguments)
                await settle(journal, "r", doubt.key, json.dumps(f"ok {what}") if world.sent(what) else None)
        try:
            return await sy.run(agent, "go", run_id="r", journal=journal, durable=durable)
        except sy.Uncertain:
            return None


if __name__ == "__main__":
    serve(lambda: asyncio.run(life()))
