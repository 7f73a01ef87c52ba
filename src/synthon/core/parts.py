"""What a program is made of, found without running it: its steps, nested programs, and every setting by name."""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

from synthon.core.errors import UserError
from synthon.core.settings import MODEL, Knob, Nearest, Setting, Slot

_OWN = ("model", "strategy", "demos", "constraint", "layout", "calibrate")
_SLOTS = ("instruction", *_OWN, "temperature", "max_tokens", "top_p", "seed", "stop", "extra", "salt")


@dataclass(slots=True)
class Parts:
    """A program's parts, in source order.

    `settings` maps each name that saved programs use (`support.k`, `answer.model`) to what it sets: a knob, or a
    slot of a step. `values` maps it to what it is without settings.
    """

    root: str
    steps: list[Any] = field(default_factory=list)
    programs: list[Any] = field(default_factory=list)
    settings: dict[str, Setting] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)

    @property
    def knobs(self) -> dict[str, Knob]:
        """The settings that are to be chosen from given values."""
        return {name: setting for name, setting in self.settings.items() if isinstance(setting, Knob)}

    def add(self, name: str, setting: Setting, value: object) -> None:
        """Name a setting; an object found twice keeps its first name, a name taken twice gets a number."""
        if setting in self.settings.values():
            return
        free = name
        number = 2
        while free in self.settings:
            free, number = f"{name}~{number}", number + 1
        self.settings[free], self.values[free] = setting, value

    def resolve(
        self, candidates: Sequence[Mapping[str, object]], changes: Mapping[str, object]
    ) -> dict[Setting, object]:
        """Settings for candidates (full names) and keyword changes (names without the root's).

        Raises:
            UserError: a name nothing here has; lists those there are.
        """
        found: dict[Setting, object] = {}
        named = [(name, value) for candidate in candidates for name, value in candidate.items()]
        for name, value in named + [(f"{self.root}.{key}", value) for key, value in changes.items()]:
            if name in self.settings:
                setting = self.settings[name]
            elif name == f"{self.root}.model":
                setting = MODEL
            else:
                raise UserError(f"{self.root!r} has no setting {name!r}. It has: {', '.join(self.settings) or 'none'}.")
            if isinstance(setting, Knob) and isinstance(value, Knob):
                raise UserError(f"{name!r} is a knob and cannot be set to {value!r}. Set it to a value.")
            found[setting] = value
        return found


def parts_of(root: Any) -> Parts:
    """The parts of a step or a program, found from the names its code uses, never by running it or a property."""
    parts = Parts(root.name)
    _Finder(parts, root).visit(root, root.name)
    return parts


