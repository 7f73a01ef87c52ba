"""Cases: what goes in, what should come out, and what is known about it."""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeAlias, TypeVar, cast, get_type_hints, overload

import numpy as np
from pydantic import ValidationError

from synthon.core.errors import UserError
from synthon.core.identity import adapter, digest, safe_repr, to_json
from synthon.core.settings import Knob
from synthon.core.values import JSON
from synthon.evals._given import whole
from synthon.evals._tables import Rows, rows_of

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
Inputs: TypeAlias = Sequence[str] | Mapping[str, object] | Callable[..., object]


@dataclass(frozen=True)
class Case(Generic[T_co]):
    """One example: the program's arguments by name, the right answer, and what slices are made by.

    `id` is made of inputs and expected unless it is given, so the same case has the same id everywhere.

    Raises:
        UserError: the inputs are no mapping from names, or the metadata none.
    """

    inputs: Mapping[str, object]
    expected: T_co
    metadata: Mapping[str, JSON] = field(default_factory=dict)
    id: str = ""

    def __post_init__(self) -> None:
        given: object = self.inputs
        if not isinstance(given, Mapping) or not all(isinstance(name, str) for name in given):
            msg = f"The inputs of a case are {given!r:.200}, a {type(given).__name__}. "
            raise UserError(f'{msg}Pass the program\'s arguments by name: {{"text": "..."}}.')
        about: object = self.metadata
        if not isinstance(about, Mapping):
            raise UserError(
                f"The metadata of a case are {about!r:.200}, a {type(about).__name__}. Pass a dict, or none."
            )
        if not self.id:
            object.__setattr__(self, "id", digest(self.content)[:16])

    @property
    def content(self) -> str:
        """Its inputs and answer as text, by which cases are equal whatever their ids and the order of the inputs."""
        return to_json({"inputs": dict(sorted(self.inputs.items())), "expected": self.expected}, again=True)


class Cases(Sequence[Case[T_co]]):
    """Cases in order.

    Raises:
        UserError: one of them is no `Case`; tells which.
    """

    def __init__(self, cases: Iterable[Case[T_co]]) -> None:
        remedy = "Pass a list of sy.Case({...}, expected), or sy.cases(path) for those in a file."
        given: object = cases
        if not isinstance(given, Iterable) or isinstance(given, str | Mapping):
            raise UserError(f"Cases were given as {given!r:.200}, a {type(given).__name__}. {remedy}")
        self._cases = tuple(cases)
        for place, case in enumerate(cast("tuple[object, ...]", self._cases)):
            if not isinstance(case, Case):
                raise UserError(f"Case {place} is {case!r:.200}, a {type(case).__name__}. {remedy}")

    def __len__(self) -> int:
        return len(self._cases)

    def __iter__(self) -> Iterator[Case[T_co]]:
        return iter(self._cases)

    @overload
    def __getitem__(self, place: int) -> Case[T_co]: ...
    @overload
    def __getitem__(self, place: slice) -> Cases[T_co]: ...
    def __getitem__(self, place: int | slice) -> Case[T_co] | Cases[T_co]:
        return Cases(self._cases[place]) if isinstance(place, slice) else self._cases[place]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Cases) and self._cases == other._cases

    __hash__ = None  # type: ignore[assignment] # inputs and answers need not be hashable

    def __repr__(self) -> str:
        return f"Cases({len(self)}: {', '.join(self._cases[0].inputs) if self else 'none'})"

    def split(self, *sizes: int, seed: int = 0) -> tuple[Cases[T_co], ...]:
        """Disjoint parts of these sizes, drawn at random; the same seed draws the same. What is left over is left out.

        Raises:
            UserError: fewer cases than the parts need, a part of none, or something that is no whole number.
        """
        sizes, seed = tuple(whole("The size of a part", size) for size in sizes), whole("seed=", seed)
        if sum(sizes) > len(self) or not sizes or min(sizes) < 1:
            wanted = " + ".join(map(str, sizes)) or "no parts"
            raise UserError(
                f"{len(self)} cases cannot be split into {wanted}. Ask for parts that fit, each of 1 or more."
            )
        order = list(self._cases)
        random.Random(seed).shuffle(order)
        ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
        return tuple(Cases(order[end - size : end]) for size, end in zip(sizes, ends, strict=True))

    def save(self, path: str | Path) -> None:
        """Write them as JSON lines, which `cases` reads again.

        Raises:
            UserError: JSON cannot hold a value, such as bytes, or the file cannot be written; nothing was.
        """
        text = "".join(f"{_line(case)}\n" for case in self)
        try:
            Path(path).write_text(text, encoding="utf-8")
        except OSError as error:
            msg = f"{str(path)!r} cannot be written: {error}. Pass a path in a folder that is there."
            raise UserError(msg) from error


def _line(case: Case[object]) -> str:
    """A case as a line of JSON; every value is looked at alone, to name the one that would be lost."""
    parts = {f"inputs[{name!r}]": value for name, value in case.inputs.items()}
    for name, value in {**parts, "expected": case.expected, "metadata": case.metadata}.items():
        shown = safe_repr(value)
        try:
            lost = json.loads(to_json(value, again=True, fallback=_scalar)) == shown  # it falls back to the repr
        except TypeError:
            lost = True
        if lost:
            msg = (
                f"Case {case.id!r} cannot be saved: its {name} is {shown:.100}, which JSON cannot hold. "
                "Put text, numbers, lists and dicts there, such as the path of a file. Nothing was written."
            )
            raise UserError(msg)
    row = {"inputs": case.inputs, "expected": case.expected, "metadata": case.metadata, "id": case.id}
    return to_json(row, again=True, fallback=_scalar)


