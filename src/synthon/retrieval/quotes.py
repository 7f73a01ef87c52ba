"""The sentences that answer a question, verbatim, and whether the documents answer it at all."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from synthon.documents.sentences import sentences
from synthon.retrieval.dense import embedded
from synthon.retrieval.words import words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from synthon.core.protocols import Embedder, FloatArray
    from synthon.core.values import Passage

#: Weights of a sentence's score beside its cosine (1): the passage's own score, question words in it, question words in
#: it or in the sentence before, what kind of answer it holds. Set by hand on SQuAD's development rows; learnt ones
#: gained 0.01 there and lost 0.01 on Natural Questions.
_PASSAGE, _WORDS, _CONTEXT, _KIND = 0.3, 0.15, 0.15, 0.1
#: A quote this far below the best one adds length, not answers: without it 95 characters more for 0.005 of them.
_GAP = 0.4
#: Weight of the question's words found in the quotes beside the best cosine, by logistic regression (15.1 : 4.3).
_COVERAGE = 0.28
_ASKING = (
    "what which who whom whose when where why how do does did can could may might will would shall should has have "
    "had been being from its than about during between after before over under also such many much one name type "
    "kind i me my you your we our he she his her him them"
)
_NUMBER = (
    r"\d[\d,.]*|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|forty|fifty|hundred|"
    r"thousand|million|billion|half|third|quarter|dozen|once|twice)\b"
)
_TIME = (
    r"\b(?:1\d|20)\d\d\b|\b(?:january|february|march|april|may|june|july|august|september|october|november|december|"
    r"century)\b|\b\d{1,2}th\b"
)
_NAME = r"(?<=[\w,;:)’'\"”] )[A-Z]\w+|\b[A-Z]\w+(?= [A-Z]\w)"
#: What a question asks for, and how an answer of that kind looks; the first that fits counts.
_KINDS = tuple(
    (re.compile(question, re.IGNORECASE), re.compile(answer, flags))
    for question, answer, flags in (
        (
            r"\bhow (?:many|much|long|far|old|tall|large|big|often|high|wide|deep|fast)\b|\bwhat (?:number|amount)",
            _NUMBER,
            re.IGNORECASE,
        ),
        (r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|century|decade|time)\b", _TIME, re.IGNORECASE),
        (
            r"\bwho(?:m|se)?\b|\bwhere\b|\b(?:what|which) (?:city|country|state|county|town|place|river|region)\b",
            _NAME,
            0,
        ),
    )
)


#: A heading says what follows, it answers nothing.
_HEADING = re.compile(r"#{1,6}\s.*|[^\n]*\n([=\-~^*#+.:_`])\1{2,}")


@dataclass(frozen=True, slots=True)
class Quote:
    """A sentence of a document, verbatim: `text` equals the characters `start:end` of the file's text.

    `score` ranks quotes of one question; it is the cosine of question and sentence plus up to 0.7 for words, passage
    and kind of answer.
    """

    text: str
    file: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Quotes:
    """The best quotes, best first, how far they support an answer, and how clearly the first one leads.

    `support` is the best sentence's cosine + 0.28 x the share of the question's words found in the quotes, at most
    1.28. `lead` is the first quote's cosine + 0.28 x the share found in it + its score above the next sentence's.
    """

    quotes: tuple[Quote, ...] = ()
    support: float = 0.0
    lead: float = 0.0


@dataclass(frozen=True, slots=True)
class _Sentence:
    """A candidate: where it stands, its words, and how far its passage's score is from the best one's."""

    quote: Quote
    words: frozenset[str]
    before: frozenset[str]
    passage: float


async def quote(question: str, passages: Sequence[Passage], embedder: Embedder, *, most: int = 3) -> Quotes:
    """At most `most` sentences of the passages that answer the question, best first; ties in passage order.

    Cost: one embedding for the question and one for each sentence. No passages, or none with a word: no quotes.
    """
    found = _candidates(passages)
    if not found:
        return Quotes()
    vectors = await embedded(embedder, [question, *(" ".join(each.quote.text.split()) for each in found)])
    cosines = vectors[1:] @ vectors[0]
    asked = asked_words(question)
    scores = _scores(question, asked, found, cosines)
    order = [int(place) for place in np.argsort(-scores, kind="stable")]
    first = order[0]
    best = [place for place in order[:most] if scores[place] >= scores[first] - _GAP]
    covered = frozenset[str]().union(*(found[place].words for place in best))
    above = scores[first] - (scores[order[1]] if len(order) > 1 else 0.0)
    return Quotes(
        tuple(replace(found[place].quote, score=round(float(scores[place]), 4)) for place in best),
        support=round(float(cosines.max()) + _COVERAGE * _share(asked, covered), 4),
        lead=round(float(cosines[first] + above) + _COVERAGE * _share(asked, found[first].words), 4),
    )


def asked_words(question: str) -> list[str]:
    """Stems of what a question is about, without the words that only ask."""
    asking = frozenset(words(_ASKING))
    return list(dict.fromkeys(word for word in words(question) if word not in asking))


def _share(asked: Sequence[str], there: frozenset[str]) -> float:
    return sum(word in there for word in asked) / max(1, len(asked))


def _candidates(passages: Sequence[Passage]) -> list[_Sentence]:
    """Each sentence once, where it stands first."""
    top = max((passage.score for passage in passages), default=0.0) or 1.0
    found: dict[str, _Sentence] = {}
    for passage in passages:
        before: frozenset[str] = frozenset()
        for start, end in sentences(passage.text):
            text = passage.text[start:end]
            own = frozenset(words(text))
            if not _HEADING.fullmatch(text):
                span = Quote(text, passage.document, passage.start + start, passage.start + end, 0.0)
                found.setdefault(" ".join(text.split()), _Sentence(span, own, before, passage.score / top))
            before = own
    return list(found.values())


def _scores(question: str, asked: Sequence[str], found: Sequence[_Sentence], cosines: FloatArray) -> FloatArray:
    """A word that few of the candidates hold says more than one that all hold."""
    weights = {word: math.log((len(found) + 1) / (sum(word in each.words for each in found) + 0.5)) for word in asked}
    total = sum(weights.values()) or 1.0
    scores = cosines.astype(np.float32)
    for place, each in enumerate(found):
        own = sum(weight for word, weight in weights.items() if word in each.words)
        near = sum(weight for word, weight in weights.items() if word in each.words or word in each.before)
        scores[place] += _PASSAGE * each.passage + (_WORDS * own + _CONTEXT * near) / total
        scores[place] += _KIND * fits(question, each.quote.text)
    return scores


def fits(question: str, sentence: str) -> int:
    """1 if the sentence holds something new of the kind that is asked for, -1 if not, 0 if any kind will do."""
    for asks, answers in _KINDS:
        if asks.search(question):
            known = question.lower()
            return 1 if any(found[0].lower() not in known for found in answers.finditer(sentence)) else -1
    return 0


__all__ = ["Quote", "Quotes", "asked_words", "fits", "quote"]
