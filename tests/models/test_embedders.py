"""The packaged embedders, on their real weights."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import synthon as sy
from synthon.models._vectors import _batches
from synthon.weights.on_disk import path_of
from tests.nursery import forked

if TYPE_CHECKING:
    from pathlib import Path

TEXTS = [
    "A cat sat on the mat.",
    "A kitten sits on a rug.",
    "The stock market crashed on Monday. " * 40,
    "",
    "ünïcode 猫",
]
NAMES = pytest.mark.parametrize("name", ["minilm-l6-v2", "wordllama-256"])
pytestmark = pytest.mark.engine


@NAMES
async def test_vectors_have_unit_length_and_say_what_is_alike(name: str) -> None:
    vectors = await sy.embedder(name).embed(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384 if name == "minilm-l6-v2" else 256)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


@NAMES
async def test_a_text_has_one_vector_whatever_is_embedded_beside_it(name: str) -> None:
    embedder = sy.embedder(name)
    together = await embedder.embed(TEXTS)
    alone = np.concatenate([await embedder.embed([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-5
    backwards = await embedder.embed(TEXTS[::-1])
    assert np.abs(together - backwards[::-1]).max() < 1e-5


async def test_the_sentence_vectors_are_those_of_the_published_model() -> None:
    """The first numbers that sentence-transformers prints for its own example, in float32."""
    one, other = await sy.embedder().embed(["This is an example sentence", "Each sentence is converted"])
    assert one[:3] == pytest.approx([0.0676, 0.0635, 0.0487], abs=0.01)
    assert other[:3] == pytest.approx([0.0864, 0.1028, 0.0054], abs=0.01)


@NAMES
def test_a_forked_child_embeds_on_its_own(name: str) -> None:
    embedder = sy.embedder(name)
    before = asyncio.run(embedder.embed(TEXTS[:1]))
    child = forked()
    if child == 0:
        signal.alarm(60)  # its parent's thread is not there, and nobody else answers
        after = asyncio.run(embedder.embed(TEXTS[:1]))
        os._exit(0 if np.array_equal(before, after) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert np.array_equal(asyncio.run(embedder.embed(TEXTS[:1])), before)


async def test_only_the_first_256_tokens_are_read_by_the_sentence_model() -> None:
    start = "word " * 254
    vectors = await sy.embedder().embed([start + "cats", start + "stocks", "cats"])
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-5


@NAMES
async def test_hostile_texts_are_embedded_all_the_same(name: str) -> None:
    vectors = await sy.embedder(name).embed(["\ud800 lone", " \n\t", "\0", "x" * 100_000, "[CLS] <s> </s>"])
    assert np.isfinite(vectors).all()


@NAMES
async def test_no_texts_give_no_rows(name: str) -> None:
    assert (await sy.embedder(name).embed([])).shape[0] == 0


@NAMES
def test_one_embedder_serves_several_loops_and_threads(name: str) -> None:
    embedder = sy.embedder(name)

    def embed(text: str) -> list[float]:
        return [float(number) for number in asyncio.run(embedder.embed([text]))[0]]

    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(embed, TEXTS * 3))
    assert rows[: len(TEXTS)] == rows[len(TEXTS) : 2 * len(TEXTS)] == rows[2 * len(TEXTS) :]


async def test_a_cancelled_call_makes_room_for_the_next() -> None:
    embedder = sy.embedder(threads=1)
    await embedder.embed(["warm"])
    long = asyncio.create_task(embedder.embed(TEXTS[2:3] * 2_000))
    await asyncio.sleep(0.1)
    long.cancel()
    with pytest.raises(asyncio.CancelledError):
        await long
    async with asyncio.timeout(20):  # all 2,000 take minutes
        await embedder.embed(["next"] * 9)  # so many wait for the cancelled ones


async def test_a_query_does_not_wait_while_many_texts_are_embedded() -> None:
    embedder = sy.embedder("minilm-l6-v2")
    await embedder.embed(["warm"])
    many = asyncio.create_task(embedder.embed([f"{n} {'word ' * 300}" for n in range(128)]))
    await asyncio.sleep(0.05)
    await embedder.embed(["a query"])
    assert not many.done()
    many.cancel()
    await asyncio.wait([many])


def test_an_identity_is_the_weights_not_the_threads() -> None:
    assert sy.embedder(threads=1).identity == sy.embedder(threads=2).identity
    assert sy.embedder().identity != sy.embedder("wordllama-256").identity
    assert sy.embedder().identity.startswith("embed:")


def test_a_model_that_writes_is_no_embedder() -> None:
    with pytest.raises(sy.UserError, match=r"'smollm2-135m' writes text.* Use 'minilm-l6-v2'"):
        sy.embedder("smollm2-135m")
    with pytest.raises(sy.UserError, match="threads=0"):
        sy.embedder(threads=0)


def test_a_missing_package_names_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # this makes its import fail
    with pytest.raises(sy.MissingExtra, match=r"'onnxruntime', .* Run `pip install 'synthon\[index\]'`"):
        sy.embedder()


def test_missing_weights_name_their_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert path_of("minilm-l6-v2", "tokenizer.json").is_file()
    monkeypatch.setenv("SYNTHON_MODELS", str(tmp_path))
    with pytest.raises(sy.MissingExtra, match="Run `synthon models fetch minilm-l6-v2`"):
        sy.embedder()


@settings(max_examples=200)
@given(st.lists(st.integers(1, 256), max_size=60))
def test_batches_hold_each_text_once_within_their_bounds(lengths: list[int]) -> None:
    batches = list(_batches(lengths))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= 16
        assert len(batch) * max(lengths[index] for index in batch) <= 512
