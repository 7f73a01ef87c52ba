"""What the local engine does not compute again: forks, few-shot prompts, forced tokens; and whether answers change.

    python -m benchmarks.forks [--data DIR] [--full] [--json]

`forks.N`: N requests at once over one prefix of some 1,000 tokens (paragraphs drawn by seed), each with a question of
its own and up to 32 tokens to generate, greedy, one thread, the embedded model; the prefix is computed within the
measured time. Ours is `asyncio.gather` from an empty cache. `sequential` is the same engine one request after another,
nothing reused, measured on four requests a round and scaled to N; with `--full` on all. The others are llama.cpp's own
server with N slots and the same token ids, `together` the same gather as ours, where every slot computes the prefix for
itself (once, at 8 ways; with `--full` at each width in each round), and `warmed`, where a caller who knows the prefix
computes it in one slot, saves that and restores it in the others. `llama_server` runs our kernels, `xllamacpp` its
wheel's. Ratios are theirs over ours within a round, above 1 is faster here; `wall` is the clock, `cpu` the computing
process's time on all cores; intervals are the lowest and the highest round. `prefilled` is what was computed of the
prompts over prefix + suffixes, counted at the model and as our usage says; `identical` compares with the text of the
sequential engine, `same_text` a server's with ours.

`five_shot`: 40 questions in turn after the same five demos. `jump_forward`: JSON in one schema about paragraphs;
`saved` is the share of generated tokens that needed no forward pass. `determinism`: sampled answers with
log-probabilities, equal to the last bit to those of an engine that answered nothing else, in a batch of all (`batch`)
and after others had filled the caches (`after`).
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from bisect import bisect_left
from contextlib import contextmanager
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast
from unittest.mock import patch

from pydantic import BaseModel, ConfigDict, Field

from benchmarks import datasets
from benchmarks.report import Measure, parse, report, skip
from benchmarks.servers import SERVERS, Cost, prepared, server
from benchmarks.statistics import interval
from benchmarks.statistics import share as bounds
from synthon.core.errors import MissingExtra
from synthon.core.output import schema
from synthon.core.values import Message, Request
from synthon.engine.binding import Streams, Weights
from synthon.engine.prompt import render
from synthon.models.local_model import local

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from benchmarks.datasets import Collection
    from benchmarks.report import Arguments
    from synthon.core.protocols import FloatArray
    from synthon.engine.binding import Piece
    from synthon.models.local_model import LlamaModel

WAYS = (8, 32)
PREFIX, TOKENS, CONTEXT = 1_000, 32, 2_048
ROUNDS, DRAWN = 3, 4
SPEEDUP = {8: 5.0, 32: 10.0}
DEMOS, QUESTIONS, EXTRACTIONS = 5, 40, 8
LAYOUTS: tuple[Literal["free", "compact", "pretty"], ...] = ("free", "compact", "pretty")
MODELS = ("smollm2-135m", "qwen2.5-0.5b", "gemma3-270m")
PLAIN = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"  # for weights without a template


class Facts(BaseModel):
    """What is asked of a paragraph."""

    model_config = ConfigDict(extra="forbid")

    main_subject: Annotated[str, Field(max_length=40)]
    mentions_a_person: bool
    kind_of_text: Literal["history", "science", "sports", "arts", "other"]
    years_mentioned: Annotated[list[Annotated[int, Field(ge=0, le=2100)]], Field(max_length=3)]


@dataclass(slots=True)
class Counted:
    """What went through the model: calls, those that gave logits, tokens."""

    calls: int = 0
    passes: int = 0
    tokens: int = 0


@contextmanager
def counted() -> Iterator[Counted]:
    """Count at the model itself, below prefix cache and scheduler."""
    found, compute = Counted(), Streams.compute

    def counting(self: Streams, pieces: Sequence[Piece]) -> FloatArray:
        found.calls += 1
        found.passes += any(piece.rows != "none" for piece in pieces)
        found.tokens += sum(len(piece.tokens) for piece in pieces)
        return compute(self, pieces)

    with patch.object(Streams, "compute", counting):
        yield found


# -------------------------------------------------------------------------------------------------------- forks


@dataclass(frozen=True, slots=True)
class Fork:
    """Requests that share a beginning, and their prompts' tokens."""

    requests: tuple[Request, ...]
    prompts: tuple[tuple[int, ...], ...]

    @property
    def prefix(self) -> tuple[int, ...]:
        """What all prompts begin with."""
        alike = zip(*self.prompts, strict=False)
        length = next((place for place, tokens in enumerate(alike) if len(set(tokens)) > 1), len(self.prompts[0]))
        return self.prompts[0][:length]

    @property
    def least(self) -> int:
        """Tokens of the prefix once, and of the suffixes."""
        return sum(map(len, self.prompts)) - (len(self.prompts) - 1) * len(self.prefix)

    def first(self, count: int) -> Fork:
        return Fork(self.requests[:count], self.prompts[:count])


