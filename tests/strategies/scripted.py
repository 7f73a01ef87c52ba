"""Models that say what a script says, and keep what they were asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import synthon as sy

if TYPE_CHECKING:
    from collections.abc import Callable

Answer = str | sy.Completion


class Scripted:
    """Says what a function makes of the request, or the answers in turn; keeps the requests."""

    name = "scripted"
    identity = "scripted"

    def __init__(
        self, *answers: Answer, say: Callable[[sy.Request], Answer] | None = None, able: tuple[str, ...] = ("chat",)
    ) -> None:
        self.answers, self.say = list(answers), say
        self.capabilities: frozenset[Any] = frozenset(able)
        self.seen: list[sy.Request] = []

    async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
        self.seen.append(request)
        answer = self.say(request) if self.say else self.answers.pop(0)
        return sy.Completion(answer) if isinstance(answer, str) else answer


def said(request: sy.Request) -> str:
    """All that a request says."""
    return "\n".join(message.text for message in request.messages)
