"""A small vocabulary, and ways to write through masks: one given value, or whatever they let through."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import numpy as np

from synthon.core.errors import ProviderError
from synthon.decoding import Matcher, Vocabulary, compiled

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthon.core.constraints import Constraint
    from synthon.decoding.documents import Json

PIECES = [
    b'{"',
    b'":',
    b'", "',
    b": ",
    b", ",
    b"true",
    b"null",
    b"abc",
    b"ab",
    b"12",
    b"  ",
    b"\n",
    "é".encode(),
    b"]}",
]
END, OTHER_END, CONTROL = 256 + len(PIECES), 257 + len(PIECES), 258 + len(PIECES)
SIZE = CONTROL + 1


def tokenize(text: bytes) -> list[int]:
    """The longest piece first."""
    found, at = list[int](), 0
    while at < len(text):
        fitting = [n for n, piece in enumerate(PIECES) if text.startswith(piece, at)]
        best = max(fitting, key=lambda n: len(PIECES[n]), default=None)
        found.append(text[at] if best is None else 256 + best)
        at += 1 if best is None else len(PIECES[best])
    return found


VOCABULARY = Vocabulary(
    [*(bytes([byte]) for byte in range(256)), *PIECES, b"<end>", b"<eot>", b"<pad>"],
    ends=frozenset({END, OTHER_END}),
    eos=END,
    control=frozenset({END, OTHER_END, CONTROL}),
    tokenize=tokenize,
)


def start(constraint: Constraint) -> Matcher:
    return compiled(constraint, VOCABULARY).matcher()


def allowed(matcher: Matcher) -> list[int]:
    logits = np.zeros(SIZE, np.float32)
    matcher.mask(logits)
    return [int(token) for token in np.flatnonzero(logits == 0)]


def takes(matcher: Matcher, text: str) -> bool:
    """Whether each token of a text is one that the mask leaves, and the text may end."""
    for token in tokenize(text.encode()):
        if token not in allowed(matcher):
            return False
        matcher.consume(token)
    return matcher.may_end and END in allowed(matcher)


def drawn(matcher: Matcher, seed: int, *, tokens: int = 120) -> str | None:
    """A text of random allowed tokens, with a leaning to its end; None if it did not end."""
    choose = random.Random(seed)
    written = b""
    for count in range(tokens):
        open_ = allowed(matcher)
        if END in open_ and (matcher.is_complete or choose.random() < 0.2 + count / tokens):
            return written.decode()
        ending = [token for token in open_ if VOCABULARY.tokens[token][:1] in {b'"', b"}", b"]"}]
        plain = [token for token in open_ if token < END and VOCABULARY.tokens[token].isascii()]
        pool = ending if ending and choose.random() < 0.3 else plain or [token for token in open_ if token < END]
        token = choose.choice(pool)
        matcher.consume(token)
        written += VOCABULARY.tokens[token]
    return None


def can_write(matcher: Matcher, value: Json, comma: str = ", ", colon: str = ": ") -> bool:
    """Whether a value can be written with its names in some order; a schema fixes the order, JSON does not."""
    return any(after.may_end for after in _after(matcher, value, comma, colon))


def _after(matcher: Matcher, value: Json, comma: str, colon: str) -> Iterator[Matcher]:
    if isinstance(value, dict):
        for opened in _after_text(matcher, "{"):
            yield from _after_names(opened, value, "", comma, colon)
    elif isinstance(value, list):
        for opened in _after_text(matcher, "["):
            yield from _after_items(opened, value, "", comma, colon)
    else:
        yield from _after_text(matcher, json.dumps(value, ensure_ascii=False))


def _after_names(matcher: Matcher, left: dict[str, Json], before: str, comma: str, colon: str) -> Iterator[Matcher]:
    if not left:
        yield from _after_text(matcher, "}")
    for name, value in left.items():
        for named in _after_text(matcher, f"{before}{json.dumps(name, ensure_ascii=False)}{colon}"):
            for after in _after(named, value, comma, colon):
                yield from _after_names(after, {n: v for n, v in left.items() if n != name}, comma, comma, colon)


def _after_items(matcher: Matcher, left: list[Json], before: str, comma: str, colon: str) -> Iterator[Matcher]:
    if not left:
        yield from _after_text(matcher, "]")
        return
    for begun in _after_text(matcher, before):
        for after in _after(begun, left[0], comma, colon):
            yield from _after_items(after, left[1:], comma, comma, colon)


def _after_text(matcher: Matcher, text: str) -> Iterator[Matcher]:
    following = matcher.copy()
    try:  # byte by byte: where a text is forced, a mask leaves its usual tokens only
        for token in text.encode():
            following.consume(token)
    except ProviderError:
        return
    yield following
