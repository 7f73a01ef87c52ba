"""Validators of what a text says and how: likeness to sources, profanity, reading level, language."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, get_args

from synthon.core.errors import UserError
from synthon.guards._extra import needed
from synthon.guards.results import Fail, Found, Named, Pass, text_test
from synthon.models.embedders import refuse_uneven

if TYPE_CHECKING:
    from synthon.core.protocols import Embedder

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_SENTENCE_END = re.compile(r"[.!?]+(?=\s|$)")
_SILENT = re.compile(r"(?:[^laeiouy]es|[^aeiouydt]ed|[^laeiouy]e)$")
_VOWELS = re.compile(r"[aeiouy]{1,2}")
_MASK = "****"


def similar_to(
    sources: Sequence[object] = (), *, of: str = "", at_least: float = 0.5, embedder: Embedder | None = None
) -> Named:
    """A text that is like one of the sources: it scores `at_least` (0..1) with the nearest.

    The score is the share of the text's different words that the source has, or, with an embedder, their cosine.

    Args:
        sources: texts, or passages with a `text`.
        of: the step's input that holds the sources, in place of or beside `sources`.
    """
    if not sources and not of:
        msg = "similar_to has nothing to compare with. Pass sources=[...], or of= with the name of a step's input."
        raise UserError(msg)

    async def judge(value: object, **inputs: object) -> Found:
        texts = [*_texts(sources), *(text for held in inputs.values() for text in _texts(held))]
        if not isinstance(value, str) or not texts:
            msg = f"similar_to compares a text with sources, and was given {value!r} and {len(texts)} sources."
            raise UserError(msg)
        score = (
            max(_shared(value, text) for text in texts) if embedder is None else await _cosine(embedder, value, texts)
        )
        if score >= at_least:
            return Pass()
        return Fail(f"It is not close enough to its sources ({score:.2f} of {at_least:.2f}); keep to what they say.")

    return Named(f"similar_to({of or 'sources'}, at_least={at_least})", judge, (of,) if of else ())


def _texts(sources: object) -> list[str]:
    held = sources if isinstance(sources, Sequence) and not isinstance(sources, str) else [sources]
    return [source if isinstance(source, str) else str(getattr(source, "text", source)) for source in held]


def _shared(text: str, source: str) -> float:
    words, known = (set(_WORD.findall(each.casefold())) for each in (text, source))
    return len(words & known) / len(words) if words else 0.0


async def _cosine(embedder: Embedder, text: str, sources: Sequence[str]) -> float:
    texts = [text, *sources]
    vectors = (await embedder.embed(texts)).astype("float32")  # sums of 16 bits are too rough
    refuse_uneven(vectors, texts, embedder)
    return float((vectors[1:] @ vectors[0]).max())


def no_profanity(*, languages: Sequence[str] = ("english",), allow: Sequence[str] = ()) -> Named:
    """No word of glin-profanity's lists, also not disguised ("sh1t"). Fix: such words masked.

    A list knows no context: it holds "sex" and "butt", and lacks "damn".

    Args:
        languages: the lists to use, by English name: "german", "french", ...
        allow: words to let through.
    """
    if not languages or isinstance(languages, str) or isinstance(allow, str):
        msg = f"no_profanity got languages={languages!r} and allow={allow!r}. Pass lists: languages=['english']."
        raise UserError(msg)
    chosen, allowed = tuple(languages), tuple(allow)

    def judge(text: str) -> Found:
        found = _filter(chosen, allowed).check_profanity(text)
        if not found["contains_profanity"]:
            return Pass()
        said = ", ".join(map(repr, sorted(found["profane_words"])))
        return Fail(f"It holds profanity ({said}); say it politely.", found["processed_text"])

    return text_test("no_profanity", judge)


@cache
def _filter(languages: tuple[str, ...], allow: tuple[str, ...]) -> Any:
    library = needed("glin_profanity", "no_profanity")
    known = get_args(library.Language)
    unknown = [language for language in languages if language not in known]
    if unknown:  # the library takes it for one without words
        raise UserError(f"no_profanity has no list for {unknown[0]!r}. Take names of {', '.join(known)}.")
    # whole words: its other mode finds one in "analysis" and in "refund was"
    spotting = {"word_boundaries": True, "detect_leetspeak": True, "normalize_unicode": True, "obfuscation": "standard"}
    return library.Filter(
        {"languages": list(languages), "ignore_words": list(allow), "replace_with": _MASK, **spotting}
    )


def reading_level(*, at_least: float | None = None, at_most: float | None = None) -> Named:
    """A grade between the bounds by Flesch and Kincaid (1975): years of American school; English only.

    Syllables are counted by rule, as CMUdict does for 88 % of its 117,250 words (Pyphen: 62 %).
    """
    if at_least is None and at_most is None:
        msg = "reading_level() names no grade. Write reading_level(at_most=8)."
        raise UserError(msg)

    def judge(text: str) -> Found:
        grade = _grade(text)
        if at_most is not None and grade > at_most:
            return Fail(f"It reads at grade {grade:.1f}, above {at_most}; use shorter sentences and simpler words.")
        if at_least is not None and grade < at_least:
            return Fail(f"It reads at grade {grade:.1f}, below {at_least}; write for more advanced readers.")
        return Pass()

    limits = [f"{name}={bound}" for name, bound in (("at_least", at_least), ("at_most", at_most)) if bound is not None]
    return text_test(f"reading_level({', '.join(limits)})", judge)


def _grade(text: str) -> float:
    words = _WORD.findall(text.lower())
    if not words:
        return 0.0
    sentences = sum(bool(_WORD.search(each)) for each in _SENTENCE_END.split(text))
    syllables = sum(max(1, len(_VOWELS.findall(_SILENT.sub("", word)))) for word in words)
    return 0.39 * len(words) / sentences + 11.8 * syllables / len(words) - 15.59


def language(*codes: str, sure: float = 0.5) -> Named:
    """A text in one of these languages (ISO 639-1), as far as py3langid can tell.

    Refused is only what is another language with a probability of `sure` or more: of a few words one cannot tell.
    The model (140 languages) takes about a second to load, once.
    """
    if not codes:
        msg = "language() names no language. Write language('en')."
        raise UserError(msg)

    def judge(text: str) -> Found:
        known = _identifier()
        unknown = [code for code in codes if code not in known.labels]
        if unknown:
            raise UserError(
                f"py3langid knows no language {unknown[0]!r}. Take a code of {', '.join(sorted(known.labels))}."
            )
        found, probability = known.classify(text)
        if found in codes or probability < sure:
            return Pass()
        return Fail(f"It is written in {found!r}; write it in {' or '.join(map(repr, codes))}.")

    return text_test(f"language({', '.join(codes)})", judge)


@cache
def _identifier() -> Any:
    library = needed("py3langid.langid", "language")
    return library.LanguageIdentifier.from_model_file(library.MODEL_FILE, norm_probs=True)


__all__ = ["language", "no_profanity", "reading_level", "similar_to"]
