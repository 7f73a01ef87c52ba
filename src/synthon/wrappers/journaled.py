"""A model whose every call is one row: cache, replay, resume, bill and trace are reads of it."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from synthon.core.budget import Amount, Budget, reserve, settle, used, worst_case
from synthon.core.errors import BudgetExceeded, ProviderError, Unsupported, UserError
from synthon.core.identity import canonical, dump_completion, load_completion
from synthon.core.protocols import CallRecord, Emit, Key, Model, Reservation, Span, discard
from synthon.core.recording import Entry
from synthon.core.running import current_span, log, span
from synthon.core.stream import Draft
from synthon.core.values import Capability, Completion, Delta, Price, Request, Usage
from synthon.wrappers.demands import searched
from synthon.wrappers.soundness import given, judged, may_be_checked, soundness_at

if TYPE_CHECKING:
    from synthon.core.constraints import Constraint, Soundness

_NO_DEADLINE: AbstractAsyncContextManager[None] = nullcontext()
_metering: ContextVar[tuple[Budget, ...]] = ContextVar("synthon_metering", default=())


@dataclass(frozen=True)
class Journaled:
    """Keeps each answer of `model` under its key, serves it again, and counts it against the run's budgets.

    Greedy requests (temperature 0) and scorings always have sample 0; other equal requests of one run are
    numbered in order. Equal requests in flight are one call. `price` is in dollars per million tokens; without
    one, costs are unknown and a dollar budget refuses.

    Raises:
        UserError: `price` is no `Price`.
    """

    model: Model
    price: Price | None = None
    counts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        price: object = self.price
        if price is not None and not isinstance(price, Price):
            raise UserError(f"{self.name!r} was given price={price!r}. Pass sy.Price(input_usd=..., output_usd=...).")

    @property
    def name(self) -> str:
        """The model's name."""
        return self.model.name

    @property
    def identity(self) -> str:
        """The model's identity."""
        return self.model.identity

    @property
    def capabilities(self) -> frozenset[Capability]:
        """The model's capabilities."""
        return self.model.capabilities

    def soundness(self, constraint: Constraint) -> tuple[Soundness, ...]:
        """What becomes of each keyword of a constraint: enforced, checked after, or refused; and why."""
        return soundness_at(self.model, constraint)

    def close(self) -> None:
        """Free what the model keeps in memory, as `sy.local()` does its engine; the next call loads it again.

        What still runs ends with `ProviderError`. A model that keeps nothing stays as it is.
        """
        close = getattr(self.model, "close", None)
        if close is not None:
            close()

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        """The recorded answer where there is one, else the model's own, judged by the request's constraint.

        A constraint with `check=True` that the model cannot keep to is not sent. `Completion.unmet` says what the
        answer leaves unmet, of any constraint; a recorded answer says what it said.

        Raises:
            UserError: `max_tokens` is no whole number of at least 1.
            Unsupported: the model cannot keep to the constraint, and it must.
            BudgetExceeded: the call's worst case does not fit the run's budget, or its deadline passed.
            JournalError: no row under the policy `replay_only`, or the journal failed.
        """
        above = current_span()
        with span(self.name, "call") as opened:
            call = _Call(self, opened, request, above)
            await call.reserve()
            try:
                async with call.deadline():
                    completion = await call.read(emit)
                    if completion is None:
                        asked = call.request if request.constraint is None else given(self.model, call.request)
                        heard = await call.sending(emit)
                        try:
                            completion = await self.model.complete(asked, heard)
                        except Unsupported as error:
                            if error.attempts or not may_be_checked(asked):
                                raise
                            completion = await self.model.complete(replace(asked, constraint=None), heard)
                if not opened.row.hit:
                    completion = await call.keep(completion)
            except BaseException as error:
                call.failed(error)
                raise
            call.settle(completion.usage)
            return completion


