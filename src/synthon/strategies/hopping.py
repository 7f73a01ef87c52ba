"""Search in hops: what was found decides what is searched next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from synthon.core.errors import UserError
from synthon.core.render import shown
from synthon.core.settings import current
from synthon.core.values import Passage
from synthon.strategies.thinking import Asked, named, predict

if TYPE_CHECKING:
    from synthon.core.protocols import Retriever
    from synthon.core.render import Render, Rendering
    from synthon.core.step import Step, Strategy
    from synthon.core.values import Message

P = ParamSpec("P")
T = TypeVar("T")
_CONDENSE = "Write down, in one or two sentences, what the passages say that helps. Do not answer yet."
_SEARCH = "What is still missing? Write one short search query for it, and nothing else."


@dataclass(frozen=True, slots=True)
class multi_hop:  # noqa: N801 - users call it as a function
    """The step, answered from passages found in `hops`, each searched for what the last one left open.

    Condensed retrieval (Baleen, Khattab 2021, arXiv:2101.00436), by prompts in place of its trained parts: the first
    hop searches the question, each further one a query that the model writes after a condensed context of what was
    found. No passage comes twice. Costs `hops` searches and two calls for each hop but the last, then the answer's.

    Attributes:
        retriever: what is searched.
        hops: searches, at least 1.
        k: passages of each.
        of: how the answer is made; it sees all passages and what was condensed.

    Raises:
        UserError: the step has an input named `passages` or `known`, as which it shows them.
    """

    retriever: Retriever
    hops: int = 2
    k: int = 3
    of: Strategy = predict

    @property
    def name(self) -> str:
        """How saved programs name it."""
        return f"multi_hop({named(self.retriever)}, {self.hops!r}, of={named(self.of)})"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, answered after its hops."""

        async def hopped(*args: P.args, **kwargs: P.kwargs) -> T:
            inputs = step.bound(*args, **kwargs)
            if taken := inputs.keys() & {"passages", "known"}:
                msg = (
                    f"multi_hop shows what it finds as 'passages' and 'known', but step {step.name!r} has inputs "
                    f"{sorted(taken)} of its own. Leave them out, or name them otherwise."
                )
                raise UserError(msg)
            query = "\n".join(shown(value) for name, value in inputs.items() if name not in step.talks)
            passages: list[Passage] = []
            facts: list[str] = []
            hops = max(1, current(self.hops))
            for hop in range(hops):
                found = await self.retriever.search(query, k=current(self.k))
                fresh = [passage for passage in found if _place(passage) not in set(map(_place, passages))]
                passages += fresh
                if hop == hops - 1:
                    break
                asked = Among(step.render, fresh, facts)
                facts.append(await step.returning(str, render=Asked(asked, _CONDENSE))(*args, **kwargs))
                asked = Among(step.render, (), facts)
                written = await step.returning(str, render=Asked(asked, _SEARCH))(*args, **kwargs)
                query = written.strip().strip("\"'") or query
            return await current(self.of)(replace(step, render=Among(step.render, passages, facts)))(*args, **kwargs)

        return hopped


def _place(passage: Passage) -> tuple[str, int, int, str]:
    return passage.document, passage.start, passage.end, "" if passage.document else passage.text


@dataclass(frozen=True, slots=True)
class Among:
    """A step's messages with passages, and what is known of earlier ones, before its inputs.

    A worked example has `example` as its messages, which shows it none of them.
    """

    render: Render
    passages: Sequence[Passage]
    facts: Sequence[str] = ()

    @property
    def example(self) -> Render:
        """The step's own messages."""
        return self.render

    def __call__(self, rendering: Rendering) -> list[Message]:
        added: dict[str, object] = {"passages": list(self.passages)} if self.passages else {}
        added |= {"known": "\n".join(self.facts)} if self.facts else {}
        return self.render(replace(rendering, inputs={**added, **rendering.inputs}))
