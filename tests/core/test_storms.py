"""Storms: calls that fail, dawdle, nest and are cancelled by chance never pass a budget."""

import asyncio
import contextlib
import random

from hypothesis import given, settings
from hypothesis import strategies as st

import synthon as sy
from synthon.core.budget import Amount
from tests.core.counting import Counting, ask


class Provider(Counting):
    """Fails, dawdles and is cancelled by chance; counts what a bill would hold."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self.chance = chance
        self.billed = 0

    async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
        self.billed += 1
        await asyncio.sleep(self.chance.choice([0, 0, 0.001, 0.003]))
        if self.chance.random() < 0.25:
            raise sy.ProviderError("storm")
        tokens = self.chance.randrange(1, (request.max_tokens or 0) + 1)
        return sy.Completion("x", sy.Usage(3, output_tokens=tokens))


@given(st.integers(0, 2**32), st.integers(1, 25), st.integers(200, 3000), st.integers(1, 12))
@settings(max_examples=25)
async def test_a_storm_never_passes_a_budget_and_settles_everything(
    seed: int, calls: int, tokens: int, inner_calls: int
) -> None:
    chance = random.Random(seed)
    provider, other = Provider(chance), Provider(chance)
    outer, inner = sy.Budget(calls=calls, tokens=tokens), sy.Budget(calls=inner_calls)
    bare = sy.Journaled(provider)
    retrying = sy.Retrying(sy.Journaled(other), tries=2, base_s=0.0)
    models = [bare, retrying, sy.Budgeted(bare, inner), sy.Budgeted(retrying, inner), sy.Hedged(bare, after_s=0.001)]

    async def one() -> None:
        model = chance.choice(models)
        await asyncio.sleep(chance.choice([0, 0.001]))
        with contextlib.suppress(sy.SynthonError, TimeoutError):
            async with asyncio.timeout(chance.choice([None, None, 0.002])):
                await model.complete(ask(f"q{chance.randrange(6)}", max_tokens=20, temperature=chance.choice([0, 1])))

    async def storm() -> None:
        gate = asyncio.Semaphore(16)

        async def gated() -> None:
            async with gate:
                await one()

        await asyncio.gather(*(gated() for _ in range(60)))

    await sy.run(storm, budget=outer, journal=sy.MemoryJournal())
    assert provider.billed + other.billed <= outer.spent.calls <= calls
    assert outer.spent.tokens <= tokens
    assert inner.spent.calls <= inner_calls
    assert outer.reserved == inner.reserved == Amount()
