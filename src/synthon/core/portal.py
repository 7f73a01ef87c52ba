"""From ordinary code into the async inside: one background loop, one function."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import TypeVar

from synthon.core.errors import UserError

T = TypeVar("T")


class _Portal:
    """The background loop's thread, started at first use; a forked child starts its own."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop | None = None

    def started(self) -> asyncio.AbstractEventLoop:
        with self.lock:
            if self.loop is None:
                self.loop = asyncio.new_event_loop()
                threading.Thread(target=self.loop.run_forever, name="synthon", daemon=True).start()
            return self.loop


_portal = _Portal()
if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows cannot fork
    os.register_at_fork(after_in_child=_portal.reset)


def sync(call: Callable[[], Coroutine[object, object, T]]) -> T:
    """Run a coroutine to its end from ordinary code, under the caller's settings, spans and budget.

    Ctrl-C cancels it and returns after it has cleaned up. Await inside async code instead: there it holds up the loop
    that it is called on, so under a budget of tokens or dollars it may wait for a call of that loop which then never
    ends; and nesting `asyncio.to_thread` and `.sync()` many deep (about 40) uses up the executor's threads and hangs.

    Raises:
        UserError: called on Synthon's own loop, where waiting would never end.
    """
    loop = _portal.started()
    if _running_loop() is loop:
        msg = "`.sync()` was called on Synthon's own loop and would wait for itself. Write `await step(...)` there."
        raise UserError(msg)
    context = contextvars.copy_context()
    done: Future[T] = Future()
    tasks: list[asyncio.Task[None]] = []

    async def whole() -> None:
        try:
            done.set_result(await call())
        except BaseException as error:  # noqa: BLE001 - the caller's thread raises it; SystemExit here would end the loop
            done.set_exception(error)

    loop.call_soon_threadsafe(lambda: tasks.append(loop.create_task(whole(), context=context)))
    try:
        return done.result()
    except KeyboardInterrupt:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
        done.exception()
        raise


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
