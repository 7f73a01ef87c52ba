"""A real HTTP server on loopback that answers what a test says, byte by byte if need be."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence


@dataclass(frozen=True)
class Reply:
    """An answer: JSON, text, or chunks that are sent one by one; `cut` breaks the connection off after them."""

    json: object = None
    text: str | None = None
    chunks: Sequence[bytes] | None = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: bool = False
    pause_s: float = 0.0


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Loopback:
    url: str
    replies: list[Reply]
    received: list[Received] = field(default_factory=list)
    connections: int = 0
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    closed_early: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        self.received.append(Received(head[0].split()[1], headers, json.loads(body)))
        self.asked.set()
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        return await self._answer(reply, reader, writer)

    async def _answer(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        chunks, content_type = reply.chunks, "text/event-stream"
        if chunks is None:
            whole = reply.text if reply.text is not None else json.dumps(reply.json)
            chunks, content_type = [whole.encode()], "application/json"
        fields = {"content-type": content_type, "transfer-encoding": "chunked"} | dict(reply.headers)
        start = f"HTTP/1.1 {reply.status} X\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(start.encode() + b"\r\n")
        for chunk in chunks:
            if chunk:
                writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            await writer.drain()
            if reply.pause_s:
                await self._pause(reply.pause_s, reader)
        if reply.cut:
            return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _pause(self, seconds: float, reader: asyncio.StreamReader) -> None:
        """Wait, and notice a client that leaves."""
        try:
            async with asyncio.timeout(seconds):
                if not await reader.read(1):
                    self.closed_early.set()
        except TimeoutError:
            return


@asynccontextmanager
async def answering(*replies: Reply) -> AsyncIterator[Loopback]:
    """A server that gives these replies in turn, the last one for ever."""
    loopback = Loopback("", list(replies))
    server = await asyncio.start_server(loopback.serve, "127.0.0.1", 0)
    loopback.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield loopback
    finally:
        server.close()


def events(*data: object) -> bytes:
    """A stream of unnamed events, each JSON or text."""
    return b"".join(b"data: " + (d if isinstance(d, str) else json.dumps(d)).encode() + b"\n\n" for d in data)


def named(*data: Mapping[str, object]) -> bytes:
    """A stream of events named by their type."""
    return b"".join(f"event: {d['type']}\ndata: {json.dumps(d)}\n\n".encode() for d in data)


class Heard:
    """A listener that keeps what it hears."""

    retractable = True

    def __init__(self) -> None:
        self.deltas: list[Any] = []

    def __call__(self, delta: Any, /) -> None:
        self.deltas.append(delta)

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)

    @property
    def reasoning(self) -> str:
        return "".join(delta.reasoning for delta in self.deltas)
