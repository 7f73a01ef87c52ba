"""One thread per engine: it owns the model, requests from any loop or thread wait in line, first come first served."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import os
from concurrent.futures import Future
from dataclasses import dataclass, field
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING, Generic, TypeVar

from synthon.core.errors import ProviderError
from synthon.models.engine.binding import Aborted, Llama

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Settings:
    """What makes two engines the same: weights, context in tokens, threads."""

    path: Path
    context: int
    threads: int


def _flag() -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(2)


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    work: Callable[[Llama], T]
    result: Future[T] = field(default_factory=Future)
    flag: ctypes.Array[ctypes.c_char] = field(default_factory=_flag)

    def stop(self) -> None:
        self.flag[0] = b"\x01"

    def run(self, llama: Llama) -> None:
        try:
            llama.watch(self.flag)
            llama.clear()
            self.result.set_result(self.work(llama))
        except Aborted:
            self.fail(_closed())
        except BaseException as error:  # noqa: BLE001 - the edge of a request: whoever waits gets it
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        self.result.set_exception(error)


def _closed() -> ProviderError:
    return ProviderError("The local engine was closed before it had answered. Ask again: that loads the model anew.")


class Engine:
    """A model in a thread of its own, loaded by the first request.

    A request is cancelled by cancelling the task that waits for it: a waiting one is never begun, a running one
    stops within a token (within a layer of a prompt), the others are not touched. After a `fork` the child process
    loads an engine of its own.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._jobs: SimpleQueue[_Job[object] | None] = SimpleQueue()
        self._current: _Job[object] | None = None
        self._is_closed = False
        self._thread = Thread(target=self._work, name=f"synthon engine {settings.path.name}", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[Llama], T]) -> T:
        """What `work` returns, computed in the engine's thread; the context is empty at first.

        Raises:
            ProviderError: the engine was closed meanwhile.
            UserError: the model cannot be loaded.
        """
        job = _Job(work)
        with _lock:
            if self._is_closed:
                raise _closed()
            self._jobs.put(job)  # type: ignore[arg-type] # the queue holds jobs of any result
        try:
            return await asyncio.wrap_future(job.result)
        finally:
            job.stop()

    def close(self) -> None:
        """Stop what runs, refuse what waits, free the memory."""
        with _lock:
            if _engines.get(self.settings) is self:
                del _engines[self.settings]
            self._is_closed = True
            self._jobs.put(None)
            current = self._current
        if current is not None:
            current.stop()
        self._thread.join()

    def _work(self) -> None:
        llama: Llama | None = None
        while (job := self._jobs.get()) is not None:
            if not job.result.set_running_or_notify_cancel():
                continue
            self._current = job
            if self._is_closed:
                job.fail(_closed())
                continue
            try:
                llama = llama or Llama(self.settings.path, context=self.settings.context, threads=self.settings.threads)
            except BaseException as error:  # noqa: BLE001 - whoever waits gets it, the next request tries again
                job.fail(error)
                continue
            job.run(llama)
            self._current = None
            del job
        if llama is not None:
            llama.close()


_engines: dict[Settings, Engine] = {}
_lock = Lock()


def engine_for(settings: Settings) -> Engine:
    """The process's engine of these settings."""
    with _lock:
        if (engine := _engines.get(settings)) is None:
            engine = _engines[settings] = Engine(settings)
        return engine


def _close_all() -> None:
    for engine in list(_engines.values()):
        engine.close()


def _forget_all() -> None:
    """A forked child has none of the threads; what the parent loaded stays the parent's."""
    global _lock  # noqa: PLW0603 - the parent may have held it
    _lock = Lock()
    _engines.clear()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
