"""Put the passages of a search in a better order: a language model's yes or no, or a cross-encoder."""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import json
import math
import mmap
import threading
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from synthon.core.errors import MissingExtra, UserError
from synthon.core.recording import recorded
from synthon.core.running import span
from synthon.core.values import Message, Passage
from synthon.models.selecting import select
from synthon.weights.on_disk import HUB, digest_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthon.core.protocols import FloatArray, Model

_BATCH = 16
_BY_RANGE = b"DynamicQuantize"  # how ONNX names operators that scale by the range of all they are given
_TOKENIZER = "tokenizer.json"
_INSTRUCTION = "You judge search results. Say whether the passage helps to answer the query. Answer Yes or No."


class Reranker(Protocol):
    """Judges each passage of a search by itself.

    What it calls it records itself (a journaled model does, `recorded` does), so that a resumed run asks nothing twice
    and a budget counts it.
    """

    @property
    def identity(self) -> str:
        """What decides its scores: weights, prompt, limits."""
        ...

    async def scores(self, query: str, passages: Sequence[Passage]) -> list[float]:
        """One score for each passage, in their order, higher is better; the same whatever else is scored beside it."""
        ...


async def reranked(reranker: Reranker, query: str, passages: Sequence[Passage], *, k: int) -> list[Passage]:
    """The `k` best passages by the reranker's score, which becomes theirs; equal ones keep their order.

    Raises:
        UserError: the reranker did not give one finite number for each passage.
    """
    given = await reranker.scores(query, passages)
    try:
        scores = [float(score) for score in given]
    except (TypeError, ValueError):
        scores = []
    if len(scores) != len(passages) or not all(map(math.isfinite, scores)):
        msg = (
            f"The reranker {reranker.identity!r} gave {given!r:.200}. Its scores() must give a finite number for each "
            f"of {len(passages)} passages."
        )
        raise UserError(msg)
    found = [replace(passage, score=score) for passage, score in zip(passages, scores, strict=True)]
    return sorted(found, key=lambda passage: -passage.score)[:k]


@dataclass(frozen=True, slots=True)
class ModelReranker:
    """The probability of "Yes" against "No" when a language model is asked whether the passage answers the query, 0..1.

    From the logits (Nogueira 2020, arXiv:2003.06713, without its training). One scoring for each passage, the first
    alone and then all others at once. What stands first in the prompt is computed once by an engine with a prefix
    cache: the instruction always, the query for all passages of a search with `first="query"`, a passage for all
    queries that find it while it is kept with `first="passage"`.

    No better order than the index's own with the models we measured: with the embedded one nDCG@10 falls by 0.28 in
    the mean of four sets (0.18 .. 0.37, n 26 queries, benchmarks/rerank.py), and on 10 queries from 0.58 to 0.52 with
    Qwen2.5-0.5B. So it is off unless asked for; it is for larger models.
    """

    model: Model
    first: Literal["query", "passage"] = "query"

    @property
    def name(self) -> str:
        """The name saved programs know it by."""
        return f"{self.model.name}, {self.first} first"

    @property
    def identity(self) -> str:
        """The prompt's version and kind, and the model's identity."""
        return f"yes-no-1;{self.first};{self.model.identity}"

    async def scores(self, query: str, passages: Sequence[Passage]) -> list[float]:
        """See `Reranker`.

        Raises:
            Unsupported: the model cannot score.
            ContextTooLong: a passage does not fit the model's context.
        """
        with span("rerank", "search", {"reranker": self.identity, "query": query}) as opened:
            texts = [_text(passage) for passage in passages]
            # only what is computed can be shared: of a query's ten prompts 0.33 came from the cache in place of 0.19
            first = [await self._score(query, text) for text in texts[:1]]
            tasks = [asyncio.ensure_future(self._score(query, text)) for text in texts[1:]]
            try:
                opened.output = found = first + await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
            return found

    async def _score(self, query: str, text: str) -> float:
        found = await select(self.model, self._messages(query, text), ("Yes", "No"))
        return _probability(found.scores[0] - found.scores[1])

    def _messages(self, query: str, text: str) -> tuple[Message, ...]:
        parts = [f"Query: {query}", f"Passage: {text}"][:: 1 if self.first == "query" else -1]
        asked = "\n\n".join([*parts, "Does the passage answer the query?"])
        return Message("system", _INSTRUCTION), Message("user", asked)


def cross_encoder(name: str | Path, *, max_tokens: int = 512, threads: int | None = None) -> CrossEncoder:
    """A cross-encoder that runs in this process; its weights are loaded at the first call.

    Args:
        name: an .onnx file with `tokenizer.json` beside it or in the folder above, a folder that holds both, or
            `hf:organisation/repository` (with `/onnx/model_quint8_avx2.onnx`, say, for another than `onnx/model.onnx`)
            from the Hugging Face hub's folder on this machine.
        max_tokens: query and passage together, as many as the model's positions; the longer one is cut.
        threads: all cores this process may use, if None.

    Raises:
        MissingExtra: a package or the files are not on this machine; says what gets them.
    """
    for package in ("onnxruntime", "tokenizers"):
        _package(package, "index")
    return CrossEncoder(*_files(str(name)), name=str(name), max_tokens=max_tokens, threads=threads or 0)


