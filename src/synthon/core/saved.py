"""Programs as plain JSON: names and values, no code, no pickle of ours."""

from __future__ import annotations

import functools
import importlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from operator import eq, is_
from typing import TYPE_CHECKING, Any, get_args

from synthon.core.constraints import Constraint
from synthon.core.errors import UserError
from synthon.core.identity import plain, to_json
from synthon.core.parts import Parts, parts_of
from synthon.core.render import Demo
from synthon.core.settings import MODEL, Setting

if TYPE_CHECKING:
    from pathlib import Path

_FORMAT = 1
_MARKS = frozenset({"name", "option", "demos", "constraint", "made", "mapping"})
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")  # of an object, which is another in each process
_CONSTRAINTS = {kind.__name__.lower(): kind for kind in get_args(Constraint)}


def encoded(value: object) -> object:
    """A setting's value as JSON: models and strategies by name, demos and constraints as objects, the rest as it is.

    What is no part of a program's code (examples taken from training rows, say) has a method `saved` that returns the
    arguments its class is made with again.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        demos = [_demo(item) for item in value if isinstance(item, Demo)]
        return {"demos": demos} if len(demos) == len(value) else [encoded(item) for item in value]
    if isinstance(value, Constraint):
        return {"constraint": plain(value)}
    if isinstance(value, Mapping):
        items = {str(key): encoded(item) for key, item in value.items()}
        return {"mapping": items} if not _MARKS.isdisjoint(items) else items
    if hasattr(value, "saved") and not isinstance(value, type):
        made = f"{type(value).__module__}:{type(value).__qualname__}"
        return {"made": made, "with": {name: encoded(item) for name, item in value.saved().items()}}
    return {"name": _ADDRESS.sub("", str(getattr(value, "name", None) or repr(value)))}


def _demo(demo: Demo) -> dict[str, object]:
    shape = {"inputs": json.loads(to_json(demo.inputs)), "output": json.loads(to_json(demo.output))}
    return shape | ({"thought": demo.thought} if demo.thought else {})


def dumped(parts: Parts, settings: Mapping[Setting, object]) -> dict[str, object]:
    """Settings by name, as JSON types."""
    names = {setting: name for name, setting in parts.settings.items()} | {MODEL: f"{parts.root}.model"}
    return {name: _choice(parts, name, value) for setting, value in settings.items() if (name := names.get(setting))}


def _choice(parts: Parts, name: str, value: object) -> object:
    """A value as JSON, with its place among its knob's options where another looks alike."""
    alike = _alike(parts, name, shape := encoded(value))
    places = [place for same in (is_, eq) for place, option in alike.items() if same(option, value)]
    return {"option": places[0], "like": shape} if len(alike) > 1 and places else shape


def _alike(parts: Parts, name: str, shape: object) -> dict[int, object]:
    """The options of a knob that are written so, by place; 1, 1.0 and true are not alike."""
    found: dict[int, object] = {}
    for place, option in enumerate(parts.knobs[name].values if name in parts.knobs else ()):
        with suppress(UserError):  # of one that no file can hold
            found |= {place: option} if json.dumps(encoded(option)) == json.dumps(shape) else {}
    return found


def decoded(
    parts: Parts, saved: Mapping[str, object], what: str = "What was saved", problems: Sequence[str] = ()
) -> dict[str, object]:
    """The candidate that `dumped` wrote, its models and strategies found again among the program's own.

    Raises:
        UserError: names or values that this program does not have; tells all of them, after `problems` of `what`.
    """
    found: dict[str, object] = {}
    unknown = [repr(name) for name in saved if name not in {*parts.settings, f"{parts.root}.model"}]
    wrong = [*problems, *([f"{parts.root!r} has no setting {', '.join(unknown)}"] if unknown else [])]
    for name, value in saved.items():
        try:
            found[name] = _found(parts, name, value)
        except (UserError, AttributeError, LookupError, TypeError, ValueError) as error:
            odd = f"the setting {name!r} cannot be read ({type(error).__name__}: {error})"
            wrong.append(str(error) if isinstance(error, UserError) else odd)
    if wrong:
        raise UserError(f"{what} does not fit {parts.root!r}: {'; '.join(wrong)}. Load it into what it was saved from.")
    return found


