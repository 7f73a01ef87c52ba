"""The kernel's seams: what a model, an embedder, a retriever, a tool and a journal must offer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, TypeAlias

from synthon.core.light import dataclass
from synthon.core.values import Capability, Completion, Delta, Passage, Request, ToolResult

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray: TypeAlias = NDArray[np.float32]

Policy = Literal["off", "fresh", "cache", "read_only", "replay_only"]
"""Which rows a run reads and whether it writes: `fresh` (the default) its own, `cache` those of all runs."""
Filter: TypeAlias = Mapping[str, str | int | float | bool | Sequence[str | int | float]]
"""What passages' metadata must be: a value or one of several, or compared by a name such as `"year >="`."""


class Emit(Protocol):
    """Takes the pieces of a streamed answer; called on the loop, never blocks, never raises into the model."""

    @property
    def retractable(self) -> bool:
        """Whether text already emitted can be taken back by a `Delta` with `reset`."""
        ...

    def __call__(self, delta: Delta, /) -> None: ...


class _Discard:
    """Nobody listens."""

    retractable = True

    def __call__(self, delta: Delta, /) -> None:
        """Forget the piece."""


discard: Emit = _Discard()
"""Where pieces go that nobody reads."""


class Model(Protocol):
    """Answers a request. Everything between a program and a provider is one of these."""

    @property
    def name(self) -> str:
        """What people call it; saved programs name models by it."""
        ...

    @property
    def identity(self) -> str:
        """What decides its answers: normalised endpoint and model, or the weights' digest; never a key."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can enforce or report; anything else raises `Unsupported`."""
        ...

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:
        """The whole answer; pieces go to `emit` on the way."""
        ...


class Embedder(Protocol):
    """Turns texts into vectors; vectors of two identities never mix in one index."""

    @property
    def identity(self) -> str:
        """What decides its vectors: the weights' digest, or endpoint and model."""
        ...

    async def embed(self, texts: Sequence[str]) -> FloatArray:
        """Vectors of shape (len(texts), dim), float32, each row of unit length."""
        ...


class Retriever(Protocol):
    """Finds passages."""

    async def search(self, query: str, *, k: int, where: Filter | None = None) -> list[Passage]:
        """At most `k` passages, best first; never fewer while `k` fit the filter."""
        ...


class Tool(Protocol):
    """Something a model may call, in MCP's shape."""

    @property
    def name(self) -> str: ...
    @property
    def description(self) -> str: ...
    @property
    def parameters(self) -> str:
        """JSON schema of its arguments, as text."""
        ...

    async def call(self, arguments: Mapping[str, object]) -> ToolResult:
        """Act, and say what came of it; a tool's own failure is a result with `is_error`."""
        ...


class Key(NamedTuple):
    """Where a row lies: `scope` is a run's id, or empty where runs share; `digest` is a sha256 in hex."""

    scope: str
    digest: str


@dataclass(slots=True)
class Span:
    """A closed piece of work: one row of a trace. Times are seconds since the epoch.

    `inputs` and `output` are JSON text, empty where not kept. `key` names the call's row for `kind="call"`,
    `hit` says that the row was there before, `error` is `Type: message` of what ended it.
    `billed_usd` is money spent now, `cost_usd` what it costs without cache; both None where no price is known.
    """

    id: str
    run: str
    parent: str
    name: str
    kind: Literal["program", "step", "call", "search", "tool", "embed", "check", "span"]
    start: float
    end: float = 0.0
    inputs: str = ""
    output: str = ""
    error: str = ""
    key: str = ""
    hit: bool = False
    tokens_in: int = 0
    tokens_cached: int = 0
    tokens_out: int = 0
    cost_usd: float | None = None
    billed_usd: float | None = None
    attributes: str = ""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """A finished call: its content under `key`, and the span that made it.

    `request` and `completion` are the canonical JSON texts; the digest is computed from the former.
    """

    key: Key
    request: str
    completion: str
    span: Span


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as it starts, ends or is suspended; a later record of the same id replaces the earlier one.

    `source` is where its program is defined, `module:name` or `file.py:name`; with a question mark at its end where the
    program ran under settings that this does not tell, empty where it has no such place.
    """

    id: str
    program: str
    arguments: str
    status: Literal["running", "done", "failed", "cancelled", "suspended"]
    start: float
    end: float = 0.0
    result: str = ""
    error: str = ""
    policy: str = ""
    diverged: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A durable budget's worst case for one call, on disk before the call is sent."""

    run: str
    key: Key
    calls: int
    tokens: int
    usd: float


Record = CallRecord | Span | RunRecord | Reservation


class Journal(Protocol):
    """Keeps what happened. Safe from any thread; `read` sees what `write` was given before, on disk or not."""

    def read(self, key: Key) -> str | None:
        """The completion's JSON text under this key, or None. The first row written for a key is the one kept."""
        ...

    def took(self, key: Key) -> float:
        """Seconds that the call under this key took when it was made; 0.0 where that is not known."""
        ...

    def write(self, record: Record) -> None:
        """Hand a row to the writer; returns at once.

        Raises:
            JournalError: the writer has failed; nothing more is taken.
        """
        ...

    async def durable(self) -> None:
        """Return when all that was written before is fsynced.

        Raises:
            JournalError: a row written before could not be kept.
        """
        ...

    def run(self, run: str) -> RunRecord | None:
        """The newest record of a run, or None."""
        ...

    def digests(self, scope: str) -> frozenset[str]:
        """Digests of all calls kept under a scope."""
        ...

    def inner(self, run: str, outer: AbstractSet[str]) -> frozenset[str]:
        """Digests of a run's calls that were made inside those with the `outer` digests, as parts of them."""
        ...

    def reservations(self, run: str) -> list[Reservation]:
        """All that a run's durable budget ever reserved, in order; what was answered has a row under its key."""
        ...


AnyJournal: TypeAlias = "Journal | str | os.PathLike[str]"  # one, or the path of one
