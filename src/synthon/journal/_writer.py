"""One thread that keeps rows in groups, and tells those who wait when their group is on disk."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections import deque
from concurrent.futures import Future
from contextlib import suppress
from typing import TYPE_CHECKING

from synthon.core.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from synthon.journal.rows import Row

Waiter = asyncio.Future[None] | Future[None]
BUSY, LINGERING, ASLEEP = 0, 1, 2


class Writer:
    """Collects rows and gives them to `commit` in groups, from one thread that starts with the first row.

    A row wakes the thread only when it sleeps, a waiter also when it lingers: no hand-over of the GIL per row.
    All of it is lock-free for the callers: deques are atomic, and each side announces itself before it looks.

    Args:
        commit: keeps the rows of a group on disk, or raises.
        explain: makes a message for people of what `commit` raised.
        linger_s: how long a group waits for more rows while nobody waits for it.
    """

    def __init__(
        self, commit: Callable[[Sequence[Row]], None], explain: Callable[[Exception], str], linger_s: float
    ) -> None:
        self._commit, self._explain, self._linger_s = commit, explain, linger_s
        self.failure = ""
        self.stopped = False
        self.reset()

    def reset(self) -> None:
        """Forget rows, waiters and the thread: a forked child's are its parent's."""
        self._rows: deque[Row] = deque()
        self._waiters: deque[Waiter] = deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self.committing = threading.Lock()
        self._unsettled = False
        self._state = ASLEEP

    def put(self, row: Row) -> None:
        """Take a row; returns at once."""
        if self.failure:
            raise JournalError(self.failure)
        self._rows.append(row)
        if self._state == ASLEEP:
            self._ring()

    async def durable(self) -> None:
        """Return when all rows put before are kept."""
        # rows first: the thread says that it is unsettled before it takes them
        if self._rows or self._unsettled:
            waiter = asyncio.get_running_loop().create_future()
            self._wait_by(waiter)
            await waiter
        elif self.failure:
            raise JournalError(self.failure)

    def flush(self) -> None:
        """Block until all rows put before are kept."""
        if self._rows or self._unsettled:
            waiter: Future[None] = Future()
            self._wait_by(waiter)
            waiter.result()
        elif self.failure:
            raise JournalError(self.failure)

    def stop(self) -> None:
        """Refuse what comes from now on, keep what was put, end the thread.

        Raises:
            JournalError: a row put before could not be kept.
        """
        closed = "The journal is closed. Write before close(), or open it again."
        self.failure = self.failure or closed
        self.stopped = True
        thread = self._thread
        if thread is not None:
            self._bell.put(None)
            thread.join()
        if self.failure != closed:
            raise JournalError(self.failure)

    def _wait_by(self, waiter: Waiter) -> None:
        self._waiters.append(waiter)
        if self.failure:
            raise JournalError(self.failure)
        if self._state != BUSY:
            self._ring()

    def _ring(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="synthon-journal", daemon=True)
                thread.start()
                self._thread = thread
        self._state = BUSY
        self._bell.put(None)

    def _work(self) -> None:
        while self._next_group():
            with self.committing:
                # waiters before rows: a waiter's rows were put before it came
                self._unsettled = True
                waiters = [self._waiters.popleft() for _ in range(len(self._waiters))]
                rows = [self._rows.popleft() for _ in range(len(self._rows))]
                try:
                    if rows:
                        self._commit(rows)
                except Exception as error:  # noqa: BLE001 - the edge of the thread; all who wait or write get it
                    self._fail(error, waiters)
                    return
                self._unsettled = False
            _settle_all(waiters, "")

    def _next_group(self) -> bool:
        """Sleep until there is something to do, linger while nobody waits; False when it is time to end."""
        # stopped first: who came before it is then seen
        while (stopped := self.stopped) or not self._rows:
            if self._rows or self._waiters:
                return True
            if stopped:
                return False
            self._pause(ASLEEP, None)
        self._pause(LINGERING, self._linger_s)
        return True

    def _pause(self, state: int, timeout_s: float | None) -> None:
        self._state = state
        if not (self.stopped or self._waiters or (self._rows and state == ASLEEP)):
            with suppress(queue.Empty):
                self._bell.get(timeout=timeout_s)
        self._state = BUSY

    def _fail(self, error: Exception, waiters: list[Waiter]) -> None:
        self.failure = self._explain(error)
        waiters += [self._waiters.popleft() for _ in range(len(self._waiters))]
        self._unsettled = False
        _settle_all(waiters, self.failure)


def _settle_all(waiters: list[Waiter], failure: str) -> None:
    """Wake everyone, with one call into each event loop."""
    loops: dict[asyncio.AbstractEventLoop, list[Waiter]] = {}
    for waiter in waiters:
        if isinstance(waiter, Future):
            _settle([waiter], failure)
        else:
            loops.setdefault(waiter.get_loop(), []).append(waiter)
    for loop, here in loops.items():
        with suppress(RuntimeError):  # the loop was closed meanwhile: nobody waits there any more
            loop.call_soon_threadsafe(_settle, here, failure)


def _settle(waiters: list[Waiter], failure: str) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if failure:
            waiter.set_exception(JournalError(failure))
        else:
            waiter.set_result(None)
