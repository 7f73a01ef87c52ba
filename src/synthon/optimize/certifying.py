"""Run two programs on held-out rows and say whether one is better."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from synthon.core.errors import UserError
from synthon.core.identity import digest, dumps
from synthon.evals import Cases, evaluate, overlap
from synthon.evals.evaluating import opened
from synthon.journal import DatasetRow
from synthon.optimize.certificate import Certificate, Costs, certificate

if TYPE_CHECKING:
    from synthon.core.budget import Budget
    from synthon.core.protocols import AnyJournal, Journal
    from synthon.evals import Case, Evaluation, Metric


async def certify(
    program: Callable[..., Awaitable[Any]],
    test: Sequence[Case[Any]],
    *,
    against: Callable[..., Awaitable[Any]],
    metric: Metric[Any, Any],
    journal: AnyJournal | None = None,
    budget: Budget | None = None,
    workers: int = 8,
    known: Mapping[str, Sequence[Case[Any]]] | None = None,
    promised: float | None = None,
    expected: float | None = None,
) -> Certificate:
    """Judge a program against a baseline on rows that nothing was chosen by.

    The journal counts the looks at a test set: a second program judged on the same rows is judged more strictly, the
    same program judged again is not, whatever the order of the rows. A row that comes again is no further proof: of
    rows with the same inputs and answer the first is judged, and a warning says how many were not.

    Args:
        program: the one that is to be better.
        test: held-out rows.
        against: the baseline.
        metric: of a case and an output.
        journal: or the path of one; the default one, or one in memory, which forgets the looks.
        budget: all calls count against it.
        workers: cases at once.
        known: rows that were seen before, by what they were used for; shared ones become warnings.
        promised: see `certificate`.
        expected: same.

    Raises:
        UserError: no rows, or something that is none.
    """
    test, given = Cases(test), cast("object", known)
    if given is not None and not isinstance(given, Mapping):
        raise UserError(
            f"certify was given known={given!r:.200}. Pass a dict of rows by their use: {{'training': rows}}."
        )
    if not test:
        raise UserError("certify was given no test rows. Pass rows that neither training nor validation had.")
    rows = _distinct(test)
    contents = [digest(case.content) for case in rows]
    with opened(journal) as kept:
        found = [
            await evaluate(each, rows, metric, journal=kept, budget=budget, workers=workers)
            for each in (program, against)
        ]
        looks = await _looks(kept, contents, [[row.score for row in one.rows] for one in found])
    ours, theirs = ([row.score for row in one.rows] for one in found)
    again = len(test) - len(rows)
    repeated = [f"{again} rows are repeated; each was judged once"] if again else []
    warnings = repeated + shared(rows, known or {})
    return certificate(
        ours, theirs, looks=looks, promised=promised, expected=expected, warnings=warnings, costs=_costs(*found)
    )


def shared(cases: Sequence[Case[Any]], known: Mapping[str, Sequence[Case[Any]]]) -> list[str]:
    """What some rows share with others that were used before, one line for each use; empty where nothing."""
    found = [(name, overlap(cases, Cases(rows))) for name, rows in known.items() if rows]
    return [f"{name}: {rows}" for name, rows in found if rows]


def _distinct(cases: Sequence[Case[Any]]) -> list[Case[Any]]:
    """The first case of each inputs and answer."""
    first: dict[str, Case[Any]] = {}
    for case in cases:
        first.setdefault(case.content, case)
    return list(first.values())


async def _looks(journal: Journal, contents: Sequence[str], scores: Sequence[Sequence[float]]) -> int:
    """Which look at these rows this is; kept in the journal."""
    dataset = f"synthon.certificates/{digest(dumps(sorted(contents)))[:16]}"
    read = getattr(journal, "dataset", None)
    if read is None:
        return 1
    look = digest(dumps(sorted(zip(contents, *scores, strict=True))))
    before = list(dict.fromkeys(read(dataset)))
    if look not in before:
        journal.write(DatasetRow(dataset, look))  # type: ignore[arg-type] # a journal with datasets takes their rows
        await journal.durable()
        before.append(look)
    return before.index(look) + 1


def _costs(one: Evaluation, other: Evaluation) -> dict[str, Costs]:
    return {
        "usd a call": (one.cost_usd, other.cost_usd),
        "tokens in a call": (one.tokens_in, other.tokens_in),
        "p95 seconds": (one.latency_s(0.95), other.latency_s(0.95)),
    }


__all__ = ["certify", "shared"]
