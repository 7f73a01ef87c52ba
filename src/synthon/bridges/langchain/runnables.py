"""Any runnable of LangChain's as a component of a program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast, overload

from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import TypeAdapter
from pydantic_core import PydanticSerializationError

from synthon.bridges.failures import as_ours
from synthon.bridges.identities import Identity, as_text, identity_of
from synthon.bridges.langchain.quiet import quiet
from synthon.core.errors import UserError
from synthon.core.recording import recorded
from synthon.core.running import span
from synthon.core.settings import current
from synthon.core.values import JSON

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Component(Generic[T]):
    """A runnable of LangChain's, awaited like a function.

    Attributes:
        configurable: its `ConfigurableField`s; values may be knobs.
        identity: None where calls are not recorded as a whole.
        returns: how a row is read.
    """

    runnable: Runnable[Any, Any]
    name: str
    identity: Identity | None
    returns: TypeAdapter[T]
    configurable: Mapping[str, object] = field(default_factory=dict)

    async def __call__(self, given: object) -> T:
        """What the runnable makes of `given`; recorded as one call, unless its parts are.

        Raises:
            UserError: its output has no JSON form that can be read again.
            ProviderError: what LangChain raised.
        """
        values = {name: current(value) for name, value in self.configurable.items()}
        if self.identity is None:
            with span(self.name, "span", given) as opened:
                opened.output = result = await self._invoked(given, values)
                return cast("T", result)
        arguments = {"runnable": as_text(self.identity), "input": _plain(given, self.name), "configurable": values}
        row = await recorded(self.name, arguments, lambda: self._row(given, values), repeats=True)
        return self.returns.validate_json(row)

    async def _invoked(self, given: object, values: Mapping[str, object]) -> object:
        config = RunnableConfig(configurable=dict(values)) if values else None
        with quiet(), as_ours(f"LangChain's {self.name!r}", self.runnable):
            return await self.runnable.ainvoke(given, config)

    async def _row(self, given: object, values: Mapping[str, object]) -> str:
        result = await self._invoked(given, values)
        try:
            row = self.returns.dump_json(self.returns.validate_python(result), by_alias=True).decode()
            self.returns.validate_json(row)
        except (PydanticSerializationError, ValueError) as error:
            msg = (
                f"The runnable {self.name!r} gave {result!r:.200}, which no row can hold ({error}). Name its type, "
                "returns=..., or pass record=False and record what is inside it."
            )
            raise UserError(msg) from error
        return row


def _plain(given: object, name: str) -> JSON:
    """The input as JSON types: it decides the answer.

    Raises:
        UserError: it has no JSON form.
    """
    anything: TypeAdapter[Any] = TypeAdapter(Any)
    try:
        return cast("JSON", anything.dump_python(given, mode="json"))
    except PydanticSerializationError as error:
        msg = f"The runnable {name!r} was given {given!r:.200}, which no row can hold ({error}). Pass plain values."
        raise UserError(msg) from error


@overload
def runnable(
    runnable: Runnable[Any, Any],
    *,
    returns: type[T],
    name: str | None = None,
    identity: Identity | None = None,
    configurable: Mapping[str, object] | None = None,
    record: bool = True,
) -> Component[T]: ...
@overload
def runnable(
    runnable: Runnable[Any, Any],
    *,
    name: str | None = None,
    identity: Identity | None = None,
    configurable: Mapping[str, object] | None = None,
    record: bool = True,
) -> Component[Any]: ...
def runnable(
    runnable: Runnable[Any, Any],
    *,
    returns: object = None,
    name: str | None = None,
    identity: Identity | None = None,
    configurable: Mapping[str, object] | None = None,
    record: bool = True,
) -> object:
    """Any runnable of LangChain's (a chain, a prompt, a parser, an agent) as a component that programs await.

    Args:
        runnable: what it is given at a call goes to its `ainvoke`; sync parts run in threads, by LangChain's rules.
        returns: the type of its output, which rows are read into; left out, what the runnable says, else plain JSON.
        name: of its spans; left out, its own.
        identity: what decides its answers: a text, or a function that gives one at each call. Left out, its class and
            fields as they are now, where they are plain; code in it (a lambda) is not, and needs an identity.
        configurable: values of its `ConfigurableField`s. They may be knobs, which `program.parts()` finds.
        record: False keeps no row of the whole, only a span. So it is right where its models and retrievers are ours
            (`to_model`, `to_retriever`), whose calls are recorded and counted one by one.

    Raises:
        UserError: it is no runnable, or what decides its answers cannot be told.
    """
    if not isinstance(runnable, Runnable):
        msg = f"{runnable!r:.200} is no runnable of LangChain's. Pass a chain, or await a function as it is."
        raise UserError(msg)
    named = name or runnable.get_name()
    known = identity_of(runnable, identity, named) if record else None
    said: Any = _said(runnable) if returns is None else returns
    adapter: TypeAdapter[Any] = TypeAdapter(said)
    return Component(runnable, named, known, adapter, dict(configurable or {}))


def _said(runnable: Runnable[Any, Any]) -> Any:
    """The type of its output as it says, anything where it says none that can be read."""
    try:
        said: Any = runnable.OutputType
        TypeAdapter(said)
    except Exception:  # noqa: BLE001 - a type of the user's own may raise anything
        return Any
    return said
