"""The tasks on which optimizers are compared: their rows, and our program for each.

    task = TASKS["banking77"](data)
    train, validation, test = task.split(160, 160, 300, seed=7)
    task.program.using(model=...)

| task | data | a row's score |
|---|---|---|
| `slots` | NLU++, banking and hotels, sentences with at least one slot | F1 over (slot, text) |
| `banking77` | all 77 labels; test rows from the set's own test half | right or wrong |
| `clinc150` | 150 labels and out-of-scope; same | right or wrong |
| `climate` | CLIMATE-FEVER: a claim and five sentences of evidence; 4 labels | right or wrong |
| `squad` | a question and the passages BM25 finds for it (6,300 in the index); the answer | F1 over words |

A peer gets `Row.inputs`: the same values that our program takes with its knobs at their defaults.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import bm25s  # type: ignore[import-untyped] # it has no types

import synthon as sy
from benchmarks import datasets
from benchmarks.optimizer_scores import SCORES
from benchmarks.optimizer_types import said_type
from synthon.evals import Case, Cases

if TYPE_CHECKING:
    from pathlib import Path

    from synthon.core.program import Program

TOKENS = 128  # of an answer
MOST, FIRST = 5, 3  # passages that are found, and read where nothing else is set


@dataclass(frozen=True, slots=True)
class Row:
    """A row.

    Attributes:
        inputs: of the model, as a peer gets them.
        ours: of our program, where it takes others.
        text: what tells near rows from far ones.
        expected: the answer; `accepted` are all that count.
    """

    id: str
    inputs: dict[str, object]
    text: str
    expected: Any
    accepted: Any
    ours: dict[str, object] = field(default_factory=dict)

    @property
    def case(self) -> Case[Any]:
        """It as a case of ours."""
        return Case(self.ours or self.inputs, self.expected, {"accepted": self.accepted}, self.id)


@dataclass(frozen=True, slots=True)
class Task:
    """A task.

    Attributes:
        kind: of the answer: a label, slots, or words; its score is `SCORES[kind]`.
        output: what the answer is called, and `labels` what it can be.
        pool: rows that training and validation are drawn from, and `held_out` those of the test, where the set has a
            half for it.
    """

    name: str
    kind: Literal["label", "slots", "answer"]
    instruction: str
    output: str
    labels: Sequence[str]
    program: Program[..., Any]
    pool: Sequence[Row]
    held_out: Sequence[Row] = ()

    def split(self, train: int, validation: int, test: int, *, seed: int) -> tuple[list[Row], list[Row], list[Row]]:
        """Rows drawn by the seed, none of them twice; fewer where the set has fewer."""
        drawn = random.Random(f"{self.name} {seed}")
        pool = drawn.sample(list(self.pool), len(self.pool))
        held = drawn.sample(list(self.held_out), len(self.held_out)) or pool[train + validation :]
        return pool[:train], pool[train : train + validation], held[:test]

    def metric(self, case: Case[Any], said: object) -> float:
        """What an output of ours is worth."""
        return SCORES[self.kind](cast("dict[str, Any]", case.metadata)["accepted"], said)


def cases(rows: Sequence[Row]) -> Cases[Any]:
    """Rows as cases."""
    return Cases(row.case for row in rows)


# ------------------------------------------------------------------------------------------------------ intents


def _labelling(labels: Sequence[str], instruction: str) -> Program[..., Any]:
    """A message and its label."""

    async def label(text: str) -> str:
        raise NotImplementedError

    label.__doc__ = instruction
    label.__annotations__["return"] = Literal[tuple(labels)]
    step = sy.step(temperature=0.0, max_tokens=TOKENS, retries=0)(label)

    async def intent(text: str) -> str:
        return await step(text)

    intent.__annotations__["return"] = Literal[tuple(labels)]
    return sy.program(intent)


def _intents(data: Path, name: str, instruction: str) -> Task:
    halves: list[list[Row]] = []
    for half in ("train", "test"):
        found = datasets.rows(data / "intents" / f"{name}_{half}.jsonl.gz")
        halves.append([
            Row(f"{half}/{number}", {"text": row["text"]}, str(row["text"]), str(row["label"]), str(row["label"]))
            for number, row in enumerate(found)
        ])  # fmt: skip
    labels = sorted({str(row.expected) for half in halves for row in half})
    return Task(name, "label", instruction, "label", labels, _labelling(labels, instruction), *halves)


def banking77(data: Path) -> Task:
    """Messages to a bank (Casanueva 2020, arXiv:2003.04807)."""
    return _intents(data, "banking77", "Say what the customer of a bank wants.")


def clinc150(data: Path) -> Task:
    """Messages to an assistant, some of them out of its scope (Larson 2019, arXiv:1909.02027)."""
    return _intents(data, "clinc150", "Say what the user wants; `oos` where it is none of the others.")


# -------------------------------------------------------------------------------------------------------- slots


def slots(data: Path) -> Task:
    """Typed extraction (NLU++, Casanueva 2022, arXiv:2204.13021)."""
    rows: list[Row] = []
    kinds: set[str] = set()
    for domain in ("banking", "hotels"):
        for number, row in enumerate(datasets.rows(data / "intents" / f"nlupp_{domain}.jsonl.gz")):
            found = cast("dict[str, dict[str, object]]", row.get("slots") or {})
            mentions = [{"kind": kind, "text": str(slot["text"])} for kind, slot in found.items()]
            kinds.update(found)
            if mentions:
                said = {"mentions": mentions}
                rows.append(Row(f"{domain}/{number}", {"text": row["text"]}, str(row["text"]), said, said))
    labels, instruction = sorted(kinds), "List what the sentence mentions, each in the sentence's own words."
    type_ = said_type(labels)

    async def extract(text: str) -> object:
        raise NotImplementedError

    extract.__doc__ = instruction
    extract.__annotations__["return"] = type_
    step = sy.step(temperature=0.0, max_tokens=TOKENS, retries=0)(extract)

    async def understand(text: str) -> object:
        return await step(text)

    understand.__annotations__["return"] = type_
    return Task("slots", "slots", instruction, "said", labels, sy.program(understand), rows)


# ------------------------------------------------------------------------------------------------------ climate


def climate(data: Path) -> Task:
    """Claims with evidence (CLIMATE-FEVER, Diggelmann 2020, arXiv:2012.00614)."""
    rows = []
    for row in datasets.rows(data / "fact_checking" / "climate_fever.jsonl.gz"):
        sentences = [str(each["text"]) for each in cast("list[dict[str, object]]", row["evidences"])][:MOST]
        claim, label = str(row["claim"]), str(row["label"])
        given: dict[str, object] = {"claim": claim, "evidence": sentences}
        ours: dict[str, object] = {"claim": claim, "sentences": sentences}
        rows.append(Row(str(row["id"]), given, claim, label, label, ours))
    labels = sorted({str(row.expected) for row in rows})
    instruction = "Say whether the evidence supports or refutes the claim."

    type_: Any = Literal[tuple(labels)]

    async def verify(claim: str, evidence: list[str]) -> str:
        raise NotImplementedError

    verify.__doc__ = instruction
    verify.__annotations__["return"] = type_
    step = sy.step(temperature=0.0, max_tokens=TOKENS, retries=0)(verify)

    async def verdict(claim: str, sentences: list[str], *, k: int = sy.knob(MOST, FIRST, 1)) -> str:
        return await step(claim, sentences[:k])

    verdict.__annotations__["return"] = type_
    return Task("climate", "label", instruction, "verdict", labels, sy.program(verdict), rows)


# -------------------------------------------------------------------------------------------------------- squad


@sy.step(temperature=0.0, max_tokens=48)
async def read(question: str, passages: list[str]) -> str:
    """Answer the question in a few words of the passages."""
    raise NotImplementedError


@sy.program
async def reader(question: str, found: list[str], *, k: int = sy.knob(FIRST, 1, 2, MOST)) -> str:
    """The answer from the first of the passages found; finding them is the same for everyone, so it is done before."""
    return await read(question, found[:k])


def squad(data: Path) -> Task:
    """Questions over Wikipedia: find, then read."""
    collection = datasets.squad(data)
    retriever = bm25s.BM25(k1=0.9, b=0.4)
    retriever.index(
        bm25s.tokenize([each.text for each in collection.documents], show_progress=False), show_progress=False
    )
    asked = bm25s.tokenize([each.text for each in collection.queries], show_progress=False)
    places, _ = retriever.retrieve(asked, k=MOST, show_progress=False)
    rows = []
    for query, found in zip(collection.queries, places.tolist(), strict=True):
        passages = [collection.documents[place].text for place in found]
        given: dict[str, object] = {"question": query.text, "passages": passages[:FIRST]}
        ours: dict[str, object] = {"question": query.text, "found": passages}
        rows.append(Row(query.id, given, query.text, query.answers[0], list(query.answers), ours))
    return Task("squad", "answer", read.instruction, "answer", (), reader, rows)


TASKS: dict[str, Callable[[Path], Task]] = {
    "slots": slots, "banking77": banking77, "clinc150": clinc150, "climate": climate, "squad": squad,
}  # fmt: skip
WITHOUT_LABELS = frozenset({"slots", "squad"})

__all__ = ["MOST", "TASKS", "TOKENS", "WITHOUT_LABELS", "Row", "Task", "cases"]
