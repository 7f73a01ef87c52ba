"""Reranking: the order is the scores', the scores are what the weights say, and nothing is asked twice."""

from __future__ import annotations

import asyncio
import math
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer, models, pre_tokenizers, processors

import synthon as sy
from synthon.retrieval import Document, Index, ModelReranker, cross_encoder
from synthon.retrieval.reranking import CrossEncoder, reranked

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

WORDS = ["cat", "dog", "owl", "bee", "ant", "cow", "red", "tea"]
SPECIAL = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]


def passages(*texts: str, title: str = "") -> list[sy.Passage]:
    return [sy.Passage(text, f"d{number}", title=title) for number, text in enumerate(texts)]


def logistic(margin: float) -> float:
    return 1 / (1 + math.exp(-margin))


# ------------------------------------------------------------------------------------------- a tiny cross-encoder


def overlap_encoder(folder: Path, *, outputs: int = 1, bias: float = -1.0) -> Path:
    """A cross-encoder whose margin is the number of known words that query and passage share, plus a bias.

    With one output that margin is the logit; with two it is their difference, the first being 0.5.
    """
    rows = len(SPECIAL) + len(WORDS)
    table = np.zeros((rows, len(WORDS)), np.float32)
    table[len(SPECIAL) :] = np.eye(len(WORDS), dtype=np.float32)
    heads = {1: ([[1.0]], [bias]), 2: ([[0.0, 1.0]], [0.5, bias + 0.5]), 3: ([[1.0] * 3], [bias] * 3)}
    weight, offset = (np.array(each, np.float32) for each in heads[outputs])
    constants = {
        "table": table, "one": np.array(1.0, np.float32), "last": np.array([2]), "ones": np.array([1]),
        "weight": weight, "offset": offset,
    }  # fmt: skip
    steps = [
        ("Gather", ["table", "input_ids"], "words"),
        ("Cast", ["token_type_ids"], "types"),
        ("Cast", ["attention_mask"], "mask"),
        ("Sub", ["one", "types"], "first"),
        ("Mul", ["mask", "first"], "in_query"),
        ("Mul", ["mask", "types"], "in_passage"),
        ("Unsqueeze", ["in_query", "last"], "query_mask"),
        ("Unsqueeze", ["in_passage", "last"], "passage_mask"),
        ("Mul", ["words", "query_mask"], "query_words"),
        ("Mul", ["words", "passage_mask"], "passage_words"),
        ("ReduceMax", ["query_words"], "query"),
        ("ReduceMax", ["passage_words"], "passage"),
        ("Mul", ["query", "passage"], "shared"),
        ("ReduceSum", ["shared", "ones"], "count"),
        ("MatMul", ["count", "weight"], "scaled"),
        ("Add", ["scaled", "offset"], "logits"),
    ]
    options: dict[str, dict[str, Any]] = {
        "Cast": {"to": TensorProto.FLOAT}, "ReduceMax": {"axes": [1], "keepdims": 0},
    }  # fmt: skip
    shape = ["batch", "tokens"]
    graph = helper.make_graph(
        [helper.make_node(kind, given, [out], **options.get(kind, {})) for kind, given, out in steps],
        "overlap",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, shape)
            for name in ("input_ids", "attention_mask", "token_type_ids")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", outputs])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    folder.mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    word_tokenizer(folder / "tokenizer.json")
    return folder


