from __future__ import annotations

import json
import sys
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthon.core.constraints import Schema, choice, grammar, regex, where
from synthon.core.errors import MissingExtra, ProviderError, SchemaTooLarge, Unsupported, UserError
from synthon.core.output import schema
from synthon.decoding import Vocabulary, compiled, soundness, unmet
from tests.decoding.writing import CONTROL, END, OTHER_END, SIZE, VOCABULARY, allowed, drawn, start, takes, tokenize

POINT = {
    "type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
    "required": ["x", "y"], "additionalProperties": False,
}  # fmt: skip


def test_a_mask_leaves_what_may_follow_and_keeps_its_logit() -> None:
    logits = np.arange(SIZE, dtype=np.float32)
    start(regex("a(b|c)")).mask(logits)
    assert np.flatnonzero(np.isfinite(logits)).tolist() == [ord("a"), VOCABULARY.tokens.index(b"ab")]
    assert logits[ord("a")] == ord("a")


def test_ends_are_left_only_where_the_text_may_end() -> None:
    matcher = start(regex("ab?"))
    assert not {END, OTHER_END} & set(allowed(matcher))
    assert not matcher.may_end
    matcher.consume(ord("a"))
    assert {END, OTHER_END} <= set(allowed(matcher))
    assert matcher.may_end
    assert not matcher.is_complete


def test_nothing_follows_a_complete_text_but_its_end() -> None:
    matcher = start(schema(POINT))
    for token in tokenize(b'{"x": 1, "y": 2}'):
        matcher.consume(token)
    assert matcher.is_complete
    assert allowed(matcher) == [END, OTHER_END]
    matcher.consume(OTHER_END)
    assert matcher.is_complete
    assert matcher.may_end
    assert matcher.forced() == []
    with pytest.raises(ProviderError, match="the text is complete"):
        matcher.consume(ord("1"))


def test_control_tokens_are_never_left() -> None:
    for constraint in (regex("(?s:.*)"), schema({}), grammar(f"start: /(.|\\n)*/ | <[{CONTROL}]>")):
        assert CONTROL not in allowed(start(constraint))


def test_logits_beyond_the_vocabulary_are_barred() -> None:
    logits = np.zeros(SIZE + 40, np.float32)
    start(regex("(?s:.*)")).mask(logits)
    assert np.isneginf(logits[SIZE:]).all()


@pytest.mark.parametrize(
    ("token", "why"),
    [(ord("x"), "goes on otherwise"), (CONTROL, "no text"), (END, "may not end"), (SIZE, "outside"), (-1, "outside")],
)
def test_a_token_that_cannot_follow_is_refused(token: int, why: str) -> None:
    with pytest.raises(ProviderError, match=why):
        start(regex("ab+")).consume(token)


def test_a_copy_goes_its_own_way() -> None:
    first = start(regex("a(b|c)d"))
    first.consume(ord("a"))
    second = first.copy()
    first.consume(ord("b"))
    second.consume(ord("c"))
    for matcher in (first, second):
        matcher.consume(ord("d"))
        assert matcher.is_complete


def test_one_compiled_constraint_serves_many_texts() -> None:
    made = compiled(regex("a+"), VOCABULARY)
    assert made is compiled(regex("a+"), VOCABULARY)
    first = made.matcher()
    first.consume(ord("a"))
    assert not made.matcher().may_end


@pytest.mark.parametrize(("layout", "text"), [("compact", b'{"x":'), ("pretty", b'{"x": ')])
def test_forced_tokens_are_those_the_model_would_write(layout: str, text: bytes) -> None:
    matcher = start(schema(POINT, layout=layout))  # type: ignore[arg-type]  # one of the three
    written = b""
    while forced := matcher.forced():
        for token in forced:
            assert token in allowed(matcher)
            matcher.consume(token)
            written += VOCABULARY.tokens[token]
        assert forced == tokenize(b"".join(VOCABULARY.tokens[token] for token in forced))
    assert text.startswith(written)
    assert len(written) >= 3


@given(seed=st.integers(0, 10_000))
def test_forced_tokens_are_what_masks_leave_too(seed: int) -> None:
    matcher = start(schema({"enum": [{"kind": "first", "n": [1, 2]}, {"kind": "final", "n": None}]}, layout="compact"))
    choose = np.random.default_rng(seed)
    while not matcher.is_complete:
        tokens = matcher.forced() or [int(choose.choice(allowed(matcher)))]
        for token in tokens:
            assert token in allowed(matcher)
            matcher.consume(token)


