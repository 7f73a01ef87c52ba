"""A model and two steps, of which the second blames the first."""

import asyncio
from collections import Counter
from typing import Literal

import synthon as sy

Level = Literal["require", "suggest"]


class Scripted:
    """A model behind the journal that counts what reaches it; a turn "not X" is answered with another query."""

    def __init__(self, delay_s: float = 0.0) -> None:
        self.asked: Counter[str] = Counter()
        self.delay_s = delay_s
        self.model = sy.Journaled(sy.FunctionModel(self.answer, identity="scripted"))

    async def answer(self, request: sy.Request) -> str:
        told = [message.text for message in request.messages[1:]]
        self.asked[" | ".join(told)] += 1
        await asyncio.sleep(self.delay_s)
        tries = sum(message.role == "assistant" for message in request.messages)
        return f"{told[0]}/{tries}" if tries else told[0]


def pieces(blamed_retries: int = 1, level: Level = "require") -> tuple[sy.Step[[str], str], sy.Step[[str], str]]:
    @sy.step
    async def query(text: str) -> str:
        """Write a query."""
        ...

    @sy.step
    async def reply(found: str) -> str:
        """Reply."""
        ...

    @reply.check(retries=blamed_retries, blame=query, level=level)
    def finds(output: str) -> str | None:
        return None if output.endswith("/1!") else "the query found nothing"

    return query, reply
