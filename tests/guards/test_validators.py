from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import synthon as sy
from synthon.guards import (
    Fail,
    Pass,
    Validator,
    choices,
    guard,
    in_range,
    language,
    length,
    matches,
    no_profanity,
    no_repeated_ngrams,
    reading_level,
    satisfies,
    similar_to,
    valid_email,
    valid_json,
    valid_python,
    valid_sql,
    valid_url,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

NOTHING = object()


async def found(validator: Validator, value: object, **inputs: object) -> tuple[str, object]:
    """The message, empty for a pass, and the fix."""
    verdict = await guard(validator).judge(value, inputs)
    message = "; ".join(failure.message for failure in verdict.failed)
    try:
        fixed = (await guard(validator, then="fix").judge(value, inputs)).value
    except sy.UserError:
        fixed = NOTHING
    return message, fixed if message else NOTHING


@pytest.mark.parametrize(
    ("validator", "value", "message", "fix"),
    [
        (length(at_most=5), "hello", "", NOTHING),
        (length(at_most=5), "hello world", "It has 11 characters; it must have at most 5.", "hello"),
        (length(at_most=8), "hello world", "It has 11 characters; it must have at most 8.", "hello"),
        (length(at_most=5), "incomprehensible", "It has 16 characters; it must have at most 5.", "incom"),
        (length(at_least=3), "hi", "It has 2 characters; it must have at least 3.", NOTHING),
        (length(at_most=2, of="words"), "a  b c", "It has 3 words; it must have at most 2.", "a  b"),
        (length(at_most=1, of="items"), [1, 2], "It has 2 items; it must have at most 1.", [1]),
        (length(at_most=1, of="items"), {"a": 1, "b": 2}, "It has 2 items; it must have at most 1.", {"a": 1}),
        (length(at_most=1, of="items"), (1, 2), "It has 2 items; it must have at most 1.", (1,)),
        (length(at_most=1, of="items"), {1, 2}, "It has 2 items; it must have at most 1.", NOTHING),
        (length(at_most=2, of="items"), {1, 2}, "", NOTHING),
        (
            length(at_least=5, at_most=8),
            "a incomprehensible",
            "It has 18 characters; it must have at least 5 and at most 8.",
            "a incomp",
        ),
        (in_range(0, 1), 0.5, "", NOTHING),
        (in_range(0.5, 0.7), 0, "It is 0; it must be at least 0.5 and at most 0.7.", NOTHING),
        (in_range(0.5, 0.7), 0.1, "It is 0.1; it must be at least 0.5 and at most 0.7.", 0.5),
        (in_range(0, 1), 2, "It is 2; it must be at least 0 and at most 1.", 1),
        (in_range(low=0.5), 0, "It is 0; it must be at least 0.5.", 1),
        (in_range(high=2.5), 3, "It is 3; it must be at most 2.5.", 2),
        (in_range(high=2.5), 3.5, "It is 3.5; it must be at most 2.5.", 2.5),
        (in_range(0, 1), math.nan, "It is nan; it must be at least 0 and at most 1.", NOTHING),
        (
            in_range(low=date(2025, 1, 1)),
            date(2024, 5, 1),
            "It is 2024-05-01; it must be at least 2025-01-01.",
            date(2025, 1, 1),
        ),
        (matches(r"[A-Z]{2}-\d+"), "AB-12", "", NOTHING),
        (
            matches(r"[A-Z]{2}-\d+", hint="It must be an order number."),
            "It is AB-12.",
            "It must be an order number, and is 'It is AB-12.'.",
            "AB-12",
        ),
        (
            matches(r"\d+"),
            "1 or 2",
            r"It must match the regular expression \d+, and is '1 or 2'.",
            NOTHING,
        ),
        (
            matches(r"^\d{4}$"),
            "It was 2014.",
            r"It must match the regular expression ^\d{4}$, and is 'It was 2014.'.",
            "2014",
        ),
        (matches(r"(?=.*\d)\w+"), "abc1", "", NOTHING),
        (
            matches(r"(?=.*\d)\w+"),
            "abc 1",
            r"It must match the regular expression (?=.*\d)\w+, and is 'abc 1'.",
            NOTHING,
        ),
        (choices("low", "high"), "low", "", NOTHING),
        (choices("low", "high"), " High ", "It is ' High '; it must be one of 'low', 'high'.", "high"),
        (choices("low", "high"), "hihg", "It is 'hihg'; it must be one of 'low', 'high'.", "high"),
        (choices("low", "high"), "purple", "It is 'purple'; it must be one of 'low', 'high'.", NOTHING),
        (choices("US", "us", "UK"), "Us", "It is 'Us'; it must be one of 'US', 'us', 'UK'.", NOTHING),
        (choices("US", "us", "UK"), "uk ", "It is 'uk '; it must be one of 'US', 'us', 'UK'.", "UK"),
        (choices("Inside", "inside"), "insidee", "It is 'insidee'; it must be one of 'Inside', 'inside'.", NOTHING),
        (no_repeated_ngrams(3), "We pay today. You pay today.", "", NOTHING),
        (
            no_repeated_ngrams(3),
            "The card is blocked. THE CARD is blocked. Call us.",
            "It says 'THE CARD is blocked' more than once; say it once.",
            "The card is blocked. Call us.",
        ),
        (no_repeated_ngrams(3), "no " * 9, "It says 'no no no no no no' more than once; say it once.", "no no no"),
        (no_repeated_ngrams(1), "the the end", "It says 'the' more than once; say it once.", "the end"),
    ],
)
async def test_amounts_and_forms(validator: Validator, value: object, message: str, fix: object) -> None:
    assert await found(validator, value) == (message, fix)


async def test_a_pattern_is_judged_in_bounded_time() -> None:
    text = "once upon a time in a land far away there lived a fox named Fred " * 30
    message, fix = await found(matches(r"(\w+\s?)+\."), text)  # Python's own `re` takes hours
    assert (message[:61], fix) == (r"It must match the regular expression (\w+\s?)+\., and is 'onc", NOTHING)
    assert await found(matches(r"(\w+\s?)+\."), f"{text.strip()}.") == ("", NOTHING)


def test_a_pattern_that_nobody_can_read_is_refused_at_once() -> None:
    with pytest.raises(sy.UserError, match="unterminated"):
        matches("(a")


@pytest.mark.parametrize(
    ("validator", "good"),
    [
        (valid_json(), '{"a": [1, null]}'),
        (valid_sql(), "WITH a AS (SELECT 1) SELECT * FROM a; DROP TABLE b"),
        (valid_sql("sqlite"), "PRAGMA table_info(cards)"),
        (valid_python(), "def f(x: int) -> int:\n    return x\n"),
        (valid_python(), "'\\d'"),
        (valid_url(), "https://example.com/a?b=c#d"),
        (valid_url("ftp"), "ftp://example.com"),
        (valid_email(), "ann@example.com"),
    ],
)
async def test_a_format_lets_through_what_it_should(validator: Validator, good: str) -> None:
    assert await found(validator, good) == ("", NOTHING)


@pytest.mark.parametrize(
    ("validator", "bad", "said", "fix"),
    [
        (valid_json(), 'Here: {"a": 1}.', "Expecting value", '{"a": 1}'),
        (valid_json(), "```json\n[1]\n```", "Expecting value", "[1]"),
        (valid_json(), "[NaN]", "NaN is no JSON value", NOTHING),
        (valid_json(), "[1] and [2]", "Extra data", NOTHING),
        (valid_json(), '{"a": {"b": 1}', "Expecting ',' delimiter", NOTHING),
        (valid_json(), "[" * 100_000, "nested too deeply", NOTHING),
        (valid_json(), "```\n" + " " * 100_000, "Expecting value", NOTHING),
        (valid_sql(), "SELECT " + "(" * 3_000, "nested too deeply", NOTHING),
        (valid_sql(), "SELECT a FROM b WHERE", "Required keyword", NOTHING),
        (valid_sql(), "SELEC a FROM b", "Unexpected token at 'FROM', line 1", NOTHING),
        (valid_sql(), "hello world", "'hello AS world' is no statement", NOTHING),
        (valid_sql(), "1 + 1", "is no statement", NOTHING),
        (valid_sql(), "SELECT 'a", "Error tokenizing", NOTHING),
        (valid_sql(), "-- nothing", "holds no statement", NOTHING),
        (valid_sql(), "EXPLAIN SELECT 1", "the statement 'EXPLAIN' cannot be checked", NOTHING),
        (valid_sql(), "```sql\nSELECT 1\n```", "token", "SELECT 1"),
        (valid_python(), "x =", "invalid syntax, line 1", NOTHING),
        (valid_python(), "```python\nx = 1\n```", "invalid syntax", "x = 1"),
        (valid_python(), "x = '\0'", "null bytes", NOTHING),
        (valid_python(), "-" * 100_000 + "1", "", NOTHING),
        (valid_python(), "1" + "+1" * 100_000, "", NOTHING),
        (valid_python(), "(" * 1000, "too many nested parentheses", NOTHING),
        (valid_url(), "example.com", "relative URL", NOTHING),
        (valid_url(), "<https://example.com>.", "relative URL", "https://example.com"),
        (valid_url(), "<https://a.org/wiki/B_(c)>.", "relative URL", "https://a.org/wiki/B_(c)"),
        (valid_url(), "[B](https://a.org/wiki/B_(c)).", "relative URL", NOTHING),
        (valid_url(), "(https://a.org/wiki/B_(c)).", "relative URL", "https://a.org/wiki/B_(c)"),
        (valid_url(), "[(https://a.org/b])", "relative URL", "https://a.org/b"),
        (valid_url(), "javascript:alert(1)", "its scheme must be one of http, https", NOTHING),
        (valid_url("mailto"), "mailto:ann@example.com", "it has no host", NOTHING),
        (valid_url(), "https://example.com/a b", "spaces", NOTHING),
        (valid_email(), "Ann <ann@example.com>", "angle brackets", "ann@example.com"),
        (valid_email(), "mailto:ann@example.com", "invalid characters", "ann@example.com"),
        (valid_email(), "ann@", "after the @-sign", NOTHING),
    ],
)
async def test_a_format_says_what_is_wrong(validator: Validator, bad: str, said: str, fix: object) -> None:
    message, fixed = await found(validator, bad)
    assert message.startswith("It is no valid ")
    assert said in message
    assert fixed == fix


async def test_any_constraint_is_a_validator() -> None:
    short = satisfies(sy.where(words=(1, 3)) & sy.regex("[a-z ]+"))
    assert await found(short, "two words") == ("", NOTHING)
    assert (await found(short, "four words are many"))[0]
    assert (await found(satisfies(sy.schema({"type": "integer"})), "1.5"))[0]
    assert (await found(satisfies(sy.regex("(?=a).b", check=True)), "bb"))[0]


def test_a_constraint_that_no_text_can_be_held_against_is_no_validator() -> None:
    with pytest.raises(sy.Unsupported, match="A guard cannot count `tokens`"):
        satisfies(sy.where(tokens=(1, 2)) | sy.choice("a"))
    with pytest.raises(sy.Unsupported, match="look-around"):
        satisfies(sy.regex("(?=a).b"))


async def test_profanity_is_found_as_whole_words_disguised_or_not() -> None:
    assert await found(no_profanity(), "What the f**k, sh1t!") == (
        "It holds profanity ('fuck', 'sh1t'); say it politely.",
        "What the ****, ****!",
    )
    for innocent in ("Pass the class analysis to Mr Hancock of Scunthorpe.", "The refund was sent.", ""):
        assert await found(no_profanity(), innocent) == ("", NOTHING)
    assert await found(no_profanity(allow=["sex"]), "Sex education") == ("", NOTHING)
    assert (await found(no_profanity(), "Sex education"))[0]
    assert (await found(no_profanity(languages=["german"]), "So eine Scheiße!"))[1] == "So eine ****!"


async def test_reading_level_is_flesch_and_kincaids() -> None:
    # 6 words, 1 sentence, 6 syllables: 0.39 * 6 + 11.8 * 1 - 15.59
    assert (await found(reading_level(at_least=0), "The cat sat on the mat."))[0].startswith("It reads at grade -1.4")
    # 5 words, 2 sentences, 24 syllables: 0.39 * 2.5 + 11.8 * 4.8 - 15.59
    hard = "Institutional responsibility! Notwithstanding administrative regulations."
    message, _ = await found(reading_level(at_most=8), hard)
    assert message == "It reads at grade 42.0, above 8; use shorter sentences and simpler words."
    assert await found(reading_level(at_least=-2, at_most=8), "The cat sat on the mat.") == ("", NOTHING)
    assert await found(reading_level(at_most=8), "") == ("", NOTHING)


async def test_language_refuses_only_what_is_surely_another() -> None:
    german = "Das Geld kommt morgen, sobald die Bank es freigibt."
    assert (await found(language("en"), german))[0] == "It is written in 'de'; write it in 'en'."
    assert await found(language("en", "de"), german) == ("", NOTHING)
    assert await found(language("en"), "The money arrives tomorrow, as soon as the bank lets it go.") == ("", NOTHING)
    assert await found(language("de"), "OK") == ("", NOTHING)
    with pytest.raises(sy.UserError, match=r"knows no language 'english'. Take a code of .*en"):
        await found(language("english"), german)


@dataclass(frozen=True)
class Counted:
    """An embedder of two dimensions: how many letters a and b."""

    identity: str = "letters"

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        counts = np.array([[text.count("a"), text.count("b")] for text in texts], np.float32)
        unit: NDArray[np.float32] = counts / np.linalg.norm(counts, axis=1, keepdims=True)
        return unit


async def test_similarity_is_to_the_nearest_source_by_shared_words_or_by_vectors() -> None:
    sources = ["Bananas are yellow.", "The refund takes five days."]
    assert await found(similar_to(sources, at_least=0.75), "A refund takes days") == ("", NOTHING)
    message, _ = await found(similar_to(sources, at_least=0.8), "A refund takes days")
    assert message == "It is not close enough to its sources (0.75 of 0.80); keep to what they say."
    near = similar_to(["aaab", "b"], at_least=0.9, embedder=Counted())
    assert await found(near, "aab") == ("", NOTHING)
    assert (await found(near, "ab"))[0].startswith("It is not close enough to its sources (0.89 of 0.90)")


async def test_vectors_of_another_length_have_no_cosine() -> None:
    class Raw(Counted):
        async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
            return 2 * await super().embed(texts)

    with pytest.raises(sy.UserError, match="gave a vector of length 2, not 1"):
        await found(similar_to(["b"], embedder=Raw()), "a")


async def test_sources_may_be_an_input_of_the_step_text_or_passages() -> None:
    near = similar_to(of="passages", at_least=1.0)
    passages = [sy.Passage("five days", "manual", 0, 9)]
    assert await found(near, "five days", passages=passages) == ("", NOTHING)
    assert await found(near, "five days", passages="five days or six") == ("", NOTHING)
    assert (await found(near, "six days", passages=passages))[0]
    with pytest.raises(sy.UserError, match="0 sources"):
        await guard(near).judge("six days", {"passages": []})


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (length, {}),
        (length, {"at_least": 3, "at_most": 2}),
        (in_range, {}),
        (in_range, {"low": 2, "high": 1}),
        (choices, {}),
        (lambda: choices(["a", "b"]), {}),  # type: ignore[arg-type]  # what is refused
        (length, {"at_most": 2, "of": "word"}),
        (no_profanity, {"languages": "english"}),
        (no_profanity, {"languages": []}),
        (no_profanity, {"allow": "sex"}),
        (no_repeated_ngrams, {"n": 0}),
        (similar_to, {}),
        (reading_level, {}),
        (language, {}),
    ],
    ids=lambda value: getattr(value, "__name__", repr(value)),
)
def test_a_validator_without_a_meaning_is_refused_when_it_is_made(make: Any, arguments: dict[str, Any]) -> None:
    with pytest.raises(sy.UserError, match=r"\. (Write|Name|Pass) |; 4 finds"):
        make(**arguments)


