"""Knobs and the settings that turn them: values keyed by knob, carried by a context variable, never by programs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol, TypeVar, cast, overload

from synthon.core.errors import UserError

if TYPE_CHECKING:
    from synthon.core.render import Demo

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
G = TypeVar("G")
H = TypeVar("H")
T = TypeVar("T")
N = TypeVar("N", int, float)


class Knob:
    """A value to be chosen: one of `values`, or a number in `low..high`; unset, it is the first value.

    A knob is worth something only where a program or a step reads it: in a program's signature or a decorator's
    argument. Used as a bare value it raises `UserError`.
    """

    __slots__ = ("high", "integer", "log", "low", "values")

    def __init__(
        self,
        values: Sequence[object],
        *,
        low: float | None = None,
        high: float | None = None,
        log: bool = False,
        integer: bool = False,
    ) -> None:
        self.values = tuple(values)
        self.low, self.high, self.log, self.integer = low, high, log, integer

    @property
    def default(self) -> object:
        """The value without settings."""
        return self.values[0]

    def __repr__(self) -> str:
        if self.low is not None:
            return f"between({self.low!r}, {self.high!r})"
        return f"knob({', '.join(repr(value) for value in self.values)})"

    def _bare(self, *_: object) -> NoReturn:
        raise UserError(
            f"{self!r} was used as a value. A knob stands in a program's signature or a decorator's argument "
            "(a model or strategy of your own reads it with sy.current):\n"
            f"  wrong:  k = {self!r}; await index.search(question, k=k + 1)\n"
            f"  right:  @sy.program\n          async def ask(question: str, *, k: int = {self!r}): ..."
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _bare
    __lt__ = __le__ = __gt__ = __ge__ = __bool__ = __int__ = __float__ = __index__ = __len__ = __iter__ = _bare
    __getitem__ = __contains__ = __call__ = __neg__ = __floordiv__ = __mod__ = __pow__ = __format__ = _bare


class Slot(NamedTuple):
    """A setting of one step that is no knob object: its instruction, model, demos, strategy or sampling."""

    fn: Callable[..., object]
    name: str


MODEL = Slot(cast("Callable[..., object]", None), "model")
"""The model of steps that name none."""

Setting = Knob | Slot
Settings = Mapping[Setting, object]
_ambient: ContextVar[Settings] = ContextVar("synthon_settings", default=MappingProxyType({}))


def ambient() -> Settings:
    """The settings in force here."""
    return _ambient.get()


@contextmanager
def entered(settings: Settings) -> Iterator[None]:
    """Put settings over those in force; the innermost wins."""
    token = _ambient.set({**_ambient.get(), **settings})
    try:
        yield
    finally:
        _ambient.reset(token)


def current(value: T) -> T:
    """What a knob is set to here; anything else is itself."""
    found: object = value
    while isinstance(found, Knob):
        found = _ambient.get().get(found, found.values[0])
    return cast("T", found)


def _choice(values: Sequence[object], what: str) -> Knob:
    if not values:
        raise UserError(f"{what}() has no value to choose from. Pass at least one; the first is the default.")
    return Knob(values)


def knob(first: T, *rest: T) -> T:
    """One of the given values, to be chosen by an optimizer or by `.using`; the first is the default."""
    return cast("T", _choice((first, *rest), "knob"))


@overload
def one_of(a: A, b: B, /) -> A | B: ...
@overload
def one_of(a: A, b: B, c: C, /) -> A | B | C: ...
@overload
def one_of(a: A, b: B, c: C, d: D, /) -> A | B | C | D: ...
@overload
def one_of(a: A, b: B, c: C, d: D, e: E, /) -> A | B | C | D | E: ...
@overload
def one_of(a: A, b: B, c: C, d: D, e: E, f: F, /) -> A | B | C | D | E | F: ...
@overload
def one_of(a: A, b: B, c: C, d: D, e: E, f: F, g: G, /) -> A | B | C | D | E | F | G: ...
@overload
def one_of(a: A, b: B, c: C, d: D, e: E, f: F, g: G, h: H, /) -> A | B | C | D | E | F | G | H: ...
@overload
def one_of(first: T, /, *rest: T) -> T: ...
def one_of(*values: object) -> object:
    """One of the given models, strategies or other values, each of its own type; the first is the default."""
    return _choice(values, "one_of")


def between(low: N, high: N, *, default: N | None = None, log: bool = False) -> N:
    """A number in `low..high`, both included; `default` is `low` unless given, `log` searches by magnitude.

    Raises:
        UserError: the range is empty, the default outside it, or `log` with a bound that is not positive.
    """
    first = low if default is None else default
    if not low <= first <= high or (log and low <= 0):
        given = f"between({low!r}, {high!r}, default={default!r}, log={log})"
        raise UserError(f"{given} is no range. Pass low <= default <= high, and low above 0 for log.")
    integer = all(isinstance(bound, int) for bound in (low, high))
    return cast("N", Knob((first,), low=low, high=high, log=log, integer=integer))


class Demos(Protocol):
    """Chooses demonstrations for a step's inputs."""

    async def select(self, inputs: Mapping[str, object]) -> Sequence[Demo]:
        """Demonstrations for these inputs, in the order they are shown."""
        ...


class Selector(Protocol):
    """Finds the `k` recorded examples nearest to some inputs."""

    async def nearest(self, inputs: Mapping[str, object], k: int) -> Sequence[Demo]:
        """At most `k` examples, the nearest last, next to the question."""
        ...


class Nearest:
    """Demonstrations by nearest neighbours; `k` is an int or a knob. Above 0 it needs a `selector`."""

    def __init__(self, k: int, selector: Selector | None = None) -> None:
        self.k = k
        self.selector = selector

    def saved(self) -> dict[str, object]:
        """What a saved program keeps of it: the number as it is set here, and the selector with its examples."""
        return {"k": current(self.k), "selector": self.selector}

    async def select(self, inputs: Mapping[str, object]) -> Sequence[Demo]:
        """The nearest examples of the selector.

        Raises:
            UserError: k is above 0 and no selector was given.
        """
        k = current(self.k)
        if k == 0:
            return ()
        if self.selector is None:
            raise UserError(
                f"knn wants {k} demonstrations but has nothing to choose them from. "
                "Pass knn(..., selector=...) or optimize with training rows, with 0 first if there are several steps."
            )
        return await self.selector.nearest(inputs, k)


def knn(*ks: int, selector: Selector | None = None) -> Nearest:
    """Nearest-neighbour demonstrations with a knob over how many; the first number is the default."""
    return Nearest(knob(*ks) if ks else 0, selector)
