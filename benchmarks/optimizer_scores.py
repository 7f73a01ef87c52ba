"""What answers of the optimizers' tasks are worth; without any dependency, so that peers score by the same code.

A score is in 0..1. Labels count when they are equal; slots by F1 over (kind, text); answers by F1 over their words, the
best of the accepted ones, without case, punctuation and articles (SQuAD, Rajpurkar 2016, arXiv:1606.05250).
"""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

_MARKS = str.maketrans("", "", string.punctuation)


def label(expected: str, said: object) -> float:
    """Whether a label is the wanted one."""
    return float(str(said) == expected)


def slots(expected: Mapping[str, Sequence[Mapping[str, str]]], said: object) -> float:
    """F1 of the mentions; `said` is an object with `mentions`, each of which has a kind and a text."""
    wanted = {(each["kind"], _plain(each["text"])) for each in expected["mentions"]}
    found = {(str(each.kind), _plain(each.text)) for each in getattr(said, "mentions", ())}
    both = len(wanted & found)
    return 2 * both / (len(wanted) + len(found)) if wanted or found else 1.0


def answer(accepted: Collection[str], said: object) -> float:
    """F1 of the words with the best of the accepted answers."""
    return max(_overlap(_words(each), _words(str(said))) for each in accepted)


def _plain(text: str) -> str:
    return text.strip().lower()


def _words(text: str) -> Counter[str]:
    plain = re.sub(r"\b(a|an|the)\b", " ", text.lower().translate(_MARKS))
    return Counter(plain.split())


def _overlap(wanted: Counter[str], found: Counter[str]) -> float:
    both = (wanted & found).total()
    return 2 * both / (wanted.total() + found.total()) if both else float(wanted == found)


SCORES: dict[str, Callable[[Any, Any], float]] = {"label": label, "slots": slots, "answer": answer}

__all__ = ["SCORES", "answer", "label", "slots"]
