"""Texts walked token by token under a schema's mask, ours and raw llguidance's in turn, each mask timed.

    language = Language()                                   # the embedded model's tokens
    found = [walked(case, language) for case in cases(data, "jsonschemabench")]

A mask is the time from an array of logits to the same array with -inf in it: CPU time of the thread. For llguidance
that is `fill` (its bits) and one `copyto`; with its own numpy kernel in place of that it is `kernel`.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, cast

import jsonschema_rs
import numpy as np
from llguidance import LLMatcher, LLTokenizer
from llguidance.numpy import allocate_token_bitmask, apply_token_bitmask_inplace, fill_next_token_bitmask

from benchmarks import datasets
from synthon import decoding
from synthon.core import schema
from synthon.core.errors import SchemaTooLarge, SynthonError
from synthon.engine.binding import Weights
from synthon.models.local_model import DEFAULT
from synthon.weights.on_disk import path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from synthon.core.constraints import Schema
    from synthon.core.protocols import FloatArray

#: The sets' folders and files.
SETS = {
    "jsonschemabench": ("jsonschemabench", "schemas.jsonl.gz"),
    "suite": ("json_schema_test_suite", "cases.jsonl.gz"),
}


# ---------------------------------------------------------------------------------------------------------- data


@dataclass(frozen=True, slots=True)
class Instance:
    """A document and whether the set says that it fits the schema."""

    data: object
    is_valid: bool

    @property
    def text(self) -> str:
        return json.dumps(self.data, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Case:
    """A schema with its instances; the name is unique in its set, so that no compile finds another's in a cache."""

    id: str
    json: str
    instances: tuple[Instance, ...]

    @property
    def constraint(self) -> Schema:
        return schema(self.json, name=self.id)


def cases(data: Path, name: str) -> list[Case]:
    """All schemas of a set.

    Raises:
        DataMissing: the set is not there.
    """
    folder, file = SETS[name]
    found = []
    for row in datasets.rows(data / folder / file):
        tests = cast("list[dict[str, object]]", row["tests"])
        instances = tuple(Instance(test["data"], bool(test["valid"])) for test in tests)
        found.append(Case(str(row["id"]), json.dumps(_named(row), ensure_ascii=False), instances))
    return found


def _named(row: datasets.Row) -> object:
    """The schema with its draft named in it: the test suite names draft 7 by folder only."""
    shape = row["schema"]
    if row.get("draft") == "draft7" and isinstance(shape, dict) and "$schema" not in shape:
        return {"$schema": "http://json-schema.org/draft-07/schema#", **shape}
    return shape


# --------------------------------------------------------------------------------------------------------- walks


class Language:
    """The embedded model's tokens, for our masks and for raw llguidance."""

    def __init__(self) -> None:
        self.weights = Weights(path_of(DEFAULT))
        self.vocabulary = self.weights.vocabulary
        everything = range(self.weights.size)
        self.tokens = [self.weights.piece(token) for token in everything]
        self.ends = [token for token in everything if self.weights.ends(token)]
        self.eos = self.weights.tokenize(self.weights.eos, control=True)[0]
        self.raw = LLTokenizer(_Wrapper(self), eos_token=self.ends)  # type: ignore[arg-type] # duck-typed


class _Wrapper:
    """What llguidance asks of a tokenizer."""

    is_tokenizer_wrapper = True
    bos_token_id = None

    def __init__(self, language: Language) -> None:
        self.eos_token_id, self._weights = language.eos, language.weights
        self.special_token_ids = [token for token, text in enumerate(language.tokens) if not text]
        self.tokens = [text or b"\xff<%d>" % token for token, text in enumerate(language.tokens)]

    def __call__(self, text: bytes | str) -> list[int]:
        return self._weights.tokenize(text if isinstance(text, str) else text.decode(errors="replace"))


