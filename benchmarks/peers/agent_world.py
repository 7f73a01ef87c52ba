"""What the agents of benchmarks/durability.py have in common: a model, a receiver, points to be killed at, their lives.

An agent's script calls `serve(live)`. The process has then imported all it needs; for each job, one JSON object a line
on stdin, it forks a child that runs `live` and may be killed in it, and answers with the child's wait status, its CPU
and wall seconds. What `live` returned is in the file `out` of the job's folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

CALLS, ACTS_AFTER = 14, (1, 3, 6, 8, 10, 13)  # of one lap: calls of the model, and those that an act follows
TOO_LONG_S = 120


class World:
    """Where an agent lives. Its folder outlives it: `calls` holds what the model answered, `sent` what was received."""

    folder: Path
    laps: int
    honours_key: bool
    settles: bool
    kill_at: int
    wait_s: float
    points: int

    def begin(self, job: dict[str, object]) -> None:
        """Start a life."""
        self.folder, self.laps = Path(str(job["folder"])), int(str(job["laps"]))
        self.honours_key, self.settles = bool(job["honours_key"]), bool(job["settles"])
        self.kill_at, self.wait_s, self.points = int(str(job["kill_at"])), float(str(job["wait_s"])), 0

    def acts_after(self, number: int) -> bool:
        """Whether the agent acts on the world after this call."""
        return number % CALLS in ACTS_AFTER

    def model(self, text: str) -> str:
        """The answer, which hangs on all of the question."""
        self._append("calls", text)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def send(self, what: str, key: str) -> str:
        """Reach the receiver; this is the inside of an act."""
        self.point()
        self._append("sent", [what, key])
        self.point()
        return f"ok {what}"

    def sent(self, what: str) -> bool:
        """Whether the receiver was reached, as a person would find out."""
        path = self.folder / "sent"
        return path.exists() and any(json.loads(line)[0] == what for line in path.read_text().splitlines())

    def point(self) -> None:
        """Die here, if this is the point to die at. Other threads go on for `wait_s`, this one does not."""
        self.points += 1
        if self.points == self.kill_at:
            time.sleep(self.wait_s)
            os.kill(os.getpid(), signal.SIGKILL)

    def _append(self, name: str, row: object) -> None:
        """One write of the kernel's, at once: a kill cannot take it back."""
        file = os.open(self.folder / name, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        os.write(file, (json.dumps(row) + "\n").encode())
        os.close(file)


world = World()


def serve(live: Callable[[], object]) -> None:
    """Fork a child for each job and say how it ended."""
    for line in sys.stdin:
        job = json.loads(line)
        start = time.perf_counter()
        child = os.fork()
        if child == 0:
            signal.alarm(TOO_LONG_S)
            os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
            world.begin(job)
            (world.folder / "out").write_text(json.dumps(live()))
            os._exit(0)  # what an interpreter does at its end is nobody's durability
        _, status, used = os.wait4(child, 0)
        wall_s = time.perf_counter() - start
        print(json.dumps({"status": status, "cpu_s": used.ru_utime + used.ru_stime, "wall_s": wall_s}), flush=True)
