"""`synthon runs`: runs that wait for a person, or were stopped."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from synthon.cli.shell import add, journal_of, moment, plain, table
from synthon.core.errors import UserError

if TYPE_CHECKING:
    from synthon.cli.shell import Subparsers
    from synthon.journal import SQLiteJournal

_MOST = 10_000  # runs that are looked through


def commands(rooms: Subparsers) -> None:
    """Add them."""
    text = "runs that wait for a person or were stopped: answer, resume, cancel, settle"
    among = rooms.add_parser("runs", help=text, description=text).add_subparsers(required=True, metavar="COMMAND")
    listing = add(among, "list", _list, "list the runs that wait, with what for")
    listing.add_argument(
        "--all", action="store_true", help="those too that failed, were cancelled (Ctrl-C) or still run"
    )
    say = add(among, "answer", _answer, "answer the question that a run asked")
    go_on = add(among, "resume", _resume, "go on with a run; what its journal holds is not done again", kept=True)
    stop = add(among, "cancel", _cancel, "let a run wait no longer")
    clear = add(among, "settle", _settle, "say what became of an act that a run was stopped in")
    for parser in (say, go_on, stop, clear):
        parser.add_argument("run", metavar="RUN", help="its id")
    say.add_argument("text", metavar="TEXT")
    say.add_argument("--question", default="", metavar="PLACE", help="which one, where there are several")
    go_on.add_argument("--program", metavar="MODULE:NAME", help="default: what the journal says")
    clear.add_argument("key", metavar="KEY", help="the act's idempotency key, as `runs list` shows it")
    either = clear.add_mutually_exclusive_group(required=True)
    either.add_argument("--done", metavar="RESULT", help="it was done, and this came of it: JSON, else taken as text")
    either.add_argument("--not-done", action="store_true", help="it was not; the resumed run does it")
    for parser in (listing, say, go_on, stop, clear):
        parser.add_argument("--journal", type=Path, metavar="FILE", help="default: the user's journal")


def _open(arguments: argparse.Namespace) -> SQLiteJournal:
    from synthon.journal import SQLiteJournal  # noqa: PLC0415 - each command loads its own rooms

    path = journal_of(arguments)
    if not path.is_file():
        raise UserError(f"There is no journal at {str(path)!r}. Name its file: --journal FILE.")
    return SQLiteJournal(path)


def _list(arguments: argparse.Namespace) -> None:
    from synthon.journal import runs  # noqa: PLC0415 - see _open
    from synthon.runs import doubts, questions  # noqa: PLC0415 - same

    wanted = {"suspended", "running", "failed", "cancelled"} if arguments.all else {"suspended"}
    rows = []
    with _open(arguments) as journal:
        for run in runs(journal.path, _MOST, parts=True):
            if run.status not in wanted:
                continue
            waits = [("asks", each.place[:12], each.text) for each in questions(journal, run.id)]
            waits += [("in doubt", each.key, f"{each.name} {each.arguments}") for each in doubts(journal, run.id)]
            for what, key, text in waits or [("", "", run.error)]:
                rows.append((run.id, run.program, run.status, moment(run.start), what, key, text))
    table(("run", "program", "status", "started", "waits", "key", "for"), rows)


def _answer(arguments: argparse.Namespace) -> None:
    from synthon.runs import answer  # noqa: PLC0415 - see _open

    with _open(arguments) as journal:
        found = asyncio.run(answer(journal, arguments.run, arguments.text, place=arguments.question))
    print(f"Answered: {plain(found.text)}\nGo on with: synthon runs resume {quote(arguments.run)}")


def _resume(arguments: argparse.Namespace) -> None:
    from synthon.core.identity import to_json  # noqa: PLC0415 - see _open
    from synthon.runs import resume  # noqa: PLC0415 - same

    sys.path.insert(0, "")  # a module of the folder one stands in, as `python -m` finds it
    with _open(arguments) as journal:
        print(to_json(asyncio.run(resume(journal, arguments.run, program=arguments.program))))


def _cancel(arguments: argparse.Namespace) -> None:
    from synthon.runs import cancel  # noqa: PLC0415 - see _open

    with _open(arguments) as journal:
        asyncio.run(cancel(journal, arguments.run))
    print(f"Run {arguments.run} waits no longer.")


def _settle(arguments: argparse.Namespace) -> None:
    from synthon.runs import settle  # noqa: PLC0415 - see _open

    result = None if arguments.not_done else _json(arguments.done)
    with _open(arguments) as journal:
        asyncio.run(settle(journal, arguments.run, arguments.key, result))
    print(f"Settled. Go on with: synthon runs resume {quote(arguments.run)}")


def _json(text: str) -> str:
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(text)
    return text
