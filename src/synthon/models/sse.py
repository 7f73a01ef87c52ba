"""Read server-sent events (WHATWG HTML, section 9.2) from bytes that may be split anywhere."""

from __future__ import annotations

from typing import NamedTuple

_BOM = b"\xef\xbb\xbf"


class Event(NamedTuple):
    """One event; `name` is "message" where the stream names none, `data` has its lines joined by a line feed."""

    name: str
    data: str


class EventReader:
    """Turns chunks of a stream into events; the same bytes give the same events however they are split.

    Lines end in CR, LF or CRLF; a byte order mark and comments are skipped; invalid UTF-8 becomes U+FFFD.
    Time is linear in the bytes read, also for one long line in two-byte chunks.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._start = b""
        self._started = False
        self._after_cr = False
        self._name = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Event]:
        """The events that this chunk completes."""
        if not self._started:
            self._start += chunk
            if len(self._start) < len(_BOM) and _BOM.startswith(self._start):
                return []
            chunk, self._start, self._started = self._start.removeprefix(_BOM), b"", True
        if self._after_cr and chunk:
            chunk, self._after_cr = chunk.removeprefix(b"\n"), False
        if b"\n" not in chunk and b"\r" not in chunk:
            self._line.append(chunk)
            return []
        self._after_cr = chunk.endswith(b"\r")
        lines = (b"".join(self._line) + chunk).splitlines(keepends=True)
        self._line = [] if lines[-1].endswith((b"\r", b"\n")) else [lines.pop()]
        return [event for line in lines if (event := self._take(line.rstrip(b"\r\n"))) is not None]

    def close(self) -> list[Event]:
        """The event that the end of the stream left without its blank line, if any.

        The standard would drop it; some servers end their last event with the connection.
        """
        self._started = True
        rest, self._start = self._start, b""
        last = [*self.feed(rest + b"\n"), *self.feed(b"\n")]
        return [event for event in last if event.data]

    def _take(self, line: bytes) -> Event | None:
        if not line:
            event = Event(self._name or "message", "\n".join(self._data)) if self._data else None
            self._name, self._data = "", []
            return event
        field, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._name = value
        return None
