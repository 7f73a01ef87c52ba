"""Rows that two sets of cases share, so that a score on one says nothing about the other."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import TYPE_CHECKING, Any
from unicodedata import normalize
from zlib import crc32

import numpy as np

from synthon.core.identity import to_json
from synthon.evals.cases import Case, Cases

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PRIME = (1 << 31) - 1
_BANDS, _ROWS = 42, 3  # finds a pair of similarity 0.7 with probability 1 - 2e-8, one of 0.3 with 0.7
_LETTERS = 5
_FEW_LETTERS = 20  # in `2 + 3` the sign is what tells it from `2 - 3`
_MARKS = re.compile(r"[.,;:!?\u3002\uff01\uff1f]+(?=\s|$)")
_SHARED = 3  # rows with one value
_MANY_ROWS = 20  # of fewer, half may well be copies
_MOST = 20_000_000  # shingles that are looked up; a few seconds
_PAIR = 100  # what a pair costs beside its shingles, in the same unit


@dataclass(frozen=True, slots=True)
class Overlap:
    """Pairs of places in the two sets: those with the same inputs, and those nearly so with their similarity.

    `is_partial` where so many looked alike that not all were counted; those that few rows look like came first.
    """

    exact: Sequence[tuple[int, int]]
    near: Sequence[tuple[int, int, float]]
    is_partial: bool = False

    def __bool__(self) -> bool:
        return bool(self.exact or self.near)

    def __str__(self) -> str:
        if not self:
            return "no case in common" + " among the pairs that were counted" * self.is_partial
        least = "at least " * self.is_partial
        return f"{len(self.exact)} pairs of cases with the same inputs, {least}{len(self.near)} with nearly the same"


def overlap(one: Iterable[Case[Any]], other: Iterable[Case[Any]], *, near: float = 0.7) -> Overlap:
    """Cases whose inputs the two sets share, but for case, white space and the order of fields, or nearly so.

    Args:
        one: a set of cases, and
        other: another.
        near: the least similarity: shared runs of five letters as a share of all (Jaccard). Pairs are found by MinHash
            (Broder 1997) and then counted exactly. A value that three or more rows share, such as a document they ask
            about, counts only for rows that have nothing else; so do words that over half of 20 or more rows have.
    """
    sets = [[case.inputs for case in Cases(cases)] for cases in (one, other)]
    firsts, seconds = ([_text(inputs) for inputs in some] for some in sets)
    exact = _equal(firsts, seconds)
    every = _telling([_shingles(text) for text in _own([*sets[0], *sets[1]])])
    left, right = every[: len(firsts)], every[len(firsts) :]
    found, seen, work = [], set(exact), 0
    for pair in _candidates(left, right):
        if pair in seen:
            continue
        a, b = left[pair[0]], right[pair[1]]
        work += min(len(a), len(b)) + _PAIR
        if work > _MOST:
            break
        seen.add(pair)
        shared = len(a & b)
        similarity = shared / (len(a) + len(b) - shared)
        if similarity >= near:
            found.append((*pair, similarity))
    return Overlap(exact, sorted(found), work > _MOST)


def _text(inputs: Mapping[str, object]) -> str:
    """Inputs as they are compared: the texts of the arguments in the order of their names."""
    return " ".join(text for text in _values(inputs).values() if text)


def _values(inputs: Mapping[str, object]) -> dict[str, str]:
    written = ((name, inputs[name]) for name in sorted(inputs))
    texts = ((name, value if isinstance(value, str) else _sorted(value)) for name, value in written)
    return {name: normalize("NFC", " ".join(text.split()).casefold()) for name, text in texts}


def _sorted(value: object) -> str:
    """A value as JSON whose objects have their fields in one order."""
    return json.dumps(json.loads(to_json(value)), sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def _own(rows: Sequence[Mapping[str, object]]) -> list[str]:
    """The rows' texts without the values that several different rows share, but for rows with nothing else."""
    told = [_values(inputs) for inputs in rows]
    different = {" ".join(values.values()): values for values in told}.values()
    counts = Counter(value for values in different for value in values.items())
    kept = [[text for name, text in values.items() if counts[name, text] < _SHARED] for values in told]
    return [" ".join(text for text in some or values.values() if text) for some, values in zip(kept, told, strict=True)]


def _equal(firsts: Sequence[str], seconds: Sequence[str]) -> list[tuple[int, int]]:
    places: dict[str, list[int]] = {}
    for place, text in enumerate(seconds):
        places.setdefault(text, []).append(place)
    return [(place, second) for place, text in enumerate(firsts) for second in places.get(text, ())]


def _shingles(text: str) -> frozenset[int]:
    if sum(map(str.isalpha, text)) < _FEW_LETTERS:
        plain = _MARKS.sub("", text).strip() or text
    else:
        plain = re.sub(r"\W+", " ", text).strip()
    runs = {plain[start : start + _LETTERS] for start in range(max(1, len(plain) - _LETTERS + 1))}
    return frozenset(crc32(run.encode("utf-8", "backslashreplace")) % _PRIME for run in runs)


def _telling(sets: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """The sets without what most of them have, but for those that would be empty."""
    if len(sets) < _MANY_ROWS:
        return list(sets)
    counts = Counter(chain.from_iterable(sets))
    common = {shingle for shingle, count in counts.items() if 2 * count > len(sets)}
    return [shingles - common or shingles for shingles in sets]


def _candidates(left: Sequence[frozenset[int]], right: Sequence[frozenset[int]]) -> Iterator[tuple[int, int]]:
    """Pairs whose signatures agree in a band, those that few share first; a pair may come again."""
    bands = [_bands(shingles) for shingles in (left, right)]
    alike: list[tuple[list[int], list[int]]] = []
    for band in range(_BANDS):
        sides = []
        for keys in bands:
            places: dict[bytes, list[int]] = {}
            for place, row in enumerate(keys):
                places.setdefault(row[band].tobytes(), []).append(place)
            sides.append(places)
        alike += [(sides[0][key], sides[1][key]) for key in sides[0].keys() & sides[1].keys()]
    for ones, others in sorted(alike, key=lambda pair: len(pair[0]) * len(pair[1])):
        yield from product(ones, others)


def _bands(sets: Sequence[frozenset[int]]) -> NDArray[np.uint64]:
    """Signatures, shape (sets, bands, rows of a band)."""
    generator = np.random.default_rng(0)
    factors, terms = generator.integers(1, _PRIME, (2, _BANDS * _ROWS, 1), dtype=np.uint64)
    least = [
        ((factors * np.fromiter(shingles, np.uint64) + terms) % np.uint64(_PRIME)).min(axis=1) for shingles in sets
    ]
    return np.array(least, np.uint64).reshape(-1, _BANDS, _ROWS)
