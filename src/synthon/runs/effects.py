"""Acts on the world that a killed run does not repeat: `started` on disk, act, `done`."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, fields, replace
from shlex import quote

from synthon.core.errors import Uncertain, UserError
from synthon.core.identity import digest, dumps
from synthon.core.protocols import CallRecord, Journal, Key, Span
from synthon.core.recording import Entry, kept
from synthon.core.running import Run, acting, current_span, new_id, span

_MARK = "synthon.effect"  # the only name in a row that is no answer


@dataclass(frozen=True, slots=True)
class Doubt:
    """An act that was started and whose end nobody recorded.

    Attributes:
        name: of the tool.
        arguments: as JSON text.
        key: its idempotency key.
        place: where its answer belongs, a digest.
        attempt: from 0; above, a person said that the one before did not happen.
    """

    name: str
    arguments: str
    key: str
    place: str
    attempt: int = 0

    def at(self, what: str) -> str:
        """The digest of a mark about this attempt."""
        return digest(f"{self.place} {what} {self.attempt}")


async def effect(
    name: str, arguments: object, act: Callable[[str], Awaitable[str]], *, honours_key: bool, attributes: str = ""
) -> str:
    """Act on the world once, under (run, name, arguments, n); returns the JSON text that `act` returned.

    `act` is given an idempotency key, the same in every life of the run; n numbers equal acts of one run. The act is
    on disk as started before, and as done after, so a resumed run does not act again. One killed between the two
    cannot know whether it had acted: with `honours_key` it sends again under the same key, which the receiver ignores;
    without, a person settles it. Of two processes that run the same run at once, one acts where no key is honoured.
    Without a journal nothing is kept and the key is random. `attributes` (JSON) are its span's.

    Raises:
        Uncertain: an earlier life or another process started this act, its end is not recorded, and the receiver
            honours no key.
    """
    with span(name, "tool", arguments) as opened:
        opened.row.attributes = attributes
        run, journal = opened.run, opened.run.journal
        run.past.acted()
        if journal is None:
            return await act(os.urandom(16).hex())
        entry = Entry(run, dumps({"call": name, "arguments": arguments, "effect": True}), repeats=True, own=True)
        place = entry.key.digest
        key = hashlib.sha256(f"{run.id} {place}".encode()).hexdigest()[:32]
        doubt = each = Doubt(name, dumps(arguments), key, place)
        while each.at("started") in run.known:  # the marks of earlier lives belong to this call
            run.touched |= {each.at("started"), each.at("settled")}
            each = replace(each, attempt=each.attempt + 1)

        async def once() -> str:
            mark = _begin(run, journal, doubt, honours_key=honours_key)
            await journal.durable()
            if not honours_key and journal.read(mark.key) not in {None, mark.completion}:  # None: nothing is written
                raise _uncertain(run, doubt)
            token = acting.set(name)
            try:
                return await act(key)
            finally:
                acting.reset(token)

        row = await kept(entry, opened, once)
        await journal.durable()
        return row


def _begin(run: Run, journal: Journal, doubt: Doubt, *, honours_key: bool) -> CallRecord:
    """Write that an attempt is started; returns the mark, which another process may have written first.

    Raises:
        Uncertain: an earlier one is in doubt.
    """
    while not honours_key and journal.read(Key(run.id, doubt.at("started"))) is not None:
        if journal.read(Key(run.id, doubt.at("settled"))) is None:
            raise _uncertain(run, doubt)
        doubt = replace(doubt, attempt=doubt.attempt + 1)
    run.touched.add(doubt.at("started"))
    above = current_span()
    mark = _mark(run.id, doubt, "started", "" if above is None else above.id)
    run.write(mark)
    return mark


def _uncertain(run: Run, doubt: Doubt) -> Uncertain:
    return Uncertain(
        f"The run {run.id!r} was stopped while {doubt.name!r} acted on {doubt.arguments[:200]}, or another process is "
        "at it, and nobody knows whether it did: its receiver honours no idempotency key. When no process runs it any "
        "more, look there. If `synthon runs list` still has the act in doubt, say `synthon runs settle "
        f"{quote(run.id)} {doubt.key} --done RESULT` or `--not-done`. Then resume the run."
    )


def _mark(run: str, doubt: Doubt, what: str, parent: str = "") -> CallRecord:
    """A row about an attempt; the id of its span tells it from another process's."""
    now = time.time()
    shown = Span(new_id(), run, parent, f"{doubt.name}: {what}", "span", now, now)
    row = {_MARK: {"is": what, "by": shown.id, **asdict(doubt)}}
    return CallRecord(Key(run, doubt.at(what)), dumps({what: doubt.key}), dumps(row), shown)


def doubts(journal: Journal, run: str) -> list[Doubt]:
    """The acts of a run that were started and neither finished nor settled, for a person to settle."""
    rows = {each: journal.read(Key(run, each)) or "" for each in journal.digests(run)}
    marks = [json.loads(row)[_MARK] for row in rows.values() if row.startswith(f'{{"{_MARK}":')]
    names = [each.name for each in fields(Doubt)]
    found = [Doubt(*(mark[name] for name in names)) for mark in marks if mark["is"] == "started"]
    return [each for each in found if each.place not in rows and each.at("settled") not in rows]


async def settle(journal: Journal, run: str, key: str, result: str | None) -> None:
    """Say what became of an act in doubt: its `result` as JSON text, or None: it did not happen and may be done.

    Raises:
        UserError: no act of this run under this key is in doubt.
    """
    known = doubts(journal, run)
    found = [each for each in known if each.key == key]
    if not found:
        shown = "; ".join(f"{each.key} ({each.name} {each.arguments[:200]})" for each in known) or "none"
        msg = f"Run {run!r} has no act in doubt under the key {key!r}. Those it has: {shown}."
        raise UserError(msg)
    record = _mark(run, found[0], "settled")
    if result is not None:
        record = replace(record, key=Key(run, found[0].place), completion=result)
    journal.write(record)
    await journal.durable()
