"""JSON extraction with exact values: messages of NLU++, what they state of a few fields, and how right an answer is.

    bookings = task(data, "hotels", booking, count=50, seed=7)
    bookings.rows[0].figures(Booking(...))          # {"whole": 0.0, "fields": 0.8, "f1": 0.5}

Numbers are gold by value ("a couple" is 2), names by the words of the message. Dates and times are left out: their gold
values depend on the day of the recording.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from pydantic import BaseModel, TypeAdapter

from benchmarks import datasets
from synthon.core.output import read_json
from synthon.core.render import Demo
from synthon.core.step import Step, step

if TYPE_CHECKING:
    from pathlib import Path

Figure = Literal["whole", "fields", "f1"]
FIGURES: tuple[Figure, ...] = get_args(Figure)
_SHOWN = 10


class Booking(BaseModel):
    """What a message says of a hotel booking."""

    rooms: int | None
    adults: int | None
    kids: int | None
    people: int | None
    person_name: str | None


class Payment(BaseModel):
    """What a message says of a payment."""

    amount_of_money: float | None
    company_name: str | None
    person_name: str | None
    shopping_category: str | None


@step(temperature=0.0, max_tokens=96, retries=0)
async def booking(message: str) -> Booking:
    """Write down what the message says of a booking, and null for all it does not say."""
    raise NotImplementedError


@step(temperature=0.0, max_tokens=96, retries=0)
async def payment(message: str) -> Payment:
    """Write down what the message says of a payment, and null for all it does not say."""
    raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Row:
    """A message, and the value of each field; None where it states none."""

    text: str
    gold: Mapping[str, object]

    @property
    def stated(self) -> set[str]:
        return {name for name, value in self.gold.items() if value is not None}

    def figures(self, value: object) -> dict[Figure, float]:
        """How right an object is, a model's or a plain one; None is wholly wrong."""
        said = value.model_dump() if isinstance(value, BaseModel) else value
        if not isinstance(said, Mapping):
            return dict.fromkeys(FIGURES, 0.0)
        right = {name for name, wanted in self.gold.items() if same(said[name], wanted)}
        told = {name for name in self.gold if said[name] is not None}
        return {
            "whole": float(len(right) == len(self.gold)),
            "fields": len(right) / len(self.gold),
            "f1": 2 * len(right & self.stated) / (len(self.stated) + len(told)),
        }


@dataclass(frozen=True, slots=True)
class Task:
    """Messages to extract from, and the step that does it, with and without its two examples."""

    name: str
    step: Step[[str], Any]
    rows: tuple[Row, ...]
    demos: tuple[Demo, ...]

    def lenient(self, text: str) -> dict[str, object] | None:
        """The first JSON object in a text, null for each field that is missing or misfits; None without one."""
        found = read_json(text, ())
        return None if found is None else {name: self._value(name, found.get(name)) for name in self._fields}

    @property
    def _fields(self) -> Mapping[str, Any]:
        return cast("type[BaseModel]", self.step.output.type).model_fields

    def _value(self, name: str, value: object) -> object:
        try:
            return TypeAdapter(self._fields[name].annotation).validate_python(value)
        except ValueError:
            return None


def same(value: object, gold: object) -> bool:
    if isinstance(value, str) and isinstance(gold, str):
        return value.casefold().split() == gold.casefold().split()
    if isinstance(value, int | float) and isinstance(gold, int | float):
        return math.isclose(value, gold)
    return value is None and gold is None


def gold(slots: Mapping[str, Any], name: str) -> object:
    value = slots.get(name, {}).get("value")
    return value["amount"] if isinstance(value, dict) else value


def task(data: Path, domain: str, asks: Step[[str], Any], *, count: int, seed: int) -> Task:
    """Messages with a field that has a value, drawn by seed.

    The first ten drawn are not asked: the two of them that together state the most fields are the examples.
    """
    type_ = cast("type[BaseModel]", asks.output.type)
    found: dict[str, Row] = {}
    for row in datasets.rows(data / "intents" / f"nlupp_{domain}.jsonl.gz"):
        slots = cast("dict[str, Any]", row.get("slots") or {})
        values = {name: gold(slots, name) for name in type_.model_fields}
        if any(value is not None for value in values.values()):
            found[str(row["text"])] = Row(str(row["text"]), values)
    drawn = random.Random(seed).sample(list(found.values()), min(count + _SHOWN, len(found)))
    shown = max(combinations(drawn[:_SHOWN], 2), key=lambda pair: len(pair[0].stated | pair[1].stated), default=())
    demos = tuple(Demo({"message": row.text}, type_.model_validate(row.gold)) for row in shown)
    return Task(asks.name, asks, tuple(drawn[_SHOWN:]), demos)


__all__ = ["FIGURES", "Booking", "Figure", "Payment", "Row", "Task", "booking", "gold", "payment", "same", "task"]
