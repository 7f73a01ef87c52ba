"""Arguments of a call, read from its run's record."""

from __future__ import annotations

from ast import literal_eval
from typing import cast

_APART = {"args", "kwargs"}


def called_with(kept: object) -> tuple[list[object], dict[str, object]]:
    """The positional and the named arguments, from the JSON that `core.running.given` made of them.

    What no JSON can hold (bytes that are no UTF-8, lone surrogates) lies there in Python's words, all in one text.

    Raises:
        ValueError: these words are no literals.
    """
    named = dict(cast("dict[str, object]", _literal(kept) if isinstance(kept, str) else kept))
    args = cast("list[object]", named.pop("args", []))
    apart = named.get("kwargs")
    if named.keys() == {"kwargs"} and isinstance(apart, dict) and apart.keys() & _APART:
        named = apart
    return args, named


def _literal(words: str) -> object:
    try:
        return literal_eval(words)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"no JSON and no Python literal can hold them: {words[:200]}") from error
