"""Instructions written by a model that has seen what went wrong."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from synthon.core.errors import BudgetExceeded, ProviderError
from synthon.core.identity import to_json
from synthon.core.running import described, log
from synthon.core.values import Message, Request
from synthon.optimize.history import Ask, History
from synthon.optimize.tuning import Tuning, asks_no_model

if TYPE_CHECKING:
    from synthon.core.protocols import Model
    from synthon.core.step import Step
    from synthon.evals import Case, Measured
    from synthon.optimize.space import Point

Evidence: TypeAlias = "dict[Point, dict[int, Measured]]"
Tried: TypeAlias = "Callable[[Point, Sequence[int]], Awaitable[Sequence[Measured]]]"
_ROWS = 4  # rows a reflection sees
_SHOWN = 600  # characters of each value
TOKENS = 400  # of an instruction that is written
_STALE = 5  # reflections in a row that help nothing
_LOOKS = 8  # draws of rows, until one goes wrong
_BLOCK = re.compile(r"```(?:\w*\n)?(.*?)(?:```|\Z)", re.DOTALL)  # its end may be cut off

_ASK = (
    "You improve the instruction of one part of a program that is answered by a language model.\n\n"
    "The instruction now:\n```\n{now}\n```\n\n"
    "What it led to:\n\n{seen}\n\n"
    "Write a better instruction for the same task: keep what works, say what the mistakes above show to be missing "
    "(rules, facts of the task, the form of the answer), general enough for rows not shown. "
    "Give the new instruction alone, between ``` and ```."
)


@dataclass
class Reflective:
    """See `reflective`."""

    proposer: Model
    tuning: Tuning
    evidence: Evidence
    train: Sequence[Case[Any]]
    tried: Tried
    seed: int
    rounds: int
    name: str = "reflective"
    _round: int = field(default=0, init=False)
    _stale: int = field(default=0, init=False)
    _heard: bool = field(default=False, init=False)
    _right: set[Point] = field(default_factory=set, init=False)
    _merged: set[frozenset[Point]] = field(default_factory=set, init=False)

    async def propose(self, history: History) -> Sequence[Ask]:
        """One better candidate on all validation rows, as soon as a reflection beats its parent on training rows."""
        if history.space.default not in history.rows:
            return [Ask(history.space.default, history.unseen(history.space.default))]
        while self._round < self.rounds and self._stale < _STALE and history.left != 0:
            self._round += 1
            drawn = random.Random(f"{self.seed}:{self._round}")
            turns = self._turns(history)
            if not turns:
                return []
            step, parents = turns[self._round % len(turns)]
            try:
                point = self._merge(parents, history, drawn) or await self._reflected(step, parents, drawn)
            except BudgetExceeded:
                history.closed = True  # how far its rows came depends on how many went at once
                return []
            if point is not None and (cases := history.unseen(point)):
                self._stale = 0
                return [Ask(point, cases)]
        return []

    def _turns(self, history: History) -> list[tuple[Step[..., Any], Mapping[Point, int]]]:
        """The steps in which something may still be written, with the candidates it may be written for.

        A candidate whose step asks no model reads no instruction, so others are bettered, however well it does.
        """
        found: list[tuple[Step[..., Any], Mapping[Point, int]]] = []
        for step in self.tuning.parts.steps:
            able = [point for point in history.rows if not history.is_out(point) and self._reads(step, point)]
            parents = {point: won for point, won in self._parents(able, history).items() if point not in self._right}
            found += [(step, parents)] if parents else []
        return found

    def _reads(self, step: Step[..., Any], point: Point) -> bool:
        return not asks_no_model(self.tuning.value(point, f"{step.name}.strategy"))

    def _parents(self, able: Sequence[Point], history: History) -> Mapping[Point, int]:
        """Candidates that are best on some validation row, with on how many; a front over rows."""
        rows = {point: found for point in able if len(found := history.rows[point]) == history.cases}
        rows = rows or {point: history.rows[point] for point in able}
        won: Counter[Point] = Counter()
        for case in range(history.cases):
            scores = {point: found[case].score for point, found in rows.items() if case in found}
            won.update(point for point, score in scores.items() if score == max(scores.values()))
        beaten = {a for a in won for b in won if a != b and self._never_better(rows[a], rows[b])}
        return {point: count for point, count in won.items() if point not in beaten} or dict(won)

    @staticmethod
    def _never_better(one: Mapping[int, Any], other: Mapping[int, Any]) -> bool:
        both = one.keys() & other.keys()
        gaps = [other[case].score - one[case].score for case in both]
        return bool(gaps) and min(gaps) >= 0 and max(gaps) > 0

    def _merge(self, parents: Mapping[Point, int], history: History, drawn: random.Random) -> Point | None:
        """Of two good candidates whose instructions differ in different steps, one with both."""
        places = self._places(history)
        pairs = [
            (one, other)
            for one in sorted(parents)
            for other in sorted(parents)
            if one < other and frozenset((one, other)) not in self._merged and self._apart(one, other, places, history)
        ]
        if not pairs:
            return None
        one, other = drawn.choice(pairs)
        self._merged.add(frozenset((one, other)))
        default = history.space.default
        merged = tuple(other[at] if at in places and place == default[at] else place for at, place in enumerate(one))
        merged = history.space.plain(merged)
        return None if merged in history.rows else merged

    @staticmethod
    def _apart(one: Point, other: Point, places: Sequence[int], history: History) -> bool:
        default = history.space.default
        changed = [{at for at in places if point[at] != default[at]} for point in (one, other)]
        return bool(changed[0]) and bool(changed[1]) and not changed[0] & changed[1]

    @staticmethod
    def _places(history: History) -> list[int]:
        return [at for at, each in enumerate(history.space.dimensions) if each.kind == "instruction"]

    async def _reflected(
        self, step: Step[..., Any], parents: Mapping[Point, int], drawn: random.Random
    ) -> Point | None:
        """A child of a parent with one instruction written anew, if it does better on the rows it was written from."""
        points = sorted(parents)
        parent = drawn.choices(points, [parents[point] for point in points])[0]
        rows, before = await self._wrong(parent, drawn)
        if not rows:
            self._right.add(parent)
            return None
        self._stale += 1
        now = str(self.tuning.value(parent, f"{step.name}.instruction"))
        seen = "\n\n".join(_told(self.train[row], found) for row, found in zip(rows, before, strict=True))
        try:
            completion = await self.proposer.complete(_asked(now, seen))
        except ProviderError as error:
            if not self._heard:  # a wrong key, say: it would never write
                raise
            log.warning("%s wrote no instruction for %s: %s", self.proposer.name, step.name, described(error))
            return None
        self._heard = True
        written = _BLOCK.search(completion.text)
        text = (written.group(1) if written else completion.text).strip()  # some write it alone indeed
        if not text or text == now:
            return None
        child = self._child(parent, f"{step.name}.instruction", text)
        after = await self.tried(child, rows)
        return child if sum(row.score for row in after) > sum(row.score for row in before) else None

    async def _wrong(self, parent: Point, drawn: random.Random) -> tuple[Sequence[int], Sequence[Measured]]:
        """A few training rows, one of which at least goes wrong, and what came of them; none where all looked right."""
        order = drawn.sample(range(len(self.train)), len(self.train))
        for rows in [order[start : start + _ROWS] for start in range(0, len(order), _ROWS)][:_LOOKS]:
            before = await self.tried(parent, rows)
            if any(row.score < 1 for row in before):
                return rows, before
        return [], []

    def _child(self, parent: Point, name: str, text: str) -> Point:
        dimensions = self.tuning.space.dimensions
        at = next(number for number, each in enumerate(dimensions) if each.name == name)
        values = dimensions[at].values
        place = values.index(text) if text in values else self.tuning.extend(name, text, {name: text})
        return (*parent[:at], place, *parent[at + 1 :])


def _told(case: Case[Any], row: Measured) -> str:
    said = row.error or to_json(row.output, again=True)
    lines = [
        f"Inputs: {_cut(to_json(case.inputs, again=True))}",
        f"It answered: {_cut(said)}",
        f"Wanted: {_cut(to_json(case.expected, again=True))}",
        f"Score: {row.score:g}",
    ]
    return "\n".join([*lines, *([f"Feedback: {_cut(row.feedback)}"] if row.feedback else [])])


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _asked(now: str, seen: str) -> Request:
    return Request((Message("user", _ASK.format(now=now, seen=seen)),), temperature=1.0, max_tokens=TOKENS)


def longest_asked(now: str) -> Request:
    """The longest question for a better instruction than the one now, a token a byte."""
    return _asked(now, "x" * (_ROWS * (5 * 4 * _SHOWN + 200)))  # of a row five values, 4 bytes a character, and names


def reflective(
    proposer: Model,
    tuning: Tuning,
    evidence: Evidence,
    train: Sequence[Case[Any]],
    tried: Tried,
    *,
    seed: int = 0,
    rounds: int = 100,
) -> Reflective:
    """Evolve instructions by reflection: GEPA (Agrawal 2025, arXiv:2507.19457).

    A parent is drawn among the candidates that are best on some row; the proposer sees its instruction, what it
    answered on a few training rows, what was wanted and what the metric said, and writes a better one; a child that
    does better on these rows is measured on all validation rows. Two that changed different steps are merged.

    Args:
        proposer: a model able to write instructions; its calls count against the budget.
        tuning: dimensions for instructions are added to it.
        evidence: what was measured so far.
        train: rows that reflections see.
        tried: scores a point on training rows.
        seed: of all that is drawn.
        rounds: reflections at most.
    """
    for step in tuning.parts.steps:
        name = f"{step.name}.instruction"
        if name in tuning.parts.settings and name not in tuning.sets:
            tuning.add(name, [(tuning.now[name], {})], "instruction", tuning.now[name])
    return Reflective(proposer, tuning, evidence, train, tried, seed, rounds)


__all__ = ["TOKENS", "Evidence", "Reflective", "longest_asked", "reflective"]
