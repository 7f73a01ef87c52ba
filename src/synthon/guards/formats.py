"""Validators of formats: JSON, SQL, Python, URL, email."""

from __future__ import annotations

import ast
import json
import logging
import re
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from synthon.core.errors import UserError
from synthon.core.identity import adapter
from synthon.guards._extra import needed
from synthon.guards.results import NO_FIX, Fail, Found, Named, Pass, text_test

if TYPE_CHECKING:
    from types import ModuleType

_FENCE = re.compile(r"```[\w+-]*[ \t]*\n(.*?)```", re.DOTALL)
_AFTER = " \t\r\n<>\"'`.,;"
_BEFORE = f"{_AFTER}()[]"


def valid_json() -> Named:
    """JSON to the letter of RFC 8259: no NaN, nothing around it. Fix: the fenced block, or the one value in it."""
    return text_test("valid_json", lambda text: _found(text, "JSON", _json_problem, _json_inside))


def _json_problem(text: str) -> str:
    try:
        json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:
        return str(error)
    return ""


def _no_constant(name: str) -> None:
    msg = f"{name} is no JSON value"
    raise ValueError(msg)


def _json_inside(text: str) -> list[str]:
    """The outermost objects and arrays in a text, in order."""
    found, at, decoder = [], 0, json.JSONDecoder(parse_constant=_no_constant)
    while place := re.compile(r"[\[{]").search(text, at):
        try:
            _, at = decoder.raw_decode(text, place.start())
        except (ValueError, RecursionError):
            return []
        found.append(text[place.start() : at])
    return found


def valid_sql(dialect: str = "") -> Named:
    """Statements that sqlglot parses in this dialect (`"postgres"`, `"sqlite"`, ...; its own union of them by default).

    Syntax only: tables and columns may be unknown. A statement that sqlglot passes on unparsed is refused, since
    nothing is known of it. Fix: the fenced block.
    """
    name = f"valid_sql({dialect})" if dialect else "valid_sql"

    def judge(text: str) -> Found:
        sqlglot = needed("sqlglot", "valid_sql")
        if dialect and dialect not in sqlglot.Dialect.classes:
            known = ", ".join(sorted(filter(None, sqlglot.Dialect.classes)))
            raise UserError(f"sqlglot knows no dialect {dialect!r}. Take one of {known}.")
        return _found(text, "SQL", lambda sql: _sql_problem(sqlglot, sql, dialect), _no_more)

    return text_test(name, judge)


def _sql_problem(sqlglot: ModuleType, text: str, dialect: str) -> str:
    log = logging.getLogger("sqlglot")
    level = log.level
    log.setLevel(logging.ERROR)  # it warns of what it passes on unparsed, which is refused below
    try:
        statements = sqlglot.parse(text, dialect=dialect or None)
    except sqlglot.errors.SqlglotError as error:
        first = (getattr(error, "errors", None) or [{}])[0]
        place = f" at {first['highlight']!r}, line {first['line']}" if first.get("highlight") else ""
        return f"{first.get('description') or str(error).splitlines()[0]}{place}"
    except RecursionError:
        return "it is nested too deeply"
    finally:
        log.setLevel(level)
    if not any(statements):
        return "it holds no statement"
    loose = (sqlglot.exp.Condition, sqlglot.exp.Alias, sqlglot.exp.Aliases, sqlglot.exp.Tuple, sqlglot.exp.Star)
    for each in filter(None, statements):
        if isinstance(each, loose):
            return f"{each.sql()!r} is no statement"
        if isinstance(each, sqlglot.exp.Command):
            return f"the statement {each.name.upper()!r} cannot be checked"
    return ""


def valid_python() -> Named:
    """Python that this interpreter parses; nothing runs. Fix: the fenced block."""
    return text_test("valid_python", lambda text: _found(text, "Python", _python_problem, _no_more))


def _python_problem(text: str) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # else a filter of "error" would make '\d' a syntax error
            ast.parse(text)
    except SyntaxError as error:
        return f"{error.msg}, line {error.lineno}"
    except (ValueError, RecursionError, MemoryError) as error:
        return str(error) or "it is nested too deeply"
    return ""


def valid_url(*schemes: str) -> Named:
    """An absolute URL with a host (WHATWG's rules, by Pydantic), of these schemes, by default http and https.

    Nothing is fetched. Fix: the same without quotes, stops, and brackets that are not its own around it.
    """
    allowed = schemes or ("http", "https")
    name = f"valid_url({', '.join(schemes)})" if schemes else "valid_url"

    def problem(text: str) -> str:
        from pydantic import AnyUrl  # noqa: PLC0415 - Pydantic's heavy half

        try:
            url: AnyUrl = adapter(AnyUrl).validate_python(text)
        except ValueError as error:
            return str(getattr(error, "errors", list)()[0]["msg"])
        if re.search(r"[\s<>\"\\]", text):
            return "it holds spaces or characters that must be escaped"
        if url.scheme not in allowed:
            return f"its scheme must be one of {', '.join(allowed)}"
        return "" if url.host else "it has no host"

    return text_test(name, lambda text: _found(text, "URL", problem, _stripped))


def valid_email() -> Named:
    """An email address (RFC 5321, by email-validator); nothing is looked up. Fix: without brackets and `mailto:`."""

    def judge(text: str) -> Found:
        library = needed("email_validator", "valid_email")

        def problem(address: str) -> str:
            try:
                library.validate_email(address, check_deliverability=False)
            except library.EmailNotValidError as error:
                return str(error).rstrip(".")
            return ""

        return _found(text, "email address", problem, _stripped)

    return text_test("valid_email", judge)


def _stripped(text: str) -> list[str]:
    inner = re.search(r"<([^<>]*)>", text)
    found = (inner.group(1) if inner else text).lstrip(_BEFORE)
    spare, end = {close: found.count(close) - found.count(begin) for begin, close in ("()", "[]")}, len(found)
    while end and (found[end - 1] in _AFTER or spare.get(found[end - 1], 0) > 0):
        end -= 1
        if found[end] in spare:
            spare[found[end]] -= 1
    return [found[:end].removeprefix("mailto:")]


def _no_more(_text: str) -> list[str]:
    return []


def _found(text: str, what: str, problem: Callable[[str], str], inside: Callable[[str], list[str]]) -> Found:
    """Pass where there is no problem; else Fail, with the one candidate in the text that has none as its fix."""
    found = problem(text)
    if not found:
        return Pass()
    fenced = [block.group(1).rstrip() for block in _FENCE.finditer(text)]
    good = [candidate for candidate in fenced or inside(text) if not problem(candidate)]
    return Fail(f"It is no valid {what}: {found}.", good[0] if len(good) == 1 else NO_FIX)


__all__ = ["valid_email", "valid_json", "valid_python", "valid_sql", "valid_url"]
