"""One budgeted search over a program's knobs."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast

from synthon.core.errors import BudgetExceeded, SynthonError, Unsupported, UserError
from synthon.core.progress import Progress
from synthon.core.running import Defaults, running
from synthon.evals import Cases, evaluate
from synthon.evals.evaluating import opened, refuse_unseen
from synthon.evals.grading import called
from synthon.optimize.certifying import shared
from synthon.optimize.history import Ask, History, Limits, Measure
from synthon.optimize.learning import Teacher, Witness, refuse_unfound, unfitting
from synthon.optimize.outcome import Optimization
from synthon.optimize.racing import racing
from synthon.optimize.random_search import random_search
from synthon.optimize.reflecting import Evidence, reflective
from synthon.optimize.refusing import refuse_models, refuse_odd, unequal, unseen
from synthon.optimize.searching import affords, name_of, search
from synthon.optimize.tpe import tpe
from synthon.optimize.tuning import asks_no_model, tuning_of

if TYPE_CHECKING:
    from synthon.core.budget import Budget
    from synthon.core.program import Program
    from synthon.core.progress import Watch
    from synthon.core.protocols import AnyJournal, Embedder, Journal, Model
    from synthon.core.render import Demo
    from synthon.core.step import Step
    from synthon.evals import Case, Evaluation, Measured, Metric
    from synthon.optimize.searching import Method
    from synthon.optimize.space import Point

P = ParamSpec("P")
T = TypeVar("T")
_TELL_S = 1.0
METHODS: Mapping[str, Callable[[], Method]] = {"racing": racing, "tpe": tpe, "random": random_search}


async def optimize(
    program: Program[P, T] | Step[P, T],
    train: Sequence[Case[Any]],
    validation: Sequence[Case[Any]],
    *,
    metric: Metric[Any, T],
    budget: Budget,
    within: Limits | None = None,
    journal: AnyJournal | None = None,
    seed: int = 0,
    method: str | Method = "auto",
    models: Sequence[Model] = (),
    proposer: Model | None = None,
    metrics: Mapping[str, Metric[Any, T]] | None = None,
    embedder: Embedder | str | None = None,
    workers: int = 8,
    watch: Watch | None = None,
) -> Optimization[P, T]:
    """Search a program's settings for those that score highest, cost least and take least time, under a hard budget.

    Searched are the knobs in the program's code, and for each step its demonstrations (none, fixed, nearest training
    rows), calibration and answers without a model where its output is a closed set, `models`, and, with a `proposer`,
    its instruction. Money is spent in that order. Each distinct call counts once against the budget, whether the
    journal holds it or not, so a search that was killed and is started again takes the same way to the same result;
    what a program costs is judged as production would pay it.

    Args:
        program: a program or a step; it is not changed.
        train: rows that examples are taken from.
        validation: rows that candidates are compared on; neither may hold rows of the test set.
        metric: of a case and an output: a score, higher is better, or (score, feedback in words).
        budget: all calls count against it, those of `proposer` and of judges too; from here on each once.
        within: what a call of the chosen program may cost on average, and take at the 95th percentile. Time is part of
            the search only where `p95_s` limits it: measured times differ from run to run.
        journal: or the path of one; the default one, or one in memory.
        seed: of all that is drawn.
        method: `racing`, `tpe`, `random`, `reflective`, one of your own, or `auto`, which chooses and says why.
        models: that every step may use beside its own.
        proposer: writes instructions (GEPA, Agrawal 2025, arXiv:2507.19457); without one nothing is spent on them.
        metrics: more of them, shown beside the first.
        embedder: that finds the nearest training rows; by name, or the best program cannot be saved. None is MiniLM.
        workers: cases at once; the result does not depend on it.
        watch: gets a `Progress` after each batch; without one a bar is drawn on a terminal.

    Raises:
        UserError: no rows, no metric that works, or a program with nothing to search.
        BudgetExceeded: the budget does not even pay for the program as it is.
    """
    refuse_odd(
        program, seed=seed, models=models, proposer=proposer, budget=budget, within=within, workers=workers,
        method=method, metrics=metrics, watch=watch,
    )  # fmt: skip
    if proposer is not None and not (train and program.parts().steps):
        what = "are no training rows to learn from" if program.parts().steps else "is no step that has one"
        msg = f"The proposer {proposer.name!r} writes instructions, and there {what}. Leave it out, or pass some."
        raise UserError(msg)
    if not validation:
        raise UserError(f"optimize({program.name!r}) was given no validation rows. Pass some; 100 or more decide most.")
    refuse_unseen({called(each): each for each in (metric, *(metrics or {}).values())})
    refuse_models(program, models, proposer, within, budget)
    with ExitStack() as stack:
        kept = stack.enter_context(opened(journal))
        budget.once = True
        place = Path(journal) if isinstance(journal, str | os.PathLike) else kept
        more = dict(metrics or {})
        work = _Search(
            program, Cases(train), Cases(validation), metric, budget, kept, place, seed, workers, more, embedder
        )
        shown = stack.enter_context(Defaults.watch(f"optimize {program.name}") if watch is None else nullcontext(watch))
        about = {"seed": seed, "method": method if isinstance(method, str) else name_of(method), "budget": repr(budget)}
        async with running(f"optimize {program.name}", about, journal=kept, policy="cache", budget=budget) as whole:
            found = await work.through(method, within or Limits(), models, proposer, shown)
            whole.result = found.summary()
        return found


@dataclass
class _Search(Generic[P, T]):
    program: Program[P, T] | Step[P, T]
    train: Sequence[Case[Any]]
    validation: Sequence[Case[Any]]
    metric: Metric[Any, T]
    budget: Budget
    journal: Journal
    place: Journal | Path
    seed: int
    workers: int
    metrics: Mapping[str, Metric[Any, T]]
    embedder: Embedder | str | None
    evidence: Evidence = field(default_factory=dict)
    unit: str = ""
    most_calls: int = 1
    calls: int = 0
    judged: int = 0
    told: str = ""
    told_at: float = field(default_factory=time.monotonic)

    async def through(
        self, method: str | Method, limits: Limits, models: Sequence[Model], proposer: Model | None, watch: Watch
    ) -> Optimization[P, T]:
        """Examples, space, search, outcome."""
        parts = self.program.parts()
        teacher = Teacher(self.program, self.metric, self.journal, self.budget, workers=self.workers)
        examples: dict[str, list[Demo]] = {}
        with suppress(BudgetExceeded):  # what is left may pay for a search without them
            examples = await teacher.examples(parts, self.train)
        self.most_calls = max(teacher.most_calls, len(parts.steps))
        self.tuning = tuning_of(self.program, parts, examples, models, seed=self.seed, embedder=self.embedder)
        self.limits = limits
        if self.tuning.space.size < 2 and proposer is None:  # noqa: PLR2004 - one point is no search
            msg = (
                f"{self.program.name!r} has nothing to search: no knob, no examples for its steps, one model. "
                "Add sy.knob(...) or sy.one_of(...), pass training rows, models= or proposer=."
            )
            raise UserError(msg)
        meter = lambda: self.budget.spent.calls  # noqa: E731 - read at each call
        self.history = history = History(
            self.tuning.space, len(self.validation), self.seed, limits, self.budget.calls, self._price, meter
        )
        chosen, why = self._method(method, proposer)
        for number, (each, share) in enumerate(chosen):
            history.calls = None if self.budget.calls is None else int(self.budget.calls * share)
            history.room = partial(affords, self.budget, share)
            await search(each, history, lambda asks: self._measured(asks, watch))
            if number == 0 and history.space.default not in history.rows:
                text = self.budget.report()
                msg = f"{self.budget!r} does not pay for {self.program.name!r} as it is on a few rows. Raise the limit."
                raise BudgetExceeded(msg, spent=text, limit=repr(self.budget))
        names = tuple(name_of(each) for each, _ in chosen)
        warnings = [
            *shared(self.validation, {"training": self.train}),
            *unfitting(parts, self.train),
            *self._unshown(),
            *self._left_out(),
        ]
        return Optimization(
            self.program, self.tuning, history, self.evidence, self.unit or "usd", names, why, self.budget,
            self.train, self.validation, self.metric, self.place, self.calls, self.workers, warnings,
        )  # fmt: skip

    def _method(self, method: str | Method, proposer: Model | None) -> tuple[list[tuple[Method, float]], str]:
        """What is run, each up to which share of the budget, and why."""
        unasked = (
            "" if proposer is None else "; auto and reflective alone ask a proposer, so no instruction was written"
        )
        if not isinstance(method, str):
            return [(method, 1.0)], f"it was given{unasked}"
        if method == "auto" and proposer is None:
            return [(racing(), 1.0)], "no model that could write instructions was given, so values are searched only"
        if method in METHODS:
            return [(METHODS[method](), 1.0)], f"it was asked for{unasked}"
        if method in {"auto", "reflective"} and proposer is not None:
            writing = reflective(proposer, self.tuning, self.evidence, self.train, self._tried, seed=self.seed)
            if method == "reflective":
                return [(writing, 1.0)], "it was asked for"
            why = f"values first, since they cost less to search; then {proposer.name} writes instructions"
            return [(racing(), 0.5), (writing, 1.0)], why
        msg = f"optimize has no method {method!r}{' without proposer=' if method == 'reflective' else ''}. It has: "
        raise UserError(f"{msg}auto, {', '.join(METHODS)}, reflective (with proposer=), or an object with `propose`.")

    def _price(self, point: Point) -> int:
        """The most calls a case of a point was seen to need, a judge's with it; before that, what any point did."""
        seen = self.history.rows.get(point)
        if seen:
            return self.judged + max(each.calls for each in seen.values())
        if len(self.tuning.parts.steps) == 1 and self._is_free(point):
            return self.judged
        known = (each.calls for rows in self.history.rows.values() for each in rows.values())
        return self.judged + max(known, default=self.most_calls)

    def _is_free(self, point: Point) -> bool:
        """Whether the program's one step is answered without a model."""
        step = self.tuning.parts.steps[0]
        return asks_no_model(self.tuning.value(point, f"{step.name}.strategy"))

    async def _tried(self, point: Point, rows: Sequence[int]) -> Sequence[Measured]:
        """A point on training rows, which instructions are learnt from."""
        return (await self._evaluated(point, [self.train[row] for row in rows], self.workers)).rows

    async def _evaluated(self, point: Point, cases: Sequence[Case[Any]], workers: int) -> Evaluation:
        candidate = self.tuning.applied(self.program, point)
        journal = self.journal if self.evidence else Witness(self.journal)
        found = await evaluate(
            candidate, cases, self.metric, metrics=self.metrics, workers=workers, journal=cast("Journal", journal),
            watch=lambda _: None,
        )  # fmt: skip
        if isinstance(journal, Witness):
            rows = found.rows[0].run.rpartition("/")[0]  # and runs in them; a judge's are named otherwise
            seen = [steps for run, steps in journal.steps.items() if run.startswith(rows)]
            refuse_unfound(self.tuning.parts, seen)
        return found

    async def _measured(self, asks: Sequence[Ask], watch: Watch) -> list[dict[int, Measure]]:
        """A batch: all of it, or `BudgetExceeded`."""
        gate, share = asyncio.Semaphore(self.workers), max(1, self.workers // len(asks))
        before = self.budget.spent.calls

        async def one(ask: Ask) -> dict[int, Measured] | Unsupported:
            async with gate:
                try:
                    return await self._rows(ask, share)
                except Unsupported as error:
                    if ask.point == self.history.space.default:
                        raise
                    return error  # the default works, so it is this point that cannot be run

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(ask)) for ask in asks]
        except* SynthonError as errors:
            raise errors.exceptions[0] from None
        found: list[dict[int, Measure]] = []
        for ask, task in zip(asks, tasks, strict=True):
            rows = task.result()
            if isinstance(rows, Unsupported):
                self.history.leave_out(ask.point, str(rows))
                self.evidence.pop(ask.point, None)
                found.append({})
                continue
            found.append({case: self._measure(row) for case, row in rows.items()})
            self.evidence.setdefault(ask.point, {}).update(rows)
        new = [row for each in found for row in each.values()]
        self.calls = self.budget.spent.calls
        asked = self.calls - before - sum(row.calls for row in new)  # by judges, at least
        self.judged = max(self.judged, -(-asked // max(1, len(new))))
        self._tell(watch)
        return found

    async def _rows(self, ask: Ask, workers: int) -> dict[int, Measured]:
        """The first row alone where a value is new: what it cannot do, it shows there, whatever goes on at once."""
        known = {pair for point in self.history.rows for pair in enumerate(point)}
        first = ask.cases[: 0 if known.issuperset(enumerate(ask.point)) else 1]
        parts = [part for part in (first, ask.cases[len(first) :]) if part]
        found = [await self._evaluated(ask.point, [self.validation[case] for case in part], workers) for part in parts]
        return dict(zip(ask.cases, [row for each in found for row in each.rows], strict=True))

    def _unshown(self) -> list[str]:
        """Numbers of nearest examples that the code wants searched, where there is no example."""
        names = [f"{step.name}.demos" for step in self.tuning.parts.steps]
        wanted = [name for name in names if getattr(self.tuning.now.get(name), "selector", name) is None]
        return [f"{n}: no training row gave an example, so none is shown" for n in wanted if n not in self.tuning.sets]

    def _left_out(self) -> list[str]:
        """What could not be run, by why."""
        told: dict[str, list[Point]] = {}
        for point, why in sorted(self.history.unfit.items()):
            told.setdefault(why, []).append(point)
        return [
            f"left out, since it cannot be run: {self.tuning.words(points[0])}"
            f"{f' and {len(points) - 1} more' if points[1:] else ''}: {why}"
            for why, points in told.items()
        ]

    def _measure(self, row: Measured) -> Measure:
        if row.cost_usd is None and not row.calls and not row.error:
            raise unseen(f"A model of {self.program.name!r}")
        if row.calls:  # what asks nobody costs nothing in any unit
            self.unit = self.unit or ("tokens" if row.cost_usd is None else "usd")
            if (row.cost_usd is None) is (self.unit == "usd"):
                raise unequal(self.program.name)
        cost = row.tokens_in + row.tokens_out if self.unit == "tokens" else row.cost_usd or 0.0
        return Measure(row.score, float(cost), row.latency_s if self.limits.p95_s is not None else 0.0, row.calls)

    def _tell(self, watch: Watch) -> None:
        history = self.history
        if time.monotonic() - self.told_at > _TELL_S:  # to judge all points takes longer than a cached batch
            self.told_at, best = time.monotonic(), history.best()
            self.told = "" if best is None else f": best {history.mean(best).score:.3f}"
        said = f"{self.told} of {len(history.rows)} programs" if self.told else ""
        spent = self.budget.spent.calls
        watch(Progress(spent, self._total(), 0, self.budget.billed_usd, f"{self.program.name}{said}"))

    def _total(self) -> int | None:
        """All calls that the limit reached first will have let pass, if they go on as so far; None if nobody knows."""
        budget, spent = self.budget, self.budget.spent.calls
        paid, left_s = affords(budget), budget.remaining_s() if spent else None  # its clock starts with the first call
        totals = [] if budget.calls is None else [budget.calls]
        totals += [] if paid is None else [spent + paid]
        if budget.minutes and left_s is not None and left_s < float("inf"):
            totals.append(int(spent / max(1 - left_s / (60 * budget.minutes), 1e-9)))
        return max(spent, min(totals)) if totals else None
