"""Constraints at a model: what it is given, what is promised of it, and what an answer leaves unmet."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from synthon.core.constraints import Constraint, Schema, Soundness
from synthon.core.errors import Unsupported, UserError
from synthon.core.values import Request
from synthon.wrappers.demands import refuse_what_is_lacking

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from synthon.core.protocols import Model
    from synthon.core.values import Capability, Completion

Judge: TypeAlias = "Callable[[Constraint], tuple[Soundness, ...]]"

_WEAKEST = ("enforced", "checked", "unsupported")


def given(model: Model, request: Request) -> Request:
    """The request as a model gets it: without a constraint that it cannot keep to and that is checked after.

    A model with a `soundness` of its own knows constraints, and says itself what it cannot.

    Raises:
        Unsupported: the model cannot keep to the constraint, and it must; or no answer can be checked against it.
        UserError: the constraint is none, or malformed, or what checks it is not installed. Nothing was paid for.
    """
    asked: object = request.constraint
    if asked is None:
        return request
    if not isinstance(asked, Constraint):
        raise UserError(f"{asked!r:.200} is no constraint. Pass sy.regex(...), sy.choice(...) or another such value.")
    _refuse_unusable(asked)
    needed: Capability = "schema" if isinstance(asked, Schema) else "grammar"
    if needed in model.capabilities or getattr(model, "soundness", None) is not None:
        return request
    if may_be_checked(request):
        return replace(request, constraint=None)
    refuse_what_is_lacking(Request((), constraint=asked), model.capabilities, repr(model.name))
    return request


def may_be_checked(request: Request) -> bool:
    """Whether the answer may come without the constraint, and be checked.

    Raises:
        Unsupported: it may, but the constraint counts `tokens`, which no check can.
    """
    from synthon.decoding import predicates  # noqa: PLC0415 - loaded where something is constrained only

    if request.constraint is None or not request.constraint.check:
        return False
    predicates.refuse_to_count(request.constraint, "A check of the answer")
    return True


def judged(completion: Completion, request: Request) -> Completion:
    """The completion with what its text leaves unmet; one without text that calls tools or scores is not judged.

    Of a count of tokens the model's own word is taken, since nobody else can count them.
    """
    if request.constraint is None or (not completion.text and (completion.tool_calls or completion.scores)):
        return completion
    unmet = _unmet(request.constraint, completion.text, own=completion.unmet)
    return completion if unmet == completion.unmet else replace(completion, unmet=unmet)


@lru_cache(maxsize=256)
def _refuse_unusable(constraint: Constraint) -> None:
    _unmet(constraint, "")


def _unmet(constraint: Constraint, text: str, own: str = "") -> str:
    from synthon.decoding import predicates, unmet  # noqa: PLC0415 - loaded where something is constrained only

    return unmet(constraint, text) or (own if predicates.counts(constraint) else "")


def soundness_at(model: Model, constraint: Constraint) -> tuple[Soundness, ...]:
    """What becomes of each keyword at a model whose answers are checked after."""
    from synthon.decoding import predicates  # noqa: PLC0415 - loaded where something is constrained only

    own: Judge | None = getattr(model, "soundness", None)
    found = _promised(constraint, model) if own is None else own(constraint)
    if not constraint.check or predicates.counts(constraint):
        return found
    return tuple(
        replace(each, how="checked") if each.how == "unsupported" and each.keyword != "layout" else each
        for each in found
    )


def _promised(constraint: Constraint, model: Model) -> tuple[Soundness, ...]:
    """Every keyword by a model with the capability for them, which says no more of itself; else none."""
    try:
        refuse_what_is_lacking(Request((), constraint=constraint), model.capabilities, repr(model.name))
    except Unsupported as error:
        return told(constraint, "unsupported", str(error))
    return told(constraint, "enforced", f"{model.name!r} promises it")


def told(
    constraint: Constraint, how: Literal["enforced", "checked", "unsupported"], reason: str
) -> tuple[Soundness, ...]:
    """The same of every keyword, but for a schema's layout, which only a mask of our own can hold."""
    from synthon.decoding import soundness  # noqa: PLC0415 - loaded where something is constrained only

    found = [Soundness(each.keyword, each.place, how, reason) for each in soundness(constraint)]
    if isinstance(constraint, Schema) and constraint.layout != "free":
        found = [each for each in found if each.keyword != "layout"]
        found.append(Soundness("layout", "", "unsupported", "white space is chosen there, and is not checked"))
    return tuple(found)


def soundness_of(models: Sequence[Model]) -> Judge | None:
    """How a wrapper of models answers for constraints: keyword by keyword the weakest; None where one does not say."""
    own: list[Judge] = [judge for model in models if (judge := getattr(model, "soundness", None)) is not None]
    if len(own) < len(models):
        return None

    def weakest(constraint: Constraint) -> tuple[Soundness, ...]:
        found: dict[tuple[str, str], Soundness] = {}
        for each in (each for judge in own for each in judge(constraint)):
            known = found.setdefault((each.keyword, each.place), each)
            if _WEAKEST.index(each.how) > _WEAKEST.index(known.how):
                found[each.keyword, each.place] = each
        return tuple(found.values())

    return weakest
