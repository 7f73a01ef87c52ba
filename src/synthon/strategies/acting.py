"""Let a model act: it calls tools and sees what they give, until it knows the answer."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, ParamSpec, TypeAlias, TypeVar

from synthon.core.budget import Budget
from synthon.core.constraints import Schema
from synthon.core.errors import BudgetExceeded, ContextTooLong, UserError
from synthon.core.output import schema
from synthon.core.running import budgeted
from synthon.core.settings import current
from synthon.core.values import Completion, Message, Text, ToolResult
from synthon.strategies.calling import names_of, next_calls
from synthon.strategies.ending import Ends
from synthon.strategies.looping import Circles
from synthon.strategies.thinking import Asked
from synthon.strategies.through import through
from synthon.tools import call_all

if TYPE_CHECKING:
    from synthon.core.protocols import Model, Tool
    from synthon.core.step import Step
    from synthon.core.values import Request, ToolCall
    from synthon.strategies.moves import Calls
    from synthon.strategies.remembering import Memory

P = ParamSpec("P")
T = TypeVar("T")
Approve: TypeAlias = "Callable[[ToolCall, str], Awaitable[str | None] | str | None]"
THOUGHT = schema({"type": "string", "maxLength": 400}, name="thought")
_SHORTEST = 200  # characters that are left of a result where the context is full


@dataclass(frozen=True, slots=True)
class agent:  # noqa: N801 - users call it as a function
    """The model calls tools in a loop until it gives the step's typed answer, which guards and checks then hold.

    The loop of ReAct (Yao 2022, arXiv:2210.03629) with the brakes that AutoGPT lacked. A tool's failure goes back to
    the model as a result. Equal steps with equal results are told so and then stopped; where the context is full, the
    oldest steps are left out. A run that was killed goes on: calls and results are read from its journal.

    Attributes:
        tools: what it may call; `sy.tool(program)` is one, so that handing over to a sub-agent is a call.
        steps: turns of the model at most, one model call each.
        thought: the shape of what it says before each turn; None for nothing.
        parallel: whether a turn may hold several calls; they run at once.
        budget: limits of one call of the step, on top of the run's.
        memory: keeps what the tools gave, and recalls what goes with the goal; see `Memory`.
        approve: hears each call and what was thought before it; returns None to let it go, else what the model is told
            in place of a result.
        native: False asks in JSON even where the model takes tools.
        patience: times it is told that it goes round in a circle.
        least: steps before it may answer; a small model is quick to say that it knows.
        last: at the last step, `raise`, or `answer`: leave it no tool.
        ends: bounds of a masked turn where no schema sets one; see `next_calls`.

    Raises:
        UserError: `steps` or `patience` is below 0, something is no tool, or `approve` gave neither None nor a text.
        BudgetExceeded: steps or budget are used up.
        LoopDetected: it goes round in a circle.
    """

    tools: Sequence[Tool]
    steps: int = 20
    thought: Schema | None = THOUGHT
    parallel: bool = False
    budget: Budget | None = None
    memory: Memory | None = None
    approve: Approve | None = None
    native: bool | None = None
    patience: int = 2
    least: int = 0
    last: Literal["raise", "answer"] = "raise"
    ends: Ends | Literal["fitting"] | None = "fitting"
    name: str = "agent"

    def __post_init__(self) -> None:
        names_of(self.tools)
        given: dict[str, object] = {"steps": self.steps, "patience": self.patience}  # or knobs
        for name, value in given.items():
            if isinstance(value, int) and value < 0:
                raise UserError(f"An agent cannot have {name}={value!r}. Pass at least 0.")

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, answered by acting."""

        async def acted(*args: P.args, **kwargs: P.kwargs) -> T:
            asked = replace(step, render=Asked(step.render))
            limit = None if self.budget is None else like(self.budget)
            with nullcontext() if limit is None else budgeted(limit):
                return await through(asked, _Work(self, current(self.steps)).answer, "schema")(*args, **kwargs)

        return acted


def react(tools: Sequence[Tool], steps: int = 8) -> agent:
    """Thought, action, observation in turn; at the last step the model must answer (Yao 2022, arXiv:2210.03629)."""
    return agent(tools, steps, last="answer", name="react")


