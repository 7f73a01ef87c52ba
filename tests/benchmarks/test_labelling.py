"""The benchmark of labels without a model: its baseline, its draws and its choice of `k`."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks import datasets, labelling
from tests.retrieval.embedding import WordEmbedder

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [(f"{word} number {number}", word) for number in range(6) for word in ("card", "refund", "weather")]


def test_a_rare_word_weighs_more_than_a_frequent_one_and_an_unknown_one_nothing() -> None:
    vectors = labelling.tf_idf(["the card", "the refund", "the card and the refund"])
    asked = vectors(["the card", "card", "the", "unknown"])
    assert asked[0] @ asked[1] > asked[0] @ asked[2] > 0
    assert np.linalg.norm(asked, axis=1) == pytest.approx([1, 1, 1, 0])


def test_the_likest_decides_between_labels_of_equal_number() -> None:
    likeness = np.array([[0.1, 0.9, 0.3, 0.2]], np.float32)
    assert labelling.voted(likeness, ["a", "b", "a", "b"], 2)[0] == "b"
    assert labelling.voted(likeness, ["a", "b", "a", "c"], 4)[0] == "a"


def test_draws_follow_the_seed_and_never_ask_for_more_than_there_is(tmp_path: Path) -> None:
    with pytest.raises(datasets.DataMissing, match="bank_train"):
        labelling.drawn(tmp_path, "bank", 4, 7)
    (tmp_path / "intents").mkdir()
    for split in ("train", "test"):
        lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in ROWS]
        with gzip.open(tmp_path / "intents" / f"bank_{split}.jsonl.gz", "wt") as file:
            file.writelines(lines)
    first, same, other = (labelling.drawn(tmp_path, "bank", 4, seed) for seed in (7, 7, 8))
    assert first == same != other
    assert (len(first.train), len(first.test)) == (4, len(ROWS))


async def test_each_arm_answers_every_test_row() -> None:
    draw = labelling.Draw(tuple(ROWS[:12]), tuple(ROWS[12:]))
    assert labelling.by_words(draw) == [True] * 6
    assert await labelling.voting(draw, WordEmbedder()) == [True] * 6
    answers, seconds = await labelling.probing(draw, WordEmbedder())
    assert answers == [True] * 6
    assert seconds > 0
