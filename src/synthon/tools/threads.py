"""Functions that are not async, in threads."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


async def threaded(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """What a function returns, from a thread.

    Raises:
        RuntimeError: it raised a StopIteration, which no future can carry: who waits would wait for ever.
    """

    def called() -> T:
        try:
            return fn(*args, **kwargs)
        except StopIteration as error:
            raise RuntimeError(f"the function raised {error!r}") from error

    return await asyncio.to_thread(called)
