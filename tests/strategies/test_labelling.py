"""Answers from labelled examples: which one, what it costs, and what of the step still holds."""

from __future__ import annotations

import enum
import json
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import synthon as sy
from tests.retrieval.embedding import WordEmbedder
from tests.strategies.scripted import Scripted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from synthon.core.protocols import FloatArray


def shown(*labels: object) -> list[sy.Demo]:
    return [sy.Demo({"message": f"message {number}"}, label) for number, label in enumerate(labels)]


class Fixed:
    """The last examples of a list; the nearest is the last."""

    name = "fixed"

    def __init__(self, *labels: object) -> None:
        self.examples = shown(*labels)

    async def nearest(self, inputs: Mapping[str, object], k: int) -> Sequence[sy.Demo]:
        return self.examples[-k:]


TRAIN = [
    sy.Demo({"message": "I lost my card"}, "card"),
    sy.Demo({"message": "my card is stolen"}, "card"),
    sy.Demo({"message": "give me my money back"}, "refund"),
    sy.Demo({"message": "I want a refund, money please"}, "refund"),
    sy.Demo({"message": "what is the weather"}, "other"),
]
model = Scripted(say=lambda request: "other")
PROBE = sy.linear_probe(TRAIN, embedder=WordEmbedder())
VOTE = sy.neighbour_vote(sy.knob(1, 3), sy.nearest(TRAIN, embedder=WordEmbedder()))


@sy.step(model=model, strategy=sy.one_of(sy.predict, VOTE, PROBE), demos=sy.knn(2))
async def route(message: str) -> Literal["card", "refund", "other"]:
    """Route."""
    ...


@sy.program
async def support(message: str) -> str:
    return await route(message)


@pytest.mark.parametrize(
    ("k", "labels", "answer"),
    [
        (1, ["other", "other", "card"], "card"),
        (3, ["other", "other", "card"], "other"),
        (2, ["other", "card"], "card"),
        (4, ["card", "refund", "refund", "card"], "card"),
        (4, ["refund", "card", "card", "refund"], "refund"),
        (2, ["card", "other"], "other"),
        (9, ["refund", "card", "refund"], "refund"),
    ],
)
async def test_the_majority_of_the_neighbours_answers_and_of_equals_the_nearest(
    k: int, labels: list[str], answer: str
) -> None:
    assert await route.using(strategy=sy.neighbour_vote(k, Fixed(*labels)))("hm") == answer


@pytest.mark.parametrize(("k", "labels"), [(0, ["card"]), (3, [])])
async def test_a_vote_of_nobody_is_refused(k: int, labels: list[str]) -> None:
    with pytest.raises(sy.UserError, match=rf"No example votes in neighbour_vote\({k}, fixed\): k is {k}. Pass"):
        await route.using(strategy=sy.neighbour_vote(k, Fixed(*labels)))("hm")


@pytest.mark.parametrize("strategy", [VOTE, PROBE], ids=["neighbour_vote", "linear_probe"])
async def test_no_model_is_asked_and_the_trace_shows_the_step_with_one_kept_search(strategy: Any) -> None:
    journal = sy.MemoryJournal()
    asked = len(model.seen)
    for _ in range(2):
        changed = support.using({"route.strategy": strategy})
        budget = sy.Budget(calls=0)
        answer = await sy.run(changed, "my card is gone", journal=journal, policy="cache", budget=budget)
        assert answer == "card"
    assert len(model.seen) == asked
    spans = [row for row in journal.records if isinstance(row, sy.Span)]
    (kept,) = [row.span for row in journal.records if isinstance(row, sy.CallRecord)]
    steps = [row for row in spans if row.kind == "step"]
    hits = [row for row in spans if row.hit]
    assert [(row.name, json.loads(row.inputs), row.output) for row in steps] == [
        ("route", {"message": "my card is gone"}, '"card"')
    ] * 2
    assert [kept.parent, *(row.parent for row in hits)] == [row.id for row in steps]
    assert {kept.kind, *(row.kind for row in hits)} == {"search"}


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


