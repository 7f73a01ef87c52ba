"""Parse risky formats (PDF, Word, HTML) in a process of their own, with limits on time, memory and growth."""

from __future__ import annotations

import json
import os
import selectors
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthon.core.errors import MissingExtra, SynthonError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import IO, Self

#: Seconds one file may take before its process is killed.
PARSE_S = 30.0
_CLOSING_S = 0.02

_WORKER = Path(__file__).with_name("_worker.py")


class ParseError(SynthonError):
    """A file holds nothing that can be indexed; the message continues a sentence that starts with its name."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """The text a format's parser found, as Markdown where it keeps structure, and the document's title."""

    text: str
    title: str


class Parser:
    """One worker process, started when first needed, replaced when it dies or takes too long.

    The worker reads nothing but the bytes it is given and writes nothing but its answer; its memory is limited by the
    system, its expansion of archives by itself (`_worker.py`).
    """

    def __init__(self, *, parse_s: float = PARSE_S) -> None:
        self._parse_s = parse_s
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed = True
        while not self._lock.acquire(timeout=_CLOSING_S):  # a thread may be parsing, for `parse_s` if it was let
            if (process := self._process) is not None:
                process.kill()
        try:
            self._stop()
        finally:
            self._lock.release()

    def parse(self, data: bytes, suffix: str) -> Parsed:
        """The document's text.

        Raises:
            ParseError: the parser failed, was too slow, outgrew its memory, or is closed.
            MissingExtra: the format's library is not installed.
        """
        with self._lock:
            answer = self._ask(data, suffix)
        if "missing" in answer:
            msg = (
                f"Reading {suffix} files needs {answer['missing']!r}, which is not installed. "
                "Run: pip install 'synthon[documents]'"
            )
            raise MissingExtra(msg)
        if "error" in answer:
            raise ParseError(answer["error"])
        return Parsed(answer["text"], answer["title"])

    def _ask(self, data: bytes, suffix: str) -> dict[str, str]:
        if self._closed:
            msg = "was not parsed, as the parser is closed."
            raise ParseError(msg)
        process = self._process = self._process or _start()
        deadline = time.monotonic() + self._parse_s
        head = suffix.encode()
        message = struct.pack("<BQ", len(head), len(data)) + head + data
        try:
            return _exchange(process, message, deadline)
        except (OSError, EOFError):
            self._stop()
            if time.monotonic() >= deadline:
                msg = (
                    f"took the parser longer than {self._parse_s:g} s. It may be built to do so; remove or convert it."
                )
            else:
                msg = "ended its parser (out of memory, or a crash). It may be built to do so; remove or convert it."
            raise ParseError(msg) from None
        except BaseException:
            self._stop()  # an answer that nobody reads must not become the next file's
            raise

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def _start() -> subprocess.Popen[bytes]:
    # by path and isolated: the worker imports nothing of ours, so it starts in milliseconds
    command = [sys.executable, "-I", str(_WORKER), *sys.path]
    process = subprocess.Popen(  # noqa: S603  # our own file
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    )
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            os.set_blocking(pipe.fileno(), False)
    return process


def _exchange(process: subprocess.Popen[bytes], message: bytes, deadline: float) -> dict[str, str]:
    """Write the question, read the answer: length, then JSON."""
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise EOFError
    view = memoryview(message)
    while view:
        _wait(stdin, selectors.EVENT_WRITE, deadline)
        view = view[os.write(stdin.fileno(), view[:65_536]) :]
    size = struct.unpack("<Q", _receive(stdout, 8, deadline))[0]
    answer: dict[str, str] = json.loads(_receive(stdout, size, deadline))
    return answer


def _receive(pipe: IO[bytes], size: int, deadline: float) -> bytes:
    found = bytearray()
    while len(found) < size:
        _wait(pipe, selectors.EVENT_READ, deadline)
        piece = os.read(pipe.fileno(), min(size - len(found), 1 << 20))
        if not piece:
            raise EOFError
        found += piece
    return bytes(found)


def _wait(pipe: IO[bytes], event: int, deadline: float) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, event)
        if not selector.select(max(0.0, deadline - time.monotonic())):
            raise TimeoutError


__all__ = ["PARSE_S", "ParseError", "Parsed", "Parser"]
