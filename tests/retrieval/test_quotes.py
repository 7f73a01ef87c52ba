from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synthon import Passage, UserError
from synthon.documents.sentences import sentences
from synthon.retrieval.clauses import clauses, keeps_to, speaks_to
from synthon.retrieval.quotes import Quotes, fits, quote
from tests.retrieval.embedding import WordEmbedder

TEXT = "The bridge was opened by Anna Berg in 1931, after four years. It is 300 m long. Ships pass below it at night."


def cut(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


def passages(*texts: str) -> list[Passage]:
    return [Passage(text, f"{number}.txt", 0, len(text), 1.0 / number) for number, text in enumerate(texts, 1)]


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith met J. R. Jones at 3.5 p.m. in the U.S. embassy of Mr. Brown.",
        "See Fig. 3, vol. 2, pp. 4-5 and e.g. No. 7.",
        "He said “Stop!” and went on.",
        "Wait ... what?",
    ],
)
def test_an_abbreviation_ends_no_sentence(text: str) -> None:
    assert cut(text) == [text]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ('He left. "Why?" she asked.', ["He left.", '"Why?" she asked.']),
        ("A title\n\nThe text\ngoes on.", ["A title", "The text\ngoes on."]),
        ("Two things:\n- tea\n- milk", ["Two things:", "- tea", "- milk"]),
        ("It opened in 1931. 300 people came.", ["It opened in 1931.", "300 people came."]),
        ("一つ。二つ。", ["一つ。", "二つ。"]),
        ("* * *\n\nYes.", ["Yes."]),
    ],
)
def test_sentences_end_where_a_reader_stops(text: str, parts: list[str]) -> None:
    assert cut(text) == parts


@given(
    st.text(alphabet=st.characters(codec="utf-8") | st.sampled_from(" \n.!?-#aB1"), max_size=400), st.integers(1, 60)
)
def test_every_letter_lies_in_exactly_one_sentence(text: str, longest: int) -> None:
    spans = sentences(text, longest=longest)
    covered = [place for start, end in spans for place in range(start, end)]
    assert covered == sorted(set(covered))
    assert {place for place, character in enumerate(text) if character.isalnum()} <= set(covered)
    assert all(0 < end - start <= longest and text[start:end] == text[start:end].strip() for start, end in spans)


@pytest.mark.parametrize("longest", [0, -1, 2.5, "5"])
def test_a_length_that_no_sentence_has_is_refused(longest: Any) -> None:
    with pytest.raises(UserError, match=rf"longest={longest!r}\) is no length .* Pass 1 or more"):
        sentences("One two three.", longest=longest)


async def test_a_quote_is_the_characters_it_names() -> None:
    found = await quote("Who opened the bridge?", passages(TEXT, "Nothing of that."), WordEmbedder())
    assert found.quotes[0].text == "The bridge was opened by Anna Berg in 1931, after four years."
    assert all(each.text == TEXT[each.start : each.end] for each in found.quotes if each.file == "1.txt")
    assert len(found.quotes) <= 3
    assert [each.score for each in found.quotes] == sorted((each.score for each in found.quotes), reverse=True)


async def test_places_count_from_the_document_not_from_the_passage() -> None:
    passage = Passage(TEXT, "a.txt", 100, 100 + len(TEXT), 1.0)
    found = await quote("Who opened the bridge?", [passage], WordEmbedder(), most=1)
    assert (found.quotes[0].start, found.quotes[0].end) == (100, 161)


async def test_support_tells_what_is_known_from_what_is_not() -> None:
    known = await quote("Who opened the bridge?", passages(TEXT), WordEmbedder())
    unknown = await quote("Which enzyme splits lactose?", passages(TEXT), WordEmbedder())
    assert known.support > unknown.support + 0.3
    assert known.lead > unknown.lead


async def test_a_sentence_that_stands_twice_is_quoted_once() -> None:
    found = await quote("Who opened the bridge?", passages(TEXT, TEXT.replace(" by", "\nby")), WordEmbedder())
    assert len({" ".join(each.text.split()) for each in found.quotes}) == len(found.quotes)


async def test_a_heading_is_never_quoted() -> None:
    text = "Who opened the bridge\n=====================\n\nAnna Berg did.\n\n## Who opened the bridge\n\nShe did."
    found = await quote("Who opened the bridge?", passages(text), WordEmbedder())
    assert {each.text for each in found.quotes} <= {"Anna Berg did.", "She did."}


