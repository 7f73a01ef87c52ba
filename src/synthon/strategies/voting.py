"""Ask several times and let the answers vote."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeVar, cast

from synthon.core.errors import UserError
from synthon.core.identity import to_json
from synthon.core.settings import current
from synthon.strategies.thinking import chain_of_thought, named, predict
from synthon.strategies.together import together

if TYPE_CHECKING:
    from synthon.core.step import Step, Strategy

P = ParamSpec("P")
T = TypeVar("T")
_TEMPERATURE = 0.7  # the papers'


class Votes(Generic[T]):
    """Answers counted by their JSON; of equals the one leads whose JSON is first, in whatever order they came."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._answers: dict[str, T] = {}
        self._counts: Counter[str] = Counter()

    @property
    def left(self) -> int:
        """Votes that were not cast."""
        return self._most - self._counts.total()

    @property
    def leader(self) -> tuple[T, float]:
        """The answer most voted for, and its share of the votes cast."""
        name, count = min(self._counts.items(), key=lambda item: (-item[1], item[0]))
        return self._answers[name], count / self._counts.total()

    @property
    def open(self) -> int:
        """The fewest further votes that may decide; 0 when the leader cannot be overtaken any more."""
        first, second = [count for _, count in [*self._counts.most_common(2), ("", 0), ("", 0)]][:2]
        return 0 if first > second + self.left else min(self.left, (second + self.left - first) // 2 + 1)

    def cast(self, answer: T) -> None:
        """Count a vote."""
        name = to_json(answer)
        self._answers.setdefault(name, answer)
        self._counts[name] += 1


@dataclass(frozen=True, slots=True)
class self_consistency:  # noqa: N801 - users call it as a function
    """The answer that most of `n` sampled reasonings end in (Wang 2022, arXiv:2203.11171).

    Costs at most `n` times what `of` costs. Answers are equal if their JSON is; of equally many votes the answer
    wins whose JSON sorts first, so that a run read from its journal elects the same. `n` may be a knob.

    Attributes:
        n: samples, at most.
        of: how each is made.
        temperature: of the samples.
        early_stop: ask only as long as the majority may change: rounds of the fewest votes that may decide.
    """

    n: int = 5
    of: Strategy = chain_of_thought
    temperature: float = _TEMPERATURE
    early_stop: bool = True

    @property
    def name(self) -> str:
        """How saved programs name it."""
        return f"self_consistency({self.n!r}, of={named(self.of)})"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, answered by vote."""
        asked = current(self.of)(step.using(temperature=current(self.temperature)))

        async def voted(*args: P.args, **kwargs: P.kwargs) -> T:
            return (await _vote(lambda: asked(*args, **kwargs), current(self.n), early_stop=self.early_stop))[0]

        return voted


@dataclass(frozen=True, slots=True)
class uncertainty_routed:  # noqa: N801 - same
    """The majority of `n` sampled reasonings if its share reaches `threshold`, else the greedy answer.

    Gemini's CoT@32 (Gemini Team 2023, arXiv:2312.11805), its threshold to be set on validation data. Costs `n` times
    what `of` costs, and once more below the threshold.

    Attributes:
        n: samples.
        threshold: share of the votes, in 0..1.
    """

    n: int = 32
    threshold: float = 0.6
    of: Strategy = chain_of_thought
    temperature: float = _TEMPERATURE

    @property
    def name(self) -> str:
        """How saved programs name it."""
        return f"uncertainty_routed({self.n!r}, {self.threshold!r}, of={named(self.of)})"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, answered by a clear majority or greedily."""
        of, temperature = current(self.of), current(self.temperature)
        sampled, greedy = of(step.using(temperature=temperature)), of(step.using(temperature=0.0))

        async def routed(*args: P.args, **kwargs: P.kwargs) -> T:
            answer, share = await _vote(lambda: sampled(*args, **kwargs), current(self.n), early_stop=False)
            return answer if share >= current(self.threshold) else await greedy(*args, **kwargs)

        return routed


async def _vote(ask: Callable[[], Awaitable[T]], n: int, *, early_stop: bool) -> tuple[T, float]:
    if n < 1:
        raise UserError(f"A vote of {n} answers decides nothing. Pass `n` of at least 1.")
    votes: Votes[T] = Votes(n)
    while votes.open if early_stop else votes.left:
        for answer in await together(ask() for _ in range(votes.open if early_stop else votes.left)):
            votes.cast(answer)
    return votes.leader


@dataclass(frozen=True, slots=True)
class shuffled_ensemble:  # noqa: N801 - same
    """A vote over `n` orders of the choices, so that no place is preferred (Medprompt, Nori 2023, arXiv:2311.16452).

    The first vote sees the order given; the others are shuffled by `seed`. An answer that is one of the
    choices is taken as it is; else one that is a place (an int, or a letter A, B, ...) is mapped back to the order
    given.

    Attributes:
        choices: the step's input that lists them.
        n: orders.
        of: how each vote is made.
    """

    choices: str
    n: int = 5
    of: Strategy = predict
    seed: int = 0

    @property
    def name(self) -> str:
        """How saved programs name it."""
        return f"shuffled_ensemble({self.choices!r}, {self.n!r}, of={named(self.of)})"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, answered by vote over orders."""
        asked = cast("Callable[..., Awaitable[T]]", current(self.of)(step))

        async def voted(*args: P.args, **kwargs: P.kwargs) -> T:
            inputs = step.bound(*args, **kwargs)
            n = current(self.n)
            if n < 1 or isinstance(inputs.get(self.choices, ""), str):
                msg = (
                    f"{self.name} cannot shuffle the inputs {list(inputs)} of step {step.name!r}. "
                    "Name an input that is a list, and at least 1 order."
                )
                raise UserError(msg)
            given = list(cast("Sequence[object]", inputs[self.choices]))
            orders = [random.Random(f"{self.seed}:{vote}").sample(range(len(given)), len(given)) for vote in range(n)]
            orders[0] = list(range(len(given)))
            shuffled = [inputs | {self.choices: [given[place] for place in order]} for order in orders]
            votes: Votes[T] = Votes(n)
            answers = await together(asked(**each) for each in shuffled)
            for answer, order in zip(answers, orders, strict=True):
                votes.cast(_mapped(answer, order, given))
            return votes.leader[0]

        return voted


def _mapped(answer: T, order: Sequence[int], choices: Sequence[object]) -> T:
    """An answer by place, as the place in the order given."""
    if any(type(answer) is type(choice) and answer == choice for choice in choices):
        return answer
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(order):
        return cast("T", order[answer])
    if (
        isinstance(answer, str)
        and len(answer.upper()) == 1
        and 0 <= (place := ord(answer.upper()) - ord("A")) < len(order)
    ):
        letter = chr(ord("A") + order[place])
        return cast("T", letter if answer.isupper() else letter.lower())
    return answer
