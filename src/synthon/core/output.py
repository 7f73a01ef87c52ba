"""A step's output type: what the model is told, which constraint it is, and how text becomes a value."""

from __future__ import annotations

import enum
import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, cast, get_args, get_origin

from pydantic_core import from_json

from synthon.core.constraints import Choice, Layout, Schema
from synthon.core.errors import OutputError, UserError
from synthon.core.identity import adapter, dumps, to_json
from synthon.core.rebuild import as_read, keyed, rebuilt

T = TypeVar("T")
_SCANNED = 64
_BEGUN = re.compile(r'\{\s*"|\[\s*["{[]')  # as JSON begins that may hold an answer
_MARKS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"?|[][{}]', re.DOTALL)


class Output(Generic[T]):
    """How values of one type are asked for and read; made once per step, at its first call."""

    def __init__(self, type_: object, where: str) -> None:
        self.type = type_ = _bare(type_)
        self.where = where
        self.options = _options(type_, where)
        self.is_text = type_ is str
        try:
            adapter(type_)
        except Exception as error:
            msg = f"{where} returns {type_!r}, which has no Pydantic schema ({error}). Return one that has."
            raise UserError(msg) from error

    @cached_property
    def own_schema(self) -> dict[str, object]:
        """The type's own JSON schema."""
        if self.options is not None:
            return {"enum": list(self.options)}
        try:
            return cast("dict[str, object]", adapter(self.type).json_schema())
        except Exception as error:
            msg = f"{self.where} returns {self.type!r}, which has no JSON schema ({error}). Return one that has."
            raise UserError(msg) from error

    @cached_property
    def _wrapped(self) -> bool:
        return self.own_schema.get("type") != "object" and "$ref" not in self.own_schema

    @cached_property
    def schema(self) -> dict[str, object]:
        """The JSON schema sent to a model; a type that is no object stands under `value`, as endpoints want one."""
        return _under_value(self.own_schema) if self._wrapped else self.own_schema

    @cached_property
    def expected(self) -> str:
        """What the model is told of the answer's shape; empty for plain text."""
        if self.is_text:
            return ""
        if self.options is not None:
            return f"Answer with exactly one of: {', '.join(self.options)}."
        return f"Answer with JSON that fits this schema, and nothing else:\n{dumps(self.schema)}"

    @cached_property
    def constraint(self) -> Schema | None:
        """The type as a constraint for a model that can enforce it; None for plain text.

        Objects that name their fields take no others: Pydantic drops what it does not know, a small model dwells on it.
        """
        return None if self.is_text else Schema(dumps(_closed(self.schema)))

    @cached_property
    def choice(self) -> Choice | None:
        """The type's options, None where it is no closed set."""
        return None if self.options is None else Choice(tuple(self.options))

    def written(self, value: object, layout: Layout = "free") -> str:
        """The text a model should have written for this value; JSON is compact unless `layout` is pretty."""
        if isinstance(value, str) and (self.is_text or self.options is not None):
            return str.__str__(value)  # of an enumeration too, which formats by its name
        if self.options is not None:
            return next((text for text, option in self.options.items() if option == value), str(value))
        shape = json.loads(text := to_json(value, typed=True))
        text = text if (read := as_read(value, shape)) == shape else dumps(read)
        text = f'{{"value":{text}}}' if self._wrapped else text
        return json.dumps(json.loads(text), ensure_ascii=False) if layout == "pretty" else text

    def parse(self, text: str) -> T:
        """The typed value in a completion.

        Raises:
            OutputError: nothing in the text fits the type; the value is never half-parsed.
        """
        if self.is_text:
            return cast("T", text)
        if self.options is not None:
            return cast("T", self._option(text))
        return cast("T", self._json(text))

    def validated(self, value: object, before: object, text: str = "") -> T:
        """What a guard or a repair made of the value before, as one of the type; `text` is what a refusal shows.

        Raises:
            OutputError: it is none.
        """
        if self.is_text and isinstance(value, str):
            return cast("T", value)
        try:
            return cast("T", rebuilt(self.type, value, before))
        except (ValueError, RecursionError) as error:
            raise self.refusal(text or repr(value), _reason(error)) from error

    def refusal(self, text: str, reason: str) -> OutputError:
        """The error that says what does not fit, in words for the model too."""
        return OutputError(_refusal(text, self.expected, reason), text=text, expected=self.expected, reason=reason)

    def _option(self, text: str) -> object:
        options = self.options or {}
        said = text.strip()
        wrapped = _loads(said, None)
        if isinstance(wrapped, dict) and len(wrapped) == 1:
            said = str(wrapped.get("value", said))
        elif isinstance(wrapped, str):
            said = wrapped
        for exact in (text, said):
            if exact in options:
                return options[exact]
        for form in (str.casefold, _unmarked, lambda each: _unmarked(each).casefold()):
            found = [option for name, option in options.items() if form(name) == form(said) != ""]
            if len(found) == 1:
                return found[0]
        raise self.refusal(text, "it is none of them")

    def _json(self, text: str) -> object:
        reason = "it holds no JSON"
        for candidate in _candidates(text):
            for value in self._unwrapped(candidate):
                try:
                    return adapter(self.type).validate_json(value)
                except (ValueError, RecursionError) as error:
                    reason = reason if reason != "it holds no JSON" else _reason(error)
        raise self.refusal(text, reason)

    def _unwrapped(self, text: str) -> list[str]:
        if not self._wrapped:
            return [text]
        value = _loads(text, None)
        if isinstance(value, dict) and "value" in value and len(value) == 1:
            return [json.dumps(value["value"]), text]
        return [text]

    def partial(self, text: str) -> object:
        """What an unfinished completion already says; None while it says nothing that fits.

        Text is text so far. A Pydantic model comes with the fields read so far (the others are absent), any
        other type as far as it validates.
        """
        if self.is_text:
            return text
        if self.options is not None:
            return self.options.get(text.strip())
        start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=len(text))
        try:
            value = from_json(text[start:], allow_partial="trailing-strings")
        except ValueError:
            return None
        if self._wrapped:
            value = value.get("value") if isinstance(value, dict) else value
        return _partly(self.type, value)


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    as_it_is = {"enum", "const", "default", "allOf"}  # the arms of the last speak of one value
    closed = {name: value if name in as_it_is else _closed(value) for name, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and "allOf" not in schema:
        closed.setdefault("additionalProperties", False)
    return closed


def _under_value(schema: dict[str, object]) -> dict[str, object]:
    inner = {name: item for name, item in schema.items() if name != "$defs"}
    wrapped = {"type": "object", "properties": {"value": inner}, "required": ["value"], "additionalProperties": False}
    return wrapped | {"$defs": schema["$defs"]} if "$defs" in schema else wrapped


def _bare(type_: Any) -> Any:
    """A type without what is said about it in words only; what bounds it stays, and is held as JSON."""
    if get_origin(type_) is not Annotated or not all(isinstance(each, str) for each in type_.__metadata__):
        return type_
    return type_.__origin__


def _options(type_: object, where: str) -> dict[str, object] | None:
    if type_ is bool:
        return {"true": True, "false": False}
    if get_origin(type_) is Literal:
        named = [(str(value), value) for value in get_args(type_)]
    elif isinstance(type_, type) and issubclass(type_, enum.Enum):
        named = [(str(member.value), member) for member in type_]
    else:
        return None
    options = dict(named)
    if len(options) < len(named):
        raise UserError(f"{where} returns {type_!r}, two of whose options are one text. Give each its own text.")
    return options


def _unmarked(text: str) -> str:
    """An option without what models put around one."""
    return text.strip("\"'`* .\n")


def _loads(text: str, default: object) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return default


def _candidates(text: str) -> Iterator[str]:
    """The whole text, then every JSON value in it, in order; never a part of one that is cut off or malformed."""
    yield text
    decoder = json.JSONDecoder()
    at = 0
    for _ in range(_SCANNED):
        at = min((place for place in (text.find("{", at), text.find("[", at)) if place >= 0), default=-1)
        if at < 0:
            return
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at = _close(text, at) or at + 1
        else:
            yield text[at:end]
            at = end


def _close(text: str, at: int) -> int:
    """Where the bracket there is closed, past those in strings; the text's end where JSON never is; 0 of no JSON."""
    if text.startswith("{{", at):  # a template's
        return 0
    depth = 0
    for mark in _MARKS.finditer(text, at):
        depth += (mark[0] in "{[") - (mark[0] in "}]")
        if not depth:
            return mark.end()
    return len(text) if _BEGUN.match(text, at) else 0


def schema(of: object, *, name: str = "output", layout: Layout = "free", check: bool = False) -> Schema:
    """JSON that fits a type with a Pydantic schema, or a JSON schema given as a mapping or as text.

    Args:
        of: a type, a mapping, or JSON text.
        name: what an endpoint is told that the schema is called.
        layout: white space that a mask allows; a small model's answers depend on it, so choose it on data.
        check: see `choice`.

    Raises:
        UserError: no schema can be read from `of`.
    """
    try:
        if isinstance(of, str):
            of = json.loads(of)
        found = of if isinstance(of, Mapping | bool) else adapter(of).json_schema()
    except Exception as error:
        msg = f"`schema` cannot read a JSON schema from {of!r}: {error}. Pass a type, a mapping, or JSON text."
        raise UserError(msg) from error
    return Schema(dumps(found), name, layout, check)


def read_json(text: str, names: Iterable[str]) -> dict[str, Any] | None:
    """The first JSON object in a text that has all these names; None where there is none."""
    wanted = set(names)
    for candidate in _candidates(text):
        value = _loads(candidate, None)
        if isinstance(value, dict) and wanted <= value.keys():
            return value
    return None


def _reason(error: Exception) -> str:
    found: list[Any] = getattr(error, "errors", list)()[:3]
    shown = [f"{'.'.join(str(place) for place in item['loc']) or 'value'}: {item['msg']}" for item in found]
    return "; ".join(shown) or str(error)


def _refusal(text: str, expected: str, reason: str) -> str:
    shown = text if len(text) <= 200 else f"{text[:200]}..."  # noqa: PLR2004
    told = expected if len(expected) <= 300 else f"{expected[:300]}..."  # noqa: PLR2004 - the error's `expected` has all
    return f"The model answered {shown!r}, which does not fit: {reason}. {told}"


def _partly(type_: object, value: object) -> object:
    fields: Mapping[str, Any] | None = getattr(type_, "model_fields", None)
    if fields is not None and isinstance(value, dict):
        kinds = {name: field.annotation for name, field in fields.items()}
        kinds |= {keyed(type_, name): kind for name, kind in kinds.items()}
        known = {key: _partly(kinds[key], item) for key, item in value.items() if key in kinds}
        return cast("Any", type_).model_construct(**known)
    inner = [item for item in get_args(type_) if item is not type(None)]
    if get_origin(type_) is list and isinstance(value, list):
        return [_partly(inner[0], item) for item in value]
    if get_origin(type_) in {Union, types.UnionType} and len(inner) == 1 and value is not None:
        return _partly(inner[0], value)
    try:
        return adapter(type_).validate_python(value, experimental_allow_partial="trailing-strings")
    except ValueError:
        return value
