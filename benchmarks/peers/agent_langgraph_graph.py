"""The agent of benchmarks/durability.py as a LangGraph StateGraph: a node a call, saved in SQLite, `sync`.

A node runs again from its start if it was not finished, so the points after a call stand at the start of the next node,
where the call before has ended.
"""

from __future__ import annotations

import operator
from typing import Annotated, TypedDict

from agent_world import CALLS, serve, world
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, StateGraph
from langgraph.runtime import get_runtime


class State(TypedDict):
    """What a checkpoint holds."""

    done: Annotated[list[str], operator.add]
    number: int  # of calls of the model made


def think(state: State) -> dict[str, object]:
    if state["number"]:
        world.point()
    world.point()
    return {"done": [world.model(f"{state['number']} {state['done'][-1]}")], "number": state["number"] + 1}


def act(state: State) -> dict[str, object]:
    world.point()
    info = get_runtime().execution_info
    return {"done": [world.send(str(state["number"] - 1), f"{info.thread_id} {info.task_id}")]}


def finish(state: State) -> None:
    world.point()


def after_thinking(state: State) -> str:
    return "act" if world.acts_after(state["number"] - 1) else after_acting(state)


def after_acting(state: State) -> str:
    return "think" if state["number"] < CALLS * world.laps else "finish"


def life() -> object:
    graph = StateGraph(State)
    graph.add_node("think", think)
    graph.add_node("act", act)
    graph.add_node("finish", finish)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", after_thinking, ["think", "act", "finish"])
    graph.add_conditional_edges("act", after_acting, ["think", "finish"])
    graph.add_edge("finish", END)
    with SqliteSaver.from_conn_string(str(world.folder / "langgraph.db")) as saver:
        agent = graph.compile(checkpointer=saver)
        config = {"configurable": {"thread_id": "r"}, "recursion_limit": 10_000}
        begun = agent.get_state(config).created_at is not None
        first = None if begun else {"done": ["go"], "number": 0}
        return agent.invoke(first, config, durability="sync")["done"]


if __name__ == "__main__":
    serve(life)
