"""Worked examples of a program's steps, from rows that say only what the whole should answer."""

from __future__ import annotations

import inspect
import itertools
import json
import sys
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast, get_type_hints

from synthon.core.errors import SynthonError, UserError
from synthon.core.identity import adapter, to_json
from synthon.core.protocols import CallRecord, Emit, Span, discard
from synthon.core.render import Demo
from synthon.evals import evaluate
from synthon.optimize.searching import affords

if TYPE_CHECKING:
    from synthon.core.budget import Budget
    from synthon.core.parts import Parts
    from synthon.core.protocols import Journal, Record
    from synthon.core.step import Step
    from synthon.core.values import Capability, Completion, Request
    from synthon.evals import Case, Evaluation, Metric

_TOLD = 8  # rows that are run to see which step answers
_SHARE = 20  # of a budget of calls, one part in so many is spent on each of them
_AGREE = 0.9
_FREE = 1_000  # rows that are run where nothing is paid before the answer; what they retrieve still takes time
_DOOR = 4  # of what is left of a budget, one part in so many pays for runs up to the answering step


@dataclass
class Witness:
    """A journal that keeps the steps of watched runs in sight, by run; all else goes on to the one behind it."""

    journal: Journal
    steps: defaultdict[str, list[Span]] = field(default_factory=lambda: defaultdict(list))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)

    def write(self, record: Record) -> None:
        span = record.span if isinstance(record, CallRecord) else record
        if isinstance(span, Span) and span.kind == "step":
            self.steps[span.run].append(span)
        self.journal.write(record)


