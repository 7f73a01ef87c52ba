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
    Any,
    ClassVar,
    Concatenate,
    Generic,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    cast,
    get_type_hints,
    overload,
)

from synthon.core.errors import CheckFailed, OutputError, UserError
from synthon.core.identity import dumps
from synthon.core.light import dataclass
from synthon.core.output import Output
from synthon.core.parts import Parts, parts_of
from synthon.core.portal import sync
from synthon.core.protocols import Emit, Model, discard
from synthon.core.render import Demo, Render, Rendering, render
from synthon.core.running import current_run, run, sink, span
from synthon.core.saved import reduced
from synthon.core.settings import MODEL, Demos, Knob, Settings, Slot, ambient, current, entered
from synthon.core.stream import Draft, Stream
from synthon.core.values import Completion, Delta, Message, Request

P = ParamSpec("P")
T = TypeVar("T")
Test: TypeAlias = Callable[Concatenate[T, ...], Awaitable[str | None] | str | None]
_AS_IT_IS = nullcontext()
_EMPTY_BODY = {
    *("CACHE", "RESUME", "RETURN_GENERATOR", "POP_TOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "NOP"),
    *("LOAD_GLOBAL", "RAISE_VARARGS", "RERAISE", "CALL_INTRINSIC_1", "LOAD_COMMON_CONSTANT", "NOT_TAKEN"),
}
_SAMPLING = ("temperature", "max_tokens", "top_p", "seed", "stop", "extra")


class Strategy(Protocol):
    """A way to spend calls on a step: from a step to something called like it; a frozen dataclass, to be found."""

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]: ...


@dataclass(frozen=True, slots=True)
class Check:
    """A condition on a step's output: None when it holds, else what is wrong, in words for the model."""

    test: Callable[..., Awaitable[str | None] | str | None]
    retries: int
    wants: tuple[str, ...]

    @property
    def name(self) -> str:
        """The test's own name."""
        return getattr(self.test, "__name__", repr(self.test))

    async def message(self, output: object, inputs: Mapping[str, object]) -> str | None:
        """What is wrong with the output, None when nothing is."""
        found = self.test(output, **{name: inputs[name] for name in self.wants})
        return await found if inspect.isawaitable(found) else found


