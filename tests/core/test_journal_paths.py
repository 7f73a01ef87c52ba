"""A journal may be given by its path: it is open for as long as what it was given to."""

from pathlib import Path

import pytest

import synthon as sy
from synthon.core.errors import JournalError
from tests.core.counting import Counting


@sy.step(temperature=0.0)
async def ask(text: str) -> str:
    """Answer."""
    ...


async def test_a_path_is_opened_for_a_run_and_closed_after_it(tmp_path: Path) -> None:
    model, place = Counting(), tmp_path / "path.db"
    program = ask.using(model=sy.Journaled(model))
    said = [await sy.run(program, "a", run_id="r", journal=each) for each in (str(place), place)]
    assert said[0] == said[1]
    rows = await sy.run_many(program, ["a", "b"], run_id="rows", journal=place)
    assert rows == await sy.run_many(program, ["a", "b"], run_id="rows", journal=str(place))
    assert model.calls == 3
    assert not place.with_name("path.db-wal").exists()  # the last who leaves puts it away
    with sy.SQLiteJournal(place) as again:
        assert None not in {again.run(id_) for id_ in ("r", "rows", "rows/0")}


async def test_a_path_that_cannot_be_opened_fails_before_anything_is_asked(tmp_path: Path) -> None:
    model = Counting()
    with pytest.raises(JournalError, match="cannot be opened"):
        await sy.run(ask.using(model=sy.Journaled(model)), "a", journal=tmp_path / "nowhere" / "path.db")
    assert model.calls == 0
