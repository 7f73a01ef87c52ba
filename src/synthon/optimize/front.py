"""The programs that no other beats, as a table, a picture, and a dial."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from synthon.core.errors import UserError
from synthon.core.portal import sync
from synthon.evals.plotting import arms, checked, figure, saved
from synthon.evals.statistics import dollars

if TYPE_CHECKING:
    from synthon.optimize.outcome import Optimized

P = ParamSpec("P")
T = TypeVar("T")
_FEW = 4  # rows that a point has to have seen, to be taken for its quality
_WISHES = ("cost_usd", "latency_s", "quality")


class Front(Sequence["Optimized[P, T]"], Generic[P, T]):
    """Programs, `best()` first, then the surest (`Optimized.sure`); a surer one costs more, or is slower (`p95_s`)."""

    def __init__(self, programs: Sequence[Optimized[P, T]]) -> None:
        self._programs = tuple(programs)

    @overload
    def __getitem__(self, place: int) -> Optimized[P, T]: ...
    @overload
    def __getitem__(self, place: slice) -> Front[P, T]: ...
    def __getitem__(self, place: int | slice) -> Optimized[P, T] | Front[P, T]:
        return Front(self._programs[place]) if isinstance(place, slice) else self._programs[place]

    def __len__(self) -> int:
        return len(self._programs)

    def __iter__(self) -> Iterator[Optimized[P, T]]:
        return iter(self._programs)

    def __str__(self) -> str:
        """One line a program; every number with its 95 % interval."""
        if not self._programs:
            return "no program"
        unit = self._programs[0].unit
        rows = [("sure", "quality [95 %]", f"{unit} a call [95 %]", "p50 s [95 %]", "p95 s [95 %]", "rows", "settings")]
        for each in self:
            cost = dollars(each.cost) if unit == "usd" else f"{each.cost:.0f}"
            times = str(each.latency_s(0.5)), str(each.latency_s(0.95))
            rows.append(
                (
                    f"{each.sure:.3f}",
                    str(each.quality),
                    cost,
                    *times,
                    str(each.quality.n),
                    " ".join(each.changes.split()),
                )
            )
        widths = [max(len(row[column]) for row in rows) for column in range(6)]
        return "\n".join(
            "  ".join([*(cell.rjust(width) for cell, width in zip(row, widths, strict=False)), row[6]]) for row in rows
        )

    def dial(self) -> Dial[P, T]:
        """A program with a dial: each call says what it may cost, how long it may take or how good it must be.

        Raises:
            UserError: the program has a parameter that is called like one of these wishes.
        """
        for program in (each.program for each in self._programs[:1]):
            if taken := [name for name in _WISHES if name in inspect.signature(program.fn).parameters]:
                msg = (
                    f"The program {program.name!r} has a parameter {', '.join(map(repr, taken))}, which a dial takes "
                    "for a wish. Rename it, or call a point of the front as it is: `await front[0](...)`."
                )
                raise UserError(msg)
        return Dial(self)

    def plot(self, path: str | Path) -> None:
        """Draw quality over cost, with all intervals: .png, .svg or .pdf by the path's end.

        Raises:
            UserError: another ending, or the file cannot be written.
            MissingExtra: what draws is not installed.
        """
        checked(path)
        drawn = figure(7, 4.5)
        axes = drawn.subplots()
        costs, qualities = [each.cost.value for each in self], [each.quality.value for each in self]
        across, along = arms([each.quality for each in self]), arms([each.cost for each in self])
        axes.errorbar(costs, qualities, across, along, fmt="o", capsize=3)
        if any(math.isinf(each.cost.high) for each in self):
            axes.set_xlim(0.0, 2 * max(costs) or 1.0)
        for number, each in enumerate(self, 1):
            seconds = f" {number}: p50 {each.latency_s(0.5)} s\n p95 {each.latency_s(0.95)} s"
            axes.annotate(seconds, (each.cost.value, each.quality.value), fontsize=7, va="top")
        axes.set(xlabel=f"{self[0].unit} a call, 95 % interval", ylabel="mean score, 95 % interval")
        saved(drawn, Path(path))


@dataclass(frozen=True, eq=False)
class Dial(Generic[P, T]):
    """Runs the point of a front that a call asks for.

    `await dial(..., cost_usd=, latency_s=, quality=)`: at most so many dollars on average, at most so many seconds at
    the 95th percentile, at least so much of the mean score that is no luck (`Optimized.sure`); without any, the best.
    Among the points that keep all that was asked, the first of the front runs, or with `quality=` the cheapest.
    """

    front: Front[P, T]

    @property
    def name(self) -> str:
        """The program's name."""
        return self.front[0].program.name

    def at(
        self, *, cost_usd: float | None = None, latency_s: float | None = None, quality: float | None = None
    ) -> Optimized[P, T]:
        """The point for these wishes.

        Raises:
            UserError: no point keeps them, or costs are not known in dollars; says what there is.
        """
        if cost_usd is not None and self.front[0].unit != "usd":
            msg = (
                f"The front of {self.name!r} counts {self.front[0].unit}, since its models have no price. "
                "Give them one (price=sy.Price(...)) and search again, or leave cost_usd= out."
            )
            raise UserError(msg)
        wishes = {"cost_usd": cost_usd, "latency_s": latency_s, "quality": quality}
        if odd := [each for each in wishes.items() if each[1] is not None and not hasattr(each[1], "__float__")]:
            raise UserError(f"The dial of {self.name!r} was given {odd[0][0]}={odd[0][1]!r:.200}. Pass a number.")
        least = min(_FEW, max(each.quality.n for each in self.front))
        kept = [
            each
            for each in self.front
            if (cost_usd is None or each.cost.value <= cost_usd)
            and (latency_s is None or each.p95_s <= latency_s)
            and (quality is None or (each.sure >= quality and each.quality.n >= least))
        ]
        if not kept:
            asked = ", ".join(f"{name}={wish}" for name, wish in wishes.items() if wish is not None)
            asked += "" if quality is None else f" on {least} rows or more"
            raise UserError(f"No point of {self.name!r} keeps {asked}. Ask for one of these:\n{self.front}")
        return kept[0] if quality is None else min(kept, key=lambda each: each.cost.value)

    async def __call__(self, *args: Any, **kwargs: Any) -> T:
        """Run the point for `cost_usd=`, `latency_s=` and `quality=`; everything else goes to the program."""
        wishes = {name: kwargs.pop(name, None) for name in _WISHES}
        return await self.at(**wishes).program(*args, **kwargs)

    def sync(self, *args: Any, **kwargs: Any) -> T:
        """The same from ordinary code."""
        return sync(lambda: self(*args, **kwargs))


__all__ = ["Dial", "Front"]
