"""What becomes of each part of a constraint: held by the mask, looked at afterwards, or refused."""

from __future__ import annotations

from typing import Literal

from synthon.core.light import dataclass

How = Literal["enforced", "checked", "unsupported"]


@dataclass(frozen=True, slots=True)
class Soundness:
    """How one keyword of a constraint is kept.

    Args:
        keyword: of JSON Schema, or the name of the constraint.
        place: JSON pointer to the schema it stands in; empty for the whole constraint.
        how: `enforced`: a mask lets nothing else through. `checked`: the finished text is looked at, in whole or for
            what the reason says. `unsupported`: it is refused.
        reason: why it is not enforced; empty if it is.
    """

    keyword: str
    place: str = ""
    how: How = "enforced"
    reason: str = ""


__all__ = ["How", "Soundness"]
