"""A step: a typed function whose body a model fills in."""

from __future__ import annotations

import dataclasses
import dis
import inspect
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import field, replace
from functools import partial
from types import CodeType, FunctionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
    get_args,
    get_type_hints,
    overload,
)

from synthon.core.asking import Asking, Explanation
from synthon.core.blame import answering
from synthon.core.constraints import Constraint, Layout
from synthon.core.errors import CheckFailed, GuardBlocked, UserError
from synthon.core.identity import dumps
from synthon.core.light import dataclass
from synthon.core.output import Output
from synthon.core.parts import Parts, parts_of
from synthon.core.portal import sync
from synthon.core.protocols import Model
from synthon.core.render import Demo, Render, render
from synthon.core.running import current_run, run, span
from synthon.core.saved import read, reduced, save
from synthon.core.settings import Demos, Knob, Settings, Slot, ambient, current, entered
from synthon.core.stream import Stream
from synthon.core.values import Message
from synthon.core.verdicts import Guard

if TYPE_CHECKING:
    from pathlib import Path

P = ParamSpec("P")
T = TypeVar("T")
U = TypeVar("U")
Test: TypeAlias = Callable[Concatenate[T, ...], Awaitable[str | None] | str | None]
Level: TypeAlias = Literal["require", "suggest"]
_AS_IT_IS = nullcontext()
_OWN = object()
_EMPTY_BODY = {
    *("CACHE", "RESUME", "RETURN_GENERATOR", "POP_TOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "NOP"),
    *("LOAD_GLOBAL", "RAISE_VARARGS", "RERAISE", "CALL_INTRINSIC_1", "LOAD_COMMON_CONSTANT", "NOT_TAKEN"),
}
_SAMPLING = ("temperature", "max_tokens", "top_p", "seed", "stop", "extra", "salt")


class Strategy(Protocol):
    """A way to spend calls on a step: from a step to something called like it; a frozen dataclass, to be found."""

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]: ...


@dataclass(frozen=True, slots=True)
class Check:
    """A condition on a step's output: None when it holds, else what is wrong, in words for the model.

    Attributes:
        test: takes the output, and the inputs it names.
        retries: times the message goes back to the model.
        wants: the inputs that the test names.
        level: what an output that still fails means: `CheckFailed`, or a row in the trace.
        blame: the earlier step that is to answer again in place of this one.
    """

    test: Callable[..., Awaitable[str | None] | str | None]
    retries: int
    wants: tuple[str, ...]
    level: Level = "require"
    blame: Step[Any, Any] | None = None

    @property
    def name(self) -> str:
        """The test's own name."""
        return getattr(self.test, "__name__", repr(self.test))

    async def message(self, output: object, inputs: Mapping[str, object]) -> str | None:
        """What is wrong with the output, None when nothing is.

        Raises:
            UserError: the test says it in other than words, as by a bool.
        """
        found = self.test(output, **{name: inputs[name] for name in self.wants})
        said = await found if inspect.isawaitable(found) else found
        if said is not None and not isinstance(said, str):
            msg = f"The check {self.name!r} gave {said!r}. Return what is wrong, in words, or None if nothing is."
            raise UserError(msg)
        return said


