"""Ready metrics: each takes a case and an output and says how right it is, from 0 to 1, and what is wrong.

Where an answer is one of several, `expected` is a list of texts, and the best match counts.
"""

from __future__ import annotations

import inspect
import json
import math
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal, cast

import numpy as np

from synthon.core.errors import UserError
from synthon.core.identity import to_json
from synthon.evals._extras import extra
from synthon.evals.cases import Case
from synthon.evals.grading import ROUNDING, AnyMetric, Grade, called
from synthon.evals.trees import TreeError, shape_of
from synthon.evals.unseen import unseen_model

_RUN = re.compile(r"[^\W_]+")
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_NUMBER = re.compile(
    r"(?:(?<![\w)%])[-+])?"  # in 10-20 it is no sign
    r"(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?|\.\d+)"
)


def exact_match(case: Case[Any], output: object) -> Grade:
    """1 where the output is the expected value; texts may differ in case and white space."""
    if any(_same(expected, output) for expected in _answers(case.expected, output)):
        return 1.0, ""
    return 0.0, f"Expected {case.expected!r}, got {output!r}."


def f1(case: Case[Any], output: object) -> Grade:
    """The F1 of words shared with the expected text, without case, punctuation and articles (Rajpurkar 2016)."""
    score, expected = max(((_overlap(_words(each), _words(output)), each) for each in _texts(case)), key=_first)
    return score, "" if score == 1.0 else f"Expected {expected!r}, got {_text(output)!r}."


def rouge(case: Case[Any], output: object, *, kind: Literal["rouge1", "rouge2", "rougeL"] = "rougeL") -> Grade:
    """The F-measure of ROUGE, with stemming of English words (Lin 2004); needs `synthon[evals]`."""
    scorer = extra("rouge_score.rouge_scorer", "ROUGE").RougeScorer([kind], tokenizer=_RougeWords())
    return float(max(scorer.score(each, _text(output))[kind].fmeasure for each in _texts(case)))


class _RougeWords:
    """The words of rouge-score, and those it drops: with letters beyond a to z."""

    def tokenize(self, text: str) -> list[str]:
        plain = extra("rouge_score.tokenizers", "ROUGE").DefaultTokenizer(use_stemmer=True)
        runs = _RUN.findall(text.lower())
        return [word for run in runs for word in (plain.tokenize(run) if run.isascii() else [run])]


def bleu(case: Case[Any], output: object) -> Grade:
    """Sentence BLEU, from 0 to 1, against all expected texts at once (Papineni 2002); needs `synthon[evals]`."""
    said = extra("sacrebleu", "BLEU").sentence_bleu(_text(output), _texts(case))
    return min(1.0, float(said.score) / 100)  # its rounding may pass 1


def ast_match(case: Case[Any], output: object) -> Grade:
    """1 where code means the same to Python's parser, or function calls are the same whatever their order.

    Layout, quotes, comments and docstrings do not count; 2 equals 2.0; keyword arguments have no order. Both may be
    texts of Python, tool calls (`name` and `arguments`), or sequences of these.
    """
    expected = shape_of(case.expected)
    try:
        given = shape_of(output)
    except TreeError as error:
        return 0.0, str(error)
    if given == expected:
        return 1.0, ""
    if isinstance(given, Counter) and isinstance(expected, Counter):
        missing, wrong = list((expected - given).elements()), list((given - expected).elements())
        return 0.0, f"Missing calls: {', '.join(missing) or 'none'}; wrong calls: {', '.join(wrong) or 'none'}."
    return 0.0, f"The code differs from {case.expected!r}."


@dataclass(frozen=True)
class _Numeric:
    tolerance: float
    relative: bool
    name: str = "numeric"

    def __call__(self, case: Case[Any], output: object) -> Grade:
        found = [_number(answer) for answer in _answers(case.expected, "")]  # a list holds several, whatever was said
        expected, given = [number for number in found if number is not None], _number(output)
        if not expected:
            raise ValueError(f"the expected value {case.expected!r} holds no number")
        wanted = " or ".join(f"{number:g}" for number in expected)
        if given is None:
            return 0.0, f"Expected the number {wanted}, got {output!r:.200}, which holds none."
        close = any(
            given == each or abs(given - each) <= self.tolerance * (abs(each) if self.relative else 1.0)
            for each in expected
        )
        return (1.0, "") if close else (0.0, f"Expected {wanted}, got {given:g}.")


