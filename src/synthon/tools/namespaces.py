"""A sandbox of the kernel's: full CPython in namespaces of its own, by bubblewrap."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from synthon.core.errors import MissingExtra, UserError
from synthon.tools._filter import seccomp
from synthon.tools.contents import cut
from synthon.tools.sandboxes import OUTPUT_BYTES, VALUE_BYTES, Ran, contents_of, plain

_FLOOD_BYTES = OUTPUT_BYTES + VALUE_BYTES
_CONFINED = Path(__file__).with_name("_confined.py")


@dataclass(frozen=True)
class bubblewrap:  # noqa: N801 - users call it as a function
    """Runs this interpreter's CPython with its standard library, cut off by Linux namespaces and a seccomp filter.

    It sees `/usr` and the interpreter's own folder, read only, and a working folder in memory; no network, no /proc,
    no environment, no other process, and it may start threads but no process. Needs the Debian package `bubblewrap`
    and user namespaces; a run takes as long as an interpreter to start.

    Attributes:
        memory_mb: of its address space, and again of its files.
    """

    memory_mb: int = 512

    @property
    def name(self) -> str:
        """What people call it."""
        return "bubblewrap"

    async def run(
        self,
        code: str,
        *,
        inputs: Mapping[str, object] | None = None,
        files: Mapping[str, str | bytes] | None = None,
        timeout_s: float = 10.0,
    ) -> Ran:
        """See `Sandbox`."""
        mark = f"\0{secrets.token_hex(16)}\0"
        job = {
            "mark": mark,
            "code": code,
            "inputs": {name: plain(value) for name, value in (inputs or {}).items()},
            "files": {name: base64.b64encode(content).decode() for name, content in contents_of(files).items()},
            "limits": self._limits(timeout_s),
        }
        said, status = await _output(self._command(), json.dumps(job).encode(), timeout_s)
        before, *parts = said.decode(errors="replace").split(mark)
        if status is not None and not parts:
            msg = (
                f"bubblewrap could not build a sandbox on this machine: {before.strip()[:500]!r}. It needs user "
                "namespaces (sysctl kernel.unprivileged_userns_clone=1, or user.max_user_namespaces above 0). "
                "Use sy.monty() where they are not allowed."
            )
            raise UserError(msg)
        stdout = cut("".join(parts[:1]), OUTPUT_BYTES)
        if status is None and len(said) > _FLOOD_BYTES:
            return Ran(None, stdout, f"Stopped, since it wrote more than {_FLOOD_BYTES:,} bytes.")
        if status is None:
            return Ran(None, stdout, f"Stopped after {timeout_s:g} s.", timed_out=True)
        return _reported(stdout, parts[1:], status)

    def _limits(self, timeout_s: float) -> dict[str, int]:
        memory = self.memory_mb << 20
        cpu = math.ceil(timeout_s) + 1
        return {
            "RLIMIT_AS": memory,
            "RLIMIT_FSIZE": memory,
            "RLIMIT_CPU": cpu,
            "RLIMIT_NOFILE": 64,
            "RLIMIT_NPROC": 64,
            "RLIMIT_CORE": 0,
        }

    def _command(self) -> list[str]:
        found = shutil.which("bwrap")
        if found is None:
            msg = "sy.bubblewrap() needs the program 'bwrap'. Run: sudo apt-get install -y bubblewrap"
            raise MissingExtra(msg)
        python = Path(sys.executable).resolve()
        prefix = Path(sys.base_prefix).resolve()
        command = [found, "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
        command += ["--uid", "65534", "--gid", "65534", "--hostname", "sandbox"]
        for folder in ("/lib", "/lib64", "/bin"):
            if Path(folder).is_symlink():
                command += ["--symlink", str(Path(folder).readlink()), folder]
            elif Path(folder).is_dir():
                command += ["--ro-bind", folder, folder]
        for folder in ["/usr", *([] if prefix.is_relative_to("/usr") else [str(prefix)])]:
            command += ["--ro-bind", folder, folder]
        command += ["--dev", "/dev", "--remount-ro", "/dev", "--size", str(self.memory_mb << 20), "--tmpfs", "/tmp"]  # noqa: S108 - the sandbox's own
        command += ["--remount-ro", "/", "--chdir", "/tmp"]  # noqa: S108 - same
        return [*command, "--", str(python), "-I", "-S", "-B", "-X", "utf8", "-c", _CONFINED.read_text("utf-8")]


async def _output(command: list[str], job: bytes, timeout_s: float) -> tuple[bytes, int | None]:
    """What a process wrote to its end, and its status; None where it was killed for its time or its flood of words."""
    filter_, full = os.pipe()
    os.write(full, seccomp())
    os.close(full)
    at = command.index("--")
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *command[:at],
            "--seccomp",
            str(filter_),
            *command[at:],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={},  # a process shows its first environment in /proc whatever it unsets
            cwd="/",
            pass_fds=(filter_,),
            start_new_session=True,
        )
    )
    said = bytearray()
    try:
        process = await asyncio.shield(starting)
        async with asyncio.timeout(timeout_s):
            given = cast("asyncio.StreamWriter", process.stdin)
            told = cast("asyncio.StreamReader", process.stdout)
            with suppress(ConnectionError):
                given.write(job)
                await given.drain()
                given.close()
            while piece := await told.read(1 << 16):
                said += piece
                if len(said) > _FLOOD_BYTES:
                    return bytes(said), None
            return bytes(said), await process.wait()
    except TimeoutError:
        return bytes(said), None
    finally:
        await asyncio.shield(_ended(starting, filter_))


async def _ended(starting: asyncio.Task[asyncio.subprocess.Process], filter_: int) -> None:
    """Kill bwrap and what it started, also where it was cancelled as it started.

    Its child asks to die with bwrap only after a moment of its own: bwrap killed before that leaves it behind, waiting
    for ever with the pipe in its hand. So bwrap is stopped (then it starts nothing more) and its children die first.
    """
    try:
        process = await starting
    finally:
        os.close(filter_)
    if process.returncode is None:
        with suppress(ProcessLookupError):  # it ended, and the loop has not heard of it
            os.kill(process.pid, signal.SIGSTOP)
            while _stat(process.pid)[0] not in "TtZX":  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(0.001)
            for child in _children(process.pid):
                os.kill(child, signal.SIGKILL)  # the first of its namespace: the kernel kills the rest with it
            os.kill(process.pid, signal.SIGKILL)
    await process.communicate()


def _stat(pid: int) -> tuple[str, int]:
    """The state (a letter) and the parent of a process; raises ProcessLookupError where there is none."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[:2]
    except FileNotFoundError as error:
        raise ProcessLookupError(pid) from error
    return state, int(parent)


def _children(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):
            found += [int(folder.name)] if _stat(int(folder.name))[1] == pid else []
    return found


def _reported(stdout: str, report: list[str], status: int) -> Ran:
    """The report after the second mark; code that ends its process gives none, or a forged one."""
    with suppress(ValueError, RecursionError, LookupError):
        found = json.loads(report[0])
        if isinstance(found, dict):
            return Ran(plain(found.get("value")), stdout, str(found.get("error", "")))
    return Ran(None, stdout, f"The code ended its process (status {status}).")