class Walk:
    """One matcher's way over a text: microseconds of each mask, and whether all tokens and the end were allowed."""

    def __init__(self, language: Language) -> None:
        self.accepts, self.us, self.start = True, list[float](), 0
        self.ends, self.base = language.ends, np.zeros(len(language.tokens), np.float32)
        self.logits: FloatArray = np.empty_like(self.base)

    def step(self, token: int | None) -> None:
        """Mask, then go on by the token; None is the end."""
        self.logits[:] = self.base
        self.start = time.thread_time_ns()
        self.mask()
        self.us.append((time.thread_time_ns() - self.start) / 1e3)
        wanted = self.ends if token is None else [token]
        self.accepts = bool((self.logits[wanted] > -np.inf).any())
        if self.accepts and token is not None:
            self.consume(token)

    def mask(self) -> None:
        raise NotImplementedError

    def consume(self, token: int) -> None:
        raise NotImplementedError


class OurWalk(Walk):
    """By `synthon.decoding`; lost where a mask was too costly and the matcher gave up."""

    def __init__(self, language: Language, matcher: decoding.Matcher) -> None:
        super().__init__(language)
        self.matcher, self.is_lost = matcher, False

    def mask(self) -> None:
        try:
            self.matcher.mask(self.logits)
        except SchemaTooLarge:
            self.is_lost = True
            self.logits[:] = -np.inf

    def consume(self, token: int) -> None:
        self.matcher.consume(token)


@dataclass(frozen=True, slots=True)
class Sample:
    """One mask of llguidance in parts: the place, microseconds of `fill` and of its numpy kernel after it."""

    place: int
    fill_us: float
    kernel_us: float


class RawWalk(Walk):
    """By llguidance alone, every 15th mask sampled: asking the clock once more costs a microsecond.

    An odd number, as the two walks take turns; and never a second `fill` of one place, which would be a cheap one.
    """

    def __init__(self, language: Language, matcher: LLMatcher) -> None:
        super().__init__(language)
        self.matcher, self.samples = matcher, list[Sample]()
        self.bits = allocate_token_bitmask(1, len(language.tokens))
        self.filled = 0

    def mask(self) -> None:
        fill_next_token_bitmask(self.matcher, self.bits)
        if len(self.us) % 15 == 0:
            self.filled = time.thread_time_ns()
        barred = np.unpackbits(np.invert(self.bits[0]).view(np.uint8), count=len(self.logits), bitorder="little")
        np.copyto(self.logits, -np.inf, where=barred.view(np.bool_))

    def step(self, token: int | None) -> None:
        place = len(self.us)
        super().step(token)
        if place % 15 == 0:
            before = time.thread_time_ns()
            apply_token_bitmask_inplace(self.logits, self.bits)
            kernel_us = (time.thread_time_ns() - before) / 1e3
            self.samples.append(Sample(place, (self.filled - self.start) / 1e3, kernel_us))

    def consume(self, token: int) -> None:
        self.matcher.consume_token(token)


