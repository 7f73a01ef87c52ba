"""Turn a metadata filter into SQL over the store's `fields` table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from synthon.core.errors import UserError

if TYPE_CHECKING:
    from synthon.core.protocols import Filter

Value = str | int | float | bool

_NAME = re.compile(r"\s*(.*?)\s*(>=|<=|!=|>|<|)\s*")


def condition(where: Filter) -> tuple[str, list[Value]]:
    """SQL over `documents.key` that holds for documents which fit all entries, and its values.

    `{"year": 2020}` asks for equality, `{"year": [2020, 2021]}` for any of the list (an empty list fits nothing),
    `{"year >=": 2020}` for a range (`>=`, `<=`, `>`, `<`, of numbers or of texts) and `{"year !=": 2020}` for documents
    that have the field with another value. A document without the field fits none of them. Keys are joined by "and".

    Raises:
        UserError: an operator with a list, or a value that is no text, number or truth value.
    """
    clauses: list[str] = []
    values: list[Value] = []
    for key, wanted in where.items():
        found = _NAME.fullmatch(key)
        name, operator = (found[1], found[2]) if found else (key, "")
        options = _options(key, operator, wanted)
        test = _test(operator or "=", options)
        clauses.append(f"key IN (SELECT document FROM fields WHERE name = ? AND {test})")  # noqa: S608  # ours
        values += [name, *options]
    return " AND ".join(clauses) or "1", values


def _options(key: str, operator: str, wanted: object) -> list[Value]:
    several = isinstance(wanted, Sequence) and not isinstance(wanted, str)
    options = list(wanted) if isinstance(wanted, Sequence) and several else [wanted]
    known = [value for value in options if isinstance(value, str | int | float)]
    if len(known) != len(options) or (several and operator):
        msg = (
            f"The filter {key!r}: {wanted!r} cannot be used: a value is a text, a number or a truth value, "
            "or a list of those without an operator. Ranges are written {'year >=': 2020, 'year <': 2025}."
        )
        raise UserError(msg)
    return known


def _test(operator: str, options: Sequence[Value]) -> str:
    if operator == "=":
        return f"value IN ({', '.join('?' * len(options))})"
    if operator == "!=":
        return "value <> ?"
    # SQLite orders every number before every text; a range of numbers must not hold texts
    kind = "= 'text'" if isinstance(options[0], str) else "<> 'text'"
    return f"typeof(value) {kind} AND value {operator} ?"


__all__ = ["Value", "condition"]
