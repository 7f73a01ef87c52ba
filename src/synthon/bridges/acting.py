"""Tools of another library under our journal: reads are recorded, effects go through started, act, done."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, get_args

from synthon.core.errors import UserError
from synthon.core.values import ToolResult
from synthon.tools.acting import Effect
from synthon.tools.calling import journaled

Act = Callable[[Mapping[str, object]], Awaitable[ToolResult]]


@dataclass(frozen=True)
class ForeignTool:
    """A tool of another library; every call is a row of the journal.

    Attributes:
        parameters: JSON schema of its arguments, as text.
        effects: what it does to the world; without `write` and `egress` it may be called again after a kill.
        act: calls it; what it raises is a result to learn from, unless it concerns the run.
    """

    journals: ClassVar[bool] = True
    name: str
    description: str
    parameters: str
    effects: frozenset[Effect]
    act: Act

    async def call(self, arguments: Mapping[str, object]) -> ToolResult:
        """Act, or read what came of this call before; a failure is a result with `is_error`.

        Raises:
            UserError, BudgetExceeded, Suspended, JournalError: what concerns the run and not the tool.
            Uncertain: an earlier life of the run started this call, and nobody knows how it ended.
        """
        return await journaled(self.name, arguments, self.act, self.effects)


def effects_from(given: Collection[Effect] | None, declared: object, name: str) -> frozenset[Effect]:
    """The effects a user states, else those a tool of ours declared before it went over, else `write`.

    Raises:
        UserError: there is no such effect.
    """
    found = (
        given if given is not None else declared if isinstance(declared, list | tuple | set | frozenset) else ("write",)
    )
    unknown = sorted(set(found) - set(get_args(Effect)))
    if unknown:
        msg = f"The tool {name!r} cannot have the effects {unknown}. There are {list(get_args(Effect))}."
        raise UserError(msg)
    return frozenset(found)
