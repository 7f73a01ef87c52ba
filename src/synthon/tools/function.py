"""A typed function as a tool."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Generic, Literal, ParamSpec, Protocol, TypeVar, cast, get_args, overload

from synthon.core.errors import ToolFailed, UserError
from synthon.core.identity import to_json
from synthon.core.running import span
from synthon.core.settings import Knob
from synthon.core.values import ToolResult
from synthon.tools.acting import UNDECLARED, Effect, failed, outcome, performed, value_as
from synthon.tools.arguments import Arguments, arguments_of
from synthon.tools.contents import MAX_BYTES, contents, failure
from synthon.tools.threads import threaded

P = ParamSpec("P")
T = TypeVar("T")
_OPTIONS = ("effects", "name", "description", "timeout_s", "max_bytes", "honours_key")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, eq=False)
class FunctionTool(Generic[P, T]):
    """A typed function that a model may call, and a program too: `await weather("Bern")`; made by `@tool`.

    Every call is a row of the journal and a span of kind `tool`. A function that is not async runs in a thread. A step
    or a program as a tool is not journaled as a whole: the calls inside it are.

    Attributes:
        fn: the decorated function.
        name: what a model calls it.
        description: the docstring.
        parameters: JSON schema of its arguments, as text.
        arguments: the types behind that schema.
        effects: what it does to the world; none means that its arguments alone decide its value.
        timeout_s: a call that takes longer is a failure; a function in a thread goes on behind it. Steps and programs
            have all the time they want.
        max_bytes: of text that a model is shown of its value.
        honours_key: whether two calls with the same idempotency key act once.
        identity: what decides its value beside its arguments, e.g. a path; part of the rows' keys, unseen by a model.
        rows: whether runs share its rows under `cache` ("shared"), each run has its own, or what it calls keeps them
            ("inside").
    """

    journals: ClassVar[bool] = True
    fn: Callable[P, Awaitable[T] | T]
    name: str
    description: str
    parameters: str
    arguments: Arguments = field(repr=False)
    effects: frozenset[Effect] = UNDECLARED
    timeout_s: float | None = 30.0
    max_bytes: int = MAX_BYTES
    honours_key: bool = False
    identity: str = ""
    rows: Literal["shared", "own", "inside"] = "shared"

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it from a program; what it does is journaled as when a model calls it.

        Raises:
            ToolFailed: it raised, or took too long; a resumed run raises it again.
            UserError: its value is not of the type it declares.
        """
        bound = inspect.signature(_plain(self.fn)).bind(*args, **kwargs)
        bound.apply_defaults()
        hidden = (self.arguments.key, *(name for name, value in bound.arguments.items() if isinstance(value, Knob)))
        given = {name: _plain_default(name, value) for name, value in bound.arguments.items() if name not in hidden}
        row = await self._performed(given)
        if said := failed(row):
            raise ToolFailed(f"Tool {self.name!r} failed on {to_json(given)[:200]}: {said}", tool=self.name)
        return self._value(row)

    async def call(self, arguments: Mapping[str, object]) -> ToolResult:
        """Call it for a model: arguments are held against their schema, and what fails is a result to learn from.

        Raises:
            UserError: its value is not of the type it declares.
        """
        try:
            given = self.arguments.validated(arguments)
        except ValueError as error:
            with span(self.name, "tool", arguments) as opened:
                opened.output = result = failure(
                    f"Wrong arguments for {self.name!r}: {error}. They must fit {self.parameters}"
                )
                return result
        row = await self._performed(given)
        if said := failed(row):
            return failure(said)
        return ToolResult("", contents(self._value(row), self.max_bytes))

    @property
    def _is_part(self) -> bool:
        """Whether it is a step or a program, whose own calls are rows, so that a kill inside is no doubt."""
        return hasattr(type(self.fn), "part")

    async def _performed(self, given: Mapping[str, Any]) -> str:
        async def act(key: str) -> object:
            keyed = {**given, self.arguments.key: key} if self.arguments.key else given
            fn = cast("Callable[..., object]", self.fn)
            is_async = self._is_part or inspect.iscoroutinefunction(fn)
            value = fn(**keyed) if is_async else await threaded(fn, **keyed)
            value = await value if inspect.isawaitable(value) else value
            if isinstance(value, bytes) and self.arguments.returns is bytes:
                return value.decode(errors="surrogateescape")  # as half characters, which `value_as` reads
            return value

        if self._is_part or self.rows == "inside":
            return await outcome(act, "", self.effects, self.timeout_s)
        identity = {"@": self.identity} if self.identity else {}  # no parameter is called so
        return await performed(
            self.name,
            json.loads(to_json({**given, **identity}, again=True)),
            act,
            effects=self.effects,
            honours_key=self.honours_key,
            timeout_s=self.timeout_s,
            own=self.rows == "own",
        )

    def _value(self, row: str) -> T:
        try:
            return cast("T", value_as(self.arguments.returns, row))
        except ValueError as error:
            msg = (
                f"Tool {self.name!r} returned what is no {self.arguments.returns!r}: {error}. "
                "Mend its return annotation, or what it returns."
            )
            raise UserError(msg) from error


