"""How fast the embedded model is in other numbers: `python -m benchmarks.weights [--json]`.

Weights that `synthon models convert` writes, beside those as they come (`q4_1`): tokens of a prompt of 256 random
tokens read, and of 16 written one by one, for each CPU second of one thread; medians of rounds in which all take turns,
with the slowest and the fastest round in place of an interval. `times` is over `q4_1`. `together` is 1 where two
requests in one call give the same to the bit as each alone, so that the engine computes them at once.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.report import Measure, parse, report, skip
from synthon.core.errors import MissingExtra
from synthon.engine.binding import Piece, Streams, Weights, rounds_alike
from synthon.engine.converting import convert
from synthon.models.local_model import DEFAULT
from synthon.weights.on_disk import path_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KINDS, ROUNDS, PROMPT, ANSWER = ("q8_0", "f16"), 3, 256, 16


def rates(streams: Streams, prompt: Sequence[int]) -> tuple[float, float]:
    """Tokens a CPU second, of the prompt and of the answer."""
    streams.cut(0, 0)
    start = time.process_time()
    streams.compute([Piece(0, 0, prompt)])
    read = time.process_time()
    for at in range(ANSWER):
        streams.compute([Piece(0, len(prompt) + at, prompt[at : at + 1])])
    return len(prompt) / (read - start), ANSWER / (time.process_time() - read)


def measured(files: Mapping[str, Path], *, rounds: int, seed: int) -> dict[str, Measure]:
    """The measures of each file, by kind; the first is what the others are compared with."""
    loaded = {kind: Weights(path) for kind, path in files.items()}
    prompt = np.random.default_rng(seed).integers(100, 40_000, PROMPT).tolist()
    streams = {kind: Streams(each, count=1, cells=1024, threads=1) for kind, each in loaded.items()}
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in files}
    for number in range(rounds + 1):  # the first warms up
        for kind, each in streams.items():
            speeds = rates(each, prompt)
            if number:
                found[kind].append(speeds)
    base, measures = next(iter(files)), {}
    for kind, rows in found.items():
        for number, part in enumerate(("prompt", "answer")):
            at, own = f"{kind}.{part}", [row[number] for row in rows]
            ratios = [row[number] / other[number] for row, other in zip(rows, found[base], strict=True)]
            measures[f"{at}.tokens"] = Measure(median(own), (min(own), max(own)), rounds, unit="a CPU second")
            measures[f"{at}.times"] = Measure(median(ratios), (min(ratios), max(ratios)), rounds, unit="x")
        measures[f"{kind}.together"] = Measure(float(rounds_alike(loaded[kind], 1)))
    return measures


def main() -> None:
    arguments = parse(__doc__)
    try:
        own = path_of(DEFAULT)
    except MissingExtra as missing:
        skip("weights", str(missing), arguments)
        return
    with tempfile.TemporaryDirectory(prefix="synthon-weights-") as folder:
        files = {"q4_1": own, **{kind: convert(own, kind, Path(folder) / f"{kind}.gguf") for kind in KINDS}}
        measures = measured(files, rounds=ROUNDS * (5 if arguments.full else 1), seed=arguments.seed)
    report("weights", arguments.seed, measures, as_json=arguments.json, readme=arguments.readme)


if __name__ == "__main__":
    main()
