"""Predicates keep masks exact, say what is not met in words, and refuse what no text can meet."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from synthon.core.constraints import Textual, choice, grammar, regex, where
from synthon.core.errors import SchemaTooLarge, Unsupported, UserError
from synthon.decoding import Matcher, compiled, soundness, unmet
from synthon.decoding.predicates import alternatives, lark, refuse_to_count
from tests.decoding.oracle import CONTROL, END, MENTIONED, TOKENS, Oracle, composition, vocabulary

BYTES = vocabulary([*(bytes([byte]) for byte in range(256)), b"<end>"], ends={256}, control=set())


def allowed(matcher: Matcher, *, size: int = len(TOKENS) + 2) -> set[int]:
    logits = np.zeros(size, np.float32)
    matcher.mask(logits)
    return set(np.flatnonzero(np.isfinite(logits)).tolist())


def written(constraint: Textual, text: str) -> bool:
    """Whether masks over bytes let the text through, up to its end."""
    matcher = compiled(constraint, BYTES).matcher()
    for byte in text.encode():
        if byte not in allowed(matcher, size=len(BYTES.tokens)):
            return False
        matcher.consume(byte)
    return matcher.may_end


def follow(constraint: Textual, oracle: Oracle, chance: random.Random) -> None:
    """Go through a text at random and compare every mask with the oracle's."""
    matcher = compiled(constraint, vocabulary()).matcher()
    state = oracle.start
    for _ in range(8):
        wanted = oracle.allowed(state)
        assert allowed(matcher) == wanted
        assert matcher.may_end == (END in wanted)
        assert not matcher.is_complete or wanted == {END}
        if wanted <= {END}:
            break
        token = chance.choice(sorted(wanted - {END}))
        state = oracle.after(state, token) or state
        matcher.consume(token)


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_a_mask_is_exactly_the_tokens_after_which_some_completion_holds(seed: int) -> None:
    chance = random.Random(seed)
    constraint, trees = composition(chance)
    oracle = Oracle(constraint, trees)
    try:
        if oracle.allowed(oracle.start):
            follow(constraint, oracle, chance)
            return
        with pytest.raises(UserError, match="No "):
            compiled(constraint, vocabulary())
    except SchemaTooLarge:
        reject()  # refused aloud is allowed, wrong is not


@given(st.integers(0, 2**32), st.text(st.sampled_from(MENTIONED), max_size=8))
def test_what_masks_let_through_and_what_is_checked_after_agree(seed: int, text: str) -> None:
    constraint, _ = composition(random.Random(seed), counts=False)
    try:
        assert written(constraint, text) == (unmet(constraint, text) == "")
    except UserError:
        assert unmet(constraint, text)
    except SchemaTooLarge:
        reject()


@settings(max_examples=20)
@given(st.integers(0, 2**32))
def test_a_count_that_any_text_meets_changes_no_mask(seed: int) -> None:
    chance = random.Random(seed)
    constraint, trees = composition(chance, counts=False)
    oracle = Oracle(constraint, trees)
    if oracle.allowed(oracle.start):
        follow(constraint & where(tokens=(0, None)), oracle, chance)


@pytest.mark.parametrize(
    ("constraint", "text", "message"),
    [
        (where(words=20), "word " * 31, "it has 31 words, at most 20 are allowed"),
        (where(words=(2, None)), "one", "it has 1 word, at least 2 are needed"),
        (where(length=1), "ée", "it has 2 characters, at most 1 is allowed"),
        (where(stops_at=("b", "ab")), "abab", "it goes on after 'ab', where it must end"),
        (where(stops_at="."), "no end", "it does not end with '.'"),
        (where(startswith=("The ", "A ")), "An", "it does not start with 'The ' or 'A '"),
        (where(excludes=("cat", "dog")), "dogma", "it holds 'dog', which it must not"),
        (where(choice=("yes", "no")), "maybe", "it is not 'yes' or 'no'"),
        (where(matches=r"\d+"), "12a", r"it does not match the pattern '\\d+'"),
        (choice("yes", "no"), "Yes", "it is not 'yes' or 'no'"),
        (regex("a+"), "b", "it does not match the pattern 'a+'"),
        (regex("a") & where(words=0), "b", "it does not match the pattern 'a'; it has 1 word, at most 0 are allowed"),
        (regex("a+") | choice("c"), "b", "none of these was kept: it does not match the pattern 'a+' / it is not 'c'"),
        (where(tokens=1), "as many tokens as it likes", ""),
    ],
)  # fmt: skip
def test_what_is_not_met_is_said_in_words(constraint: Textual, text: str, message: str) -> None:
    assert unmet(constraint, text) == message


def test_a_text_stops_at_the_first_stop_text_that_ends_however_they_overlap() -> None:
    both = where(stops_at=("aba", "bab"))
    assert written(both, "aba")
    assert written(both, "ccbab")
    assert not written(both, "abab")
    assert not written(where(stops_at=("ab", "abc")), "abc")


def test_words_are_parted_by_the_white_space_that_str_split_knows() -> None:
    for space in map(chr, [9, 28, 31, 32, 0x85, 0xA0, 0x1680, 0x2028, 0x3000, 0x200B, 0x180E]):
        text = f"a{space}b"
        assert written(where(words=(2, 2)), text) == (len(text.split()) == 2)


def test_length_counts_characters_not_bytes() -> None:
    assert written(where(length=(3, 3)), "é€😀")
    assert not written(where(length=(9, 9)), "é€😀")


