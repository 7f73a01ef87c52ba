"""Ask a model what to do next: calls of tools, or its final answer."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from synthon.core.constraints import Schema
from synthon.core.errors import OutputError, UserError
from synthon.core.values import Message
from synthon.strategies.ending import Ends, ended, fitting
from synthon.strategies.moves import ANSWER, Calls, InJson, Native

if TYPE_CHECKING:
    from synthon.core.protocols import Model
    from synthon.core.values import Request
    from synthon.strategies.moves import Tools

_SPEC = ("name", "description", "parameters")
_TOKENS, _CHARACTERS = 512, 3  # of an answer where the request sets no limit; of a token, as most are at least


async def next_calls(
    model: Model,
    request: Request,
    tools: Tools,
    *,
    thought: Schema | None = None,
    parallel: bool = False,
    answers: bool | Literal["only"] = True,
    native: bool | None = None,
    retries: int = 2,
    ends: Ends | Literal["fitting"] | None = "fitting",
) -> Calls:
    """The model's next calls, or its final answer; nothing is run.

    A model with the capability `tools` is asked natively. Any other answers in JSON, which one with the capability
    `schema` is masked to: one of the tools' names with arguments that fit its schema, or an answer; so a small
    local model writes well-formed calls only. It may write without an end, though: the same call again and again, or
    a list that grows until `max_tokens` cut it; see `ends`. Native arguments are as the model wrote them.

    Args:
        request: what is asked. Its constraint, a `Schema`, is the shape of an answer; without one it is text.
        tools: what may be called; the model may always answer instead. None at all: it must answer.
        thought: the shape of what the model says first; natively it is asked in words.
        parallel: whether there may be several calls at once.
        answers: False where it must call a tool, "only" where it may call none any more.
        native: False asks in JSON even where the model has `tools`.
        retries: times a completion that is neither is asked again.
        ends: what keeps a masked answer within `max_tokens` (512 where the request names none) where no schema does.
            With `fitting` the first request is bounded by the schemas alone; where its answer was cut off, the next
            one is masked, and told, to the widest `Ends` with which the longest JSON has three characters a token; at
            the last retry one character, so that it ends. `Ends(...)` hold from the first request on, None never.

    Raises:
        OutputError: it never was.
        UserError: something is no tool, or two have one name, or natively that of a typed answer, or the request's
            constraint is no `Schema`, or there are fewer than no retries.
    """
    names = names_of(tools)
    if retries < 0 or not isinstance(request.constraint, Schema | None):
        msg = (
            f"next_calls got retries={retries!r} and the constraint {request.constraint!r}. "
            "Give at least 0 retries, and an answer the shape of a sy.schema(...), or none."
        )
        raise UserError(msg)
    asks_natively = ("tools" in model.capabilities if native is None else native) and bool(tools)
    if asks_natively and request.constraint is not None and ANSWER in names:
        msg = f"next_calls got a tool called {ANSWER!r}, which is how a model gives its typed answer. Rename it."
        raise UserError(msg)
    shown = tools if asks_natively or answers != "only" else ()
    form = (Native if asks_natively else InJson)(request, shown, thought, parallel=parallel, answers=answers)
    asked = form.request(model)
    whole = asked.constraint if isinstance(asked.constraint, Schema) else None
    if whole is not None and isinstance(ends, Ends):
        asked = replace(asked, constraint=ended(whole, ends))
    while True:
        completion = await model.complete(asked)
        found = form.read(completion)
        if isinstance(found, Calls):
            return found
        if not retries:
            msg = f"{model.name!r} was asked for a call or an answer and said {completion.text[:200]!r}: {found}."
            raise OutputError(f"{msg} Raise max_tokens, or use a better model.", text=completion.text, reason=found)
        retries -= 1
        said = completion.text or next((call.arguments for call in completion.tool_calls), "")
        turn = [Message("assistant", said)] if said else []  # endpoints refuse an empty one
        if completion.finish == "length" and whole is not None and ends == "fitting":
            room = (request.max_tokens or _TOKENS) * (_CHARACTERS if retries else 1)
            constraint, within = fitting(whole, room)
            asked = replace(asked, constraint=constraint)
            found = f"it was cut off. Keep to {within}."
        again = Message("user", f"That does not fit: {found}\nAnswer again.")
        asked = replace(asked, messages=(*asked.messages, *turn, again))


def names_of(tools: Tools) -> list[str]:
    """The tools' names.

    Raises:
        UserError: it is no list of tools, or two have the same name.
    """
    given: object = tools
    listed = given if isinstance(given, Collection) else [None]
    odd = [tool for tool in listed if not all(hasattr(tool, name) for name in _SPEC)]
    if odd:
        what = f"{tools!r:.200} is no list of tools" if odd == [None] else f"{odd[0]!r:.200} is no tool"
        raise UserError(f"{what}. Pass [...]; sy.tool(...) makes a tool of a function, a step or a program.")
    names = [tool.name for tool in tools]
    if len(set(names)) < len(names):
        raise UserError(f"Two of the tools {names!r} have the same name. Give each a name of its own.")
    return names
