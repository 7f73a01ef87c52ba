"""Sessions: programs that write a conversation piece by piece, with holes that the model fills."""

from __future__ import annotations

from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Self, cast

from synthon.core.errors import OutputError, Unsupported, UserError
from synthon.core.output import Output
from synthon.core.protocols import Emit, discard
from synthon.core.running import new_id, sink, span
from synthon.core.settings import MODEL, ambient, current
from synthon.core.stream import Draft
from synthon.core.values import Delta, Message, Request
from synthon.models import selecting
from synthon.wrappers.soundness import given, judged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from synthon.core.constraints import Constraint
    from synthon.core.protocols import Model
    from synthon.core.values import Role, Score
    from synthon.models.selecting import Normalize, Weights
    from synthon.wrappers.decoders import Decoder


def session(model: Model | None = None, *, system: str = "", name: str = "session") -> Session:
    """A conversation to write in, as an async context manager; one span in the trace.

        async with sy.session(model) as s:
            s.text("Name a river of France. ")
            river = await s.gen("river", constraint=sy.regex("[A-Z][a-z]+"), max_tokens=8)
            s.text(" flows into the ")
            sea = await s.select("sea", ["Atlantic", "Mediterranean"])

    Each hole is one call of the model, kept in the journal as any other, and the local engine computes only what
    is new since the one before (LMQL, Beurer-Kellner 2022, arXiv:2212.06094; SGLang, Zheng 2024, arXiv:2312.07104).

    Args:
        model: may be a knob; None is the program's own model, set by `.using(model=...)`.
        system: the system's message.
        name: what the trace and streams call it.
    """
    return Session(model, system, name)


