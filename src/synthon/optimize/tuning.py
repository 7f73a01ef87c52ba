"""The search space of a program: its own knobs, and what training rows and models add to them."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import is_
from statistics import median
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from synthon.core.errors import UserError
from synthon.core.identity import to_json
from synthon.core.saved import encoded
from synthon.core.settings import MODEL, Knob, Nearest, Slot, ambient, current, entered
from synthon.optimize.space import Dimension, Kind, Space
from synthon.retrieval.nearest import nearest
from synthon.strategies.labelling import LinearProbe, linear_probe, neighbour_vote

if TYPE_CHECKING:
    from synthon.core.parts import Parts
    from synthon.core.program import Program
    from synthon.core.protocols import Embedder, Model
    from synthon.core.render import Demo
    from synthon.core.settings import Selector
    from synthon.core.step import Step
    from synthon.optimize.space import Point

P = ParamSpec("P")
T = TypeVar("T")
Settings = Mapping[str, object]
_GRID = 7  # values that a range is searched at
_FIXED = (4, 8)  # demonstrations of a fixed set
_NEAREST = (2, 4, 8)  # demonstrations chosen for each question
_SHOWN = 10_000  # characters of demonstrations in a prompt, some 2,500 tokens; what is longer is not tried unasked
_VOTES = (1, 5, 15)  # neighbours that answer without a model
_OFFLINE = {"accept", "threshold"}


@dataclass
class Tuning:
    """A space, and what each value of its dimensions sets in the program.

    `now[name]` is what a setting is in the program as it was given; `sets[name][place]` are settings by name, as
    `program.using` takes them.
    """

    parts: Parts
    now: dict[str, object]
    embedder: Embedder | str | None = None
    space: Space = field(default_factory=lambda: Space([]))
    sets: dict[str, list[Settings]] = field(default_factory=dict)

    def candidate(self, point: Point) -> dict[str, object]:
        """The settings at a point; where a dimension is at its default, nothing is set unless it must be."""
        pairs = zip(self.space.dimensions, point, strict=True)
        return {name: value for each, place in pairs for name, value in self.sets[each.name][place].items()}

    def value(self, point: Point, name: str) -> object:
        """What a setting is at a point."""
        return self.candidate(point).get(name, self.now.get(name))

    def applied(self, program: Program[P, T] | Step[P, T], point: Point) -> Program[P, T] | Step[P, T]:
        """A copy of the program at a point."""
        settings = self.parts.resolve([self.candidate(point)], {})
        return cast("Program[P, T]", replace(program, settings={**program.settings, **settings}))

    def words(self, point: Point) -> str:
        """What a point sets, without what is at its default."""
        pairs = zip(self.space.dimensions, point, strict=True)
        told = [f"{each.name}={_short(each.values[place])}" for each, place in pairs if place != each.default]
        return ", ".join(told) or "as it is"

    def add(
        self, name: str, options: Sequence[tuple[object, Settings]], kind: Kind, now: object, *, ordered: bool = False
    ) -> None:
        """A dimension of these labels, each with what it sets; one label is no choice and is only set.

        The value in force is the default, in front where it is none of these.
        """
        places = (n for same in (is_, _same) for n, (_, own) in enumerate(options) if same(own.get(name, now), now))
        default = next(places, -1)
        if default < 0:
            label = f"given {len(now)}" if isinstance(now, list | tuple) else _label(now)
            options, default = [(label, {name: now}), *options], 0
        self.sets[name] = [settings for _, settings in options]
        if now is self.now.get(name) and now is not self.parts.values.get(name):  # the program has set it
            self.sets[name][default] = {}
        labels = tuple(label for label, _ in options)
        self.space.dimensions.append(Dimension(name, labels, kind, ordered, default))

    def extend(self, name: str, label: object, settings: Settings) -> int:
        """One more value of a dimension; returns its place."""
        self.sets[name].append(settings)
        return self.space.add(name, label)


def tuning_of(
    program: Program[..., Any] | Step[..., Any],
    parts: Parts,
    examples: Mapping[str, Sequence[Demo]],
    models: Sequence[Model] = (),
    *,
    seed: int = 0,
    embedder: Embedder | str | None = None,
) -> Tuning:
    """What can be searched in a program.

    Args:
        program: whose settings, and those of its steps, are in force.
        parts: of the program.
        examples: worked examples of its steps, by step.
        models: for every step, beside its own.
        seed: of the examples drawn.
        embedder: that finds the nearest examples; see `nearest`.
    """
    own = [step.settings for step in parts.steps if step.fn is not program.fn]
    with entered({setting: value for settings in (program.settings, *own) for setting, value in settings.items()}):
        now = {name: current(ambient().get(each, parts.values[name])) for name, each in parts.settings.items()}
        now |= {key: current(ambient().get(MODEL)) for step in parts.steps if not now.get(key := f"{step.name}.model")}
        tuning = Tuning(parts, now, embedder)
        for name, knob in parts.knobs.items():
            if not _of_demos(tuning, knob):
                *values, given = _selecting(tuning, name, [*_values(knob), now[name]], examples)
                options: list[tuple[object, Settings]] = [(_label(value), {name: value}) for value in values]
                ordered = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
                tuning.add(name, options, _kind(name, values), given, ordered=ordered)
        for step in parts.steps:
            _add_step(tuning, step, examples.get(step.name, ()), models, random.Random(f"{seed}:{step.name}"))
    return tuning


def _add_step(
    tuning: Tuning, step: Step[..., Any], examples: Sequence[Demo], models: Sequence[Model], drawn: random.Random
) -> None:
    name, now = step.name, tuning.now
    slots = {each for each, setting in tuning.parts.settings.items() if isinstance(setting, Slot)}
    selector = nearest(examples, embedder=tuning.embedder) if examples else None
    shown, own = now.get(f"{name}.demos"), step.demos
    if f"{name}.demos" in slots and isinstance(shown, Nearest) and shown.selector is None and selector is not None:
        ks = cast("Sequence[int]", getattr(shown.k, "values", (shown.k,)))
        numbers = [(k, {f"{name}.demos": Nearest(k, selector)}) for k in ks]
        tuning.add(f"{name}.demos", numbers, "demos", Nearest(current(shown.k), selector), ordered=True)
    elif f"{name}.demos" in slots and isinstance(own, list | tuple) and not own and examples:
        tuning.add(f"{name}.demos", _demonstrations(name, examples, selector, drawn), "demos", shown or ())
    is_closed = step.output.choice is not None
    if is_closed and f"{name}.calibrate" in slots and _scores(step, [now.get(f"{name}.model"), *models]):
        options = [(value, {f"{name}.calibrate": value}) for value in (step.calibrate, not step.calibrate)]
        tuning.add(f"{name}.calibrate", options, "decoding", now[f"{name}.calibrate"])
    if models and f"{name}.model" in slots:
        given = [
            *([step.model] if step.model is not None else []),
            *(each for each in models if each is not step.model),
        ]
        named = [(each.name, {f"{name}.model": each}) for each in given]
        tuning.add(f"{name}.model", named, "model", now[f"{name}.model"] or given[0])
    if is_closed and selector is not None:
        _add_no_model(tuning, step, examples, selector)


def _add_no_model(tuning: Tuning, step: Step[..., Any], examples: Sequence[Demo], selector: Selector) -> None:
    """Ways to answer a closed question from its examples alone: no call, no money."""
    name = f"{step.name}.strategy"
    found = [neighbour_vote(k, selector) for k in _VOTES if k <= len(examples)]
    ways: dict[str, object] = {f"neighbour_vote({each.k})": each for each in found}
    ways["linear_probe"] = linear_probe(examples, embedder=tuning.embedder)
    if name not in tuning.sets:
        if not isinstance(tuning.parts.settings.get(name), Slot):
            return
        tuning.add(name, [(_label(step.strategy), {name: step.strategy})], "strategy", tuning.now[name])
    for label, way in ways.items():
        if not _same(way, tuning.now.get(name)):
            tuning.extend(name, label, {name: way})
    for place, settings in enumerate(tuning.sets[name]):
        if asks_no_model(settings.get(name, tuning.now.get(name))):  # beside it nothing else of the step is used
            tuning.space.idle[name, place] = f"{step.name}."


def asks_no_model(strategy: object) -> bool:
    """Whether a strategy answers from examples alone."""
    return isinstance(strategy, neighbour_vote | LinearProbe)


def _demonstrations(
    name: str, examples: Sequence[Demo], selector: Selector | None, drawn: random.Random
) -> list[tuple[object, Settings]]:
    """None, fixed sets with every kind of answer in turn, and the nearest to each question, as many as may be shown."""
    slot = f"{name}.demos"
    length = median(len(to_json(demo.inputs)) + len(to_json(demo.output)) for demo in examples)
    most = min(len(examples), int(_SHOWN / max(1, length)))
    options: list[tuple[object, Settings]] = [("none", {slot: ()})]
    options += [(f"fixed {n}", {slot: _balanced(examples, n, drawn)}) for n in _FIXED if n <= most]
    options += [(f"nearest {k}", {slot: Nearest(k, selector)}) for k in _NEAREST if k <= most]
    return options


def _balanced(examples: Sequence[Demo], n: int, drawn: random.Random) -> tuple[Demo, ...]:
    """Examples whose answers differ as far as that goes."""
    by_answer: dict[str, list[Demo]] = defaultdict(list)
    for demo in drawn.sample(list(examples), len(examples)):
        by_answer[to_json(demo.output)].append(demo)
    rounds = (demo for turn in range(len(examples)) for group in by_answer.values() for demo in group[turn : turn + 1])
    return tuple(demo for demo, _ in zip(rounds, range(n), strict=False))


def _values(knob: Knob) -> tuple[object, ...]:
    """A knob's values; a range becomes a grid with its default in front."""
    if knob.low is None or knob.high is None:
        return knob.values
    low, high = float(knob.low), float(knob.high)
    shares = [place / (_GRID - 1) for place in range(_GRID)]
    grid = [low * (high / low) ** share if knob.log else low + (high - low) * share for share in shares]
    rounded: list[object] = [round(value) if knob.integer else float(f"{value:.6g}") for value in grid]
    return tuple(dict.fromkeys([knob.default, *rounded]))


