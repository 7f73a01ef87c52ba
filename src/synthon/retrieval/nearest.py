"""Find the worked examples nearest to a question."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from synthon.core.errors import UserError
from synthon.core.identity import digest, dumps, to_json
from synthon.core.recording import recorded
from synthon.core.render import shown
from synthon.models.embedders import embedder as packaged_embedder
from synthon.retrieval.dense import checked, embedded

if TYPE_CHECKING:
    from synthon.core.protocols import Embedder, FloatArray
    from synthon.core.render import Demo


class Examples:
    """Worked examples and the embedder that finds the nearest; made by `nearest`, chosen from by `sy.knn`."""

    def __init__(self, examples: Sequence[Demo], embedder: Embedder | str | None = None, *, unit: bool = True) -> None:
        self.examples, self._unit = tuple(examples), unit
        self._given = embedder
        self._vectors: FloatArray | None = None
        self._embedding: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[FloatArray]] = WeakKeyDictionary()

    def saved(self) -> dict[str, object]:
        """What a saved program keeps of it: the examples, and the packaged embedder's name.

        Raises:
            UserError: the embedder was not given by name.
        """
        if not isinstance(self._given, str | None):
            msg = f"{self.name!r} has the embedder {self._given!r}, which no file can hold. Pass a packaged one's name."
            raise UserError(msg)
        return {"examples": self.examples, "embedder": self._given}

    @property
    def name(self) -> str:
        """How saved programs name it: by what it holds."""
        return f"nearest({self.digest})"

    @cached_property
    def digest(self) -> str:
        """What decides its answers but the embedder: the examples, in order; 16 hex digits."""
        rows = [
            [json.loads(to_json(demo.inputs)), json.loads(to_json(demo.output)), demo.thought] for demo in self.examples
        ]
        return digest(dumps(rows))[:16]

    @cached_property
    def embedder(self) -> Embedder:
        """What embeds them.

        Raises:
            MissingExtra: the packaged embedder is not on this machine.
            UserError: what was given is no embedder.
        """
        given = self._given
        return checked(
            packaged_embedder() if given is None else packaged_embedder(given) if isinstance(given, str) else given
        )

    async def nearest(self, inputs: Mapping[str, object], k: int) -> Sequence[Demo]:
        """At most `k` examples, the nearest last, next to the question; of equals the first counts as nearer.

        An example whose inputs are the question's own is left out: it would tell the answer.
        """
        asked = text_of(inputs)

        async def act() -> str:
            return json.dumps(await self._order(asked, k))

        arguments = {"examples": self.name, "embedder": self.embedder.identity, "inputs": asked, "k": k}
        places: list[int] = json.loads(await recorded("nearest", arguments, act, kind="search"))
        return [self.examples[place] for place in reversed(places)]

    async def _order(self, asked: str, k: int) -> list[int]:
        texts = [text_of(demo.inputs) for demo in self.examples]
        if not texts:
            return []
        vectors = await self.vectors()
        question = await embedded(self.embedder, [asked])
        order = np.argsort(-np.round(vectors @ question[0], 6), kind="stable")
        return [int(place) for place in order if texts[place] != asked][:k]

    async def vectors(self) -> FloatArray:
        """The examples' vectors, in order; those who ask at once wait for one embedding."""
        if self._vectors is None:
            loop = asyncio.get_running_loop()
            task = self._embedding.get(loop)
            if task is None or (task.done() and (task.cancelled() or task.exception())):
                texts = [text_of(demo.inputs) for demo in self.examples]
                task = self._embedding[loop] = loop.create_task(embedded(self.embedder, texts, unit=self._unit))
            self._vectors = await asyncio.shield(task)
        return self._vectors


def nearest(examples: Sequence[Demo], *, embedder: Embedder | str | None = None) -> Examples:
    """A selector of the examples whose inputs mean most nearly the same (KATE, Liu 2021, arXiv:2101.06804).

    Pass it as `sy.knn(4, selector=sy.nearest(examples))`. The examples are embedded at the first question, together;
    each question is one more text. A choice is a journaled call.

    Args:
        examples: what is chosen from.
        embedder: or a packaged one's name; None takes the packaged MiniLM. A program is saved with named ones only.

    Raises:
        MissingExtra: the packaged embedder is not on this machine.
    """
    return Examples(examples, embedder)


def text_of(inputs: Mapping[str, object]) -> str:
    """An example's inputs as one text, without their names: these are the same in all."""
    return "\n".join(shown(value) for value in inputs.values())


__all__ = ["Examples", "nearest"]
