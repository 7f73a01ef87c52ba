"""A model that counts what reaches it, as a provider's bill would."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from synthon.core.protocols import discard
from synthon.core.values import Completion, Delta, Message, Request, Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from synthon.core.protocols import Emit
    from synthon.core.values import Capability


class Counting:
    """Answers each request with a text of its own, word by word; `seen` holds what was sent to it.

    Args:
        answer: from a request to its text; by default the model's name, the last message and the sample number.
        waits_s: how long an answer takes.
        fails: errors raised in place of the first answers, None where one is given.
        usage: what each call reports.
    """

    capabilities: frozenset[Capability] = frozenset({"chat"})

    def __init__(
        self,
        name: str = "counting",
        answer: Callable[[Request], str] | None = None,
        *,
        waits_s: float = 0.0,
        fails: Sequence[BaseException | None] = (),
        usage: Usage | None = None,
    ) -> None:
        self.name = self.identity = name
        self.answer = answer or (lambda request: f"{name} says {request.messages[-1].text} {request.sample}")
        self.waits_s = waits_s
        self.fails = list(fails)
        self.usage = usage or Usage(input_tokens=1, output_tokens=1)
        self.seen: list[Request] = []
        self.cancelled = 0
        self.running = 0

    @property
    def calls(self) -> int:
        return len(self.seen)

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        self.seen.append(request)
        failure = self.fails.pop(0) if self.fails else None
        self.running += 1
        try:
            text = self.answer(request)
            pieces = text.split(" ")
            for number, piece in enumerate(pieces):
                if number == (len(pieces) + 1) // 2:
                    await asyncio.sleep(self.waits_s)
                    if failure is not None:
                        raise failure
                emit(Delta(text=piece if number == 0 else f" {piece}"))
            if len(pieces) == 1:
                await asyncio.sleep(self.waits_s)
                if failure is not None:
                    raise failure
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return Completion(text, usage=self.usage, model=self.name)


async def until(holds: Callable[[], bool]) -> None:
    """Wait, 10 s at most, for something that another task brings about."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what is waited for knows of no event
            await asyncio.sleep(0.001)


def ask(text: str, *, temperature: float | None = 0.0, sample: int = 0, max_tokens: int | None = None) -> Request:
    """A request of one user turn; greedy unless a temperature says otherwise."""
    return Request((Message("user", text),), temperature=temperature, sample=sample, max_tokens=max_tokens)
