"""What stands between a user's call and the provider, and what importing and calling may touch."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

import synthon as sy
from tests.core.counting import ask

OURS = Path(sy.__file__).parent


class Looks:
    """A provider that looks at who called it."""

    name = identity = "looks"
    capabilities: frozenset[sy.Capability] = frozenset({"chat"})

    def __init__(self) -> None:
        self.frames: list[str] = []

    async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
        frame = sys._getframe(1)  # noqa: SLF001 - what the test counts
        self.frames = []
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(OURS):
                self.frames.append(path.name)
            if frame.f_code.co_name == "user":
                break
            frame = frame.f_back  # type: ignore[assignment] # None ends it
        return sy.Completion("yes")


@sy.step
async def answer(text: str) -> str:
    """Answer."""
    ...


@sy.program
async def support(text: str) -> str:
    return await answer(text)


async def frames(wrap: Callable[[sy.Model], sy.Model] | None = None) -> list[str]:
    looks = Looks()
    model: sy.Model = sy.Journaled(looks)
    if wrap is not None:
        model = wrap(model)
    program = support.using(model=model)

    async def user() -> None:
        await program("q")

    await user()
    return looks.frames


async def test_the_provider_is_at_most_4_frames_and_3_files_away_with_the_journal_on() -> None:
    assert sy.default_journal() is not None
    found = await frames()
    assert len(found) <= 4
    assert len(set(found)) <= 3
    assert found == ["journaled.py", "step.py", "program.py"]


WRAPPERS: dict[str, tuple[Callable[[sy.Model], sy.Model], int]] = {
    "retrying": (sy.Retrying, 1),
    "fallback": (sy.Fallback, 1),
    "timed": (lambda model: sy.Timed(model, timeout_s=9), 1),
    "rate limited": (lambda model: sy.RateLimited(model, requests_per_minute=99), 1),
    "budgeted": (lambda model: sy.Budgeted(model, sy.Budget(calls=9)), 1),
    "two": (lambda model: sy.Timed(sy.Retrying(model), timeout_s=9), 2),
}


@pytest.mark.parametrize("which", WRAPPERS)
async def test_each_wrapper_is_one_frame_more(which: str) -> None:
    wrap, more = WRAPPERS[which]
    assert len(await frames(wrap)) == len(await frames()) + more


def test_importing_and_a_first_call_open_no_socket(tmp_path: Path) -> None:
    program = """
    import asyncio, socket, sys
    pairs = socket.socketpair  # the event loop's own waker

    def refuse(event, arguments):
        if event in {"socket.connect", "socket.bind", "socket.getaddrinfo", "socket.sendto", "urllib.Request"}:
            raise SystemExit(f"{event} {arguments}")

    sys.addaudithook(refuse)
    import synthon as sy

    @sy.step(model=sy.Journaled(sy.FunctionModel(lambda request: "yes")))
    async def answer(text: str) -> str:
        '''Answer.'''
        ...

    @sy.program
    async def support(text: str) -> str:
        return await answer(text)

    print(support.sync("q"), asyncio.run(support("q")), asyncio.run(sy.run(support, "q", run_id="r")))
    """
    environment = os.environ | {"XDG_DATA_HOME": str(tmp_path)}
    command = [sys.executable, "-c", textwrap.dedent(program)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (ended.stdout, ended.returncode) == ("yes yes yes\n", 0), ended.stderr


async def test_the_last_frame_before_the_provider_is_the_journal() -> None:
    looks = Looks()
    await sy.run(sy.Journaled(looks).complete, ask("q"))
    assert looks.frames[0] == "journaled.py"
