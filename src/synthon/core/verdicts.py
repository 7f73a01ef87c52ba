"""What a guard says of a step's output: the value that stands, and what of it is to be asked for again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeAlias

from synthon.core.light import dataclass

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """What is wrong with one field, in words for the model; the empty path is the whole output."""

    path: Path
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """`value` stands, fixes applied, unless something `failed`: then the model is asked for those fields again."""

    value: object
    failed: tuple[Failure, ...] = ()


class Guard(Protocol):
    """Holds a step's output against rules; `guards/` makes them."""

    @property
    def name(self) -> str: ...
    @property
    def retries(self) -> int:
        """Times its failures are sent back to the model; then `CheckFailed`."""
        ...

    def fits(self, output: object) -> None:
        """Pass an output type that has the fields it judges.

        Raises:
            UserError: it has not.
        """
        ...

    async def judge(self, output: object, inputs: Mapping[str, object]) -> Verdict:
        """What stands of the output.

        Raises:
            GuardBlocked: nothing of it may be used.
        """
        ...
