"""What every command shares: how it is added, where its journal lies, how it prints."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from synthon.core.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    Subparsers: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001 - the type has no public name

Command: TypeAlias = Callable[[argparse.Namespace], None]
_PIPED_WIDTH = 200  # columns where nobody's screen sets them


def add(among: Subparsers, name: str, command: Command, text: str, *, kept: bool = False) -> argparse.ArgumentParser:
    """A command; `--debug` is understood after it too. One that is `kept` goes on from its journal when said again."""
    parser = among.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    parser.set_defaults(command=command, kept=kept)
    return parser


def journal_of(arguments: argparse.Namespace) -> Path:
    """The journal that `--journal` names, else the default one."""
    from synthon.journal import default_path  # noqa: PLC0415 - see _list_models

    path: Path | None = arguments.journal or default_path()
    if path is None:
        raise UserError("There is no default journal, as SYNTHON_JOURNAL is 'off'. Name one: --journal FILE.")
    return path


def money(usd: float | None) -> str:
    """Dollars, as few digits as say it."""
    if usd is None:
        return ""
    return f"${usd:,.6f}".rstrip("0").rstrip(".") if usd >= 1e-6 or usd == 0 else f"${usd:.1e}"  # noqa: PLR2004 - a millionth


def seconds(seconds: float) -> str:
    """A duration."""
    return f"{1000 * seconds:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def moment(seconds: float) -> str:
    """A time, here."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def pretty(text: str) -> str:
    """JSON text over several lines; other text as it is."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False, indent=2)
    except ValueError:
        return text


def plain(text: str) -> str:
    """What a model wrote must not steer the terminal: control characters are shown as escapes."""
    return "".join(char if char.isprintable() or char in "\n\t" else repr(char)[1:-1] for char in text)


def console() -> Console:
    """Where tables and trees are printed."""
    from rich.console import Console  # noqa: PLC0415 - see _list_models

    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns; a name that starts with `>` is flush right."""
    from rich.table import Table  # noqa: PLC0415 - see _list_models
    from rich.text import Text  # noqa: PLC0415 - same

    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, name in enumerate(names):
        justify: Literal["left", "right"] = "right" if name.startswith(">") else "left"
        table.add_column(name.lstrip(">"), justify=justify, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console().print(table)