def numeric(tolerance: float = 1e-6, *, relative: bool = False) -> AnyMetric:
    """1 where the last number in the output is the expected one, up to a tolerance, absolute or as a share of it."""
    return _Numeric(tolerance, relative)


@dataclass(frozen=True)
class _Field:
    field: str
    metric: AnyMetric

    @property
    def name(self) -> str:
        return f"{self.field}.{called(self.metric)}"

    def __call__(self, case: Case[Any], output: object) -> Grade | Awaitable[Grade]:
        wanted = _member(case.expected, self.field)
        try:
            found = _member(output, self.field)
        except ValueError as error:
            return 0.0, f"{error}."
        given = self.metric(replace(case, expected=wanted), found)
        if isinstance(given, tuple) and given[1]:
            return given[0], f"{self.field}: {given[1]}"
        return given


def field(name: str, metric: AnyMetric = exact_match) -> AnyMetric:
    """Another metric on one field of the expected value and the output (of a model, a dataclass or a mapping)."""
    return _Field(name, metric)


def fields_f1(case: Case[Any], output: object) -> Grade:
    """The F1 of the filled fields (for slots and extractions): a field is right where its value is; both empty is 1."""
    expected = _filled(case.expected)
    try:
        given = _filled(output)
    except ValueError as error:
        return 0.0, f"{error}."
    right = sum(name in given and _same(value, given[name]) for name, value in expected.items())
    score = 2 * right / (len(expected) + len(given)) if expected or given else 1.0
    wrong = [
        f"{name} should be {expected.get(name)!r}, not {given.get(name)!r}"
        for name in dict.fromkeys((*expected, *given))
        if not (name in expected and name in given and _same(expected[name], given[name]))
    ]
    return score, "; ".join(wrong)


@dataclass(frozen=True)
class Judge:
    """A step as a metric, see `judge`."""

    step: Callable[..., Awaitable[object]]
    marks: Mapping[object, float] | None = None
    best: float = 1.0

    @property
    def name(self) -> str:
        return str(getattr(self.step, "name", None) or getattr(self.step, "__name__", "judge"))

    async def __call__(self, case: Case[Any], output: object) -> Grade:
        known = {**case.metadata, **case.inputs, "expected": case.expected, "output": output}
        fn = getattr(self.step, "fn", self.step)
        wanted = inspect.signature(fn).parameters
        missing = [
            name for name, parameter in wanted.items() if name not in known and parameter.default is parameter.empty
        ]
        if missing:
            msg = (
                f"The judge {self.name!r} asks for {missing[0]!r}, which the case does not have. "
                f"It may ask for: {', '.join(known)}."
            )
            raise UserError(msg)
        said = await self.step(
            **{
                name: known[name] if parameter.annotation not in {str, "str"} else _text(known[name])
                for name, parameter in wanted.items()
                if name in known
            }
        )
        score, feedback = getattr(said, "score", said), str(getattr(said, "feedback", ""))
        if self.marks is not None:
            if score not in self.marks:
                raise ValueError(f"it said {score!r}, which is not among the marks {list(self.marks)}")
            return self.marks[score], feedback
        number = float(cast("float", score)) / self.best
        if not -ROUNDING <= number <= 1 + ROUNDING:
            raise ValueError(f"it said {score!r}, which is not in 0..{self.best:g}")
        return number, feedback


def judge(
    step: Callable[..., Awaitable[object]], *, marks: Mapping[object, float] | None = None, best: float = 1.0
) -> Judge:
    """A step or program as a metric: it is asked once a case, journaled, and not counted as a cost of what it judges.

    Args:
        step: takes by name what it wants of the case's inputs and metadata, `expected` and `output` (as JSON where it
            wants text); returns a number, a bool, one of `marks`, or an object with `score` and `feedback`.
        marks: what each answer is worth, for a judge that says words.
        best: the number that is worth 1.0, for a judge that says 1 to 10.
    """
    return Judge(step, marks, best)


