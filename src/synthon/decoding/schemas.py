"""A JSON schema as a grammar, with what of it the grammar holds to."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from itertools import starmap
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar, cast

from synthon.core.constraints import Layout, Schema, Soundness
from synthon.core.errors import SchemaTooLarge, UserError
from synthon.core.light import dataclass
from synthon.decoding.documents import Document, document_of
from synthon.decoding.libraries import llguidance
from synthon.decoding.loosening import Dropped, Loosened, Said
from synthon.decoding.validation import knows_format, validator

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

SECONDS = 2.0  # for one compilation
# llguidance follows references by calling itself: 8 MB end at about 2,000 levels, and with them the process.
MAX_LEVELS = 12_000
_SHORT = 8_000  # characters, which are 300 levels at most
_STACK = 256 << 20  # bytes; only what is used is taken
_STARTING = threading.Lock()
MAX_LATE = 3  # given up and still at work, each on a core and in memory of its own
_LATE_S = 10.0  # that the end of the process waits for them; no limit of llguidance's ends an intersection in time
_FUEL = 1_000_000  # the schemas of jsonschemabench get the same masks with it as with ten times as much
_TEXTUAL_FUEL = 10_000_000  # with the above 1 in 50 random compositions of predicates stopped in mid-text
# One line break at most at a place, so that a model cannot write blanks for ever.
_BLANKS = r"\x20|(\x0D?\x0A)(\x20{0,40}|\x09{0,20})"
_LAYOUTS: dict[Layout, dict[str, object]] = {
    "free": {"whitespace_pattern": _BLANKS},
    "compact": {"whitespace_flexible": False},
    "pretty": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},
}
# What llguidance cannot always combine; taken out in this order until it can.
_STAGES = (
    ("patternProperties", "not"),
    ("minProperties", "maxProperties"),
    ("multipleOf",),
    ("pattern", "format"),
    ("minLength", "maxLength"),
    ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    ("minItems", "maxItems"),
    ("oneOf",),
    ("anyOf",),
    ("allOf",),
    ("enum", "const"),
    ("prefixItems", "items", "additionalItems"),
    ("required", "properties", "additionalProperties"),
    ("$ref",),
    ("type",),
)
_SIGNS = {
    "not disjoint": 0, "min/maxProperties": 1, "multipleOf": 2, "regex": 3, "relevance of lexemes": 2, "range": 5,
    "circular": 9,
}  # fmt: skip
_MOST_RESTORED = 32
_SHOWN = 160  # characters of what llguidance says
_Made = TypeVar("_Made")


@dataclass(frozen=True, slots=True)
class Plan:
    """A schema's masks, None if a part is refused, and what there is to say about its keywords."""

    engine: LLMatcher | None
    said: Sequence[Said]

    @property
    def rows(self) -> tuple[Soundness, ...]:
        """What becomes of each keyword."""
        return tuple(starmap(Soundness, self.said))


def plan(constraint: Schema, tokenizer: LLTokenizer) -> Plan:
    """Compile a schema, taking out what no mask can hold to.

    Raises:
        UserError: it is no valid schema, or no JSON fits it.
        SchemaTooLarge: it is too large, or takes longer than `SECONDS`.
    """
    document = document_of(constraint.json)
    if document.unresolved:
        why = "{!r} is not in the schema, and nothing is ever fetched; put it under `$defs`"
        return Plan(None, [("$ref", place, "unsupported", why.format(to)) for place, to in document.unresolved])
    validator(constraint.json)
    return _Compilation(document, constraint.layout, tokenizer).plan()


class _Compilation:
    def __init__(self, document: Document, layout: Layout, tokenizer: LLTokenizer) -> None:
        self._document, self._layout = document, _LAYOUTS[layout]
        self._tokenizer, self._until = tokenizer, time.monotonic() + SECONDS
        self._disjoint: dict[str, bool] = {}

    def plan(self) -> Plan:
        dropped: Dropped = {}
        loosened, engine, error = self._tried(dropped)
        if error:
            dropped = self._enough_dropped(loosened, error)
            with contextlib.suppress(SchemaTooLarge):
                for item in list(dropped)[:_MOST_RESTORED]:
                    fewer = {other: why for other, why in dropped.items() if other != item}
                    if not self._tried(fewer, self._until - SECONDS / 2)[2]:
                        dropped = fewer
            loosened, engine, _ = self._tried(dropped)
        return Plan(engine, loosened.said)

    def _enough_dropped(self, loosened: Loosened, error: str) -> Dropped:
        dropped: Dropped = {}
        first = [stage for sign, stage in _SIGNS.items() if sign in error]
        for stage in dict.fromkeys([*first, *range(len(_STAGES))]):
            if error.startswith("Unsatisfiable"):
                raise UserError(f"No JSON fits the schema: {_short(error)}. Change one of its parts.")
            wanted = [item for item in loosened.kept if item[1] in _STAGES[stage]]
            if not wanted:
                continue
            dropped |= dict.fromkeys(wanted, f"no mask could be made with it: {_short(error)}")
            _, _, error = self._tried(dropped)
            if not error:
                return dropped
        raise SchemaTooLarge(f"No mask can be made for the schema: {_short(error)}. Make it smaller.")

    def _tried(self, dropped: Dropped, until: float | None = None) -> tuple[Loosened, LLMatcher, str]:
        """The schema without what is dropped, its masks, and why they cannot be used (empty if they can)."""
        if time.monotonic() > (until or self._until):
            raise _late_error()
        loosened = Loosened(self._document, dropped, knows_format, self._disjoint)
        schema = loosened.schema if isinstance(loosened.schema, dict) else {"allOf": [loosened.schema]}
        text = json.dumps({**schema, "x-guidance": self._layout})
        if len(text) > MAX_LEVELS and loosened.levels > MAX_LEVELS:  # a level is at least a character
            msg = f"The parts of the schema, one inside the other, are up to {loosened.levels:,} levels deep."
            raise SchemaTooLarge(f"{msg} Up to {MAX_LEVELS:,} are compiled: use fewer `$ref`.")
        grammar = llguidance().LLMatcher.grammar_from_json_schema(text)
        is_quick = loosened.is_simple and len(text) <= _SHORT
        made = _matcher(grammar, self._tokenizer, until or self._until, _FUEL, is_quick=is_quick)
        return loosened, *made


