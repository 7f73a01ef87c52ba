"""Conversations that outlive a run: their turns are rows of the journal."""

from __future__ import annotations

import json
import time
from itertools import count, islice
from typing import TYPE_CHECKING, cast

from synthon.core.errors import JournalError, UserError
from synthon.core.identity import adapter, digest, dumps, to_json
from synthon.core.light import dataclass
from synthon.core.protocols import CallRecord, Key, Span
from synthon.core.recording import recorded
from synthon.core.running import Defaults, current_run, new_id
from synthon.core.values import Message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthon.core.protocols import Journal
    from synthon.core.values import JSON


@dataclass(frozen=True, slots=True)
class Thread:
    """A conversation under a name, in the journal of the run that uses it, else in `journal` or the default one.

        talk = sy.Thread("alice")
        answer = await reply(await talk.messages(), question)
        await talk.add(sy.Message("user", question), sy.Message("assistant", answer))

    A resumed run reads the turns it read before, and does not add its own a second time. Several tasks and processes
    may add to one thread: what is added at once stays together, in the next free place.
    """

    name: str
    journal: Journal | None = None

    def _home(self) -> Journal:
        run = current_run()
        journal = self.journal or (Defaults.journal() if run is None else run.journal)
        if journal is None:
            raise JournalError(
                f"The thread {self.name!r} has no journal to lie in. Pass Thread(name, journal), run under another "
                "policy than 'off', or set SYNTHON_JOURNAL to a file."
            )
        return journal

    async def messages(self) -> list[Message]:
        """All turns, the oldest first; the run's row of it says how many places it read.

        Raises:
            JournalError: turns that a resumed run has read are gone.
        """
        home = self._home()

        async def read() -> str:
            places = sum(1 for _ in self._rows(home))
            await home.durable()  # what then lies in these places stays there
            return str(places)

        found = json.loads(await recorded("sy.thread.messages", self.name, read, repeats=True, own=True))
        if isinstance(found, int):  # a list is of an older version: the turns themselves
            rows = list(islice(self._rows(home), found))
            if len(rows) < found:
                msg = f"The thread {self.name!r} had {found} additions when this run read it, and now has {len(rows)}."
                raise JournalError(f"{msg} Pass the journal that it lay in, or start another run.")
            found = [turn for row in rows for turn in _turns(row)]
        return [_read(turn) for turn in found]

    async def add(self, *messages: Message) -> None:
        """Append turns, on disk when this returns.

        Raises:
            JournalError: they cannot be kept.
            UserError: the run's policy is `read_only`, or a turn holds what no JSON can hold.
        """
        run, home = current_run(), self._home()
        if run is not None and run.policy == "read_only":
            msg = f"The thread {self.name!r} takes no turns in a run under 'read_only', which writes nothing."
            raise UserError(f"{msg} Add them after the run, or run under 'fresh' or 'cache'.")
        turns = [_written(message) for message in messages]
        arguments: JSON = {"thread": self.name, "turns": [*turns]}
        by = self._signature(dumps(arguments))

        async def write() -> str:
            signed = ",".join(f'{turn[:-1]},"by":"{by}.{n}"}}' for n, turn in enumerate(turns))
            return json.dumps(await self._place(home, f"[{signed}]") if turns else None)

        await recorded("sy.thread.add", arguments, write, repeats=True, own=True)

    def _signature(self, added: str) -> str:
        """Who adds these turns, the same in every life of a run, so that what a killed one added is known again."""
        run = current_run()
        return new_id() if run is None else digest(f"{run.id} {added} {run.sample(f'by {added}')}")[:32]

    def _rows(self, home: Journal) -> Iterator[str]:
        for at in count():
            row = home.read(self._key(at))
            if row is None:
                return
            yield row

    def _key(self, at: int) -> Key:
        return Key(f"thread:{self.name}", digest(f"{self.name} {at}"))

    async def _place(self, home: Journal, mine: str) -> int:
        """Keep turns at the next free place; another task or process may have taken it meanwhile."""
        rows = list(self._rows(home))
        if mine in rows:
            return rows.index(mine)
        at = len(rows)
        while True:
            now, key = time.time(), self._key(at)
            request = dumps({"thread": self.name, "at": at})
            home.write(CallRecord(key, request, mine, Span(new_id(), key.scope, "", "turn", "span", now, now)))
            await home.durable()
            if home.read(key) == mine:
                return at
            at += 1


def _written(message: Message) -> str:
    """A turn as JSON that can be read back."""
    text = to_json(message, again=True)
    try:
        _read(json.loads(text))
    except ValueError as error:
        msg = (
            f"The turn {str(message)[:200]!r} of a thread cannot be kept as JSON. Give a Message of text, or of texts, "
        )
        raise UserError(f"{msg}images in base64, tool calls and their results.") from error
    return text


def _turns(row: str) -> list[object]:
    """What was added at once; one turn in rows of an older version."""
    found = json.loads(row)
    return found if isinstance(found, list) else [found]


def _read(turn: object) -> Message:
    return cast("Message", adapter(Message).validate_python(turn))
