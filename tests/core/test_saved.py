"""What is saved is found again: the same values, whatever they look like, or a word about why not."""

from __future__ import annotations

import enum
import json
import pickle
from pathlib import Path

import pytest

import synthon as sy


class Effort(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Detail(enum.Enum):
    LOW = "low"
    HIGH = "high"


class Mode(str, enum.Enum):  # noqa: UP042 - as many have it
    A = "a"
    B = "b"


class Level(enum.IntEnum):
    ONE = 1
    TWO = 2


class Shelf:
    """Something without a name: it is told by its address."""


EFFORT, DETAIL, MODE, LEVEL = sy.knob(*Effort), sy.knob(*Detail), sy.knob(*Mode), sy.knob(*Level)
EXACT, LISTS, SHELVES = sy.knob(True, 1, 1.0), sy.knob(["x"], ["x", "y"]), sy.knob(Shelf(), Shelf())
SHAPES: dict[str, object] = sy.knob({"name": "ann"}, {"demos": 2}, {"option": 0, "like": 1}, {})


@sy.tool
async def look(place: str) -> str:
    """Look somewhere."""
    return place


@sy.step(strategy=sy.one_of(sy.predict, sy.self_consistency(5)))
async def one(q: str) -> str:
    """One."""
    ...


@sy.step(strategy=sy.one_of(sy.predict, sy.self_consistency(5)))
async def two(q: str) -> str:
    """Two."""
    ...


@sy.step(strategy=sy.one_of(sy.react([look], 3), sy.react([look], 9)))
async def acting(q: str) -> str:
    """Act."""
    ...


@sy.program
async def odd(
    q: str,
    *,
    effort: Effort = EFFORT,
    detail: Detail = DETAIL,
    mode: Mode = MODE,
    level: Level = LEVEL,
    exact: object = EXACT,
    lists: list[str] = LISTS,
    shelf: Shelf = SHELVES,
    shape: dict[str, object] = SHAPES,
) -> str:
    return await one(q) + await two(q) + await acting(q)


def value_of(program: sy.Program[..., str], name: str) -> object:
    return program.settings[program.parts().settings[name]]


def again(program: sy.Program[..., str], folder: Path) -> sy.Program[..., str]:
    program.save(folder / "odd.json")
    return odd.using(folder / "odd.json")


@pytest.mark.parametrize("name", [name for name in odd.parts().knobs if "." in name])
def test_every_option_is_found_again_itself(name: str, tmp_path: Path) -> None:
    for option in odd.parts().knobs[name].values:
        changed = odd.using({name: option})
        for loaded in (again(changed, tmp_path), pickle.loads(pickle.dumps(changed))):  # noqa: S301 - our own
            found = value_of(loaded, name)
            assert found == option
            assert type(found) is type(option)
            assert name.endswith("exact") or found is option


def test_steps_with_equal_strategies_are_told_apart_by_their_names(tmp_path: Path) -> None:
    loaded = again(odd.using({"one.strategy": sy.self_consistency(5), "two.strategy": sy.predict}), tmp_path)
    assert value_of(loaded, "one.strategy") == sy.self_consistency(5)
    assert value_of(loaded, "two.strategy") is sy.predict


def test_a_mapping_that_looks_like_ours_is_still_a_mapping(tmp_path: Path) -> None:
    for extra in ({"name": "bob"}, {"demos": 1, "x": {"made": "a", "with": {}}}, {"mapping": {"name": "x"}}, {"n": 1}):
        assert value_of(again(odd.using({"one.extra": extra}), tmp_path), "one.extra") == extra


@pytest.mark.parametrize(
    "wrong",
    [
        {"one.constraint": {"constraint": {"kind": "zzz"}}},
        {"one.demos": {"demos": [{"in": {}}]}},
        {"odd.shelf": {"option": 7, "like": {"name": "Shelf"}}},
        {"one.extra": {"mapping": 3}},
    ],
)
def test_a_file_that_was_edited_wrongly_is_one_error(wrong: dict[str, object], tmp_path: Path) -> None:
    odd.save(tmp_path / "odd.json")
    shape = json.loads((tmp_path / "odd.json").read_text())
    (tmp_path / "odd.json").write_text(json.dumps(shape | {"settings": wrong}))
    with pytest.raises(sy.UserError, match=rf"odd\.json' does not fit 'odd': the setting '{next(iter(wrong))}' cannot"):
        odd.using(tmp_path / "odd.json")


async def test_half_characters_and_pictures_of_examples_are_saved_and_asked_as_they_were(tmp_path: Path) -> None:
    @sy.step(model=sy.FunctionModel(lambda request: "cat"))
    async def seen(picture: sy.Image, note: str) -> str:
        """What is it?"""
        ...

    shown = seen.using(demos=[sy.Demo({"picture": sy.Image(data="AAAA"), "note": "half \ud83d"}, "dog")])
    shown.save(tmp_path / "s.json")
    again = seen.using(tmp_path / "s.json")
    asked = [(await each.explain(sy.Image(data="BBBB"), "whole")).messages for each in (shown, again)]
    assert asked[0] == asked[1]
    assert asked[0][1].content == (sy.Image(data="AAAA"), sy.Text("half \ud83d"))
