"""Short answers that stand in a quote: which of its clauses could be one, and whether a text keeps to the quotes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from synthon.retrieval.quotes import asked_words, fits
from synthon.retrieval.words import words

if TYPE_CHECKING:
    from collections.abc import Sequence

#: After a comma, semicolon, colon or closing bracket; around a dash; before an opening bracket.
_CUT = re.compile(r"[,;:)]\s+|\s+(?:[—–-]\s+|(?=\())|—")
_EDGES = " \t\n,;:—–-"
_LONGEST_RUN = 6
#: Share of a question's words that a sentence about it holds.
_ABOUT = 0.6
_LONGEST_ANSWER = 60
_NUMBER = re.compile(r"(?<![\w.,])-?\d+(?:[.,:]\d+)*")
_NEGATIONS = frozenset(["no", "not", "never", "none", "nobody", "nothing", "nor", "neither", "without", "cannot"])


def speaks_to(question: str, sentence: str) -> bool:
    """Whether a sentence is about what is asked: it holds most of the question's words and the kind of answer."""
    asked = asked_words(question)
    held = frozenset(asked).intersection(words(sentence))
    return len(held) >= _ABOUT * len(asked) and fits(question, sentence) >= 0


def clauses(question: str, sentence: str) -> list[str]:
    """Runs of a sentence's clauses that could answer the question, each verbatim; the whole sentence if none could.

    Each holds all words of the question that the sentence holds (else it is half a thought), something new, and the
    number, time or name that the question asks for; a run without such goes on to the sentence's end, where what is
    new mostly stands. Brackets and quotation marks are whole.
    """
    asked = frozenset(asked_words(question))
    held = asked.intersection(words(sentence))
    has_kind = fits(question, sentence) == 1
    found = []
    for text in _runs(sentence):
        own = frozenset(words(text))
        is_whole = text.count("(") == text.count(")") and text.count('"') % 2 == 0
        is_about = held <= own and bool(own - asked)
        if is_whole and is_about and (fits(question, text) == 1 if has_kind else sentence.endswith(text)):
            found.append(text)
    return list(dict.fromkeys(found)) or [sentence]


def keeps_to(answer: str, quotes: Sequence[str], question: str) -> bool:
    """Whether an answer is one whole short text that says nothing the quotes don't hold.

    Its words and whole numbers must stand in the quotes or the question, one of them in the quotes alone, a negation
    ("isn't" too) in the quotes; it is one paragraph of at most 60 words and no three of them are said twice in a
    row. A test of words: who did what to whom is not checked.
    """
    text = " ".join(answer.split())
    own, given = words(text), words(question)
    said = " ".join(quotes)
    denied = _NEGATIONS.intersection(_plain(text)) - frozenset(_plain(said))
    is_looping = any(own[place : place + 3] == own[place + 3 : place + 6] for place in range(len(own) - 5))
    is_short = 0 < len(own) <= _LONGEST_ANSWER and "\n\n" not in answer.strip()
    return (
        is_short
        and not denied
        and not is_looping
        and set(_numbers(text)) <= {*_numbers(said), *_numbers(question)}
        and set(own) <= set(words(said)) | set(given)
        and bool(set(own) - set(given))
    )


def _plain(text: str) -> list[str]:
    return re.findall(r"\w+", re.sub(r"n['’]t\b", " not", text.lower()))


def _numbers(text: str) -> list[str]:
    """With their sign and all their digits; the words of `words` know neither."""
    return _NUMBER.findall(text.replace("−", "-"))


def _runs(sentence: str) -> list[str]:
    places = [0, *(found.end() for found in _CUT.finditer(sentence)), len(sentence)]
    found = []
    for first in range(len(places) - 1):
        for last in range(first + 1, min(len(places), first + 1 + _LONGEST_RUN)):
            text = sentence[places[first] : places[last]].strip(_EDGES)
            if len(text.split()) > 2:  # noqa: PLR2004 - fewer words are no clause
                found.append(text)
    return found


__all__ = ["clauses", "keeps_to", "speaks_to"]
