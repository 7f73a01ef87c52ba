"""A model with a budget of its own."""

from __future__ import annotations

from dataclasses import dataclass

from synthon.core.budget import Budget
from synthon.core.protocols import Emit, Model, discard
from synthon.core.running import budgeted
from synthon.core.values import Capability, Completion, Request
from synthon.wrappers.soundness import Judge, soundness_of


@dataclass(frozen=True)
class Budgeted:
    """The model, whose journaled calls also count against `budget`; it meters nothing itself."""

    model: Model
    budget: Budget

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

    @property
    def soundness(self) -> Judge | None:
        """How the model answers for constraints."""
        return soundness_of([self.model])

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        """The model's answer.

        Raises:
            BudgetExceeded: the budget, or one around it, cannot hold the call.
        """
        with budgeted(self.budget):
            return await self.model.complete(request, emit)
