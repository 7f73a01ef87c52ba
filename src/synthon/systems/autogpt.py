"""AutoGPT, the classic: an agent with a name, a role and goals that a person may lead step by step."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from synthon.core.errors import BudgetExceeded, LoopDetected, UserError
from synthon.core.output import schema
from synthon.core.program import Program, program
from synthon.core.step import step
from synthon.strategies.acting import agent

if TYPE_CHECKING:
    from synthon.core.budget import Budget
    from synthon.core.constraints import Schema
    from synthon.core.protocols import Tool
    from synthon.core.values import ToolCall
    from synthon.strategies.remembering import Memory

_SAID = {"type": "string", "maxLength": 160}
_NAMES = ("text", "reasoning", "plan", "criticism", "speak")
#: What is thought before each command.
THOUGHTS = schema(
    {"type": "object", "properties": dict.fromkeys(_NAMES, _SAID), "required": list(_NAMES)}, name="thoughts"
)
Ask = Callable[[str], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What it finished with, None where it did not, and how it ended."""

    answer: str | None
    ended: Literal["finished", "stopped", "steps or budget", "circle"]


class _Stopped(Exception):
    """A person ended it; it never leaves this file."""


class _Gate:
    """A person before each command: `y` lets one go, `y -N` the next N, `n` ends it, anything else is feedback."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._free = 0

    async def __call__(self, call: ToolCall, thoughts: str) -> str | None:
        if self._free:
            self._free -= 1
            return None
        said = (await self._ask(_shown(call, thoughts))).strip()
        if said.casefold() == "n":
            raise _Stopped
        found = re.fullmatch(r"y(?:es)?(?:\s*-\s*(\d+))?", said, re.IGNORECASE)
        if found is None:
            return f"The person did not let it go and says: {said or 'nothing'}"
        self._free = max(0, int(found[1] or 1) - 1)
        return None


def _shown(call: ToolCall, thoughts: str) -> str:
    try:
        lines = [f"{name}: {said}" for name, said in json.loads(thoughts).items()]
    except (ValueError, AttributeError):
        lines = [thoughts] if thoughts else []
    question = "Let it go? y, y -N for the next N commands, n to end, or feedback:"
    return "\n".join([*lines, f"next command: {call.name} {call.arguments}", question])


@step(max_tokens=600)
async def act(name: str, role: str, goals: list[str]) -> str:
    """You are an autonomous agent with this name, role and goals.

    Decide without help. Use one command at a time, and only those you were given. Criticise yourself: every command
    costs, so take few. When all goals are reached, answer with what was achieved.
    """
    raise NotImplementedError


def autogpt(
    name: str,
    role: str,
    goals: Sequence[str],
    commands: Sequence[Tool],
    *,
    ask: Ask | None = None,
    memory: Memory | None = None,
    thoughts: Schema = THOUGHTS,
    steps: int = 25,
    least: int = 0,
    budget: Budget | None = None,
) -> Program[[], Outcome]:
    """A program `pursue()` (AutoGPT, Toran Bruce Richards, Significant Gravitas 2023).

    Each step the model thinks (text, reasoning, plan, criticism, speak) and gives one command with its arguments, or
    finishes; both are typed, and masked where the model allows, so a small model never breaks the form. The result, or
    a person's feedback, goes into its history. The original loops on repeated commands and has no budget; here circles
    are told and stopped, and steps and budget end it. Costs one call a step.

    Args:
        name: of the agent.
        role: what it is.
        goals: at least one.
        commands: tools; a memory is recalled by itself.
        ask: puts each command to a person, `sy.ask_person` say; None goes on without (its continuous mode).
        memory: what commands gave is kept in it and recalled by the goals.
        thoughts: what is thought before each command; a small model is quicker with less.
        steps: commands at most.
        least: commands before it may finish.
        budget: of one run, on top of the run's own.

    Raises:
        UserError: no goals, or a text in place of a list of them.
    """
    if isinstance(goals, str) or not goals:
        raise UserError(f"The goals of {name!r} are {goals!r}. Pass a list of texts, such as ['Write a report.'].")
    work = agent(commands, steps, thought=thoughts, memory=memory, least=least, budget=budget, name="autogpt")

    @program(uses=[act.using(strategy=work)])
    async def pursue() -> Outcome:
        """Pursue the goals."""
        led = replace(work, approve=_Gate(ask) if ask else None)
        try:
            answer = await act.using(strategy=led)(name, role, list(goals))
        except _Stopped:
            return Outcome(None, "stopped")
        except BudgetExceeded:
            return Outcome(None, "steps or budget")
        except LoopDetected:
            return Outcome(None, "circle")
        return Outcome(answer, "finished")

    return pursue
