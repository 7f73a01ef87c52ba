"""Programs over a journaled model in processes of their own, to be killed."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

NURSERY = """
import importlib, json, os, sys
import apsw, asyncio, synthon as sy
for name in sys.argv[1:]:
    importlib.import_module(name)
from synthon.journal import SQLiteJournal
from synthon.core.identity import dump_completion
dump_completion(sy.Completion())
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        out = os.open(job["out"], os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(out, 1)
        os.dup2(out, 2)
        sys.argv = job["argv"]
        exec(compile(job["program"], "child", "exec"), {"__name__": "__main__"})
        sys.stdout.flush()
        raise SystemExit
    print(os.waitpid(child, 0)[1], flush=True)
"""

PROVIDER = """
import apsw, asyncio, json, os, sys, synthon as sy
from pathlib import Path

folder, kill_at, dawdle_s = Path(sys.argv[0]), int(sys.argv[1]), float(sys.argv[2])
asked = answered = 0
tasks = []

def die():
    os.kill(os.getpid(), 9)

def kept():
    try:
        return apsw.Connection(str(folder / "journal.db"), flags=apsw.SQLITE_OPEN_READONLY).execute(
            "SELECT count(*) FROM calls").get
    except apsw.Error:
        return 0  # not made yet

async def die_when_kept(rows):
    for _ in range(600):
        await asyncio.sleep(0.05)
        if kept() >= rows:
            die()  # nobody waited for the disk: the writer has written by itself what was answered

async def provider(request):
    global asked, answered
    asked += 1
    fd = os.open(folder / "calls", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(fd, (request.messages[-1].text + "\\n").encode())
    os.close(fd)
    if asked == kill_at:
        die()  # the provider was asked, its answer never came
    if asked == -kill_at and dawdle_s:
        tasks.append(asyncio.create_task(die_when_kept(answered)))
    await asyncio.sleep(60 if dawdle_s and 0 < -kill_at <= asked else dawdle_s)
    answered += 1
    if answered + 100 == kill_at:
        asyncio.get_running_loop().call_soon(die)  # somewhere behind the answer
    return f"{len(request.messages[-1].text)} {request.sample}"

model = sy.Journaled(sy.FunctionModel(provider, identity="provider"))
journal = sy.SQLiteJournal(folder / "journal.db")
"""


def forked() -> int:
    """A fork whose child is not traced: if another thread holds the tracer's lock just then, nobody frees it there."""
    trace = sys.gettrace()
    sys.settrace(None)
    child = os.fork()
    if child:
        sys.settrace(trace)
    else:
        threading.settrace(None)  # nor are its new threads
    return child


class Nursery:
    """Runs programs over `model` and `journal` in processes of their own, forked from one with `modules` imported."""

    def __init__(self, *modules: str) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_"))}
        clean["OPENBLAS_NUM_THREADS"] = "1"  # threads for small matrices wait for each other where cores are busy
        command = [sys.executable, "-c", NURSERY, *modules]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=clean, bufsize=1
        )

    def run(self, folder: Path, program: str, kill_at: int = 0, dawdle_s: float = 0.001, *more: object) -> str:
        """What the program printed; it was killed exactly when it was to be killed at some call it made."""
        out = folder / "out"
        argv = [str(folder), str(kill_at), str(dawdle_s), *map(str, more)]
        job = {"program": PROVIDER + textwrap.dedent(program), "argv": argv, "out": str(out)}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        status = int(self.process.stdout.readline())
        printed = out.read_text()
        assert status in {0, signal.SIGKILL}, printed
        self.killed = status == signal.SIGKILL
        return printed

    def close(self) -> None:
        """Let it end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