@dataclasses.dataclass(frozen=True, eq=False)
class Step(Generic[P, T]):
    """A typed function that a model answers; made by `@step`, awaited like the function it stands for.

    Attributes:
        fn: the decorated function; its docstring is the instruction, its annotations are the types.
        model: the model that answers, a knob over models, or None for the program's `.using(model=...)`.
        strategy: how calls are spent on it; None asks once.
        demos: worked examples, or what chooses them.
        sampling: temperature, max_tokens, top_p, seed, stop and extra of its requests.
        retries: times a completion that does not fit the type is asked again.
    """

    part: ClassVar[str] = "step"
    fn: Callable[P, Awaitable[T]]
    model: Model | None = None
    strategy: Strategy | None = None
    demos: Sequence[Demo] | Demos = ()
    sampling: Mapping[str, object] = field(default_factory=dict)
    retries: int = 2
    render: Render = render
    checks: list[Check] = field(default_factory=list)
    settings: Settings = field(default_factory=dict)
    scope: Mapping[str, object] = field(default_factory=dict, repr=False)
    _made: list[_Shape] = field(default_factory=list, repr=False)

    @property
    def name(self) -> str:
        """The function's name."""
        return self.fn.__name__

    @property
    def instruction(self) -> str:
        """The docstring, or what it is set to."""
        return cast("str", self._set("instruction", self._shape.instruction))

    @property
    def output(self) -> Output[T]:
        """The return type and how it is asked for."""
        return cast("Output[T]", self._shape.output)

    @property
    def _shape(self) -> _Shape:
        if not self._made:
            self._made.append(_shape_of(self.fn, self.scope))
        return self._made[0]

    def _set(self, name: str, own: object) -> object:
        settings = ambient()
        if settings:
            own = settings.get(Slot(self.fn, name), own)
        return current(own) if isinstance(own, Knob) else own

    def _bound(self, args: tuple[object, ...], kwargs: Mapping[str, object]) -> dict[str, object]:
        names = self._shape.names
        if len(args) + len(kwargs) == len(names) and (not kwargs or kwargs.keys() <= set(names[len(args) :])):
            return {**dict(zip(names, args, strict=False)), **kwargs}
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
            strategy = self._set("strategy", self.strategy)
            if strategy is not None:
                return await cast("Strategy", strategy)(self._asked_once())(*args, **kwargs)
            inputs = self._bound(args, kwargs)
            with span(self.name, "step", inputs) as opened:
                asking = _Asking(self, inputs, opened)
                await asking.prepare()
                while not asking.done:
                    asking.take(await asking.model.complete(asking.request, asking.emit))
                    await asking.check()
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

    async def explain(self, *args: P.args, **kwargs: P.kwargs) -> list[Message]:
        """The exact messages a call with these arguments would send; nothing is sent."""
        with entered(self.settings):
            return await self._messages(self._bound(args, kwargs))

    def _sampled(self) -> dict[str, object]:
        names = _SAMPLING if ambient() else self.sampling
        found = {name: value for name in names if (value := self._set(name, self.sampling.get(name))) is not None}
        if "stop" in found:
            found["stop"] = tuple(cast("Sequence[str]", found["stop"]))
        if "extra" in found:
            found["extra"] = dumps(found["extra"])
        return found

    async def _messages(self, inputs: Mapping[str, object]) -> list[Message]:
        chosen = self._set("demos", self.demos)
        if not isinstance(chosen, tuple):
            chosen = chosen if isinstance(chosen, Sequence) else await cast("Demos", chosen).select(inputs)
        demos = cast("Sequence[Demo]", chosen)
        talks, output = self._shape.talks, self._shape.output
        rest = {name: value for name, value in inputs.items() if name not in talks} if talks else inputs
        history = [turn for name in talks for turn in cast("Sequence[Message]", inputs[name])]
        answers = [output.written(demo.output) for demo in demos]
        return self.render(Rendering(self.instruction, rest, demos, answers, history, output.expected))

    def using(self, *candidates: Mapping[str, object], **changes: object) -> Step[P, T]:
        """A copy under other settings: model, instruction, demos, strategy, temperature, ..., or a candidate's names.

        Raises:
            UserError: a name that this step does not have.
        """
        return replace(self, settings={**self.settings, **self.parts().resolve(candidates, changes)})

    def parts(self) -> Parts:
        """The step's own settings and knobs, found without running it."""
        return parts_of(self)

    @overload
    def check(self, test: Test[T], /) -> Test[T]: ...
    @overload
    def check(self, /, *, retries: int = 1) -> Callable[[Test[T]], Test[T]]: ...
    def check(self, test: Test[T] | None = None, /, *, retries: int = 1) -> object:
        """Add a check to this step: it takes the output (and inputs by name) and says what is wrong, or None.

        The message goes back to the model with its failed answer, and the step asks again, `retries` times.
        """
        return partial(self._add, retries=retries) if test is None else self._add(test, retries)

    def _add(self, test: Test[T], retries: int) -> Test[T]:
        names = list(inspect.signature(test).parameters)[1:]
        unknown = [name for name in names if name not in inspect.signature(self.fn).parameters]
        if unknown:
            msg = (
                f"The check {test!r} of step {self.name!r} takes {unknown}, which are no inputs of the step. "
                "Take the output first, then inputs by name."
            )
            raise UserError(msg)
        self.checks.append(Check(test, retries, tuple(names)))
        return test

    def __reduce__(self) -> tuple[object, ...]:
        return reduced(self)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a step's function says of itself, worked out once at its first call."""

    output: Output[object]
    names: tuple[str, ...]
    talks: tuple[str, ...]
    instruction: str


