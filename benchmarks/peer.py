"""Environments for the packages we are compared with: one each, made when first needed, so that none changes ours.

    answer = ask("bm25s", "bm25s_ranking.py", {"texts": texts, "queries": queries, "k": 10})

`benchmarks/peers/<name>.txt` pins the packages; the environment is `benchmarks/peers/.venv-<name>` and is made anew
when the pins change. Pins that begin with `# no dependencies` are all that is installed. A script there reads one JSON
object from stdin and writes one to stdout.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_PEERS = Path(__file__).with_name("peers")


def python(name: str) -> Path:
    """The interpreter of a peer's environment.

    Raises:
        subprocess.CalledProcessError: its packages could not be installed.
    """
    pins, folder = _PEERS / f"{name}.txt", _PEERS / f".venv-{name}"
    interpreter, stamp = folder / "bin" / "python", folder / "pins.txt"
    if not stamp.exists() or stamp.read_text() != pins.read_text():
        shutil.rmtree(folder, ignore_errors=True)
        print(f"installing {name} into {folder.name} (once)", file=sys.stderr)
        venv.create(folder, with_pip=True)
        alone = ["--no-deps"] if pins.read_text().startswith("# no dependencies") else []
        subprocess.run([str(interpreter), "-m", "pip", "install", "-q", *alone, "-r", str(pins)], check=True)
        shutil.copy(pins, stamp)
    return interpreter


def pins(name: str) -> str:
    """What a peer's environment is made of; part of the identity of what it answered."""
    return (_PEERS / f"{name}.txt").read_text(encoding="utf-8").strip()


def ask(name: str, script: str, question: Mapping[str, object]) -> dict[str, object]:
    """What a peer's script answers.

    Raises:
        subprocess.CalledProcessError: the script failed; its own message is on stderr.
    """
    command = [str(python(name)), str(_PEERS / script)]
    done = subprocess.run(command, input=json.dumps(question).encode(), stdout=subprocess.PIPE, check=True)
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


__all__ = ["ask", "pins", "python"]