class _Call:
    """One call's way: key, budget, journal, provider, row."""

    def __init__(self, journaled: Journaled, opened: span, request: Request, above: Span | None) -> None:
        self.journaled, self.opened, self.request = journaled, opened, request
        self.step = journaled.name if above is None else above.name
        if above is not None and above.kind == "call":
            raise _nested(journaled.name, above.name)
        most: object = None if request.continuations else request.max_tokens
        if most is not None and not (isinstance(most, int) and most > 0):  # a server takes -1 for no limit
            raise UserError(f"{self.step!r} asks for max_tokens={most!r}. Pass a whole number from 1 on, or none.")
        run = opened.run
        self.entry: Entry | None = None
        own = getattr(journaled.model, "temperature", None)  # the local engine's default is greedy
        temperature = own if request.temperature is None else request.temperature
        greedy = temperature == 0 or bool(request.continuations)
        if run.journal is not None or not greedy:
            entry = Entry(run, canonical(journaled.identity, request), repeats=not greedy, sample=request.sample)
            if entry.sample != request.sample:
                self.request = replace(request, sample=entry.sample)
            if run.journal is not None:
                self.entry = entry
                opened.row.key = entry.key.digest
        self.budgets = run.budgets and tuple(budget for budget in run.budgets if not self._is_paid(budget))
        self.known: tuple[Budget, ...] = ()
        self.amount = Amount()
        self.sent = False
        self.held: Token[tuple[Budget, ...]] | None = None
        self.limit: asyncio.Timeout | None = None
        self.draft: Draft | None = None

    def _is_paid(self, budget: Budget) -> bool:
        """Whether an earlier life's answer to this call is counted already; true once for each."""
        if self.entry is None or self.entry.key not in budget.paid:
            return False
        budget.paid.remove(self.entry.key)
        return True

    def _met(self) -> tuple[Budget, ...]:
        """Those of the budgets that count each call once and have counted an equal one by now; they are `known`."""
        key = None if self.entry is None else self.entry.key
        met = tuple(budget for budget in self.budgets if budget.once and key in budget.counted)
        if met:
            self.budgets = tuple(budget for budget in self.budgets if budget not in met)
            self.known = (*self.known, *met)
        return met

    async def reserve(self) -> None:
        """Take the worst case, of the attempts that wrappers below may make."""
        metered = (*self.budgets, *self.known)
        if not metered:
            return
        if not set(metered).isdisjoint(_metering.get()):
            raise _nested(self.journaled.name, "another")
        attempts = getattr(self.journaled.model, "attempts", 1)
        self.amount = worst_case(metered, searched(self.request), _price(self.journaled), attempts, self.journaled.name)
        await self._wait()
        self.held = _metering.set(metered)

    async def _wait(self) -> None:
        """Wait for room, unless an equal call, which may wait too, is counted first."""
        self._met()
        try:
            await reserve(self.budgets, self.amount, self.step)
        except BudgetExceeded:
            if not self._met():
                raise
            await self._wait()
        else:
            settle(self._met(), self.amount, Amount(), self.step, 0.0)
            for budget in self.budgets:
                if budget.once and self.entry is not None:
                    budget.counted.add(self.entry.key)

    def deadline(self) -> AbstractAsyncContextManager[object]:
        """The time left under the budgets."""
        if not self.budgets and not self.known:
            return _NO_DEADLINE
        left = [left_s for budget in (*self.budgets, *self.known) if (left_s := budget.remaining_s()) is not None]
        if not left:
            return _NO_DEADLINE
        self.limit = asyncio.timeout(min(left))
        return self.limit

    async def read(self, emit: Emit) -> Completion | None:
        """The recorded answer, or that of the equal call in flight; None when this call must make it."""
        entry = self.entry
        row = None if entry is None else await entry.read_or_join()
        while entry is not None and row is None and self.known:
            await self._count_again(entry)
            row = await entry.read_or_join()
        if row is None:
            return None
        self.opened.row.hit = True
        completion = load_completion(row)
        emit_once(completion, emit)
        return completion

    async def _count_again(self, entry: Entry) -> None:
        """Reserve anew under all budgets, for the equal call that was counted has left no row.

        While it waits it holds nothing that others may wait for: no room, and no equal call's answer.
        """
        entry.land(None)
        self._settle(Amount(), 0.0)
        self.held = None
        for budget in self.known:
            budget.counted.discard(entry.key)
        self.budgets, self.known = (*self.budgets, *self.known), ()
        await self.reserve()

    async def sending(self, emit: Emit) -> Emit:
        """Reserve on disk under a durable budget; returns the listener, whose errors never reach the model."""
        for budget in self.budgets:
            if budget.durable and budget.home is not None:
                journal, run = budget.home
                key = Key(self.opened.run.id, self.opened.row.id) if self.entry is None else self.entry.key
                journal.write(Reservation(run, key, *self.amount))
                await journal.durable()
        self.sent = True
        if emit is discard:
            return emit
        if self.opened.run.policy != "cache":
            return _Safe(emit)
        self.draft = Draft(_Safe(emit))
        return self.draft

    async def keep(self, completion: Completion) -> Completion:
        """Write the row; the answer is the row that won."""
        if self.request.constraint is not None:
            completion = judged(completion, self.request)
        price = _price(self.journaled)
        usage = completion.usage
        if usage.cost_usd is None and price is not None:
            completion = replace(completion, usage=replace(usage, cost_usd=price.cost_usd(usage)))
        if self.entry is None:
            return completion
        row, entry, opened = dump_completion(completion), self.entry, self.opened
        self._account(completion.usage)
        opened.kept = opened.run.policy != "read_only"
        won = await entry.keep(row, CallRecord(entry.key, entry.text, row, opened.closed()))
        entry.land(won)
        if won != row:
            completion = load_completion(won)
        if self.draft is not None and won == row:
            self.draft.keep()
        elif self.draft is not None:
            self.draft.withdraw()
            emit_once(completion, self.draft)
            self.draft.keep()
        return completion

    def _account(self, usage: Usage) -> None:
        if self.opened.run.journal is None:
            return
        row = self.opened.row
        row.tokens_in = usage.input_tokens + usage.cached_tokens + usage.cache_write_tokens
        row.tokens_cached, row.tokens_out, row.cost_usd = usage.cached_tokens, usage.output_tokens, usage.cost_usd
        row.billed_usd = usage.cost_usd and 0.0 if row.hit else usage.cost_usd

    def _settle(self, spent: Amount, billed_usd: float) -> None:
        if self.held is not None:
            _metering.reset(self.held)
            settle(self.budgets, self.amount, spent, self.step, billed_usd)

    def settle(self, usage: Usage) -> None:
        """Count what the row cost, hit or not; money only for what was billed now."""
        self._account(usage)
        if self.held is None:
            return
        spent, billed_usd = used(usage), usage.cost_usd or 0.0
        if self.opened.row.hit:
            # the row may be of a stack that made more attempts than this one could
            spent, billed_usd = spent.at_most(self.amount), 0.0
        self._settle(spent, billed_usd)

    def failed(self, error: BaseException) -> None:
        """Count a failure: the attempts made, and the worst case of those that may be billed, as a cancelled one may.

        A model that refuses has made none, but for those of models before it.

        Raises:
            BudgetExceeded: it was this call's deadline that cancelled it.
        """
        late = isinstance(error, TimeoutError) and self.limit is not None and self.limit.expired()
        if self.entry is not None:
            self.entry.fail(asyncio.CancelledError() if late else error)
        spent = self.amount if self.sent else Amount()
        if self.sent and isinstance(error, ProviderError | UserError):
            billed, of = min(error.billable, spent.calls), max(1, spent.calls)
            spent = Amount(error.attempts, spent.tokens * billed // of, spent.usd * billed / of)
        self._settle(spent, 0.0)
        if late:
            budget = min((*self.budgets, *self.known), key=lambda budget: budget.remaining_s() or 0.0)
            text = budget.report()
            msg = (
                f"The budget's limit minutes={budget.minutes} ran out during a call of step {self.step!r}, which was "
                f"cancelled. Spent: {text}. Raise the limit, or resume the run under a larger budget."
            )
            raise BudgetExceeded(msg, spent=text, limit=f"minutes={budget.minutes}") from error


def _nested(name: str, outer: str) -> UserError:
    msg = (
        f"Journaled model {name!r} was called inside journaled model {outer!r}: both would keep and count the call. "
        "Journal the models that answer, not what is built of them."
    )
    return UserError(msg)


@dataclass(frozen=True, slots=True)
class _Safe:
    emit: Emit

    @property
    def retractable(self) -> bool:
        return self.emit.retractable

    def __call__(self, delta: Delta, /) -> None:
        try:
            self.emit(delta)
        except Exception:  # noqa: BLE001 - what listens must not stop the model
            log.exception("a listener of a stream raised; the call goes on")


def _price(journaled: Journaled) -> Price | None:
    return journaled.price or getattr(journaled.model, "price", None)


def emit_once(completion: Completion, emit: Emit) -> None:
    """Pass a whole answer on as one piece of each kind."""
    if emit is discard:
        return
    heard = _Safe(emit)
    for block in completion.reasoning:
        heard(Delta(reasoning=block.text))
    if completion.text:
        heard(Delta(text=completion.text))
    for tool_call in completion.tool_calls:
        heard(Delta(tool_call=tool_call))
