"""Arguments of a call, read from its run's record."""

from __future__ import annotations

from ast import literal_eval
from typing import cast

from synthon.core.running import taken


def called_with(kept: object) -> tuple[list[object], dict[str, object]]:
    """The positional and the named arguments, from the JSON that `core.running.given` made of them.

    What no JSON can hold (bytes that are no UTF-8, lone surrogates) lies there in Python's words, all in one text.

    Raises:
        ValueError: these words are no literals.
    """
    return taken(cast("dict[str, object]", _literal(kept) if isinstance(kept, str) else kept))


def _literal(words: str) -> object:
    try:
        return literal_eval(words)
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"no JSON and no Python literal can hold them: {words[:200]}") from error
