"""`synthon trace`: what runs did."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

from synthon.cli.shell import add, console, journal_of, moment, money, plain, pretty, seconds, table
from synthon.core.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.tree import Tree

    from synthon.cli.shell import Subparsers
    from synthon.core.protocols import Span
    from synthon.journal import Node, RunSummary

_DAY_S = 86_400.0
_SHOWN = 160  # characters of a call


def commands(rooms: Subparsers) -> None:
    """Add them."""
    text = "what runs did: calls, time, tokens, cost"
    among = rooms.add_parser("trace", help=text, description=text).add_subparsers(required=True, metavar="COMMAND")
    listing = add(among, "list", _list_runs, "list the newest runs")
    listing.add_argument("--limit", type=int, default=20, metavar="N", help="how many (20)")
    listing.add_argument("--parts", action="store_true", help="also those started inside others: a search's, a batch's")
    show = add(among, "show", _show_run, "show a run as a tree")
    show.add_argument("--inputs", action="store_true", help="with what went into each part and what came out")
    export = add(among, "export", _export_run, "print a run as JSON lines")
    prune = add(among, "prune", _prune, "remove what is older than some days")
    prune.add_argument("--days", type=float, required=True, metavar="N", help="keep the last N days")
    for parser in (show, export):
        parser.add_argument("run", nargs="?", metavar="RUN", help="its id; default: the newest")
    for parser in (listing, show, export, prune):
        parser.add_argument("--journal", type=Path, metavar="FILE", help="default: the user's journal")


def _run(arguments: argparse.Namespace) -> str:
    from synthon.journal import runs  # noqa: PLC0415 - see _list_models

    if arguments.run:
        return str(arguments.run)
    newest = runs(journal_of(arguments), 1)
    if not newest:
        raise UserError(f"The journal {str(journal_of(arguments))!r} holds no run yet. Run a program first.")
    return newest[0].id


def _list_runs(arguments: argparse.Namespace) -> None:
    from synthon.journal import runs  # noqa: PLC0415 - see _list_models

    rows = [
        (
            run.id, run.program, run.status, moment(run.start), seconds(run.seconds), f"{run.calls:,}",
            f"{run.hits:,}", _tokens(run), money(run.cost_usd), money(run.billed_usd),
        )
        for run in runs(journal_of(arguments), arguments.limit, parts=arguments.parts)
    ]  # fmt: skip
    table(("run", "program", "status", "started", ">time", ">calls", ">hits", ">in > out", ">cost", ">billed"), rows)


def _show_run(arguments: argparse.Namespace) -> None:
    from rich.text import Text  # noqa: PLC0415 - see _list_models
    from rich.tree import Tree  # noqa: PLC0415 - same

    from synthon.journal import content, diverged, summary, tree  # noqa: PLC0415 - same

    path, name = journal_of(arguments), _run(arguments)
    run = summary(path, name)
    parts = [run.program, run.status, seconds(run.seconds), f"{run.calls:,} calls, {run.hits:,} of them hits"]
    parts += [_tokens(run), _both(run), f"{run.unpriced:,} without a price" if run.unpriced else ""]
    root = Tree(Text(plain(f"{run.id}  {' · '.join(filter(None, parts))}"), style="bold"))
    if run.error:
        root.add(Text(plain(run.error), style="red"))

    def grow(branch: Tree, nodes: Sequence[Node]) -> None:
        for node in nodes:
            twig = branch.add(Text(plain(_line(node)), style="dim" if node.span.hit else ""))
            if node.span.error:
                twig.add(Text(plain(node.span.error), style="red"))
            if arguments.inputs:
                for label, text in zip(("in", "out"), content(path, node.span), strict=True):
                    if text:
                        twig.add(Text(f"{label}: {plain(pretty(text))}", style="cyan"))
            grow(twig, node.children)

    grow(root, tree(path, run.id))
    for what, call in diverged(path, run.id):
        root.add(Text(plain(f"{what} since it was recorded: {call[:_SHOWN]}"), style="yellow"))
    console().print(root)


def _export_run(arguments: argparse.Namespace) -> None:
    from synthon.journal import export  # noqa: PLC0415 - see _list_models

    for line in export(journal_of(arguments), _run(arguments)):
        print(line)


def _prune(arguments: argparse.Namespace) -> None:
    from synthon.journal import SQLiteJournal  # noqa: PLC0415 - see _list_models

    path = journal_of(arguments)
    if not arguments.days >= 0:
        raise UserError(f"--days is {arguments.days:g}, which is no age that a row can have. Pass 0 or more.")
    if not path.is_file():
        raise UserError(f"There is no journal at {str(path)!r}. Name its file: --journal FILE.")
    with SQLiteJournal(path) as journal:
        removed = journal.prune(time.time() - arguments.days * _DAY_S)
    print(f"Removed {removed:,} rows older than {arguments.days:g} days from {path}.")


def _line(node: Node) -> str:
    span = node.span
    cost = _both(span) if span.kind == "call" else ""
    parts = [span.name, span.kind, seconds(node.seconds), _tokens(span), cost, "hit" if span.hit else ""]
    return " · ".join(filter(None, parts))


def _tokens(used: Span | RunSummary) -> str:
    """In (of these, read from the provider's cache) and out."""
    if not (used.tokens_in or used.tokens_cached or used.tokens_out):
        return ""
    cached = f" ({used.tokens_cached:,} cached)" if used.tokens_cached else ""
    return f"{used.tokens_in:,}{cached} > {used.tokens_out:,} tokens"


def _both(used: Span | RunSummary) -> str:
    cost, billed = money(used.cost_usd), money(used.billed_usd)
    return cost if cost == billed else f"{cost} ({billed or 'nothing'} billed)"