@dataclasses.dataclass(frozen=True, eq=False)
class Step(Generic[P, T]):
    """A typed function that a model answers; made by `@step`, awaited like the function it stands for.

    Attributes:
        fn: the decorated function; its docstring is the instruction, its annotations are the types.
        model: the model that answers, a knob over models, or None for the program's `.using(model=...)`.
        strategy: how calls are spent on it; None asks once.
        demos: worked examples, or what chooses them.
        sampling: temperature, max_tokens, top_p, seed, stop, extra and salt of its requests.
        retries: times a completion that does not fit the type is asked again.
        constraint: what the answer's text must keep to, in place of what the return type says.
        layout: white space of JSON that a mask allows, see `schema`; a knob for small models.
        calibrate: take off what each option of a closed set scores without content, at the cost of one more call.
        guards: rules for the output, see `guards/`; they come before the checks.
    """

    part: ClassVar[str] = "step"
    fn: Callable[P, Awaitable[T]]
    model: Model | None = None
    strategy: Strategy | None = None
    demos: Sequence[Demo] | Demos = ()
    sampling: Mapping[str, object] = field(default_factory=dict)
    retries: int = 2
    render: Render = render
    constraint: Constraint | None = None
    layout: Layout = "free"
    calibrate: bool = False
    guards: Sequence[Guard] = ()
    checks: list[Check] = field(default_factory=list)
    settings: Settings = field(default_factory=dict)
    scope: Mapping[str, object] = field(default_factory=dict, repr=False)
    blamed_by: list[Check] = field(default_factory=list, repr=False)
    _made: list[_Shape] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.fn.__name__

    @property
    def instruction(self) -> str:
        """The docstring, or what it is set to."""
        return cast("str", self.setting("instruction", self._shape.instruction))

    @property
    def output(self) -> Output[T]:
        """The return type and how it is asked for."""
        return cast("Output[T]", self._shape.output)

    @property
    def _shape(self) -> _Shape:
        if not self._made:
            shape = _shape_of(self.fn, self.scope)
            guards = cast("Any", self.guards)
            if not isinstance(guards, Sequence) or not all(hasattr(each, "fits") for each in guards):
                raise UserError(
                    f"Step {self.name!r} has guards={guards!r:.200}. Pass a list: [guard(length(at_most=9))]."
                )
            for each in guards:
                each.fits(shape.output.type)
            self._made.append(shape)
        return self._made[0]

    @property
    def talks(self) -> tuple[str, ...]:
        """Names of the inputs that are conversations."""
        return self._shape.talks

    def setting(self, name: str, own: object = _OWN) -> object:
        """What one of its attributes is set to here and now."""
        own = getattr(self, name) if own is _OWN else own
        settings = ambient()
        if settings:
            own = settings.get(Slot(self.fn, name), own)
        return current(own) if isinstance(own, Knob) else own

    def bound(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, object]:
        """A call's arguments by name, defaults filled in, knobs as they are set here."""
        return self._bound(args, kwargs)

    def _bound(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        names, places = self._shape.names, self._shape.places
        if len(args) <= places and len(args) + len(kwargs) == len(names):
            if not kwargs:
                return dict(zip(names, args, strict=True))
            if kwargs.keys() == set(names[len(args) :]):
                given = {**dict(zip(names, args, strict=False)), **kwargs}
                return given if len(kwargs) == 1 else {name: given[name] for name in names}
        bound = inspect.signature(self.fn).bind(*args, **kwargs)
        bound.apply_defaults()
        return {name: current(value) for name, value in bound.arguments.items()}

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """Ask the model, read its answer, check it, and ask again while tries are left.

        Raises:
            OutputError: the answer never fitted the type.
            CheckFailed: the answer never passed a check.
            UserError: no model was named.
        """
        with entered(self.settings) if self.settings else _AS_IT_IS:
            run = current_run() if self.blamed_by else None
            if run is not None:
                with answering(self, self._bound(args, kwargs), run) as stands:
                    stands(value := await replace(self, blamed_by=[])(*args, **kwargs))
                return value
            strategy = self.setting("strategy")
            if strategy is not None:
                is_class = isinstance(strategy, type)  # whose instance is the asked step, where that is awaited
                if not callable(strategy) or (is_class and not inspect.iscoroutinefunction(strategy.__call__)):
                    msg = f"Step {self.name!r} has strategy={strategy!r}. Pass one such as sy.self_consistency(5)."
                    raise UserError(msg)
                return await cast("Strategy", strategy)(self._asked_once())(*args, **kwargs)
            inputs = self._bound(args, kwargs)
            with span(self.name, "step", inputs) as opened:
                asking = Asking(self, inputs)
                model = await asking.start(opened)
                try:
                    while not asking.done:
                        await asking.take(await model.complete(asking.request, asking.listener), model)
                        await asking.judge()
                except (CheckFailed, GuardBlocked):
                    asking.withdraw()
                    raise
                opened.output = asking.value
                return cast("T", asking.value)

    def _asked_once(self) -> Step[P, T]:
        return replace(self, settings={**self.settings, Slot(self.fn, "strategy"): None})

    def sync(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The same from ordinary code; waits on Synthon's background loop. See `portal.sync` for its limits."""
        if current_run() is None:
            return sync(lambda: self(*args, **kwargs))
        return sync(lambda: run(partial(self, *args, **kwargs)))

    def stream(self, *args: P.args, **kwargs: P.kwargs) -> Stream[T]:
        """The step's answer piece by piece, as an async context manager."""
        return Stream(lambda: self(*args, **kwargs))

    async def explain(self, *args: P.args, **kwargs: P.kwargs) -> Explanation:
        """What a call with these arguments would send: messages, constraint, its soundness; nothing is sent."""
        with entered(self.settings):
            return await Asking(self, self._bound(args, kwargs)).explained()

    def sampled(self) -> dict[str, object]:
        """The sampling parameters that are set here and now."""
        names = _SAMPLING if ambient() else self.sampling
        found = {name: value for name in names if (value := self.setting(name, self.sampling.get(name))) is not None}
        if "stop" in found:
            stop = cast("Sequence[str]", found["stop"])
            found["stop"] = (stop,) if stop and isinstance(stop, str) else tuple(stop)
        if "extra" in found:
            found["extra"] = dumps(found["extra"])
        return found

    def returning(self, type_: type[U], *, render: Render | None = None) -> Step[P, U]:
        """The same question with an answer of another type, without checks and guards; what strategies ask on the way.

        Args:
            type_: of the answer.
            render: in place of the step's own.
        """
        shape = replace(self._shape, output=Output(type_, f"Step {self.name!r}"))
        settings = {**self.settings, Slot(self.fn, "constraint"): None}
        own = {"settings": settings, "constraint": None, "guards": (), "checks": [], "blamed_by": [], "_made": [shape]}
        asked = replace(self, render=render or self.render, **own)  # type: ignore[arg-type] # each of its field's type
        return cast("Step[P, U]", asked)

    def using(self, *candidates: Mapping[str, object] | str | Path, **changes: object) -> Step[P, T]:
        """A copy under other settings: model, instruction, demos, ..., a candidate (names to values), or a saved file.

        It has the step's checks; those that it or the step is given later are its own.

        Raises:
            UserError: a name that this step does not have.
        """
        parts = self.parts()
        settings = {**self.settings, **parts.resolve(read(parts, candidates), changes)}
        return replace(self, settings=settings, checks=[*self.checks])

    def save(self, path: str | Path) -> None:
        """Write its settings as plain JSON; `.using(path)` reads them, in any process."""
        save(self, path)

    def parts(self) -> Parts:
        """The step's own settings and knobs, found without running it."""
        return parts_of(self)

    @overload
    def check(self, test: Test[T], /) -> Test[T]: ...
    @overload
    def check(
        self, /, *, retries: int = 1, level: Level = "require", blame: Step[..., Any] | None = None
    ) -> Callable[[Test[T]], Test[T]]: ...
    def check(self, test: Test[T] | None = None, /, **options: Any) -> object:
        """Add a check to this step: it takes the output (and inputs by name) and says what is wrong, or None.

        The message goes back to the model with its failed answer, and the step asks again, `retries` times. Then
        `require` raises `CheckFailed`; `suggest` records the failure and goes on with what there is. (Assertions and
        suggestions of DSPy Assertions, Singhvi 2023, arXiv:2312.13382.)

        With `blame` it is that earlier step that gets the message, with what it had answered: the latest call of it in
        this task, else its only one in the run. The program starts again from its top and finds everything else that
        did not change in the journal.

        Raises:
            UserError: the test takes what is no input of the step, an option is none; or when called, no call can be
                blamed.
        """
        return partial(self._add, **options) if test is None else self._add(test, **options)

    def _add(
        self, test: Test[T], *, retries: int = 1, level: Level = "require", blame: Step[..., Any] | None = None
    ) -> Test[T]:
        names = list(inspect.signature(test).parameters)[1:]
        unknown = [name for name in names if name not in inspect.signature(self.fn).parameters]
        problem = ""
        if unknown:
            problem = f"takes {unknown}, which are no inputs of the step. Take the output first, then inputs by name"
        elif retries < 0 or level not in get_args(Level):
            problem = f"has retries={retries!r} and level={level!r}. Pass at least 0, and one of {get_args(Level)}"
        elif blame is not None and not isinstance(blame, Step):
            problem = f"blames {blame!r}. Pass the step itself"
        if problem:
            raise UserError(f"The check {test!r} of step {self.name!r} {problem}.")
        check = Check(test, retries, tuple(names), level, blame)
        self.checks.append(check)
        if blame is not None:
            blame.blamed_by.append(check)
        return test

    def __reduce__(self) -> tuple[object, ...]:
        return reduced(self)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a step's function says of itself, worked out once at its first call; its first `places` inputs have one."""

    output: Output[object]
    names: tuple[str, ...]
    places: int
    talks: tuple[str, ...]
    instruction: str


def _shape_of(fn: Callable[..., object], scope: Mapping[str, object]) -> _Shape:
    where = f"Step {fn.__name__!r} ({_place(fn)})"
    try:
        hints = get_type_hints(fn, localns={**getattr(fn, "__globals__", {}), **scope}, include_extras=True)
    except NameError as error:
        msg = f"{where} has an annotation that cannot be resolved: {error}. Define or import the type before the step."
        raise UserError(msg) from error
    parameters = inspect.signature(fn).parameters
    names, places = tuple(parameters), sum(each.kind is not each.KEYWORD_ONLY for each in parameters.values())
    talks = tuple(name for name in names if hints.get(name) in (list[Message], Sequence[Message], tuple[Message, ...]))
    return _Shape(Output(hints["return"], where), names, places, talks, inspect.cleandoc(fn.__doc__ or ""))


def _place(fn: Callable[..., object]) -> str:
    code = getattr(fn, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if isinstance(code, CodeType) else repr(fn)


def checked(fn: Callable[..., object], what: str) -> None:
    """Refuse what cannot be a step or a program: no async function, a method, a lambda.

    Raises:
        UserError: says which line is wrong and how to write it.
    """
    problem = ""
    if not isinstance(fn, FunctionType) or not inspect.iscoroutinefunction(fn):
        problem = "it is no async function; write `async def`"
    elif next(iter(inspect.signature(fn).parameters), "") in {"self", "cls"}:
        problem = "it is a method; write a plain function and pass what it needs"
    if problem:
        msg = f"@sy.{what} cannot take {getattr(fn, '__qualname__', fn)!r} ({_place(fn)}): {problem}."
        raise UserError(msg)


def _checked_body(fn: Callable[..., object]) -> None:
    checked(fn, "step")
    problem = ""
    if not fn.__doc__:
        problem = "it has no docstring, which is the instruction (python -OO takes them away)"
    elif "return" not in fn.__annotations__:
        problem = "it has no return annotation, which is the output type"
    elif any(p.kind in {p.VAR_POSITIONAL, p.VAR_KEYWORD} for p in inspect.signature(fn).parameters.values()):
        problem = "it takes *args or **kwargs, which have no names to show a model"
    elif _has_body(cast("FunctionType", fn)):
        problem = "it has a body, which would never run; a model answers in its place"
    if problem:
        msg = (
            f"@sy.step cannot take {fn.__qualname__!r} ({_place(fn)}): {problem}. Write\n"
            f'    @sy.step\n    async def {fn.__name__}(question: str) -> str:\n        """What to do."""\n        ...'
        )
        raise UserError(msg)


def _has_body(fn: FunctionType) -> bool:
    """Whether there is more than a docstring with `...`, `pass` or `raise NotImplementedError`."""
    code = fn.__code__
    operations = {instruction.opname for instruction in dis.get_instructions(code)}
    names, constants = set(code.co_names), set(map(repr, code.co_consts))
    allowed = {repr(fn.__doc__), "None", "Ellipsis"}
    return bool(operations - _EMPTY_BODY or names - {"NotImplementedError"} or constants - allowed)


@overload
def step(fn: Callable[P, Awaitable[T]], /) -> Step[P, T]: ...
@overload
def step(
    *,
    model: Model | None = None,
    strategy: Strategy | None = None,
    demos: Sequence[Demo] | Demos = (),
    temperature: float | None = None,
    max_tokens: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
    stop: Sequence[str] = (),
    extra: Mapping[str, object] | None = None,
    salt: str | None = None,
    retries: int = 2,
    render: Render = render,
    constraint: Constraint | None = None,
    layout: Layout = "free",
    calibrate: bool = False,
    guards: Sequence[Guard] = (),
) -> Callable[[Callable[P, Awaitable[T]]], Step[P, T]]: ...
def step(fn: Callable[..., Awaitable[object]] | None = None, /, **options: object) -> object:
    """Make a typed function a step: the docstring instructs, the annotations are schema and constraint.

    Args:
        fn: an `async def` whose body is a docstring and `...`.
        options: see `Step`; each may be a knob. `temperature=None` leaves the model's own default.

    Raises:
        UserError: no docstring, no return annotation, a body that would never run, or `retries` below 0.
    """
    if isinstance(retries := options.get("retries"), int) and retries < 0:
        raise UserError(f"@sy.step cannot have retries={retries!r}. Pass at least 0.")
    if fn is None:
        return partial(_made, options=options)
    return _made(fn, options, 2)


def _made(fn: Callable[..., Awaitable[object]], options: Mapping[str, object], depth: int = 1) -> Step[..., object]:
    _checked_body(fn)
    strings = any(isinstance(hint, str) for hint in fn.__annotations__.values())
    frame = sys._getframe(depth)  # noqa: SLF001 - annotations may name the caller's locals
    scope = dict(frame.f_locals) if strings and frame.f_locals is not frame.f_globals else {}
    sampling = {name: value for name, value in options.items() if name in _SAMPLING and value is not None}
    own = {name: value for name, value in options.items() if name not in _SAMPLING}
    return Step(fn, sampling=sampling, scope=scope, **own)  # type: ignore[arg-type]  # the overloads hold the types
