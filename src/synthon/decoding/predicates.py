"""What choices, patterns and predicates say about a text: as a grammar for masks, as alternatives, and in plain Python.

The predicates are those of LMQL's where clause (Beurer-Kellner 2022, arXiv:2212.06094). All but `tokens` are regular,
so that a mask can hold to them exactly; `tokens` is counted beside (`counting`).
"""

from __future__ import annotations

import functools
import re
import time
from collections.abc import Iterable, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

from synthon.core.constraints import Both, Bounds, Choice, Constraint, Either, Grammar, Regex, Textual, Where
from synthon.core.errors import SchemaTooLarge, Unsupported, UserError
from synthon.core.light import dataclass
from synthon.decoding.automata import DEAD, automaton
from synthon.decoding.languages import All, Language, Not, OneOf, Pattern, in_lark
from synthon.decoding.libraries import llguidance
from synthon.decoding.matching import is_match
from synthon.decoding.patterns import rust
from synthon.decoding.schemas import SECONDS, within
from synthon.decoding.vocabulary import plain_bytes

if TYPE_CHECKING:
    from llguidance import LLMatcher

MAX_ALTERNATIVES = 64
_SHOWN = 20  # options in a message
_BYTES = 256  # the tokens of `plain_bytes` that are text
_CHARACTER = rust(r"(?s:.)")
_ANYTHING = Pattern(f"{_CHARACTER}*")
_SPACE, _LETTER = rust(r"\s"), rust(r"\S")  # Python's white space, which is what `str.split` splits at


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to keep to a constraint: texts of a language, in least to most tokens (any number where None)."""

    language: Language
    tokens: Bounds | None = None

    @property
    def lark(self) -> str:
        """The language in llguidance's Lark."""
        return grammar(self.language)


def lark(constraint: Textual) -> str:
    """The grammar, in llguidance's Lark, of exactly the texts that keep to the constraint.

    Raises:
        UserError: a pattern cannot be read.
        Unsupported: a pattern is not regular, or `tokens` is asked for, which `alternatives` gives.
    """
    refuse_to_count(constraint, "A grammar")
    return grammar(_language(constraint))


def grammar(language: Language) -> str:
    """The language in llguidance's Lark; its masks leave every token that can follow, also where the text is forced."""
    return f'%llguidance {{"no_forcing": true}}\nstart: TEXT\nTEXT: {in_lark(language)}'


def refuse_to_count(constraint: Constraint, who: str) -> None:
    """Raise where `tokens`, or a grammar's `max_tokens`, is asked for and nobody counts them.

    Raises:
        Unsupported: it is.
    """
    if counts(constraint):
        what = "max_tokens" if isinstance(constraint, Grammar) else "tokens"
        msg = f"{who} cannot count `{what}`. Leave it out, or use a model that counts them (`sy.local`)."
        raise Unsupported(msg)


def counts(constraint: Constraint) -> bool:
    """Whether `tokens`, or a grammar's `max_tokens`, is asked for anywhere."""
    if isinstance(constraint, Grammar):
        return re.search(r"\bmax_tokens\s*=", constraint.lark) is not None
    if isinstance(constraint, Both | Either):
        return any(map(counts, constraint.parts))
    return isinstance(constraint, Where) and constraint.tokens is not None


def alternatives(constraint: Textual) -> tuple[Alternative, ...]:
    """The ways to keep to a constraint, each a language and its own count of tokens.

    Raises:
        UserError: no number of tokens meets all bounds; or see `lark`.
        SchemaTooLarge: there are over `MAX_ALTERNATIVES` ways.
    """
    found = _ways(constraint)
    if not found:
        msg = f"No number of tokens meets all bounds of {in_words(constraint)}. Change one of them."
        raise UserError(msg)
    return tuple(Alternative(language, bounds) for bounds, language in found.items())


def _ways(constraint: Textual) -> dict[Bounds | None, Language]:
    if not counts(constraint):
        return {None: _language(constraint)}
    match constraint:
        case Where():
            return {constraint.tokens: All(tuple(_predicates(constraint)) or (_ANYTHING,))}
        case Either(parts):
            return _merged((bounds, way) for part in parts for bounds, way in _ways(part).items())
        case Both(parts):
            joined: dict[Bounds | None, Language] = {None: _ANYTHING}
            for part in parts:
                pairs = product(joined.items(), _ways(part).items())
                joined = _merged(
                    (met, All((before, then)))
                    for (first, before), (second, then) in pairs
                    if (met := _meet(first, second)) != (1, 0)
                )
            return joined
    raise AssertionError(constraint)  # a choice or a pattern counts no tokens


