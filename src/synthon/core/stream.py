"""Streaming: a program's pieces while it runs, and the draft that may be taken back."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from typing import Generic, TypeVar

from synthon.core.errors import UserError
from synthon.core.light import dataclass
from synthon.core.output import Output
from synthon.core.protocols import Emit
from synthon.core.running import log, sink
from synthon.core.values import Delta

T = TypeVar("T")


class Draft:
    """Text that may be withdrawn: passed on where the listener can take back, else held until it stands.

    `hold=False` passes everything on; then `withdraw` says whether text is out that cannot be taken back.
    """

    def __init__(self, emit: Emit, *, hold: bool = True) -> None:
        self._emit = emit
        self._hold = hold and not emit.retractable
        self.retractable = self._hold or emit.retractable
        self._held: list[Delta] = []
        self._out = False

    def __call__(self, delta: Delta, /) -> None:
        """Take a piece."""
        if delta.reset:
            self.withdraw()
        elif self._hold:
            self._held.append(delta)
        else:
            self._out = True
            self._emit(delta)

    def withdraw(self) -> bool:
        """Take back all that came; False when text is out for good."""
        self._held.clear()
        if self._out and not self._emit.retractable:
            return False
        if self._out:
            self._emit(Delta(reset=True))
        self._out = False
        return True

    def keep(self) -> None:
        """Let held text out: it stands."""
        for delta in self._held:
            self._out = True
            self._emit(delta)
        self._held.clear()


@dataclass(frozen=True, slots=True)
class Partial:
    """What an unfinished step already says: `value` of its output type, as far as it was read."""

    step: str
    span: str
    value: object


class Sink:
    """Where the steps of one stream send their pieces, from any loop; never raises."""

    def __init__(self, put: Callable[[Delta], None], *, retractable: bool) -> None:
        self.retractable = retractable
        self.outputs: dict[str, Output[object]] = {}
        self._put = put
        self._loop = asyncio.get_running_loop()

    def __call__(self, delta: Delta, /) -> None:
        """Pass a piece on to the reader."""
        try:
            self._loop.call_soon_threadsafe(self._put, delta)
        except RuntimeError:
            log.debug("a piece came after its stream's loop was closed")

    def reset(self) -> None:
        """Take back what every step has sent: the program starts again."""
        for span in self.outputs:
            self(Delta(span=span, reset=True))

    def of(self, step: str, span: str, output: Output[object]) -> Emit:
        """The listener for one step's call: its pieces bear the step's name and span."""
        self.outputs[span] = output
        return _Named(self, step, span, self.retractable)


@dataclass(frozen=True, slots=True)
class _Named:
    sink: Sink
    step: str
    span: str
    retractable: bool

    def __call__(self, delta: Delta, /) -> None:
        self.sink(replace(delta, step=self.step, span=self.span))


class Stream(Generic[T]):
    """A running program, read piece by piece; leaving the block cancels what still runs.

    Iterate it for every `Delta` of every step, or iterate `partials()` for typed values as they grow; then
    `await result()`. What is left of a step's text after its last `reset` is its completion. Where the program fails,
    all three raise what it raised, after its last piece.

        async with support.stream("Where is my card?") as stream:
            async for delta in stream: print(delta.text, end="")
            answer = await stream.result()
    """

    def __init__(self, start: Callable[[], Coroutine[object, object, T]], *, retractable: bool = True) -> None:
        self._start = start
        self._retractable = retractable
        self._task: asyncio.Task[T] | None = None

    async def __aenter__(self) -> Stream[T]:
        self._queue: asyncio.Queue[Delta | None] = asyncio.Queue()
        put = self._queue.put_nowait
        self._sink = Sink(put, retractable=self._retractable)
        context = contextvars.copy_context()
        context.run(sink.set, self._sink)
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._start(), context=context)
        self._task.add_done_callback(lambda _: loop.call_soon(put, None))
        return self

    async def __aexit__(self, *_: object) -> None:
        task = self._running()
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and task.exception() is not None:
            log.debug("the streamed program ended with %r", task.exception())

    def _running(self) -> asyncio.Task[T]:
        if self._task is not None:
            return self._task
        raise UserError(
            "A stream was read that was not entered. Enter it first:\n"
            "    async with support.stream(message) as stream:\n        async for delta in stream: ..."
        )

    def __aiter__(self) -> AsyncIterator[Delta]:
        return (delta async for delta in self._pieces() if delta is not None)

    async def _pieces(self) -> AsyncIterator[Delta | None]:
        """Every piece, None after the last, then what the program raised."""
        task = self._running()
        while (delta := await self._queue.get()) is not None:
            yield delta
        self._queue.put_nowait(None)
        yield None
        if not task.cancelled():  # as one is whose block was left early
            task.result()

    async def partials(self) -> AsyncIterator[Partial]:
        """Typed values as they grow, one after each piece that changes what its step says.

        JSON is read again when it has grown by a 64th, where it is closed, and at the stream's end.
        """
        whole: dict[str, Delta] = {}
        read: dict[str, tuple[int, object]] = {}
        async for delta in self._pieces():
            if delta is not None:
                before = "" if delta.reset or delta.span not in whole else whole[delta.span].text
                whole[delta.span] = replace(delta, text=before + delta.text)
            for each in whole.values() if delta is None else [whole[delta.span]]:
                output, text = self._sink.outputs[each.span], each.text
                length, last = read.get(each.span, (0, None))
                is_closed = text.endswith("}") and text.count("{") == text.count("}")
                if delta is None or output.is_text or is_closed or not length <= len(text) < length * 65 / 64:
                    value = output.partial(text)
                    read[each.span] = len(text), last if value is None else value
                    if value is not None and value != last:
                        yield Partial(each.step, each.span, value)

    async def result(self) -> T:
        """The program's result, or what it raised.

        Raises:
            UserError: the block was left before the program ended.
        """
        task, own = self._running(), asyncio.current_task()
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not task.cancelled() or (own is not None and own.cancelling()):
                raise
            raise UserError("The stream's block was left before its program ended. Await result() in it.") from None
