"""A sandbox that is an interpreter of its own: Pydantic's Monty, which has no door to the machine at all."""

from __future__ import annotations

import asyncio
import importlib
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from synthon.core.errors import MissingExtra, UserError
from synthon.core.identity import to_json
from synthon.tools.contents import cut
from synthon.tools.sandboxes import OUTPUT_BYTES, VALUE_BYTES, Ran, contents_of, plain

_ERROR_CHARS = 4_000


@dataclass(frozen=True)
class monty:  # noqa: N801 - users call it as a function
    """Runs a subset of Python in Monty, an interpreter in Rust without files, network, processes or imports of C code.

    Of the standard library it knows a part (json, re, math, datetime, collections, random, ...). Each run is a process
    of its own that starts in some 10 ms; the working folder `/tmp` is kept in memory.

    Attributes:
        memory_mb: of its heap, and again of its files.
    """

    memory_mb: int = 128

    @property
    def name(self) -> str:
        """What people call it."""
        return "monty"

    async def run(
        self,
        code: str,
        *,
        inputs: Mapping[str, object] | None = None,
        files: Mapping[str, str | bytes] | None = None,
        timeout_s: float = 10.0,
    ) -> Ran:
        """See `Sandbox`. Sleeping counts apart, so a run may take twice its time; cancelled, it goes on to its end."""
        if timeout_s < 0:
            raise UserError(f"sy.monty() cannot run code for timeout_s={timeout_s!r}. Pass 0 or more seconds.")
        found = contents_of(files), {name: plain(value) for name, value in (inputs or {}).items()}
        return await asyncio.to_thread(self._run, _library(), code, *found, timeout_s)

    def _run(
        self, library: Any, code: str, files: Mapping[str, bytes], inputs: Mapping[str, object], timeout_s: float
    ) -> Ran:
        printed: list[str] = []
        length = [0]

        def take(_stream: str, text: str) -> None:
            if length[0] < OUTPUT_BYTES:
                printed.append(text)
            length[0] += len(text.encode(errors="replace"))

        memory = self.memory_mb << 20
        limits = {"max_feed_duration_secs": timeout_s, "max_total_sleep_secs": timeout_s, "max_memory": memory}
        with tempfile.TemporaryDirectory(prefix="synthon-") as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            # not AsyncMonty: in 1.4.0 an interpreter that ends soon after a failed run aborts
            with (
                library.MountDir(host_path=folder, virtual_path="/tmp", memory_usage_limit=memory) as mount,  # noqa: S108 - the sandbox's own
                library.Monty(max_processes=1) as pool,
                pool.checkout(limits=limits) as session,
            ):
                try:
                    value = session.feed_run(code, inputs=dict(inputs), print_callback=take, mount=mount)
                    error = None
                except library.MontyError as failed:
                    value, error = None, failed
        said = "" if error is None else str(error)
        timed_out = getattr(error, "timed_out", False) or said.startswith("TimeoutError: ")
        stdout, text, said = cut("".join(printed), OUTPUT_BYTES, of=length[0]), to_json(value), said[-_ERROR_CHARS:]
        if len(text) > VALUE_BYTES:
            return Ran(None, stdout, f"The value of the code is longer than {VALUE_BYTES:,} bytes.")
        try:
            return Ran(json.loads(text), stdout, said, timed_out)
        except ValueError as unreadable:  # a number of more digits than this Python reads
            return Ran(None, stdout, f"The value of the code cannot be told: {unreadable}")


def _library() -> Any:
    try:
        return importlib.import_module("pydantic_monty")
    except ImportError as error:
        msg = "sy.monty() needs 'pydantic_monty', which is not installed. Run: pip install 'synthon[sandbox]'"
        raise MissingExtra(msg) from error
