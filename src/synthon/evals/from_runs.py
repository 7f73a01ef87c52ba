"""Cases from what a program was asked before, as its journal has it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from synthon.core.errors import UserError
from synthon.core.identity import adapter, to_json
from synthon.core.running import name_of
from synthon.core.settings import Knob
from synthon.evals.cases import Case, Cases
from synthon.journal import RunSummary, export, runs
from synthon.runs.arguments import called_with

if TYPE_CHECKING:
    import os

OutputT = TypeVar("OutputT")
_MOST = 100_000  # runs that are looked through
_MANY = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def cases_from_runs(
    path: str | os.PathLike[str],
    program: Callable[..., Awaitable[OutputT]],
    *,
    where: Callable[[RunSummary], bool] | None = None,
    scored: str | None = None,
    at_least: float = 1.0,
) -> Cases[OutputT]:
    """The runs of a program that ended well: what it was given, and what it answered as the expected value.

    The newest first, the same inputs once, however they were passed. `metadata` has the run's id. Inputs have names:
    what went to `**more` its own, and what went to `*rest` or by place only the parameter's, which `evaluate` cannot
    pass on so; give it a function around the program.

    Args:
        path: the journal's file.
        program: found by its name; its annotations say what arguments and result are.
        where: which runs, by what is known of them.
        scored: only runs with a score of this name (a metric's, as `evaluate` and people write them) that is
        at_least: this.

    Raises:
        JournalError: there is no journal.
        UserError: no run fits, or its arguments fit the program no more.
    """
    name = name_of(program)
    found: dict[str, Case[OutputT]] = {}
    for run in runs(path, _MOST, parts=True):
        if run.program != name or run.status != "done" or (where is not None and not where(run)):
            continue
        lines = [json.loads(line) for line in export(path, run.id)]
        if all(line["run"] != run.id for line in lines[1:]):
            continue  # a batch: its rows are runs of their own
        if scored is None or _worst(lines, run.id, scored) >= at_least:
            key, case = _case(program, run.id, lines[0])
            found.setdefault(key, case)
    if not found:
        kind = f"well scored ({scored} >= {at_least:g}) run" if scored else "run that ended well"
        raise UserError(
            f"The journal {str(path)!r} holds no {kind} of {name!r}. Run or evaluate the program with it first."
        )
    return Cases(found.values())


def _worst(lines: list[dict[str, Any]], run: str, scored: str) -> float:
    """The least score of that name that the run's own spans have."""
    spans = [line for line in lines[1:] if line["run"] == run]
    return min((each["value"] for span in spans for each in span["scores"] if each["name"] == scored), default=-1e300)


def _case(program: Callable[..., Awaitable[OutputT]], run: str, shown: Mapping[str, Any]) -> tuple[str, Case[OutputT]]:
    """A run as a case, and its inputs as they are the same however they were passed, defaults among them."""
    fn: Any = getattr(program, "fn", program)
    hints = get_type_hints(fn)
    try:
        args, named = called_with(shown["arguments"] or {})
        shape = inspect.signature(fn)
        knobs = {name for name, parameter in shape.parameters.items() if isinstance(parameter.default, Knob)}
        bound = shape.bind(*args, **named)
        inputs = _inputs({name: each for name, each in bound.arguments.items() if name not in knobs}, shape, hints)
        many = {name for name, parameter in shape.parameters.items() if parameter.kind in _MANY}
        bound.apply_defaults()
        rest = {name: each for name, each in bound.arguments.items() if name not in {*inputs, *knobs, *many}}
        whole = inputs | {name: _default(hints.get(name), value) for name, value in rest.items()}
        expected = cast("OutputT", _typed(hints.get("return"), shown["result"]))
    except (TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        msg = f"Run {run!r} does not fit {name_of(program)!r} any more: {reason}. Leave it out by where=."
        raise UserError(msg) from error
    return to_json(dict(sorted(whole.items())), again=True), Case(inputs, expected, {"run": run})


def _inputs(given: Mapping[str, Any], shape: inspect.Signature, hints: Mapping[str, Any]) -> dict[str, object]:
    """Arguments by name, each as its type: those of `**more` by their own names, those of `*rest` in a list.

    Raises:
        ValueError: one is not of its type, or two have one name.
    """
    found: dict[str, object] = {}
    for name, value in given.items():
        kind, hint = shape.parameters[name].kind, hints.get(name)
        if kind is inspect.Parameter.VAR_POSITIONAL:
            found[name] = [_typed(hint, each) for each in value]
        elif kind is not inspect.Parameter.VAR_KEYWORD:
            found[name] = _typed(hint, value)
        elif twice := found.keys() & value.keys():
            raise ValueError(f"{min(twice)!r} was given by its place and by its name")
        elif repr(get_origin(hint)).endswith(".Unpack"):  # of `typing` or `typing_extensions`, which are two in 3.11
            found |= cast("dict[str, object]", _typed(get_args(hint)[0], value))
        else:
            found |= {each: _typed(hint, item) for each, item in value.items()}
    return found


def _default(hint: object, value: object) -> object:
    """A default as its type, which it need not have."""
    try:
        return _typed(hint, value)
    except ValueError:
        return value


def _typed(hint: object, value: object) -> object:
    return value if hint is None else adapter(hint).validate_python(value, by_alias=True, by_name=True)
