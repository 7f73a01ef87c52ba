"""Look into decoded JSON whose shape nobody promised: what is missing or of another type is simply absent."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from synthon.core.identity import dumps
from synthon.core.values import Delta, Usage

if TYPE_CHECKING:
    from synthon.core.protocols import Emit


def loaded(text: str | bytes) -> object:
    """The decoded JSON, what is no UTF-8 in it as U+FFFD, as in a stream; where it is none, the text itself."""
    from pydantic_core import from_json  # noqa: PLC0415 - see core.identity.adapter

    for load in (from_json, json.loads):  # the first is the faster, the second takes lone surrogates
        with suppress(ValueError, RecursionError):
            value: object = load(text)
            return value
    return text if isinstance(text, str) else loaded(text.decode("utf-8", "replace"))


def paired(text: str) -> str:
    """Text whose surrogate pairs are joined: endpoints that count in UTF-16 split a character over two pieces."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


class Paired:
    """A listener's pieces with surrogate pairs joined: a first half waits for its second."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._text = self._reasoning = ""

    def hear(self, *, text: str = "", reasoning: str = "", last: bool = False) -> None:
        """Pass a piece on; the `last` one with the halves that found no second."""
        text, self._text = _cut(self._text + text, last=last)
        reasoning, self._reasoning = _cut(self._reasoning + reasoning, last=last)
        if text or reasoning:
            self._emit(Delta(text=text, reasoning=reasoning))


def _cut(text: str, *, last: bool) -> tuple[str, str]:
    end = len(text) - (not last and "\ud800" <= text[-1:] <= "\udbff")
    return paired(text[:end]), text[end:]


def found(value: object, name: str) -> object:
    """An object's member, None where there is none."""
    return value.get(name) if isinstance(value, dict) else None


def text_of(value: object, name: str) -> str:
    """An object's member if it is text, else empty."""
    text = found(value, name)
    return text if isinstance(text, str) else ""


def items(value: object, name: str) -> list[object]:
    """An object's member if it is a list, else empty."""
    listed = found(value, name)
    return listed if isinstance(listed, list) else []


def count(value: object, name: str) -> int:
    """An object's member if it is a number above 0 (and below 2**53), else 0."""
    number = found(value, name)
    return int(number) if isinstance(number, int | float) and 0 < number < 2**53 else 0


def upper_bound(sent: object, received: str) -> Usage:
    """What a call may have used whose endpoint does not say: a token for every byte."""
    return Usage(input_tokens=len(dumps(sent).encode()), output_tokens=len(received.encode("utf-8", "replace")))