@dataclass(frozen=True)
class CrossEncoder:
    """The probability that a transformer which reads query and passage together gives to "relevant", 0..1.

    `cross_encoder` makes one. A model of one output gives its sigmoid, one of two outputs (no, yes) their softmax.
    Calls from any thread or loop take turns in a thread. Dynamically quantised weights, which are scaled by all that
    is computed at once, are given one pair after another; others 16 pairs.
    """

    path: Path
    tokenizer: Path
    name: str = ""
    max_tokens: int = 512
    threads: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    @cached_property
    def identity(self) -> str:
        """`cross-encoder:` and the digest of weights, tokenizer and limit."""
        parts = [digest_of(self.path), digest_of(self.tokenizer), str(self.max_tokens)]
        return f"cross-encoder:{hashlib.sha256(';'.join(parts).encode()).hexdigest()}"

    async def scores(self, query: str, passages: Sequence[Passage]) -> list[float]:
        """See `Reranker`.

        Raises:
            UserError: the model has another number of outputs than one or two.
        """
        texts = [_text(passage) for passage in passages]

        async def act() -> str:
            return json.dumps(await asyncio.to_thread(self._scores, query, texts))

        arguments = {"reranker": self.identity, "query": query, "passages": texts}
        found: list[float] = json.loads(await recorded("rerank", arguments, act, kind="search"))
        return found

    def _scores(self, query: str, texts: Sequence[str]) -> list[float]:
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        found: dict[int, float] = {}
        for start in range(0, len(order), self._batch):
            places = order[start : start + self._batch]
            with self._lock:
                found.update(zip(places, self._margins(query, [texts[place] for place in places]), strict=True))
        return [_probability(found[place]) for place in range(len(texts))]

    def _margins(self, query: str, texts: Sequence[str]) -> list[float]:
        """How far "relevant" is above its opposite, in nats."""
        pairs = self._tokens.encode_batch([(query, text) for text in texts])
        rows = {"input_ids": "ids", "attention_mask": "attention_mask", "token_type_ids": "type_ids"}
        asked = [each.name for each in self._session.get_inputs()]
        given = {name: np.array([getattr(pair, rows[name]) for pair in pairs], np.int64) for name in asked}
        logits: FloatArray = self._session.run(None, given)[0].reshape(len(pairs), -1)
        if logits.shape[1] not in {1, 2}:
            raise UserError(
                f"The model {str(self.path)!r} gives {logits.shape[1]} numbers for a pair; a cross-encoder gives one, "
                "or two (no, yes). Pass a model that was trained to rank passages."
            )
        return [float(each) for each in logits[:, -1] - logits[:, :-1].sum(axis=1)]

    @cached_property
    def _batch(self) -> int:
        """Pairs computed at once: one, where the weights would make a pair's numbers depend on those beside it."""
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as graph:
            return _BATCH if graph.find(_BY_RANGE) < 0 else 1

    @cached_property
    def _tokens(self) -> Any:
        tokenizer = _package("tokenizers", "index").Tokenizer.from_file(str(self.tokenizer))
        tokenizer.enable_padding()
        tokenizer.enable_truncation(self.max_tokens)
        return tokenizer

    @cached_property
    def _session(self) -> Any:
        onnxruntime = _package("onnxruntime", "index")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads would take a core each
        return onnxruntime.InferenceSession(str(self.path), options, providers=["CPUExecutionProvider"])


def _package(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtra(
            f"A cross-encoder needs the package {name!r}, which is missing. Run `pip install 'synthon[{extra}]'`."
        ) from error


def _text(passage: Passage) -> str:
    """A passage as the index embeds it: below its title."""
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


def _probability(margin: float) -> float:
    """The logistic function, rounded: below 1e-6 the order would hang on how a machine adds up."""
    return round(0.5 + 0.5 * math.tanh(margin / 2), 6)


def _files(name: str) -> tuple[Path, Path]:
    """The model's file and its tokenizer's: beside it, or in the folder above as the hub's repositories have it."""
    path, help_ = Path(name).expanduser().absolute(), "Pass an .onnx file that has the other beside or above it."
    if name.startswith(HUB):
        organisation, repository, file = [*name.removeprefix(HUB).split("/", 2), "", ""][:3]
        address, file = f"{organisation}/{repository}", file or "onnx/model.onnx"
        found = repository and _package("huggingface_hub", "local").try_to_load_from_cache(address, file)
        path = Path(found if isinstance(found, str) else file)
        help_ = f"Nothing is downloaded unasked: run `hf download {address} {file} {_TOKENIZER}`."
    model = path if path.suffix == ".onnx" else path / "model.onnx"
    tokenizer = next((each for folder in model.parents[:2] if (each := folder / _TOKENIZER).is_file()), None)
    if tokenizer is None or not model.is_file():
        raise MissingExtra(
            f"The cross-encoder {name!r} is not on this machine: {model.name!r} or {_TOKENIZER!r} is missing. {help_}"
        )
    return model, tokenizer


__all__ = ["CrossEncoder", "ModelReranker", "Reranker", "cross_encoder", "reranked"]
