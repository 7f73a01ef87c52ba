"""A local model becomes another one by training on what a program should answer, and the search takes it up."""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pytest

import synthon as sy
from synthon.evals import Case, Cases
from synthon.models.local_model import LlamaModel
from synthon.optimize import LoRA, finetune, finetuning, optimize
from tests.models.adapters import adapter

pytestmark = pytest.mark.engine

trains = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("torch", "transformers", "peft")),
    reason="training needs the extra `train` (torch, transformers, peft), which the project's environment leaves out",
)


@sy.step
async def kind(word: str) -> Literal["blip", "blop"]:
    """Say whether it is a blip or a blop."""
    ...


def same(case: Case[str], output: str) -> float:
    return float(case.expected == output)


def local(added: str | None = None) -> sy.Journaled:
    return sy.local(context=512, threads=1, adapter=added)


def close(*models: sy.Journaled) -> None:
    for each in models:
        assert isinstance(each.model, LlamaModel)
        each.model.close()


async def test_the_search_takes_a_tuned_model_as_one_more_value(tmp_path: Path) -> None:
    base, tuned, journal = local(), local(adapter(f"{tmp_path}/tuned.gguf", scale=0.6)), sy.MemoryJournal()
    words = [f"{colour} {thing}" for colour in ("red", "blue", "old") for thing in ("car", "cat", "sea", "tree")]
    said = [await sy.run(kind.using(model=tuned), word, journal=journal, policy="cache") for word in words]
    cases = Cases(Case({"word": word}, answer) for word, answer in zip(words, said, strict=True))
    before = await sy.evaluate(kind.using(model=base), cases, same, journal=journal, watch=lambda _: None)
    assert before.mean.value < 1
    program = kind.using(model=base)
    run = await optimize(
        program, [], cases, metric=same, budget=sy.Budget(calls=100), models=[base, tuned], journal=journal
    )
    best = run.best()
    assert "kind.model=smollm2-135m+tuned" in best.changes
    assert best.quality.value == 1
    close(base, tuned)


async def test_without_the_extra_the_pip_line_is_named_before_anything_is_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # as if it were not installed
    with pytest.raises(sy.MissingExtra, match=r"'torch', which is not installed.*pip install 'synthon\[train\]'"):
        await finetune(kind, [], tmp_path / "x.gguf", model=local(), metric=same)


async def test_only_a_local_model_without_adapter_is_trained(tmp_path: Path) -> None:
    distant = sy.Journaled(sy.FunctionModel(lambda _: sy.Completion("blip"), name="distant"))
    with pytest.raises(sy.Unsupported, match="'distant' does not run in this process"):
        await finetune(kind, [], tmp_path / "x.gguf", model=distant, metric=same)
    twice = local(adapter(f"{tmp_path}/tuned.gguf", scale=0.1))
    with pytest.raises(sy.Unsupported, match=r"'smollm2-135m\+tuned' has an adapter already"):
        await finetune(kind, [], tmp_path / "x.gguf", model=twice, metric=same)


async def test_an_answer_with_other_line_ends_is_one_line_to_train_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @sy.step
    async def quote(word: str) -> str:
        """Quote it."""
        ...

    def training(_libraries: object, _base: object, lines: list[str], _how: object) -> None:
        raise LookupError(*lines)  # far enough: what follows takes the extra

    monkeypatch.setattr(finetuning, "_Libraries", object)
    monkeypatch.setattr(finetuning, "_Training", training)
    with pytest.raises(LookupError) as caught:
        await finetune(quote, [Case({"word": "a"}, "b\u2028c")], tmp_path / "x.gguf", model=local(), metric=same)
    (line,) = caught.value.args
    assert json.loads(line)["messages"][-1]["content"] == "b\u2028c"


@trains
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks transformers so
async def test_training_makes_a_model_that_has_learnt_the_rows_and_is_made_once(tmp_path: Path) -> None:
    train = [Case({"word": word}, answer) for word, answer in [("one", "blip"), ("two", "blop"), ("red", "blip")]]
    base, told, path = local(), list[sy.Progress](), tmp_path / "deep" / "kind.gguf"
    made = LoRA(rank=4, epochs=3, rate=5e-3)
    tuned = await finetune(kind, train, path, model=base, metric=same, lora=made, watch=told.append)
    await asyncio.sleep(0)
    assert [each.done for each in told] == [1, 2, 3]
    assert (path.with_suffix("") / "kind.jsonl").is_file()
    losses = [float(each.label.removeprefix("loss ")) for each in told]
    assert losses[-1] < losses[0]
    for case in train:
        messages = tuple((await kind.explain(**case.inputs)).messages)  # type: ignore[arg-type] # a word
        asked = sy.Request(messages, continuations=(case.expected,))
        before, after = [(await model.complete(asked)).scores[0].logprob for model in (base, tuned)]
        assert after > before + 1
    again = await finetune(kind, train, path, model=base, metric=same, lora=made, watch=told.append)
    assert again.identity == tuned.identity
    assert len(told) == 3
    adapter(str(path), scale=0.1)
    with pytest.raises(sy.UserError, match=r"deep/kind\.gguf' is no adapter that finetune wrote"):
        await finetune(kind, train, path, model=base, metric=same, lora=made)
    close(base, tuned)