def matcher(grammar: str, tokenizer: LLTokenizer, until: float) -> tuple[LLMatcher, str]:
    """A grammar compiled for a vocabulary, and why it cannot be used (empty if it can).

    Raises:
        SchemaTooLarge: the time is up, or `MAX_LATE` earlier ones are still at work.
    """
    return _matcher(grammar, tokenizer, until, _TEXTUAL_FUEL)


def _matcher(
    grammar: str, tokenizer: LLTokenizer, until: float, fuel: int, *, is_quick: bool = False
) -> tuple[LLMatcher, str]:
    """What surely `is_quick` is compiled here and now: the way to another thread and core takes a sixth of its time."""
    make = functools.partial(llguidance().LLMatcher, tokenizer, grammar, log_level=0, limits=_limits(fuel))
    found: LLMatcher = make() if is_quick else within(until, make)
    return found, found.get_error().partition("\n<")[0] if found.is_error() else ""


@functools.cache
def _limits(fuel: int) -> object:
    return llguidance().LLParserLimits(verbose_errors=False, initial_lexer_fuel=fuel, step_lexer_fuel=5_000_000)


class _Deep:
    """A thread with a deep stack beside the one that asks; left behind when it takes too long."""

    def __init__(self) -> None:
        self._asked: SimpleQueue[tuple[Callable[[], object], Future[object]] | None] = SimpleQueue()
        self.thread = threading.Thread(target=_work, args=(self._asked,), daemon=True)
        with _STARTING:
            before = threading.stack_size(_STACK)
            self.thread.start()
            threading.stack_size(before)

    def ask(self, make: Callable[[], _Made]) -> Future[_Made]:
        """What `make` makes, some time."""
        future: Future[_Made] = Future()
        self._asked.put((make, cast("Future[object]", future)))
        return future

    def leave(self) -> None:
        """Let it end once it has made what it is making."""
        self._asked.put(None)

    __del__ = leave


def _work(asked: SimpleQueue[tuple[Callable[[], object], Future[object]] | None]) -> None:
    while (item := asked.get()) is not None:
        make, future = item
        try:
            future.set_result(make())
        except BaseException as error:  # noqa: BLE001 - who asked gets it
            future.set_exception(error)
        del item, make, future


_mine = threading.local()
_late: list[_Deep] = []  # given up, still at work


@atexit.register
def _wait_for_late() -> None:
    """A thread that comes back from llguidance into a finished interpreter takes the process down."""
    until = time.monotonic() + _LATE_S
    for deep in _late:
        deep.thread.join(max(until - time.monotonic(), 0.0))


def within(until: float, make: Callable[[], _Made]) -> _Made:
    """What `make` makes, in a thread with a deep stack so that the wait can end.

    Raises:
        SchemaTooLarge: it was not made in time, or `MAX_LATE` earlier ones are still at work.
    """
    _late[:] = [late for late in _late if late.thread.is_alive()]
    if len(_late) >= MAX_LATE:
        msg = f"{MAX_LATE} constraints that took longer than {SECONDS} s are still being compiled."
        raise SchemaTooLarge(f"{msg} Leave such constraints out, and ask again when those have ended.")
    deep: _Deep | None = getattr(_mine, "deep", None)
    if deep is None or not deep.thread.is_alive():  # a forked child has none of the threads
        deep = _mine.deep = _Deep()
    try:
        return deep.ask(make).result(max(until - time.monotonic(), 0.0))
    except TimeoutError as error:
        _mine.deep = None
        _late.append(deep)
        deep.leave()
        raise _late_error() from error


def _late_error() -> SchemaTooLarge:
    return SchemaTooLarge(f"The constraint takes longer than {SECONDS} s to compile. Make it smaller.")


def _short(error: str) -> str:
    first = " ".join(error.split())
    return first if len(first) <= _SHOWN else f"{first[:_SHOWN]}..."


__all__ = ["SECONDS", "Plan", "matcher", "plan", "within"]
