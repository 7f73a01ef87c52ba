"""Medprompt: nearest worked examples with the model's own reasoning, and a vote over shuffled choices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar

from synthon.core.errors import UserError
from synthon.core.settings import knn
from synthon.retrieval.nearest import nearest
from synthon.strategies.demonstrating import equal, reasoned
from synthon.strategies.thinking import ChainOfThought, chain_of_thought, predict
from synthon.strategies.voting import shuffled_ensemble

if TYPE_CHECKING:
    from synthon.core.protocols import Embedder
    from synthon.core.render import Demo
    from synthon.core.step import Step

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Medprompt(Generic[P, T]):
    """A step under Medprompt, and under the rungs that lead there; made by `medprompt`.

    Attributes:
        bare: the step alone, asked once.
        nearest: with the nearest examples and their right answers.
        reasoned: with the nearest of `kept`, and reasoning before the answer.
        whole: with a vote over shuffled choices on top: Medprompt.
        kept: the examples whose right answer the model's own reasoning reached.
    """

    bare: Step[P, T]
    nearest: Step[P, T]
    reasoned: Step[P, T]
    whole: Step[P, T]
    kept: tuple[Demo, ...]

    async def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The whole's answer."""
        return await self.whole(*args, **kwargs)


async def medprompt(
    step: Step[P, T],
    train: Sequence[Demo],
    choices: str,
    *,
    k: int = 5,
    votes: int = 5,
    embedder: Embedder | None = None,
    of: ChainOfThought = chain_of_thought,
    agrees: Callable[[T, T], bool] | None = None,
    tries: int = 1,
) -> Medprompt[P, T]:
    """Prepare a step over multiple choices (Medprompt, Nori 2023, arXiv:2311.16452).

    The model reasons about each training example; what ends in the wrong answer is thrown away. A question is then
    asked with the `k` nearest of the rest before it, reasoned about, under `votes` orders of its choices, and the
    majority, mapped back, stands. Where the paper takes text-embedding-ada-002, here it is `embedder`.

    Args:
        step: takes the choices as one of its inputs.
        train: inputs and right outputs.
        choices: the input that lists them.
        k: examples shown.
        votes: orders.
        embedder: None takes the packaged MiniLM.
        of: how it reasons.
        agrees: whether an answer is the right one; by default their JSON must be equal.
        tries: of each training example; see `reasoned`.

    Raises:
        UserError: no training example was answered rightly.
    """
    kept = tuple(await reasoned(step, train, of=of, agrees=agrees or equal, tries=tries))
    if not kept:
        msg = (
            f"Medprompt found no example among {len(train)} that step {step.name!r} answers rightly after its own "
            "reasoning. Raise `tries`, pass more examples, or use a better model."
        )
        raise UserError(msg)
    shown = step.using(demos=knn(k, selector=nearest(train, embedder=embedder)), strategy=predict)
    explained = step.using(demos=knn(k, selector=nearest(kept, embedder=embedder)), strategy=of)
    whole = explained.using(strategy=shuffled_ensemble(choices, votes, of=of))
    return Medprompt(step.using(strategy=predict, demos=()), shown, explained, whole, kept)
