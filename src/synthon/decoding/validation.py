"""Look at a finished text: what of a JSON schema it does not keep to, in words for the model that wrote it."""

from __future__ import annotations

import functools
import json
import math
import re
import sys
from itertools import islice
from typing import TYPE_CHECKING

from synthon.core.errors import SchemaTooLarge, Unsupported, UserError
from synthon.decoding.describing import describable
from synthon.decoding.describing import message as described
from synthon.decoding.documents import Json, Node, document_of, escaped
from synthon.decoding.libraries import jsonschema_rs
from synthon.decoding.patterns import rust

if TYPE_CHECKING:
    from collections.abc import Callable

    from jsonschema_rs import ValidationError, Validator

MAX_TEXT = 10_000_000  # characters of an answer
MAX_DEPTH = 200  # brackets within brackets in an answer
MAX_ERRORS = 3
MAX_ERROR = 240  # characters of one
_UNSAID = "it does not fit the schema: a name or an item is not allowed where no other keyword speaks of it"
_BACKTRACKS = 100_000  # steps of one pattern with a look-around; some ms
_PATTERN_SIZE = 10_000_000  # bytes of one compiled pattern


def unmet_schema(schema: str, text: str) -> str:
    """What of the schema the text does not keep to; empty if it keeps to all.

    The text is one JSON value with nothing but white space round it, no name twice in an object, and no NaN.
    Formats are asserted.

    Raises:
        UserError, Unsupported, SchemaTooLarge: the schema cannot be used.
    """
    found = validator(schema)
    try:
        value = parsed(text)
    except ValueError as error:
        return f"it is not JSON: {error}"
    if found.is_valid(value):
        return ""
    errors = list(islice(_describer(schema).iter_errors(value), MAX_ERRORS + 1))
    words = "; ".join(map(_in_words, errors[:MAX_ERRORS])) or _UNSAID
    return f"{words}; and more" if len(errors) > MAX_ERRORS else words


def parsed(text: str) -> Json:
    """The JSON value that a text is.

    Raises:
        ValueError: it is none, and why.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"it has {len(text):,} characters, and {MAX_TEXT:,} are read")
    if _depth(text) > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH}")
    try:
        value: Json = _decode(text)
        json.dumps(value, ensure_ascii=False).encode() if "\\u" in text or not text.isascii() else b""
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"{error.msg[0].lower()}{error.msg[1:]} at {place}") from error
    except UnicodeEncodeError as error:
        raise ValueError("a string holds half a character (a lone surrogate)") from error
    return value


def _depth(text: str) -> int:
    """The deepest nesting that brackets alone could mean; those in strings are counted too, pairs or not."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return 0
    depth = deepest = 0
    for sign in re.findall(r'"(?:[^"\\]|\\.)*+"|[\[\]{}]', text):
        depth += (sign in "[{") - (sign in "]}")
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Json]]) -> Node:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {twice!r} comes twice in one object")
    return found


def _float(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else math.copysign(sys.float_info.max, number)


def _int(digits: str) -> int | float:
    return int(digits) if len(digits) <= 4_000 else _float(digits)  # noqa: PLR2004 - Python reads 4,300


def _constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


_decode = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_float, parse_int=_int, parse_constant=_constant
).decode


def _in_words(error: ValidationError) -> str:
    place = "".join(f"/{escaped(str(step))}" for step in error.instance_path)
    message = described(error)
    message = message if len(message) <= MAX_ERROR else f"{message[:MAX_ERROR]}..."
    return f"at {place}: {message}" if place else message


@functools.lru_cache(maxsize=128)
def validator(schema: str) -> Validator:
    """The validator of a schema; it asks no network.

    Patterns run in linear time, those with a look-around with a bound on their steps, past which a text is refused.

    Raises:
        UserError: it is no valid schema.
        Unsupported: it refers to what is not in it.
        SchemaTooLarge: it, or one of its patterns, is too large.
    """
    document = document_of(schema)
    for place, reference in document.unresolved[:1]:
        msg = f"The schema refers to {reference!r} at {place!r}, which is not in it, and nothing is ever fetched."
        raise Unsupported(f"{msg} Put it under `$defs`.")
    return _made(document.root, document.draft)


@functools.lru_cache(maxsize=128)
def _describer(schema: str) -> Validator:
    """The validator that says what is wrong, in little more time than `validator` needs to see that something is."""
    document = document_of(schema)
    rewritten = describable(document)
    return validator(schema) if rewritten is document.root else _made(rewritten, document.draft)


def _made(root: Json, draft: int) -> Validator:
    library = jsonschema_rs()
    classes = {
        4: library.Draft4Validator, 6: library.Draft6Validator, 7: library.Draft7Validator,
        2019: library.Draft201909Validator,
    }  # fmt: skip
    kind: Callable[..., Validator] = classes.get(draft, library.Draft202012Validator)
    make = functools.partial(kind, root, validate_formats=True, offline=True)
    linear = library.RegexOptions(size_limit=_PATTERN_SIZE, dfa_size_limit=_PATTERN_SIZE)
    bounded = library.FancyRegexOptions(
        backtrack_limit=_BACKTRACKS, size_limit=_PATTERN_SIZE, dfa_size_limit=_PATTERN_SIZE
    )
    try:
        return make(pattern_options=linear)
    except library.ValidationError as error:
        if 'is not a "regex"' not in error.message:
            raise _refused(error) from error
    try:
        return make(pattern_options=bounded)
    except library.ValidationError as error:
        raise _refused(error) from error


def _refused(error: ValidationError) -> Exception:
    whole = " ".join(error.message.split())
    message = whole if len(whole) <= MAX_ERROR else f"{whole[:MAX_ERROR]}..."
    if "Retriev" in message or "does not exist" in message or "meta-schema" in message:
        return Unsupported(
            f"The schema refers to what is not in it: {message}. Nothing is fetched: put it under `$defs`."
        )
    place = "".join(f"/{escaped(str(step))}" for step in error.instance_path)
    if 'is not a "regex"' in whole and isinstance(error.instance, str):
        return _unread(error.instance, place)
    return UserError(f"The schema is not valid at {place!r}: {message}. Correct it.")


def _unread(pattern: str, place: str) -> Exception:
    """Why a pattern cannot be used: it is too large, it is none, or it has signs that the validator does not know."""
    shown = repr(pattern if len(pattern) <= MAX_ERROR else f"{pattern[:MAX_ERROR]}...")
    try:
        rust(pattern)
    except SchemaTooLarge as error:
        return error
    except Unsupported:
        pass
    except UserError:
        return UserError(f"The pattern {shown} at {place!r} cannot be read. Correct it.")
    return Unsupported(f"The pattern {shown} at {place!r} can be neither masked nor checked. Write it otherwise.")


@functools.cache
def knows_format(name: str, draft: int) -> bool:
    """Whether the validator asserts a format in a draft."""
    library = jsonschema_rs()
    dialect = {4: library.Draft4, 6: library.Draft6, 7: library.Draft7, 2019: library.Draft201909}
    try:
        library.is_valid(
            {"format": name}, "", draft=dialect.get(draft, library.Draft202012), ignore_unknown_formats=False,
            validate_formats=True,
        )  # fmt: skip
    except library.ValidationError:
        return False
    return True


__all__ = ["knows_format", "parsed", "unmet_schema", "validator"]
