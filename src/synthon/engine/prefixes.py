"""The prefix cache: sequences kept in the streams and beside them, found again by their longest common beginning."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from synthon.core.errors import UserError
from synthon.engine.binding import Piece, Streams

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from synthon.engine.binding import Weights

    Tokens = NDArray[np.int32]

_SMALLEST = 1024  # cells of a stream at first
_WORTH = 64  # tokens: a shorter tail costs less to compute again than to keep
PIECE = 8  # tokens of a prompt read at once, at least: fewer round otherwise (Qwen2.5 0.5B, Gemma 3 270M)
_NONE = np.zeros(0, np.int32)


@dataclass(slots=True, eq=False)
class Slot:
    """A stream's sequence: a prompt, of which `known` tokens are computed, then `length - known` generated ones."""

    number: int
    prompt: Tokens = field(default_factory=lambda: _NONE)
    known: int = 0
    length: int = 0
    salt: str = ""
    used: int = 0
    is_busy: bool = False


@dataclass(slots=True, eq=False)
class Saved:
    """A sequence beside the streams: its bytes, and the tokens of which they hold at least the keys and values."""

    prompt: Tokens
    salt: str
    kept: NDArray[np.uint8]
    used: int

    @property
    def known(self) -> int:
        """Tokens that can be taken up again."""
        return len(self.prompt)