def _merged(ways: Iterable[tuple[Bounds | None, Language]]) -> dict[Bounds | None, Language]:
    found: dict[Bounds | None, list[Language]] = {}
    for bounds, language in ways:
        found.setdefault(bounds, []).append(language)
    if len(found) > MAX_ALTERNATIVES:
        msg = f"The constraint has over {MAX_ALTERNATIVES} ways to count `tokens`. Join some of the parts with `|`."
        raise SchemaTooLarge(msg)
    return {bounds: OneOf(tuple(parts)) if len(parts) > 1 else parts[0] for bounds, parts in found.items()}


def _meet(first: Bounds | None, second: Bounds | None) -> Bounds | None:
    """What both bounds allow; (1, 0) for nothing."""
    if first is None or second is None:
        return second if first is None else first
    least, ends = max(first[0], second[0]), [most for most in (first[1], second[1]) if most is not None]
    most = min(ends, default=None)
    return (1, 0) if most is not None and most < least else (least, most)


@functools.lru_cache(maxsize=256)
def _language(constraint: Textual) -> Language:
    match constraint:
        case Choice(options):
            return _any_of(options)
        case Regex(pattern):
            return Pattern(rust(pattern))
        case Both(parts):
            return All(tuple(map(_language, parts)))
        case Either(parts):
            return OneOf(tuple(map(_language, parts)))
        case Where():
            return All(tuple(_predicates(constraint)))


def _predicates(where: Where) -> Iterable[Language]:
    """The predicates but `tokens`."""
    if where.length is not None:
        yield Pattern(_CHARACTER + _times(where.length))
    if where.words is not None:
        yield Pattern(_words(*where.words))
    if where.stops_at:
        stop = _any_of(where.stops_at).rust
        yield Pattern(f"{_CHARACTER}*{stop}")
        yield Not(Pattern(f"{_CHARACTER}*{stop}{_CHARACTER}+"))
    if where.startswith:
        yield Pattern(f"{_any_of(where.startswith).rust}{_CHARACTER}*")
    if where.choice:
        yield _any_of(where.choice)
    if where.matches is not None:
        yield Pattern(rust(where.matches))
    if where.excludes:
        yield _ANYTHING  # outside a language there are also bytes that are no text
        yield Not(Pattern(f"{_CHARACTER}*{_any_of(where.excludes).rust}{_CHARACTER}*"))


def _times(bounds: Bounds) -> str:
    least, most = bounds
    return f"{{{least},{'' if most is None else most}}}"


def _words(least: int, most: int | None) -> str:
    if most == 0:
        return f"{_SPACE}*"
    more = _times((max(least - 1, 0), None if most is None else most - 1))
    optional = "" if least else "?"
    return f"{_SPACE}*(?:{_LETTER}+(?:{_SPACE}+{_LETTER}+){more}{_SPACE}*){optional}"


def _any_of(texts: Sequence[str]) -> Pattern:
    return Pattern(f"(?:{'|'.join(rust(re.escape(text)) for text in texts)})")


def unmet(constraint: Textual, text: str) -> str:
    """What of the constraint the text does not keep to, in words for a model; empty if it keeps to all.

    `tokens` is left out: only the model that wrote the text can count them.

    Raises:
        UserError: Python cannot read a pattern.
        Unsupported: a pattern is not regular, and its part of the constraint has no `check=True`.
        SchemaTooLarge: a pattern is too large.
    """
    match constraint:
        case Choice(options):
            return _not_among(options, text)
        case Regex(pattern, check):
            return _no_match(pattern, text, check=check)
        case Where():
            return "; ".join(filter(None, _broken(constraint, text)))
        case Both(parts):
            return "; ".join(filter(None, (unmet(part, text) for part in parts)))
        case Either(parts):
            found = [unmet(part, text) for part in parts]
            return "" if "" in found else f"none of these was kept: {' / '.join(found)}"


def _broken(where: Where, text: str) -> Iterable[str]:
    yield _out_of(where.length, len(text), "character")
    yield _out_of(where.words, len(text.split()), "word")
    yield _not_stopped(where.stops_at, text) if where.stops_at else ""
    if where.startswith and not text.startswith(where.startswith):
        yield f"it does not start with {_listed(where.startswith)}"
    yield _not_among(where.choice, text) if where.choice else ""
    yield _no_match(where.matches, text, check=where.check) if where.matches is not None else ""
    yield from (f"it holds {part!r}, which it must not" for part in where.excludes if part in text)