def _kind(name: str, values: Sequence[object]) -> Kind:
    last = name.rpartition(".")[2].partition("~")[0]
    if last in _OFFLINE:
        return "offline"
    if last == "strategy" or ".strategy." in name:
        return "strategy"
    if last in {"calibrate", "layout", "temperature", "top_p", "max_tokens", "stop"}:
        return "decoding"
    if last in {"instruction", "demos"} or ".demos." in name:
        return "instruction" if last == "instruction" else "demos"
    if all(hasattr(value, "complete") for value in values):
        return "model"
    return "retrieval" if last in {"k", "mode", "where", "rerank"} else "other"


def _of_demos(tuning: Tuning, knob: Knob) -> bool:
    """Whether a knob is the number of a step's nearest examples, which is searched with their selector."""
    names = [f"{step.name}.demos" for step in tuning.parts.steps]
    shown = [tuning.now[name] for name in names if isinstance(tuning.parts.settings.get(name), Slot)]
    return any(isinstance(each, Nearest) and each.selector is None and is_(each.k, knob) for each in shown)


def _selecting(
    tuning: Tuning, name: str, values: Sequence[object], examples: Mapping[str, Sequence[Demo]]
) -> list[object]:
    """A knob's values, where it is of a step's demonstrations with what selects the nearest of its examples."""
    given = next((examples[step] for step in examples if name == f"{step}.demos"), None)
    if not given:
        return list(values)
    selector = nearest(given, embedder=tuning.embedder)
    return [
        Nearest(each.k, selector) if isinstance(each, Nearest) and each.selector is None else each for each in values
    ]


def _scores(step: Step[..., Any], others: Sequence[object]) -> bool:
    """Whether some model of the step scores options, so that calibration means something."""
    own: object = step.model
    given = [*(own.values if isinstance(own, Knob) else (own,)), *others]
    return any("score" in getattr(model, "capabilities", ()) for model in given)


def _same(one: Any, other: Any) -> bool:
    """Whether two values do the same; what is made of examples is told by what a saved program keeps of it."""
    try:
        is_saved = hasattr(one, "saved") and hasattr(other, "saved")
        return type(one) is type(other) and bool(one == other or (is_saved and encoded(one) == encoded(other)))
    except (UserError, ValueError):  # its embedder has no name; or an array
        return False


def _label(value: object) -> object:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, Nearest):
        return f"nearest {getattr(value.k, 'values', value.k)}"
    return str(getattr(value, "name", None) or repr(value))


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004 - a line of a table


__all__ = ["Tuning", "asks_no_model", "tuning_of"]
