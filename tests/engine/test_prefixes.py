"""The prefix cache by itself: its memory bound, whom it forgets, what it finds again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from synthon.engine.binding import Piece, Weights
from synthon.engine.prefixes import Prefixes, Slot
from tests.conftest import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def weights() -> Iterator[Weights]:
    made = Weights(Path(MODELS) / "smollm2-135m" / "SmolLM2-135M-Instruct.Q4_1.gguf")
    yield made
    made.close()


def prefixes(weights: Weights, *, memory: int = 200_000_000, parallel: int = 2) -> Prefixes:
    return Prefixes(weights, context=512, parallel=parallel, memory=memory, threads=1)


def read(cache: Prefixes, prompt: list[int], salt: str = "") -> int:
    """Admit a prompt, compute what is missing, release it; returns what was known already."""
    slots = cache.admit(prompt, salt, room=4)
    assert slots is not None
    slot = slots[0]
    known = slot.known
    cache.streams.compute([Piece(slot.number, known, prompt[known:])])
    slot.known = slot.length = len(prompt)
    cache.release(slot)
    return known


def tokens(beginning: int, length: int) -> list[int]:
    return [100 + (beginning * 131 + place * 7) % 4000 for place in range(length)]


def test_a_prefix_that_left_its_stream_is_saved_and_comes_back(weights: Weights) -> None:
    cache = prefixes(weights)
    prompts = [tokens(number, 90) for number in range(5)]
    assert [read(cache, prompt) for prompt in prompts] == [0] * 5
    assert [read(cache, prompt) for prompt in prompts] == [82] * 5
    cache.close()


def test_the_memory_bound_holds_and_the_least_recently_used_leaves_first(weights: Weights) -> None:
    cache = prefixes(weights, memory=cells_for(weights, 2 * 512 + 350))
    for number in range(6):
        read(cache, tokens(number, 100))
        assert cache.kept_bytes <= cells_for(weights, 2 * 512 + 350)
    assert read(cache, tokens(5, 100)) == 92
    assert read(cache, tokens(3, 100)) == 92
    assert read(cache, tokens(0, 100)) == 0
    cache.close()


def cells_for(weights: Weights, count: int) -> int:
    cache = prefixes(weights)
    bytes_ = cache.kept_bytes // (2 * 512) * count
    cache.close()
    return bytes_


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(3, 120), st.booleans()), min_size=3, max_size=6))
def test_what_is_found_is_a_true_prefix_and_as_long_as_any_stream_holds(
    weights: Weights, asked: list[tuple[int, int, bool]]
) -> None:
    cache = prefixes(weights, parallel=8)  # as many as are asked: nothing leaves its stream
    seen: list[tuple[str, list[int]]] = []
    for beginning, length, mine in asked:
        prompt, salt = tokens(beginning, length), "me" if mine else "you"
        longest = max((common(prompt, other) for owner, other in seen if owner == salt), default=0)
        most = max(0, min(longest, length - 8))
        assert max(0, most - 64) <= read(cache, prompt, salt) <= most  # a short tail is not worth a copy
        seen.append((salt, prompt))
    cache.close()


def common(one: list[int], other: list[int]) -> int:
    length = min(len(one), len(other))
    differing = np.flatnonzero(np.asarray(one[:length]) != np.asarray(other[:length]))
    return int(differing[0]) if differing.size else length


def test_who_asks_for_what_another_is_computing_waits_for_it(weights: Weights) -> None:
    cache = prefixes(weights)
    prompt = tokens(1, 200)
    slots = cache.admit(prompt, "", room=4)
    assert slots is not None
    assert cache.is_coming([*prompt[:150], 7, 8, 9], "")
    assert not cache.is_coming([*prompt[:150], 7, 8, 9], "another principal")
    assert not cache.is_coming(tokens(3, 50), "")
    assert isinstance(cache.admit(tokens(2, 50), "", room=4), list)
    slots[0].known = slots[0].length = 200
    cache.release(slots[0])
    assert isinstance(slots[0], Slot)
    cache.close()
