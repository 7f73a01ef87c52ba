"""Arguments of a call, read from its run's record."""

from __future__ import annotations

from typing import cast

_APART = {"args", "kwargs"}


def called_with(kept: object) -> tuple[list[object], dict[str, object]]:
    """The positional and the named arguments, from the JSON that `core.running.given` made of them."""
    named = dict(cast("dict[str, object]", kept))
    args = cast("list[object]", named.pop("args", []))
    apart = named.get("kwargs")
    if named.keys() == {"kwargs"} and isinstance(apart, dict) and apart.keys() & _APART:
        named = apart
    return args, named
