"""Words of a text as BM25 counts them: lower-cased runs of letters and digits, stop words out, stemmed."""

from __future__ import annotations

import re
import threading
import unicodedata
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from synthon.core.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable

#: Counted into an index's digest: texts indexed under other rules give other scores.
RULES = "snowball-english-1"

_WORD = re.compile(r"\w+")
#: Lucene's list: words that say nothing about a text in English.
_STOP = frozenset({
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not",
    "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was",
    "will", "with",
})  # fmt: skip


class _Stemmer(Protocol):
    def stemWord(self, word: str, /) -> str: ...  # noqa: N802  # the library's name


class _PerThread(threading.local):
    """A stemmer for each thread: one object must not be used by two at once."""

    stem: Callable[[str], str] | None = None


_thread = _PerThread()


def words(text: str) -> list[str]:
    """Stems in order of appearance (Snowball `english`, that is Porter2); compatibility forms are unified (NFKC)."""
    stem = _thread.stem or _stemmer()
    found = _WORD.findall(unicodedata.normalize("NFKC", text).lower())
    return [stem(word) for word in found if word not in _STOP]


def _stemmer() -> Callable[[str], str]:
    try:
        import Stemmer  # noqa: PLC0415  # an optional extra
    except ImportError as error:
        msg = "An index needs the stemmer PyStemmer, which is not installed. Run: pip install 'synthon[index]'"
        raise MissingExtra(msg) from error
    library: _Stemmer = Stemmer.Stemmer("english", 0)
    stem = lru_cache(65_536)(library.stemWord)
    _thread.stem = stem
    return stem


__all__ = ["RULES", "words"]
