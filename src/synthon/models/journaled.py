"""A model whose every call is one row: cache, replay, resume, bill and trace are reads of it."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace

from synthon.core.budget import Amount, reserve, settle, used, worst_case
from synthon.core.errors import BudgetExceeded, ProviderError
from synthon.core.identity import canonical, dump_completion, load_completion
from synthon.core.protocols import CallRecord, Emit, Model, Reservation, discard
from synthon.core.recording import Entry
from synthon.core.running import current_span, log, span
from synthon.core.values import Capability, Completion, Delta, Price, Request, Usage

_NO_DEADLINE: AbstractAsyncContextManager[None] = nullcontext()


@dataclass(frozen=True)
class Journaled:
    """Keeps each answer of `model` under its key, serves it again, and counts it against the run's budgets.

    Greedy requests (temperature 0) and scorings always have sample 0; other equal requests of one run are
    numbered in order. Equal requests in flight are one call. `price` is in dollars per million tokens; without
    one, costs are unknown and a dollar budget refuses.
    """

    model: Model
    price: Price | None = None

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

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        """The recorded answer where there is one, else the model's own.

        Raises:
            BudgetExceeded: the call's worst case does not fit the run's budget, or its deadline passed.
            JournalError: no row under the policy `replay_only`, or the journal failed.
        """
        above = current_span()
        with span(self.name, "call") as opened:
            call = _Call(self, opened, request, above.name if above is not None else self.name)
            await call.reserve()
            try:
                completion = await call.read()
                if completion is None:
                    async with call.deadline():
                        completion = await self.model.complete(call.request, call.heard(emit))
                    completion = await call.keep(completion)
                elif completion.text or completion.tool_calls:
                    _emit_once(completion, emit)
            except BaseException as error:
                call.failed(error)
                raise
            call.settle(completion.usage)
            return completion


class _Call:
    """One call's way: budget, journal, provider, row."""

    def __init__(self, journaled: Journaled, opened: span, request: Request, step: str) -> None:
        self.journaled, self.opened, self.request, self.step = journaled, opened, request, step
        self.budgets = opened.run.budgets
        self.entry: Entry | None = None
        self.amount = Amount()
        self.reserved = self.sent = False

    async def reserve(self) -> None:
        """Take the worst case, of the attempts that wrappers below may make."""
        price = _price(self.journaled)
        if self.budgets:
            attempts = getattr(self.journaled.model, "attempts", 1)
            self.amount = worst_case(self.budgets, self.request, price, attempts, self.journaled.name)
            await reserve(self.budgets, self.amount, self.step)
            self.reserved = True

    async def read(self) -> Completion | None:
        """The recorded answer, or that of the equal call in flight; None when this call must make it."""
        run, request = self.opened.run, self.request
        greedy = request.temperature == 0 or bool(request.continuations)
        if run.journal is None and greedy:
            return None
        text = canonical(self.journaled.identity, request)
        entry = Entry(run, text, repeats=not greedy, sample=request.sample)
        if entry.sample != request.sample:
            self.request = replace(request, sample=entry.sample)
        if run.journal is None:
            return None
        self.entry = entry
        self.opened.row.key = entry.key.digest
        await self._reserve_on_disk(entry)
        row = await entry.read_or_join()
        if row is None:
            return None
        self.opened.row.hit = True
        return load_completion(row)

    async def _reserve_on_disk(self, entry: Entry) -> None:
        run = self.opened.run
        if run.journal is not None and any(budget.durable for budget in self.budgets):
            run.write(Reservation(run.id, entry.key, *self.amount))
            await run.journal.durable()

    def deadline(self) -> AbstractAsyncContextManager[object]:
        """The time left under the budgets."""
        self.sent = True
        left = [left_s for budget in self.budgets if (left_s := budget.remaining_s()) is not None]
        return asyncio.timeout(min(left)) if left else _NO_DEADLINE

    def heard(self, emit: Emit) -> Emit:
        """The listener, guarded: what it raises never reaches the model."""
        return emit if emit is discard else _Safe(emit)

    async def keep(self, completion: Completion) -> Completion:
        """Write the row; the answer is the row that won."""
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
        return completion if won is row else load_completion(won)

    def _account(self, usage: Usage) -> None:
        row = self.opened.row
        row.tokens_in = usage.input_tokens + usage.cached_tokens + usage.cache_write_tokens
        row.tokens_cached, row.tokens_out, row.cost_usd = usage.cached_tokens, usage.output_tokens, usage.cost_usd
        row.billed_usd = usage.cost_usd and 0.0 if row.hit else usage.cost_usd

    def settle(self, usage: Usage) -> None:
        """Count what the row cost, hit or not; money only for what was billed now."""
        self._account(usage)
        if self.reserved:
            billed_usd = 0.0 if self.opened.row.hit else usage.cost_usd or 0.0
            settle(self.budgets, self.amount, used(usage), self.step, billed_usd)

    def failed(self, error: BaseException) -> None:
        """Count a failure: the attempts made, or after a cancellation the worst case, for it may have been billed."""
        if self.entry is not None:
            self.entry.fail(error)
        if not self.reserved:
            return
        if not self.sent:
            spent = Amount()
        elif isinstance(error, ProviderError):
            spent = Amount(error.attempts)
        else:
            spent = self.amount
        settle(self.budgets, self.amount, spent, self.step, 0.0)
        if isinstance(error, TimeoutError) and any(
            (b.remaining_s() or 0) <= 0 for b in self.budgets if b.minutes is not None
        ):
            spent_by = str(self.budgets[-1].spent)
            msg = (
                f"The budget's minutes ran out during a call of step {self.step!r}, which was cancelled. "
                f"Spent: {spent_by}. Raise minutes=, or resume the run under a new budget."
            )
            raise BudgetExceeded(msg, spent=spent_by, limit="minutes") from error


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


def _emit_once(completion: Completion, emit: Emit) -> None:
    if emit is discard:
        return
    heard = _Safe(emit)
    for block in completion.reasoning:
        heard(Delta(reasoning=block.text))
    if completion.text:
        heard(Delta(text=completion.text))
    for tool_call in completion.tool_calls:
        heard(Delta(tool_call=tool_call))
