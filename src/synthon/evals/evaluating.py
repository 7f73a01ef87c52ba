"""A program over cases, journaled, so that the second evaluation of the same program makes no call."""

from __future__ import annotations

import inspect
import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from synthon.core.budget import Budget
from synthon.core.errors import BudgetExceeded, Suspended, Uncertain, UserError
from synthon.core.many import Failed, run_many
from synthon.core.running import Defaults, current_run, described, name_of, new_id, running
from synthon.evals._given import whole
from synthon.evals.cases import Case, Cases
from synthon.evals.evaluation import Evaluation, Measured
from synthon.evals.grading import AnyMetric, Graded, Metric, called, graded
from synthon.evals.metrics import unseen
from synthon.evals.pricing import Bill, Tee
from synthon.evals.unseen import unseen_model
from synthon.journal import MemoryJournal, ScoreRecord, SQLiteJournal

if TYPE_CHECKING:
    from synthon.core.progress import Watch
    from synthon.core.protocols import AnyJournal, Journal, Policy

E = TypeVar("E")
OutputT = TypeVar("OutputT")
_BY_PLACE = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.VAR_POSITIONAL}


async def evaluate(
    program: Callable[..., Awaitable[OutputT]],
    cases: Iterable[Case[E]],
    metric: Metric[E, OutputT],
    *,
    metrics: Mapping[str, Metric[E, OutputT]] | None = None,
    workers: int = 8,
    journal: AnyJournal | None = None,
    policy: Policy = "cache",
    budget: Budget | None = None,
    run_id: str | None = None,
    watch: Watch | None = None,
    name: str = "",
) -> Evaluation:
    """What a program scores on cases and what it would cost; each case is a run of its own.

    A case that fails scores 0.0 and keeps its error. Latencies are as measured under `workers` at once, and a hit
    counts the time that its call took. Scores are written to the journal, beside the spans of their cases.

    Args:
        program: called with each case's inputs by name.
        cases: evaluated in order; results do not depend on `workers`.
        metric: gives `Measured.score`.
        metrics: more of them, by name.
        workers: cases at once.
        journal: or the path of one; the default one, or one in memory where there is none.
        policy: with `cache` an evaluation made again costs nothing; `off` and `read_only` keep no spans to count.
        budget: covers the program and the judges; a judge's calls are not part of what the program costs.
        run_id: cases run as `{run_id}/cases/{place}`.
        watch: gets a `Progress` after each case; without one a bar is drawn on a terminal.
        name: in tables; the program's own by default.

    Raises:
        BudgetExceeded: the budget stopped a case or a judge, so there is no fair score; what was answered is kept.
        Suspended: a case waits for a person; answer, and evaluate again under the same `run_id`.
        UserError: no case, something that is none, one that does not fit the program, a step or a judge whose calls
            the budget would not see, a wrong set-up, or a metric that fails.
    """
    rows = Cases(cases)
    if not rows or policy in {"off", "read_only"}:
        problem = "no case" if not rows else f"policy={policy!r}, which keeps no spans to count cost and time from"
        raise UserError(f"evaluate({name_of(program)}) was given {problem}. Pass cases, and 'cache' or 'fresh'.")
    every = _named(metric, metrics or {})
    workers = whole("workers=", workers, 1)
    _refuse_odd(budget=budget, journal=journal, run_id=run_id, watch=watch)
    _refuse_unfit(program, rows)
    above = current_run()
    batch = run_id or (new_id() if above is None else above.inner([name_of(program), "evaluate", rows]))
    runs = [f"{batch}/cases/{place}" for place in range(len(rows))]
    if budget is not None:
        _refuse_uncounted(program, every, budget)
    name = name or name_of(program)
    with opened(journal, None if above is None else above.journal) as kept, Tee.over(kept, runs) as tee:
        about = f"evaluate {name}"
        opening = running(about, {"cases": len(rows)}, run_id=batch, journal=tee, policy=policy, budget=budget)
        async with opening as begun:
            inputs = [dict(case.inputs) for case in rows]
            shown = None if budget is None or budget.durable else budget  # counted once, for it is the same
            outputs = await run_many(
                program, inputs, workers=workers, run_id=f"{batch}/cases", budget=shown, watch=watch
            )
            bills = [tee.bill(run) for run in runs]
            _refuse_unfair(outputs, bills, begun.run.budgets)
            done = [place for place, output in enumerate(outputs) if not isinstance(output, Failed)]
            graded_rows = await graded(
                every, [(rows[place], outputs[place]) for place in done], workers=workers, run_id=f"{batch}/metrics"
            )
            marks = dict(zip(done, graded_rows, strict=True))
            _keep(kept, marks, bills)
            found = [
                _measured(output, marks.get(place), tuple(every), bills[place], runs[place])
                for place, output in enumerate(outputs)
            ]
    return Evaluation(name, rows, found)


@contextmanager
def opened(journal: AnyJournal | None, above: Journal | None = None) -> Iterator[Journal]:
    """A journal as given, one at a path for as long as the block lasts, `above`, the default one, or one in memory."""
    with Defaults.opened(journal) as given:
        yield given or above or Defaults.journal() or MemoryJournal()


