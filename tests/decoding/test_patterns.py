from __future__ import annotations

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthon.core.constraints import regex, where
from synthon.core.errors import SchemaTooLarge, Unsupported, UserError
from synthon.decoding import unmet
from synthon.decoding.patterns import rust
from tests.decoding.writing import start, takes

CHARACTERS = "aAbkKsSzZ019_ \n\té²ßẞſİı\u212a\u0301\u200d٣\u00a0\u0085😀-."
ATOMS = [
    "a", "b", "k", "S", "ß", ".", r"\d", r"\D", r"\w", r"\W", r"\s", r"\S", "[a-z]", "[^a-z]", r"[\w.]", r"[^\W_]",
    "[^é]", "[ks]", r"\.", "İ", "(?i:k)", "(?i:[a-z])", "(?s:.)", "(?a:\\w)", "(?u:\\W)", "(a)", "(?:a|)",
]  # fmt: skip


def patterns() -> st.SearchStrategy[str]:
    def wider(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        return st.one_of(
            st.tuples(inner, inner).map("".join),
            st.tuples(inner, inner).map(lambda pair: f"(?:{pair[0]}|{pair[1]})"),
            st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "*?", "{2,}"])).map(
                lambda pair: f"(?:{pair[0]}){pair[1]}"
            ),
        )

    flags = st.sampled_from(["", "", "(?i)", "(?s)", "(?a)", "(?m)^", "(?x) "])
    edges = st.sampled_from([("", ""), ("^", "$"), (r"\A", r"\Z")])
    whole = st.tuples(flags, edges, st.recursive(st.sampled_from(ATOMS), wider, max_leaves=5))
    return whole.map(lambda parts: f"{parts[0]}{parts[1][0]}{parts[2]}{parts[1][1]}")


@settings(max_examples=60)
@given(pattern=patterns(), texts=st.lists(st.text(CHARACTERS, max_size=4), min_size=1, max_size=6))
def test_a_mask_takes_exactly_what_python_matches(pattern: str, texts: list[str]) -> None:
    for text in texts:
        fits = bool(re.fullmatch(pattern, text))
        assert takes(start(regex(pattern)), text) == fits, text
        assert (unmet(regex(pattern), text) == "") == fits, text


LOOKING = [
    r"(?=Paris)Pari", r"(?=.*\d)(?=.*[a-z]).{2,}", r"a(?<!b)b*", r"(a|b)\1", r"(?P<x>a|é)(?P=x)+b",
    r"\bab\b c?", r"a\Bb", "a++b", "(?>a|ab)c?b", "a$b", r"(?m)a$\nb", r"(?m)(^a\n?)+", "(^a)+", "(?!)",
    "(?:a+?)(?!b).*", r"a$\n?", r"(a*?)\1b", r"((a)|b)\1", r"a\Z\n?", "(?i)(?=K)k", "(?s)(?=.).", r"(?a)\bé",
]  # fmt: skip
SEEN = [
    "", "a", "b", "ab", "aab", "abc", "acb", "Pari", "a1", "éé", "ééb", "aabb", "a\n", "a\nb", "a\na",
    "ab c", "K", "\n", "é",
]  # fmt: skip


@pytest.mark.parametrize("pattern", LOOKING)
def test_what_no_mask_can_hold_to_is_refused_or_with_check_means_what_python_means(pattern: str) -> None:
    with pytest.raises(Unsupported, match="which no mask can enforce"):
        unmet(regex(pattern), "a")
    assert [unmet(regex(pattern, check=True), text) == "" for text in SEEN] == [
        bool(re.fullmatch(pattern, text)) for text in SEEN
    ]


@pytest.mark.parametrize("pattern", [r"(a)?(?(1)b|c)", r"(?i:(a)\1)"])
def test_what_cannot_be_checked_either_is_refused(pattern: str) -> None:
    with pytest.raises(Unsupported, match=r"a condition on a group|a back-reference"):
        unmet(regex(pattern, check=True), "a")


