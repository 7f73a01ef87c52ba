"""Where a wrapper stands: what depends on time or failure goes inside the journal, so that a replay sees one answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from synthon.core.errors import UserError
from synthon.core.protocols import Emit, Model, discard
from synthon.core.values import Capability, Completion, Price, Request
from synthon.wrappers.budgeted import Budgeted
from synthon.wrappers.cascading import cascade
from synthon.wrappers.journaled import Journaled
from synthon.wrappers.soundness import Judge, soundness_of


@dataclass(frozen=True)
class Wrapper:
    """What stands around a model and says of itself what the model does."""

    model: Model

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
    def attempts(self) -> int:
        """The model's attempts."""
        return attempts_of(self.model)

    @property
    def price(self) -> Price | None:
        """The model's price."""
        return price_of([self.model])

    @property
    def temperature(self) -> float | None:
        """The model's own temperature."""
        return temperature_of([self.model])

    @property
    def soundness(self) -> Judge | None:
        """How the model answers for constraints."""
        return soundness_of([self.model])


@dataclass(frozen=True)
class Priced(Wrapper):
    """A model that books the price of its calls itself, for wrappers over models of several prices."""

    known: Price

    @property
    def price(self) -> Price:
        """The price of its calls."""
        return self.known

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        """The model's answer, with its cost."""
        return priced(await self.model.complete(request, emit), self.known)


def priced(completion: Completion, price: Price) -> Completion:
    """A completion with its cost, where it has none yet."""
    usage = completion.usage
    if usage.cost_usd is not None:
        return completion
    return replace(completion, usage=replace(usage, cost_usd=price.cost_usd(usage)))


def attempts_of(model: Model) -> int:
    """How many requests one call of a model may send."""
    return int(getattr(model, "attempts", 1))


def temperature_of(models: Sequence[Model]) -> float | None:
    """What models take for a request that names no temperature; None where they differ or do not say."""
    found = {getattr(model, "temperature", None) for model in models}
    return found.pop() if len(found) == 1 else None


def price_of(models: Sequence[Model]) -> Price | None:
    """The dearest price among models, part by part; None when one of them has none."""
    prices = [getattr(model, "price", None) for model in models]
    known = [price for price in prices if isinstance(price, Price)]
    if not known or len(known) < len(prices):
        return None
    cached = [price.input_usd if price.cached_usd is None else price.cached_usd for price in known]
    written = [price.input_usd if price.cache_write_usd is None else price.cache_write_usd for price in known]
    return Price(
        max(price.input_usd for price in known), max(price.output_usd for price in known), max(cached), max(written)
    )


def inside(models: Sequence[Model], wrap: Callable[[list[Model]], Model]) -> Model:
    """Wrap what stands inside journaled models, and journal the whole once; plain models stay plain.

    A cascade stays outside: each of its two models is wrapped.

    Raises:
        UserError: one of several models is a cascade, or has a budget of its own, which the whole could not hold; or
            one is no model.
    """
    first = models[0]
    if stray := [model for model in models if not hasattr(model, "complete")]:
        raise UserError(f"{stray[0]!r:.200} is no model. Pass models one by one, such as sy.Fallback(a, b).")
    if len(models) == 1 and isinstance(first, Budgeted):
        return replace(first, model=inside([first.model], wrap))
    if len(models) == 1 and isinstance(first, cascade):
        return replace(first, cheap=inside([first.cheap], wrap), dear=inside([first.dear], wrap))
    if any(isinstance(model, Budgeted) for model in models):
        msg = "A Budgeted model stands among others that are journaled as one. Put sy.Budgeted around the whole."
        raise UserError(msg)
    if any(isinstance(model, cascade) for model in models):
        raise UserError(
            "A cascade stands among others that are journaled as one, and its threshold must stay outside. "
            "Put sy.Fallback around its models: sy.cascade(sy.Fallback(a, spare), sy.Fallback(b, spare), accept=...)."
        )
    if not any(isinstance(model, Journaled) for model in models):
        return wrap(list(models))
    bare = [_bare(model) for model in models]
    return Journaled(wrap(bare))


def _bare(model: Model) -> Model:
    if not isinstance(model, Journaled):
        return model
    return model.model if model.price is None else Priced(model.model, model.price)
