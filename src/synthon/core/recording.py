"""One call, one row: read it, join the equal one in flight, or make it and keep it."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
from collections.abc import Awaitable, Callable
from typing import Literal
from weakref import WeakKeyDictionary

from synthon.core.blame import parked
from synthon.core.errors import JournalError, UserError
from synthon.core.identity import digest, dumps, with_sample
from synthon.core.protocols import CallRecord, Key
from synthon.core.running import Run, current_run, inside, span

Flights = dict[tuple[int, Key], "asyncio.Future[str | None]"]
_flights: WeakKeyDictionary[asyncio.AbstractEventLoop, Flights] = WeakKeyDictionary()


class Entry:
    """The place of one call in the journal: its key, and who else waits for it.

    Args:
        text: the call's canonical JSON.
        repeats: whether an equal call in the same run is a new sample (else it is the same call).
        own: whether its row is the run's own under `cache` too.
    """

    __slots__ = ("_flights", "_landing", "key", "run", "sample", "text")

    def __init__(self, run: Run, text: str, *, repeats: bool, sample: int = 0, own: bool = False) -> None:
        base = digest(text)
        self.sample = (run.sample(base) if sample == 0 else sample) if repeats else 0
        self.text = with_sample(text, self.sample)
        self.run = run
        self.key = Key(run.id if own else run.scope, digest(self.text) if self.sample else base)
        self._landing: asyncio.Future[str | None] | None = None
        run.touched.add(self.key.digest)

    def read(self) -> str | None:
        """The row under the key.

        Raises:
            JournalError: there is none and the policy is `replay_only`.
        """
        run, digest_ = self.run, self.key.digest
        journal, policy = run.journal, run.policy
        if journal is None or (policy == "fresh" and digest_ not in run.known and digest_ not in run.written):
            return None
        row = journal.read(self.key)
        if row is None and policy in {"read_only", "replay_only"}:
            row = journal.read(Key("", digest_))
        if row is None and policy == "replay_only":
            raise JournalError(
                f"Policy replay_only found no row for the call {self.text[:200]!r} (key {digest_[:12]}). "
                "Record it first with policy='cache', or replay the run that made it."
            )
        return row

    async def read_or_join(self) -> str | None:
        """The row, or that of the equal call in flight on this loop; None when this one must make the call.

        Raises:
            JournalError: see `read`.
            Exception: what the call in flight raised.
        """
        run = self.run
        retake = run.past.retake
        if retake is not None and retake.asked:
            await parked(run, retake)
        place = (id(run.journal), self.key)
        while (row := self.read()) is None:
            loop = asyncio.get_running_loop()
            flights = self._flights = _flights.setdefault(loop, {})
            flight = flights.get(place)
            if flight is None:
                self._landing = flights[place] = loop.create_future()
                run.flying.add(self)
                return None
            row = await asyncio.shield(flight)
            if row is not None:
                return row
        return row

    async def keep(self, row: str, record: CallRecord) -> str:
        """Write the row; returns the one that won, which in a shared scope may be another process's."""
        run, journal = self.run, self.run.journal
        run.write(record)
        run.written.add(self.key.digest)
        if journal is not None and (run.policy == "cache" or run.durable):
            await journal.durable()
            row = journal.read(self.key) or row
        return row

    def land(self, row: str | None) -> None:
        """Tell those who joined: the row, or None when someone else must make the call."""
        landing, self._landing = self._landing, None
        if landing is not None:
            self.run.flying.discard(self)
            self._flights.pop((id(self.run.journal), self.key), None)
            if not landing.done():
                landing.set_result(row)

    def fail(self, error: BaseException) -> None:
        """Tell those who joined that the call failed; a cancelled one is taken over by the next."""
        landing = self._landing
        if isinstance(error, Exception) and landing is not None and not landing.done():
            landing.set_exception(error)
            landing.exception()
        self.land(None)


async def recorded(
    name: str,
    arguments: object,
    act: Callable[[], Awaitable[str]],
    *,
    kind: Literal["search", "tool", "embed", "span"] = "span",
    repeats: bool = False,
    own: bool = False,
    attributes: str = "",
) -> str:
    """A call that is no model's, journaled like one: a search, a read of the world.

    `arguments` (JSON) and `name` are its identity, so they must hold all that decides the answer (an index's
    digest, say). `act` returns the answer as JSON text and is called only when no row answers. With `repeats`
    an equal call in one run is a call of its own; with `own` no other run is given the answer, under `cache` either.
    `attributes` (JSON) are its span's.
    """
    with span(name, kind, arguments) as opened:
        opened.row.attributes = attributes
        run = opened.run
        if run.journal is None:
            return await act()
        entry = Entry(run, dumps({"call": name, "arguments": arguments}), repeats=repeats, own=own)
        return await kept(entry, opened, act)


async def kept(entry: Entry, opened: span, act: Callable[[], Awaitable[str]]) -> str:
    """The entry's row, or what `act` answers, which becomes it."""
    opened.row.key = entry.key.digest
    row = await entry.read_or_join()
    if row is not None:
        opened.row.hit = True
        return row
    token = inside.set((*inside.get(), entry))
    try:
        row = await act()
        if not isinstance(row, str):
            raise UserError(f"The act of {opened.row.name!r} returned {row!r}, which is no text. Return JSON text.")
        opened.kept = True
        row = await entry.keep(row, CallRecord(entry.key, entry.text, row, opened.closed()))
    except BaseException as error:
        entry.fail(error)
        raise
    finally:
        inside.reset(token)
    entry.land(row)
    return row


def _now_or_read(name: str, value: object) -> object:
    """A value of the moment, the same again when the run is resumed."""
    run = current_run()
    if run is None or run.journal is None:
        return value
    entry = Entry(run, dumps({"call": name}), repeats=True, own=True)  # another run's moment is not this one's
    row = entry.read()
    if row is not None:
        return json.loads(row)
    with span(name) as opened:
        opened.row.key, opened.kept = entry.key.digest, True
        run.write(CallRecord(entry.key, entry.text, dumps(value), opened.closed()))
        run.written.add(entry.key.digest)
    return value


def now() -> dt.datetime:
    """The time, UTC; a resumed run reads the time it read before."""
    value = _now_or_read("sy.now", dt.datetime.now(dt.UTC).isoformat())
    return dt.datetime.fromisoformat(str(value))


def random() -> float:
    """A random number in 0..1 (1 excluded); a resumed run draws the numbers it drew before."""
    value = _now_or_read("sy.random", (int.from_bytes(os.urandom(7)) >> 3) / (1 << 53))
    return float(str(value))
