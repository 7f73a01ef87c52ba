"""Sample many programs, keep those that pass the tests, and pick from the largest group that behaves alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, ParamSpec, TypeAlias, TypeVar, cast

from synthon.core.errors import CheckFailed, OutputError, UserError
from synthon.core.identity import dumps, to_json
from synthon.core.settings import current
from synthon.strategies.choosing import called, scored
from synthon.strategies.programming import python_of, ran
from synthon.strategies.thinking import named, predict
from synthon.strategies.together import together

if TYPE_CHECKING:
    from synthon.core.step import Step, Strategy
    from synthon.tools import Sandbox

P = ParamSpec("P")
T = TypeVar("T")
Snippets: TypeAlias = str | Sequence[str] | Callable[..., object]


@dataclass(frozen=True, slots=True)
class generate_and_test:  # noqa: N801 - users call it as a function
    """The best of `n` programs by tests, behaviour and score (AlphaCode, Li 2022, arXiv:2203.07814; AlphaCode 2, 2023).

    Samples at several temperatures and under several hints; drops those that fail a test in the sandbox (all stay where
    all fail); groups the rest by what they give on `probes`; of the `clusters` largest groups takes the one that
    `scorer` likes best, else the largest, and of its programs, as of equal groups, that whose JSON sorts first. Each
    part may be left out: without tests nothing drops out, without probes only programs of one text are alike. Costs
    n x `of`, and what probes and scorer ask.

    Attributes:
        n: samples.
        tests: Python snippets that raise where a program is wrong, run after it: the name of an input that holds them,
            the snippets, or a function or step that takes inputs by name and gives them.
        probes: Python expressions for behaviour, as `tests`.
        scorer: takes the answer, and inputs by name, and gives a number, as in `best_of`.
        sandbox: where programs run; None is `monty()`.
        of: how each sample is made.
        temperatures: taken in turn.
        hints: added to the instruction, in turn; an empty one adds nothing.
        clusters: groups that may win.
        code: the program in an answer; by default its first fenced block, else all of it.

    Raises:
        UserError: no temperatures, no hints, or no group that may win.
        OutputError: no sample was an answer.
    """

    n: int
    tests: Snippets
    probes: Snippets = ()
    scorer: Callable[..., Awaitable[float] | float] | None = None
    sandbox: Sandbox | None = None
    of: Strategy = predict
    temperatures: Sequence[float] = (0.6, 0.8, 1.0)
    hints: Sequence[str] = ("",)
    clusters: int = 10
    code: Callable[[object], str] = python_of

    def __post_init__(self) -> None:
        for name in ("temperatures", "hints"):
            if not getattr(self, name):
                raise UserError(f"generate_and_test cannot take turns among no {name}. Pass one, or leave {name}= out.")

    @property
    def name(self) -> str:
        """How saved programs name it."""
        return f"generate_and_test({self.n!r}, of={named(self.of)})"

    def __call__(self, step: Step[P, T], /) -> Callable[P, Awaitable[T]]:
        """The step, answered by the program that stands."""

        async def tested(*args: P.args, **kwargs: P.kwargs) -> T:
            inputs, most = step.bound(*args, **kwargs), current(self.clusters)
            if most < 1:
                raise UserError(f"generate_and_test has no program in clusters={most} groups. Pass at least 1.")
            samples = await together(self._sample(step, at, inputs) for at in range(current(self.n)))
            groups: dict[str, _Group[T]] = {}
            for sample in samples:
                if sample is not None:
                    groups.setdefault(self.code(sample[0]), _Group(sample[0])).join(sample[0], 1)
            if not groups:
                msg = f"No sample of step {step.name!r} was an answer, of {len(samples)}."
                raise OutputError(f"{msg} Raise `n`, or use a better model.", reason="no sample was an answer")
            left = await self._survivors(groups, await self._snippets(self.tests, inputs))
            alike = await self._clusters(left, await self._snippets(self.probes, inputs))
            # of equals not the first: they come in another order when a run is read from its journal
            best = sorted(alike, key=lambda group: (-group.size, to_json(group.answer)))[:most]
            if self.scorer is None:
                return best[0].answer
            scores = await together(scored(self.scorer, inputs, group.answer) for group in best)
            return best[scores.index(max(scores))].answer

        return tested

    async def _sample(self, step: Step[P, T], at: int, inputs: dict[str, object]) -> tuple[T] | None:
        """An answer; None where it is none, so that one bad sample does not stop the others."""
        hint = self.hints[at % len(self.hints)]
        hinted = step.using(instruction=f"{step.instruction}\n{hint}") if hint else step
        asked = current(self.of)(hinted.using(temperature=self.temperatures[at % len(self.temperatures)]))
        try:
            return (await cast("Callable[..., Awaitable[T]]", asked)(**inputs),)
        except (OutputError, CheckFailed):
            return None

    async def _snippets(self, given: Snippets, inputs: dict[str, object]) -> list[str]:
        if isinstance(given, str) and given not in inputs:
            msg = f"generate_and_test looks for snippets in an input {given!r}; the step has {list(inputs)}. Name one."
            raise UserError(msg)
        found = inputs[given] if isinstance(given, str) else given
        found = await called(found, inputs) if callable(found) else found
        return list(cast("Sequence[str]", found))

    async def _survivors(self, groups: dict[str, _Group[T]], tests: Sequence[str]) -> dict[str, _Group[T]]:
        """The programs that pass all tests; all programs where none does."""
        if not tests:
            return groups
        found = await together(ran(self.sandbox, "\n".join([code, *tests])) for code in groups)
        passed = {code: groups[code] for code, each in zip(groups, found, strict=True) if not each.error}
        return passed or groups

    async def _clusters(self, groups: dict[str, _Group[T]], probes: Sequence[str]) -> list[_Group[T]]:
        """Groups of the same behaviour joined."""
        if not probes:
            return list(groups.values())
        seen = await together(self._behaviour(code, probes) for code in groups)
        joined: dict[str, _Group[T]] = {}
        for behaviour, group in zip(seen, groups.values(), strict=True):
            joined.setdefault(behaviour, _Group(group.answer)).join(group.answer, group.size)
        return list(joined.values())

    async def _behaviour(self, code: str, probes: Sequence[str]) -> str:
        """What a program gives on each probe, or the kind of its error."""
        found = [await ran(self.sandbox, f"{code}\n{probe}") for probe in probes]
        return dumps([{"error": _kind(each.error)} if each.error else {"value": each.value} for each in found])


def _kind(error: str) -> str:
    """The name of an exception, at the start of a traceback's last line."""
    return error.strip().splitlines()[-1].partition(":")[0]


@dataclass(slots=True)
class _Group(Generic[T]):
    """Samples that are one program, or behave as one; that whose JSON sorts first stands for them."""

    answer: T
    size: int = 0

    def join(self, answer: T, size: int) -> None:
        self.answer, self.size = min(self.answer, answer, key=to_json), self.size + size
