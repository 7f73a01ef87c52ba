"""Models for tests: a function as a model, and recorded answers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from synthon.core.errors import UserError
from synthon.core.identity import canonical, digest, dumps, load_completion, safe_repr, with_sample
from synthon.core.protocols import Emit, discard
from synthon.core.values import Capability, Completion, Delta, Request
from synthon.wrappers.soundness import told

if TYPE_CHECKING:
    from synthon.core.constraints import Constraint, Soundness

Answer = str | Completion


@dataclass(frozen=True)
class FunctionModel:
    """A plain function as a model; streams its text word by word. Wrap it in `Journaled` to keep its calls.

    By default its identity is its name and where the function is defined, which is the same in every process, so that
    a run resumes; two functions that one place makes need names of their own. A `functools.partial` adds its arguments.
    Of an object that is called, its class stands for the place; while it has no name of its own, its attributes
    at the start are added. With a name they are not: they hold counters, logs and paths too, which the next process
    would have otherwise.

    Args:
        function: from a request to a text or a completion, sync or async.
        identity: what its answers depend on.
        counts: that budgets need not see it, for it asks nobody, or journaled models only.

    Raises:
        UserError: such arguments or attributes are no JSON, so that nothing tells the model from others of its kind.
    """

    function: Callable[[Request], Answer | Awaitable[Answer]]
    name: str = "function"
    identity: str = ""
    capabilities: frozenset[Capability] = field(default_factory=lambda: frozenset({"chat"}))
    counts: bool = False

    def __post_init__(self) -> None:
        if not self.identity:
            place = _place(self.function, is_named=self.name != "function")
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


def _place(function: object, *, is_named: bool) -> str:
    """Where a callable is defined, and what it was made with."""
    if isinstance(function, partial):
        made_with = [function.args, dict(sorted(function.keywords.items()))]
        return _place(function.func, is_named=is_named) + _told(function, made_with)
    if code := getattr(function, "__code__", None):
        return f"{getattr(function, '__module__', '')}:{code.co_qualname}:{code.co_firstlineno}"
    kind: Any = function if hasattr(function, "__qualname__") else type(function)  # str and repr have no code
    place = f"{kind.__module__}:{kind.__qualname__}"
    return place if is_named or kind is function else place + _told(function, getattr(function, "__dict__", function))


def _told(function: object, made_with: object) -> str:
    try:
        return f":{dumps(made_with)}"
    except UserError as error:
        raise UserError(
            f"FunctionModel was given {safe_repr(function)[:200]}, which holds what is no JSON, so that the journal "
            "could take another's answers for its own. Pass identity= with a text that says what its answers depend on."
        ) from error


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
