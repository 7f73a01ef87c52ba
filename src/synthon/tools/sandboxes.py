"""What runs code that nobody read, and what it says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from synthon.core.errors import UserError
from synthon.core.identity import to_json
from synthon.core.values import JSON

OUTPUT_BYTES = 100_000
VALUE_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a piece of code.

    Attributes:
        value: of its last expression as JSON; what has no JSON form by its `repr`.
        stdout: what it printed, cut at a limit.
        error: the exception it ended with, empty where it ended well.
        timed_out: whether it was stopped for its time.
    """

    value: JSON = None
    stdout: str = ""
    error: str = ""
    timed_out: bool = False


class Sandbox(Protocol):
    """Runs Python apart: no network, no file of this machine, no process of its own, limits on time and memory."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    async def run(
        self,
        code: str,
        *,
        inputs: Mapping[str, object] | None = None,
        files: Mapping[str, str | bytes] | None = None,
        timeout_s: float = 10.0,
    ) -> Ran:
        """Run code from nothing to its end; nothing of it stays.

        Args:
            code: statements; the value of a last expression is the value of all.
            inputs: names it finds bound, values as JSON.
            files: what its working folder holds, by plain file name.
            timeout_s: after which it is stopped.

        Raises:
            UserError: the sandbox cannot be built on this machine, or a name is no file name.
        """
        ...


def plain(value: object) -> JSON:
    """A value as JSON."""
    found: JSON = json.loads(to_json(value))
    return found


def contents_of(files: Mapping[str, str | bytes] | None) -> dict[str, bytes]:
    """Files as bytes.

    Raises:
        UserError: a name that is none, or leads elsewhere.
    """
    for name in files or {}:
        if not name or name in {".", ".."} or "/" in name or "\0" in name:
            msg = f"A sandbox cannot hold the file {name!r}: pass plain file names without folders."
            raise UserError(msg)
    return {name: text.encode() if isinstance(text, str) else text for name, text in (files or {}).items()}