def test_a_count_of_tokens_belongs_to_its_branch() -> None:
    short_or_long = (where(tokens=(1, 1)) & choice("ab", "c")) | (where(tokens=(3, 3)) & choice("ab", "aab"))
    matcher = compiled(short_or_long, vocabulary()).matcher()
    a, b, ab, c = (TOKENS.index(text) for text in (b"a", b"b", b"ab", b"c"))
    assert allowed(matcher) == {a, ab, c}
    matcher.consume(a)
    assert allowed(matcher) == {a}
    assert matcher.forced() == [a, b]
    matcher.consume(a)
    matcher.consume(b)
    assert matcher.is_complete
    assert allowed(matcher) == {END}


def test_the_last_token_finishes_a_text_that_single_characters_could_not() -> None:
    matcher = compiled(where(stops_at="abcabc", tokens=(2, 2)), vocabulary()).matcher()
    matcher.consume(TOKENS.index(b"z"))
    assert allowed(matcher) == {TOKENS.index(b"abcabc")}


def test_a_copy_goes_its_own_way() -> None:
    first = compiled(where(tokens=(2, 2)), vocabulary()).matcher()
    second = first.copy()
    first.consume(0)
    first.consume(0)
    assert first.is_complete
    assert not second.may_end
    with pytest.raises(UserError, match=r"cannot follow after 2 tokens\. Take one that the mask leaves"):
        first.consume(0)
    with pytest.raises(UserError, match="cannot follow"):
        second.consume(CONTROL)


def test_logits_past_the_vocabulary_are_closed_and_control_tokens_never_open() -> None:
    matcher = compiled(where(tokens=(0, 4)), vocabulary()).matcher()
    matcher.consume(TOKENS.index(b"\xc3"))
    assert allowed(matcher, size=len(TOKENS) + 40) == {
        token for token, text in enumerate(TOKENS) if text[:1] in b"\xa8\xa9"
    }


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (choice("yes", "no") & where(length=(5, 9), excludes="x"), r"\('yes', 'no'\) and where\(length=\(5, 9\)\) at"),
        (where(words=(3, 3), length=4, startswith="a"), r"where\(length=\(0, 4\)\) and where\(words=\(3, 3\)\) at"),
        (where(stops_at="ab", excludes="b"), r"where\(stops_at=\('ab',\)\) and where\(excludes=\('b',\)\) at once"),
        (regex("[^\\s\\S]"), r"No text meets regex\('.*'\)\. Change it"),
        ((choice("a") & choice("b")) | (choice("c") & choice("d")), r"No text meets \(.* \| .*\)\. Change it"),
        (where(tokens=3) & choice("a") & choice("b"), r"No text meets choice\('a'\) and choice\('b'\) at once"),
        (where(tokens=(0, 2)) & where(tokens=(3, None)), "No number of tokens meets all bounds"),
    ],
)  # fmt: skip
def test_what_nothing_can_meet_is_refused_by_its_parts(constraint: Textual, message: str) -> None:
    with pytest.raises(UserError, match=message):
        compiled(constraint, vocabulary())
    with pytest.raises(UserError, match=message):
        soundness(constraint)


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        (choice("abcabcabc") & where(tokens=1), "has 0 to 1 of this model's tokens"),
        (where(tokens=(13, None)) & where(length=6), "has at least 13 of this model's tokens"),
    ],
)  # fmt: skip
def test_what_this_models_tokens_cannot_write_is_refused(constraint: Textual, message: str) -> None:
    with pytest.raises(UserError, match=message):
        compiled(constraint, vocabulary())


def test_a_grammar_refuses_to_drop_a_count() -> None:
    with pytest.raises(Unsupported, match="cannot count `tokens`"):
        lark(where(tokens=3) | choice("a"))


def test_a_grammar_that_counts_tokens_is_judged_by_nobody_else() -> None:
    counted = grammar('start: x "!"\nx[max_tokens=3]: /[A-Za-z ]+/')
    assert unmet(counted, "once upon a time!") == ""
    with pytest.raises(Unsupported, match="A guard cannot count `max_tokens`"):
        refuse_to_count(counted, "A guard")
    with pytest.raises(UserError, match="The grammar cannot be used"):
        unmet(grammar("start: x\nx[max_tokens=3]: y"), "a")


def test_counts_that_would_take_too_long_are_refused() -> None:
    with pytest.raises(SchemaTooLarge, match="states, too many to count tokens in"):
        compiled(where(length=1000, words=500, tokens=9), vocabulary())
    with pytest.raises(SchemaTooLarge, match="beginnings of characters, too many to count tokens in"):
        compiled(where(matches=r"\w{0,900}", tokens=9), vocabulary())
    with pytest.raises(SchemaTooLarge, match="up to where tokens are counted"):
        compiled(where(tokens=10**9), vocabulary())
    with pytest.raises(SchemaTooLarge, match="up to where tokens are counted"):
        soundness(where(tokens=10**9))
    with pytest.raises(SchemaTooLarge, match="counts over 1,000,000 positions"):
        soundness(regex("(a{1,1000}){1,1000}"))
    many: Textual = where(tokens=(0, 1)) | choice("a")
    for count in range(2, 20):
        many &= where(tokens=(0, 70 + count)) | where(tokens=(count, 99))
    with pytest.raises(SchemaTooLarge, match="ways to count `tokens`"):
        alternatives(many)


def test_a_pattern_that_cannot_be_read_says_so() -> None:
    with pytest.raises(UserError, match="Python cannot read the pattern"):
        unmet(regex("(a"), "a")
    with pytest.raises(Unsupported, match="look-around"):
        compiled(where(matches="(?=a)b", tokens=3), vocabulary())


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=5), min_size=1))
def test_a_choice_lets_its_options_through_whatever_they_hold(options: list[str]) -> None:
    for text in options:
        assert written(choice(*options), text)
    assert not written(choice(*options), f"{max(options, key=len)}!")
