"""Parts as a user puts them together; mypy and pyright, both strict, must accept them."""

from pydantic import BaseModel

import synthon as sy
from synthon.guards import Fail, Pass, choices, guard, guarded, length
from synthon.models.anthropic_model import AnthropicMessages
from synthon.models.openai_model import OpenAIChat

own = sy.Retrying(sy.Journaled(OpenAIChat("small"), price=sy.Price(0.1, 0.4)))
other: sy.Model = AnthropicMessages("claude-haiku-4-5")
manual = sy.Index("manual.db", embedder=sy.openai_embedder("text-embedding-3-small"))


class Review(BaseModel):
    title: str
    tags: list[str]


def no_dots(value: str) -> Pass | Fail:
    return Fail("leave the dots out") if "." in value else Pass()


@sy.step(
    model=sy.Fallback(own, other),
    guards=[guard(no_dots, length(at_most=12), field="title"), guard(choices("tools"), field="tags.*", then="filter")],
)
async def review(product: str) -> Review:
    """Review the product."""
    ...


async def use() -> None:
    await guarded("a.b", guard(no_dots, then="noop"))
    await review.using(model=other)("a hammer")
