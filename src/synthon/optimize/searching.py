"""The loop of every search: a method asks, the points are measured, until nothing is asked or nothing may be spent."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from synthon.core.errors import BudgetExceeded, UserError
from synthon.optimize.history import Ask, History, Measure

if TYPE_CHECKING:
    from synthon.core.budget import Budget

_BATCH = 8  # asks
_FEW = 4  # cases of the first ask, at least
_FRUITLESS = 8  # proposals in a row of which nothing fits
_EDGE = 64  # calls before the end of money or tokens, from which on one case is measured at a time
Measuring = Callable[[Sequence[Ask]], Awaitable[Sequence[Mapping[int, Measure]]]]
"""Measures a batch of asks, as many at once as it likes; answers in their order, a row for every case asked.

A point that cannot be run has no row, and is left out of the history (`History.leave_out`).
"""


class Method(Protocol):
    """A way to choose what is measured next."""

    @property
    def name(self) -> str: ...

    def propose(self, history: History) -> Sequence[Ask] | Awaitable[Sequence[Ask]]:
        """The next batch, empty when done; `async` or not.

        It depends on the history (with its seed) alone, so a search that is run again takes the same way. Points that
        are out (`History.is_out`) are not measured again.
        """
        ...


async def search(method: Method, history: History, measure: Measuring) -> None:
    """Fill the history by a method, in batches of a few asks; the very first alone, and all that money or tokens limit.

    The default is measured first, whatever the method asks. An ask is shortened to the cases that fit into what is
    left; a point of which none fits is set aside, and the others go on. If the budget ended something, the rest of it
    goes to the cases that the front has not seen, the best first.

    A batch that the budget stops on its way is dropped whole, so the result does not depend on how far its parts came.
    If it spent something, what is left does depend on that, and only what needs no call is measured from then on;
    near the end of money or tokens cases are measured one by one, where that cannot be.

    Raises:
        UserError: the method asks for something that there is not.
    """
    history.aside.clear()
    await _Search(method, history, measure).through()


@dataclass
class _Search:
    method: Method
    history: History
    measure: Measuring
    is_cut: bool = field(default=False, init=False)
    is_over: bool = field(default=False, init=False)
    is_tight: bool = field(default=False, init=False)

    async def through(self) -> None:
        history, fruitless = self.history, 0
        while fruitless < _FRUITLESS and not self.is_over:
            asks = self._new(await self._proposed())
            if not history.rows:
                asks = self._default_first(asks)
                if not asks or not await self._all(asks[:1]):
                    return
            if not asks:
                break
            fruitless = 0 if await self._all(asks) else fruitless + 1
            if fruitless and history.left == 0:
                break
        if self.is_cut and not self.is_over:
            await self._fill()

    async def _proposed(self) -> Sequence[Ask]:
        asks = self.method.propose(self.history)
        found = await asks if inspect.isawaitable(asks) else asks
        _refuse_unknown(found, self.method, self.history)
        return found

    def _new(self, asks: Sequence[Ask]) -> list[Ask]:
        """The asks without what is known, asked twice, or out."""
        seen = {ask.point: set(self.history.rows.get(ask.point, ())) for ask in asks}
        new: list[Ask] = []
        for ask in asks:
            cases = tuple(case for case in dict.fromkeys(ask.cases) if case not in seen[ask.point])
            seen[ask.point].update(cases)
            new += [Ask(ask.point, cases)] if cases and not self.history.is_out(ask.point) else []
        return new

    def _default_first(self, asks: Sequence[Ask]) -> list[Ask]:
        """The asks behind the one for the default; none where not even a few cases of that fit."""
        default = self.history.space.default
        own = [ask for ask in asks if ask.point == default] or [Ask(default, self.history.unseen(default, _BATCH))]
        fitting = self.history.fitting([Ask(default, own[0].cases[:_BATCH])])  # they show what a case costs
        if not fitting or len(fitting[0].cases) < min(_FEW, len(own[0].cases)):
            return []
        return [*fitting, *own, *(ask for ask in asks if ask.point != default)]

    async def _all(self, asks: Sequence[Ask]) -> bool:
        """Measure what fits of some asks, in batches; whether anything came of it."""
        history, went = self.history, False
        while asks and not self.is_over:
            size = _BATCH if history.room is None or history.room() is None else 1
            wanted, asks = self._new(asks[:size]), asks[size:]
            batch = history.fitting(wanted)
            self.is_cut |= batch != wanted
            history.aside.update({ask.point for ask in wanted} - {ask.point for ask in batch})
            if self._is_narrow(batch):
                went |= any([await self._went([Ask(ask.point, (case,))]) for ask in batch for case in ask.cases])
            elif batch:
                went |= await self._went(batch)
        return went

    def _is_narrow(self, batch: Sequence[Ask]) -> bool:
        """Whether the budget may stop some of it on its way."""
        history = self.history
        worst = history.worst_case(batch)
        if not worst or history.room is None:
            return False
        room = history.room()
        return self.is_tight or (room is not None and worst + _EDGE > room)

    async def _went(self, batch: Sequence[Ask]) -> bool:
        """Measure a batch; False if the budget stopped it, or if one of it is out already."""
        history = self.history
        if any(history.is_out(ask.point) for ask in batch):
            return False
        before = history.spent
        try:
            answers = await self.measure(batch)
        except BudgetExceeded as error:
            self.is_cut, self.is_over = True, error.limit.startswith("minutes")
            history.aside.update(ask.point for ask in batch)
            is_whole = len(batch) == 1 and (len(batch[0].cases) == 1 or history.spent == before)
            if history.meter is None or not is_whole:
                history.closed = True
            self.is_tight = True
            return False
        for ask, measured in zip(batch, answers, strict=True):
            if measured:
                history.add(ask.point, measured)
        return True

    async def _fill(self) -> None:
        """Give the front the cases it has not seen, as far as the budget goes; what differs offline only with it."""
        history, went = self.history, True
        while went:
            front = [each for point in history.front() for each in self._new([Ask(point, history.unseen(point))])]
            ask = next((ask for ask in front if history.fitting([ask])), None)
            went = ask is not None
            if ask is not None:
                same = [
                    each for each in history.space.siblings(ask.point) if each != ask.point and each in history.rows
                ]
                if not await self._all([ask, *(Ask(each, history.unseen(each)) for each in same)]):
                    history.aside.add(ask.point)


def _refuse_unknown(asks: object, method: Method, history: History) -> None:
    """What a method asks for has to be there.

    Raises:
        UserError: says what is not.
    """
    where = f"The method {name_of(method)!r}"
    hint = "Let `propose` give a list of Ask(point, cases), empty when done."
    if not isinstance(asks, Sequence) or isinstance(asks, str):
        raise UserError(f"{where} proposed {asks!r:.200}, which is no list. {hint}")
    shape, cases = history.space.shape, range(history.cases)
    for ask in asks:
        if not isinstance(ask, Ask):
            raise UserError(f"{where} proposed {ask!r:.200}, which is no Ask. {hint}")
        point: object = ask.point
        if not isinstance(point, tuple) or len(point) != len(shape) or not all(map(_is_in, point, map(range, shape))):
            msg = f"{where} asked for the point {point!r:.200}, which the space has not: a point is a tuple of"
            sizes = ", ".join(f"{each.name} 0 to {len(each.values) - 1}" for each in history.space.dimensions)
            raise UserError(f"{msg} places, {sizes}. Take one of `history.space.points()`.")
        if bad := [case for case in ask.cases if not _is_in(case, cases)]:
            msg = f"{where} asked for the case {bad[0]!r} of the point {point!r}, and there are {len(cases)}: "
            raise UserError(f"{msg}0 to {len(cases) - 1}. Take them from `history.unseen(point)`.")


def _is_in(place: object, places: range) -> bool:
    return isinstance(place, int) and place in places


def name_of(method: Method) -> str:
    """A method's name, that of its class where it has none."""
    return str(getattr(method, "name", type(method).__name__))


def affords(budget: Budget, share: float = 1.0) -> int | None:
    """Calls that a share of a budget's tokens and dollars still pays for, if they are like those so far.

    None where it has no such limit, or nothing is known yet.
    """
    spent, found = budget.spent, []
    for limit, used in ((budget.tokens, spent.tokens), (budget.usd, spent.usd)):
        if limit is not None and used:
            found.append(max(0, int((limit * share - used) * spent.calls / used)))
    return min(found, default=None)


__all__ = ["Measuring", "Method", "affords", "name_of", "search"]
