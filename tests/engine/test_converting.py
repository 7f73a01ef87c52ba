"""Weights in other numbers: the same model, whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from synthon.cli import main
from synthon.core.errors import UserError
from synthon.engine.binding import Piece, Streams, Weights, rounds_alike
from synthon.engine.converting import convert, kinds
from tests.conftest import MODELS

if TYPE_CHECKING:
    from synthon.core.progress import Progress
    from synthon.core.protocols import FloatArray

pytestmark = pytest.mark.engine

WEIGHTS = Path(MODELS) / "smollm2-135m" / "SmolLM2-135M-Instruct.Q4_1.gguf"
TEXT = "The capital of France is Paris, and the capital of Italy is Rome. A year has twelve months, a week seven days."


def logits(weights: Weights) -> FloatArray:
    streams = Streams(weights, count=1, cells=256, threads=1)
    try:
        return streams.compute([Piece(0, 0, weights.tokenize(TEXT), "all")]).copy()
    finally:
        streams.close()


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(WEIGHTS, "Q8_0", tmp_path_factory.mktemp("models") / "own.gguf")


def test_the_model_stays_the_same_and_batches_change_nothing(converted: Path) -> None:
    weights, before = Weights(converted), Weights(WEIGHTS)
    try:
        one, two = logits(weights), logits(before)
        assert (one.argmax(axis=1) == two.argmax(axis=1)).mean() > 0.9
        assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.995
        assert not np.array_equal(one, two)
        assert rounds_alike(weights, 1)
    finally:
        weights.close()
        before.close()


def test_the_command_writes_into_the_model_folder_and_says_how_to_use_it(
    converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHON_MODELS", str(tmp_path / "models"))
    assert main(["models", "convert", str(converted), "q4_0", "--to", str(tmp_path / "q.txt")]) == 1
    assert "Name a file that ends in .gguf" in capsys.readouterr().err
    assert main(["models", "convert", str(converted), "q4_0"]) == 0
    made = tmp_path / "models" / "own.Q4_0.gguf"
    assert capsys.readouterr().out.endswith(f"MB, from 145. Use it by sy.local({str(made)!r}).\n")
    assert made.stat().st_size < converted.stat().st_size


def test_what_cannot_be_written_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    odd = tmp_path / "odd.gguf"
    odd.write_text("no weights at all")
    with pytest.raises(UserError, match=r"cannot be written so: .*invalid magic"):
        convert(odd, "f16", tmp_path / "new.gguf")
    with pytest.raises(UserError, match=r"'q9'. Use one of .*q8_0"):
        convert(WEIGHTS, "q9", tmp_path / "new.gguf")
    with pytest.raises(UserError, match="is there already"):
        convert(WEIGHTS, "q8_0", odd)
    with pytest.raises(UserError, match="is in no folder"):
        convert(WEIGHTS, "q8_0", tmp_path / "none" / "new.gguf")
    assert odd.read_text() == "no weights at all"
    assert list(tmp_path.iterdir()) == [odd]
    assert {"f16", "bf16", "f32", "q4_k_m", "q8_0"} <= set(kinds())


def test_an_interruption_does_not_wait_and_leaves_nothing(tmp_path: Path) -> None:
    seen: list[Progress] = []

    def interrupted(event: Progress) -> None:
        seen.append(event)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(WEIGHTS, "q8_0", tmp_path / "new.gguf", watch=interrupted)
    assert len(seen) == 1
    assert not list(tmp_path.iterdir())
