"""A program: an ordinary async function over steps, whose parts are visible and whose every call is journaled."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Generic, ParamSpec, TypeVar, cast, overload

from synthon.core.errors import UserError
from synthon.core.parts import Parts, parts_of
from synthon.core.portal import sync
from synthon.core.running import current_run, given, run, running, source_of, span
from synthon.core.saved import read, reduced, save
from synthon.core.settings import Knob, Settings, current, entered
from synthon.core.step import checked
from synthon.core.stream import Stream

if TYPE_CHECKING:
    from pathlib import Path

P = ParamSpec("P")
T = TypeVar("T")
_AS_IT_IS = nullcontext()


@dataclass(frozen=True, eq=False)
class Program(Generic[P, T]):
    """A compound system; made by `@program`, awaited like the function it is.

    Attributes:
        fn: the decorated function.
        uses: parts that its code does not show (passed as arguments, made in the body, looked up by computed names).
    """

    part: ClassVar[str] = "program"
    fn: Callable[P, Awaitable[T]]
    uses: Sequence[object] = ()
    settings: Settings = field(default_factory=dict)
    _knobs: Mapping[str, Knob] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.fn.__name__

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the function under this program's settings; outside a run it is a run of its own.

        The result is returned once every row before it is on disk.
        """
        with entered(self.settings) if self.settings else _AS_IT_IS:
            inputs = self._inputs(args, kwargs)
            if current_run() is None:
                async with running(self.name, inputs, source=source_of(self)) as opened:
                    while True:
                        try:
                            with span(self.name, "program", inputs) as whole:
                                opened.result = whole.output = result = await self.fn(*args, **kwargs)
                        except asyncio.CancelledError:
                            if opened.run.past.retake is None or not opened.run.past.retake.begins(opened.run):
                                raise
                        else:
                            return result
            with span(self.name, "program", inputs) as whole:
                whole.output = result = await self.fn(*args, **kwargs)
                return result

    def _inputs(self, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, object]:
        for name, knob in self._knobs.items():
            if name not in kwargs:
                kwargs[name] = current(knob)
        return given(args, kwargs)

    def sync(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same from ordinary code; a run of its own, under the caller's settings and budget.

        Waits on Synthon's background loop; see `portal.sync` for its limits.
        """
        if current_run() is None:
            return sync(lambda: self(*args, **kwargs))
        return sync(lambda: run(partial(self, *args, **kwargs)))

    def stream(self, *args: P.args, **kwargs: P.kwargs) -> Stream[T]:
        """The pieces of all its steps while it runs, as an async context manager."""
        return Stream(lambda: self(*args, **kwargs))

    def using(self, *candidates: Mapping[str, object] | str | Path, **changes: object) -> Program[P, T]:
        """A copy under other settings: a candidate (names to values), a saved file, or knobs by name.

        `model=` is the model of steps that name none. The innermost `.using` wins.

        Raises:
            UserError: a name that this program does not have.
        """
        parts = self.parts()
        return replace(self, settings={**self.settings, **parts.resolve(read(parts, candidates), changes)})

    def parts(self) -> Parts:
        """Its steps, nested programs and settings, in source order; looked up afresh at each call."""
        return parts_of(self)

    def save(self, path: str | Path) -> None:
        """Write its settings as plain JSON; `.using(path)` reads them, in any process."""
        save(self, path)

    def __reduce__(self) -> tuple[object, ...]:
        return reduced(self)


@overload
def program(fn: Callable[P, Awaitable[T]], /) -> Program[P, T]: ...
@overload
def program(*, uses: Sequence[object] = ()) -> Callable[[Callable[P, Awaitable[T]]], Program[P, T]]: ...
def program(fn: Callable[..., Awaitable[object]] | None = None, /, *, uses: Sequence[object] = ()) -> object:
    """Make an async function a program. Knobs are keyword parameters whose default is a knob.

    Args:
        fn: an `async def`.
        uses: steps and programs its code does not show by name.

    Raises:
        UserError: no async function, or a knob on a positional parameter.
    """
    if fn is None:
        return partial(_made, uses=uses)
    return _made(fn, uses)


def _made(fn: Callable[..., Awaitable[object]], uses: Sequence[object]) -> Program[..., object]:
    checked(fn, "program")
    parameters = inspect.signature(fn).parameters.values()
    for each in parameters:
        if isinstance(each.default, Knob) and each.kind is not each.KEYWORD_ONLY:
            msg = f"@sy.program {fn.__name__!r} has the knob {each.name!r} among its positional parameters. "
            raise UserError(
                f"{msg}Write a star before it: async def {fn.__name__}(..., *, {each.name}={each.default!r})."
            )
    knobs = {parameter.name: parameter.default for parameter in parameters if isinstance(parameter.default, Knob)}
    return Program(fn, tuple(uses), {}, cast("Mapping[str, Knob]", knobs))
