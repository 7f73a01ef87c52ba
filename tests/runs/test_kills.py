"""An agent of twenty calls, killed at every boundary and inside every act on the world, and what its peers do there."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.nursery import Nursery

AGENT = """
from synthon.runs import effect, doubts
import time

HONOURS, DURABLE = sys.argv[3] == "honours", sys.argv[4:] == ["durable"]

def world(key, what):
    # the receiver: on disk at once, so that a kill cannot take back what it saw
    fd = os.open(folder / "world", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(fd, (json.dumps([what, key]) + "\\n").encode())
    os.close(fd)

points = 0

def point():
    global points
    points += 1
    if abs(kill_at) != points:
        return
    while kill_at < 0 and kept() < len(journal.digests("r")):
        time.sleep(0.002)  # the loop stands still; the writer does not
    die()

@sy.step
async def think(text: str) -> str:
    '''Think.'''
    ...

async def act(what):
    async def send(key):
        point()            # started is on disk, nothing was sent
        world(key, what)
        point()            # sent, and nobody has written it down
        return json.dumps(f"ok {what}")
    return json.loads(await effect("send", what, send, honours_key=HONOURS))

@sy.program
async def agent(goal: str) -> list[str]:
    done = []
    for number in range(14):
        point()
        done.append(await think(f"{goal} {number} {len(done)}"))
        point()
        if number % 7 in (1, 3, 6):
            done.append(await act(f"{number}"))
            point()
    return done

async def main():
    try:
        how = {"run_id": "r", "journal": journal, "durable": DURABLE}
        print(json.dumps(await sy.run(agent.using(model=model), "go", **how)), flush=True)
    except sy.Uncertain:
        print(json.dumps([each.arguments for each in doubts(journal, "r")]), flush=True)

asyncio.run(main())
"""
POINTS = 14 * 2 + 6 * 3  # of one life: before and after each of 14 calls; twice inside each of 6 acts, and after
ACTS = ["1", "3", "6", "8", "10", "13"]


def sent(folder: Path) -> Counter[tuple[str, str]]:
    path = folder / "world"
    return Counter(tuple(json.loads(line)) for line in path.read_text().splitlines()) if path.exists() else Counter()


@pytest.fixture(scope="module")
def calm(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("calm")
    said = nursery.run(folder, AGENT, 0, 0.0, "honours")
    assert len(json.loads(said)) == 20
    assert sorted(what for what, _ in sent(folder)) == sorted(ACTS)
    return said


@pytest.mark.parametrize("part", range(6))
@pytest.mark.parametrize("receiver", ["honours", "knows none"])
def test_a_killed_agent_loses_nothing_and_does_nothing_twice(
    nursery: Nursery, tmp_path: Path, calm: str, receiver: str, part: int
) -> None:
    """One kill at each of the points in turn, then the run goes on; a receiver that knows no key makes it stop.

    Rows are on disk some 30 ms after they are written (docs/decisions/0002): the kill comes after that, so that what
    was finished is finished.
    """
    for kill_at in range(1 + part, POINTS + 1, 6):
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        nursery.run(folder, AGENT, -kill_at, 0.0, receiver)
        assert nursery.killed
        said = nursery.run(folder, AGENT, 0, 0.0, receiver)
        seen = sent(folder)
        by_act = Counter(what for what, _ in seen)
        assert max(by_act.values(), default=1) == 1  # one key an act, in every life
        if said == calm:
            assert sorted(by_act) == sorted(ACTS)
        else:
            assert receiver == "knows none"
            (doubt,) = json.loads(said)
            assert json.loads(doubt) in ACTS
        if receiver == "knows none":
            assert max(seen.values(), default=1) == 1  # nothing reached the world twice
        else:
            assert said == calm
            assert seen.total() <= len(ACTS) + 1  # once more under its key, which the receiver ignores
        if said == calm:
            assert len((folder / "calls").read_text().splitlines()) == 14  # no finished call was made again


@pytest.mark.parametrize("part", range(6))
def test_a_durable_run_repeats_no_call_however_soon_it_is_killed(
    nursery: Nursery, tmp_path: Path, calm: str, part: int
) -> None:
    """Killed at once, where the writer would have lingered."""
    for kill_at in range(1 + part, POINTS + 1, 6):
        folder = tmp_path / str(kill_at)
        folder.mkdir()
        nursery.run(folder, AGENT, kill_at, 0.0, "honours", "durable")
        assert nursery.killed
        assert nursery.run(folder, AGENT, 0, 0.0, "honours", "durable") == calm
        assert len((folder / "calls").read_text().splitlines()) == 14


def test_kills_without_number_end_in_the_same_result(nursery: Nursery, tmp_path: Path, calm: str) -> None:
    """Killed at once, each life gets a little further; every act reaches the receiver under one key."""
    for kill_at in (9, 3, 12, 4, 2, 11, 5, 7, 6, 8):
        nursery.run(tmp_path, AGENT, kill_at, 0.0, "honours")
    assert nursery.run(tmp_path, AGENT, 0, 0.0, "honours") == calm
    assert Counter(what for what, _ in sent(tmp_path)) == Counter(ACTS)
