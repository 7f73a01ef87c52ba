"""A killed search that is started again ends in the same files, and repeats no more than was in flight."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.nursery import Nursery

WORKERS, EVERY = 4, 24
SEARCH = """
import random
from synthon.evals import Case, Cases

def marked(request):
    text = request.messages[-1].text
    skill = 0.8 if len(request.messages) > 2 or "Think" in request.messages[0].text else 0.5
    return text + ("+" if random.Random(str(request.messages)).random() < skill else "-")

class Marking:
    async def __call__(self, request):
        await provider(request)
        return marked(request)

model = sy.Journaled(sy.FunctionModel(Marking(), name="one"))

@sy.step(temperature=0.0)
async def first(text: str) -> str:
    '''Mark it.'''
    ...

@sy.step(model=sy.one_of(model, sy.Journaled(sy.FunctionModel(Marking(), name="another"))), temperature=0.0)
async def second(text: str) -> str:
    '''Mark it.'''
    ...

@sy.program
async def both(text: str, *, again: int = sy.knob(1, 2, 3), end: str = sy.knob(".", "!")) -> str:
    for _ in range(again):
        text = await first(text)
    return await second(text + end)

def rows(n, start):
    return Cases(Case({"text": f"row {number}"}, "") for number in range(start, start + n))

async def main():
    run = await sy.optimize(
        both.using(model=model), [], rows(12, 0), metric=lambda case, output: output.count("+") / 4,
        budget=sy.Budget(calls=60), journal=journal, seed=3, workers=int(sys.argv[3]),
        watch=lambda _: None,
    )
    run.best().save(folder / "best.json")
    print(json.dumps(run.summary(), sort_keys=True), flush=True)

asyncio.run(main())
"""


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """Where searches run to be killed; the heavy imports are made once."""
    nursery = Nursery("synthon.evals", "synthon.optimize")
    yield nursery
    nursery.close()


def asked(folder: Path) -> int:
    return len((folder / "calls").read_text().splitlines())


def test_a_killed_search_goes_on_to_the_same_files(nursery: Nursery, tmp_path: Path) -> None:
    """Killed with all that was answered on disk and everything in flight lost; with many workers, then with one."""
    calm = tmp_path / "calm"
    calm.mkdir()
    said = nursery.run(calm, SEARCH, 0, 0.0, WORKERS)
    artifact, whole = (calm / "best.json").read_bytes(), asked(calm)
    assert 40 < whole <= 60
    points = sorted(random.Random(5).sample(range(1, whole - WORKERS), 4))
    for number, point in enumerate(points):
        folder = tmp_path / str(number)
        folder.mkdir()
        nursery.run(folder, SEARCH, -point, 0.002, WORKERS)
        assert nursery.killed
        assert not (folder / "best.json").exists()
        assert nursery.run(folder, SEARCH, 0, 0.0, 1 if number % 2 else WORKERS) == said
        assert (folder / "best.json").read_bytes() == artifact
        assert asked(folder) - whole <= WORKERS


def test_a_search_killed_again_and_again_ends_in_the_same_files(nursery: Nursery, tmp_path: Path) -> None:
    """Killed right behind an answer, once in each of its lives."""
    calm, folder = tmp_path / "calm", tmp_path / "killed"
    calm.mkdir()
    folder.mkdir()
    said = nursery.run(calm, SEARCH, 0, 0.0, WORKERS)
    lives = 0
    while True:
        printed = nursery.run(folder, SEARCH, 100 + EVERY, 0.01, WORKERS)
        lives += 1
        if not nursery.killed:
            break
        assert lives < 6
    assert lives > 1
    assert printed == said
    assert (folder / "best.json").read_bytes() == (calm / "best.json").read_bytes()
