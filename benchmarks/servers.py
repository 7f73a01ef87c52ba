"""llama.cpp's own server as a peer, in a process of its own: the same prompts as token ids, greedy, on parallel slots.

    async with server("llama_server", path, parallel=8, context=2048) as served:
        answers, cost = await served.answers(prompts, tokens=32, warm=prefix)

`llama_server` is built from the source of the installed llama-cpp-python and linked with its libraries: the same
kernels as ours. `xllamacpp` is a wheel with the same server in it, compiled for any processor with AVX2.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import distribution, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import aiohttp

from benchmarks import peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

SERVERS = ("llama_server", "xllamacpp")
_PEERS = Path(__file__).with_name("peers")
_START_S = 60.0


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of the clock, and of all cores for the process that computed."""

    wall_s: float
    cpu_s: float

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)

    def __mul__(self, factor: float) -> Cost:
        return Cost(self.wall_s * factor, self.cpu_s * factor)


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer: its text, tokens generated, tokens of the prompt that were computed."""

    text: str
    generated: int
    prefilled: int


@dataclass(frozen=True, slots=True)
class Served:
    """A running server."""

    url: str
    process: int
    parallel: int
    client: aiohttp.ClientSession

    async def answers(
        self, prompts: Sequence[Sequence[int]], *, tokens: int, warm: Sequence[int] = ()
    ) -> tuple[list[Answer], Cost]:
        """Greedy answers to all prompts at once, and what they cost.

        Args:
            warm: a prefix put into every slot before, within the cost: computed in one, saved to a file, and restored
                in the others. By itself the server never takes a prefix from one slot to another.
        """
        start, before = time.perf_counter(), self._cpu_s()
        first = [await self._warmed(warm)] if warm else []
        rows = await asyncio.gather(*(self._ask(prompt, tokens) for prompt in prompts))
        cost = Cost(time.perf_counter() - start, self._cpu_s() - before)
        return [*rows, *first], cost

    async def _warmed(self, prefix: Sequence[int]) -> Answer:
        answer = await self._ask(prefix, 1, id_slot=0)
        await self._post("slots/0?action=save", {"filename": "prefix"})
        for slot in range(1, self.parallel):
            await self._post(f"slots/{slot}?action=restore", {"filename": "prefix"})
        return answer

    async def _ask(self, prompt: Sequence[int], tokens: int, **more: object) -> Answer:
        row = await self._post(
            "completion",
            {
                "prompt": list(prompt),
                "n_predict": tokens,
                "temperature": 0,
                "samplers": ["temperature"],  # the default chain sorts 40 tokens first
                "cache_prompt": True,
                **more,
            },
        )
        return Answer(str(row["content"]), int(row["tokens_predicted"]), int(row["timings"]["prompt_n"]))

    async def _post(self, path: str, body: Mapping[str, object]) -> Mapping[str, Any]:
        async with self.client.post(f"{self.url}/{path}", json=body) as response:
            response.raise_for_status()
            return cast("Mapping[str, Any]", await response.json())

    def _cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@cache
def executable() -> Path:
    """The server beside the installed llama-cpp-python, built when first needed: some five minutes.

    Raises:
        subprocess.CalledProcessError: it could not be built.
    """
    found, files = version("llama-cpp-python"), distribution("llama-cpp-python")
    libraries = Path(str(files.locate_file("lib"))).resolve()
    folder = peer.python("llama_server").parent.parent / "build"
    if not folder.exists():
        print(f"building llama-server {found} (once, some five minutes)", file=sys.stderr)
    question = {"version": found, "libraries": str(libraries), "folder": str(folder)}
    return Path(str(peer.ask("llama_server", "llama_server.py", question)["server"]))


def prepared() -> dict[str, str]:
    """The servers that can be had here, with their versions."""
    found = {}
    for name in SERVERS:
        try:
            executable() if name == "llama_server" else peer.python(name)
        except (subprocess.CalledProcessError, OSError) as error:
            print(f"{name}: left out, {error}", file=sys.stderr)
        else:
            pins = (_PEERS / f"{name}.txt").read_text(encoding="utf-8").split()
            found[name] = version("llama-cpp-python") if name == "llama_server" else pins[0].partition("==")[2]
    return found


@asynccontextmanager
async def server(name: str, path: Path, *, parallel: int, context: int, threads: int = 1) -> AsyncIterator[Served]:
    """A server that has answered once, its slots holding nothing of the work to come.

    Args:
        context: tokens of one slot.

    Raises:
        TimeoutError: it does not answer within a minute.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        _started(name, path, parallel, context, threads=threads, folder=folder) as started,
    ):
        process, url = started
        timeout, connector = aiohttp.ClientTimeout(None), aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as client:
            await _ready(client, url)
            served = Served(url, process, parallel, client)
            await served.answers([[1, 2, 3]], tokens=2)
            yield served


@contextmanager
def _started(
    name: str, path: Path, parallel: int, context: int, *, threads: int, folder: str
) -> Iterator[tuple[int, str]]:
    """The id and the address of a server's process, which ends with the block."""
    port = _free_port()
    numbers = {"-c": parallel * context, "-np": parallel, "-t": threads, "-tb": threads, "--port": port}
    command = [
        *(str(part) for part in _commands[name]()), "-m", str(path), "--slot-save-path", folder,
        *(str(part) for option in numbers.items() for part in option),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid, f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


_commands: dict[str, Callable[[], list[Path]]] = {
    "llama_server": lambda: [executable()],
    "xllamacpp": lambda: [peer.python("xllamacpp"), _PEERS / "xllamacpp_server.py"],
}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def _ready(client: aiohttp.ClientSession, url: str) -> None:
    async with asyncio.timeout(_START_S):
        while True:
            try:
                async with client.get(f"{url}/health") as response:
                    if response.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.05)


__all__ = ["SERVERS", "Answer", "Cost", "Served", "executable", "prepared", "server"]