@dataclass
class Teacher:
    """How training rows become examples of steps: run once, keep what the metric accepts.

    Bootstrapped demonstrations (DSPy, Khattab 2023, arXiv:2310.03714).

    Attributes:
        program: as it is.
        metric: of the whole.
        journal: keeps what is run.
        budget: it counts against.
        accept: a row's examples are kept from this score on.
        most_calls: that one row was seen to need.
        workers: rows at once.
    """

    program: Callable[..., Awaitable[object]]
    metric: Metric[Any, Any]
    journal: Journal
    budget: Budget | None = None
    accept: float = 1.0
    workers: int = 8
    most_calls: int = 0

    async def examples(self, parts: Parts, train: Sequence[Case[Any]]) -> dict[str, list[Demo]]:
        """Examples by step.

        The only step of a program needs no run: a row is its example. Of several, a few rows that are run tell which
        one gives the program's answer. A row is its example too, where the step takes the row's own inputs; else with
        the inputs that a run has which stops at its door, and a part of the budget pays for those. Other steps get what
        they said themselves in rows that went well. Of money or tokens all that has no more than a part.
        """
        found = labelled(self.program, parts, train)
        calls = None if self.budget is None else self.budget.calls
        told = _TOLD if calls is None else min(_TOLD, calls // _SHARE)
        if found or not train or not told:
            return found
        if self.budget is not None and (self.budget.tokens, self.budget.usd) != (None, None):
            rows = self._rows(max(row.calls for row in (await self._run(train[:1]))[1].rows))
            told = told if rows is None else min(told, max(1, rows))  # the first row tells what others cost
        seen, whole = await self._run(train[:told])
        self.most_calls = max(row.calls for row in whole.rows)
        found = self._accepted(seen, whole)
        last = _answering(seen, whole)
        step = next((step for step in parts.steps if step.name == last), None)
        if step is not None and _takes_rows(step, seen, train):
            found[step.name] = _labelled(step, train)
        elif step is not None and f"{step.name}.model" in parts.settings:
            found[step.name] = await self._at_the_door(step, train, told) or found.get(step.name, [])
        return {name: demos for name, demos in found.items() if demos}

    def _rows(self, calls: int) -> int | None:
        """Training rows for which a part of the budget pays so many calls each; None: all."""
        budget = self.budget
        if not calls:
            return _FREE
        if budget is None:
            return None
        limits = (None if budget.calls is None else budget.calls - budget.spent.calls, affords(budget))
        return min((each // _DOOR // calls for each in limits if each is not None), default=None)

    async def accepted(self, rows: Sequence[Case[Any]]) -> tuple[dict[str, list[Demo]], int]:
        """What each step said in the rows that the metric accepts, and how many rows those are."""
        seen, whole = await self._run(rows)
        return self._accepted(seen, whole), sum(not row.error and row.score >= self.accept for row in whole.rows)

    async def _run(
        self, rows: Sequence[Case[Any]], program: Callable[..., Awaitable[object]] | None = None
    ) -> tuple[list[list[Span]], Evaluation]:
        witness = Witness(self.journal)
        whole = await evaluate(
            program or self.program, rows, self.metric, journal=cast("Journal", witness), budget=self.budget,
            workers=self.workers, watch=lambda _: None,
        )  # fmt: skip
        return [witness.steps[row.run] for row in whole.rows], whole

    def _accepted(self, seen: Sequence[Sequence[Span]], whole: Evaluation) -> dict[str, list[Demo]]:
        """What the steps said in rows that the metric accepts."""
        found: defaultdict[str, list[Demo]] = defaultdict(list)
        for spans, row in zip(seen, whole.rows, strict=True):
            for span in spans if not row.error and row.score >= self.accept else ():
                if span.output:
                    found[span.name].append(Demo(json.loads(span.inputs), json.loads(span.output)))
        return found

    async def _at_the_door(self, step: Step[..., Any], train: Sequence[Case[Any]], told: int) -> list[Demo]:
        """Examples of the answering step for every row that reaches it; what comes before it is paid, it is not.

        The first rows were run before, so they tell for nothing what the others would cost.
        """
        program: Any = self.program
        shut = program.using({f"{step.name}.model": Door(), f"{step.name}.strategy": None})
        seen, whole = await self._run(train[:told], shut)
        rows = train[: self._rows(max(row.calls for row in whole.rows))]
        seen += (await self._run(rows[told:], shut))[0] if rows[told:] else []
        demos = []
        for spans, case in zip(seen, train, strict=False):
            asked = [span for span in spans if span.name == step.name]
            demos += [Demo(json.loads(asked[-1].inputs), answer) for answer in _answer(step, case) if asked]
        return demos


class Shut(SynthonError):
    """A run stopped where it should."""


@dataclass(frozen=True)
class Door:
    """A model that nobody answers: what its step was asked is all that is wanted."""

    name: str = "door"
    identity: str = "door"
    counts: bool = True

    @property
    def capabilities(self) -> frozenset[Capability]:
        """All that a step may ask."""
        return frozenset({"chat", "schema", "grammar", "score"})

    async def complete(self, request: Request, emit: Emit = discard) -> Completion:  # noqa: ARG002 - nobody is asked
        """Stop the run."""
        raise Shut("The step's inputs are known; nobody was asked.")


def labelled(program: object, parts: Parts, train: Sequence[Case[Any]]) -> dict[str, list[Demo]]:
    """The examples, by step, that need no run: of a program's only step, if it gives what the program gives.

    Of several steps a type does not tell which one answers.

    Raises:
        UserError: see `refuse_namesakes`.
    """
    refuse_namesakes(parts)
    found = {step.name: _labelled(step, train) for step in parts.steps if _answers(step, program)}
    return {name: demos for name, demos in found.items() if demos and len(parts.steps) == 1}


def _takes_rows(step: Step[..., Any], seen: Sequence[Sequence[Span]], train: Sequence[Case[Any]]) -> bool:
    """Whether a step was asked just what its rows hold."""
    told = [
        (demo.inputs, [json.loads(span.inputs) for span in spans if span.name == step.name])
        for spans, case in zip(seen, train, strict=False)
        for demo in _labelled(step, [case])
    ]
    return bool(told) and sum(json.loads(to_json(inputs)) in asked for inputs, asked in told) >= _AGREE * len(told)


def _answering(seen: Sequence[Sequence[Span]], whole: Evaluation) -> str:
    """The step whose output is the program's in nearly all rows, empty where there is none."""
    done = [(spans, to_json(row.output)) for spans, row in zip(seen, whole.rows, strict=True) if not row.error]
    for name in dict.fromkeys(span.name for spans, _ in done for span in reversed(spans)):
        agree = sum(any(span.name == name and span.output == output for span in spans) for spans, output in done)
        if agree >= _AGREE * len(done):
            return name
    return ""


def _answers(step: Step[..., Any], program: object) -> bool:
    """Whether a step gives what the program gives, by type."""
    fn = getattr(program, "fn", program)
    if fn is step.fn:
        return True
    try:
        hints = get_type_hints(fn, include_extras=True)
    except (NameError, TypeError):
        return False
    return bool(hints.get("return") == step.output.type)


def _labelled(step: Step[..., Any], train: Sequence[Case[Any]]) -> list[Demo]:
    """Rows whose inputs are the step's own, with what they expect as its output."""
    parameters = inspect.signature(step.fn).parameters
    needed = {name for name, each in parameters.items() if each.default is each.empty}
    demos = []
    for case in train:
        inputs = {name: case.inputs[name] for name in parameters if name in case.inputs}
        demos += [Demo(inputs, answer) for answer in _answer(step, case) if needed <= inputs.keys()]
    return demos


def _answer(step: Step[..., Any], case: Case[Any]) -> list[object]:
    """What a row expects, the first of several right answers that the step could have said; empty if none."""
    several = case.expected if isinstance(case.expected, list | tuple) else ()
    found = itertools.chain.from_iterable(fitting(step, each) for each in (case.expected, *several))
    return list(itertools.islice(found, 1))


def unfitting(parts: Parts, train: Sequence[Case[Any]]) -> list[str]:
    """A warning where some training rows have an answer that no step could give; where all have, it is meant so.

    A single step that chooses from a closed set is meant to give all of them.
    """
    rows = [case for case in train if case.expected is not None]
    lost = [case for case in rows if not any(_answer(step, case) for step in parts.steps)]
    is_meant = len(lost) == len(rows) and not (len(parts.steps) == 1 and parts.steps[0].output.choice)
    if not lost or is_meant or not parts.steps:
        return []
    first = f"the first is case {lost[0].id!r} with {lost[0].expected!r:.100}"
    return [f"{len(lost)} of {len(rows)} training rows have an answer that no step could give; {first}"]


def fitting(step: Step[..., Any], expected: object) -> list[object]:
    """An answer as the step would have said it; empty where it could not."""
    try:
        text = to_json(expected, again=True)
        return [adapter(step.output.type).validate_json(text, by_alias=True, by_name=True)]
    except (ValueError, RecursionError):
        return []


def refuse_unfound(parts: Parts, seen: Iterable[Sequence[Span]]) -> None:
    """A step that runs must be one that was found, or a search would leave it out and not say so.

    Steps of Synthon's own systems are searched by their own values.

    Raises:
        UserError: a step of these runs is none of the parts.
    """
    ran = dict.fromkeys(span.name for spans in seen for span in spans)
    if unknown := [name for name in ran if name not in {step.name for step in parts.steps} | _own_steps()]:
        msg = f"{parts.root!r} ran the steps {unknown}, which its code does not show, so they cannot be searched."
        raise UserError(f"{msg} Name them where it is made: @sy.program(uses=[...]).")


def _own_steps() -> set[str]:
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("synthon.")]
    values = [value for module in modules for value in list(vars(module).values())]
    return {value.name for value in values if getattr(type(value), "part", "") == "step"}


def refuse_namesakes(parts: Parts) -> None:
    """Steps are told apart by name, in settings, examples and traces.

    Raises:
        UserError: two functions of one name are steps of a program.
    """
    seen: dict[str, object] = {}
    for step in parts.steps:
        if seen.setdefault(step.name, step.fn) is not step.fn:
            msg = f"{parts.root!r} has two steps named {step.name!r}, whose examples cannot be told apart."
            raise UserError(f"{msg} Give their functions names of their own.")


__all__ = ["Teacher", "Witness", "fitting", "labelled", "refuse_namesakes", "refuse_unfound", "unfitting"]