@pytest.mark.parametrize(
    ("layout", "taken", "refused"),
    [
        ("compact", '{"x":1,"y":2}', '{"x": 1,"y":2}'),
        ("pretty", '{"x": 1, "y": 2}', '{"x":1, "y": 2}'),
        ("free", '{\n    "x": 1,\n    "y" :2\n}', '{ \n "x": 1, "y": 2}'),
        ("free", '{"x":1,"y":2}', ' {"x":1,"y":2}'),
        ("free", '{\n\t"x":1,\r\n\t"y":2}', '{\n\n"x":1,"y":2}'),
    ],
)
def test_the_layout_says_which_white_space_a_mask_leaves(layout: str, taken: str, refused: str) -> None:
    constraint = Schema(json.dumps(POINT), layout=layout)  # type: ignore[arg-type]  # one of the three
    assert takes(start(constraint), taken)
    assert not takes(start(constraint), refused)
    assert unmet(constraint, refused) == ""  # the layout is for masks; any JSON is right


def test_blanks_cannot_go_on_for_ever() -> None:
    matcher = start(schema(POINT))
    blanks = 0
    matcher.consume(ord("{"))
    while ord(" ") in allowed(matcher) or ord("\n") in allowed(matcher):
        matcher.consume(ord("\n") if ord("\n") in allowed(matcher) else ord(" "))
        blanks += 1
    assert blanks == 41


def test_a_grammar_is_followed_and_checked() -> None:
    sums = grammar('start: number ("+" number)*\nnumber: /[0-9]+/')
    assert takes(start(sums), "1+23")
    assert not takes(start(sums), "1+")
    assert unmet(sums, "1+23") == ""
    assert "does not go on with 'x'" in unmet(sums, "1+x")
    assert "stops before" in unmet(sums, "1+")
    assert [row.how for row in soundness(sums)] == ["enforced"]


@pytest.mark.parametrize("lark", ["start: missing", "garbage ((", "x: /a/"])
def test_a_grammar_that_cannot_be_read_says_why(lark: str) -> None:
    with pytest.raises(UserError, match="grammar cannot be used"):
        compiled(grammar(lark), VOCABULARY)


def test_masks_that_cost_too_much_raise() -> None:
    branches = [{"type": "object", "properties": {f"p{n}": {}}, "required": [f"p{n}"]} for n in range(2_500)]
    matcher = start(schema({"anyOf": branches}))
    with pytest.raises(SchemaTooLarge, match="cannot be followed further"):
        drawn(matcher, 0)


def test_textual_constraints_go_through_the_same_door() -> None:
    both = choice("ab", "abc", "b") & regex("a.*")
    assert takes(start(both), "abc")
    assert not takes(start(both), "b")
    assert unmet(both, "b")
    assert [row.how for row in soundness(both)] == ["enforced"]
    assert takes(start(where(tokens=(1, 2), matches="(ab)+")), "abab")
    assert not takes(start(where(tokens=(1, 2), matches="(ab)+")), "ababab")
    assert [(row.keyword, row.how) for row in soundness(regex("(?=a)b"))] == [("regex", "unsupported")]
    with pytest.raises(Unsupported, match="look-around"):
        compiled(regex("(?=a)b"), VOCABULARY)


def test_two_threads_may_compile_at_once() -> None:
    made: list[bool] = []

    def make(number: int) -> None:
        made.append(takes(start(schema({"const": number})), str(number)))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [True] * 8


def test_an_end_must_be_a_token() -> None:
    with pytest.raises(UserError, match="outside a vocabulary of 2"):
        Vocabulary([b"a", b"b"], ends=frozenset({2}), eos=1, control=frozenset(), tokenize=list)


@pytest.mark.parametrize("name", ["llguidance", "jsonschema_rs"])
def test_a_missing_library_is_named_with_the_line_that_installs_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtra, match=rf"{name}.*pip install 'synthon\[local\]'"):
        compiled(schema({"const": name}), VOCABULARY)


def test_a_grammar_has_a_limit_too() -> None:
    with pytest.raises(SchemaTooLarge, match="200,000 are read"):
        compiled(grammar("start: " + '"a" ' * 60_000), VOCABULARY)
