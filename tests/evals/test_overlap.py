"""Cases that two sets share."""

from __future__ import annotations

import importlib
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthon as sy
from synthon.evals import overlap
from synthon.evals.overlap import _shingles, _text


def asked(*texts: str) -> sy.Cases[None]:
    return sy.Cases(sy.Case({"text": text}, None) for text in texts)


LONG = "I would like to know where the new card is that I ordered two weeks ago"


def test_equal_inputs_are_found_whatever_their_case_and_space() -> None:
    found = overlap(asked("Where is my card?", "other"), asked("x", "where  is my CARD?"))
    assert (found.exact, found.near) == ([(0, 1)], [])
    assert str(found) == "1 pairs of cases with the same inputs, 0 with nearly the same"
    assert overlap(asked("Caf\u00e9"), asked("cafe\u0301")).exact == [(0, 0)]
    one, other = (sy.Cases([sy.Case({"order": each}, None)]) for each in ({"a": 1, "b": [2]}, {"b": [2], "a": 1}))
    assert overlap(one, other).exact == [(0, 0)]


def test_nearly_equal_inputs_are_found_with_their_similarity() -> None:
    found = overlap(asked("something else altogether", LONG), asked(LONG.replace("two", "three"), "no card"))
    assert [pair[:2] for pair in found.near] == [(1, 0)]
    assert 0.7 < found.near[0][2] < 1
    assert found


def test_sets_without_a_common_case_share_nothing() -> None:
    found = overlap(asked("Where is my card?", ""), asked("How do I get a refund?", "!"), near=0.5)
    assert not found.exact
    assert str(overlap(asked(LONG), asked("no"))) == "no case in common"


def about(document: str, *questions: str) -> sy.Cases[None]:
    return sy.Cases(sy.Case({"document": document, "question": question}, None) for question in questions)


def test_questions_on_one_document_are_compared_without_it() -> None:
    words = [f"w{number}" for number in range(500)]
    draw = random.Random(0)
    document = " ".join(draw.choices(words, k=300))
    one, other = ([" ".join(draw.choices(words, k=10)) for _ in range(15)] for _ in range(2))
    other[7] = f"{one[3]} x"
    found = overlap(about(document, *one), about(document, *other))
    assert [pair[:2] for pair in found.near] == [(3, 7)]
    assert overlap(about(document, *one[:9]), about(document, *one[:9])).exact == [(at, at) for at in range(9)]


def test_questions_on_several_documents_are_compared_without_them() -> None:
    words = [f"w{number}" for number in range(500)]
    draw = random.Random(0)

    def said(n: int) -> str:
        return " ".join(draw.choices(words, k=n))

    documents = [said(300) for _ in range(8)]
    one, other = (sy.Cases(case for each in documents for case in about(each, said(10), said(10))) for _ in range(2))
    assert not overlap(one, other)
    copied = sy.Case({"document": documents[2], "question": f"{one[3].inputs['question']} x"}, None)
    assert [pair[:2] for pair in overlap(one, [*other, copied]).near] == [(3, 16)]
    alone = sy.Cases(sy.Case({"document": f"{each} x", "question": "why"}, None) for each in documents)
    assert [pair[:2] for pair in overlap(alone, about(documents[4], "why")).near] == [(4, 0)]


def test_where_too_many_pairs_are_alike_those_of_few_rows_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.import_module("synthon.evals.overlap"), "_MOST", 2_000)
    many = [f"{LONG} {number}" for number in range(16)]
    rare = "please send this parcel back to the shop in the old town"
    found = overlap(asked(*many[:8], rare), asked(*many[8:], f"{rare} now"))
    assert (8, 8) in [pair[:2] for pair in found.near]
    assert 1 < len(found.near) < 12
    assert str(found).endswith(f"at least {len(found.near)} with nearly the same")


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("2 + 3", "2 - 3", []),
        ("What is 2 + 3?", "What is 2 * 3?", []),
        ("\N{GRINNING FACE}", "\N{CRYING FACE}", []),
        ("Hi!", "hi", [1.0]),
        ("Hi, where is it?", "Hi where is it", [1.0]),
    ],
)
def test_in_a_text_of_few_letters_symbols_count(one: str, other: str, near: list[float]) -> None:
    assert [pair[2] for pair in overlap(asked(one), asked(other)).near] == near


TEXTS = st.lists(st.text(string.ascii_lowercase[:3] + " ", max_size=25), max_size=6)


@given(TEXTS, TEXTS)
def test_pairs_over_the_bound_are_what_comparing_all_finds(one: list[str], other: list[str]) -> None:
    first, second = asked(*one), asked(*other)
    every = {}
    for a, left in enumerate(first):
        for b, right in enumerate(second):
            x, y = _shingles(_text(left.inputs)), _shingles(_text(right.inputs))
            if _text(left.inputs) != _text(right.inputs) and len(x & y) / len(x | y) >= 0.8:
                every[a, b] = len(x & y) / len(x | y)
    assert {(a, b): similarity for a, b, similarity in overlap(first, second, near=0.8).near} == every
