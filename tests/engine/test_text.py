from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthon.engine.generation import Sampling, TextStream
from synthon.engine.scoring import logprobs

WORD = st.text("ab€😀", min_size=1, max_size=4)


@given(st.text("ab€😀", max_size=30), st.lists(WORD, max_size=3), st.lists(st.integers(1, 5), min_size=1))
def test_text_ends_before_the_first_stop_string_however_its_bytes_are_cut(
    text: str, stop: list[str], sizes: list[int]
) -> None:
    stream = TextStream(stop)
    raw, out, place = text.encode(), "", 0
    while place < len(raw) and not stream.stopped:
        size = sizes[place % len(sizes)]
        out += stream.push(raw[place : place + size])
        place += size
    out += stream.close()
    ends = [found for word in stop if (found := text.find(word)) >= 0]
    assert stream.stopped == bool(ends)
    # of overlapping stop strings the one that is complete first may begin later
    assert text.startswith(out)
    assert not any(word in out for word in stop)
    assert out == text if not ends else len(out) >= min(ends)


def test_a_character_that_was_cut_in_two_is_left_out() -> None:
    stream = TextStream()
    assert stream.push("a😀".encode()[:3]) + stream.close() == "a"


@given(
    st.lists(st.integers(-40, 40), min_size=2, max_size=60),
    st.floats(0, 1, exclude_max=True),
    st.integers(0, 8),
    st.floats(0.05, 1),
    st.floats(0, 1),
)
def test_cuts_only_ever_take_unlikely_tokens_away(
    values: list[int], uniform: float, top_k: int, top_p: float, min_p: float
) -> None:
    logits = np.array([value / 10 for value in values], np.float32)
    token = Sampling(0.8, top_k, top_p, min_p).pick(logits, uniform)
    weights = np.exp((logits - logits.max()) / 0.8)
    weights /= weights.sum()
    likelier = weights > weights[token] + 1e-6
    assert not top_k or likelier.sum() < top_k
    assert weights[likelier].sum() < top_p + 1e-5
    assert weights[token] >= min_p * weights.max() - 1e-5


def test_draws_follow_the_temperature() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.2], np.float32))
    drawn = [Sampling(1.0).pick(logits, number / 1000) for number in range(1000)]
    assert [drawn.count(token) for token in range(3)] == pytest.approx([500, 300, 200], abs=2)
    assert [Sampling(0.0).pick(logits, number / 10) for number in range(10)] == [0] * 10


@pytest.mark.parametrize("temperature", [1e-300, 1e-38, 1e39, 1e300])
def test_no_temperature_chooses_a_token_that_a_mask_barred(temperature: float) -> None:
    logits = np.array([-np.inf, 3.0, -np.inf, 2.0, -np.inf], np.float32)
    assert {Sampling(temperature).pick(logits, number / 10) for number in range(10)} <= {1, 3}


def test_a_wide_nucleus_is_as_exact_as_a_narrow_one() -> None:
    logits = np.zeros(5000, np.float32)
    kept = {Sampling(1.0, top_p=0.5).pick(logits, number / 5000) for number in range(5000)}
    assert len(kept) == pytest.approx(2500, abs=2)


def test_logprobs_are_normalised_rows() -> None:
    rows = np.random.default_rng(7).normal(0, 30, (3, 1000)).astype(np.float32)
    assert np.exp(logprobs(rows).astype(np.float64)).sum(axis=1) == pytest.approx(1, abs=1e-5)
