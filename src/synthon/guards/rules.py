"""A guard: validators on a field of a step's output, and what happens to a value they refuse."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar, cast, get_args

from synthon.core.errors import CheckFailed, GuardBlocked, OutputError, UserError
from synthon.core.identity import to_json
from synthon.core.portal import sync
from synthon.core.rebuild import rebuilt
from synthon.core.running import span
from synthon.core.verdicts import Failure, Guard, Path, Verdict
from synthon.guards.fields import Required, changed, parsed, require
from synthon.guards.results import GONE, NO_FIX, UNSET, Fail, Pass, Validator, ask, called

T = TypeVar("T")
Action = Literal["reask", "fix", "filter", "refrain", "noop", "raise", "fix_reask"]
Custom: TypeAlias = Callable[[object, Fail], object | Awaitable[object]]
_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Rule:
    """Validators on one field and the action for what they refuse; made by `guard`."""

    name: str
    validators: tuple[Validator, ...]
    parts: tuple[str, ...]
    then: Action | Custom
    retries: int
    instead: object

    def fits(self, output: object) -> None:
        """Refuse a step's type that cannot have the field; `judge` says it too, but only of values.

        Raises:
            UserError: names the type and the fields it has.
        """
        require(output, self.parts)

    async def judge(self, output: object, inputs: Mapping[str, object]) -> Verdict:
        """What stands of the output under this rule; each finding goes into the trace.

        Raises:
            CheckFailed: `then="raise"`, and a value was refused.
            GuardBlocked: the output may not be used, or what was refused cannot be left out.
            UserError: there is no such field, or a validator is none.
        """
        with span(self.name, "check") as opened:
            judging = _Judging(self, output, inputs)
            try:
                standing = await changed(output, self.parts, judging.visit)
            except Required:
                standing = GONE
            finally:
                if judging.findings:
                    opened.row.attributes = to_json({"findings": judging.findings})
            if standing is GONE:
                raise judging.blocked("It cannot be left out, since it is required")
            return Verdict(self.instead if judging.refrained else standing, tuple(judging.failures))


class _Judging:
    """One output's way through a rule."""

    def __init__(self, rule: Rule, output: object, inputs: Mapping[str, object]) -> None:
        self.rule, self.output, self.inputs = rule, output, inputs
        self.failures: list[Failure] = []
        self.findings: list[dict[str, object]] = []
        self.refrained = False

    async def visit(self, path: Path, value: object) -> object:
        """What stands of the value at a place; None is no value."""
        for validator in self.rule.validators:
            if value is None or value is GONE or self.refrained:
                break
            found = await ask(validator, value, self.inputs)
            if isinstance(found, Fail):
                finding = {"field": ".".join(map(str, path)), "validator": called(validator), "value": value}
                then = self.rule.then if isinstance(self.rule.then, str) else "custom"
                self.findings.append({**finding, "message": found.message, "then": then})
                new = await self._act(path, value, found, validator)
                if new is not value:
                    self.findings[-1]["became"] = None if new is GONE else new
                value = new
        return value

    async def _act(self, path: Path, value: object, found: Fail, validator: Validator) -> object:
        match self.rule.then:
            case "reask" | "fix_reask":
                return await self._asked_again(path, value, found, validator)
            case "fix":
                if found.fix is NO_FIX:
                    raise UserError(_no_fix(validator, found))
                return found.fix
            case "filter":
                return GONE
            case "refrain":
                if self.rule.instead is UNSET:
                    raise self.blocked("Pass instead= for an answer that may be given in its place")
                self.refrained = True
            case "raise":
                raise CheckFailed(f"{self._where()} Ask again, or loosen it.", check=self.rule.name, output=self.output)
            case "noop":
                pass
            case custom:
                made = custom(value, found)
                return await made if inspect.isawaitable(made) else made
        return value

    async def _asked_again(self, path: Path, value: object, found: Fail, validator: Validator) -> object:
        """The fix, where that may be taken and passes; else the value, and the model is to be asked."""
        fixable = self.rule.then == "fix_reask" and found.fix is not NO_FIX
        if fixable and isinstance(await ask(validator, found.fix, self.inputs), Pass):
            return found.fix
        self.failures.append(Failure(path, found.message))
        return value

    def _where(self) -> str:
        last = self.findings[-1]
        return f"The guard {self.rule.name!r} refused {_shown(last['value'])}: {str(last['message']).rstrip('.')}."

    def blocked(self, hint: str) -> GuardBlocked:
        evidence = _shown(self.findings[-1]["value"])
        return GuardBlocked(f"{self._where()} {hint}.", guard=self.rule.name, evidence=evidence)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _no_fix(validator: Validator, found: Fail) -> str:
    return (
        f"The validator {called(validator)!r} failed without a fix ({found.message}), and its guard has then='fix'. "
        "Return Fail(message, fix=...), or take then='reask'."
    )


