"""`synthon ask`: answer a question from documents."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from synthon.cli.shell import add, plain
from synthon.core.errors import UserError

if TYPE_CHECKING:
    from synthon.cli.shell import Subparsers
    from synthon.core.protocols import Model
    from synthon.retrieval.quotes import Quote, Quotes


def commands(rooms: Subparsers) -> None:
    """Add it."""
    text = "answer a question from documents: quotes first, then an answer that holds up against them"
    parser = add(rooms, "ask", _ask, text)
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
    for each in reply.failed:
        print(f"synthon: not read: {plain(each.id)} {plain(each.reason)}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(reply.json(), ensure_ascii=False))
    elif reply.refused:
        print("Not in the documents.")
    elif reply.answer:
        print(f"\nAnswer: {plain(reply.answer)}")


def _quote(quote: Quote) -> str:
    return f"“{plain(' '.join(quote.text.split()))}”\n    {plain(quote.file)}, characters {quote.start}-{quote.end}"


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