class _Asking:
    """One step's conversation with its model, from the first request to a value that stands."""

    def __init__(self, step: Step[Any, Any], inputs: Mapping[str, object], opened: span) -> None:
        self.step, self.inputs, self.output = step, inputs, step.output
        model = step._set("model", step.model)  # noqa: SLF001 - one idea, one file
        model = current(ambient().get(MODEL)) if model is None else model
        if model is None:
            msg = f"Step {step.name!r} has no model. Pass @sy.step(model=...), or call program.using(model=...)."
            raise UserError(msg)
        self.model = cast("Model", model)
        listener = sink.get()
        self.emit: Emit = discard
        if listener is not None:
            named = listener.of(step.name, opened.row.id, step.output)
            self.emit = named if step.output.is_text and not step.checks else Draft(named)
        self.fits_left = step.retries
        self.tries_left = {id(check): check.retries for check in step.checks}
        self.value: object = None
        self.done = False

    async def prepare(self) -> None:
        step = self.step
        messages = tuple(await step._messages(self.inputs))  # noqa: SLF001 - one idea, one file
        asked = cast("dict[str, Any]", step._sampled())  # noqa: SLF001 - one idea, one file
        output, able = self.output, self.model.capabilities
        if output.choice is not None and "score" in able:
            asked["continuations"] = output.choice.options
        elif output.constraint is not None and "schema" in able:
            asked["constraint"] = output.constraint
        self.request = Request(messages, **asked)

    def take(self, completion: Completion) -> None:
        """Read a completion; one that does not fit is answered with what is wrong."""
        self.completion = completion
        text = completion.text
        if self.request.continuations:
            best = max(range(len(completion.scores)), key=lambda at: completion.scores[at].logprob)
            text = self.request.continuations[best]
            self.emit(Delta(text=text))
        self.read = False
        try:
            self.value, self.read = self.output.parse(text), True
        except OutputError as error:
            if self.fits_left == 0:
                raise
            self.fits_left -= 1
            self.again(str(error))

    async def check(self) -> None:
        """Hold the value against the step's checks; the first that fails is fed back."""
        if not self.read:
            return
        for check in self.step.checks:
            message = await check.message(self.value, self.inputs)
            if message is None:
                continue
            if self.tries_left[id(check)] == 0:
                msg = (
                    f"Step {self.step.name!r} still fails its check {check.name!r} after {check.retries} retries: "
                    f"{message} The last output was {self.value!r}. Loosen the check, or give the step a better model."
                )
                raise CheckFailed(msg, check=check.name, output=self.value)
            self.tries_left[id(check)] -= 1
            self.again(message)
            return
        self.done = True
        if isinstance(self.emit, Draft):
            self.emit.keep()

    def again(self, message: str) -> None:
        """Send the failed answer back with what is wrong with it."""
        if isinstance(self.emit, Draft):
            self.emit.withdraw()
        chosen = bool(self.request.continuations)
        failed = Message("assistant", self.output.written(self.value)) if chosen else self.completion.message
        turn = Message("user", f"{message}\nAnswer again.")
        self.request = replace(self.request, messages=(*self.request.messages, failed, turn))


def _shape_of(fn: Callable[..., object], scope: Mapping[str, object]) -> _Shape:
    where = f"Step {fn.__name__!r} ({_place(fn)})"
    try:
        hints = get_type_hints(fn, localns={**getattr(fn, "__globals__", {}), **scope})
    except NameError as error:
        msg = f"{where} has an annotation that cannot be resolved: {error}. Define or import the type before the step."
        raise UserError(msg) from error
    names = tuple(inspect.signature(fn).parameters)
    talks = tuple(name for name in names if hints.get(name) in (list[Message], Sequence[Message], tuple[Message, ...]))
    return _Shape(Output(hints["return"], where), names, talks, inspect.cleandoc(fn.__doc__ or ""))


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
        problem = "it has no docstring, which is the instruction"
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
    retries: int = 2,
    render: Render = render,
) -> Callable[[Callable[P, Awaitable[T]]], Step[P, T]]: ...
def step(fn: Callable[..., Awaitable[object]] | None = None, /, **options: object) -> object:
    """Make a typed function a step: the docstring instructs, the annotations are schema and constraint.

    Args:
        fn: an `async def` whose body is a docstring and `...`.
        options: see `Step`; each may be a knob. `temperature=None` leaves the model's own default.

    Raises:
        UserError: no docstring, no return annotation, or a body that would never run.
    """
    if fn is None:
        return partial(_made, options=options)
    return _made(fn, options, 2)


def _made(fn: Callable[..., Awaitable[object]], options: Mapping[str, object], depth: int = 1) -> Step[..., object]:
    _checked_body(fn)
    strings = any(isinstance(hint, str) for hint in fn.__annotations__.values())
    frame = sys._getframe(depth)  # noqa: SLF001 - annotations may name the caller's locals
    scope = dict(frame.f_locals) if strings and frame.f_locals is not frame.f_globals else {}
    own = {name: options[name] for name in options if name in {"model", "strategy", "demos", "retries", "render"}}
    sampling = {name: value for name, value in options.items() if name not in own and value is not None}
    return Step(fn, sampling=sampling, scope=scope, **own)  # type: ignore[arg-type]  # the overloads hold the types
