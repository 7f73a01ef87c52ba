"""Questions answered quote first: are the quotes right, is the unknown refused, does the answer hold up?

    python -m benchmarks.rag_qa [--data DIR] [--cache DIR] [--full] [--json]

Quotes: share of the questions whose first quote, or one of up to three, holds a gold answer as whole tokens and comes
from the paragraph it was asked about; for the Python FAQ, whose first quote comes from the right section. All rows.

Refusal: one threshold of support, learnt on half of SQuAD's paragraphs (drawn by seed) as what loses 7 % of their
questions, and reported on the rest: the other half's questions, the same with their paragraph taken out, Cranfield's
and Natural Questions' queries against SQuAD's corpus; and what the same threshold loses where the sets' own documents
are asked. `shipped.*` are the same figures for the constant the product has. A paragraph is taken out of the search's
answer, not of the index, so the word statistics still know it.

Answers: at most 100 questions a set (all with --full), drawn by seed from rows the threshold was not learnt on, with
the embedded model. `exact` and `f1` are SQuAD's: of the clause the model chooses, shown or not (`clause`);
of what it writes itself when given the quotes (`retrieval`), which the product never shows; and of what it writes with
no documents (`closed_book`), after the same two examples.
`unsupported` is the share of the shown answers that were judged, once and by reading, to be no answer to the question
or one the quotes don't give (benchmarks/labels/rag_qa.jsonl, which names an answer by a digest); without a target where
a label is missing. The shown answers are written beside the caches to be read.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import string
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks import datasets, statistics
from benchmarks.embeddings import Cached
from benchmarks.report import Arguments, Measure, parse, report, skip
from synthon.core.errors import MissingExtra
from synthon.core.running import run
from synthon.core.values import Message, Request
from synthon.journal import SQLiteJournal
from synthon.models.embedders import embedder
from synthon.models.local_model import local
from synthon.retrieval import Document, Index
from synthon.retrieval.quotes import Quotes, quote
from synthon.systems.quote_first import THRESHOLD, chosen, quote_first

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from benchmarks.datasets import Collection, Query
    from synthon.core.protocols import Embedder, Model

_K = 5
_LOSS = 0.07
_ANSWERS = 100
_LABELS = Path(__file__).parent / "labels" / "rag_qa.jsonl"
_EXAMPLE = "The bridge was opened by Anna Berg in 1931, after four years."
_SHOTS = (("Who opened the bridge?", "Anna Berg"), ("How long did the bridge take?", "four years"))
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


@dataclass(frozen=True, slots=True)
class Asked:
    """A question with what was quoted for it."""

    query: Query
    found: Quotes


# -------------------------------------------------------------------------------------------------------- quotes


def tokens(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def holds(text: str, answers: Iterable[str]) -> bool:
    """Whether a text holds one of the answers as whole tokens."""
    inside = f" {' '.join(tokens(text))} "
    return any(f" {' '.join(tokens(answer))} " in inside for answer in answers)


def right(asked: Asked) -> list[bool]:
    """For each quote, whether it holds a gold answer and stands in a gold paragraph."""
    query = asked.query
    return [each.file in query.relevant and holds(each.text, query.answers) for each in asked.found.quotes]


async def quoted(index: Index, used: Embedder, queries: Sequence[Query], *, without_gold: bool = False) -> list[Asked]:
    """Each question's quotes from an index; `without_gold` leaves its own paragraph out."""
    asked = []
    for query in queries:
        passages = await index.search(query.text, k=_K + (10 if without_gold else 0))
        if without_gold:
            passages = [passage for passage in passages if passage.document not in query.relevant][:_K]
        asked.append(Asked(query, await quote(query.text, passages, used)))
    return asked


