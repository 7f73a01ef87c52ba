"""`synthon optimize`: search a program's settings, or say what a search would do."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthon.cli.evaluating import cases_of, metric_of, program_of
from synthon.cli.shell import add, journal_of, plain
from synthon.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthon.cli.shell import Subparsers
    from synthon.core.budget import Budget
    from synthon.evals.grading import AnyMetric


def commands(rooms: Subparsers) -> None:
    """Add it."""
    text = "search a program's settings under a budget; what was paid for is kept, so run it again to go on"
    parser = add(rooms, "optimize", _optimize, text, kept=True)
    parser.add_argument("program", metavar="FILE.py:NAME", help="the program, or MODULE:NAME")
    parser.add_argument("--train", type=Path, required=True, metavar="FILE", help="rows that examples are taken from")
    parser.add_argument("--validation", type=Path, required=True, metavar="FILE", help="rows that judge")
    parser.add_argument(
        "--test", type=Path, metavar="FILE", help="held-out rows: certify the best program on them, beside the limits"
    )
    parser.add_argument("--metric", required=True, metavar="NAME", help="as of `synthon eval`")
    parser.add_argument("--inputs", metavar="A,B", help="columns that are arguments (the program's parameters)")
    parser.add_argument("--expected", default="expected", metavar="COLUMN", help="the column with the answer")
    parser.add_argument("--calls", type=int, metavar="N", help="of the search: never one call more than N")
    parser.add_argument("--usd", type=float, metavar="X", help="of the search: never more than $X")
    parser.add_argument("--minutes", type=float, metavar="M", help="start no call after M minutes")
    parser.add_argument("--max-usd", type=float, metavar="X", help="a call of the program may cost $X on average")
    parser.add_argument("--max-p95", type=float, metavar="S", help="and take S seconds at the 95th percentile")
    parser.add_argument("--method", default="auto", metavar="NAME", help="auto, racing, tpe, random, reflective")
    parser.add_argument("--proposer", metavar="FILE.py:NAME", help="a model that may write instructions")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--workers", type=int, default=8, metavar="N", help="cases at once (8)")
    parser.add_argument("--plan", action="store_true", help="only print the space, calls and price")
    parser.add_argument("--save", type=Path, metavar="FILE", help="write the best program's settings as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the front, as .png, .svg or .pdf")
    parser.add_argument("--journal", type=Path, metavar="FILE", help="default: the user's journal")


def _optimize(arguments: argparse.Namespace) -> None:
    from synthon.optimize import plan  # noqa: PLC0415 - each command loads its own rooms
    from synthon.runs import imported  # noqa: PLC0415 - same

    sys.path.insert(0, "")  # a module of the folder one stands in, as `python -m` finds it
    program: Any = program_of(arguments.program)
    if not hasattr(program, "parts"):
        raise UserError(f"{arguments.program!r} has no settings to search. Write @sy.step or @sy.program above it.")
    metric = metric_of(arguments.metric)
    paths = [path for path in (arguments.train, arguments.validation, arguments.test) if path]
    train, validation, *test = (cases_of(program, path, arguments, [arguments.metric]) for path in paths)
    proposer: Any = imported(arguments.proposer) if arguments.proposer else None
    if proposer is not None and not hasattr(proposer, "capabilities"):
        raise UserError(f"{arguments.proposer!r} is {proposer!r:.200}, which is no model. Name one for --proposer.")
    if arguments.seed < 0:
        raise UserError(f"--seed is {arguments.seed}, and nothing is drawn from that. Pass 0 or more.")
    limits = {"calls": arguments.calls, "usd": arguments.usd, "minutes": arguments.minutes}
    budget = _budget(limits)
    if arguments.plan:
        planned = plan(program, train, validation, metric=metric, budget=budget, proposer=proposer, seed=arguments.seed)
        print(plain(str(asyncio.run(planned))))
        return
    if budget is None:
        raise UserError("A search needs a limit. Pass --calls, --usd or --minutes; --plan says what it could need.")
    _search(arguments, program, (train, validation, *test), metric, proposer, budget)


def _budget(limits: dict[str, Any]) -> Budget | None:
    from synthon.core.budget import Budget  # noqa: PLC0415 - see _optimize

    return Budget(**limits) if any(limit is not None for limit in limits.values()) else None


def _search(
    arguments: argparse.Namespace, program: Any, rows: Sequence[Any], metric: AnyMetric, proposer: Any, budget: Budget
) -> None:
    from synthon.evals.plotting import checked  # noqa: PLC0415 - see _optimize
    from synthon.journal import SQLiteJournal  # noqa: PLC0415 - same
    from synthon.optimize import Limits, optimize  # noqa: PLC0415 - same

    train, validation, *test = rows
    if arguments.plot:
        checked(arguments.plot)
    for path in (arguments.save, arguments.plot):
        if path is not None and not path.parent.is_dir():
            raise UserError(f"{str(path)!r} is in no folder. Make it first, or name another file.")
    with SQLiteJournal(journal_of(arguments)) as journal:
        search: Any = optimize(
            program, train, validation, metric=metric, budget=budget, journal=journal, seed=arguments.seed,
            within=Limits(arguments.max_usd, arguments.max_p95), method=arguments.method, proposer=proposer,
            workers=arguments.workers,
        )  # fmt: skip
        found = asyncio.run(search)
        best = found.best()
        print(plain(str(found)))
        if arguments.save:
            best.save(arguments.save)
        if arguments.plot:
            found.front.plot(arguments.plot)
        if test:
            best = best.certify(test[0])
        print(f"\nbest: {plain(str(best))}")
