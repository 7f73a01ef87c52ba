"""Models that a program asks without a journal, so that no budget sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from synthon.core.budget import counts
from synthon.core.errors import UserError
from synthon.core.program import program as as_program
from synthon.core.settings import MODEL, ambient, current, entered
from synthon.strategies.labelling import LinearProbe, neighbour_vote


def unseen_model(program: Any) -> tuple[str, str]:
    """The first step of a program (a step, or any async function) that asks such a model, and the model; empty if none.

    Of callables that are neither it is not known.
    """
    while isinstance(program, partial):
        program = program.func
    if getattr(type(program), "part", None) not in {"step", "program"}:
        try:
            program = as_program(program)
        except UserError:
            return "", ""
    parts = program.parts()
    views = [{**program.settings, **each.settings} for each in parts.programs] or [program.settings]
    for step in parts.steps:
        models = [model for view in views for model in _asked(step, view)]
        if models and not any(map(counts, models)):
            return step.name, str(getattr(models[0], "name", models[0]))
    return "", ""


def _asked(step: Any, settings: Mapping[Any, object]) -> Iterator[object]:
    """The model that a step asks under a program's settings, if any."""
    with entered({**settings, **step.settings}):
        own = step.setting("model")
        model = current(ambient().get(MODEL)) if own is None else own
        if model is not None and not isinstance(step.setting("strategy"), neighbour_vote | LinearProbe):
            yield model
