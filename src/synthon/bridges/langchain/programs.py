"""Our steps and programs as LangChain's runnables."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from functools import partial
from types import SimpleNamespace, UnionType
from typing import Any, Union, cast, get_args, get_origin, get_type_hints

from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import BaseModel, RootModel, create_model

from synthon.core.errors import UserError
from synthon.core.portal import sync
from synthon.core.program import Program
from synthon.core.settings import Knob
from synthon.core.step import Step
from synthon.core.stream import Stream


class SynthonRunnable(Runnable[Any, Any]):
    """A runnable of LangChain's that a step or a program of ours answers."""

    def __init__(self, part: Step[..., Any] | Program[..., Any]) -> None:
        self.part = part
        self.name = part.name
        self.hints = _hints(part.fn, dict(getattr(part, "scope", {})))
        self.parameters = inspect.signature(part.fn).parameters

    @property
    def InputType(self) -> Any:  # noqa: N802 - LangChain's name
        """One parameter's own type, else a mapping by name; a mapping by name is always taken."""
        if len(self.parameters) == 1:
            return self.hints.get(next(iter(self.parameters)), Any)
        return dict[str, Any]

    @property
    def OutputType(self) -> Any:  # noqa: N802 - LangChain's name
        """What it returns."""
        return self.hints.get("return", Any)

    def get_input_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:  # noqa: ARG002 - LangChain's
        """Its parameters as fields; knobs are optional and show their default."""
        fields: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            default = parameter.default.default if isinstance(parameter.default, Knob) else parameter.default
            fields[name] = (self.hints.get(name, Any), ... if default is parameter.empty else default)
        return create_model(f"{self.name}_input", **fields)

    def get_output_schema(self, config: RunnableConfig | None = None) -> type[BaseModel]:  # noqa: ARG002 - same
        """What it returns, as a model."""
        said = self.OutputType
        if isinstance(said, type) and issubclass(said, BaseModel):
            return said
        return create_model(f"{self.name}_output", __base__=RootModel[said])  # type: ignore[valid-type]  # made at run time

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - same
        """Its result; waits on Synthon's background loop."""
        return self._call_with_config(lambda given: sync(lambda: self._called(given)), input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:  # noqa: A002 - same
        """Its result."""
        return await self._acall_with_config(self._called, input, config, **kwargs)

    async def _called(self, given: Any) -> Any:
        return await self.part(**self._arguments(given))

    async def astream(
        self,
        input: Any,  # noqa: A002 - same
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """The text of a step that returns text, piece by piece as it stands; of anything else the result."""

        async def inputs() -> AsyncIterator[Any]:
            yield input

        async for piece in self._atransform_stream_with_config(inputs(), self._pieces, config, **kwargs):
            yield piece

    async def _pieces(self, inputs: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for given in inputs:
            arguments = self._arguments(given)
            if not (isinstance(self.part, Step) and self.OutputType is str):
                yield await self.part(**arguments)
                return
            start = cast("Callable[[], Any]", partial(self.part, **arguments))
            async with Stream(start, retractable=False) as stream:
                async for delta in stream:
                    if delta.text:
                        yield delta.text
                await stream.result()

    def _arguments(self, given: object) -> dict[str, Any]:
        """The arguments in what LangChain passes: by name, or the value of the only one that must be given.

        Raises:
            UserError: neither.
        """
        names = list(self.parameters)
        required = [name for name, own in self.parameters.items() if own.default is own.empty]
        if isinstance(given, Mapping) and set(required) <= set(given) <= set(names):
            return dict(given)
        first = required[0] if len(required) == 1 else names[0] if names and not required else None
        misnamed = isinstance(given, Mapping) and (
            set(given) & set(names) or not _takes_mapping(self.hints.get(first or "", Any))
        )
        if first is None or misnamed:
            msg = f"{self.name!r} was given {given!r:.200}. Pass a mapping with {required}, of {names}."
            raise UserError(msg)
        return {first: given}


def _hints(fn: Callable[..., object], scope: dict[str, object]) -> dict[str, Any]:
    """A function's annotations, without those whose names only its maker's scope holds."""
    found: dict[str, Any] = {}
    for name, hint in inspect.get_annotations(fn).items():
        with suppress(NameError):
            found |= get_type_hints(
                SimpleNamespace(__annotations__={name: hint}), getattr(fn, "__globals__", {}), scope
            )
    return found


def _takes_mapping(hint: object) -> bool:
    """Whether a mapping may be a value of this type."""
    kind = get_origin(hint) or hint
    if kind in {Union, UnionType}:
        return any(map(_takes_mapping, get_args(hint)))
    return kind in {Any, object} or not isinstance(kind, type) or issubclass(kind, Mapping)


def to_runnable(part: Step[..., Any] | Program[..., Any]) -> Runnable[Any, Any]:
    """A step or a program of ours as a runnable for LangChain: invoke, batch, stream, with typed schemas.

    It is given a mapping of arguments by name, or the one argument that must be given. A step that returns text streams
    it; anything else comes whole.

    Raises:
        UserError: it is neither.
    """
    if not isinstance(part, Step | Program):
        msg = f"{part!r:.200} is no step and no program. Decorate it with @sy.program, or use a RunnableLambda."
        raise UserError(msg)
    return SynthonRunnable(part)
