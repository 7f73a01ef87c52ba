"""A constraint in words: what a model is told, so that its mask is no surprise to it."""

from __future__ import annotations

from collections.abc import Iterator

from synthon.core.constraints import Both, Bounds, Choice, Constraint, Either, Grammar, Regex, Schema, Textual, Where
from synthon.core.errors import UserError


def wording(constraint: Constraint) -> str:
    """One sentence, or the schema or grammar itself."""
    if isinstance(constraint, Schema):
        return f"Answer with JSON that fits this schema, and nothing else:\n{constraint.json}"
    if isinstance(constraint, Grammar):
        return f"Answer with text of this grammar, and nothing else:\n{constraint.lark}"
    return f"Answer with {_words(constraint)}, and nothing else."


def _words(constraint: Textual) -> str:
    if isinstance(constraint, Choice):
        return f"exactly one of: {', '.join(constraint.options)}"
    if isinstance(constraint, Regex):
        return f"text that matches the regular expression {constraint.pattern}"
    if isinstance(constraint, Where):
        return "text " + " and ".join(_predicates(constraint))
    if not isinstance(constraint, Both | Either):
        raise UserError(
            f"{constraint!r:.200} is no constraint. Pass sy.regex(...), sy.choice(...) or another such value."
        )
    return (" and " if isinstance(constraint, Both) else " or ").join(map(_words, constraint.parts))


def _predicates(where: Where) -> Iterator[str]:
    for bounds, unit in ((where.length, "characters"), (where.words, "words"), (where.tokens, "tokens")):
        if bounds is not None:
            yield f"of {_range(bounds)} {unit}"
    for texts, what in (
        (where.stops_at, "that ends at the first"),
        (where.startswith, "that starts with"),
        (where.choice, "that is"),
    ):
        if texts:
            yield f"{what} {' or '.join(map(repr, texts))}"
    if where.matches is not None:
        yield f"that matches the regular expression {where.matches}"
    if where.excludes:
        yield f"without {' or '.join(map(repr, where.excludes))}"


def _range(bounds: Bounds) -> str:
    least, most = bounds
    if most is None:
        return f"at least {least}"
    return f"at most {most}" if not least else f"{least} to {most}"