@pytest.mark.parametrize(
    "pattern", [r"(\w+\s?)+\.", r"(?:a|a)+b", r"(?=a)(\w+\s?)+\.", r"((\w+)\s?)+\1\.", r"(?:(?:a?){50}){50}b"]
)
def test_a_check_takes_no_time_that_grows_with_every_way_to_match(pattern: str) -> None:
    begun = time.monotonic()
    assert "does not match" in unmet(regex(pattern, check=True), "a" * 60)
    assert "does not match" in unmet(where(matches=pattern, check=True), "a" * 60)
    assert time.monotonic() - begun < 30  # a machine's age, without a bound


def test_half_a_character_matches_nothing() -> None:
    for pattern in (".", "(?=.)."):
        assert unmet(regex(pattern, check=True), "\ud800")


@pytest.mark.parametrize(
    "pattern", [r"(?a)(?u:\W)", r"(?a:\w(?u:\w))", r"(?a:\W)", r"(?ai)(?u:[^k])", r"(?a:\w(?i:\w))"]
)
def test_unicode_and_ascii_classes_take_each_others_place(pattern: str) -> None:
    for text in ("é", "a", "-", "aé", "éa", "k", "\u212a", "ab"):
        assert takes(start(regex(pattern)), text) == bool(re.fullmatch(pattern, text)), text


@pytest.mark.parametrize("character", CHARACTERS)
def test_ignored_case_means_what_python_means(character: str) -> None:
    pattern = f"(?i){re.escape(character)}"
    for other in CHARACTERS:
        assert takes(start(regex(pattern)), other) == bool(re.fullmatch(pattern, other)), other


@pytest.mark.parametrize("pattern", [r"(?i)[^,;]+", r"(?i)\S+@\S+", r"(?i)[^\dk]", "(?i)(?:[^a]|\u00e9)+"])
def test_a_class_that_ignores_case_is_told_at_once(pattern: str) -> None:
    """A match for each of a million characters took 2 to 3 s."""
    before = time.process_time()
    written = rust(pattern)
    assert time.process_time() - before < 1
    for other in CHARACTERS:
        for text in (other, f"a@{other}"):
            assert takes(start(regex(pattern)), text) == bool(re.fullmatch(pattern, text)), (written, text)


@given(pattern=patterns())
def test_the_translation_can_stand_between_slashes(pattern: str) -> None:
    assert re.fullmatch(r"[!-~]*", rust(pattern))
    assert not set("/\"'") & set(rust(pattern))


@pytest.mark.parametrize(
    ("pattern", "named"),
    [
        (r"(?=a)a", "look-around"),
        (r"a(?<!b)", "look-around"),
        (r"(a)\1", "back-reference"),
        (r"(a)?(?(1)b|c)", "condition"),
        (r"\bword", "word boundary"),
        ("a$b", "anchor"),
        ("(^a)+", "anchor"),
        ("a++b", "possessive"),
        ("(?>a)b", "atomic"),
    ],
)
def test_what_no_automaton_says_is_refused_by_name(pattern: str, named: str) -> None:
    with pytest.raises(Unsupported, match=named):
        rust(pattern)


@pytest.mark.parametrize("pattern", ["(", "[a", "a{3,1}", "*a"])
def test_what_python_cannot_read_is_refused(pattern: str) -> None:
    with pytest.raises(UserError, match="Python cannot read"):
        rust(pattern)


@pytest.mark.parametrize(
    "pattern", ["(a{1,1000}){1,1000}", "(" * 5_000 + ")" * 5_000, "ab" * 20_000, "((((a{99}){99}){99}){99}){99}"]
)
def test_a_pattern_that_is_too_large_is_refused(pattern: str) -> None:
    with pytest.raises(SchemaTooLarge, match="too large"):
        rust(pattern)
    with pytest.raises(SchemaTooLarge, match="too large"):
        unmet(regex(pattern), "aaa")