CLOSED: list[tuple[Any, list[object]]] = [
    (Literal["red", "blue"], ["red", "blue"]),
    (Literal[1, 2], [1, 2]),
    (Colour, [Colour.RED, Colour.BLUE]),
    (bool, [True, False]),
    (str, ["red", "blue"]),
]


@pytest.mark.parametrize(("type_", "labels"), CLOSED)
async def test_a_probe_answers_every_closed_type_with_its_own_values(type_: Any, labels: list[object]) -> None:
    texts = ["roses and poppies", "sky and sea"]
    examples = [sy.Demo({"text": text}, label) for text, label in zip(texts, labels, strict=True)]

    async def colour(text: str) -> Any:
        """Say."""
        ...

    colour.__annotations__["return"] = type_
    constraint = sy.choice("red", "blue") if type_ is str else None
    strategy = sy.linear_probe(examples, embedder=WordEmbedder())
    step = sy.step(strategy=strategy, constraint=constraint)(colour)
    assert [await step("the roses"), await step("the sea")] == labels


async def test_a_label_that_the_type_or_the_constraint_does_not_know_is_an_error() -> None:
    odd = sy.neighbour_vote(1, Fixed("oddity"))
    with pytest.raises(sy.OutputError, match="oddity"):
        await route.using(strategy=odd)("hm")
    with pytest.raises(sy.OutputError, match="does not fit"):
        await route.using(strategy=sy.neighbour_vote(1, Fixed("card")), constraint=sy.choice("refund"))("hm")
    with pytest.raises(sy.Unsupported, match="cannot keep to the constraint of step 'route'"):
        await route.using(strategy=odd, constraint=sy.schema({"type": "object"}))("hm")


async def test_the_steps_checks_hold() -> None:
    @sy.step(strategy=PROBE)
    async def checked(message: str) -> Literal["card", "refund", "other"]:
        """Route."""
        ...

    @checked.check
    def is_no_card(output: str) -> str | None:
        return "not the card" if output == "card" else None

    assert await checked("money back") == "refund"
    with pytest.raises(sy.CheckFailed, match="not the card"):
        await checked("my card")


async def test_the_answer_is_streamed() -> None:
    async with support.using({"route.strategy": PROBE}).stream("money back") as stream:
        text = "".join([delta.text async for delta in stream])
        assert text == await stream.result() == "refund"


def test_a_saved_program_holds_the_examples_that_answer_it(tmp_path: Path) -> None:
    assert PROBE.name == sy.linear_probe(list(TRAIN), embedder=WordEmbedder("other")).name
    assert PROBE.name != sy.linear_probe(TRAIN[1:]).name
    vote = sy.neighbour_vote(3, sy.nearest(TRAIN, embedder="wordllama-256"))
    assert vote.name.startswith("neighbour_vote(3, nearest(")
    for strategy in (vote, sy.linear_probe(TRAIN)):
        support.using({"route.strategy": strategy}).save(tmp_path / "support.json")
        (loaded,) = support.using(tmp_path / "support.json").settings.values()
        assert isinstance(loaded, type(strategy))
        assert loaded.name == strategy.name
        assert loaded.saved().keys() == strategy.saved().keys()


async def test_the_number_of_voters_is_a_knob_that_is_found() -> None:
    (k,) = [name for name in support.parts().knobs if name.endswith(".k") and "strategy" in name]
    assert await support.using({"route.strategy": VOTE, k: 3})("money back") == "refund"


class Given:
    """Vectors as given, by text."""

    identity = "given"

    def __init__(self, rows: Mapping[str, Sequence[float]]) -> None:
        self.rows = rows
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str]) -> FloatArray:
        self.texts += texts
        return np.array([self.rows[text] for text in texts], np.float32)


