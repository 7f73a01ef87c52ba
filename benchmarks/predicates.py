"""Whether a mask is exactly the tokens that can still come right: `python -m benchmarks.predicates [--json]`.

Random compositions of choices, patterns and predicates, with `&`, `|` and counts of tokens, over a vocabulary of 41
tokens of one to six characters, halves of characters among them. An oracle that shares nothing with the masks walks
every state of the predicates' definitions (tests/decoding/oracle.py); along a random text each mask is compared with
{tokens after which some completion holds}, the end among them. Where nothing can hold, compiling has to refuse. What
is refused as too large is counted apart, and so is what has too many states for the oracle. LMQL, whose predicates
these are, has masks that bar what is definitely wrong and leave what only later turns out so.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from benchmarks.report import Measure, parse, report
from benchmarks.statistics import share
from synthon.core.constraints import Textual
from synthon.core.errors import SchemaTooLarge, UserError
from synthon.decoding import Matcher, compiled
from synthon.decoding.predicates import counts
from tests.decoding.oracle import END, TOKENS, Oracle, composition, vocabulary

COMPOSITIONS = 1_500
STEPS = 14
SIZE = len(TOKENS) + 2


@dataclass
class Found:
    """What was seen; times in microseconds of this thread."""

    equal: list[bool] = field(default_factory=list)
    forced: list[bool] = field(default_factory=list)
    refused: list[bool] = field(default_factory=list)
    too_large: list[bool] = field(default_factory=list)
    left_out: list[bool] = field(default_factory=list)
    mask_us: list[float] = field(default_factory=list)
    compile_us: list[float] = field(default_factory=list)


def mask(matcher: Matcher, found: Found) -> set[int]:
    logits = np.zeros(SIZE, np.float32)
    start = time.thread_time()
    matcher.mask(logits)
    found.mask_us.append((time.thread_time() - start) * 1e6)
    return set(np.flatnonzero(np.isfinite(logits)).tolist())


def walk(matcher: Matcher, oracle: Oracle, chance: random.Random, found: Found) -> None:
    state = oracle.start
    for _ in range(STEPS):
        wanted = oracle.allowed(state)
        found.equal.append(mask(matcher, found) == wanted)
        ahead = state
        for token in matcher.forced():
            found.forced.append(token in oracle.allowed(ahead) and END not in oracle.allowed(ahead))
            ahead = oracle.after(ahead, token) or ahead
        if wanted <= {END}:
            return
        token = chance.choice(sorted(wanted - {END}))
        state = oracle.after(state, token) or state
        matcher.consume(token)


class _TooManyStatesError(Exception):
    pass


def give_up() -> NoReturn:
    raise _TooManyStatesError


def compare(seed: int, found: dict[bool, Found]) -> None:
    """One composition; `found` is kept apart for those that count tokens."""
    chance = random.Random(seed)
    constraint, trees = composition(chance)
    seen = found[counts(constraint)]
    try:
        _compared(constraint, Oracle(constraint, trees, give_up), chance, seen)
    except _TooManyStatesError:
        seen.left_out.append(True)
    else:
        seen.left_out.append(False)


def _compared(constraint: Textual, oracle: Oracle, chance: random.Random, seen: Found) -> None:
    possible, refused = bool(oracle.allowed(oracle.start)), False
    start = time.thread_time()
    try:
        matcher = compiled(constraint, vocabulary()).matcher()
        seen.compile_us.append((time.thread_time() - start) * 1e6)
        if possible:
            walk(matcher, oracle, chance, seen)
    except SchemaTooLarge:
        seen.too_large.append(True)
        return
    except UserError:
        refused = True
    seen.too_large.append(False)
    seen.refused.append(refused != possible)


def shared(held: list[bool], **target: float) -> Measure:
    count = len(held)
    return Measure(sum(held) / count, share(sum(held), count), count, target.get("least"), ">=", "share")


def measures(found: dict[bool, Found]) -> dict[str, Measure]:
    both = list(found.values())

    def joined(name: str) -> list[bool]:
        return [held for each in both for held in getattr(each, name)]

    measured = {
        "masks.equal": shared(joined("equal"), least=1.0),
        "masks.equal.counted": shared(found[True].equal, least=1.0),
        "forced.right": shared(joined("forced"), least=1.0),
        "impossible.refused": shared(joined("refused"), least=1.0),
    }
    for name, held in (("too_large.refused", joined("too_large")), ("oracle.left_out", joined("left_out"))):
        measured[name] = Measure(sum(held) / len(held), share(sum(held), len(held)), len(held), op="<=", unit="share")
    for name, each in (("regular", found[False]), ("counted", found[True])):
        for part, percent in (("p50", 50), ("p99", 99)):
            value = float(np.percentile(each.mask_us, percent))
            measured[f"mask.{part}.{name}"] = Measure(value, n=len(each.mask_us), op="<=", unit="us")
        value = float(np.percentile(each.compile_us, 50)) / 1e3
        measured[f"compile.p50.{name}"] = Measure(value, n=len(each.compile_us), op="<=", unit="ms")
    return measured


def main() -> None:
    arguments = parse(__doc__)
    found = {False: Found(), True: Found()}
    vocabulary().engine.tokenize_str("ab")  # made before the first time is taken
    for number in range(COMPOSITIONS * (10 if arguments.full else 1)):
        compare(arguments.seed * 1_000_003 + number, found)
    report("predicates", arguments.seed, measures(found), as_json=arguments.json, readme=arguments.readme)


if __name__ == "__main__":
    main()
