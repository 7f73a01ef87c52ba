"""Tools of another library under our journal: reads are recorded, effects go through started, act, done."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from synthon.core.errors import BudgetExceeded, JournalError, Suspended, Uncertain, UserError
from synthon.core.identity import adapter, to_json
from synthon.core.recording import recorded
from synthon.core.running import described
from synthon.core.values import Text, ToolResult
from synthon.journal.effects import effect

Effect = Literal["read", "write", "egress", "exec"]
Act = Callable[[Mapping[str, object]], Awaitable[ToolResult]]
#: What a tool does not answer for.
RUNS_OWN = (UserError, BudgetExceeded, Suspended, Uncertain, JournalError)


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

        async def act(_key: str = "") -> str:
            try:
                result = await self.act(arguments)
            except RUNS_OWN:
                raise
            except Exception as error:  # noqa: BLE001 - the edge of a tool: what it raises is its answer
                result = ToolResult("", (Text(described(error)),), is_error=True)
            return to_json(result, again=True)

        given = json.loads(to_json(arguments, again=True))
        if self.effects & {"write", "egress"}:
            row = await effect(self.name, given, act, honours_key=False)
        else:
            row = await recorded(self.name, given, act, kind="tool", repeats=bool(self.effects))
        found: ToolResult = adapter(ToolResult).validate_json(row)
        return found


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
