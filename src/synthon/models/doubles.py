"""Models for tests: a function as a model, and recorded answers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from synthon.core.errors import UserError
from synthon.core.identity import canonical, digest, load_completion, with_sample
from synthon.core.protocols import Emit, discard
from synthon.core.values import Capability, Completion, Delta, Request
from synthon.models._constraints import told

if TYPE_CHECKING:
    from synthon.core.constraints import Constraint, Soundness

Answer = str | Completion


@dataclass(frozen=True)
class FunctionModel:
    """A plain function as a model; streams its text word by word. Wrap it in `Journaled` to keep its calls.

    Args:
        function: from a request to a text or a completion, sync or async.
        identity: what its answers depend on; by default its name, and where the function is defined.
    """

    function: Callable[[Request], Answer | Awaitable[Answer]]
    name: str = "function"
    identity: str = ""
    capabilities: frozenset[Capability] = field(default_factory=lambda: frozenset({"chat"}))

    def __post_init__(self) -> None:
        if not self.identity:
            code = getattr(self.function, "__code__", None)
            module = getattr(self.function, "__module__", "")
            place = f"{module}:{code.co_qualname}:{code.co_firstlineno}" if code else type(self.function).__qualname__
            object.__setattr__(self, "identity", f"function:{self.name}:{place}")

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        """What the function says.

        Raises:
            UserError: that is neither a text nor a completion.
        """
        answer = self.function(request)
        said = await answer if inspect.isawaitable(answer) else answer
        completion = Completion(said, model=self.name) if isinstance(said, str) else said
        if not isinstance(completion, Completion):
            raise UserError(f"FunctionModel {self.name!r} answered {said!r}. Return a text or a sy.Completion.")
        if emit is not discard:
            for word in _pieces(completion.text):
                emit(Delta(text=word))
        return completion


def _pieces(text: str) -> list[str]:
    return [piece for piece in text.replace(" ", "\0 ").split("\0") if piece]


@dataclass(frozen=True)
class Recorded:
    """Answers recorded earlier, by request; a request that was not recorded raises."""

    name: str
    identity: str
    rows: Mapping[str, str]
    capabilities: frozenset[Capability] = field(default_factory=lambda: frozenset({"chat"}))

    @classmethod
    def load(cls, path: str | Path, *, name: str, identity: str) -> Recorded:
        """The calls in a file of JSON lines that `synthon trace export` wrote.

        Raises:
            UserError: a line is no exported row.
        """
        rows: dict[str, str] = {}
        # not splitlines: an answer may hold other line ends
        for number, line in enumerate(Path(path).read_text(encoding="utf-8").split("\n"), 1):
            if not line:
                continue
            try:
                row = json.loads(line)
                if row.get("kind") == "call" and row["output"]:
                    rows[row["key"]] = json.dumps(row["output"])
            except (ValueError, KeyError, AttributeError) as error:
                msg = f"{str(path)!r} line {number} is no row ({error}). Write the file with `synthon trace export`."
                raise UserError(msg) from error
        return cls(name, identity, rows)

    def soundness(self, constraint: Constraint) -> tuple[Soundness, ...]:
        """Nothing is enforced: a row holds what was found unmet when it was recorded."""
        return told(constraint, "checked", f"{self.name!r} answers as recorded")

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        """The recorded answer.

        Raises:
            UserError: there is none.
        """
        text = with_sample(canonical(self.identity, request), request.sample)
        row = self.rows.get(digest(text))
        if row is None:
            raise UserError(
                f"{self.name!r} has no recorded answer for {text[:200]!r} among {len(self.rows)} rows. Record it first."
            )
        completion = load_completion(row)
        if emit is not discard and completion.text:
            emit(Delta(text=completion.text))
        return completion