def _plain_default(name: str, value: object) -> object:
    """A value given or left out; that of Pydantic's `Field(...)` is what it holds."""
    from pydantic.fields import FieldInfo  # noqa: PLC0415 - Pydantic's heavy half, which the tool's schema has loaded

    if not isinstance(value, FieldInfo):
        return value
    if value.is_required():
        raise TypeError(f"missing a required argument: {name!r}")
    return value.get_default(call_default_factory=True)


def _plain(fn: Any) -> Callable[..., Any]:
    """The function itself, also of a step or a program."""
    return cast("Callable[..., Any]", getattr(fn, "fn", fn))


class _Decorator(Protocol):
    @overload
    def __call__(self, fn: Callable[P, Awaitable[T]], /) -> FunctionTool[P, T]: ...
    @overload
    def __call__(self, fn: Callable[P, T], /) -> FunctionTool[P, T]: ...


@overload
def tool(fn: Callable[P, Awaitable[T]], /) -> FunctionTool[P, T]: ...
@overload
def tool(fn: Callable[P, T], /) -> FunctionTool[P, T]: ...
@overload
def tool(
    *,
    effects: Collection[Effect] = UNDECLARED,
    name: str | None = None,
    description: str | None = None,
    timeout_s: float | None = 30.0,
    max_bytes: int = MAX_BYTES,
    honours_key: bool = False,
) -> _Decorator: ...
def tool(fn: Callable[..., object] | None = None, /, **options: Any) -> object:
    """Make a typed function a tool: its docstring tells a model what it is for, its annotations are the schema.

    Args:
        fn: a function, async or not, whose parameters all have names and types; or a step or a program.
        options: see `FunctionTool`. Without `effects` it is taken to write, the careful choice: such calls keep their
            order, and after a kill none is repeated by guess. `effects={"read"}` runs side by side and again,
            `effects=()` says that equal calls have equal values. A keyword parameter annotated `sy.IdempotencyKey`
            gets the call's key and means `honours_key`.

    Raises:
        UserError: a parameter without a type; an effect, a name or an option that there is not.
    """
    if unknown := sorted(options.keys() - _OPTIONS):
        msg = f"@sy.tool has no option {', '.join(map(repr, unknown))}; there are {', '.join(map(repr, _OPTIONS))}."
        raise UserError(msg)
    if fn is None:
        return partial(_made, options=options)
    return _made(fn, options, 2)


def _made(fn: Callable[..., Any], options: Mapping[str, Any], depth: int = 1) -> FunctionTool[..., Any]:
    plain = _plain(fn)
    name = str(options.get("name") or getattr(plain, "__name__", ""))
    effects = frozenset(options.get("effects", UNDECLARED))
    description = inspect.cleandoc(options.get("description") or plain.__doc__ or "")
    problem = ""
    if not hasattr(plain, "__name__"):
        problem = "it has no signature and docstring of its own; call it in a function with both, and make that a tool"
    elif not _NAME.fullmatch(name):
        problem = f"{name!r} is no name that models can call; use letters, digits, _ and -, at most 64: name=..."
    elif not effects <= set(get_args(Effect)):
        problem = f"there is no effect {sorted(effects - set(get_args(Effect)))}; there are {list(get_args(Effect))}"
    elif not description:
        problem = "it has no docstring, which tells a model what it is for (python -OO takes them away)"
    if problem:
        raise UserError(f"@sy.tool cannot take {fn!r}: {problem}.")
    frame = sys._getframe(depth)  # noqa: SLF001 - annotations may name the caller's locals
    scope = dict(frame.f_locals) if frame.f_locals is not frame.f_globals else {}
    found = arguments_of(plain, scope, name)
    own = {option: value for option, value in options.items() if option in {"timeout_s", "max_bytes"}}
    if plain is not fn:
        own.setdefault("timeout_s", None)
    honours_key = bool(options.get("honours_key") or found.key)
    return FunctionTool(fn, name, description, found.schema, found, effects, honours_key=honours_key, **own)
