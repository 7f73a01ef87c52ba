"""What a search is refused for before its first call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from synthon.core.budget import Budget
from synthon.core.errors import UserError
from synthon.optimize.dearest import askable, leaves, price_of
from synthon.optimize.history import Limits
from synthon.wrappers.journaled import Journaled

if TYPE_CHECKING:
    from synthon.core.program import Program
    from synthon.core.protocols import Model
    from synthon.core.step import Step


def refuse_odd(
    program: Any,
    *,
    seed: Any,
    models: Any,
    proposer: Any,
    budget: Any,
    within: Any = None,
    workers: Any = 1,
    method: Any = "auto",
    metrics: Any = None,
    watch: Any = None,
) -> None:
    """Arguments must be what they are taken for.

    Raises:
        UserError: says which is not, and what to pass.
    """
    name, is_part = getattr(program, "name", program), getattr(type(program), "part", "") in {"step", "program"}
    is_list = isinstance(models, Sequence) and all(hasattr(each, "complete") for each in models)
    wanted = [
        ("program", program, is_part, "a step or a program; @sy.program makes one of an async function"),
        ("seed", seed, hasattr(seed, "__index__") and seed >= 0, "a whole number from 0 on"),
        ("models", models, is_list, "a list of models: [sy.openai(...), sy.local()]"),
        ("proposer", proposer, proposer is None or hasattr(proposer, "complete"), "a model: sy.openai(...)"),
        ("budget", budget, isinstance(budget, Budget), "sy.Budget(calls=...)"),
        ("within", within, within is None or isinstance(within, Limits), "sy.Limits(usd=...)"),
        ("method", method, isinstance(method, str) or hasattr(method, "propose"), "a name, or what has `propose`"),
        ("metrics", metrics, metrics is None or isinstance(metrics, Mapping), "a dict of them by name"),
        ("watch", watch, watch is None or callable(watch), "a function of a sy.Progress"),
        ("workers", workers, hasattr(workers, "__index__") and workers >= 1, "1 or more, a whole number"),
    ]
    for argument, given, fits, right in wanted:
        if not fits:
            raise UserError(f"A search of {name!r:.200} was given {argument}={given!r:.200}. Pass {right}.")


def refuse_models(
    program: Program[..., Any] | Step[..., Any],
    models: Sequence[Model],
    proposer: Model | None,
    within: Limits | None,
    budget: Budget,
) -> None:
    """Every model that may be asked keeps a journal, and their costs can be compared, with each other and a limit.

    Raises:
        UserError: names the model that does not.
    """
    asked, writing = askable(program, models), [] if proposer is None else leaves(proposer)
    named = [(f"The proposer {model.name!r}", model) for model in writing]
    for who, model in [*named, *((f"The model {model.name!r} of {program.name!r}", model) for model in asked)]:
        if not isinstance(model, Journaled):
            raise unseen(who)
    writer = next((model.name for model in writing if price_of(model) is None), "")
    if writer and budget.usd is not None:
        msg = f"A search of {program.name!r} was given {budget!r}, and its proposer {writer!r} has no price."
        raise UserError(f"{msg} Give it one: price=sy.Price(input_usd=, output_usd=); or limit calls= or tokens=.")
    unpriced = [model.name for model in asked if price_of(model) is None]
    if unpriced and len(unpriced) < len(asked):
        raise unequal(program.name, unpriced[0])
    if unpriced and within is not None and within.usd is not None:
        msg = f"A search of {program.name!r} was given {within}, and its model {unpriced[0]!r} has no price."
        raise UserError(f"{msg} Give it one: price=sy.Price(input_usd=, output_usd=); or leave usd= out.")


def unseen(who: str) -> UserError:
    """What is wrong with a model without a journal."""
    msg = f"{who} keeps no journal, so no budget sees what it is asked."
    return UserError(f"{msg} Wrap it: sy.Journaled(model, price=sy.Price(...)).")


def unequal(program: str, model: str = "") -> UserError:
    """What is wrong with costs of which some are in dollars."""
    msg = f"The model {model!r}" if model else "A model"
    msg += f" that {program!r} may use has no price, while others have one, so costs cannot be compared."
    return UserError(
        f"{msg} Give it one: price=sy.Price(input_usd=, output_usd=); sy.Price(0, 0) says that it is free."
    )


__all__ = ["refuse_models", "refuse_odd", "unequal", "unseen"]
