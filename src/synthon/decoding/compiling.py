"""From a constraint to its masks: one door for choices, patterns, predicates, schemas and grammars."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import starmap
from typing import TYPE_CHECKING, TypeAlias

from synthon.core.constraints import Constraint, Grammar, Schema, Soundness, Textual
from synthon.core.errors import SchemaTooLarge, Unsupported, UserError
from synthon.core.light import dataclass
from synthon.decoding import counting, predicates, schemas
from synthon.decoding.libraries import llguidance
from synthon.decoding.loosening import Said
from synthon.decoding.matcher import GrammarMatcher, Matcher
from synthon.decoding.schemas import SECONDS
from synthon.decoding.validation import unmet_schema
from synthon.decoding.vocabulary import Vocabulary, plain_bytes

if TYPE_CHECKING:
    from llguidance import LLMatcher

    from synthon.decoding.counting import CountedMatcher

Beginning: TypeAlias = "GrammarMatcher | CountedMatcher"
MAX_GRAMMAR = 200_000  # characters


@dataclass(frozen=True, slots=True)
class Compiled:
    """A constraint ready for one vocabulary."""

    beginning: Beginning
    said: Sequence[Said]

    @property
    def soundness(self) -> tuple[Soundness, ...]:
        """What becomes of each part of it."""
        return tuple(starmap(Soundness, self.said))

    def matcher(self) -> Matcher:
        """A matcher at the beginning of a text."""
        return self.beginning.copy()


def compiled(constraint: Constraint, vocabulary: Vocabulary) -> Compiled:
    """The constraint's masks for a vocabulary; the last `MAX_KEPT` are kept.

    Raises:
        SchemaTooLarge: it is too large, too deep, or takes over `SECONDS` s.
        Unsupported: a part of it can be neither masked nor checked; says which.
        UserError: it is malformed, or no text fits it.
    """
    return vocabulary.kept(constraint, lambda: _compiled(constraint, vocabulary))


def _compiled(constraint: Constraint, vocabulary: Vocabulary) -> Compiled:
    if isinstance(constraint, Schema):
        plan = schemas.plan(constraint, vocabulary.engine)
        if plan.engine is None:
            (row, *_) = plan.rows
            raise Unsupported(f"The schema's {row.keyword!r} at {row.place!r} is not supported: {row.reason}.")
        return Compiled(GrammarMatcher(plan.engine, vocabulary), plan.said)
    if isinstance(constraint, Grammar):
        return Compiled(_followed(_lark(constraint.lark), vocabulary), _said(constraint))
    predicates.refuse_impossible(constraint)
    if predicates.counts(constraint):
        return Compiled(counting.counted(predicates.alternatives(constraint), vocabulary), _said(constraint))
    made, error = _made(_lark(predicates.lark(constraint)), vocabulary)
    if error:  # llguidance has no fuel for some small compositions; our own automata have
        return Compiled(counting.counted(predicates.alternatives(constraint), vocabulary), _said(constraint))
    return Compiled(GrammarMatcher(made, vocabulary, is_plain=True), _said(constraint))


def _followed(grammar: str, vocabulary: Vocabulary) -> GrammarMatcher:
    made, error = _made(grammar, vocabulary)
    if error:
        raise UserError(f"The grammar cannot be used: {error}. Correct it.")
    return GrammarMatcher(made, vocabulary)


def _made(grammar: str, vocabulary: Vocabulary) -> tuple[LLMatcher, str]:
    return schemas.matcher(grammar, vocabulary.engine, time.monotonic() + SECONDS)


def _lark(text: str) -> str:
    if len(text) > MAX_GRAMMAR:
        msg = f"The grammar has {len(text):,} characters, and {MAX_GRAMMAR:,} are read. Make it smaller."
        raise SchemaTooLarge(msg)
    return str(llguidance().LLMatcher.grammar_from_lark(text))


def soundness(constraint: Constraint) -> tuple[Soundness, ...]:
    """What becomes of each part of a constraint where masks are at hand; what is refused is a row too.

    Raises:
        SchemaTooLarge, UserError: as `compiled`, but for counts of `tokens` that only a model's own tokens can tell.
    """
    if isinstance(constraint, Schema):
        return plain_bytes().kept(
            ("soundness", constraint), lambda: schemas.plan(constraint, plain_bytes().engine).rows
        )
    try:
        if isinstance(constraint, Grammar) or not predicates.counts(constraint):
            compiled(constraint, plain_bytes())
        else:
            predicates.refuse_impossible(constraint)
            for way in predicates.alternatives(constraint):
                counting.bounds(way)
    except Unsupported as error:
        return tuple(Soundness(row.keyword, how="unsupported", reason=str(error)) for row in _whole(constraint))
    return _whole(constraint)


def _whole(constraint: Grammar | Textual) -> tuple[Soundness, ...]:
    return tuple(starmap(Soundness, _said(constraint)))


def _said(constraint: Grammar | Textual) -> tuple[Said]:
    return ((type(constraint).__name__.lower(), "", "enforced", ""),)


def unmet(constraint: Constraint, text: str) -> str:
    """What of the constraint a finished text does not keep to, in words for the model; empty if it keeps to all.

    Only the model that wrote the text can count its tokens: a grammar with `max_tokens` is not judged, nor `tokens`.

    Raises:
        SchemaTooLarge, Unsupported, UserError: the constraint cannot be used.
    """
    if isinstance(constraint, Schema):
        return unmet_schema(constraint.json, text)
    if isinstance(constraint, Grammar):
        return _underived(constraint, text)
    return predicates.unmet(constraint, text)


def _underived(constraint: Grammar, text: str) -> str:
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return "it holds half a character (a lone surrogate)"
    following = compiled(constraint, plain_bytes()).matcher()
    if predicates.counts(constraint):
        return ""
    taken = following.follow(raw) if isinstance(following, GrammarMatcher) else 0
    if taken < len(raw):
        rest = raw[taken:].decode(errors="replace")[:40]
        return f"the grammar does not go on with {rest!r} after {len(raw[:taken].decode(errors='ignore'))} characters"
    return "" if following.may_end else "it stops before the grammar is at its end"


__all__ = ["Compiled", "compiled", "soundness", "unmet"]
