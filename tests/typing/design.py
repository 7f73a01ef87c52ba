"""The design's example as a user writes it; mypy and pyright, both strict, must accept it and infer its types."""

from typing import Literal, assert_type

from pydantic import BaseModel

import synthon as sy


class Ticket(BaseModel):
    intent: Literal["card", "refund", "other"]
    urgent: bool


class Answer(BaseModel):
    text: str
    sources: list[int]


small = sy.local()
large = sy.openai("qwen3-8b", base_url="http://127.0.0.1:8000/v1", price=sy.Price(0.05, 0.20))
manual = sy.Index("manual.db")


@sy.step(model=sy.cascade(small, large, accept=sy.knob(0.5, 0.7, 0.9, 0.99)), demos=sy.knn(0, 4, 8), max_tokens=40)
async def route(message: str) -> Ticket:
    """Decide what the customer wants."""
    ...


@sy.step(model=sy.one_of(small, large), temperature=sy.knob(0.0, 0.7))
async def answer(question: str, passages: list[sy.Passage]) -> Answer:
    """Answer from the passages only and cite their numbers."""
    ...


@sy.step
async def bare(question: str) -> str:
    """Answer shortly."""
    ...


@answer.check(retries=1)
def cites(output: Answer) -> str | None:
    return None if output.sources else "cite at least one passage"


@answer.check
def short(output: Answer, question: str) -> str | None:
    return None if len(output.text) < 10 * len(question) else "be shorter"


@answer.check(retries=2)
async def kind(output: Answer) -> str | None:
    return None if "!" not in output.text else "do not shout"


@sy.program
async def support(message: str, *, k: int = sy.knob(2, 4, 8)) -> Answer:
    ticket = await route(message)
    assert_type(ticket, Ticket)
    passages = await manual.search(f"{ticket.intent}: {message}", k=k)
    assert_type(passages, list[sy.Passage])
    return await answer(message, passages)


async def use() -> None:
    assert_type(await support("Where is my card?"), Answer)
    assert_type(await support("Where is my card?", k=4), Answer)
    assert_type(support.sync("Where is my card?"), Answer)
    assert_type(await answer.using(temperature=0.0)("q", []), Answer)
    assert_type(await support.using("support.json", k=4)("q"), Answer)
    assert_type(await answer.explain("q", []), sy.Explanation)
    async with support.stream("Where is my card?") as stream:
        async for delta in stream:
            assert_type(delta, sy.Delta)
        assert_type(await stream.result(), Answer)
    assert_type(await sy.run(support, "q", run_id="one", budget=sy.Budget(calls=3)), Answer)
    assert_type(await sy.run_many(support, ["q"], workers=2), list[Answer | sy.Failed])
    assert_type(await bare("q"), str)
    assert_type(sy.one_of(1, "a"), int | str)
    assert_type(sy.between(0.1, 0.9), float)


async def misuse() -> None:
    await support(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await route()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await answer("q", ["text"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    route.sync(message=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    (await route("q")).intnt  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


@answer.check  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
def takes_the_wrong_output(output: Ticket) -> str | None:
    return None if output.urgent else "hurry"


class Own:
    """A user's model without inheritance, as a frozen dataclass or a plain class."""

    name = "own"
    identity = "own:1"
    capabilities: frozenset[sy.Capability] = frozenset({"chat"})

    async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
        return sy.Completion(request.messages[-1].text)


own: sy.Model = Own()
retried: sy.Model = sy.Retrying(sy.Fallback(sy.Journaled(own), small), tries=2)


@sy.tool
def double(number: int) -> int:
    """Double a number."""
    return 2 * number


@sy.tool(effects={"read"}, timeout_s=3)
async def look(place: str, *, key: sy.IdempotencyKey = "") -> list[str]:
    """Look at a place."""
    return [place]


async def tools() -> None:
    assert_type(await double(1), int)
    assert_type(await look("here"), list[str])
    await look(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    delegate: sy.Tool = sy.tool(support)
    assert_type(delegate.name, str)


Kind = Literal["card", "refund"]


@sy.step(model=small)
async def which(message: str) -> Kind:
    """Which is it?"""
    ...


def same(case: sy.Case[Kind], output: Kind) -> float:
    return float(case.expected == output)


async def literals() -> None:
    rows: sy.Cases[Kind] = sy.cases("kinds.csv", Kind)
    await sy.evaluate(which, rows, same)
    await sy.evaluate(which, sy.cases("kinds.csv", Kind), same)