def unseen(metric: AnyMetric) -> str:
    """The model of a judge whose calls no budget sees, for it keeps no journal; empty where there is none."""
    while isinstance(metric, _Field):
        metric = metric.metric
    return unseen_model(metric.step)[1] if isinstance(metric, Judge) else ""


def _answers(expected: object, output: object) -> list[object]:
    """The values that are right; a list where a text was asked for holds several."""
    if isinstance(expected, list | tuple | set | frozenset) and not isinstance(output, type(expected)):
        return [*expected, expected] if isinstance(output, np.ndarray) else list(expected)
    return [expected]


def _same(expected: object, output: object) -> bool:
    if isinstance(expected, str) and isinstance(output, str):
        return _folded(expected) == _folded(output)
    if isinstance(expected, np.ndarray) or isinstance(output, np.ndarray):
        return bool(np.array_equal(expected, output))  # type: ignore[arg-type] # compares anything
    try:
        return bool(expected == output)
    except ValueError:  # of an array inside, which is neither true nor false
        return _same_inside(expected, output)


def _same_inside(expected: object, output: object) -> bool:
    """The same of two containers of one kind; texts in them are compared as they are."""
    one, other = (
        dict(enumerate(each)) if isinstance(each, list | tuple) else _fields(each) for each in (expected, output)
    )
    return one.keys() == other.keys() and all(
        each == other[name] if isinstance(each, str) else _same(each, other[name]) for name, each in one.items()
    )


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())  # an accent may be a character of its own


def _texts(case: Case[Any]) -> list[str]:
    answers = _answers(case.expected, "")
    if not answers:
        raise ValueError("the case has no expected text")
    return [_text(each) for each in answers]


def _text(value: object) -> str:
    return value if isinstance(value, str) else to_json(value)


def _words(value: object) -> Counter[str]:
    text = unicodedata.normalize("NFC", _text(value).lower()).translate(_PUNCTUATION)
    if not text.isascii():
        text = "".join(each for each in text if not unicodedata.category(each).startswith("P"))
    return Counter(_ARTICLES.sub(" ", text).split())


def _overlap(one: Counter[str], other: Counter[str]) -> float:
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0


def _first(pair: tuple[float, str]) -> float:
    return pair[0]


def _number(value: object) -> float | None:
    """A number as it is, or the last one in a text; one with commas between thousands is one, and a list is none."""
    if isinstance(value, int | Fraction) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:  # as its digits read
            return math.inf if value > 0 else -math.inf
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list | tuple | set | frozenset):
        return None
    # spaced, for compact JSON has no more than a comma between two numbers
    text = value if isinstance(value, str) else json.dumps(json.loads(to_json(value)), ensure_ascii=False)
    found = _NUMBER.findall(text.replace("\N{MINUS SIGN}", "-"))
    return float(found[-1].replace(",", "")) if found else None


def _member(value: object, name: str) -> object:
    if isinstance(value, Mapping):
        return value.get(name)
    if not hasattr(value, name):
        raise ValueError(f"{value!r:.200} has no field {name!r}")
    return cast("object", getattr(value, name))


def _filled(value: object) -> dict[Any, object]:
    """The fields that hold something."""
    members = _fields(value).items()
    return {name: member for name, member in members if not (member is None or _is_empty(member))}


def _is_empty(value: object) -> bool:
    return isinstance(value, str | list | dict | tuple | set | frozenset) and not value


def _fields(value: object) -> Mapping[Any, object]:
    if isinstance(value, Mapping):
        return value
    names = getattr(type(value), "model_fields", None) or getattr(type(value), "__dataclass_fields__", None)
    if names is None:
        raise ValueError(f"{value!r:.200} has no fields")
    return {name: getattr(value, name) for name in names}