class Prefixes:
    """Hands out slots whose longest known beginning is filled in already.

    A request takes up the longest prefix that any kept sequence of its principal (`salt`) shares with it; the sharing
    is by token, as in a radix tree (RadixAttention, Zheng 2023, arXiv:2312.07104), while each kept sequence lies
    whole in a stream or saved beside them, so that its numbers never depend on others. What only a short tail tells
    from another is not kept twice; saved sequences leave by least recent use once the memory is full.

    Only what was computed as a prompt is taken up again, never generated tokens: alone, a token's numbers differ in
    the last bits from those among others, and the same request would not always give the same text.

    Args:
        context: tokens of one sequence, at most.
        parallel: sequences computed at once, at most.
        memory: bytes for streams and saved sequences; one stream is always allowed.
    """

    def __init__(self, weights: Weights, *, context: int, parallel: int, memory: int, threads: int) -> None:
        self._weights, self._threads, self._memory = weights, threads, memory
        self._parallel = parallel
        self._saved: list[Saved] = []
        self._clock = 0
        cells = min(_SMALLEST, _rounded(context))
        self.streams = Streams(weights, count=1, cells=cells, threads=threads)
        self.slots = [Slot(0)]
        self._cell_bytes = self._measured()
        fitting = min(parallel, memory // (self._cell_bytes * cells))
        if fitting > 1:
            self._reshape(fitting, cells)

    @property
    def kept_bytes(self) -> int:
        """Bytes of the streams and of the saved sequences."""
        return self._bytes(self.streams.count, self.streams.cells) + sum(saved.kept.nbytes for saved in self._saved)

    def is_coming(self, prompt: Sequence[int], salt: str) -> bool:
        """Whether a busy slot is just computing a longer prefix of this prompt than is known."""
        wanted = np.asarray(prompt, np.int32)
        busy = [slot for slot in self.slots if slot.is_busy and slot.salt == salt and slot.known < len(slot.prompt)]
        coming = max((min(_shared(slot.prompt, wanted), len(wanted) - PIECE) for slot in busy), default=0)
        return coming > self._longest(wanted, salt)[1]

    def admit(self, prompt: Sequence[int], salt: str, *, room: int, count: int = 1) -> list[Slot] | None:
        """Busy slots for a prompt and `room` tokens after it, the first filled with what is known; None: not now.

        Raises:
            UserError: so many sequences never fit the memory.
        """
        wanted = np.asarray(prompt, np.int32)
        if not self._make_room(len(prompt) + room, count):
            return None
        source, known = self._longest(wanted, salt)
        first = self._choose(source, known)
        taken = [first]
        try:
            self._fill(first, source, known)
            first.prompt, first.salt = wanted, salt
            first.known = first.length = known
            for _ in range(count - 1):
                taken.append(self._choose(None, 0))
                self._vacate(taken[-1])
                taken[-1].is_busy = True
        except BaseException:
            for slot in taken:  # half filled: nobody may take it up
                slot.known = 0
                self.release(slot)
            raise
        return taken

    def copy(self, source: Slot, target: Slot) -> None:
        """Put a busy slot's whole sequence into another busy slot."""
        self.streams.restore(target.number, self.streams.save(source.number))
        target.length = source.length

    def cut(self, slot: Slot, length: int) -> None:
        """Forget a slot's tokens from a place on."""
        self.streams.cut(slot.number, length)
        slot.length, slot.known = length, min(slot.known, length)

    def release(self, slot: Slot) -> None:
        """Give a slot back; what was computed of its prompt may be taken up by others."""
        slot.is_busy = False
        slot.prompt = slot.prompt[: slot.known]
        self.cut(slot, slot.known)
        self._touch(slot)

    def close(self) -> None:
        """Free the memory."""
        self.streams.close()

    @property
    def _all(self) -> list[Slot | Saved]:
        return [*self.slots, *self._saved]

    def _touch(self, kept: Slot | Saved) -> None:
        self._clock += 1
        kept.used = self._clock

    def _longest(self, wanted: Tokens, salt: str) -> tuple[Slot | Saved | None, int]:
        """Who shares the longest known beginning, and how much; at least a piece is left to compute."""
        best: Slot | Saved | None = None
        known = 0
        for kept in self._all:
            if kept.salt == salt and kept.known > known:
                shared = min(_shared(kept.prompt, wanted), kept.known, len(wanted) - PIECE)
                if shared > known:
                    best, known = kept, shared
        return best, known

    def _choose(self, source: Slot | Saved | None, known: int) -> Slot:
        """An idle slot: the source itself if it loses little, else the least recently used."""
        idle = [slot for slot in self.slots if not slot.is_busy]
        if isinstance(source, Slot) and source in idle and source.known - known < _WORTH:
            return source
        return min(idle, key=lambda slot: (slot.known > 0, slot is source, slot.used))

    def _fill(self, target: Slot, source: Slot | Saved | None, known: int) -> None:
        target.is_busy = True
        if source is None or not known:
            self._vacate(target)
            return
        self._touch(source)
        if source is not target:
            kept = source.kept if isinstance(source, Saved) else self.streams.save(source.number)
            self._vacate(target)
            self.streams.restore(target.number, kept)
        elif target.known - known >= _WORTH:
            self._keep(target)
        self.streams.cut(target.number, known)

    def _vacate(self, slot: Slot) -> None:
        if slot.known:
            self._keep(slot)
        self.streams.cut(slot.number, 0)
        slot.prompt, slot.known, slot.length = _NONE, 0, 0

    def _keep(self, slot: Slot) -> None:
        """Save a sequence that is about to go, if enough of it is nowhere else."""
        mine = slot.prompt[: slot.known]
        others = [kept for kept in self._all if kept is not slot and kept.salt == slot.salt]
        elsewhere = max((min(_shared(other.prompt, mine), other.known) for other in others), default=0)
        if slot.known - elsewhere < _WORTH:
            return
        self.streams.cut(slot.number, slot.known)
        self._saved = [
            saved for saved in self._saved if saved.salt != slot.salt or _shared(saved.prompt, mine) < saved.known
        ]
        saved = Saved(mine.copy(), slot.salt, self.streams.save(slot.number), slot.used)
        self._saved.append(saved)
        self._forget()

    def _forget(self) -> None:
        self._saved.sort(key=lambda saved: saved.used)
        while self._saved and self.kept_bytes > self._memory:
            self._saved.pop(0)

    def _make_room(self, cells: int, count: int) -> bool:
        """Have `count` idle slots of so many cells, in other streams where these are too few or too short."""
        busy = sum(slot.is_busy for slot in self.slots)
        wanted, cells = _rounded(cells), max(self.streams.cells, _rounded(cells))
        if count > max(len(self.slots), self._memory // (self._cell_bytes * cells)):
            cells = wanted  # an earlier, longer request made the streams longer than this one needs
        fitting = max(1, self._memory // (self._cell_bytes * cells))
        if count > max(fitting, len(self.slots) if cells == self.streams.cells else 1):
            raise UserError(
                f"A request wants {count} sequences of {cells} tokens at once, {self._bytes(count, cells):,} bytes of "
                f"memory, of which the local engine may use {self._memory:,}. Ask for fewer, or pass a larger "
                "`memory_gb` to `local`."
            )
        streams = max(count, len(self.slots) if cells == self.streams.cells else min(fitting, len(self.slots)))
        if busy and (streams != len(self.slots) or cells < self.streams.cells or busy + count > self._parallel):
            return False
        if streams != len(self.slots) or cells != self.streams.cells:
            self._reshape(streams, cells)
        return busy + count <= len(self.slots)

    def _reshape(self, count: int, cells: int) -> None:
        """Move all that is kept into longer streams, the same to the bit; shorter ones, or another number, lose it."""
        before = self.streams
        if count != before.count or cells < before.cells:  # llama.cpp writes their number into what it saves
            self._saved, self.slots = [], [Slot(number) for number in range(before.count)]
        contents = [before.save(slot.number) if slot.length else None for slot in self.slots]
        before.close()
        try:
            self.streams = Streams(self._weights, count=count, cells=cells, threads=self._threads)
        except BaseException:
            count = before.count
            self.streams = Streams(self._weights, count=count, cells=before.cells, threads=self._threads)
            raise
        finally:
            if count != before.count:
                self.slots, contents = [Slot(number) for number in range(count)], [None] * count
            for slot, kept in zip(self.slots, contents, strict=True):
                if kept is not None:
                    self.streams.restore(slot.number, kept)
            self._forget()

    def _measured(self) -> int:
        """Bytes of one token's keys and values, from two of them."""
        empty = self.streams.save(0).nbytes
        self.streams.compute([Piece(0, 0, [0, 0], "none")])
        full = self.streams.save(0).nbytes
        self.streams.cut(0, 0)
        return max(1, (full - empty) // 2)

    def _bytes(self, count: int, cells: int) -> int:
        return count * cells * self._cell_bytes


def _rounded(cells: int) -> int:
    return max(256, 1 << (cells - 1).bit_length())


def _shared(one: Tokens, other: Tokens) -> int:
    """Tokens that two sequences have in common from their beginning."""
    length = min(len(one), len(other))
    differing = np.flatnonzero(one[:length] != other[:length])
    return int(differing[0]) if differing.size else length
