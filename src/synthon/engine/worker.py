"""One thread per engine: it owns the model; requests come from any loop or thread."""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock, Thread
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from synthon.engine.binding import Weights, rounds_alike
from synthon.engine.prefixes import Prefixes
from synthon.engine.scheduler import Job, Scheduler, closed, flag

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from synthon.core.constraints import Constraint
    from synthon.core.values import Completion
    from synthon.decoding import Vocabulary
    from synthon.engine.scheduler import Program


_COMPILING = 2  # constraints at once; those that take too long are given up after 2 s


@dataclass(frozen=True, slots=True)
class Settings:
    """What makes two engines the same.

    `context` is in tokens, `memory` in bytes; a `deterministic` engine computes sequences in one call only where that
    changes no number.
    """

    path: Path
    context: int
    threads: int
    parallel: int = 8
    memory: int = 1_000_000_000
    deterministic: bool = True
    adapter: Path | None = None


class Engine:
    """A model in a thread of its own, loaded by the first request.

    A request is cancelled by cancelling the task that waits for it: a waiting one is never begun, a running one
    stops after the tokens that are being computed (alone, within a layer), the others are not touched. After a `fork`
    the child process loads an engine of its own.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings, self.files = settings, _stamps(settings)
        self.named_by: WeakValueDictionary[int, object] = WeakValueDictionary()  # by id: equal models are several
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._closing = flag()
        self._is_closed = False
        self._waiting: list[Job] = []
        self._compiling = ThreadPoolExecutor(_COMPILING, thread_name_prefix="synthon masks")
        self._thread = Thread(target=self._work, name=f"synthon engine {settings.path.name}", daemon=True)
        self._thread.start()

    async def run(self, work: Callable[[Weights], Program], constraint: Constraint | None = None) -> Completion:
        """What the program that `work` makes returns, computed in the engine's thread.

        Args:
            constraint: what `work` will ask masks for; they are compiled beside that thread, so that nobody else waits.

        Raises:
            ProviderError: the engine was closed meanwhile.
            UserError: the model cannot be loaded, or see `decoding.compiled`.
            SchemaTooLarge, Unsupported: see `decoding.compiled`.
        """
        job = Job(work, constraint)
        with _lock:
            if self._is_closed:
                raise closed()
            self._waiting.append(job)
            self._jobs.put(job)
        try:
            return await asyncio.wrap_future(job.result)
        finally:
            job.stop()
            with _lock:
                if job in self._waiting:
                    self._waiting.remove(job)

    def close(self) -> None:
        """Stop what runs, refuse what waits, free the memory."""
        with _lock:
            if _engines.get(self.settings) is self:
                del _engines[self.settings]
            self._is_closed = True
            self._closing[0] = b"\x01"
            for job in self._waiting:
                job.stop()
            self._jobs.put(None)
        self._thread.join()

    def _work(self) -> None:
        weights: Weights | None = None
        prefixes: Prefixes | None = None
        scheduler: Scheduler | None = None
        while not self._is_closed:
            if scheduler is None or scheduler.is_idle or not self._jobs.empty():
                job = self._jobs.get()
                if job is None:
                    break
                try:
                    weights = weights or Weights(self.settings.path, self.settings.adapter)
                    prefixes = prefixes or self._prefixes(weights)
                    scheduler = scheduler or Scheduler(weights, prefixes, self._closing, self._joins(weights))
                    if self._is_compiled_first(job, weights):
                        continue
                except BaseException as error:  # noqa: BLE001 - whoever waits gets it, the next request tries again
                    if job.result.set_running_or_notify_cancel():
                        job.result.set_exception(error)
                    continue
                scheduler.add(job)
                del job
                continue
            try:
                scheduler.step()
            except BaseException as error:  # noqa: BLE001 - a dead thread would leave all who come later waiting
                scheduler.fail_all(error)
        self._compiling.shutdown()  # it uses the weights
        self._refuse(scheduler)
        if prefixes is not None:
            prefixes.close()
        if weights is not None:
            weights.close()

    def _is_compiled_first(self, job: Job, weights: Weights) -> bool:
        """Whether the job comes back later, once masks that are not there yet are made."""
        constraint, job.constraint = job.constraint, None
        if constraint is None or weights.vocabulary.holds(constraint):
            return False
        weights.vocabulary.engine  # noqa: B018 - made once, here
        self._compiling.submit(self._compile, job, constraint, weights.vocabulary)
        return True

    def _compile(self, job: Job, constraint: Constraint, vocabulary: Vocabulary) -> None:
        from synthon.decoding import compiled  # noqa: PLC0415 - needs llguidance, and only constraints do

        try:
            if not (self._is_closed or job.is_stopped):
                compiled(constraint, vocabulary)
        except BaseException as error:  # noqa: BLE001 - the edge of a request: whoever waits gets it
            if job.result.set_running_or_notify_cancel():
                job.result.set_exception(error)
        else:
            self._jobs.put(job)

    def _prefixes(self, weights: Weights) -> Prefixes:
        settings = self.settings
        return Prefixes(
            weights,
            context=min(settings.context, weights.trained_context),
            parallel=settings.parallel,
            memory=settings.memory,
            threads=settings.threads,
        )

    def _joins(self, weights: Weights) -> Callable[[], bool]:
        settings = self.settings
        return functools.cache(lambda: not settings.deterministic or rounds_alike(weights, settings.threads))

    def _refuse(self, scheduler: Scheduler | None) -> None:
        if scheduler is not None:
            scheduler.fail_all(closed())
        while not self._jobs.empty():
            job = self._jobs.get()
            if job is not None and job.result.set_running_or_notify_cancel():
                job.result.set_exception(closed())


_engines: dict[Settings, Engine] = {}
_lock = Lock()


def engine_for(settings: Settings, model: object) -> Engine:
    """The process's engine of these settings, which the model names for as long as it lives.

    Where it is a new one, those that no model names any more are closed, and so is one whose file was replaced.
    """
    files = _stamps(settings)
    with _lock:
        engine = _engines.get(settings)
        if engine is None or engine.files != files:
            for each in [each for each in _engines.values() if each is engine or not each.named_by]:
                del _engines[each.settings]
                Thread(target=each.close).start()  # it waits for the lock
            engine = _engines[settings] = Engine(settings)
        engine.named_by[id(model)] = model
    return engine


def _stamps(settings: Settings) -> list[tuple[int, int, int]]:
    """What tells the files from others that were put in their place."""
    found = [path.stat() for path in (settings.path, settings.adapter) if path is not None and path.exists()]
    return [(status.st_ino, status.st_size, status.st_mtime_ns) for status in found]


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
