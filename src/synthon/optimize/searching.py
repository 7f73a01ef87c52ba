"""The loop of every search: a method asks, the points are measured, until nothing is asked or nothing may be spent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from synthon.core.errors import BudgetExceeded
from synthon.optimize.history import Ask, History, Measure

if TYPE_CHECKING:
    from synthon.core.budget import Budget

_BATCH = 8  # asks
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
    """Fill the history by a method, in batches of a few asks; the very first alone, and all that money or tokens limit.

    What does not fit into the calls left is not asked; a batch that the budget stops on its way is dropped whole, so
    the result does not depend on how far its parts came.
    """
    while asks := history.affordable(await method.propose(history)):
        while asks:
            size = _BATCH if history.rows and (history.room is None or history.room() is None) else 1
            batch, asks = history.affordable(asks[:size]), asks[size:]
            try:
                answers = await measure(batch) if batch else []
            except BudgetExceeded:
                return
            for ask, measured in zip(batch, answers, strict=True):
                history.add(ask.point, measured)


def affords(budget: Budget, share: float = 1.0) -> int | None:
    """Calls that a share of a budget's tokens and dollars still pays for, if they are like those so far.

    None where it has no such limit, or nothing is known yet.
    """
    spent, found = budget.spent, []
    for limit, used in ((budget.tokens, spent.tokens), (budget.usd, spent.usd)):
        if limit is not None and used:
            found.append(max(0, int((limit * share - used) * spent.calls / used)))
    return min(found, default=None)


__all__ = ["Measuring", "Method", "affords", "search"]
