"""Attempts to get out of both sandboxes; what counts is what happened on this machine, not what an error says."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.tools.confining import SANDBOXES, sandbox_of

if TYPE_CHECKING:
    from collections.abc import Iterator

ESCAPED = "ESCAPED"
LONGEST_S = 1.5  # of an endless attempt
WATCHED = ("/tmp", "/var/tmp", "/dev/shm", "/usr", "/")  # noqa: S108 - looked at only


@dataclass(frozen=True)
class Machine:
    """What there is to be stolen, broken or left behind."""

    secret: str
    mark: str
    outside: Path
    bystander: subprocess.Popen[bytes]
    server: socket.socket

    @property
    def names(self) -> dict[str, object]:
        """What an attacker may know of it."""
        return {
            "OUTSIDE": str(self.outside),
            "MARK": self.mark,
            "PORT": self.server.getsockname()[1],
            "HOST_PID": os.getpid(),
            "BYSTANDER": self.bystander.pid,
        }

    def is_unharmed(self) -> None:
        """Nobody called, nobody was killed, nothing was written, nobody is left."""
        with suppress(BlockingIOError):
            self.server.accept()[0].close()
            pytest.fail("somebody called")
        assert self.bystander.poll() is None
        assert sorted(path.name for path in self.outside.iterdir()) == ["secret.txt"]
        assert (self.outside / "secret.txt").read_text(encoding="utf-8") == self.secret
        assert not [str(path) for folder in WATCHED for path in Path(folder).glob(f"{self.mark}*")]
        deadline = time.monotonic() + 5  # the kernel takes a moment to bury a namespace
        while left := sorted(survivors() - {self.bystander.pid}):
            assert time.monotonic() < deadline, f"still running: {left}"
            time.sleep(0.02)


def survivors() -> set[int]:
    """Processes below this one, and sandboxes that have lost their parent."""
    parents: dict[int, int] = {}
    found = set[int]()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        parents[int(folder.name)] = int(fields[1])
        if fields[1] == "1" and b"--hostname\0sandbox\0" in command:
            found.add(int(folder.name))
    below = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return found | below - {os.getpid()}


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    secret = secrets.token_hex(16)
    monkeypatch.setenv("HOST_SECRET", secret)
    (tmp_path / "secret.txt").write_text(secret, encoding="utf-8")
    bystander = subprocess.Popen(["sleep", "600"], env={"BYSTANDER_SECRET": secret})
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield Machine(secret, f"mark-{secrets.token_hex(8)}", tmp_path, bystander, server)
    bystander.kill()
    bystander.wait()


ATTEMPTS = {
    "open a file": "open(OUTSIDE + '/secret.txt').read()",
    "open by pathlib": "import pathlib\npathlib.Path(OUTSIDE, 'secret.txt').read_text()",
    "list a folder": "import os\nos.listdir(OUTSIDE) and 'ESCAPED'",
    "climb": "open('../' * 20 + OUTSIDE + '/secret.txt').read()",
    "climb from the working folder": "open('/tmp/../' + OUTSIDE + '/secret.txt').read()",
    "users": "open('/etc/passwd').read() and 'ESCAPED'",
    "home": "import os\n'ESCAPED' if os.path.exists('/root/.bashrc') else os.listdir('/home')",
    "symlink": "import os\nos.symlink(OUTSIDE + '/secret.txt', 'link')\nopen('link').read()",
    "folder symlink": "import os\nos.symlink(OUTSIDE, 'dir')\nopen('dir/' + MARK, 'w').write('x')\n'ESCAPED'",
    "hard link": "import os\nos.link(OUTSIDE + '/secret.txt', 'link')\nopen('link').read()",
    "write outside": "open(OUTSIDE + '/' + MARK, 'w').write('x')\n'ESCAPED'",
    "write to a shared folder": (
        "for folder in ('/', '/var/tmp', '/dev/shm', '/usr', '/dev', '/usr/local/lib'):\n"
        "    try:\n        open(folder + '/' + MARK, 'w').write('x')\n"
        "    except OSError: pass\n    else: raise SystemExit('ESCAPED')\n"
    ),
    "write where it may": "open('/tmp/' + MARK, 'w').write('x')",
    "delete": "import os\nos.unlink(OUTSIDE + '/secret.txt')\n'ESCAPED'",
    "devices": (
        "for name in ('mem', 'kmsg', 'sda', 'vda', 'kvm', 'fuse'):\n"
        "    try:\n        open('/dev/' + name, 'rb').read(1)\n"
        "    except OSError: pass\n    else: raise SystemExit('ESCAPED')\n"
    ),
    "own environment": "import os\nstr(dict(os.environ))",
    "own environment by name": "import os\nos.getenv('HOST_SECRET')",
    "environment of all in /proc": (
        "import os\nfound = b''\nfor pid in (*range(1, 64), HOST_PID, BYSTANDER, 'self'):\n"
        "    try:\n        found += open(f'/proc/{pid}/environ', 'rb').read()\n"
        "    except OSError: pass\nstr(found)"
    ),
    "memory of all in /proc": "open(f'/proc/{HOST_PID}/mem', 'rb').read(8) and 'ESCAPED'",
    "root of another in /proc": "open(f'/proc/{BYSTANDER}/root' + OUTSIDE + '/secret.txt').read()",
    "/sys": "import os\nos.listdir('/sys') and 'ESCAPED'",
    "inherited files": (
        "import os\nfound = []\nfor number in range(3, 256):\n"
        "    try:\n        os.fstat(number)\n        found.append(number)\n    except OSError: pass\n"
        "'ESCAPED' if found else None"
    ),
    "a process": "import subprocess\nsubprocess.run(['touch', OUTSIDE + '/' + MARK], check=True)\n'ESCAPED'",
    "a shell": "import os\n'ESCAPED' if os.system('touch ' + OUTSIDE + '/' + MARK) == 0 else None",
    "a shell by spawn": "import os\nos.posix_spawn('/usr/bin/touch', ['touch', MARK], {})\n'ESCAPED'",
    "another program in its place": "import os\nos.execv('/usr/bin/touch', ['touch', OUTSIDE + '/' + MARK])",
    "processes by multiprocessing": (
        "import multiprocessing\nmultiprocessing.get_context('fork').Process(target=print).start()\n'ESCAPED'"
    ),
    "fork": "import os\nos.fork()\n'ESCAPED'",
    "fork bomb": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "a daemon": "import os\nif os.fork() == 0:\n    os.setsid()\n    while True: pass\n'ESCAPED'",
    "fork by ctypes": "import ctypes\n'ESCAPED' if ctypes.CDLL(None).fork() >= 0 else None",
    "a shell by ctypes": "import ctypes\n'ESCAPED' if ctypes.CDLL(None).system(b'true') == 0 else None",
    "clone by number": "import ctypes\n'ESCAPED' if ctypes.CDLL(None).syscall(56, 17, 0, 0, 0, 0) >= 0 else None",
    "another set of numbers": "import ctypes\nctypes.CDLL(None).syscall(0x40000000 + 57)\n'ESCAPED'",
    "namespaces": "import ctypes\n'ESCAPED' if ctypes.CDLL(None).unshare(0x10000000) == 0 else None",
    "remount": "import ctypes\n'ESCAPED' if ctypes.CDLL(None).mount(b'', b'/', b'', 4128, b'') == 0 else None",
    "trace": "import ctypes\n'ESCAPED' if ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0 else None",
    "keys of the kernel": "import ctypes\n'ESCAPED' if ctypes.CDLL(None).syscall(250, 0, -3, 1) >= 0 else None",
    "rings of the kernel": "import ctypes\n'ESCAPED' if ctypes.CDLL(None).syscall(425, 1, bytes(120)) >= 0 else None",
    "become root": "import os\nos.setuid(0)\n'ESCAPED'",
    "raise the limits": "import resource\nresource.setrlimit(resource.RLIMIT_AS, (1 << 40, 1 << 40))\n'ESCAPED'",
    "write code": "import ctypes, mmap\nctypes.string_at(0)",
    "subclasses": (
        "for kind in ().__class__.__base__.__subclasses__():\n"
        "    if kind.__name__ == '_wrap_close':\n"
        "        raise SystemExit('ESCAPED' if kind.__init__.__globals__['system']('touch ' + MARK) == 0 else '')\n"
    ),
    "builtins by a function": "print.__self__.__import__('os').system('true') == 0 and 'ESCAPED'",
    "builtins by name": "__builtins__['__import__']('os').system('true') == 0 and 'ESCAPED'",
    "frames": (
        "import sys\nframe, found = sys._getframe(), ''\nwhile frame:\n"
        "    found += repr(frame.f_globals) + repr(frame.f_locals)\n    frame = frame.f_back\nfound"
    ),
    "all objects": "import gc\nrepr([value for value in gc.get_objects() if isinstance(value, dict)])[:500000]",
    "format": "'{0.__class__.__init__.__globals__}'.format(print) and 'ESCAPED'",
    "connect": "import socket\nsocket.create_connection(('127.0.0.1', PORT), 1)\n'ESCAPED'",
    "connect by number": ("import ctypes\n'ESCAPED' if ctypes.CDLL(None).socket(2, 1, 0) >= 0 else None"),
    "connect by asyncio": "import asyncio\nasyncio.run(asyncio.open_connection('127.0.0.1', PORT))\n'ESCAPED'",
    "fetch": "import urllib.request\nurllib.request.urlopen(f'http://127.0.0.1:{PORT}/', timeout=1)\n'ESCAPED'",
    "look a name up": "import socket\nsocket.gethostbyname('localhost') and socket.socket() and 'ESCAPED'",
    "local socket": "import socket\nsocket.socket(socket.AF_UNIX).connect('\\0x')\n'ESCAPED'",
    "packets": "import socket\nsocket.socket(17, 3)\n'ESCAPED'",
    "kill the host": "import os\nos.kill(HOST_PID, 9)\n'ESCAPED'",
    "kill a bystander": "import os\nos.kill(BYSTANDER, 9)\n'ESCAPED'",
    "kill the parent": "import os\nos.kill(os.getppid(), 9)",
    "kill all": "import os\nos.kill(-1, 9)",
    "kill its group": "import os\nos.killpg(0, 9)",
    "end at once": "import os\nos._exit(0)",
    "read the job": "open(0).read() and 'ESCAPED'",
}

ENDLESS = {
    "loop": "while True: pass",
    "loop that catches all": "while True:\n    try:\n        while True: pass\n    except BaseException: pass",
    "loop that ignores signals": (
        "import signal\nfor number in (1, 2, 14, 15, 24):\n    signal.signal(number, signal.SIG_IGN)\nwhile True: pass"
    ),
    "sleep": "import time\ntime.sleep(3600)",
    "a pattern": "import re\nre.match(r'(a+)+$', 'a' * 64 + 'b')\nre.match(r'(a|aa)+$', 'a' * 64 + 'b')",
    "a thread that never ends": (
        "import threading, time\nthreading.Thread(target=time.sleep, args=(3600,)).start()\nprint('started')"
    ),
    "threads": (
        "import threading, time\nthreading.stack_size(32768)\nwhile True:\n"
        "    try: threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()\n"
        "    except (RuntimeError, MemoryError): pass"
    ),
    "output": "while True: print('x' * 1000)",
    "output to standard error": "import sys\nwhile True: print('x' * 1000, file=sys.stderr)",
    "one long output": "print('x' * 30_000_000)",
    "raw output": "import os\nwhile True: os.write(1, b'x' * 65536)",
    "bytes": "b'x' * (1 << 33)",
    "a list": "[0] * 10**10",
    "a growing list": "found = []\nwhile True: found.append('x' * 100_000)",
    "a growing text": "found = 'x'\nwhile True: found += found",
    "a number": "10 ** 10 ** 10",
    "a generator": "sum(1 for _ in range(10**15))",
    "recursion": "def f(n):\n    return f(n + 1) + f(n + 2)\nf(0)",
    "deep data": "found = []\nfor _ in range(200_000): found = [found]\nfound",
    "a long value": "'x' * 30_000_000",
    "a big file": ("with open('big', 'wb') as file:\n    while True: file.write(b'x' * 1_000_000)"),
    "many files": ("number = 0\nwhile True:\n    open(f'{number}', 'wb').write(b'x' * 1_000_000)\n    number += 1"),
    "memory in a file": ("import os\nfile = os.memfd_create('x')\nwhile True: os.write(file, b'x' * 1_000_000)"),
    "shared memory": (
        "import ctypes\nlibc = ctypes.CDLL(None)\nwhile True:\n"
        "    if libc.shmget(0, 1 << 20, 0o1600) < 0: raise OSError('no')"
    ),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
@pytest.mark.parametrize("name", SANDBOXES)
async def test_nothing_gets_out(name: str, attempt: str, machine: Machine) -> None:
    ran = await sandbox_of(name).run(ATTEMPTS[attempt], inputs=machine.names, timeout_s=LONGEST_S)
    assert machine.secret not in repr(ran)
    assert ESCAPED not in repr(ran.value)
    assert ESCAPED not in ran.error.replace(ATTEMPTS[attempt], "").rpartition("\n")[2]
    machine.is_unharmed()


@pytest.mark.slow
@pytest.mark.parametrize("attempt", ENDLESS)
@pytest.mark.parametrize("name", SANDBOXES)
async def test_nothing_goes_on_for_ever(name: str, attempt: str, machine: Machine) -> None:
    sandbox, start = sandbox_of(name), time.monotonic()
    ran = await sandbox.run(ENDLESS[attempt], timeout_s=LONGEST_S)
    assert time.monotonic() - start < 30
    assert len(ran.stdout) < 110_000
    assert len(repr(ran)) < 1_500_000
    machine.is_unharmed()
    assert (await sandbox.run("6 * 7")).value == 42  # the next run finds all as it was


def test_the_watch_would_see_what_escapes(machine: Machine) -> None:
    with socket.create_connection(machine.server.getsockname()):
        time.sleep(0.05)
        with pytest.raises(pytest.fail.Exception, match="somebody called"):
            machine.is_unharmed()
    (machine.outside / machine.mark).touch()
    with pytest.raises(AssertionError, match=machine.mark):
        machine.is_unharmed()
    (machine.outside / machine.mark).unlink()
    other = subprocess.Popen(["sleep", "60"])
    with pytest.raises(AssertionError, match=f"still running.*{other.pid}"):
        machine.is_unharmed()
    other.kill()
    other.wait()
    machine.is_unharmed()
