"""The loop of every search: a method asks, the points are measured, until nothing is asked or nothing may be spent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from synthon.core.errors import BudgetExceeded
from synthon.optimize.history import Ask, History, Measure

Measuring = Callable[[Sequence[Ask]], Awaitable[Sequence[Mapping[int, Measure]]]]
"""Measures a batch of asks, as many at once as it likes; answers in their order, a row for every case asked."""


class Method(Protocol):
    """A way to choose what is measured next."""

    @property
    def name(self) -> str: ...

    async def propose(self, history: History) -> Sequence[Ask]:
        """The next batch, empty when done.

        It depends on the history (with its seed) alone, so a search that is run again takes the same way.
        """
        ...


async def search(method: Method, history: History, measure: Measuring) -> None:
    """Fill the history by a method, in whole batches.

    What does not fit into the calls left is not asked; a batch that the budget stops on its way is dropped whole, so
    the result does not depend on how far its parts came.
    """
    while asks := history.affordable(await method.propose(history)):
        try:
            answers = await measure(asks)
        except BudgetExceeded:
            return
        for ask, measured in zip(asks, answers, strict=True):
            history.add(ask.point, measured)


__all__ = ["Measuring", "Method", "search"]