def _out_of(bounds: Bounds | None, count: int, unit: str) -> str:
    least, most = bounds or (0, None)
    has = f"it has {count} {unit}{'' if count == 1 else 's'}"
    if count < least:
        return f"{has}, at least {least} {'is' if least == 1 else 'are'} needed"
    if most is not None and count > most:
        return f"{has}, at most {most} {'is' if most == 1 else 'are'} allowed"
    return ""


def _not_stopped(stops: Sequence[str], text: str) -> str:
    end, stop = min(((text.find(stop) + len(stop), stop) for stop in stops if stop in text), default=(-1, ""))
    if end < 0:
        return f"it does not end with {_listed(stops)}"
    return "" if end == len(text) else f"it goes on after {stop!r}, where it must end"


def _not_among(options: Sequence[str], text: str) -> str:
    return "" if text in options else f"it is not {_listed(options)}"


def _no_match(pattern: str, text: str, *, check: bool) -> str:
    return "" if is_match(pattern, text, check=check) else f"it does not match the pattern {pattern!r}"


def _listed(texts: Sequence[str]) -> str:
    shown = " or ".join(map(repr, texts[:_SHOWN]))
    return shown if len(texts) <= _SHOWN else f"{shown} or one of {len(texts) - _SHOWN} more"


def refuse_impossible(constraint: Textual) -> None:
    """Raise if no text keeps to the constraint, whatever its number of tokens; `counting.counted` judges that.

    Raises:
        UserError: naming parts that contradict each other, none of which could be left out; all if that takes long.
        SchemaTooLarge: it takes longer than `schemas.SECONDS` to tell.
    """
    parts = tuple(_parts(constraint))
    for part in parts:
        alternatives(part)  # read and kept before the clock starts: to ignore case in large classes takes seconds
    began = time.monotonic()
    within(began + SECONDS, lambda: _refuse_impossible(parts, began + SECONDS / 2))


def _refuse_impossible(parts: tuple[Textual, ...], until: float) -> None:
    if _is_possible(parts):
        return
    for part in parts:
        if time.monotonic() > until:
            break
        fewer = tuple(other for other in parts if other is not part)
        if not _is_possible(fewer):
            parts = fewer
    named = " and ".join(map(in_words, parts))
    if len(parts) == 1:
        raise UserError(f"No text meets {named}. Change it.")
    raise UserError(f"No text meets {named} at once. Change one of them.")


def _parts(constraint: Textual) -> Iterable[Textual]:
    """What must hold at once, predicate by predicate."""
    if isinstance(constraint, Both):
        for part in constraint.parts:
            yield from _parts(part)
    elif isinstance(constraint, Where):
        yield from (Where(**{name: value}) for name, value in _given(constraint) if name != "tokens")
    else:
        yield constraint


def _is_possible(parts: tuple[Textual, ...]) -> bool:
    """Whether some text keeps to all; also where that is too costly to tell, which compiling will say."""
    if not parts:
        return True
    language = All(tuple(OneOf(tuple(way.language for way in alternatives(part))) for part in parts))
    matcher = llguidance().LLMatcher
    found: LLMatcher = matcher(plain_bytes().engine, matcher.grammar_from_lark(grammar(language)), log_level=0)
    if not found.is_error() and (found.is_accepting() or any(found.compute_logit_bias()[:_BYTES])):
        return True
    if not found.is_error() or found.get_error().startswith("NoExtension"):
        return False
    try:
        return automaton(language).start != DEAD  # llguidance gave up on 1 in 200 random compositions
    except SchemaTooLarge:
        return True


def in_words(constraint: Textual) -> str:
    """The constraint as it is written in a program."""
    match constraint:
        case Choice(options):
            return f"choice({', '.join(map(repr, options))})"
        case Regex(pattern):
            return f"regex({pattern!r})"
        case Both(parts):
            return f"({' & '.join(map(in_words, parts))})"
        case Either(parts):
            return f"({' | '.join(map(in_words, parts))})"
        case Where():
            return f"where({', '.join(f'{name}={value!r}' for name, value in _given(constraint))})"


def _given(where: Where) -> Iterable[tuple[str, Any]]:
    """The predicates that were asked for, by name."""
    return ((name, value) for name in _NAMES if (value := getattr(where, name)) not in {None, ()})


_NAMES = ("length", "words", "tokens", "stops_at", "startswith", "choice", "matches", "excludes")

__all__ = [
    "MAX_ALTERNATIVES",
    "Alternative",
    "alternatives",
    "counts",
    "grammar",
    "in_words",
    "lark",
    "refuse_impossible",
    "refuse_to_count",
    "unmet",
]
