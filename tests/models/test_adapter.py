"""A LoRA adapter makes another model of the same weights."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import synthon as sy
from synthon.models.local_model import LlamaModel
from tests.models.adapters import adapter

pytestmark = pytest.mark.engine

ASKED = sy.Request((sy.Message("user", "Is the sky blue?"),), continuations=("yes", "no", "blue"))


async def scores(model: sy.Model) -> list[float]:
    return [score.logprob for score in (await model.complete(ASKED)).scores]


def local(added: str | None = None) -> sy.Journaled:
    return sy.local(context=1024, threads=1, adapter=added)


def close(*models: sy.Journaled) -> None:
    for each in models:
        assert isinstance(each.model, LlamaModel)
        each.model.close()


async def test_an_adapter_of_zeros_changes_no_number_and_another_does(tmp_path: Path) -> None:
    base, same = local(), local(adapter(f"{tmp_path}/zeros.gguf", scale=0.0))
    other = local(adapter(f"{tmp_path}/drawn.gguf", scale=0.2))
    before = await scores(base)
    assert await scores(same) == before
    changed = await scores(other)
    assert all(abs(old - new) > 0.01 for old, new in zip(before, changed, strict=True))
    assert await scores(base) == before
    close(base, same, other)


def test_an_adapter_written_anew_answers_and_the_one_before_leaves_the_memory(tmp_path: Path) -> None:
    path, known = tmp_path / "tuned.gguf", set(threading.enumerate())
    first = asyncio.run(scores(local(adapter(str(path), scale=0.2))))
    Path(adapter(f"{tmp_path}/next.gguf", scale=0.4)).replace(path)
    model = local(str(path))
    second = asyncio.run(scores(model))
    close(model)
    assert asyncio.run(scores(model)) == second != first
    close(model)
    for thread in set(threading.enumerate()) - known:
        if thread.name.startswith("synthon engine"):
            thread.join(60)
            assert not thread.is_alive()


async def test_a_journal_never_takes_one_for_the_other(tmp_path: Path) -> None:
    base, other, journal = local(), local(adapter(f"{tmp_path}/drawn.gguf", scale=0.2)), sy.MemoryJournal()
    found = [await sy.run(scores, model, journal=journal, policy="cache") for model in (base, other, base)]
    assert found[0] == found[2] != found[1]
    close(base, other)


def test_the_adapter_is_part_of_name_and_identity(tmp_path: Path) -> None:
    drawn = adapter(f"{tmp_path}/drawn.gguf", scale=0.2)
    base, tuned = local(), local(drawn)
    assert tuned.name == "smollm2-135m+drawn"
    assert tuned.identity.startswith(f"{base.identity};adapter=")
    assert local(adapter(f"{tmp_path}/copy.gguf", scale=0.2)).identity == tuned.identity
    zeros = local(adapter(f"{tmp_path}/zeros.gguf", scale=0.0))
    assert zeros.identity != tuned.identity


async def test_a_file_that_is_no_adapter_for_these_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sy.UserError, match=r"There is no adapter .*none\.gguf"):
        local(f"{tmp_path}/none.gguf")
    wrong = local(adapter(f"{tmp_path}/wrong.gguf", scale=0.1, architecture="qwen2"))
    with pytest.raises(sy.UserError, match=r"Cannot load the adapter .*wrong\.gguf.*model arch and LoRA arch mismatch"):
        await scores(wrong)
    close(wrong)
