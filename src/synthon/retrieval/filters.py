"""Turn a metadata filter into SQL over the store's `fields` table."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from synthon.core.errors import UserError

if TYPE_CHECKING:
    from synthon.core.protocols import Filter

Value = str | int | float | bool

#: SQLite takes expressions of depth 1,000 and 32,766 values.
_MOST_CLAUSES, _MOST_VALUES = 900, 30_000

_NAME = re.compile(r"\s*(.*?)\s*([<>=!~]*)\s*")
_OPERATORS = {"", ">=", "<=", "!=", ">", "<"}


def condition(where: Filter) -> tuple[str, list[Value]]:
    """SQL over `documents.key` that holds for documents which fit all entries, and its values.

    `{"year": 2020}` asks for equality, `{"year": [2020, 2021]}` for any of the list (an empty list fits nothing),
    `{"year >=": 2020}` for a range (`>=`, `<=`, `>`, `<`, of numbers or of texts) and `{"year !=": 2020}` for documents
    that have the field with another value. A document without the field fits none of them. Keys are joined by "and".

    Raises:
        UserError: an unknown operator, or one with a list, a value that is no text, number or truth value, or more of
            them than SQLite takes.
    """
    if not isinstance(where, Mapping):
        msg = f"The filter {where!r} cannot be used: pass a dict of names and values, such as {{'year >=': 2020}}."
        raise UserError(msg)
    clauses: list[str] = []
    values: list[Value] = []
    for key, wanted in where.items():
        found = _NAME.fullmatch(str(key))
        name, operator = (found[1], found[2]) if found else (key, "")
        if operator not in _OPERATORS:
            msg = f"The filter {key!r}: there is no operator {operator!r}. Use >=, <=, >, < or !=; for equality, none."
            raise UserError(msg)
        options = _options(key, operator, wanted)
        test = _test(operator or "=", options)
        clauses.append(f"key IN (SELECT document FROM fields WHERE name = ? AND {test})")  # noqa: S608  # ours
        values += [name, *options]
    if len(clauses) > _MOST_CLAUSES or len(values) > _MOST_VALUES:
        msg = (
            f"The filter has {len(clauses):,} entries and {len(values) - len(clauses):,} values; {_MOST_CLAUSES} and "
            f"about {_MOST_VALUES:,} can be used. Put what they have in common into the documents' metadata."
        )
        raise UserError(msg)
    return " AND ".join(clauses) or "1", values


def _options(key: str, operator: str, wanted: object) -> list[Value]:
    several = isinstance(wanted, Sequence) and not isinstance(wanted, str | bytes)
    options = list(wanted) if isinstance(wanted, Sequence) and several else [wanted]
    known = [value for value in options if isinstance(value, str | int | float) and _can_be_stored(value)]
    if len(known) != len(options) or (several and operator) or not _can_be_stored(key) or not isinstance(key, str):
        msg = (
            f"The filter {key!r}: {wanted!r:.200} cannot be used: a value is a text, a number (64 bits) or a truth "
            "value, or a list of those without an operator. Ranges are written {'year >=': 2020, 'year <': 2025}."
        )
        raise UserError(msg)
    return known


def _can_be_stored(value: Value) -> bool:
    if isinstance(value, str):
        return value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value)
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _test(operator: str, options: Sequence[Value]) -> str:
    if operator == "=":
        return f"value IN ({', '.join('?' * len(options))})"
    if operator == "!=":
        return "value <> ?"
    # SQLite orders every number before every text; a range of numbers must not hold texts
    kind = "= 'text'" if isinstance(options[0], str) else "<> 'text'"
    return f"typeof(value) {kind} AND value {operator} ?"


__all__ = ["Value", "condition"]
