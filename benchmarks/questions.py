"""Questions with one right answer, for the benchmarks of strategies: rows to ask, and rows to learn from.

    problems = gsm8k(data, seed=7)                  # .asked drawn by seed, .learnt never asked
    problems.is_right(problems.asked[0], 18.0)

| set | asked | learnt | answer |
|---|---|---|---|
| `gsm8k` | its test part | its train part | a number |
| `math_word_problems` | drawn | the rest | a number; questions that occur twice are kept once |
| `strategyqa` | drawn | the rest | yes or no |
| `mmlu` | its questions | its five examples a subject | a letter |

Questions of more than `LONGEST` characters, choices included, are left out: the reading of a long text is not what is
measured. `recorded` reads the outputs of another's model, direct and with a chain of thought.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

from benchmarks.datasets import rows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LONGEST = 500
LEARNT = 150  # rows at most
Mode = Literal["direct", "cot"]
Gold = float | bool | str
_SAID = re.compile(r"answer is(?!.*answer is)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Problem:
    """A question and its answer; a letter answers one with choices."""

    text: str
    answer: Gold
    choices: tuple[str, ...] = ()

    @property
    def inputs(self) -> dict[str, object]:
        """The question as inputs of a step."""
        return {"question": self.text} | ({"choices": list(self.choices)} if self.choices else {})

    def is_right(self, said: object) -> bool:
        """Whether an answer is the right one; numbers to a millionth."""
        if isinstance(self.answer, float):
            return isinstance(said, int | float) and abs(said - self.answer) <= 1e-6 * max(1.0, abs(self.answer))
        return said == self.answer


@dataclass(frozen=True, slots=True)
class Problems:
    """Problems to ask, in an order drawn by seed, and others to learn from."""

    name: str
    asked: tuple[Problem, ...]
    learnt: tuple[Problem, ...]


def gsm8k(data: Path, *, seed: int) -> Problems:
    """Word problems of a few steps (Cobbe 2021, arXiv:2110.14168)."""
    parts = [
        [Problem(str(row["question"]), final_number(str(row["answer"]))) for row in rows(data / "gsm8k" / name)]
        for name in ("test.jsonl.gz", "train_sample.jsonl.gz")
    ]
    return _drawn("gsm8k", *parts, seed=seed)


def math_word_problems(data: Path, *, seed: int) -> Problems:
    """One or two steps of arithmetic: SVAMP, MAWPS, MultiArith, AddSub, SingleEq."""
    found = rows(data / "math_word_problems" / "problems.jsonl.gz")
    numeric = (Problem(str(row["question"]), row["answer"]) for row in found if isinstance(row["answer"], float))
    once = {"".join(filter(str.isalnum, each.text.lower())): each for each in numeric}
    return _split("math_word_problems", list(once.values()), seed=seed)


def strategyqa(data: Path, *, seed: int) -> Problems:
    """Yes or no, after steps that the question does not name (Geva 2021, arXiv:2101.02235)."""
    found = rows(data / "strategyqa" / "train_sample.jsonl")
    return _split("strategyqa", [Problem(str(row["question"]), bool(row["answer"])) for row in found], seed=seed)


def mmlu(data: Path, *, seed: int) -> Problems:
    """Four choices, 57 subjects (Hendrycks 2020, arXiv:2009.03300)."""
    parts = [
        [
            Problem(str(row["question"]), str(row["answer"]), tuple(map(str, cast("list[object]", row["choices"]))))
            for row in rows(data / "mmlu" / name)
        ]
        for name in ("questions.jsonl.gz", "fewshot.jsonl")
    ]
    return _drawn("mmlu", *parts, seed=seed)


SETS = (gsm8k, strategyqa, mmlu, math_word_problems)


def _drawn(name: str, asked: Sequence[Problem], learnt: Sequence[Problem], *, seed: int) -> Problems:
    generator = random.Random(seed)
    parts = [[each for each in part if _length(each) <= LONGEST] for part in (asked, learnt)]
    for part in parts:
        generator.shuffle(part)
    return Problems(name, tuple(parts[0]), tuple(parts[1][:LEARNT]))


def _split(name: str, problems: Sequence[Problem], *, seed: int) -> Problems:
    """Two thirds to ask, one to learn from."""
    mixed = random.Random(seed).sample(problems, len(problems))
    return _drawn(name, mixed[len(mixed) // 3 :], mixed[: len(mixed) // 3], seed=seed)


def _length(problem: Problem) -> int:
    return len(problem.text) + sum(map(len, problem.choices))


def final_number(text: str) -> float:
    """The number after `####`, where GSM8K writes its answers."""
    return float(text.rpartition("####")[2].strip().replace(",", ""))


# ------------------------------------------------------------------------------------------------------ recorded


@dataclass(frozen=True, slots=True)
class Recording:
    """What a model once said to a question: all of it before its answer, and its answer."""

    id: str
    question: str
    thought: str
    answer: str
    target: str

    @property
    def is_right(self) -> bool:
        return self.answer == self.target


def recorded(data: Path, mode: Mode) -> list[Recording]:
    """BIG-Bench Hard answered by code-davinci-002 (Suzgun 2022, arXiv:2210.09261), in the order of the file."""
    questions = {str(row["id"]): str(row["input"]) for row in rows(data / "bbh" / "questions.jsonl.gz")}
    return [
        _recording(f"{row['task']}/{row['i']}", questions.get(str(row["id"]), ""), row)
        for row in rows(data / "bbh" / "recorded_code_davinci_002.jsonl.gz")
        if row["mode"] == mode
    ]


def _recording(id_: str, question: str, row: dict[str, object]) -> Recording:
    thought, answer = parted(str(row["prediction"]))
    return Recording(id_, question, thought, answer, str(row["target"]).strip())


def parted(text: str) -> tuple[str, str]:
    """A text before and after its last "answer is", the answer without its full stop; a text without is all answer."""
    found = _SAID.search(text)
    thought, said = ("", text) if found is None else (text[: found.start()], text[found.end() :])
    return thought, said.strip().removesuffix(".").strip()


__all__ = [
    "SETS", "Mode", "Problem", "Problems", "Recording", "final_number", "gsm8k", "math_word_problems", "mmlu", "parted",
    "recorded", "strategyqa",
]  # fmt: skip