def forked(collection: Collection, weights: Weights, seed: int) -> Fork:
    """As many requests as the widest fork has, over paragraphs of the collection."""
    generator = random.Random(seed)
    texts = generator.sample([each.text for each in collection.documents], 100)
    lengths = [(len(weights.tokenize(query.text)), query.text) for query in collection.queries]
    questions = [text for _, text in sorted(lengths)[: len(lengths) // 2]]  # of at most some 12 tokens
    words = " ".join(texts).split()
    enough = bisect_left(range(len(words)), PREFIX, key=lambda count: len(weights.tokenize(" ".join(words[:count]))))
    text = f"Answer the question after this text at length.\n\n{' '.join(words[:enough])}"
    requests = tuple(
        asked(f"{text}\n\n{question}", max_tokens=TOKENS) for question in generator.sample(questions, max(WAYS))
    )
    return Fork(requests, tuple(tuple(render(weights, request.messages)) for request in requests))


def asked(*turns: str, **more: Any) -> Request:
    """A greedy request of turns by the user and the assistant."""
    messages = tuple(Message("assistant" if place % 2 else "user", text) for place, text in enumerate(turns))
    return replace(Request(messages, temperature=0.0), **more)


@dataclass(frozen=True, slots=True)
class Run:
    """One round of a fork by one way: texts, tokens generated, tokens of prompts computed, cost."""

    texts: tuple[str, ...]
    generated: int
    prefilled: int
    cost: Cost
    billed: int = 0  # tokens of prompts computed as our usage says


def engine(name: str = MODELS[0], *, parallel: int = 1, template: str = "") -> LlamaModel:
    """A model on one thread, without a journal."""
    memory_gb = max(0.5, parallel / 16)  # smollm2-135m: 23 kB a token, 2,048 of them in each sequence
    made = local(
        name, threads=1, context=CONTEXT, parallel=parallel, memory_gb=memory_gb, chat_template=template,
    )  # fmt: skip
    return cast("LlamaModel", made.model)


async def emptied(model: LlamaModel, *, room: int = CONTEXT // 2 + 1) -> LlamaModel:
    """The model loaded anew, its sequences as long as the work needs, nothing of the work in its caches."""
    model.close()
    first = [asked("Hello!", max_tokens=room, stop=tuple("aeiou !.,"), salt=f"first {number}") for number in (1, 2)]
    await asyncio.gather(*map(model.complete, first))  # two, so that the engine has tried whether it may join them
    return model


@contextmanager
def measured() -> Iterator[list[Cost]]:
    """The cost of a block in this process, in the list after it."""
    costs: list[Cost] = []
    start, before = time.perf_counter(), time.process_time()
    yield costs
    costs.append(Cost(time.perf_counter() - start, time.process_time() - before))


async def ours(fork: Fork) -> Run:
    """All requests at once, from an empty cache."""
    model = await emptied(engine(parallel=len(fork.requests)))
    with counted() as through, measured() as costs:
        done = await asyncio.gather(*map(model.complete, fork.requests))
    model.close()
    generated = sum(each.usage.output_tokens for each in done)
    prefilled = through.tokens - generated + len(done)  # the last token of each is not computed
    billed = sum(each.usage.input_tokens for each in done)
    return Run(tuple(each.text for each in done), generated, prefilled, costs[0], billed)


async def alone(fork: Fork, drawn: Sequence[int]) -> tuple[dict[int, str], Cost]:
    """Texts of some requests, computed one after another with nothing reused, and the cost of one."""
    model = await emptied(engine())
    with measured() as costs:
        texts = {place: (await model.complete(unshared(fork.requests[place], place))).text for place in drawn}
    model.close()
    return texts, costs[0] * (1 / len(drawn))


def unshared(request: Request, place: int) -> Request:
    """The request of another principal: nothing of anybody else's is taken up."""
    return replace(request, salt=f"alone {place}")


async def theirs(name: str, way: str, fork: Fork) -> Run:
    """All requests at once to a server that has just started; `warmed` puts the prefix into every slot first."""
    path, warm = engine().path, fork.prefix if way == "warmed" else ()
    async with server(name, path, parallel=len(fork.requests), context=CONTEXT) as served:
        answers, cost = await served.answers(fork.prompts, tokens=TOKENS, warm=warm)
    texts = tuple(each.text for each in answers[: len(fork.prompts)])
    generated = sum(each.generated for each in answers[: len(fork.prompts)])
    return Run(texts, generated, sum(each.prefilled for each in answers), cost)


def turns(seed: int, *, full: bool) -> list[list[int]]:
    """The requests that each round computes alone: those of the narrow fork first."""
    if full:
        return [list(range(max(WAYS)))] * ROUNDS
    generator = random.Random(seed)
    narrow, wide = range(WAYS[0]), range(WAYS[0], WAYS[1])
    order = generator.sample(narrow, len(narrow)) + generator.sample(wide, len(wide))
    return [order[start : start + DRAWN] for start in range(0, ROUNDS * DRAWN, DRAWN)]


async def fork_measures(fork: Fork, servers: Sequence[str], *, full: bool, seed: int) -> dict[str, Measure]:
    """Each width by each way in turn, round by round."""
    runs: dict[tuple[int, str], list[Run]] = {}
    texts: dict[int, str] = {}
    costs: list[Cost] = []
    for number, drawn in enumerate(turns(seed, full=full)):
        found, cost = await alone(fork, drawn)
        texts |= found
        costs.append(cost)
        for count in WAYS:
            narrowed = fork.first(count)
            runs.setdefault((count, "ours"), []).append(await ours(narrowed))
            for name in servers:
                for way in ("warmed", "together"):
                    if way == "warmed" or full or (count == WAYS[0] and not number):
                        runs.setdefault((count, f"{name}.{way}"), []).append(await theirs(name, way, narrowed))
        print(f"forks: round {number + 1} of {ROUNDS}", file=sys.stderr)
    measures: dict[str, Measure] = {}
    for count in WAYS:
        by_way = {way: rows for (width, way), rows in runs.items() if width == count}
        measures |= width_measures(fork.first(count), by_way, costs, texts)
    return measures


def width_measures(
    fork: Fork, runs: Mapping[str, Sequence[Run]], alone_costs: Sequence[Cost], texts: Mapping[int, str]
) -> dict[str, Measure]:
    """What was measured of a fork of one width."""
    count, mine = len(fork.requests), runs["ours"]
    same = [run.texts[place] == text for run in mine for place, text in texts.items() if place < count]
    most = max(run.prefilled / fork.least for run in mine)
    billed = max(run.billed / fork.least for run in mine)
    measures = {
        "prefix_tokens": Measure(len(fork.prefix)),
        "prefilled": Measure(most, n=len(mine), target=1.02, op="<=", unit="of prefix + suffixes"),
        "prefilled.usage": Measure(billed, n=len(mine), target=1.02, op="<=", unit="of prefix + suffixes"),
        "identical": Measure(sum(same) / len(same), bounds(sum(same), len(same)), len(same), 1.0),
        "generated_tokens": Measure(mine[0].generated, n=count),
        **cost_measures([run.cost for run in mine]),
        **ratio_measures("sequential", [cost * count for cost in alone_costs], mine, SPEEDUP[count]),
    }
    for way, rows in runs.items():
        if way != "ours":
            alike = [left == right for left, right in zip(rows[0].texts, mine[0].texts, strict=True)]
            measures |= ratio_measures(way, [run.cost for run in rows], mine, 1.0)
            measures[f"{way}.prefilled"] = Measure(rows[0].prefilled / fork.least, unit="of prefix + suffixes")
            measures[f"{way}.generated_tokens"] = Measure(rows[0].generated, n=count)
            measures[f"{way}.same_text"] = Measure(sum(alike) / count, bounds(sum(alike), count), count)
    return {f"forks.{count}.{name}": measure for name, measure in measures.items()}


def cost_measures(costs: Sequence[Cost]) -> dict[str, Measure]:
    return {
        "wall_s": middle([cost.wall_s for cost in costs], unit="s"),
        "cpu_s": middle([cost.cpu_s for cost in costs], unit="s"),
    }


def ratio_measures(way: str, costs: Sequence[Cost], mine: Sequence[Run], target: float) -> dict[str, Measure]:
    """Their cost over ours of the same round."""
    pairs = list(zip(costs, mine, strict=False))
    wall = middle([cost.wall_s / run.cost.wall_s for cost, run in pairs], unit="x")
    cpu = middle([cost.cpu_s / run.cost.cpu_s for cost, run in pairs], unit="x")
    return {f"{way}.wall": replace(wall, target=target), f"{way}.cpu": replace(cpu, target=target)}


def middle(values: Sequence[float], *, unit: str = "") -> Measure:
    """The median, and the range from lowest to highest of so few rounds."""
    return Measure(median(values), (min(values), max(values)), len(values), unit=unit)


# ---------------------------------------------------------------------------------------- prompts and constraints


async def five_shot(collection: Collection, weights: Weights, seed: int) -> dict[str, Measure]:
    """How much of few-shot prompts is read from the cache, beside what an endless one would give."""
    generator = random.Random(seed)
    chosen = generator.sample([query for query in collection.queries if query.answers], DEMOS + QUESTIONS)
    demos = [turn for query in chosen[:DEMOS] for turn in (query.text, query.answers[0])]
    requests = [asked(*demos, query.text, max_tokens=4) for query in chosen[DEMOS:]]
    prompts = [render(weights, request.messages) for request in requests]
    model = await emptied(engine(parallel=8))
    used = [(await model.complete(request)).usage for request in requests]
    model.close()
    hits = [each.cached_tokens / (each.cached_tokens + each.input_tokens) for each in used]
    total = sum(map(len, prompts))
    best = sum(
        max((shared(prompt, before) for before in prompts[:place]), default=0) for place, prompt in enumerate(prompts)
    )
    hit = sum(each.cached_tokens for each in used) / total
    return {
        "five_shot.hit_rate": Measure(hit, interval(hits), len(hits), unit="of prompt tokens"),
        "five_shot.hit_rate.possible": Measure(best / total, n=len(hits), unit="of prompt tokens"),
        "five_shot.prompt_tokens": Measure(total / len(prompts), n=len(prompts)),
    }


def shared(one: Sequence[int], other: Sequence[int]) -> int:
    """Tokens two prompts begin with alike, but for the last of the first, whose logits are wanted."""
    pairs = zip(one[:-1], other, strict=False)
    return next((place for place, (left, right) in enumerate(pairs) if left != right), min(len(one) - 1, len(other)))


async def jump_forward(collection: Collection, seed: int) -> dict[str, Measure]:
    """Tokens that needed no forward pass, by the layout of the JSON."""
    texts = [each.text for each in random.Random(seed).sample(collection.documents, EXTRACTIONS)]
    model = await emptied(engine())
    measures: dict[str, Measure] = {}
    for layout in LAYOUTS:
        saved, passes, tokens = [], 0, 0
        for text in texts:
            question = f"{' '.join(text.split()[:120])}\n\nState the facts of this text as JSON."
            request = asked(question, max_tokens=96, constraint=schema(Facts, layout=layout))
            with counted() as through:
                done = await model.complete(request)
            saved.append(1 - through.passes / done.usage.output_tokens)
            passes, tokens = passes + through.passes, tokens + done.usage.output_tokens
        name = f"jump_forward.{layout}"
        measures[f"{name}.saved"] = Measure(1 - passes / tokens, interval(saved), len(saved), unit="of passes")
        measures[f"{name}.tokens"] = Measure(tokens, n=len(saved))
    model.close()
    return measures


# --------------------------------------------------------------------------------------------------- determinism


async def determinism(name: str, collection: Collection, seed: int) -> dict[str, Measure]:
    """Whether a model's answers depend on their company."""
    weights = Weights(engine(name).path)
    template = "" if weights.template else PLAIN
    weights.close()
    model = engine(name, parallel=8, template=template)
    requests = sampled(collection, seed, 12 if name == MODELS[0] else 6)
    alone = []
    for request in requests:
        model.close()
        alone.append(await model.complete(request))
    model.close()
    together = await asyncio.gather(*map(model.complete, requests))
    after = [await model.complete(request) for request in reversed(requests)][::-1]
    model.close()
    measures: dict[str, Measure] = {}
    for company, found in {"batch": together, "after": after}.items():
        texts = [left.text == right.text for left, right in zip(found, alone, strict=True)]
        bits = [
            left.text == right.text and left.logprobs == right.logprobs
            for left, right in zip(found, alone, strict=True)
        ]
        for what, same in {"text": texts, "bits": bits}.items():
            target = 1.0 if name == MODELS[0] else None
            measure = Measure(sum(same) / len(same), bounds(sum(same), len(same)), len(same), target)
            measures[f"determinism.{name}.{company}.{what}"] = measure
    return measures


def sampled(collection: Collection, seed: int, count: int) -> list[Request]:
    """Sampled requests of several lengths; every third repeats the paragraph of the one before it."""
    generator = random.Random(seed)
    texts = [" ".join(each.text.split()[:90]) for each in generator.sample(collection.documents, count)]
    questions = [query.text for query in generator.sample(collection.queries, count)]
    contents = [
        question if place % 3 == 0 else f"{texts[place - (place % 3 == 2)]}\n\n{question}"
        for place, question in enumerate(questions)
    ]
    return [asked(content, temperature=1.0, logprobs=2, max_tokens=16) for content in contents]


# ----------------------------------------------------------------------------------------------------------- run


async def measure(arguments: Arguments, collection: Collection, servers: Sequence[str]) -> dict[str, Measure]:
    weights = Weights(engine().path)
    fork = forked(collection, weights, arguments.seed)
    measures = await five_shot(collection, weights, arguments.seed)
    weights.close()
    print("five_shot: done", file=sys.stderr)
    measures |= await jump_forward(collection, arguments.seed)
    print("jump_forward: done", file=sys.stderr)
    for name in MODELS:
        try:
            measures |= await determinism(name, collection, arguments.seed)
        except MissingExtra as missing:
            print(f"{name}: left out, {missing}", file=sys.stderr)
        print(f"determinism: {name}", file=sys.stderr)
    return measures | await fork_measures(fork, servers, full=arguments.full, seed=arguments.seed)


def main() -> None:
    arguments = parse(__doc__)
    try:
        collection = datasets.squad(arguments.data)
        local()
    except (datasets.DataMissing, MissingExtra) as missing:
        skip("forks", str(missing), arguments)
        return
    servers = prepared()
    measures = asyncio.run(measure(arguments, collection, [name for name in SERVERS if name in servers]))
    report("forks", arguments.seed, measures, as_json=arguments.json, peers=servers, readme=arguments.readme)


if __name__ == "__main__":
    main()