def quote_measures(name: str, asked: Sequence[Asked], targets: Mapping[str, float]) -> dict[str, Measure]:
    groups = [min(each.query.relevant, default=each.query.id) for each in asked]
    first = [float(bool(held) and held[0]) for held in map(right, asked)]
    three = [float(any(right(each))) for each in asked]
    characters = [float(sum(len(found.text) for found in each.found.quotes)) for each in asked]
    return {
        f"quotes.{name}.first": _mean(first, groups, targets.get("first")),
        f"quotes.{name}.three": _mean(three, groups, targets.get("three")),
        f"quotes.{name}.characters": _mean(characters, groups, targets.get("characters"), "<=", unit="characters"),
    }


def _mean(
    values: Sequence[float],
    groups: Sequence[object] | None = None,
    target: float | None = None,
    op: Literal[">=", "<="] = ">=",
    unit: str = "",
) -> Measure:
    bounds = statistics.interval(values, groups=groups)
    return Measure(float(np.mean(values)), bounds, len(values), target, op, unit)


# ------------------------------------------------------------------------------------------------------- refusal


def halves(asked: Sequence[Asked], seed: int) -> tuple[list[Asked], list[Asked]]:
    """Two halves by paragraph, drawn by seed: to learn on, to report on."""
    groups = sorted({min(each.query.relevant) for each in asked})
    random.Random(seed).shuffle(groups)
    first = frozenset(groups[: len(groups) // 2])
    return (
        [each for each in asked if min(each.query.relevant) in first],
        [each for each in asked if min(each.query.relevant) not in first],
    )


def refusal_measures(
    prefix: str, threshold: float, absent: Mapping[str, Sequence[Asked]], present: Mapping[str, Sequence[Asked]]
) -> dict[str, Measure]:
    """Refused where the answer is absent (more is better), lost where it is present (less is better)."""
    wanted = {
        "refused.cranfield": 0.97,
        "refused.natural_questions": 0.80,
        "refused.gold_removed": 0.65,
        "lost.squad": 0.10,
    }
    sides: tuple[tuple[Literal[">=", "<="], Mapping[str, Sequence[Asked]], str], ...] = (
        (">=", absent, "refused"),
        ("<=", present, "lost"),
    )
    measures = {}
    for op, sets, kind in sides:
        for name, asked in sets.items():
            refused = sum(each.found.support < threshold for each in asked)
            target = None if prefix else wanted.get(f"{kind}.{name}")
            bounds = statistics.share(refused, len(asked))
            measures[f"{prefix}{kind}.{name}"] = Measure(refused / max(1, len(asked)), bounds, len(asked), target, op)
    return measures


# ------------------------------------------------------------------------------------------------------- answers


def normal(text: str) -> list[str]:
    """SQuAD's normalisation: no case, punctuation or articles."""
    bare = "".join(character for character in text.lower() if character not in string.punctuation)
    return _ARTICLES.sub(" ", bare).split()


def f1(answer: str, golds: Iterable[str]) -> float:
    """Best token F1 over the gold answers (SQuAD)."""
    best = 0.0
    for gold in golds:
        ours, theirs = normal(answer), normal(gold)
        common = sum((Counter(ours) & Counter(theirs)).values())
        if not ours or not theirs:
            best = max(best, float(ours == theirs))
        elif common:
            best = max(best, 2 * common / (len(ours) + len(theirs)))
    return best


def exact(answer: str, golds: Iterable[str]) -> float:
    return float(any(normal(answer) == normal(gold) for gold in golds))


async def generated(model: Model, question: str, quotes: Sequence[str] = ()) -> str:
    """The model's own words: from the quotes, or without any (closed book)."""
    text = f"Text: {' '.join(' '.join(quotes).split())}\n" if quotes else ""
    example = f"Text: {_EXAMPLE}\n" if quotes else ""
    shots = "".join(f"{example}Question: {asked}\nAnswer: {told}\n\n" for asked, told in _SHOTS)
    messages = (Message("user", f"{shots}{text}Question: {question}"), Message("assistant", "Answer:"))
    completion = await model.complete(Request(messages, temperature=0.0, max_tokens=24, stop=("\n",)))
    return completion.text.strip().rstrip(".")


@dataclass(frozen=True, slots=True)
class Answered:
    """A question's answer: the clause chosen, whether it was shown, the model's own words with quotes and without."""

    query: Query
    text: str
    shown: bool
    quotes: tuple[str, ...]
    written: str
    closed: str

    @property
    def key(self) -> str:
        """Names this answer to this question over these quotes; labels hold no text."""
        whole = "\0".join([self.query.text, self.text, *self.quotes])
        return hashlib.sha256(whole.encode()).hexdigest()[:16]


def answer_measures(name: str, answered: Sequence[Answered], labels: Mapping[str, bool]) -> dict[str, Measure]:
    shown = [each for each in answered if each.shown]
    measures = {}
    for kind, answers in (
        ("clause", [each.text for each in answered]),
        ("retrieval", [each.written for each in answered]),
        ("closed_book", [each.closed for each in answered]),
    ):
        pairs = list(zip(answers, (each.query.answers for each in answered), strict=True))
        measures[f"answers.{name}.{kind}.exact"] = _mean([exact(*pair) for pair in pairs])
        measures[f"answers.{name}.{kind}.f1"] = _mean([f1(*pair) for pair in pairs])
    bounds = statistics.share(len(shown), len(answered))
    target = 0.3 if name == "squad" else None
    measures[f"answers.{name}.shown"] = Measure(len(shown) / max(1, len(answered)), bounds, len(answered), target)
    if shown:
        measures[f"answers.{name}.shown.exact"] = _mean([exact(each.text, each.query.answers) for each in shown])
        measures[f"answers.{name}.shown.f1"] = _mean([f1(each.text, each.query.answers) for each in shown])
    judged = [each for each in shown if each.key in labels]
    wrong = sum(not labels[each.key] for each in judged)
    is_judged = bool(shown) and len(judged) == len(shown)
    measures[f"answers.{name}.unsupported"] = Measure(
        wrong / len(judged) if judged else float("nan"), statistics.share(wrong, len(judged)) if judged else None,
        len(judged), 0.05 if is_judged and name == "squad" else None, "<=",
    )  # fmt: skip
    return measures


# ----------------------------------------------------------------------------------------------------------- run


async def answered(index: Index, used: Embedder, model: Model, asked: Sequence[Asked]) -> list[Answered]:
    """The short answers to questions whose quotes are known, one after another; a second run reads its journal."""
    program = quote_first(index, used, model)
    found = []
    for each in asked:
        answer = await program(each.query.text)
        texts = tuple(quote.text for quote in each.found.quotes)
        best = await chosen(model, each.query.text, texts[0]) if texts else ""
        written = await generated(model, each.query.text, texts)
        closed = await generated(model, each.query.text)
        found.append(Answered(each.query, answer.answer or best, answer.answer is not None, texts, written, closed))
        print(f"\ranswers: {len(found)}/{len(asked)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return found


@dataclass(frozen=True, slots=True)
class _Answering:
    """`answered`, without arguments that a journal would write down."""

    index: Index
    used: Embedder
    model: Model
    rows: Sequence[Asked]

    async def __call__(self) -> list[Answered]:
        return await answered(self.index, self.used, self.model, self.rows)


def drawn(asked: Sequence[Asked], arguments: Arguments) -> list[Asked]:
    """At most 100 rows by seed; all with --full."""
    if arguments.full or len(asked) <= _ANSWERS:
        return list(asked)
    return random.Random(arguments.seed).sample(list(asked), _ANSWERS)


def labels() -> dict[str, bool]:
    """Verdicts on shown answers by key."""
    if not _LABELS.exists():
        return {}
    rows = [json.loads(line) for line in _LABELS.read_text(encoding="utf-8").splitlines()]
    return {row["key"]: bool(row["supported"]) for row in rows}


@dataclass(frozen=True, slots=True)
class Opened:
    """A collection with its index."""

    collection: Collection
    index: Index

    async def ask(self, used: Embedder, queries: Sequence[Query] | None = None, **options: bool) -> list[Asked]:
        return await quoted(self.index, used, self.collection.queries if queries is None else queries, **options)


async def opened(collection: Collection, used: Embedder, folder: Path) -> Opened:
    index = Index(folder / f"{collection.name}.db", embedder=used)
    await index.add(Document(each.text, each.id, each.title) for each in collection.documents)
    print(f"{collection.name}: {len(index):,} chunks, {len(collection.queries):,} questions", file=sys.stderr)
    return Opened(collection, index)


async def measure(arguments: Arguments, used: Embedder, folder: Path) -> dict[str, Measure]:
    makers = (
        datasets.squad, datasets.hotpotqa, datasets.natural_questions, datasets.python_faq, datasets.cranfield,
        datasets.scifact,
    )  # fmt: skip
    sets = {made.name: await opened(made, used, folder) for made in (make(arguments.data) for make in makers)}
    squad = sets["squad"]
    present = {name: await each.ask(used) for name, each in sets.items()}
    learn, rest = halves(present["squad"], arguments.seed)
    absent = {
        "cranfield": await squad.ask(used, sets["cranfield"].collection.queries),
        "natural_questions": await squad.ask(used, sets["natural_questions"].collection.queries),
        "gold_removed": await squad.ask(used, [each.query for each in rest], without_gold=True),
    }
    faq = [
        float(bool(each.found.quotes) and each.found.quotes[0].file in each.query.relevant)
        for each in present["python_faq"]
    ]
    threshold = float(np.quantile([each.found.support for each in learn], _LOSS))
    measures = quote_measures("squad", present["squad"], {"first": 0.70, "three": 0.87, "characters": 520})
    # a yes or no stands in no quote
    spoken = [each for each in present["hotpotqa"] if not {"yes", "no"}.intersection(each.query.answers)]
    measures |= quote_measures("hotpotqa", spoken, {})
    measures |= quote_measures("natural_questions", present["natural_questions"], {})
    measures["quotes.python_faq.first_section"] = _mean(faq)
    measures["threshold.learnt"] = Measure(threshold, n=len(learn))
    measures["threshold.shipped"] = Measure(THRESHOLD)
    held_out = present | {"squad": rest}
    measures |= refusal_measures("", threshold, absent, held_out)
    measures |= refusal_measures("shipped.", THRESHOLD, absent, held_out)
    return measures | await measure_answers(arguments, used, sets, held_out)


async def measure_answers(
    arguments: Arguments, used: Embedder, sets: Mapping[str, Opened], asked: Mapping[str, Sequence[Asked]]
) -> dict[str, Measure]:
    try:
        model = local()
    except MissingExtra as missing:
        print(f"answers: skipped, {missing}", file=sys.stderr)
        return {}
    measures: dict[str, Measure] = {}
    with SQLiteJournal(arguments.cache / "rag_qa.db") as journal:
        for name in ("squad", "hotpotqa"):
            rows = drawn(asked[name], arguments)
            found = await run(_Answering(sets[name].index, used, model, rows), journal=journal, policy="cache")
            write_unjudged(arguments.cache / f"rag_qa-{name}.jsonl", found)
            measures |= answer_measures(name, found, labels())
    return measures


def write_unjudged(path: Path, found: Sequence[Answered]) -> None:
    """The shown answers as a person judges them, beside the caches: they hold the data set's text."""
    rows = [
        {
            "key": each.key,
            "question": each.query.text,
            "answer": each.text,
            "gold": each.query.answers,
            "quotes": each.quotes,
        }
        for each in found
        if each.shown
    ]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def main() -> None:
    arguments = parse(__doc__)
    try:
        datasets.squad(arguments.data)
    except datasets.DataMissing as missing:
        skip("rag_qa", str(missing), arguments)
        return
    used = Cached(embedder(), arguments.cache / "embeddings.db")
    with tempfile.TemporaryDirectory() as folder:
        measures = asyncio.run(measure(arguments, used, Path(folder)))
    report("rag_qa", arguments.seed, measures, as_json=arguments.json, readme=arguments.readme)


if __name__ == "__main__":
    main()