def _named(metric: AnyMetric, metrics: Mapping[str, AnyMetric]) -> dict[str, AnyMetric]:
    """All metrics by name, the one that scores first.

    Raises:
        UserError: another metric has its name, they have none, or one is no function.
    """
    given: object = metrics
    if not isinstance(given, Mapping):
        raise UserError(f"metrics= was given {given!r:.200}, a {type(given).__name__}. Pass a dict of them by name.")
    name = called(metric)
    if metrics.get(name, metric) is not metric:
        raise UserError(f"Two metrics are called {name!r}. Give the one in metrics= another name.")
    every = {name: metric, **metrics}
    for key, each in cast("dict[object, object]", every).items():
        if not callable(each) or not isinstance(key, str):
            raise UserError(
                f"The metric {key!r} is {each!r:.200}, a {type(each).__name__}. Pass a function of a case and an "
                "output by its name, such as sy.metrics.exact_match."
            )
    return every


def _refuse_odd(**given: object) -> None:
    """What is of another kind would be found out too late, or never.

    Raises:
        UserError: names it.
    """
    fits: Mapping[str, tuple[Callable[[object], bool], str]] = {
        "budget": (lambda each: isinstance(each, Budget), "sy.Budget(calls=...)"),
        "journal": (lambda each: isinstance(each, str | os.PathLike) or hasattr(each, "write"), "its path"),
        "run_id": (lambda each: isinstance(each, str), "a text"),
        "watch": (callable, "a function of a sy.Progress"),
    }
    for name, value in given.items():
        is_fit, remedy = fits[name]
        if value is not None and not is_fit(value):
            raise UserError(
                f"{name}= was given {value!r:.200}, a {type(value).__name__}. Pass {remedy}, or leave it out."
            )


def refuse_unseen(metrics: Mapping[str, AnyMetric]) -> None:
    """A judge whose model keeps no journal would ask as often as it likes under any budget.

    Raises:
        UserError: names the judge and the model.
    """
    for name, metric in metrics.items():
        if model := unseen(metric):
            msg = (
                f"The judge {name!r} asks the model {model!r}, which keeps no journal, so no budget sees its calls. "
                "Give its step sy.Journaled(model)."
            )
            raise UserError(msg)


def _refuse_uncounted(program: object, metrics: Mapping[str, AnyMetric], budget: Budget) -> None:
    """The same of judges and of the program's steps; of these who counts under the budget already has judged.

    Raises:
        UserError: names the judge or step and the model.
    """
    refuse_unseen(metrics)
    above = current_run()
    if above is not None and any(each is budget for each in above.budgets):
        return
    step, model = unseen_model(program)
    if step:
        msg = (
            f"The step {step!r} of {name_of(program)!r} asks the model {model!r}, which keeps no journal, so no budget "
            "sees its calls. Give it sy.Journaled(model), or leave out budget=."
        )
        raise UserError(msg)


def _refuse_unfit(program: object, rows: Cases[object]) -> None:
    """A case that does not fit the program's parameters would fail, and not for what the program is worth."""
    if not callable(program):
        kind = type(program).__name__
        raise UserError(f"{program!r:.200} is a {kind}, no program. Pass a step, a program or an async function.")
    try:
        shape = inspect.signature(getattr(program, "fn", program))
    except ValueError:  # of something without one
        return
    by_place = {name for name, each in shape.parameters.items() if each.kind in _BY_PLACE}
    for case in rows:
        try:
            if by_place & case.inputs.keys():  # where there is a `**more`, it would take them
                raise TypeError(f"{min(by_place & case.inputs.keys())!r} is not passed by name")
            shape.bind(**case.inputs)
        except TypeError as error:
            msg = (
                f"Case {case.id!r} gives {', '.join(case.inputs) or 'nothing'}, and {name_of(program)}{shape} cannot be"
                f" called with that: {error}. Name its inputs as the program's parameters, or evaluate a function"
                " around it that takes them by name."
            )
            raise UserError(msg) from error


def _refuse_unfair(outputs: Sequence[object], bills: Sequence[Bill], budgets: Sequence[Budget]) -> None:
    """A case that a budget of the evaluation stopped has no score, also where the program took the error for an answer.

    Nor has one that waits for a person. One that a budget of the program's own stopped has failed.
    """
    limits = {f"{name}={getattr(budget, name)}" for budget in budgets for name in ("calls", "tokens", "usd", "minutes")}
    for output, bill in zip(outputs, bills, strict=True):
        error = output.error if isinstance(output, Failed) else None
        if isinstance(error, Suspended | Uncertain) or (isinstance(error, BudgetExceeded) and error.limit in limits):
            raise error
        if bill.stopped in limits:
            msg = (
                f"The budget's limit {bill.stopped} stopped a call that its program went on without, so the score "
                "would not be what the program is worth. Raise the limit and evaluate again: what was answered is kept."
            )
            raise BudgetExceeded(msg, limit=bill.stopped)


def _keep(journal: Journal, marks: Mapping[int, Graded], bills: Sequence[Bill]) -> None:
    """Write the scores beside the spans they are about, where the journal is one of ours."""
    while isinstance(journal, Tee):
        journal = journal.journal
    if isinstance(journal, SQLiteJournal | MemoryJournal):
        for place, graded_row in marks.items():
            for name, (score, feedback) in graded_row.items():
                journal.write(ScoreRecord(bills[place].root, name, score, "metric", feedback))


def _measured(output: object, marks: Graded | None, names: Sequence[str], bill: Bill, run: str) -> Measured:
    failed = output.error if isinstance(output, Failed) else None
    marks = marks or dict.fromkeys(names, (0.0, ""))
    feedback = "\n".join(dict.fromkeys(words for _, words in marks.values() if words))
    error = "" if failed is None else described(failed)
    return Measured(
        marks[names[0]][0], {name: score for name, (score, _) in marks.items()}, feedback or error, bill.cost_usd,
        bill.latency_s, bill.calls, bill.tokens_in, bill.tokens_out, error, None if failed else output, run,
    )  # fmt: skip
