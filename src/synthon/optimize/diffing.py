"""What two programs are set to otherwise, in text that a person reads: examples are counted, not listed."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from operator import eq, is_
from typing import TYPE_CHECKING, Any, cast

from synthon.core.errors import UserError
from synthon.core.identity import to_json
from synthon.core.render import Demo
from synthon.core.saved import encoded
from synthon.core.settings import MODEL, Nearest, current
from synthon.retrieval.nearest import Examples

if TYPE_CHECKING:
    from synthon.core.parts import Parts

_FEW = 8  # examples that are shown one a line
_WIDTH = 100  # of one


def differences(ours: Any, theirs: Any) -> str:
    """One setting of two programs or steps after the other, each as a diff from `theirs`; `nothing` where none is.

    Examples are told apart by a digest of all of them. To show none and to be able to show none are the same.
    """
    mine, other = _settings(ours), _settings(theirs)
    told = []
    for name in [*mine, *(name for name in other if name not in mine)]:
        before, after = other.get(name, ""), mine.get(name, "")
        if before != after:
            lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
            told.append("\n".join([f"{name}:", *(f"  {line}" for line in list(lines)[2:] if line[:2] != "@@")]))
    return "\n".join(told) or "nothing"


def _settings(program: Any) -> dict[str, str]:
    """Every setting as it is: the program's own where it sets it."""
    if not hasattr(program, "parts"):
        raise UserError(
            f"diff was given {program!r:.200}. Pass a step or a program, such as program.using('best.json')."
        )
    parts: Parts = program.parts()
    names = {setting: name for name, setting in parts.settings.items()} | {MODEL: f"{parts.root}.model"}
    own = {names[setting]: value for setting, value in program.settings.items() if setting in names}
    return {name: _chosen(parts, name, value) for name, value in (parts.values | own).items()}


def _chosen(parts: Parts, name: str, value: object) -> str:
    """A value as text, with its place among its knob's options where another reads the same."""
    text = _text(value)
    options = parts.knobs[name].values if name in parts.knobs else ()
    alike = [(place, option) for place, option in enumerate(options, 1) if _text(option) == text]
    places = [place for same in (is_, eq) for place, option in alike if same(option, value)]
    return f"{text} (option {places[0]})" if len(alike) > 1 and places else text


def _text(value: object) -> str:
    if isinstance(value, Nearest) and current(value.k) == 0:
        return "none"
    if value is None or isinstance(value, str):
        return value or "none"
    if isinstance(value, Sequence) and all(isinstance(item, Demo) for item in value):
        return _listed(value)
    if hasattr(value, "saved") and not isinstance(value, type):
        return f"{type(value).__name__}({', '.join(f'{name}={_text(item)}' for name, item in _made_of(value).items())})"
    try:
        shape = encoded(value)
    except UserError:  # a list of what no file can hold
        shape = [_text(item) for item in value] if isinstance(value, list | tuple) else repr(value)
    if isinstance(shape, Mapping) and set(shape) == {"name"}:
        return str(shape["name"])
    return json.dumps(shape, indent=1, ensure_ascii=False)


def _made_of(value: Any) -> Mapping[str, object]:
    """What an object is made with, also where no file could hold its embedder."""
    try:
        return cast("Mapping[str, object]", value.saved())
    except UserError:
        if isinstance(value, Examples):
            return {"examples": value.examples, "embedder": value.embedder.identity}
        return {"examples": value.digest}


def _listed(examples: Sequence[Demo]) -> str:
    """Examples one a line if they are few, else how many there are and which is the first."""
    if not examples:
        return "none"
    count = f"{len(examples)} example{'s' * (len(examples) > 1)} {Examples(examples).digest}"
    lines = [f"{to_json(demo.inputs)} -> {to_json(demo.output)}" for demo in examples[:_FEW]]
    lines = [line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}..." for line in lines]
    return "\n ".join([f"{count}:", *lines]) if len(examples) <= _FEW else f"{count}, the first {lines[0]}"


__all__ = ["differences"]
