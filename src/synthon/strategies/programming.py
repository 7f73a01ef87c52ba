"""Let the model write a program and the machine compute the answer."""

from __future__ import annotations

import json
import re
import symtable
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from synthon.core.errors import OutputError
from synthon.core.identity import dumps, fingerprint
from synthon.core.recording import recorded
from synthon.core.settings import current
from synthon.core.values import Completion, Message
from synthon.strategies.thinking import Asked
from synthon.strategies.through import through
from synthon.tools import Ran, Sandbox, monty

if TYPE_CHECKING:
    from synthon.core.output import Output
    from synthon.core.protocols import Model
    from synthon.core.step import Step
    from synthon.core.values import Request

P = ParamSpec("P")
T = TypeVar("T")
_FENCED = re.compile(r"```(?i:python3?|py)?[ \t]*\n(.*?)(?:```|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class program_of_thought:  # noqa: N801 - users call it as a function
    """The step, answered by running a program that the model writes (Chen 2022, arXiv:2211.12588).

    The program's `answer`, else its last expression, else the last line it prints, is the step's answer, read and
    checked like any other. A program that fails, or whose value does not fit, is sent back with what went wrong.
    Demonstrations that carry a `thought` show programs. Costs one call for each try.

    Attributes:
        sandbox: where it runs; None is `monty()`.
        prompt: what asks for the program.
        tries: programs at most, until one runs.

    Raises:
        OutputError: no program ran, or no value fitted.
    """

    sandbox: Sandbox | None = None
    prompt: str = (
        "Write a short Python program that computes the answer and assigns it to the variable `answer`. "
        "Write only the program."
    )
    tries: int = 3
    name: str = "program_of_thought"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, computed."""

        async def computed(*args: P.args, **kwargs: P.kwargs) -> T:
            asked = replace(step, render=Asked(step.render, self.prompt))
            return await through(asked, _Work(self, step.output).answer)(*args, **kwargs)

        return computed


@dataclass(frozen=True, slots=True)
class _Work:
    of: program_of_thought
    output: Output[Any]

    async def answer(self, model: Model, request: Request) -> Completion:
        wrong = text = ""
        for _ in range(current(self.of.tries)):
            completion = await model.complete(request)
            text = python_of(completion.text)
            found = await ran(self.of.sandbox, f"{text}\nanswer" if assigns(text, "answer") else text)
            wrong = found.error
            if self.output.is_text and not wrong and found.value is None and not found.stdout.strip():
                wrong = "It assigned nothing to `answer` and printed nothing."
            if not wrong:
                return Completion(self._written(found.value, found.stdout), model=model.name)
            told = Message("user", f"It failed:\n{wrong}\nWrite the whole program again, mended.")
            request = replace(request, messages=(*request.messages, completion.message, told))
        msg = (
            f"None of {current(self.of.tries)} programs by {model.name!r} ran; the last one was {text[:200]!r} and "
            f"failed: {wrong[-200:]}. Raise `tries`, or use a better model."
        )
        raise OutputError(msg, text=text, reason="no program ran")

    def _written(self, value: object, printed: str) -> str:
        """The value as the step reads it."""
        if value is None and printed.strip():
            value = printed.strip().rpartition("\n")[2]
            with suppress(ValueError):
                value = json.loads(value)
        return str(value) if self.output.is_text else self.output.written(value)


async def ran(sandbox: Sandbox | None, code: str) -> Ran:
    """What came of the code, `monty()` where no sandbox is named; a journaled call."""
    chosen = sandbox or monty()

    async def act() -> str:
        return dumps(asdict(await chosen.run(code)))

    what = {"sandbox": chosen.name, "limits": fingerprint(repr(chosen)), "code": code}
    return Ran(**json.loads(await recorded("run", what, act, kind="tool")))


def python_of(text: object) -> str:
    """The Python in a model's answer: what stands in its first fence, else all of it."""
    found = _FENCED.search(str(text))
    return (found[1] if found else str(text)).strip("\n")


def assigns(code: str, name: str) -> bool:
    """Whether a program has a place, in whatever branch, that gives a global of that name a value."""
    try:
        tables = [symtable.symtable(code, "<program>", "exec")]
    except (SyntaxError, ValueError, RecursionError):
        return False  # whoever runs it tells
    for table in tables:
        tables += table.get_children()
        if name in table.get_identifiers():
            symbol = table.lookup(name)
            is_global = table is tables[0] or symbol.is_declared_global()
            if is_global and symbol.is_assigned() and not symbol.is_namespace():
                return True
    return False