def walk(tokens: Sequence[int], walks: Sequence[Walk]) -> None:
    """Step all walks along a text, each as far as it accepts, first one and then the other first."""
    for place, token in enumerate([*tokens, None]):
        for each in walks if place % 2 else walks[::-1]:
            if each.accepts:
                each.step(token)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was said of one instance; `otherwise` that the mask takes another spelling of a value it should take."""

    is_valid: bool
    by_mask: bool
    by_check: bool
    by_raw: bool | None = None
    is_lost: bool = False
    otherwise: bool = False
    without_formats: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """A schema's figures. Masks are of valid instances, `ours_us` and `raw_us` at the same places.

    `parts` are its keywords, and how many of them are enforced. `samples` are pairs: our microseconds for the mask
    that llguidance's parts are of.
    """

    case: Case
    how: Literal["enforced", "checked", "refused", "crashed"]
    reason: str = ""
    parts: tuple[int, int] = (0, 0)
    compile_ms: float = 0.0
    raw_compile_ms: float | None = None
    masks_us: list[float] = field(default_factory=list)
    ours_us: list[float] = field(default_factory=list)
    raw_us: list[float] = field(default_factory=list)
    samples: list[tuple[float, Sample]] = field(default_factory=list)
    check_us: list[float] = field(default_factory=list)
    verdicts: tuple[Verdict, ...] = ()

    @property
    def is_compiled(self) -> bool:
        return self.how in {"enforced", "checked"}


def raw_compiled(case: Case, language: Language) -> tuple[LLMatcher | None, float | None]:
    """A matcher by llguidance alone and the milliseconds it took; none where it refuses the schema."""
    start = time.process_time()
    try:
        matcher = LLMatcher(language.raw, LLMatcher.grammar_from_json_schema(case.json), log_level=0)
    except ValueError:
        return None, None
    elapsed_ms = (time.process_time() - start) * 1e3
    return (None, None) if matcher.is_error() else (matcher, elapsed_ms)


def walked(case: Case, language: Language) -> Found:
    """Compile a schema and walk all its instances."""
    constraint = case.constraint
    start = time.process_time()
    try:
        compiled = decoding.compiled(constraint, language.vocabulary)
        compiled.matcher()
    except SynthonError as error:
        return Found(case, "refused", str(error))
    except Exception as error:  # noqa: BLE001 - the edge of a row; a fault of ours, which has a measure
        print(f"{case.id}: {error!r}", file=sys.stderr)
        return Found(case, "crashed", repr(error))
    compile_ms = (time.process_time() - start) * 1e3
    raw, raw_ms = raw_compiled(case, language)
    parts = (len(compiled.soundness), sum(each.how == "enforced" for each in compiled.soundness))
    found = Found(case, "enforced" if parts[0] == parts[1] else "checked", "", parts, compile_ms, raw_ms)
    verdicts = []
    for instance in case.instances:
        ours = OurWalk(language, compiled.matcher())
        theirs = None if raw is None else RawWalk(language, raw.deep_copy())
        walk(language.weights.tokenize(instance.text), [each for each in (ours, theirs) if each])
        if instance.is_valid:
            keep(found, ours, theirs)
        start = time.thread_time()
        by_check = not decoding.unmet(constraint, instance.text)
        found.check_us.append((time.thread_time() - start) * 1e6)
        by_raw = None if theirs is None else theirs.accepts
        is_rejected = instance.is_valid and not ours.accepts
        otherwise = is_rejected and accepts_another_spelling(instance, compiled, language)
        without = instance.is_valid and not by_check and fits(case.json, instance.data, formats=False)
        verdicts.append(Verdict(instance.is_valid, ours.accepts, by_check, by_raw, ours.is_lost, otherwise, without))
    return replace(found, verdicts=tuple(verdicts))


def keep(found: Found, ours: OurWalk, theirs: RawWalk | None) -> None:
    found.masks_us.extend(ours.us)
    if theirs is not None:
        both = min(len(ours.us), len(theirs.us))
        found.ours_us.extend(ours.us[:both])
        found.raw_us.extend(theirs.us[:both])
        found.samples.extend((ours.us[each.place], each) for each in theirs.samples if each.place < both)


def accepts_another_spelling(instance: Instance, compiled: decoding.Compiled, language: Language) -> bool:
    """Whether the mask takes the same value with 1 for 1.0 and the outermost keys (up to four) in some other order."""
    same = whole(instance.data)
    orders: Iterable[object] = [same]
    if isinstance(same, dict) and len(same) <= 4:
        orders = map(dict, itertools.permutations(same.items()))
    for data in orders:
        ours = OurWalk(language, compiled.matcher())
        walk(language.weights.tokenize(Instance(data, is_valid=True).text), [ours])
        if ours.accepts:
            return True
    return False


def whole(data: object) -> object:
    """The value with its whole numbers as integers."""
    if isinstance(data, dict):
        return {key: whole(value) for key, value in data.items()}
    if isinstance(data, list):
        return [whole(value) for value in data]
    return int(data) if isinstance(data, float) and data.is_integer() else data


def fits(schema_json: str, data: object, *, formats: bool) -> bool:
    """Whether jsonschema-rs finds that a document fits; never looks into the network."""
    validator = jsonschema_rs.validator_for(json.loads(schema_json), validate_formats=formats, offline=True)
    return validator.is_valid(data)


__all__ = ["SETS", "Case", "Found", "Instance", "Language", "cases", "fits", "walked"]
