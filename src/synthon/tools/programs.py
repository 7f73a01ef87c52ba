"""Code in a sandbox as a tool."""

from __future__ import annotations

from dataclasses import replace

from synthon.core.identity import fingerprint
from synthon.tools.function import FunctionTool, tool
from synthon.tools.interpreters import monty
from synthon.tools.sandboxes import Sandbox

_DEFAULT = monty()


def python(sandbox: Sandbox = _DEFAULT, *, timeout_s: float = 10.0) -> FunctionTool[[str], str]:
    """A tool that runs Python in a sandbox and tells what it printed and the value of its last expression.

    Each call starts from nothing: what one call defines the next does not know. Of calls in runs that share rows the
    sandbox's `repr` and the time are part.
    """

    async def run(code: str) -> str:
        ran = await sandbox.run(code, timeout_s=timeout_s)
        if ran.error:
            raise RuntimeError(f"{ran.stdout}\n{ran.error}".strip())
        value = "" if ran.value is None else f"{ran.value}"
        return f"{ran.stdout}{value}" or "It ran and printed nothing. Print what you want to know."

    words = (
        f"Run Python code ({sandbox.name}: no network, no files of this machine, {timeout_s:g} s). Print what you want "
        "to know, or end with an expression. Every call starts from nothing."
    )
    made = tool(name="python", description=words, effects={"exec"}, timeout_s=3 * timeout_s + 5)(run)
    return replace(made, identity=fingerprint(f"{sandbox!r} {timeout_s}"))
