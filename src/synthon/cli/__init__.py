"""The command line: parses, calls one function, prints."""

from __future__ import annotations

import argparse
import codecs
import io
import json
import os
import sys
from typing import TYPE_CHECKING

from synthon import __version__
from synthon.cli import asking, evaluating, optimizing, runs, traces, weights
from synthon.cli.shell import plain
from synthon.core.errors import SynthonError

if TYPE_CHECKING:
    from collections.abc import Sequence

_ESCAPED = "synthon.escaped"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0, 1 for an error of ours, 2 for usage, 130 for Ctrl-C."""
    sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - closed by the shell
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_ESCAPED)
    try:
        arguments.command(arguments)
        sys.stdout.flush()
    except (SynthonError, UnicodeEncodeError) as error:
        if arguments.debug:
            raise
        print(f"synthon: {plain(_told(error))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        kept = "; its journal keeps what was answered, and the same command takes it up" * arguments.kept
        print(f"synthon: stopped{kept}", file=sys.stderr)
        return 130
    except OSError as error:
        if not isinstance(error, BrokenPipeError):  # then the reader, `head` say, has enough
            if arguments.debug:
                raise
            print(f"synthon: {plain(str(error))}", file=sys.stderr)
        # Python flushes stdout once more at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="synthon", description="Design, optimize and operate compound AI systems.")
    parser.add_argument("--version", action="version", version=f"synthon {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    rooms = parser.add_subparsers(required=True, metavar="COMMAND")
    for room in (asking, evaluating, optimizing, runs, traces, weights):
        room.commands(rooms)
    return parser


def _told(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):  # the name of a journal or a run, or what the environment says
        return f"{error.object!r:.200} is not UTF-8. Rename it, or write it in UTF-8."
    return str(error)


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """A letter that the output's encoding lacks, as JSON writes it, so that JSON stays JSON and people see which."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


codecs.register_error(_ESCAPED, _escaped)

__all__ = ["main"]
