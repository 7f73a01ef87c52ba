"""What a post must keep to, and whether it answers; the standard library alone, so that a peer's environment reads it.

problems("It was 1998! #facts", passage) # ["Leave out hashtags."]
"""

from __future__ import annotations

import re
import string

LONGEST = 140  # characters
CONSTRAINTS = ("length", "hashtags", "sentence", "mention")
_END = re.compile(r"[.!?](?=\s+\S)")
_NAMED = re.compile(r"\b(?:[A-Z][\w'-]+|\d[\d,.]*\d|\d)")
_COMMON = frozenset({
    "A", "An", "And", "As", "At", "But", "By", "For", "He", "Her", "His", "How", "If", "In", "It", "Its", "Of", "On",
    "Or", "She", "So", "The", "They", "This", "To", "We", "What",
})  # fmt: skip
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")


def kept(post: str, passage: str) -> dict[str, bool]:
    """Which constraints a post keeps to."""
    text = post.strip()
    return {
        "length": 0 < len(text) <= LONGEST,
        "hashtags": "#" not in text,
        "sentence": bool(text) and not _END.search(text) and "\n" not in text,
        "mention": bool(named(text) & named(passage)),
    }


def problems(post: str, passage: str) -> list[str]:
    """What is wrong with a post, in words for the model."""
    said = {
        "length": f"The post has {len(post.strip())} characters; write at most {LONGEST}.",
        "hashtags": "Leave out hashtags.",
        "sentence": "Write a single sentence on one line.",
        "mention": "Mention a name or a number that stands in the passage.",
    }
    return [said[name] for name, is_kept in kept(post, passage).items() if not is_kept]


def named(text: str) -> set[str]:
    """Numbers, and words with a capital that are not merely a sentence's first."""
    return {found.rstrip(".,") for found in _NAMED.findall(text)} - _COMMON


def answers(post: str, accepted: list[str]) -> bool:
    """Whether a post holds an accepted answer, as SQuAD compares texts: no case, articles and punctuation."""
    return any(f" {_plain(each)} " in f" {_plain(post)} " for each in accepted)


def _plain(text: str) -> str:
    bare = "".join(" " if sign in string.punctuation else sign for sign in text.lower())
    return " ".join(_ARTICLES.sub(" ", bare).split())
