"""The sandboxes that the tests run code in."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from synthon.tools import Sandbox, bubblewrap, monty

SANDBOXES = ("monty", "bubblewrap")


def sandbox_of(name: str) -> Sandbox:
    """One by name; bubblewrap where this machine lets it work."""
    if name == "monty":
        return monty()
    program = shutil.which("bwrap")
    assert program, "the program bwrap is missing; scripts/check installs it"
    tried = subprocess.run([program, "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"this machine allows no user namespaces: {tried.stderr.decode().strip()}")
    return bubblewrap()