def _found(parts: Parts, name: str, value: object, sequence: type[list[object] | tuple[object, ...]] = tuple) -> object:
    if isinstance(value, dict) and set(value) == {"option", "like"}:
        return _alike(parts, name, value["like"])[value["option"]]
    if (own := [*_alike(parts, name, value).values()]) and all(option == own[0] for option in own):
        return own[0]
    if isinstance(value, list):
        return sequence(_found(parts, name, item, sequence) for item in value)
    if not isinstance(value, dict):
        return value
    if "demos" in value:
        return tuple(Demo(**demo) for demo in value["demos"])
    if set(value) == {"constraint"}:
        return _constraint(value["constraint"])
    if set(value) == {"made", "with"}:
        return _made(value["made"])(**{key: _found(parts, name, item) for key, item in value["with"].items()})
    if set(value) != {"name"}:
        return {key: _found(parts, name, item, list) for key, item in value.get("mapping", value).items()}
    options = [option for knob in parts.knobs.values() for option in knob.values] + list(parts.values.values())
    found = [option for option in options if encoded(option) == value]
    if not found or any(option != found[0] for option in found):
        problem = "is here more than once (give each a name of its own)" if found else "is not here"
        raise UserError(f"the setting {name!r} names {value['name']!r}, which {problem}")
    return found[0]


def _made(place: str) -> Any:
    """A class of ours that says how it is saved; a file must not be able to call anything else."""
    module, _, name = place.partition(":")
    found = None
    with suppress(ImportError):
        found = getattr(importlib.import_module(module), name, None) if module.startswith("synthon.") else None
    if isinstance(found, type) and hasattr(found, "saved"):
        return found
    msg = f"A saved program asks for {place!r}, which is nothing that Synthon saves. Load a file that `.save()` wrote."
    raise UserError(msg)


def _constraint(shape: Any) -> Any:
    """What `plain` made of a constraint, or of a part of one, as it was."""
    if isinstance(shape, list):
        return tuple(map(_constraint, shape))
    if not isinstance(shape, dict):
        return shape
    return _CONSTRAINTS[shape["kind"]](**{name: _constraint(item) for name, item in shape.items() if name != "kind"})


def save(program: Any, path: str | Path) -> None:
    """Write a program's settings as JSON.

    Raises:
        UserError: the file cannot be written.
    """
    parts = program.parts()
    shape = {"synthon": _FORMAT, "program": program.name, "steps": [step.name for step in parts.steps]}
    shape["settings"] = dumped(parts, program.settings)
    text = json.dumps(shape, indent=2, ensure_ascii=False) + "\n"
    # pathlib costs 5 % of our import time; half characters become JSON's escapes
    try:
        with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:  # noqa: PTH123 - see above
            file.write(text)
    except OSError as error:
        raise UserError(f"{str(path)!r} cannot be written: {error}. Pass a path in a folder that is there.") from error


def load(parts: Parts, path: str | os.PathLike[str]) -> dict[str, object]:
    """The candidate in a file that `save` wrote.

    Raises:
        UserError: no such file, not ours, or of another program or other steps; tells all that does not fit.
    """
    here = {step.name for step in parts.steps}
    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - same
            shape = json.load(file)
        program, version, saved = shape["program"], shape["synthon"], dict(shape["settings"])
        steps = set(shape.get("steps", here))
    except (OSError, ValueError, KeyError, TypeError) as error:
        odd = f"{str(path)!r} is no saved program ({type(error).__name__}: {error})."
        raise UserError(f"{odd} Pass a file that `.save(path)` wrote.") from error
    problems = {
        "it holds program": [program] if program != parts.root else (),
        f"it is not in format {_FORMAT}, but in format": [version] if version != _FORMAT else (),
        f"it is made for steps that {parts.root!r} does not have:": sorted(steps - here, key=repr),
        f"it is made without these steps of {parts.root!r}:": sorted(here - steps),
    }
    told = [f"{problem} {', '.join(map(repr, names))}" for problem, names in problems.items() if names]
    return decoded(parts, saved, repr(str(path)), told)


def read(
    parts: Parts, candidates: Sequence[Mapping[str, object] | str | os.PathLike[str]]
) -> list[Mapping[str, object]]:
    """Candidates, those in files loaded."""
    return [load(parts, each) if isinstance(each, str | os.PathLike) else each for each in candidates]


def reduced(part: Any) -> tuple[object, ...]:
    """How a step or a program is pickled: where it is defined, and its settings by name.

    Raises:
        UserError: it has other checks than are found there.
    """
    place = part.fn.__module__, part.fn.__qualname__
    with suppress(ImportError, AttributeError):  # nothing is there: who unpickles it is told so
        if getattr(part, "checks", None) != getattr(restored(*place, {}), "checks", None):
            msg = (
                f"A copy of step {part.name!r} has checks of its own, which pickling would lose. Give them to the step."
            )
            raise UserError(msg)
    return restored, (*place, dumped(part.parts(), part.settings))


def restored(module: str, qualname: str, settings: Mapping[str, object]) -> object:
    """The step or program defined at `module:qualname`, under these settings."""
    found: Any = functools.reduce(getattr, qualname.split("."), importlib.import_module(module))
    return found.using(decoded(parts_of(found), settings)) if settings else found