@pytest.mark.parametrize(
    ("validator", "value"),
    [(length(at_most=1), 5), (length(at_most=1), [1]), (length(at_most=1, of="items"), "a"), (in_range(0, 1), "a")],
)
async def test_a_value_of_the_wrong_kind_is_the_programs_error(validator: Validator, value: object) -> None:
    with pytest.raises(sy.UserError, match=r"cannot (count|compare)"):
        await guard(validator).judge(value, {})
    with pytest.raises(sy.UserError, match=r"valid_json judges text, and was given 5. Name a text: guard\(valid_json"):
        await guard(valid_json()).judge(5, {})


@pytest.mark.parametrize("name", ["en", "English", "klingon"])
async def test_an_unknown_list_of_profanity_is_named_with_those_there_are(name: str) -> None:
    with pytest.raises(sy.UserError, match=rf"no list for '{name}'. Take names of arabic, .*turkish"):
        await guard(no_profanity(languages=["english", name])).judge("this is shit", {})


async def test_an_unknown_sql_dialect_is_named_with_those_there_are() -> None:
    with pytest.raises(sy.UserError, match=r"no dialect 'sequel'. Take one of athena, .*sqlite"):
        await guard(valid_sql("sequel")).judge("SELECT 1", {})


@pytest.mark.parametrize(
    ("module", "validator"), [("sqlglot", valid_sql()), ("email_validator", valid_email())], ids=["sql", "email"]
)
async def test_a_missing_library_is_named_with_its_install_line(
    module: str, validator: Validator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(sy.MissingExtra, match=rf"needs '{module}'.*Run: pip install 'synthon\[guards\]'"):
        await guard(validator).judge("text", {})


def test_nothing_of_the_extra_is_loaded_with_the_room() -> None:
    heavy = "sqlglot", "py3langid", "glin_profanity", "email_validator", "numpy", "pydantic.networks"
    code = f"import sys, synthon.guards; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


@given(st.text(max_size=60), st.integers(0, 12), st.sampled_from(["characters", "words"]))
async def test_what_length_cuts_is_a_beginning_that_passes(text: str, most: int, of: Any) -> None:
    validator = length(at_most=most, of=of)
    fixed = (await guard(validator, then="fix").judge(text, {})).value
    assert isinstance(fixed, str)
    assert text.startswith(fixed)
    assert not (await guard(validator).judge(fixed, {})).failed


@given(st.text("ab \n", max_size=30), st.integers(0, 9), st.integers(0, 9))
async def test_what_length_cuts_is_not_below_its_other_bound(text: str, least: int, more: int) -> None:
    assume(least + more)
    validator = length(at_least=least, at_most=least + more)
    verdict = await guard(validator, then="fix_reask").judge(text, {})
    assert bool(verdict.failed) is (len(text) < least)


@given(st.text("ab .\n", max_size=40), st.integers(1, 4))
async def test_what_is_left_without_repeats_passes_and_has_no_new_words(text: str, n: int) -> None:
    fixed = (await guard(no_repeated_ngrams(n), then="fix").judge(text, {})).value
    assert isinstance(fixed, str)
    assert not (await guard(no_repeated_ngrams(n)).judge(fixed, {})).failed
    assert set(fixed.replace(".", " ").split()) <= set(text.replace(".", " ").split())


@given(st.text(max_size=40) | st.recursive(st.integers(), st.lists).map(json.dumps))
async def test_json_is_valid_when_and_only_when_it_loads(text: str) -> None:
    def no_constant(name: str) -> None:
        raise ValueError(name)

    def loads(source: str) -> bool:
        try:
            json.loads(source, parse_constant=no_constant)
        except ValueError:
            return False
        return True

    message, _ = await found(valid_json(), text)
    assert (message == "") is loads(text)
    verdict = await guard(valid_json(), then="fix_reask").judge(f"So: {text}", {})
    assert verdict.failed or loads(str(verdict.value))


def test_pass_and_fail_are_values() -> None:
    assert Pass() == Pass()
    assert Fail("a", fix=1) != Fail("a")
    assert hash(Fail("a")) == hash(Fail("a"))
