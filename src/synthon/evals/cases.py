"""Cases: what goes in, what should come out, and what is known about it."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar, cast, overload

from synthon.core.errors import UserError
from synthon.core.identity import adapter, digest, to_json
from synthon.core.values import JSON
from synthon.evals._tables import Rows, rows_of

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")
_OWN = {"inputs", "expected", "metadata", "id"}


@dataclass(frozen=True)
class Case(Generic[T_co]):
    """One example: the program's arguments by name, the right answer, and what slices are made by.

    `id` is made of inputs and expected unless it is given, so the same case has the same id everywhere.
    """

    inputs: Mapping[str, object]
    expected: T_co
    metadata: Mapping[str, JSON] = field(default_factory=dict)
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            text = to_json({"inputs": self.inputs, "expected": self.expected}, again=True)
            object.__setattr__(self, "id", digest(text)[:16])


class Cases(Sequence[Case[T_co]]):
    """Cases in order."""

    def __init__(self, cases: Iterable[Case[T_co]]) -> None:
        self._cases = tuple(cases)

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
            UserError: fewer cases than the parts need, or a part of none.
        """
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
        """Write them as JSON lines, which `cases` reads again."""
        rows = [{"inputs": c.inputs, "expected": c.expected, "metadata": c.metadata, "id": c.id} for c in self]
        Path(path).write_text("".join(f"{to_json(row, again=True)}\n" for row in rows), encoding="utf-8")


@overload
def cases(
    path: str | Path,
    type_: type[T],
    *,
    inputs: Sequence[str] | Mapping[str, object] | None = None,
    expected: str = "expected",
) -> Cases[T]: ...
@overload
def cases(
    path: str | Path, *, inputs: Sequence[str] | Mapping[str, object] | None = None, expected: str = "expected"
) -> Cases[object]: ...
@overload
def cases(
    path: str | Path,
    type_: object,
    *,
    inputs: Sequence[str] | Mapping[str, object] | None = None,
    expected: str = "expected",
) -> Cases[object]: ...
def cases(
    path: str | Path,
    type_: object = None,
    *,
    inputs: Sequence[str] | Mapping[str, object] | None = None,
    expected: str = "expected",
) -> Cases[object]:
    """Cases from a file of JSON lines, CSV or Parquet; answers become what `type_` says, by Pydantic.

    Args:
        path: a .jsonl, .csv or .parquet file (the last needs `synthon[evals]`).
        type_: the type of the answers; without it they stay as the file has them.
        inputs: columns that are arguments of the program, as a mapping with their types; the others become metadata.
            Without it, a column `inputs` with objects, as `Cases.save` writes, else all columns that are not the
            answer, `metadata` or `id`.
        expected: the column with the answers.

    Raises:
        UserError: no such file, a row that cannot be read, a column that is not there, or an answer of another type;
            with the row's number and the column.
    """
    rows = rows_of(Path(path))
    if not rows.table:
        raise UserError(f"{str(path)!r} holds no row. Give it one case a line, with a column {expected!r}.")
    return Cases(_case(rows, number, row, type_, inputs, expected) for number, row in rows)


def _case(
    rows: Rows,
    number: int,
    row: Mapping[str, object],
    type_: object,
    inputs: Sequence[str] | Mapping[str, object] | None,
    expected: str,
) -> Case[object]:
    for column in [expected, *(inputs or ())]:
        if column not in row:
            raise rows.error(number, column, f"is not there; it has {', '.join(map(repr, row))}", "Name the columns")
    answer = row[expected] if type_ is None else _typed(rows, number, expected, row[expected], type_)
    rest = {name: value for name, value in row.items() if name not in _OWN | {expected}}
    arguments = row.get("inputs")
    if inputs is not None:
        types = inputs if isinstance(inputs, Mapping) else dict.fromkeys(inputs)
        arguments = {
            name: row[name] if type_ is None else _typed(rows, number, name, row[name], type_)
            for name, type_ in types.items()
        }
        rest = {name: value for name, value in rest.items() if name not in types}
    elif not isinstance(arguments, Mapping):
        arguments, rest = rest if arguments is None else {"inputs": arguments, **rest}, {}
    own = row.get("metadata") or {}
    if not isinstance(own, Mapping):
        raise rows.error(number, "metadata", f"is {own!r}, no object", "Give it an object")
    metadata = cast("Mapping[str, JSON]", {**rest, **own})
    return Case(dict(arguments), answer, metadata, str(row.get("id") or ""))


def _typed(rows: Rows, number: int, column: str, value: object, type_: object) -> object:
    """A value as its type; text of a column that is none may be JSON, as in CSV."""
    known = adapter(type_)
    try:
        return cast("object", known.validate_python(value))
    except ValueError as error:
        if isinstance(value, str):
            try:
                return cast("object", known.validate_json(value))
            except ValueError:
                pass
        named = getattr(type_, "__name__", None) or str(type_)
        reason = " ".join(str(error).split())
        raise rows.error(number, column, f"is {value!r:.200}, no {named}: {reason}", "Mend the row") from error