def word_tokenizer(path: Path) -> None:
    """A token for each word, and pairs as BERT has them."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.enable_padding(length=64)  # as some files have it: ours must not rely on it
    tokenizer.save(str(path))


@pytest.mark.parametrize("outputs", [1, 2])
@given(
    query=st.lists(st.sampled_from(WORDS), min_size=1, max_size=5),
    texts=st.lists(st.lists(st.sampled_from([*WORDS, "unheard"]), max_size=12), min_size=1, max_size=40),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
async def test_a_cross_encoders_score_is_the_probability_its_weights_give(
    tmp_path: Path, outputs: int, query: list[str], texts: list[list[str]]
) -> None:
    folder = tmp_path / str(outputs)
    encoder = cross_encoder(folder if folder.exists() else overlap_encoder(folder, outputs=outputs))
    scores = await encoder.scores(" ".join(query), passages(*map(" ".join, texts)))
    expected = [logistic(len(set(query) & set(text)) - 1) for text in texts]
    assert scores == pytest.approx(expected, abs=2e-6)


async def test_a_passage_scores_the_same_whatever_is_scored_beside_it(tmp_path: Path) -> None:
    encoder = cross_encoder(overlap_encoder(tmp_path))
    texts = [" ".join(WORDS[: 1 + number % 8] * (number + 1)) for number in range(40)]
    together = await encoder.scores("owl tea", passages(*texts))
    alone = [(await encoder.scores("owl tea", passages(text)))[0] for text in texts]
    assert together == alone
    assert len(set(together)) == 3
    assert await encoder.scores("owl tea", []) == []


def ranged_encoder(folder: Path) -> Path:
    """A cross-encoder that quantises by the range of all it is given; "tea" lies thirty times as far out."""
    random = np.random.default_rng(0)
    table = random.normal(size=(len(SPECIAL) + len(WORDS), 8)).astype(np.float32)
    table[-1] *= 30
    constants: dict[str, Any] = {
        "table": table, "weight": random.integers(-100, 100, (8, 1)).astype(np.int8), "none": np.array(0, np.int8),
        "scale": np.array(0.01, np.float32), "ones": np.array([1]), "last": np.array([2]),
    }  # fmt: skip
    steps: list[tuple[str, list[str], list[str], dict[str, Any]]] = [
        ("Gather", ["table", "input_ids"], ["words"], {}),
        ("Cast", ["attention_mask"], ["flat"], {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["flat", "last"], ["mask"], {}),
        ("Mul", ["words", "mask"], ["heard"], {}),
        ("ReduceSum", ["heard", "ones"], ["sum"], {"keepdims": 0}),
        ("DynamicQuantizeLinear", ["sum"], ["small", "step", "zero"], {}),
        ("MatMulInteger", ["small", "weight", "zero", "none"], ["whole"], {}),
        ("Cast", ["whole"], ["real"], {"to": TensorProto.FLOAT}),
        ("Mul", ["step", "scale"], ["unit"], {}),
        ("Mul", ["real", "unit"], ["logits"], {}),
    ]
    graph = helper.make_graph(
        [helper.make_node(kind, given, made, **options) for kind, given, made, options in steps],
        "ranged",
        [
            helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "tokens"])
            for name in ("input_ids", "attention_mask")
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 1])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, str(folder / "model.onnx"))
    word_tokenizer(folder / "tokenizer.json")
    return folder


async def test_so_it_does_with_weights_that_are_scaled_by_all_they_are_given(tmp_path: Path) -> None:
    encoder = cross_encoder(ranged_encoder(tmp_path))
    texts = ["dog owl", "tea tea tea", "cat", "red cow"]
    together = await encoder.scores("cat", passages(*texts))
    assert together == [(await encoder.scores("cat", passages(text)))[0] for text in texts]


async def test_a_passages_title_counts(tmp_path: Path) -> None:
    encoder = cross_encoder(overlap_encoder(tmp_path))
    assert await encoder.scores("owl", passages("dog", title="owl")) == await encoder.scores("owl", passages("owl"))


async def test_what_lies_beyond_the_models_limit_does_not_count(tmp_path: Path) -> None:
    folder = overlap_encoder(tmp_path)
    text = passages("dog " * 20 + "owl")
    assert await cross_encoder(folder, max_tokens=25).scores("owl", text) == [0.5]  # 3 special tokens, 1 + 21 words
    assert (await cross_encoder(folder, max_tokens=24).scores("owl", text))[0] == pytest.approx(logistic(-1), abs=1e-6)


async def test_a_model_that_is_no_cross_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sy.UserError, match="gives 3 numbers for a pair; a cross-encoder gives one, or two"):
        await cross_encoder(overlap_encoder(tmp_path, outputs=3)).scores("owl", passages("owl"))


def test_the_identity_follows_weights_and_limit_and_nothing_else(tmp_path: Path) -> None:
    encoder = cross_encoder(overlap_encoder(tmp_path / "a"))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert cross_encoder(tmp_path / "b", threads=1).identity == encoder.identity
    assert cross_encoder(tmp_path / "b", max_tokens=128).identity != encoder.identity
    assert cross_encoder(overlap_encoder(tmp_path / "c", bias=-2.0)).identity != encoder.identity


def test_the_tokenizer_may_lie_in_the_folder_above(tmp_path: Path) -> None:
    overlap_encoder(tmp_path / "onnx")
    (tmp_path / "onnx" / "tokenizer.json").rename(tmp_path / "tokenizer.json")
    assert cross_encoder(tmp_path / "onnx" / "model.onnx").tokenizer == tmp_path / "tokenizer.json"


async def test_a_hub_model_is_taken_from_the_hub_folder_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(sy.MissingExtra, match=r"run `hf download org/repo onnx/model\.onnx tokenizer\.json`"):
        cross_encoder("hf:org/repo")
    snapshot = tmp_path / "models--org--repo" / "snapshots" / ("0" * 40)
    overlap_encoder(snapshot / "onnx")
    (tmp_path / "models--org--repo" / "refs").mkdir()
    (tmp_path / "models--org--repo" / "refs" / "main").write_text("0" * 40)
    (snapshot / "onnx" / "tokenizer.json").rename(snapshot / "tokenizer.json")
    encoder = cross_encoder("hf:org/repo")
    assert await encoder.scores("owl", passages("owl")) == [0.5]
    (snapshot / "onnx" / "model.onnx").rename(snapshot / "onnx" / "small.onnx")
    assert cross_encoder("hf:org/repo/onnx/small.onnx").identity == encoder.identity


@pytest.mark.parametrize("name", ["hf:org", "hf:", "nowhere", "nowhere/model.onnx"])
def test_a_cross_encoder_that_is_not_here_is_a_clear_error(name: str) -> None:
    with pytest.raises(sy.MissingExtra, match=f"The cross-encoder '{name}' is not on this machine"):
        cross_encoder(name)


@pytest.mark.parametrize(("package", "extra"), [("onnxruntime", "index"), ("huggingface_hub", "local")])
def test_a_missing_package_is_named_with_its_extra(package: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, package, None)  # this makes its import fail
    with pytest.raises(sy.MissingExtra, match=rf"'{package}', .* Run `pip install 'synthon\[{extra}\]'`"):
        cross_encoder("hf:org/repo")


async def test_scores_are_read_from_the_journal_for_the_same_reranker_only(tmp_path: Path) -> None:
    folder = overlap_encoder(tmp_path / "model")

    async def ask(encoder: CrossEncoder) -> list[float]:
        return await encoder.scores("owl tea", passages("owl", "tea owl"))

    journal = sy.MemoryJournal()
    first = await sy.run(ask, cross_encoder(folder), journal=journal, policy="cache")
    broken, status = folder / "model.onnx", (folder / "model.onnx").stat()
    broken.write_bytes(b"?" * status.st_size)
    os.utime(broken, ns=(status.st_atime_ns, status.st_mtime_ns))  # so that its digest is believed
    assert await sy.run(ask, cross_encoder(folder), journal=journal, policy="replay_only") == first
    with pytest.raises(sy.JournalError, match="replay_only found no row"):
        await sy.run(ask, cross_encoder(folder, max_tokens=64), journal=journal, policy="replay_only")


# --------------------------------------------------------------------------------------------------- in a search


class Shortest:
    """Prefers short passages; remembers what it was given."""

    identity = "shortest"

    def __init__(self) -> None:
        self.given: list[str] = []

    async def scores(self, query: str, passages: Sequence[sy.Passage]) -> list[float]:
        self.given = [passage.document for passage in passages]
        return [1 / len(passage.text) for passage in passages]


async def animals(path: Path) -> Index:
    index = Index(path, embedder="none")
    texts = ["owl owl owl", "owl owl and a dog", "owl, cat, cow and a red bee", "the owl"]
    await index.add(Document(text, f"d{number}") for number, text in enumerate(texts))
    return index


async def test_a_search_takes_the_first_depth_passages_and_returns_the_best_k_by_the_rerankers_score(
    tmp_path: Path,
) -> None:
    shortest = Shortest()
    with await animals(tmp_path / "i.db") as index:
        plain = [passage.document for passage in await index.search("owl", k=4)]
        found = await index.search("owl", k=2, rerank=shortest, depth=3)
        assert shortest.given == plain[:3]
        expected = sorted(plain[:3], key=lambda id_: len(index.document(id_).text))[:2]
        assert [passage.document for passage in found] == expected != plain[:2]
        assert [passage.score for passage in found] == [1 / len(passage.text) for passage in found]
        assert len(await index.search("owl", k=4, rerank=shortest, depth=2)) == 4
        with pytest.raises(sy.UserError, match=r"depth=0, .*: give words to look for"):
            await index.search("owl", rerank=shortest, depth=0)


@given(scores=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=12), k=st.integers(1, 12))
async def test_the_order_is_by_score_and_equal_scores_keep_theirs(scores: list[float], k: int) -> None:
    class Given:
        identity = "given"

        async def scores(self, query: str, passages: Sequence[sy.Passage]) -> list[float]:
            return scores

    found = await reranked(Given(), "q", passages(*map(str, range(len(scores)))), k=k)
    assert [(-each.score, int(each.text)) for each in found] == sorted((-s, n) for n, s in enumerate(scores))[:k]


async def test_reranking_is_a_knob_of_a_program(tmp_path: Path) -> None:
    shortest = Shortest()
    with await animals(tmp_path / "i.db") as index:

        @sy.program
        async def find(query: str, *, rerank: Shortest | None = sy.one_of(None, shortest)) -> str:  # noqa: B008 - a knob
            return (await index.search(query, k=1, rerank=rerank))[0].document

        assert (await find("owl"), await find.using(rerank=shortest)("owl")) == ("d0", "d3")


# ------------------------------------------------------------------------------------------------ language models


class Judge:
    """A model whose log-odds of Yes are the words that query and passage share."""

    def __init__(self) -> None:
        self.prompts: list[str] = []
        self.open = self.most = 0

    async def __call__(self, request: sy.Request) -> sy.Completion:
        self.open += 1
        self.most = max(self.most, self.open)
        await asyncio.sleep(0.01)
        self.open -= 1
        assert request.continuations == ("Yes", "No")
        assert request.temperature == 0
        text = request.messages[-1].text
        self.prompts.append("\n".join(message.text for message in request.messages))
        query, passage = (set(text.split(f"{name}: ")[1].split("\n\n")[0].split()) for name in ("Query", "Passage"))
        return sy.Completion(scores=(sy.Score(len(query & passage) - 9.0, 1), sy.Score(-9.0, 1)))

    def model(self) -> sy.Journaled:
        return sy.Journaled(sy.FunctionModel(self, "judge", "judge", frozenset({"chat", "score"})))


async def test_a_models_score_is_its_probability_of_yes_against_no_asked_for_all_at_once_but_the_first() -> None:
    judge = Judge()
    scores = await ModelReranker(judge.model()).scores("owl tea", passages("tea owl", "dog", "owl", "tea"))
    assert scores == pytest.approx([logistic(2), 0.5, logistic(1), logistic(1)], abs=1e-6)
    assert judge.most == 3
    assert await ModelReranker(judge.model()).scores("owl tea", []) == []


@pytest.mark.parametrize("first", ["query", "passage"])
async def test_what_comes_first_in_the_prompt_is_shared_by_its_requests(first: str) -> None:
    judge = Judge()
    reranker = ModelReranker(judge.model(), first="query" if first == "query" else "passage")
    await asyncio.gather(*(reranker.scores(query, passages("dog cow", "bee red")) for query in ("owl", "tea")))
    shared = {"query": ["owl", "tea"], "passage": ["dog cow", "bee red"]}[first]
    heads = [prompt.partition(content)[0] for prompt in judge.prompts for content in shared if content in prompt]
    assert (len(heads), len(set(heads))) == (4, 1)


def test_a_models_identity_follows_the_prompt() -> None:
    model = Judge().model()
    plain = ModelReranker(model)
    assert plain.identity == ModelReranker(model).identity
    assert plain.name == "judge, query first"
    assert plain.identity not in {ModelReranker(model, first="passage").identity, model.identity}


async def test_a_model_that_cannot_score_is_refused() -> None:
    model = sy.FunctionModel(lambda _: "Yes", "speaker")
    with pytest.raises(sy.Unsupported, match="'speaker' cannot score"):
        await ModelReranker(model).scores("owl", passages("owl", "dog"))


async def test_a_warm_search_asks_the_model_nothing_and_a_budget_counts_it_as_a_cold_one(tmp_path: Path) -> None:
    judge, journal = Judge(), sy.MemoryJournal()
    with await animals(tmp_path / "i.db") as index:

        async def find(query: str) -> list[sy.Passage]:
            return await index.search(query, k=2, rerank=ModelReranker(judge.model()), depth=4)

        found, spent = [], []
        for _ in range(2):
            budget = sy.Budget(calls=10)
            found.append(await sy.run(find, "owl dog", journal=journal, policy="cache", budget=budget))
            spent.append(budget.spent.calls)
        assert len(judge.prompts) == 4
    assert found[0] == found[1]
    assert spent == [4, 4]


@pytest.mark.engine
async def test_the_embedded_model_puts_the_answer_above_what_has_nothing_to_do_with_it() -> None:
    texts = ["The harbour bridge was opened by Anna Berg in 1931.", "Butter melts at about thirty degrees."]
    for reranker in (ModelReranker(sy.local()), ModelReranker(sy.local(), first="passage")):
        answer, other = await reranker.scores("Who opened the harbour bridge?", passages(*texts))
        assert 0 < other < answer < 1
        assert (await reranker.scores("Who opened the harbour bridge?", passages(texts[1])))[0] == pytest.approx(
            other, abs=1e-4
        )