class _Finder:
    def __init__(self, parts: Parts, root: Any) -> None:
        self.parts = parts
        self.home = root.fn.__code__.co_filename
        self.seen: set[int] = set()
        self.kept: list[object] = []

    def visit(self, value: object, name: str) -> None:
        """Take a value for what it is: a part, a knob, or something that may hold some."""
        if id(value) in self.seen or isinstance(value, str | bytes | int | float | ModuleType | type(None)):
            return
        self.seen.add(id(value))
        self.kept.append(value)
        kind = getattr(type(value), "part", None)
        if kind == "step":
            self._step(value)
        elif kind == "program":
            self._program(value)
        elif isinstance(value, MethodType):
            self._function(value.__func__, value.__self__)
        elif isinstance(value, FunctionType):
            self._function(value, None)
        else:
            if isinstance(value, Knob):
                self.parts.add(name, value, value.default)
            for inner_name, inner in _inside(value, name):
                self.visit(inner, inner_name)

    def _each(self, values: Any, name: str) -> None:
        for value in values:
            self.visit(value, name)

    def _step(self, step: Any) -> None:
        if all(each.fn is not step.fn for each in self.parts.steps):  # copies share their settings
            self.parts.steps.append(step)
        own = {"instruction": inspect.cleandoc(step.fn.__doc__ or ""), **{name: getattr(step, name) for name in _OWN}}
        for name in _SLOTS:
            value = own.get(name, step.sampling.get(name))
            if isinstance(value, Knob):
                self.visit(value, f"{step.name}.{name}")
            else:
                self.parts.add(f"{step.name}.{name}", Slot(step.fn, name), value)
                self.visit(value, f"{step.name}.{name}")
        self._each([*step.guards, *(check.test for check in step.checks)], step.name)
        self._each([value for value in step.settings.values() if not isinstance(value, Knob)], step.name)

    def _program(self, program: Any) -> None:
        self.parts.programs.append(program)
        for name, parameter in inspect.signature(program.fn).parameters.items():
            self.visit(None if parameter.default is parameter.empty else parameter.default, f"{program.name}.{name}")
        self._each(program.uses, program.name)
        self._function(program.fn, None)
        self._each([value for value in program.settings.values() if not isinstance(value, Knob)], program.name)

    def _function(self, fn: Callable[..., object], owner: object) -> None:
        """Follow the names a function of the user's own code uses."""
        plain = inspect.unwrap(fn)
        code = getattr(plain, "__code__", None)
        if not isinstance(plain, FunctionType) or code is None or self._foreign(code.co_filename):
            return
        known: dict[str, object] = {}
        for name, cell in zip(code.co_freevars, plain.__closure__ or (), strict=True):
            with suppress(ValueError):  # an empty one
                known[name] = cell.cell_contents
        if owner is not None and code.co_argcount:
            known[code.co_varnames[0]] = owner
        for value in (*(plain.__defaults__ or ()), *(plain.__kwdefaults__ or {}).values()):
            self.visit(value, getattr(plain, "__name__", ""))
        self._code(code, plain.__globals__, known)

    def _foreign(self, file: str) -> bool:
        """Whether a function is not of the user's own code: of the standard library, a package, or of Synthon."""
        return file != self.home and file.startswith(_foreign())

    def _code(self, code: CodeType, names: Mapping[str, object], known: Mapping[str, object]) -> None:
        owner: object = None
        local = {*code.co_varnames, *code.co_cellvars, *code.co_freevars}
        for instruction, name in _named(code):
            if isinstance(name, CodeType):
                self._code(name, names, known)
            elif "ATTR" in instruction or "METHOD" in instruction:
                owner = _static(owner, name)
                self.visit(owner, name)
            elif "LOAD" in instruction:
                owner = known.get(name, None if name in local else names.get(name))
                self.visit(owner, name)


def _inside(value: object, name: str) -> Iterator[tuple[str, object]]:
    """What a value holds that may be a part, each with the name it goes by."""
    if is_dataclass(value) and not isinstance(value, type):
        yield from ((f"{name}.{own.name}", getattr(value, own.name)) for own in fields(value))
        return
    if isinstance(value, Nearest):
        yield from ((f"{name}.k", value.k), (f"{name}.selector", value.selector))
        return
    held: Iterable[object] = ()
    if isinstance(value, Knob):
        held = value.values
    elif isinstance(value, Mapping):
        held = value.values()
    elif isinstance(value, list | tuple):
        held = value
    elif isinstance(value, set | frozenset):
        held = sorted(value, key=_place)
    elif isinstance(value, functools.partial):
        held = [value.func, *value.args, *value.keywords.values()]
    yield from ((name, item) for item in held)


@functools.cache
def _foreign() -> tuple[str, ...]:
    """Folders whose functions are not the user's own code and are not followed."""
    import site  # noqa: PLC0415 - with sysconfig's tables 5 % of our import time
    import sysconfig  # noqa: PLC0415 - same

    ours = __file__.rpartition("/core/")[0]
    return (*sysconfig.get_paths().values(), *site.getsitepackages(), f"{ours}/")


def _named(code: CodeType) -> Iterator[tuple[str, Any]]:
    """Instructions that load a name or nested code, in source order; the same over Python versions."""
    for instruction in dis.get_instructions(code):
        value = instruction.argval
        if isinstance(value, CodeType) or (isinstance(value, str) and "CONST" not in instruction.opname):
            yield instruction.opname, value
        elif isinstance(value, tuple):
            yield from ((instruction.opname, name) for name in value if isinstance(name, str))


def _static(owner: object, name: str) -> object:
    """An attribute as it is stored; a property is not run, so what stands behind it stays unseen."""
    if owner is None:
        return None
    value = inspect.getattr_static(owner, name, None)
    if isinstance(value, staticmethod | classmethod):
        return value.__func__
    if isinstance(value, FunctionType) and not isinstance(owner, ModuleType | type):
        return MethodType(value, owner)
    return value


def _place(value: object) -> tuple[str, int, str]:
    code = getattr(getattr(value, "fn", value), "__code__", None)
    return (code.co_filename, code.co_firstlineno, "") if code else ("", 0, repr(value))