class Session:
    """A conversation being written. Unlike other values it changes: pieces are added to it, and `fork` copies it.

    The first text is the user's; what a hole is filled with is the assistant's, and text after it goes on with the
    assistant's turn, until `user` begins another. A model that cannot go on with the beginning of its own turn
    (capability `fork`) raises `Unsupported` at a hole in mid-turn.

    A stream of the program hears all that the assistant says here, given or generated.
    """

    def __init__(self, model: Model | None, system: str, name: str) -> None:
        self._wanted, self._name = model, name
        self._turns: list[tuple[Role, str]] = [("system", system)] if system else []
        self._values: dict[str, str] = {}
        self._branches: list[Session] = []
        self._is_open = self._is_busy = False

    async def __aenter__(self) -> Self:
        model = current(ambient().get(MODEL)) if self._wanted is None else current(self._wanted)
        if model is None:
            raise UserError(
                f"The session {self._name!r} has no model. Pass sy.session(model), or call program.using(model=...)."
            )
        if not hasattr(model, "complete"):
            raise UserError(f"The session {self._name!r} has {model!r:.200} for a model. Pass one: sy.local(), ...")
        self._model, self._is_open = cast("Model", model), True
        self._span = span(self._name, "span").__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
        self._span.output = self._values
        self._span.__exit__(kind, error, trace)

    def _close(self) -> None:
        self._is_open = False
        for branch in self._branches:
            branch._close()  # noqa: SLF001 - of the same class

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation so far."""
        return tuple(Message(role, text) for role, text in self._turns)

    @property
    def values(self) -> Mapping[str, str]:
        """What the holes were filled with, by name; the last one of a name."""
        return dict(self._values)

    def __getitem__(self, name: str) -> str:
        if name not in self._values:
            raise UserError(f"The session {self._name!r} has no {name!r}. It has {', '.join(self._values) or 'none'}.")
        return self._values[name]

    def system(self, text: str = "") -> None:
        """Begin the system's turn, or go on with it."""
        self._say("system", text)

    def user(self, text: str = "") -> None:
        """Begin the user's turn, or go on with it."""
        self._say("user", text)

    def assistant(self, text: str = "") -> None:
        """Begin the assistant's turn, or go on with it."""
        self._say("assistant", text)

    def text(self, text: str) -> None:
        """Go on with the turn that was begun last; the first one, or one after the system's, is the user's."""
        last = self._turns[-1][0] if self._turns else "system"
        self._say("user" if last == "system" else last, text)

    def _say(self, role: Role, text: str, emit: Emit | None = None) -> None:
        self._check()
        said: object = text
        if not isinstance(said, str):
            raise UserError(f"The session {self._name!r} cannot say {said!r:.200}, which is no text. Pass a str.")
        before = self._turns.pop()[1] if self._turns and self._turns[-1][0] == role else ""
        self._turns.append((role, before + text))
        if role == "assistant" and text:
            (emit or self._stream(self._name))(Delta(text))

    def _stream(self, name: str) -> Emit:
        """Who listens to one piece of the assistant's."""
        listener = sink.get()
        return discard if listener is None else listener.of(name, new_id(), Output[object](str, name))

    async def gen(
        self,
        name: str,
        *,
        constraint: Constraint | None = None,
        max_tokens: int | None = None,
        stop: str | Sequence[str] = (),
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        seed: int | None = None,
        decoder: Decoder | None = None,
    ) -> str:
        """Have the model go on; its text is the assistant's, returned and kept under the name.

        Args:
            stop: texts before which it ends; they are no part of it.
            decoder: a search such as `sy.beam(4)`.

        Raises:
            OutputError: the text does not keep to the constraint: it was cut off, or only checked after.
            Unsupported: the model cannot do what is asked.
        """
        ends = (stop,) if isinstance(stop, str) else tuple(stop)
        sampling = temperature, max_tokens, top_p, top_k, min_p, ends, seed
        request = Request(self._prompt(), *sampling, constraint=constraint)
        if decoder is not None and not hasattr(decoder, "over"):
            raise UserError(
                f"{name!r} in the session {self._name!r} has decoder={decoder!r:.200}. Pass sy.beam(4), ..."
            )
        model = self._model if decoder is None else decoder.over(self._model)
        asked = request if getattr(model, "soundness", None) is not None else given(model, request)
        emit = self._stream(name)
        draft = Draft(emit, hold=constraint is not None)
        with self._filling(draft):
            completion = await model.complete(asked, emit if emit is discard else draft)
            if asked is not request:
                completion = judged(completion, request)
            if completion.unmet:
                raise OutputError(
                    f"What fills {name!r} in the session {self._name!r} does not keep to its constraint: "
                    f"{completion.unmet} It ended by {completion.finish!r}: {completion.text!r}. Raise max_tokens, "
                    "or use a model that enforces it.",
                    text=completion.text,
                    expected=completion.unmet,
                )
            draft.keep()
        return self._keep(name, completion.text, discard)

    async def select(
        self, name: str, options: Sequence[str], *, normalize: Normalize = "sum", baseline: str | Sequence[Message] = ()
    ) -> str:
        """Have the model go on with one of the options; see `sy.select`.

        Raises:
            Unsupported: the model cannot score.
        """
        prompt = self._prompt()
        with self._filling(Draft(discard)):
            picked = await selecting.select(self._model, prompt, options, normalize=normalize, baseline=baseline)
        return self._keep(name, picked.option, self._stream(name))

    async def score(self, texts: Sequence[str]) -> tuple[Score, ...]:
        """The log-probability of each text as what the model says next; nothing is said."""
        return await selecting.score(self._model, self._prompt(), texts)

    async def distribution(
        self, options: Sequence[str], *, normalize: Weights = "sum", baseline: str | Sequence[Message] = ()
    ) -> dict[str, float]:
        """How likely each option is as what the model says next; sums to 1, nothing is said. See `sy.distribution`."""
        prompt = self._prompt()
        return await selecting.distribution(self._model, prompt, options, normalize=normalize, baseline=baseline)

    def fork(self, n: int) -> list[Session]:
        """Copies of the session that share all that was said and kept so far and go their own ways from here.

        Run them together with `asyncio.gather`; they end with the session they come from, or with `join`.

        Raises:
            UserError: `n` is no number of copies.
        """
        self._check()
        if type(n) is not int or n < 0:
            raise UserError(f"The session {self._name!r} cannot fork({n!r}). Pass how many copies: 1, 2, ...")
        branches: list[Session] = [copy(self) for _ in range(n)]
        for branch in branches:
            branch._turns, branch._values, branch._branches = [*self._turns], {**self._values}, []  # noqa: SLF001 - same
        self._branches += branches
        return branches

    def join(self, branches: Sequence[Session]) -> dict[str, list[str]]:
        """What the branches kept and this session has not, by name, in the branches' order; they end with this.

        Their text stays theirs, as in SGLang: say of it what is wanted.
        """
        gathered: dict[str, list[str]] = {}
        for branch in branches:
            branch._check()  # noqa: SLF001 - same
            branch._close()  # noqa: SLF001 - same
            for name, value in branch.values.items():
                if name not in self._values:
                    gathered.setdefault(name, []).append(value)
        return gathered

    def _prompt(self) -> tuple[Message, ...]:
        """The messages to go on from; an assistant's turn of which nothing is said yet begins with the answer."""
        self._check()
        messages = self.messages
        if messages and messages[-1] == Message("assistant", ""):
            return messages[:-1]
        if messages and messages[-1].role == "assistant" and "fork" not in self._model.capabilities:
            raise Unsupported(
                f"The model {self._model.name!r} cannot go on with the beginning of its own turn (capability 'fork'), "
                f"which the session {self._name!r} asks for after {messages[-1].text[-40:]!r}. Begin a turn with "
                "`user(...)` first, or use sy.local() or sy.openai(..., server='vllm')."
            )
        return messages

    def _keep(self, name: str, text: str, emit: Emit) -> str:
        self._say("assistant", text, emit)
        self._values[name] = text
        return text

    def _check(self) -> None:
        if not self._is_open or self._is_busy:
            raise UserError(
                f"The session {self._name!r} is {'filling a hole' if self._is_busy else 'not open'}. Write in it in "
                "`async with sy.session(model) as s:`, one hole after another; `s.fork(n)` gives several at once."
            )

    @contextmanager
    def _filling(self, draft: Draft) -> Iterator[None]:
        """One hole at a time; what streamed of one that fails is taken back."""
        self._is_busy = True
        try:
            yield
        except BaseException:
            draft.withdraw()
            raise
        finally:
            self._is_busy = False
