"""Rows of a file as mappings, whichever of three formats it has."""

from __future__ import annotations

import csv
import glob
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from synthon.core.errors import UserError
from synthon.evals._extras import extra

_LONGEST = 2**31 - 1  # characters of a cell: what a C long holds everywhere


@dataclass(frozen=True)
class Rows:
    """A file's rows, each with the number that a person counts it by: the line in JSON lines and CSV, else from 1."""

    path: Path
    table: list[tuple[int, Mapping[str, object]]]

    def __iter__(self) -> Iterator[tuple[int, Mapping[str, object]]]:
        return iter(self.table)

    def error(self, number: int, column: str, problem: str, remedy: str) -> UserError:
        """What is wrong with one cell."""
        return UserError(
            f"Row {number} of {str(self.path)!r}, column {column!r}: it {problem}. {remedy}, then read again."
        )


def rows_of(path: Path) -> Rows:
    """All rows of a file.

    Raises:
        UserError: it cannot be read, or not as what its name says.
        MissingExtra: what reads Parquet is not installed.
    """
    readers = {".jsonl": _json_lines, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None or not path.is_file():
        problem = "is no file" if reader else f"has the ending {path.suffix!r}"
        raise UserError(f"{str(path)!r} {problem}. Pass a .jsonl, .csv or .parquet file.")
    try:
        return Rows(path, list(reader(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{str(path)!r} cannot be read: {type(error).__name__}: {error}. Save it as UTF-8.") from error


def _json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    # not splitlines: a string in JSON may hold other line ends than \n
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"Line {number} of {str(path)!r} is no JSON: {error}. Write one object a line.") from error
        if not isinstance(row, dict):
            raise UserError(f"Line {number} of {str(path)!r} is {row!r:.100}, no object. Write one object a line.")
        yield number, row


def _csv(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader, limit = csv.reader(file, strict=True), csv.field_size_limit(_LONGEST)
        try:
            names = next(reader, [])
            if len(set(names)) < len(names):
                raise UserError(f"The columns of {str(path)!r} are {names}, not all different. Rename them.")
            for cells in reader:
                if cells and len(cells) != len(names):
                    where = f"Line {reader.line_num} of {str(path)!r}"
                    raise UserError(
                        f"{where} has {len(cells)} cells, its header {len(names)}. Quote cells with commas."
                    )
                if cells:
                    yield reader.line_num, dict(zip(names, cells, strict=True))
        except csv.Error as error:
            where = f"Line {reader.line_num} of {str(path)!r}"
            raise UserError(f"{where} is no CSV: {error}. Close its quotes, and double those inside.") from error
        finally:
            csv.field_size_limit(limit)


def _parquet(path: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    duckdb = extra("duckdb", "A Parquet file")
    try:
        with duckdb.connect(config={"autoinstall_known_extensions": False}) as connection:
            found = connection.read_parquet(glob.escape(str(path)))  # it would take [1] for a pattern
            names = found.columns
            rows = found.fetchall()
    except duckdb.Error as error:
        raise UserError(f"{str(path)!r} cannot be read: {error}. Write it as Parquet again.") from error
    for number, cells in enumerate(rows, 1):
        yield number, dict(zip(names, cells, strict=True))
