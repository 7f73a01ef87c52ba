"""The agent of benchmarks/durability.py in LangGraph's functional API: a task a call, saved in SQLite, `sync`."""

from __future__ import annotations

from agent_world import CALLS, serve, world
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.func import entrypoint, task
from langgraph.runtime import get_runtime


@task
def think(text: str) -> str:
    return world.model(text)


@task
def act(what: str) -> str:
    info = get_runtime().execution_info
    return world.send(what, f"{info.thread_id} {info.task_id}")


def life() -> object:
    with SqliteSaver.from_conn_string(str(world.folder / "langgraph.db")) as saver:

        @entrypoint(checkpointer=saver)
        def agent(goal: str) -> list[str]:
            done = [goal]
            for number in range(CALLS * world.laps):
                world.point()
                done.append(think(f"{number} {done[-1]}").result())
                world.point()
                if world.acts_after(number):
                    done.append(act(str(number)).result())
                    world.point()
            return done

        config = {"configurable": {"thread_id": "r"}}
        begun = agent.get_state(config).created_at is not None
        return agent.invoke(None if begun else "go", config, durability="sync")


if __name__ == "__main__":
    serve(life)