def _scalar(value: Any) -> Any:
    """A scalar of numpy as Python's own.

    Raises:
        TypeError: it is something else.
    """
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(type(value).__name__)


@overload
def cases(
    path: str | Path,
    type_: type[T],
    *,
    inputs: Inputs | None = None,
    expected: str = "expected",
    strict: Literal[True] = True,
) -> Cases[T]: ...
@overload
def cases(
    path: str | Path,
    type_: object,
    *,
    inputs: Inputs | None = None,
    expected: str = "expected",
    strict: Literal[True] = True,
) -> Cases[Any]: ...
@overload
def cases(
    path: str | Path,
    type_: object = None,
    *,
    inputs: Inputs | None = None,
    expected: str = "expected",
    strict: bool = True,
) -> Cases[object]: ...
def cases(
    path: str | Path,
    type_: object = None,
    *,
    inputs: Inputs | None = None,
    expected: str = "expected",
    strict: bool = True,
) -> Cases[object]:
    """Cases from a file of JSON lines, CSV or Parquet; answers become what `type_` says, by Pydantic.

    Args:
        path: a .jsonl, .csv or .parquet file (the last needs `synthon[evals]`).
        type_: the type of the answers; without it they stay as the file has them.
        inputs: columns that are arguments, as a mapping with their types, or the program, whose parameters but for its
            knobs they are; the other columns become metadata. Without it, all that are not the answer, `metadata` or
            `id`. A column `inputs` that holds objects has the arguments in it, as `Cases.save` writes; where an
            argument has that name, only objects that name the arguments do.
        expected: the column with the answers.
        strict: False for a metric that compares with something else, or with nothing: an answer of another type stays
            as the file has it, and a row without one has None. A column that is named has to be in some row.

    Raises:
        UserError: no such file, a row that cannot be read, a column that is not there, or an answer of another type;
            with the row's number and the column.
    """
    rows = rows_of(Path(path))
    if not rows.table:
        raise UserError(f"{str(path)!r} holds no row. Give it one case a line, with a column {expected!r}.")
    types, needed = _columns(inputs)
    if not strict and expected != "expected" and not any(expected in row for _, row in rows):
        raise UserError(f"No row of {str(path)!r} has a column {expected!r}. Name the one with the answer.")
    answer = _Answer(expected, type_, strict)
    return Cases(_case(rows, number, row, answer, types, needed) for number, row in rows)


@dataclass(frozen=True)
class _Answer:
    column: str
    type_: object
    strict: bool

    def of(self, rows: Rows, number: int, row: Mapping[str, object]) -> object:
        """A row's answer."""
        value = row.get(self.column)
        try:
            return _typed(rows, number, self.column, value, self.type_)
        except UserError:
            if self.strict:
                raise
            return value


def _columns(inputs: Inputs | None) -> tuple[Mapping[str, object] | None, list[str]]:
    """The columns that may be arguments, with their types, and those of them that must be there."""
    if inputs is None:
        return None, []
    if isinstance(inputs, str):
        raise UserError(f"inputs={inputs!r} is a text. Pass a list of columns: [{inputs!r}].")
    if not callable(inputs):
        types = inputs if isinstance(inputs, Mapping) else dict.fromkeys(inputs)
        return types, list(types)
    fn = getattr(inputs, "fn", inputs)
    hints, shape = get_type_hints(fn), inspect.signature(fn)
    parameters = {name: each for name, each in shape.parameters.items() if not isinstance(each.default, Knob)}
    needed = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
    return {name: hints.get(name) for name in parameters}, needed


def _case(
    rows: Rows,
    number: int,
    row: Mapping[str, object],
    answer: _Answer,
    types: Mapping[str, object] | None,
    needed: Sequence[str],
) -> Case[object]:
    known = types or {}
    own = row.get("metadata") or {}
    given = row.get("inputs")
    if "inputs" in known and not (isinstance(given, Mapping) and set(needed) <= given.keys() <= known.keys()):
        given = None  # the argument of that name
    if not isinstance(own, Mapping):
        raise rows.error(number, "metadata", f"is {own!r}, no object", "Give it an object")
    taken = given if isinstance(given, Mapping) else {name: row[name] for name in row if name in (types or row)}
    for column in [answer.column, *needed] if answer.strict else needed:
        if column not in row and column not in taken:
            raise rows.error(number, column, f"is not there; it has {', '.join(map(repr, row))}", "Name the columns")
    reserved = {"metadata", "id", answer.column} | ({"inputs"} if taken is given else set())
    inputs = {
        name: _typed(rows, number, name, value, known.get(name))
        for name, value in taken.items()
        if taken is given or name not in reserved or name in known
    }
    rest = {name: value for name, value in row.items() if name not in reserved and name not in inputs}
    about = cast("Mapping[str, JSON]", {**rest, **own})
    given_id = row.get("id")
    return Case(inputs, answer.of(rows, number, row), about, "" if given_id is None else str(given_id))


def _typed(rows: Rows, number: int, column: str, value: object, type_: object) -> object:
    """A value as its type, None being any; text of a column that is none may be JSON, as in CSV."""
    if type_ is None:
        return value
    known = adapter(type_)
    try:
        return cast("object", known.validate_python(value, by_alias=True, by_name=True))
    except ValidationError as error:
        if isinstance(value, str):
            try:
                return cast("object", known.validate_json(value, by_alias=True, by_name=True))
            except ValueError:
                pass
        named = type_.__name__ if isinstance(type_, type) else "value of its type"
        found = [([str(part) for part in each["loc"]], each["msg"]) for each in error.errors()]
        reason = "; ".join(": ".join([*(part for part in place if "[" not in part), what]) for place, what in found)
        raise rows.error(number, column, f"is {value!r:.200}, no {named}: {reason}", "Mend the row") from error
