"""The data sets the benchmarks read, by folder; nothing of them is part of the project.

    collection = cranfield(data)                    # documents, queries, relevant documents of each query
    squad(data).queries[0].answers                  # question sets carry the gold answers too

`data` is the folder given by `--data` (`benchmarks.report.parse`), with one folder a set. Another split of the same
sets has the same layout, so nothing here depends on names of rows, their number or their order.

| collection | folders | a query's relevant documents |
|---|---|---|
| `cranfield`, `cacm`, `scifact` | `ir_collections` | judged by people; binary |
| `hotpotqa` | `hotpotqa`, `twowiki_corpus` as haystack | paragraphs that hold its supporting facts |
| `python_faq` | `docs_corpus` | the section that answers it; sections' headings are left out of their text |
| `squad`, `natural_questions` | of that name, `twowiki_corpus` as haystack | the paragraph it was asked about |
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

Row = dict[str, object]


class DataMissing(Exception):
    """A set is not in the data folder; benchmarks then say so and measure nothing."""


@dataclass(frozen=True, slots=True)
class Text:
    """A document of a collection; `title` is empty where the set has none."""

    id: str
    text: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Query:
    """A query with the ids of its relevant documents and, in question sets, the accepted answers."""

    id: str
    text: str
    relevant: frozenset[str] = frozenset()
    answers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Collection:
    """Documents and the queries asked over them; ids are unique, order is the files'."""

    name: str
    documents: tuple[Text, ...]
    queries: tuple[Query, ...]


def rows(path: Path) -> Iterator[Row]:
    """Rows of a `.jsonl` or `.jsonl.gz` file.

    Raises:
        DataMissing: there is no such file.
    """
    if not path.is_file():
        msg = f"no {path}"
        raise DataMissing(msg)
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        for line in lines:
            yield cast("Row", json.loads(line))


def _strings(value: object) -> tuple[str, ...]:
    return tuple(map(str, cast("list[object]", value or [])))


def _texts(path: Path) -> tuple[Text, ...]:
    return tuple(Text(str(row["id"]), str(row["text"]), str(row.get("title", ""))) for row in rows(path))


def haystack(data: Path) -> tuple[Text, ...]:
    """Some six thousand Wikipedia passages that answer nothing: distractors."""
    return _texts(data / "twowiki_corpus" / "corpus.jsonl.gz")


def _judgements(path: Path, relevant_grades: frozenset[int]) -> dict[str, set[str]]:
    if not path.is_file():
        msg = f"no {path}"
        raise DataMissing(msg)
    found: dict[str, set[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split()
        if len(fields) == 4 and int(fields[3]) in relevant_grades:
            found.setdefault(fields[0], set()).add(fields[2])
    return found


def _judged(name: str, folder: Path, relevant_grades: frozenset[int]) -> Collection:
    judged = _judgements(folder / "qrels.txt", relevant_grades)
    queries = tuple(
        Query(str(row["id"]), str(row["query"]), frozenset(judged[str(row["id"])]))
        for row in rows(folder / "queries.jsonl")
        if str(row["id"]) in judged
    )
    return Collection(name, _texts(folder / "corpus.jsonl.gz"), queries)


def cranfield(data: Path) -> Collection:
    """Aerodynamics abstracts; grades 1 to 4 are relevant, 5 says "of no interest"."""
    return _judged("cranfield", data / "ir_collections" / "cranfield", frozenset({1, 2, 3, 4}))


def cacm(data: Path) -> Collection:
    """Titles and abstracts of the CACM; topics without a relevant document are left out."""
    return _judged("cacm", data / "ir_collections" / "cacm", frozenset({1}))


def scifact(data: Path) -> Collection:
    """Scientific claims over abstracts."""
    folder = data / "ir_collections" / "scifact_subset"
    queries = tuple(
        Query(str(row["id"]), str(row["query"]), frozenset(_strings(row["relevant"])))
        for row in rows(folder / "queries.jsonl")
    )
    return Collection("scifact", _texts(folder / "corpus.jsonl.gz"), queries)


def hotpotqa(data: Path) -> Collection:
    """Two-hop questions; both supporting paragraphs are relevant."""
    queries = tuple(
        Query(
            str(row["id"]),
            str(row["question"]),
            frozenset(str(fact[0]) for fact in cast("list[list[object]]", row["supporting_facts"])),
            (str(row["answer"]),),
        )
        for row in rows(data / "hotpotqa" / "questions.jsonl.gz")
    )
    return Collection("hotpotqa", (*_texts(data / "hotpotqa" / "corpus.jsonl.gz"), *haystack(data)), queries)


def python_faq(data: Path) -> Collection:
    """Questions of the Python FAQ over the sections of four manuals, whose headings are left out."""
    folder = data / "docs_corpus"
    sections = tuple(Text(str(row["id"]), str(row["text"])) for row in rows(folder / "sections.jsonl.gz"))
    queries = tuple(
        Query(str(row["id"]), str(row["question"]), frozenset({str(row["answer_section"])}))
        for row in rows(folder / "python_faq_questions.jsonl")
    )
    return Collection("python_faq", sections, queries)


def squad(data: Path) -> Collection:
    """Questions over the paragraph they were asked about (the English part of XQuAD)."""
    found = list(rows(data / "squad" / "xquad_en.jsonl.gz"))
    paragraphs = {
        str(row["paragraph_id"]): Text(
            str(row["paragraph_id"]), str(row["context"]), str(row["title"]).replace("_", " ")
        )
        for row in found
    }
    queries = tuple(
        Query(str(row["id"]), str(row["question"]), frozenset({str(row["paragraph_id"])}), _strings(row["answers"]))
        for row in found
    )
    return Collection("squad", (*paragraphs.values(), *haystack(data)), queries)


def natural_questions(data: Path) -> Collection:
    """Questions typed into a search engine over the paragraph that answers them (QED)."""
    found = list(rows(data / "natural_questions" / "qed.jsonl.gz"))
    paragraphs: dict[str, Text] = {}
    for row in found:
        text = str(row["paragraph"])
        paragraphs.setdefault(text, Text(f"nq/{row['id']}", text, str(row["title"])))
    queries = tuple(
        Query(
            str(row["id"]),
            str(row["question"]),
            frozenset({paragraphs[str(row["paragraph"])].id}),
            _strings(row["answers"]),
        )
        for row in found
    )
    return Collection("natural_questions", (*paragraphs.values(), *haystack(data)), queries)


#: The five sets of the retrieval benchmark.
RETRIEVAL: Mapping[str, Callable[[Path], Collection]] = {
    "cranfield": cranfield,
    "cacm": cacm,
    "scifact": scifact,
    "hotpotqa": hotpotqa,
    "python_faq": python_faq,
}

__all__ = [
    "RETRIEVAL", "Collection", "DataMissing", "Query", "Text", "cacm", "cranfield", "haystack", "hotpotqa",
    "natural_questions", "python_faq", "rows", "scifact", "squad",
]  # fmt: skip
