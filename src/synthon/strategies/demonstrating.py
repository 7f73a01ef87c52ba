"""Worked examples that the model reasons out itself, kept where its answer is right."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from synthon.core.errors import OutputError, UserError
from synthon.core.identity import to_json
from synthon.core.render import Demo
from synthon.strategies.thinking import ChainOfThought, chain_of_thought
from synthon.strategies.together import together

if TYPE_CHECKING:
    from synthon.core.step import Step

P = ParamSpec("P")
T = TypeVar("T")


def equal(found: object, wanted: object) -> bool:
    """Whether two answers have the same JSON."""
    return to_json(found) == to_json(wanted)


async def reasoned(
    step: Step[P, T],
    train: Sequence[Demo],
    *,
    of: ChainOfThought = chain_of_thought,
    agrees: Callable[[T, T], bool] = equal,
    tries: int = 1,
    workers: int = 8,
) -> list[Demo]:
    """The training examples whose answer the model's own reasoning reaches, each with that reasoning, in order.

    Self-generated chain of thought (Medprompt, Nori 2023, arXiv:2311.16452): a reasoning that ends in a wrong answer is
    thrown away. Costs two calls for each try of a row.

    Args:
        step: asked without demonstrations and strategy.
        train: inputs and right outputs.
        of: how it reasons.
        agrees: whether an answer is the right one; by default their JSON must be equal.
        tries: of each row; after the first they are sampled at temperature 0.7.
        workers: rows at once.

    Raises:
        UserError: `tries` or `workers` is below 1.
    """
    if tries < 1 or workers < 1:
        raise UserError(f"reasoned cannot work with tries={tries!r} and workers={workers!r}. Pass at least 1 of each.")
    bare = step.using(strategy=None, demos=())
    gate = asyncio.Semaphore(workers)

    async def explained(row: Demo) -> Demo | None:
        ask = cast("Step[..., T]", bare)
        async with gate:
            for number in range(tries):
                asked = ask if number == 0 else ask.using(temperature=0.7)
                thought = await of.thinking(asked)(**row.inputs)
                try:
                    answer = await of.answering(asked, thought)(**row.inputs)
                except OutputError:  # no answer is a wrong one
                    continue
                if agrees(answer, cast("T", row.output)):
                    return Demo(row.inputs, row.output, thought)
        return None

    found = await together(map(explained, train))
    return [demo for demo in found if demo is not None]
