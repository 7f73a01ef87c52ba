"""Several calls at once, none of which outlives the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from synthon.core.errors import Suspended

T = TypeVar("T")


async def together(asked: Iterable[Awaitable[T]]) -> list[T]:
    """The answers in order.

    Where one fails the others are cancelled, and have ended, before its error goes on: no call is paid and nothing is
    done to the world for an answer that nobody gets. Where one waits for a person the others go as far as they can.
    """
    tasks = [asyncio.ensure_future(each) for each in asked]
    try:
        return await asyncio.gather(*tasks)
    except BaseException as error:
        for task in () if isinstance(error, Suspended) else tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