@dataclass(slots=True)
class _Work:
    """One call of the step: what was done so far; a failed answer comes back here with what is wrong."""

    of: agent
    left: int
    asked: tuple[Message, ...] = ()
    turns: list[list[Message]] = field(default_factory=list)
    heard: int = 0
    recalled: str | None = None

    async def answer(self, model: Model, request: Request) -> Completion:
        self.turns += [[message] for message in request.messages[self.heard :]] if self.asked else []
        self.asked, self.heard = self.asked or request.messages, len(request.messages)
        circles = Circles(self.of.patience)
        while self.left > 0:
            self.left -= 1
            found = await self._next(model, request)
            if found.answer is not None:
                return Completion(found.answer, model=model.name)
            results = [await self._approved(call, found.thought) for call in found.calls]
            allowed = [call for call, refused in zip(found.calls, results, strict=True) if refused is None]
            given = iter(await call_all(self.of.tools, allowed))
            done = [next(given) if refused is None else refused for refused in results]
            note = circles.note(found.calls, done)
            if self.of.memory is not None:
                await self.of.memory.store(found, done)
            self.turns.append([found.turn, *found.results(done, note)])
        msg = (
            f"The agent used up its {current(self.of.steps)} steps on {self._goal[:200]!r}. "
            "Raise `steps`, give a smaller goal, or use a better model."
        )
        raise BudgetExceeded(msg, limit=f"steps={current(self.of.steps)}")

    @property
    def _goal(self) -> str:
        return self.asked[-1].text

    async def _next(self, model: Model, request: Request) -> Calls:
        """The next turn, after as much of what was done as the context holds."""
        answers: bool | Literal["only"] = current(self.of.steps) - self.left > self.of.least
        if self.of.last == "answer" and not self.left:
            answers = "only"
        if self.of.memory is not None and self.recalled is None:
            self.recalled = await self.of.memory.recall(self._goal)
        while True:
            known = [Message("user", self.recalled)] if self.recalled else []
            messages = (*self.asked, *known, *(message for turn in self.turns for message in turn))
            asked = replace(request, messages=messages)
            of = self.of
            try:
                return await next_calls(
                    model, asked, of.tools, thought=of.thought, parallel=of.parallel, answers=answers, native=of.native,
                    ends=of.ends,
                )  # fmt: skip
            except ContextTooLong:
                if not await self._forgot():
                    raise

    async def _forgot(self) -> bool:
        """Leave out the older half of the turns, of a single one the end of its texts; False if nothing can go."""
        if len(self.turns) > 1:
            del self.turns[: (len(self.turns) + 1) // 2]
            if self.of.memory is not None:
                self.recalled = await self.of.memory.recall(self._goal)
            return True
        before = self.turns
        self.turns = [[_halved(message) for message in turn] for turn in before]
        return self.turns != before

    async def _approved(self, call: ToolCall, thought: str) -> ToolResult | None:
        """None to let the call go, else the result in its place."""
        found = self.of.approve(call, thought) if self.of.approve else None
        said = await found if inspect.isawaitable(found) else found
        if not isinstance(said, str | None):
            msg = (
                f"approve= gave {said!r:.200} to the call of {call.name!r}. Return None to let it go, else a text that"
            )
            raise UserError(f"{msg} the model is told in place of a result.")
        return None if said is None else ToolResult(call.id, (Text(said or "The call was refused."),), is_error=True)


def _halved(message: Message) -> Message:
    if isinstance(message.content, str):
        half = max(_SHORTEST, len(message.content) // 2)
        is_result = message.role == "user" and len(message.content) > half
        return replace(message, content=f"{message.content[:half]}...") if is_result else message
    parts = tuple(
        replace(part, content=tuple(_cut(each) if isinstance(each, Text) else each for each in part.content))
        if isinstance(part, ToolResult)
        else part
        for part in message.content
    )
    return replace(message, content=parts)


def _cut(text: Text) -> Text:
    half = max(_SHORTEST, len(text.text) // 2)
    return replace(text, text=f"{text.text[:half]}...") if len(text.text) > half + 3 else text


def like(budget: Budget) -> Budget:
    """The same limits, nothing spent."""
    limits = {name: getattr(budget, name) for name in ("calls", "tokens", "usd", "minutes")}
    return Budget(**limits, durable=budget.durable)
