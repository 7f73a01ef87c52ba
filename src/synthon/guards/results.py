"""What a validator answers, and how one is asked."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from synthon.core.errors import UserError
from synthon.core.running import name_of


class _Mark(enum.Enum):
    NO_FIX = "no fix"
    GONE = "gone"
    UNSET = "unset"


NO_FIX: Final = _Mark.NO_FIX
#: Stands for a value that leaves its list, dict or field.
GONE: Final = _Mark.GONE
#: Stands for an argument that was not given.
UNSET: Final = _Mark.UNSET


@dataclass(frozen=True, slots=True)
class Pass:
    """The value may stand."""


@dataclass(frozen=True, slots=True)
class Fail:
    """What is wrong with a value, in words for the model, and the value that would do, if there is one."""

    message: str
    fix: object = NO_FIX


Found: TypeAlias = Pass | Fail
Validator: TypeAlias = Callable[..., Found | Awaitable[Found]]


@dataclass(frozen=True, slots=True)
class Named:
    """A validator under a name that says its settings; `wants` are the step's inputs it takes."""

    name: str
    test: Validator
    wants: tuple[str, ...] = ()

    def __call__(self, value: object, /, **inputs: object) -> Found | Awaitable[Found]:
        """What the test says of the value."""
        return self.test(value, **inputs)


def called(validator: Validator) -> str:
    """The validator's name: its own, or the function's."""
    return validator.name if isinstance(validator, Named) else name_of(validator).rpartition("<locals>.")[2]


async def ask(validator: Validator, value: object, inputs: Mapping[str, object]) -> Found:
    """What the validator says of the value; inputs that it names as further parameters are passed.

    Raises:
        UserError: it wants an input that there is not, or answers with something else than Pass or Fail.
    """
    chosen = {}
    for name, needed in _wants(validator).items():
        if name in inputs:
            chosen[name] = inputs[name]
        elif needed:
            msg = (
                f"The validator {called(validator)!r} takes {name!r}, which is none of the inputs {sorted(inputs)}. "
                "After the value, take inputs of the step by name, or give the parameter a default."
            )
            raise UserError(msg)
    said = validator(value, **chosen)
    found = await said if inspect.isawaitable(said) else said
    if isinstance(found, Pass | Fail):
        return found
    msg = (
        f"The validator {called(validator)!r} answered {found!r}. Write\n"
        f"    def {called(validator).partition('(')[0]}(value):\n"
        '        return Pass() if ... else Fail("what is wrong, in words for the model")'
    )
    raise UserError(msg)


def _wants(validator: Validator) -> dict[str, bool]:
    """Names of the inputs a validator takes, and whether it must have them."""
    if isinstance(validator, Named):
        return dict.fromkeys(validator.wants, True)
    parameters = list(inspect.signature(validator).parameters.values())[1:]
    return {each.name: each.default is each.empty for each in parameters if each.kind is not each.VAR_KEYWORD}


def text_test(name: str, test: Callable[[str], Found]) -> Named:
    """A validator of text under a name; anything but text is the program's error."""

    def judged(value: object) -> Found:
        if isinstance(value, str):
            return test(value)
        msg = f"{name} judges text, and was given {value!r}. Name a text: guard({name}, field=...)."
        raise UserError(msg)

    return Named(name, judged)


__all__ = ["GONE", "NO_FIX", "UNSET", "Fail", "Found", "Named", "Pass", "Validator", "ask", "called", "text_test"]
