"""`synthon eval`: score a program on cases, and another beside it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from synthon.cli.shell import add, journal_of, plain, table
from synthon.core.errors import UserError

if TYPE_CHECKING:
    from synthon.cli.shell import Subparsers
    from synthon.evals import Cases, Evaluation
    from synthon.evals.grading import AnyMetric

_SHOWN = 5  # failures


def commands(rooms: Subparsers) -> None:
    """Add it."""
    text = "score a program on cases: means with intervals, cost, latency; nothing is asked twice"
    parser = add(rooms, "eval", _eval, text, kept=True)
    parser.add_argument("program", metavar="FILE.py:NAME", help="the program, or MODULE:NAME")
    parser.add_argument("--cases", type=Path, required=True, metavar="FILE", help="a .jsonl, .csv or .parquet file")
    metric = "exact_match, f1, rouge, bleu, ast_match, numeric, fields_f1, or FILE.py:NAME; the first is compared by"
    parser.add_argument("--metric", action="append", required=True, metavar="NAME", help=metric)
    parser.add_argument("--inputs", metavar="A,B", help="columns that are arguments (the program's parameters)")
    parser.add_argument(
        "--expected", default="expected", metavar="COLUMN", help="the column with the answer (expected)"
    )
    parser.add_argument("--against", metavar="FILE.py:NAME", help="another program, on the same cases")
    parser.add_argument("--slice", metavar="KEY", help="a score for each value of this metadata")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw it, as .png, .svg or .pdf")
    parser.add_argument("--workers", type=int, default=8, metavar="N", help="cases at once (8)")
    parser.add_argument("--calls", type=int, metavar="N", help="stop before one call more than N")
    parser.add_argument("--usd", type=float, metavar="X", help="stop before $X are passed")
    parser.add_argument("--journal", type=Path, metavar="FILE", help="default: the user's journal")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _eval(arguments: argparse.Namespace) -> None:
    from synthon.core.budget import Budget  # noqa: PLC0415 - each command loads its own rooms
    from synthon.evals import evaluate  # noqa: PLC0415 - same
    from synthon.journal import SQLiteJournal  # noqa: PLC0415 - same

    sys.path.insert(0, "")  # a module of the folder one stands in, as `python -m` finds it
    named = [name for name in (arguments.program, arguments.against) if name is not None]
    programs = {name: program_of(name) for name in named}
    metrics = {name: metric_of(name) for name in arguments.metric}
    rows = cases_of(programs[arguments.program], arguments.cases, arguments, arguments.metric)
    limits = {"calls": arguments.calls, "usd": arguments.usd}
    budget = Budget(**limits) if any(limit is not None for limit in limits.values()) else None

    async def both(journal: SQLiteJournal) -> list[Evaluation]:
        first, *more = metrics.items()
        return [
            await evaluate(
                program, rows, first[1], metrics=dict(more), workers=arguments.workers, journal=journal,
                budget=budget, name=name,
            )
            for name, program in programs.items()
        ]  # fmt: skip

    with SQLiteJournal(journal_of(arguments)) as journal:
        found = asyncio.run(both(journal))
    _tell(found, arguments)
    if arguments.plot:  # last: a picture that cannot be drawn takes no result away
        found[0].plot(arguments.plot, beside=found[1:], by=arguments.slice or "")


def program_of(name: str) -> Callable[..., Awaitable[object]]:
    """What a command runs on its cases.

    Raises:
        UserError: there is nothing of this name, or nothing that can be called.
    """
    from synthon.runs import imported  # noqa: PLC0415 - see _eval

    found = imported(name)
    if not callable(found):
        raise UserError(
            f"{name!r} is {found!r:.200}, which is no program. Name a step, a program or an async function."
        )
    return found


def cases_of(
    program: Callable[..., object], path: Path, arguments: argparse.Namespace, metrics: Sequence[str]
) -> Cases[object]:
    """The cases, with the types that the program's annotations give them; an answer may be one of several.

    Where all metrics are the user's own, an answer of another type stays as the file has it, and there need be none.

    Raises:
        UserError: the file or the program's annotations cannot be read.
    """
    from synthon.evals import cases  # noqa: PLC0415 - see _eval

    try:
        hints = get_type_hints(getattr(program, "fn", program))
    except (NameError, TypeError) as error:
        msg = (
            f"The annotations of {arguments.program!r} cannot be read: {str(error).rstrip('.')}. Name a step, a "
            "program or an async function, and import what it is annotated with outside `if TYPE_CHECKING:`."
        )
        raise UserError(msg) from error
    answer: Any = hints.get("return")
    inputs = (
        {name: hints.get(name) for name in map(str.strip, arguments.inputs.split(","))} if arguments.inputs else program
    )
    strict = not all(":" in name for name in metrics)
    type_ = None if answer is None else answer | list[answer]
    return cases(path, type_, inputs=inputs, expected=arguments.expected, strict=strict)


def _tell(found: list[Evaluation], arguments: argparse.Namespace) -> None:
    if arguments.json:
        print(json.dumps(_shown(found, arguments.slice), ensure_ascii=False))
        return
    for each in found:
        print(plain(each.table()))
        if arguments.slice:
            rows = [(name, str(estimate.n), str(estimate)) for name, estimate in each.slices(arguments.slice).items()]
            table((arguments.slice, ">cases", "score"), rows)
    if len(found) > 1:
        print(plain(str(found[0].compare(found[1]))))
    worst = found[0].failures()
    if worst:
        print(f"\n{len(worst)} cases below 1.0; the worst:")
        told = [
            (
                case.id,
                f"{row.score:.2f}",
                json.dumps(dict(case.inputs), default=str, ensure_ascii=False)[:80],
                row.feedback,
            )
            for case, row in worst[:_SHOWN]
        ]
        table(("case", ">score", "inputs", "what is wrong"), told)


def _shown(found: list[Evaluation], key: str | None) -> Mapping[str, object]:
    from synthon.evals.evaluation import listed  # noqa: PLC0415 - see _eval

    shown: list[dict[str, object]] = [each.json() for each in found]
    for each, its in zip(found, shown, strict=True):
        if key:
            its["slices"] = {value: listed(estimate) for value, estimate in each.slices(key).items()}
    pair = {"against": shown[1], "comparison": found[0].compare(found[1]).json()} if len(found) > 1 else {}
    return {**shown[0], **pair}


def metric_of(name: str) -> AnyMetric:
    """One of `sy.metrics` that takes no options, or the user's own.

    Raises:
        UserError: there is no such metric.
    """
    from synthon.evals import metrics  # noqa: PLC0415 - see _eval
    from synthon.runs import imported  # noqa: PLC0415 - same

    ready: dict[str, Any] = {
        each.__name__: each
        for each in (
            metrics.exact_match, metrics.f1, metrics.rouge, metrics.bleu, metrics.ast_match, metrics.fields_f1,
        )
    }  # fmt: skip
    ready["numeric"] = metrics.numeric()
    if name in ready:
        return ready[name]  # type: ignore[no-any-return] # a metric of any case
    if ":" not in name:
        raise UserError(f"There is no metric {name!r}. Pass one of {', '.join(ready)}, or FILE.py:NAME.")
    return imported(name)  # type: ignore[return-value] # it is called as a metric, and a wrong one says so
