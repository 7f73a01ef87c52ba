"""Going on with a run by its id alone: its program is imported, its arguments are read from the journal."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from synthon.core.errors import JournalError, UserError
from synthon.core.identity import adapter, to_json
from synthon.core.running import name_of, running, source_of, through
from synthon.runs.arguments import called_with

if TYPE_CHECKING:
    from synthon.core.budget import Budget
    from synthon.core.protocols import Journal, Policy, RunRecord


async def resume(
    journal: Journal,
    run: str,
    *,
    program: Callable[..., Awaitable[object]] | str | None = None,
    budget: Budget | None = None,
) -> object:
    """Run a stopped, killed or suspended run to its end: what the journal holds is not done again.

    Args:
        journal: where the run lies.
        run: its id.
        program: the program, or `module:name` or `file.py:name` of it; without it, the one that the record names.
        budget: of this life.

    Raises:
        UserError: there is no such run, or its program or arguments cannot be found again.
        Suspended: it waits for the next answer.
    """
    record = _record(journal, run)
    source = program if program is not None else record.source
    if isinstance(source, str) and (not source or source.endswith("?")):
        msg = (
            f"The journal does not say how to make the program {record.program!r} of run {run!r}: it ran under "
            "settings, or was no function of a module. Name it as module:name, with its settings in it."
        )
        raise UserError(msg)
    found = imported(source) if isinstance(source, str) else source
    _refuse_another(found, record)
    args, kwargs = _arguments(found, record)
    policy = cast("Policy | None", record.policy or None)
    opening = running(
        record.program, record.arguments, run_id=run, journal=journal, policy=policy, budget=budget,
        source=source_of(found),
    )  # fmt: skip
    return await through(opening, partial(found, *args, **kwargs))


def _refuse_another(program: object, record: RunRecord) -> None:
    """What is no program, or one of another name, would write its own end into the record."""
    called = getattr(program, "fn", program)
    if not any(map(inspect.iscoroutinefunction, (called, getattr(called, "__call__", None)))):  # noqa: B004 - an object's
        raise UserError(f"{program!r} is no async function, so run {record.id!r} is not of it. Name its program.")
    if (name := name_of(program)) != record.program:
        msg = f"Run {record.id!r} is of {record.program!r}, and {name!r} was given. Name the program that was run."
        raise UserError(msg)


async def cancel(journal: Journal, run: str) -> None:
    """Mark a run as cancelled, so that it no longer waits for anybody; its rows stay.

    Raises:
        UserError: there is no such run, or it has ended.
    """
    record = _record(journal, run)
    if record.status not in {"running", "suspended"}:
        raise UserError(f"Run {run!r} cannot be cancelled: it is {record.status}.")
    journal.write(replace(record, status="cancelled", end=time.time(), error="cancelled by a person"))
    await journal.durable()


def _record(journal: Journal, run: str) -> RunRecord:
    record = journal.run(run)
    if record is None:
        raise UserError(f"Run {run!r} is not in {journal!r}. Take an id from `synthon runs list`.")
    return record


def imported(source: str) -> Callable[..., Awaitable[object]]:
    """What `module:name` or `file.py:name` names.

    Raises:
        UserError: there is no such module, file or name.
    """
    place, _, name = source.rpartition(":")
    try:
        module = _file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
        found: Any = module
        for each in name.split("."):
            found = getattr(found, each)
    except (ImportError, AttributeError, OSError, TypeError, ValueError, SyntaxError) as error:
        msg = (
            f"The program {source!r} cannot be found: {type(error).__name__}: {error}. Start where the run was "
            "started, or name it as module:name or file.py:name."
        )
        raise UserError(msg) from error
    return cast("Callable[..., Awaitable[object]]", found)


def _file(path: Path) -> object:
    """A script as a module of its own, so that its `if __name__ == "__main__"` does not run.

    What lies beside it can be imported, as where Python runs it: its folder stays on `sys.path`. It is run once
    while it holds the same, so that the program and the metric of one file share its classes.
    """
    place = path.absolute()  # also its name, so that what runs from it says where it is
    held, known = place.read_bytes(), sys.modules.get(str(place))
    if known is not None and getattr(known, "__held__", None) == held:
        return known
    spec = importlib.util.spec_from_file_location(str(place), place)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    folder = str(place.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec.loader.exec_module(module)
    module.__dict__["__held__"] = held
    return module


def _arguments(program: Callable[..., object], record: RunRecord) -> tuple[list[object], dict[str, object]]:
    """The recorded arguments, each as what its annotation says."""
    try:
        kept = json.loads(record.arguments)
    except ValueError as error:
        raise JournalError(f"The arguments of run {record.id!r} are no JSON. Restore the journal.") from error
    try:
        given, named = called_with(kept)
    except ValueError as error:
        msg = (
            f"The arguments of run {record.id!r} cannot be read back: {error}. Go on with it from Python, with the "
            f"same arguments: `sy.run(program, ..., run_id={record.id!r})`."
        )
        raise UserError(msg) from error
    fn: Any = getattr(program, "fn", program)
    try:
        hints = get_type_hints(fn)
    except NameError as error:
        msg = (
            f"The arguments of run {record.id!r} cannot be read back: {error}, which the signature of "
            f"{fn.__qualname__!r} names. Import it outside `if TYPE_CHECKING:`, or go on with the run from Python, "
            f"with the same arguments: `sy.run(program, ..., run_id={record.id!r})`."
        )
        raise UserError(msg) from error
    shape = inspect.signature(fn)
    try:
        shape.bind(*given, **named)
    except TypeError as error:
        msg = (
            f"Run {record.id!r} was given what {record.program!r} does not take: {error}. A batch goes on by "
            f"`sy.run_many(program, rows, run_id={record.id!r})`; else name the program as it was."
        )
        raise UserError(msg) from error
    parameters = shape.parameters.values()
    names = [each.name for each in parameters if each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD}]
    rest = next((each.name for each in parameters if each.kind is each.VAR_POSITIONAL), "")
    args = [_typed(hints.get(name), value) for name, value in zip_longest(names[: len(given)], given, fillvalue=rest)]
    return args, {name: _typed(hints.get(name), value) for name, value in named.items()}


def _typed(hint: object, value: object) -> object:
    """What was recorded, as its annotation says.

    Raises:
        UserError: it is that no more, or was more than that: an object of a subclass, whose own fields would be lost.
    """
    try:
        read = value if hint is None else adapter(hint).validate_python(value, by_alias=True, by_name=True)
    except ValueError as error:
        msg = f"The recorded argument {value!r} is no {hint!r} any more: {error}. Resume with the program that was run."
        raise UserError(msg) from error
    if place := _lost(value, json.loads(to_json(read, again=True))):
        raise UserError(
            f"The recorded argument {value!r:.500} has a field that {hint!r} has not: {place[1:]!r}. It would be lost. "
            "Name its own class in the program's signature, or go on from Python with the same arguments: "
            "`sy.run(program, ..., run_id=...)`."
        )
    return read


def _lost(kept: object, read: object) -> str:
    """The first place of what was kept that is not in what was read, each step after a dot; empty if none."""
    if isinstance(kept, dict) and isinstance(read, dict):
        gone = next((f".{key}" for key in kept if key not in read), "")
        return gone or next((f".{key}{place}" for key in kept if (place := _lost(kept[key], read[key]))), "")
    if isinstance(kept, list) and isinstance(read, list):
        pairs = enumerate(zip(kept, read, strict=False))
        return next((f".{n}{place}" for n, pair in pairs if (place := _lost(*pair))), "")
    return ""
