"""A function's parameters as a JSON schema, and a model's arguments as the function's."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args, get_type_hints

from synthon.core.errors import UserError
from synthon.core.identity import adapter, dumps, to_json
from synthon.core.settings import Knob

_KEY = "synthon:idempotency-key"
IdempotencyKey = Annotated[str, _KEY]
"""The type of a keyword parameter that gets the call's idempotency key; a model does not see it."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """What a function takes.

    Attributes:
        type: a dataclass of the parameters that a model fills in.
        returns: the annotated type of its value.
        key: the parameter that gets the idempotency key, empty where none does.
    """

    type: Any
    returns: Any
    key: str

    @property
    def schema(self) -> str:
        """JSON schema of the arguments, as text."""
        return dumps(_untitled(adapter(self.type).json_schema()))

    def validated(self, given: Mapping[str, object]) -> dict[str, Any]:
        """The function's keyword arguments.

        Raises:
            ValueError: they do not fit; says which and why.
        """
        try:
            found = adapter(self.type).validate_json(to_json(dict(given)))
        except ValueError as error:
            wrong: list[Any] = getattr(error, "errors", list)()
            said = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'arguments'}: {one['msg']}" for one in wrong)
            raise ValueError(said or str(error)) from error
        return {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}


def arguments_of(fn: Callable[..., object], scope: Mapping[str, object], name: str) -> Arguments:
    """Read a function's signature.

    Args:
        fn: the function.
        scope: names that its annotations may use besides its module's.
        name: what errors call it.

    Raises:
        UserError: a parameter has no type, or no name a model could give.
    """
    try:
        hints = get_type_hints(fn, localns={**getattr(fn, "__globals__", {}), **scope}, include_extras=True)
    except NameError as error:
        msg = f"Tool {name!r} has an annotation that cannot be resolved: {error}. Import the type before the tool."
        raise UserError(msg) from error
    fields: list[Any] = []
    key = ""
    for parameter in inspect.signature(fn).parameters.values():
        if isinstance(parameter.default, Knob):
            continue
        if parameter.kind not in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY} or (
            parameter.name not in hints
        ):
            msg = (
                f"Tool {name!r} takes {parameter.name!r}, of which a model cannot know what it is. "
                "Give every parameter a name and a type."
            )
            raise UserError(msg)
        hint = hints[parameter.name]
        if _KEY in get_args(hint)[1:]:
            key = parameter.name
        else:
            fields.append((parameter.name, hint, _field(parameter.default)))
    config = {"__pydantic_config__": {"extra": "forbid"}}
    type_ = dataclasses.make_dataclass("Arguments", fields, kw_only=True, namespace=config)
    return Arguments(type_, hints.get("return", object), key)


def _field(default: Any) -> Any:
    if default is inspect.Parameter.empty:
        return dataclasses.field()
    if type(default).__hash__ is None:
        return dataclasses.field(default_factory=lambda: default)
    return dataclasses.field(default=default)


def _untitled(schema: Any) -> Any:
    """A schema without the titles Pydantic makes up from names; a property called title is no text and stays."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: item if name in {"default", "enum", "const", "examples"} else _untitled(item)
        for name, item in schema.items()
        if not (name == "title" and isinstance(item, str))
    }