async def test_a_probe_learns_at_its_first_question_and_embeds_its_examples_once() -> None:
    embedder = WordEmbedder()
    step = route.using(strategy=sy.linear_probe(TRAIN, embedder=embedder))
    assert embedder.texts == []
    for text in ("card", "money"):
        await step(text)
    assert len(embedder.texts) == len(TRAIN) + 2


async def test_a_probe_leaves_out_the_direction_that_tells_nothing() -> None:
    """Two labels lie apart along the first axis by less than either spreads along the second."""
    spread = np.linspace(-1, 1, 400)
    rows = {f"{side}{place}": (0.1 * side, float(at), 0.0) for side in (-1, 1) for place, at in enumerate(spread)}
    slanted = {"right": (0.1, -1.0, 0.0), "left": (-0.1, 1.0, 0.0)}
    examples = [sy.Demo({"message": text}, "card" if row[0] > 0 else "refund") for text, row in rows.items()]
    few = [sy.Demo({"message": "-10"}, "refund"), sy.Demo({"message": "1399"}, "card")]
    embedder = Given(rows | slanted)
    step = route.using(strategy=sy.linear_probe(examples, embedder=embedder))
    assert [await step("right"), await step("left")] == ["card", "refund"]
    nearest = route.using(strategy=sy.linear_probe(few, embedder=embedder))
    assert [await nearest("right"), await nearest("left")] == ["refund", "card"], "of two it takes the nearer"


@pytest.mark.parametrize("apart", [0.0, 3.0])
async def test_a_probe_says_the_frequent_label_where_vectors_tell_little_and_only_there(apart: float) -> None:
    """Nine of ten are cards: always saying so is right in nine of ten, where nothing else is known."""
    drawn = np.random.default_rng(1)
    labels = ["card" if number % 10 else "refund" for number in range(200)]
    centres = {"card": np.zeros(8), "refund": np.eye(8)[0] * apart}
    rows = {f"message {number}": centres[label] + drawn.normal(size=8) for number, label in enumerate(labels)}
    asked = {f"new {number}": centres[label] + drawn.normal(size=8) for number, label in enumerate(labels)}
    embedder = Given({text: row.tolist() for text, row in (rows | asked).items()})
    step = route.using(strategy=sy.linear_probe(shown(*labels), embedder=embedder))
    said = [await step(text) for text in asked]
    right = sum(one == other for one, other in zip(said, labels, strict=True))
    assert right >= 0.88 * len(labels)
    assert (said.count("refund") >= 10) == (apart > 0)


@given(st.lists(st.sampled_from(["card", "refund", "other"]), min_size=1, max_size=8), st.integers(0, 2**32))
async def test_a_probe_always_answers_one_of_its_labels(labels: list[str], seed: int) -> None:
    drawn = np.random.default_rng(seed).normal(size=(len(labels), 4))
    rows = {f"message {number}": row for number, row in enumerate(drawn.tolist())}
    step = route.using(strategy=sy.linear_probe(shown(*labels), embedder=Given(rows | {"q": [0.1, 0.2, 0.0, 1.0]})))
    assert await step("q") in labels


async def test_a_probe_takes_examples_that_come_only_once() -> None:
    step = route.using(strategy=sy.linear_probe((demo for demo in TRAIN), embedder=WordEmbedder()))  # type: ignore[arg-type]  # once
    assert await step("money back") == "refund"


def test_a_probe_without_examples_is_refused() -> None:
    with pytest.raises(sy.UserError, match="A linear probe was given no examples"):
        sy.linear_probe([])


@pytest.mark.engine
async def test_the_packaged_embedder_tells_meanings_apart() -> None:
    step = route.using(strategy=sy.linear_probe(TRAIN))
    assert await step("somebody took my bank card") == "card"
    assert await step("please reimburse me") == "refund"
    assert await step("will it rain tomorrow?") == "other"
