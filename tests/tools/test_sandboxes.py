"""Both sandboxes run ordinary code alike; what they keep out is in test_escapes.py."""

from __future__ import annotations

import asyncio
import math
import os
import platform
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import synthon as sy
from synthon.tools import Sandbox, bubblewrap, monty
from tests.tools.confining import SANDBOXES, sandbox_of


@pytest.fixture(params=SANDBOXES)
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return sandbox_of(request.param)


async def test_the_value_of_the_last_expression_is_the_value_of_the_code(sandbox: Sandbox) -> None:
    ran = await sandbox.run("import math\nx = 6 * 7\nprint('so', x)\n{'x': x, 'parts': (x, math.floor(1.5))}")
    assert (ran.value, ran.stdout, ran.error, ran.timed_out) == ({"x": 42, "parts": [42, 1]}, "so 42\n", "", False)
    assert (await sandbox.run("x = 1")).value is None
    assert (await sandbox.run("")).error == ""


async def test_inputs_are_names_and_files_lie_in_the_working_folder(sandbox: Sandbox) -> None:
    code = "open('new.txt', 'w').write('n')\n[name + open('a.txt').read() + open('new.txt').read(), values]"
    ran = await sandbox.run(code, inputs={"name": "x", "values": [1, {"y": None}]}, files={"a.txt": "hé", "b": b"\0"})
    assert (ran.error, ran.value) == ("", ["xhén", [1, {"y": None}]])
    again = await sandbox.run("open('new.txt').read()", files={"a.txt": ""})
    assert "FileNotFoundError" in again.error  # nothing of a run stays


async def test_an_exception_is_told_with_its_line(sandbox: Sandbox) -> None:
    ran = await sandbox.run("print('before')\n\ndef f():\n    raise ValueError('odd')\nf()")
    assert ran.stdout == "before\n"
    assert "ValueError: odd" in ran.error
    assert not ran.timed_out
    assert "SyntaxError" in (await sandbox.run("1 +")).error or sandbox.name == "monty"
    assert (await sandbox.run("1 +")).error


async def test_what_has_no_json_form_comes_as_its_repr(sandbox: Sandbox) -> None:
    assert (await sandbox.run("float('nan')")).value == "NaN"
    assert (await sandbox.run("2 ** 70")).value == 2**70
    assert (await sandbox.run("[print]")).value != [None]


async def test_time_is_limited(sandbox: Sandbox) -> None:
    ran = await sandbox.run("print('on')\nwhile True:\n    pass", timeout_s=0.8)
    assert ran.timed_out
    assert ran.error
    assert ran.stdout == "on\n" or sandbox.name == "bubblewrap"  # there it lies in a buffer


async def test_no_code_runs_for_less_than_no_time() -> None:
    with pytest.raises(sy.UserError, match="cannot run code for timeout_s=-1"):
        await monty().run("1", timeout_s=-1)


async def test_output_and_value_are_bounded(sandbox: Sandbox) -> None:
    ran = await sandbox.run("print('x' * 200_000)\n1")
    assert (ran.value, ran.error) == (1, "")
    assert ran.stdout.endswith("x\n[100,001 of 200,001 bytes were left out]")
    ran = await sandbox.run("print('on')\n'x' * 2_000_000")
    assert ran.value is None
    assert "more than" in ran.error or "longer than" in ran.error
    assert not ran.timed_out


async def test_a_value_that_cannot_be_told_is_an_error_of_the_code_and_an_error_is_bounded(sandbox: Sandbox) -> None:
    ran = await sandbox.run("10 ** 6000")
    assert (ran.value, ran.stdout) == (None, "")
    assert "The value of the code cannot be told: " in ran.error
    assert len((await sandbox.run("raise ValueError('x' * 1_000_000)")).error) <= 4_000


async def test_a_file_name_that_leads_elsewhere_is_refused(sandbox: Sandbox) -> None:
    for name in ("../x", "/etc/x", "..", "", "a/b", "a\0"):
        with pytest.raises(sy.UserError, match="plain file names"):
            await sandbox.run("1", files={name: "x"})


async def test_without_the_program_or_the_library_the_error_names_the_line_to_type(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(sy.MissingExtra, match="sudo apt-get install -y bubblewrap"):
        await bubblewrap().run("1")
    monkeypatch.setitem(__import__("sys").modules, "pydantic_monty", None)
    with pytest.raises(sy.MissingExtra, match=r"pip install 'synthon\[sandbox\]'"):
        await monty().run("1")


async def test_where_namespaces_are_not_allowed_the_error_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refusing = tmp_path / "bwrap"
    refusing.write_text("#!/bin/sh\necho 'bwrap: No permissions to create new namespace' >&2\nexit 1\n")
    refusing.chmod(refusing.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(sy.UserError, match=r"No permissions to create new namespace.*user namespaces"):
        await bubblewrap().run("1")


async def test_a_processor_whose_system_calls_are_unknown_gets_no_half_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(sy.UserError, match="not 'riscv64'"):
        await bubblewrap().run("1")


async def test_a_forged_report_is_only_the_codes_own_value() -> None:
    forged = (
        "import sys, os\n"
        "frame = sys._getframe()\n"
        "while 'mark' not in frame.f_locals: frame = frame.f_back\n"
        "os.write(1, frame.f_locals['mark'] + REPORT)\n"
        "os._exit(0)"
    )
    sandbox = sandbox_of("bubblewrap")
    for report in ("b'[1]'", "b'{'", "b'[' * 99999", "b''"):
        ran = await sandbox.run(forged.replace("REPORT", report))
        assert "ended its process (status 0)" in ran.error
    ran = await sandbox.run(forged.replace("REPORT", 'b\'{"value": NaN, "error": 3}\''))
    assert (ran.value, ran.error) == ("NaN", "3")
    assert not isinstance(ran.value, float) or math.isnan(ran.value)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def processes_with(word: str) -> list[Path]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found += [path] if word in path.read_text("utf-8", "replace") else []
    return found


@pytest.fixture
def busy_machine() -> Iterator[None]:
    """More work than cores: each window in a process's start is wider."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    yield
    for process in busy:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("busy_machine")
async def test_a_run_cancelled_as_it_starts_leaves_no_process_and_no_open_file() -> None:
    sandbox_of("bubblewrap")
    sandbox, before = bubblewrap(memory_mb=333), open_files()
    for tenths in [*range(0, 200, 4), 1000]:
        task = asyncio.create_task(sandbox.run("while True: pass"))
        await asyncio.sleep(tenths / 10_000)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
        async with asyncio.timeout(10):
            while processes_with(str(333 << 20)):  # noqa: ASYNC110 - what was killed goes at once and tells nobody
                await asyncio.sleep(0.01)
    assert open_files() == before
