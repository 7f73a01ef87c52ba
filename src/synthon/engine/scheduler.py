"""Continuous batching: every request is a generator that asks for logits; those of all are computed together."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

from synthon.core.errors import ProviderError
from synthon.engine.binding import BATCH, Aborted, Piece
from synthon.engine.prefixes import PIECE

if TYPE_CHECKING:
    from synthon.core.constraints import Constraint
    from synthon.core.protocols import FloatArray
    from synthon.core.values import Completion
    from synthon.engine.binding import Weights
    from synthon.engine.prefixes import Prefixes, Slot

_BESIDE_OTHERS = 128  # tokens of a prompt between two tokens of those who generate


@dataclass(frozen=True, slots=True)
class Open:
    """Ask for `count` sequences, the first holding a prompt, with room for so many tokens after it."""

    prompt: Sequence[int]
    room: int
    salt: str = ""
    count: int = 1


@dataclass(frozen=True, slots=True)
class Opened:
    """The sequences, the logits after the prompt (a view until the next question), the tokens found in the cache."""

    slots: list[Slot]
    logits: FloatArray
    cached: int
    prefixes: Prefixes


@dataclass(frozen=True, slots=True)
class Feed:
    """Ask for the logits of tokens appended to a sequence: after the last of them, or after each."""

    slot: Slot
    tokens: Sequence[int]
    rows: Literal["last", "all"] = "last"


Question: TypeAlias = "Open | Sequence[Feed]"
Program: TypeAlias = "Generator[Question, Opened | list[FloatArray], Completion]"


def flag() -> ctypes.Array[ctypes.c_char]:
    """A byte that stops a computation once it is set."""
    return ctypes.create_string_buffer(2)


@dataclass(slots=True, eq=False)
class Job:
    """A request in the engine."""

    work: Callable[[Weights], Program]
    constraint: Constraint | None = None  # to be compiled before it begins
    result: Future[Completion] = field(default_factory=Future)
    flag: ctypes.Array[ctypes.c_char] = field(default_factory=flag)
    program: Program | None = None
    opening: Open | None = None
    feeds: Sequence[Feed] = ()
    rows: list[FloatArray | None] = field(default_factory=list)
    slots: list[Slot] = field(default_factory=list)
    cached: int = 0

    @property
    def is_stopped(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.flag.raw[:1] != b"\0"

    @property
    def left(self) -> Sequence[int]:
        """What is not computed of its prompt."""
        return () if self.opening is None or not self.slots else self.opening.prompt[self.slots[0].known :]

    def stop(self) -> None:
        """Ask for its end, from any thread."""
        self.flag[0] = b"\x01"


class Scheduler:
    """Runs jobs on one model, in one thread: a token for each that generates, then a piece of a prompt, and again.

    Jobs are admitted in the order they came, but for those that wait for a prefix another one is just computing.
    Tokens of several sequences are computed in one call only where each has equally many, and a prompt never in
    pieces of less than `PIECE` tokens: so a sequence gives the same numbers alone and in any company.

    Args:
        closing: stops all once it is set.
        joins: whether several sequences may be computed in one call; asked when there are several.
    """

    def __init__(
        self,
        weights: Weights,
        prefixes: Prefixes,
        closing: ctypes.Array[ctypes.c_char],
        joins: Callable[[], bool],
    ) -> None:
        self._weights, self._prefixes, self._closing, self._joins = weights, prefixes, closing, joins
        self._jobs: list[Job] = []

    @property
    def is_idle(self) -> bool:
        """Whether no job is left."""
        return not self._jobs

    def add(self, job: Job) -> None:
        """Begin a job, unless nobody waits for it any more."""
        if not job.result.set_running_or_notify_cancel():
            return
        self._jobs.append(job)
        try:
            job.program = job.work(self._weights)
        except BaseException as error:  # noqa: BLE001 - the edge of a request: whoever waits gets it
            self._end(job, error)
        else:
            self._advance(job, None)

    def step(self) -> None:
        """Do what can be done now: drop who left, admit who waits, compute once round."""
        for job in [job for job in self._jobs if job.is_stopped]:
            self._end(job, closed())
        self._admit()
        self._generate()
        self._read()

    def fail_all(self, error: BaseException) -> None:
        """End every job."""
        for job in list(self._jobs):
            self._end(job, error)

    def _admit(self) -> None:
        """Slots for those that wait, first come first served; who waits for a prefix lets others pass."""
        for job in list(self._jobs):
            opening = job.opening
            if opening is None or job.slots or self._prefixes.is_coming(opening.prompt, opening.salt):
                continue
            try:
                slots = self._prefixes.admit(opening.prompt, opening.salt, room=opening.room, count=opening.count)
            except BaseException as error:  # noqa: BLE001 - see add
                self._end(job, error)
                continue
            if slots is None:
                return
            job.slots, job.cached = slots, slots[0].known

    def _generate(self) -> None:
        """One answer to each question for tokens, those of one length together."""
        waiting: defaultdict[int, list[tuple[Job, int]]] = defaultdict(list)
        for job in self._jobs:
            job.rows = [None] * len(job.feeds)
            for place, feed in enumerate(job.feeds):
                waiting[len(feed.tokens)].append((job, place))
        for length, asked in sorted(waiting.items()):
            asked.sort(key=lambda pair: pair[0].feeds[pair[1]].slot.number)  # llama.cpp joins only neighbours, in order
            together = max(1, BATCH // length) if len(asked) > 1 and self._joins() else 1
            for start in range(0, len(asked), together):
                self._feed(asked[start : start + together])

    def _feed(self, asked: Sequence[tuple[Job, int]]) -> None:
        asked = [(job, place) for job, place in asked if job.feeds]  # not those that failed meanwhile
        pieces = [
            Piece(feed.slot.number, feed.slot.length, feed.tokens, feed.rows)
            for job, place in asked
            for feed in [job.feeds[place]]
        ]
        logits = self._compute(pieces, [job for job, _ in asked])
        if logits is None:
            return
        at = 0
        for job, place in asked:
            feed = job.feeds[place]
            feed.slot.length += len(feed.tokens)
            count = len(feed.tokens) if feed.rows == "all" else 1
            rows = logits[at : at + count]
            job.rows[place] = rows if len(job.feeds) == 1 else rows.copy()
            at += count
        for job in {id(job): job for job, _ in asked}.values():
            answers = [row for row in job.rows if row is not None]
            if len(answers) == len(job.feeds):
                self._advance(job, answers)

    def _read(self) -> None:
        """A piece of the prompts that are being read."""
        left = _BESIDE_OTHERS if any(job.feeds for job in self._jobs) else BATCH
        while left >= 2 * PIECE:  # so that what is left is a piece too
            reading = [job for job in self._jobs if job.left]
            if not reading:
                return
            count = _piece(len(reading[0].left), left)
            same = [job for job in reading if _piece(len(job.left), left) == count]
            same = same[: max(1, left // count) if len(same) > 1 and self._joins() else 1]
            same.sort(key=lambda job: job.slots[0].number)
            left -= count * len(same)
            pieces = [
                Piece(job.slots[0].number, job.slots[0].known, job.left[:count], _rows(job, count)) for job in same
            ]
            logits = self._compute(pieces, same)
            if logits is None:
                return
            at = 0
            for job in same:
                slot = job.slots[0]
                slot.known += count
                slot.length = slot.known
                if not job.left:
                    self._advance(job, Opened(job.slots, logits[at], job.cached, self._prefixes))
                    at += 1

    def _compute(self, pieces: Sequence[Piece], jobs: Sequence[Job]) -> FloatArray | None:
        """Logits; None where it failed or was stopped, which ended the jobs concerned."""
        streams = self._prefixes.streams
        alone = len({id(job) for job in jobs}) == 1
        streams.watch(jobs[0].flag if alone else self._closing)
        try:
            return streams.compute(pieces)
        except BaseException as error:  # noqa: BLE001 - see add
            for piece in pieces:
                streams.cut(piece.stream, piece.start)
            for job in list({id(job): job for job in jobs}.values()):
                self._end(job, closed() if isinstance(error, Aborted) else error)
            return None

    def _advance(self, job: Job, answer: Opened | list[FloatArray] | None) -> None:
        """Let a job go on to its next question, or end with its completion."""
        assert job.program is not None  # noqa: S101 - set by add
        job.feeds, job.opening = (), None
        try:
            question = next(job.program) if answer is None else job.program.send(answer)
        except StopIteration as end:
            self._end(job, end.value)
        except BaseException as error:  # noqa: BLE001 - see add
            self._end(job, error)
        else:
            if isinstance(question, Open):
                job.opening = question
            else:
                job.feeds = question

    def _end(self, job: Job, outcome: Completion | BaseException) -> None:
        if job not in self._jobs:
            return
        self._jobs.remove(job)
        if job.program is not None:
            job.program.close()
        for slot in job.slots:
            self._prefixes.release(slot)
        job.feeds, job.opening, job.slots = (), None, []
        if job.result.done():
            return
        if isinstance(outcome, BaseException):
            job.result.set_exception(outcome)
        else:
            job.result.set_result(outcome)


def _piece(count: int, most: int) -> int:
    """Tokens to compute of `count`: at most `most`, and never so that less than a piece is left."""
    return count if count <= most else most - max(0, PIECE - (count - most))


def _rows(job: Job, count: int) -> Literal["none", "last"]:
    return "last" if count == len(job.left) else "none"


def closed() -> ProviderError:
    """What whoever waits gets when the engine ends before the answer."""
    return ProviderError("The local engine was closed before it had answered. Ask again: that loads the model anew.")