@pytest.mark.parametrize("texts", [(), ("...",)])
async def test_without_words_nothing_is_quoted(texts: tuple[str, ...]) -> None:
    assert await quote("Who?", passages(*texts), WordEmbedder()) == Quotes()


@pytest.mark.parametrize(
    ("question", "sentence", "expected"),
    [
        ("How many people came?", "300 people came.", 1),
        ("How many people came?", "People came.", -1),
        ("When did it open?", "It opened in March.", 1),
        ("When did it open?", "It opened late.", -1),
        ("Who opened it?", "It was opened by Anna.", 1),
        ("Who opened the Anna bridge?", "It was opened by Anna.", -1),
        ("Why was it opened?", "It was opened late.", 0),
    ],
)
def test_the_kind_of_answer_is_seen(question: str, sentence: str, expected: int) -> None:
    assert fits(question, sentence) == expected


def test_clauses_stand_in_the_sentence_and_keep_what_was_asked() -> None:
    sentence = "In spring, the bridge was opened by Anna Berg in 1931, after four years (and a strike)."
    found = clauses("Who opened the bridge?", sentence)
    assert "the bridge was opened by Anna Berg in 1931" in found
    assert all(each in sentence and "Anna" in each and each.count("(") == each.count(")") for each in found)


def test_a_question_for_no_kind_gets_the_rest_of_the_sentence() -> None:
    sentence = "In 1931, the show's Doctor has a granddaughter, the pupil of two teachers."
    assert clauses("What does the Doctor have?", sentence)[-1].endswith("two teachers.")
    assert all(sentence.endswith(each) for each in clauses("What does the Doctor have?", sentence))


@pytest.mark.parametrize(
    ("question", "is_about"),
    [
        ("Who opened the bridge?", True),
        ("How many people opened the bridge?", True),
        ("When did the ferry to the old harbour sink?", False),
    ],
)
def test_a_sentence_speaks_to_most_of_a_question(question: str, is_about: bool) -> None:  # noqa: FBT001 - see below
    assert speaks_to(question, "The bridge was opened by Anna Berg and 300 people.") is is_about


@given(st.text(max_size=200), st.text(max_size=200))
def test_there_is_always_a_clause_and_it_is_verbatim(question: str, sentence: str) -> None:
    found = clauses(question, sentence)
    assert found
    assert all(each in sentence for each in found)


@pytest.mark.parametrize(
    ("answer", "is_kept"),
    [
        ("Anna Berg opened the bridge.", True),
        ("The bridge is 300 m long", True),
        ("Anna Berg opened the bridge in 1932.", False),
        ("Bob opened the bridge.", False),
        ("The bridge was not opened by Anna Berg.", False),
        ("The bridge was opened.", False),  # says only what the question says
        ("Anna Berg opened it. Anna Berg opened it. Anna Berg opened it.", False),
        ("", False),
        ("Anna Berg.\n\nAnna Berg.", False),
    ],
)
def test_an_answer_keeps_to_the_quotes(answer: str, is_kept: bool) -> None:  # noqa: FBT001 - a column of the table
    assert keeps_to(answer, [TEXT], "Who opened the bridge?") is is_kept


@pytest.mark.parametrize(
    ("answer", "quote", "question", "is_kept"),
    [
        ("The old bridge isn't safe.", "The old bridge is safe.", "Isn't the old bridge safe?", False),
        ("It won’t open to heavy trucks.", "It will open to heavy trucks.", "Won’t it open?", False),
        ("The old bridge isn't safe for trucks.", "The bridge is not safe for trucks.", "Isn't the old one?", True),
        ("It costs 5.3 million.", "It costs 3 million for 5 years.", "What does it cost?", False),
        ("It is -5 degrees there.", "It is 5 degrees there.", "How cold is it?", False),
        ("It is −5 degrees there.", "It is -5 degrees there.", "How cold is it?", True),
        ("They need 3-5 days.", "They need 3-5 days.", "How long?", True),
        ("It costs 1,000 euros.", "It costs 1,000 euros.", "How much?", True),
    ],
)
def test_a_denial_and_a_number_are_read_whole(answer: str, quote: str, question: str, is_kept: bool) -> None:  # noqa: FBT001 - same
    assert keeps_to(answer, [quote], question) is is_kept