def guard(
    *validators: Validator,
    field: str = "",
    then: Action | Custom = "reask",
    retries: int = 1,
    instead: object = UNSET,
    name: str = "",
) -> Rule:
    """Hold a field of a step's output against validators, in order; each sees what the one before left.

    A validator is a function from a value (and inputs of the step, by name) to `Pass` or `Fail`, sync or async. A
    field that is None is not judged.

    Args:
        field: a dotted path into models, dataclasses, dicts and lists: `"title"`, `"items.*.name"` for each of a
            list or dict, `"items.0"` for one, `"note?"` for a field that only some values have; `""` for the whole.
        then: what happens to a value that fails. `"reask"`: the model is asked for this field again. `"fix"`: the
            validator's fix takes its place. `"fix_reask"`: the same, if it passes, else the model is asked again.
            `"filter"`: it leaves its list or dict; an optional field gets its default or None; else `GuardBlocked`.
            `"refrain"`: the whole output becomes `instead`; without one, `GuardBlocked`. `"noop"`: it stays, and the
            trace says so. `"raise"`: `CheckFailed` at once. A function, sync or async: the value and its `Fail`
            become what it returns.
        retries: times the model is asked again, then `CheckFailed`.
        instead: what stands in place of an output that `"refrain"` withholds.
        name: how errors and the trace call it.

    Raises:
        UserError: no validator, an unknown action, a malformed field, negative retries, or `instead` without refrain.
    """
    problem = ""
    if not validators or not all(map(callable, validators)):
        problem = f"it needs validators, and was given {validators!r}"
    elif not callable(then) and then not in get_args(Action):
        problem = f"it knows no action {then!r}; take one of {', '.join(get_args(Action))}, or a function"
    elif retries < 0:
        problem = f"retries={retries!r} is less than 0"
    elif instead is not UNSET and then != "refrain":
        problem = f"instead={instead!r} is for then='refrain' alone"
    name = name or " and ".join(map(called, validators)) + (f" on {field}" if field else "")
    if problem:
        msg = (
            f"The guard {name!r} cannot be made: {problem}. Write guard(length(at_most=80), field='title', then='fix')."
        )
        raise UserError(msg)
    return Rule(name, validators, parsed(field), then, retries, instead)


async def guarded(value: T, *guards: Guard, expected: object = None, inputs: Mapping[str, object] | None = None) -> T:
    """A value as guards leave it, in order; what was changed is validated against its type again.

    Args:
        value: never mutated.
        expected: the type to validate a changed value against; by default that of the value, for Pydantic models
            and dataclasses.
        inputs: what validators may take by name.

    Raises:
        CheckFailed: a guard would ask a model again, and there is none here.
        GuardBlocked: the value may not be used.
        OutputError: what the guards made of it does not fit the type.
        UserError: one of the guards is none.
    """
    for each in guards:
        if not hasattr(each, "judge"):
            raise UserError(f"guarded(...) was given {each!r:.200}, which is no guard. Write guard(length(at_most=9)).")
    standing: object = value
    with span("guarded", "check") as opened:
        for each in guards:
            verdict = await each.judge(standing, inputs or {})
            if verdict.failed:
                failed = "; ".join(
                    f"{'.'.join(map(str, item.path)) or 'it'}: {item.message.rstrip('.')}" for item in verdict.failed
                )
                msg = (
                    f"The guard {each.name!r} refused {_shown(standing)}: {failed}. No model can be asked again here; "
                    "guard a step, or choose another action than 'reask'."
                )
                raise CheckFailed(msg, check=each.name, output=standing)
            standing = verdict.value
        if standing is not value:
            standing = opened.output = _validated(standing, value, expected or type(value))
    return cast("T", standing)


def guarded_sync(value: T, *guards: Guard, expected: object = None, inputs: Mapping[str, object] | None = None) -> T:
    """`guarded` from ordinary code, on Synthon's background loop."""
    return sync(lambda: guarded(value, *guards, expected=expected, inputs=inputs))


def _validated(value: object, before: object, type_: object) -> object:
    if type_ in {list, dict, tuple}:
        return value
    try:
        return cast("object", rebuilt(type_, value, before))
    except ValueError as error:
        shown = getattr(type_, "__name__", str(type_))
        msg = (
            f"What the guards left, {_shown(value)}, does not fit {shown}: {error} Correct the fix, or pass expected=."
        )
        raise OutputError(msg, text=to_json(value), expected=shown) from error


__all__ = ["Action", "Custom", "Rule", "guard", "guarded", "guarded_sync"]
