"""What an agent keeps of its steps, and what it recalls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from synthon.core.identity import digest
from synthon.core.recording import recorded
from synthon.core.running import current_run
from synthon.core.values import Text
from synthon.retrieval.documents import Document
from synthon.retrieval.index import Index

if TYPE_CHECKING:
    from synthon.core.protocols import Retriever
    from synthon.core.values import ToolResult
    from synthon.strategies.moves import Calls


@dataclass(frozen=True, slots=True)
class Memory:
    """Observations in an index, recalled by likeness to the goal; any other retriever is read only.

    What was recalled is journaled, so a resumed run recalls what it did before, whatever the index learned since;
    another run recalls for itself, under `cache` too.

    Attributes:
        over: an `Index`, or any retriever.
        k: passages recalled at once.
    """

    over: Index | Retriever
    k: int = 3

    async def recall(self, goal: str) -> str:
        """What goes with the goal, one passage a line; empty where there is nothing."""

        async def search() -> str:
            found = await self.over.search(goal, k=self.k) if goal.strip() and self._holds_any else []
            return json.dumps([passage.text for passage in found])

        texts: list[str] = json.loads(
            await recorded("recall", {"goal": goal, "k": self.k}, search, repeats=True, own=True)
        )
        return "\n".join(["You remember:", *(f"- {text}" for text in texts)]) if texts else ""

    @property
    def _holds_any(self) -> bool:
        return not isinstance(self.over, Index) or len(self.over) > 0

    async def keep(self, text: str) -> None:
        """Store a text; the same text again is stored once for each run."""
        run = current_run()
        if isinstance(self.over, Index) and text.strip():
            scope = "" if run is None else run.id
            name = f"memory/{scope}/{digest(text)[:16]}"
            await self.over.add(Document(text, name), progress=lambda _: None)

    async def store(self, found: Calls, results: Sequence[ToolResult]) -> None:
        """Keep what each call gave."""
        for call, result in zip(found.calls, results, strict=True):
            said = "\n".join(part.text for part in result.content if isinstance(part, Text))
            await self.keep(f"{call.name} {call.arguments}: {said}")
