"""The agent of benchmarks/durability.py as a DBOS workflow: a step a call, on SQLite."""

from __future__ import annotations

from agent_world import CALLS, serve, world
from dbos import DBOS, SetWorkflowID


@DBOS.step()
def think(text: str) -> str:
    return world.model(text)


@DBOS.step()
def act(what: str) -> str:
    return world.send(what, f"{DBOS.workflow_id} {DBOS.step_id}")


@DBOS.workflow()
def agent(goal: str) -> list[str]:
    done = [goal]
    for number in range(CALLS * world.laps):
        world.point()
        done.append(think(f"{number} {done[-1]}"))
        world.point()
        if world.acts_after(number):
            done.append(act(str(number)))
            world.point()
    return done


def life() -> object:
    url = f"sqlite:///{world.folder}/dbos.sqlite"
    DBOS(config={"name": "durability", "system_database_url": url, "log_level": "ERROR"})
    DBOS.launch()  # takes up what a killed process left
    with SetWorkflowID("r"):  # a workflow of this id that is there already is not started again
        return DBOS.start_workflow(agent, "go").get_result()


if __name__ == "__main__":
    serve(life)
