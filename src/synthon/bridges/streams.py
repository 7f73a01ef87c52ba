"""A model's answer as pieces that are read one by one, from async and from ordinary code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TypeVar

from synthon.core.light import dataclass
from synthon.core.portal import sync
from synthon.core.protocols import Model
from synthon.core.values import Completion, Delta, Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Listener:
    """Passes pieces on to a reader that cannot take any back."""

    put: Callable[[Delta], None]

    @property
    def retractable(self) -> bool:
        return False

    def __call__(self, delta: Delta, /) -> None:
        self.put(delta)


async def pieces(model: Model, request: Request) -> AsyncGenerator[Delta | Completion, None]:
    """The pieces of an answer, then the whole; closing the iterator cancels the model's call.

    Text and reasoning that the model did not say piece by piece come as a last piece.
    """
    queue: asyncio.Queue[Delta | None] = asyncio.Queue()
    task = asyncio.ensure_future(model.complete(request, _Listener(queue.put_nowait)))
    task.add_done_callback(lambda _: queue.put_nowait(None))
    text = reasoning = ""
    try:
        while (delta := await queue.get()) is not None:
            text, reasoning = text + delta.text, reasoning + delta.reasoning
            yield delta
        completion = await task
        reasons = "".join(block.text for block in completion.reasoning)
        rest = Delta(completion.text.removeprefix(text), "" if reasoning else reasons)
        if rest != Delta():
            yield rest
        yield completion
    finally:
        task.cancel()
        await asyncio.wait([task])


def read(source: Callable[[], AsyncGenerator[T, None]]) -> Iterator[T]:
    """An async iterator, read from ordinary code; it runs on Synthon's background loop."""
    iterator = source()

    async def following() -> tuple[T] | None:
        async for item in iterator:
            return (item,)
        return None

    try:
        while (found := sync(following)) is not None:
            yield found[0]
    finally:
        sync(iterator.aclose)
