"""Limits that are never passed: reserve before the worst case, settle after to what was used."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

from synthon.core.errors import BudgetExceeded, UserError
from synthon.core.identity import load_completion, plain
from synthon.core.protocols import Journal, Key
from synthon.core.values import Image, Price, Request, Usage

_TURN_TOKENS = 16
_TOOLS_TOKENS = 1024  # endpoints add an unseen preamble to requests with tools
_lock = Lock()


class Amount(NamedTuple):
    """Calls, tokens (in and out) and dollars."""

    calls: int = 0
    tokens: int = 0
    usd: float = 0.0

    def plus(self, other: Amount, sign: int = 1) -> Amount:
        """The sum, or with `sign=-1` the difference."""
        return Amount(self.calls + sign * other.calls, self.tokens + sign * other.tokens, self.usd + sign * other.usd)

    def at_most(self, most: Amount) -> Amount:
        """Each part, not above that of `most` where it has one."""
        calls, tokens = most.calls or self.calls, most.tokens or self.tokens
        return Amount(min(self.calls, calls), min(self.tokens, tokens), min(self.usd, most.usd or self.usd))

    def __str__(self) -> str:
        shown = [f"{self.calls} calls"]
        shown += [f"{self.tokens} tokens"] if self.tokens else []
        return ", ".join([*shown, f"${self.usd:.6f}"] if self.usd else shown)


def counts(model: object) -> bool:
    """Whether budgets see all that a model is asked: it keeps a journal, or every model that it holds does.

    One of a user's own that asks such models in a way that cannot be seen from outside says `counts = True`.
    """
    own = getattr(model, "counts", None)
    if isinstance(own, bool):
        return own
    held = [each if isinstance(each, list | tuple) else [each] for each in getattr(model, "__dict__", {}).values()]
    inner = [each for several in held for each in several if hasattr(each, "complete")]
    return bool(inner) and all(map(counts, inner))


def used(usage: Usage) -> Amount:
    """What a finished call counts."""
    return Amount(usage.attempts, usage.tokens, usage.cost_usd or 0.0)


class Budget:
    """A hard limit on calls, tokens, dollars and minutes, shared by all that runs under it.

    A call whose worst case could pass the limit waits while others are in flight and raises `BudgetExceeded`
    when it can never fit; so concurrency does not change the result. A hit counts what its row cost, so a warm
    search takes the same way as a cold one; `billed_usd` is the money really spent. `minutes` run from the first
    call: none starts later, running ones are cancelled. `durable=True` reserves on disk first (needs a named run
    with a journal) and holds over lives of the process. `once=True` counts each distinct call once, however often its
    row is used again: what all that runs under it costs with an empty journal.

    Raises:
        UserError: no limit was given, or one is negative, or one of calls or tokens is no whole number.
    """

    def __init__(
        self,
        *,
        calls: int | None = None,
        tokens: int | None = None,
        usd: float | None = None,
        minutes: float | None = None,
        durable: bool = False,
        once: bool = False,
    ) -> None:
        limits = {"calls": calls, "tokens": tokens, "usd": usd, "minutes": minutes}
        given = {name: limit for name, limit in limits.items() if limit is not None}
        numbers = all(hasattr(limit, "__float__") and limit >= 0 for limit in given.values())
        if not given or not numbers or not all(each is None or each % 1 == 0 for each in (calls, tokens)):
            msg = f"Budget({given}) sets no usable limit. Pass calls= or tokens=, whole numbers from 0 on, usd= or"
            raise UserError(f"{msg} minutes=, numbers from 0 on.")
        self.calls, self.tokens = (each if each is None else int(each) for each in (calls, tokens))
        self.usd, self.minutes, self.durable = usd, minutes, durable
        self.once = once
        self.counted: set[Key] = set()
        self.spent = Amount()
        self.reserved = Amount()
        self.billed_usd = 0.0
        self.where: dict[str, Amount] = {}
        self.home: tuple[Journal, str] | None = None
        self.paid: set[Key] = set()
        self._started: float | None = None

    def __repr__(self) -> str:
        names = ("calls", "tokens", "usd", "minutes")
        limits = ", ".join(f"{name}={getattr(self, name)}" for name in names if getattr(self, name) is not None)
        return f"Budget({limits}; spent {self.spent})"

    def report(self) -> str:
        """What was spent, and by which steps."""
        return f"{self.spent} ({'; '.join(f'{name}: {spent}' for name, spent in self.where.items()) or 'nothing yet'})"

    def remaining_s(self) -> float | None:
        """Seconds until the deadline, None without one; the clock starts with the first question."""
        if self.minutes is None:
            return None
        if self._started is None:
            self._started = time.monotonic()
        return self._started + self.minutes * 60 - time.monotonic()

    def _passed(self, amount: Amount) -> str:
        """The limit that `amount` on top of what is spent would pass, or empty."""
        for name in ("calls", "tokens", "usd"):
            limit = getattr(self, name)
            if limit is not None and getattr(amount, name) > limit + (1e-12 if name == "usd" else 0):
                return f"{name}={limit}"
        return ""

    def count(self, amount: Amount, step: str, billed_usd: float) -> None:
        """Book what a call used, under the step that made it."""
        self.spent = self.spent.plus(amount)
        self.billed_usd += billed_usd
        self.where[step] = self.where.get(step, Amount()).plus(amount)


class _Waiter(NamedTuple):
    budgets: Sequence[Budget]
    amount: Amount
    step: str
    loop: asyncio.AbstractEventLoop
    granted: asyncio.Future[None]


_queue: deque[_Waiter] = deque()


def _impossible(budgets: Sequence[Budget], amount: Amount, step: str) -> BudgetExceeded | None:
    for budget in budgets:
        limit = budget._passed(budget.spent.plus(amount))  # noqa: SLF001 - one idea, one file
        left_s = budget.remaining_s()
        if not limit and left_s is not None and left_s <= 0:
            limit = f"minutes={budget.minutes}"
        if limit:
            text = budget.report()
            msg = (
                f"The budget's limit {limit} stops a call of step {step!r} that may need {amount}. "
                f"Spent: {text}. Raise the limit, lower max_tokens, or resume the run under a larger budget."
            )
            return BudgetExceeded(msg, spent=text, limit=limit)
    return None


def _take(budgets: Sequence[Budget], amount: Amount) -> bool:
    if any(budget._passed(budget.spent.plus(budget.reserved).plus(amount)) for budget in budgets):  # noqa: SLF001 - one idea, one file
        return False
    for budget in budgets:
        budget.reserved = budget.reserved.plus(amount)
    return True


def _pump() -> None:
    """Serve waiters first come first served; one that must wait holds back all who share a budget with it."""
    blocked: set[int] = set()
    for waiter in list(_queue):
        ids = {id(budget) for budget in waiter.budgets}
        if blocked & ids:
            blocked |= ids
            continue
        error = _impossible(waiter.budgets, waiter.amount, waiter.step)
        gone = waiter.loop.is_closed()
        if not gone and error is None and not _take(waiter.budgets, waiter.amount):
            blocked |= ids
            continue
        _queue.remove(waiter)
        if not gone:
            waiter.loop.call_soon_threadsafe(_grant, waiter, error)


def _grant(waiter: _Waiter, error: BudgetExceeded | None) -> None:
    if waiter.granted.cancelled():
        if error is None:
            release(waiter.budgets, waiter.amount)
    elif error is None:
        waiter.granted.set_result(None)
    else:
        waiter.granted.set_exception(error)


async def reserve(budgets: Sequence[Budget], amount: Amount, step: str) -> None:
    """Take the worst case from every budget at once, waiting while calls in flight may free it.

    Raises:
        BudgetExceeded: it can never fit; says what was spent where.
    """
    with _lock:
        error = _impossible(budgets, amount, step)
        if error is not None:
            raise error
        ids = {id(budget) for budget in budgets}
        overtakes = any(not ids.isdisjoint(id(budget) for budget in waiter.budgets) for waiter in _queue)
        if not overtakes and _take(budgets, amount):
            return
        loop = asyncio.get_running_loop()
        waiter = _Waiter(budgets, amount, step, loop, loop.create_future())
        _queue.append(waiter)
    try:
        await waiter.granted
    except asyncio.CancelledError:
        with _lock:
            if waiter in _queue:
                _queue.remove(waiter)
                _pump()
                raise
        if waiter.granted.done() and not waiter.granted.cancelled() and waiter.granted.exception() is None:
            release(budgets, amount)
        raise


def release(budgets: Sequence[Budget], amount: Amount) -> None:
    """Give a reservation back unused."""
    settle(budgets, amount, Amount(), "", 0.0)


def settle(budgets: Sequence[Budget], reserved: Amount, spent: Amount, step: str, billed_usd: float) -> None:
    """Turn a reservation into what was used."""
    with _lock:
        for budget in budgets:
            budget.reserved = budget.reserved.plus(reserved, -1)
            if spent != Amount():
                budget.count(spent, step, billed_usd)
        if _queue:
            _pump()


def restore(budget: Budget, journal: Journal, run: str) -> None:
    """Make a run the home of a durable budget: count all that its earlier lives sent, the unanswered at its worst.

    What was answered is `paid`: its row, served again, does not count twice. A budget that comes back to the run it
    was in has counted all that already.
    """
    place = getattr(journal, "path", journal), run  # a journal opened anew is the same one
    counted = budget.home is not None and (getattr(budget.home[0], "path", budget.home[0]), budget.home[1]) == place
    budget.home = journal, run
    kept = journal.reservations(run)
    latest = {each.key: each for each in kept}
    with _lock:
        for each in kept:
            row = journal.read(each.key) if latest[each.key] is each else None
            if row is not None:
                budget.paid.add(each.key)
            if not counted:
                spent = Amount(each.calls, each.tokens, each.usd) if row is None else used(load_completion(row).usage)
                budget.count(spent, "earlier, unanswered" if row is None else "earlier, answered", 0.0)


def worst_case(budgets: Sequence[Budget], request: Request, price: Price | None, attempts: int, name: str) -> Amount:
    """The most a request can use: a token a byte and a turn's frame going in, `max_tokens` coming out, every attempt.

    Raises:
        UserError: a token or dollar budget and no `max_tokens`, an image by URL, or no price under dollars.
    """
    dollars = any(budget.usd is not None for budget in budgets)
    if not dollars and all(budget.tokens is None for budget in budgets):
        return Amount(attempts)
    if request.max_tokens is None and not request.continuations:
        msg = f"A token or dollar budget needs max_tokens; a call of {name!r} has none. Pass max_tokens= to the step."
        raise UserError(msg)
    if dollars and price is None:
        msg = f"A dollar budget needs the price of {name!r}, which is unknown. Pass price=sy.Price(...) to the model."
        raise UserError(msg)
    going_in = _bytes(request, name)
    coming_out = 0 if request.continuations else request.max_tokens or 0
    if request.continuations:
        going_in = going_in * len(request.continuations) + sum(len(text.encode()) for text in request.continuations)
    dearest = 0.0 if price is None else max(price.input_usd, price.cached_usd or 0.0, price.cache_write_usd or 0.0)
    output_usd = 0.0 if price is None else price.output_usd
    usd = (going_in * dearest + coming_out * output_usd) / 1e6
    return Amount(attempts, attempts * (going_in + coming_out), attempts * usd)


def _bytes(request: Request, name: str) -> int:
    parts = [part for message in request.messages if not isinstance(message.content, str) for part in message.content]
    if any(isinstance(part, Image) and part.url for part in parts):
        msg = f"A token or dollar budget cannot bound an image given by URL to {name!r}. Pass the image's data."
        raise UserError(msg)
    texts = [m.content if isinstance(m.content, str) else str(plain(m.content)) for m in request.messages]
    extras = [str(plain(request.tools)), str(plain(request.constraint))] if request.tools or request.constraint else []
    extras += [request.extra] if request.extra else []
    frame = _TURN_TOKENS + (_TOOLS_TOKENS if request.tools or '"tools"' in request.extra else 0)
    return sum(len(text.encode(errors="replace")) + _TURN_TOKENS for text in texts + extras) + frame
