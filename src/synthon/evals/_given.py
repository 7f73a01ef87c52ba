"""What was given, if it is of the right kind."""

from __future__ import annotations

from operator import index
from typing import Any

from synthon.core.errors import UserError


def whole(what: str, given: Any, least: int | None = None) -> int:
    """A whole number, at least so large.

    Raises:
        UserError: it is something else.
    """
    try:
        number = index(given)
    except TypeError:
        kind = type(given).__name__
        raise UserError(f"{what} was given as {given!r:.200}, a {kind}. Pass a whole number.") from None
    if least is not None and number < least:
        raise UserError(f"{what} was given as {number}. Pass at least {least}.")
    return number
