"""Hops, parts, debates and self-made demonstrations by scripted models."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from pydantic import BaseModel

import synthon as sy
from tests.retrieval.embedding import WordEmbedder
from tests.strategies.scripted import Scripted, said


class Sum(BaseModel):
    total: int


class Library:
    """Passages by the word they hold; keeps the queries."""

    name = "library"

    def __init__(self, **texts: str) -> None:
        self.texts = texts
        self.queries: list[str] = []

    async def search(self, query: str, *, k: int, where: sy.Filter | None = None) -> list[sy.Passage]:
        self.queries.append(query)
        found = [sy.Passage(text, document=name) for name, text in self.texts.items() if name in query.lower()]
        return found[:k]


LIBRARY = {"novel": "The novel was written by Anna Berg.", "berg": "Anna Berg was born in Bern."}


async def test_what_a_hop_finds_decides_the_next_query() -> None:
    library = Library(**LIBRARY)
    model = Scripted("Anna Berg wrote the novel.", '"berg, the novel"', "Bern")

    @sy.step(model=model, strategy=sy.multi_hop(library, 2))
    async def answer(question: str) -> str:
        """Answer from the passages."""
        ...

    assert await answer("Where was the author of the novel born?") == "Bern"
    assert library.queries == ["Where was the author of the novel born?", "berg, the novel"]
    condense, query, last = map(said, model.seen)
    assert "written by Anna Berg" in condense
    assert "Anna Berg wrote the novel." in query
    assert "written by Anna Berg" not in query
    assert "known: Anna Berg wrote the novel." in last
    assert last.count("written by Anna Berg") == 1
    assert "[2] Anna Berg was born in Bern." in last


async def test_one_hop_is_one_search_and_one_call() -> None:
    library, model = Library(**LIBRARY), Scripted("Anna Berg")

    @sy.step(model=model, strategy=sy.multi_hop(library, sy.knob(1, 3)))
    async def answer(question: str) -> str:
        """Answer from the passages."""
        ...

    assert await answer("Who wrote the novel?") == "Anna Berg"
    assert (len(library.queries), len(model.seen)) == (1, 1)


async def test_a_step_with_passages_of_its_own_is_refused() -> None:
    @sy.step(model=Scripted(), strategy=sy.multi_hop(Library(**LIBRARY)))
    async def answer(question: str, passages: list[sy.Passage]) -> str:
        """Answer from the passages."""
        ...

    with pytest.raises(sy.UserError, match=r"step 'answer' has inputs \['passages'\] of its own"):
        await answer("Who wrote the novel?", [])


async def test_worked_examples_are_not_shown_what_was_found_for_the_question() -> None:
    model = Scripted("She wrote it.", "Anna Berg")
    demos = [sy.Demo({"question": "Who wrote the poem?"}, "Ben Carr", "He signed it.")]

    @sy.step(model=model, demos=demos, strategy=sy.multi_hop(Library(**LIBRARY), 1, of=sy.chain_of_thought))
    async def answer(question: str) -> str:
        """Answer from the passages."""
        ...

    assert await answer("Who wrote the novel?") == "Anna Berg"
    for request in model.seen:
        text = said(request)
        assert text.index("He signed it.") < text.index("written by Anna Berg")
        assert text.count("written by Anna Berg") == 1


def numbers(request: sy.Request) -> list[int]:
    text = request.messages[1].text
    return [int(word) for word in "".join(c if c.isdigit() else " " for c in text[text.index("[") :]).split()]


def sums(request: sy.Request) -> str:
    total = sum(numbers(request))
    return f'{{"total":{total}}}' if "fits this schema" in said(request) else str(total)


@pytest.mark.parametrize(("size", "calls"), [(2, 7), (4, 3), (7, 2)])
async def test_a_list_is_divided_noted_and_answered_from_its_notes(size: int, calls: int) -> None:
    model = Scripted(say=sums)

    @sy.step(model=model, strategy=sy.map_reduce("numbers", size))
    async def add(what: str, numbers: list[int]) -> Sum:
        """Add the numbers."""
        ...

    assert (await add("all", list(range(7)))).total == 21
    assert len(model.seen) == calls


async def test_parts_may_go_to_another_step_and_to_a_function() -> None:
    part = Scripted('{"total":3}', '{"total":4}')

    @sy.step(model=part)
    async def each(numbers: list[int], what: str) -> Sum:
        """Add the part."""
        ...

    def whole(parts: list[Sum], what: str) -> Sum:
        assert what == "all"
        return Sum(total=sum(found.total for found in parts))

    @sy.step(model=Scripted(), strategy=sy.map_reduce("numbers", 2, each=each, reduce=whole))
    async def add(what: str, numbers: list[int]) -> Sum:
        """Add the numbers."""
        ...

    assert (await add("all", [1, 2, 4])).total == 7
    assert "what: all" in said(part.seen[0])
    with pytest.raises(
        sy.UserError, match=r"map_reduce\('missing', 1\) cannot divide the inputs \['what', 'numbers'\]"
    ):
        await add.using(strategy=sy.map_reduce("missing"))("all", [1])


async def test_debaters_hear_each_other_and_vote() -> None:
    def say(request: sy.Request) -> str:
        text = request.messages[-1].text
        if "Using them as additional information" in text:
            return "No, five." if "I say four" in text and "I say five" in text else "I stay with four."
        if "step by step" in text:
            return f"I say {['four', 'five', 'five'][len(model.seen) - 1]}."
        return '{"total":5}' if "five" in request.messages[-2].text else '{"total":4}'

    model = Scripted(say=say)

    @sy.step(model=model, strategy=sy.debate(3, 1))
    async def add(question: str) -> Sum:
        """Add the numbers."""
        ...

    assert (await add("2+3")).total == 5
    assert len(model.seen) == 3 * 3
    assert [request.temperature for request in model.seen] == [0.7] * 6 + [None] * 3
    with pytest.raises(sy.UserError, match="debate of 1 has no other side"):
        await add.using(strategy=sy.debate(1))("2+3")


TRAIN = [
    sy.Demo({"question": "one and one"}, Sum(total=2)),
    sy.Demo({"question": "two and two"}, Sum(total=4)),
    sy.Demo({"question": "five and three"}, Sum(total=8)),
]


async def test_the_nearest_examples_are_shown_nearest_last_and_never_the_question_itself() -> None:
    embedder = WordEmbedder()
    selector = sy.nearest(TRAIN, embedder=embedder)
    found = await selector.nearest({"question": "two and one"}, 2)
    assert [demo.output.total for demo in found] in ([2, 4], [4, 2])  # type: ignore[attr-defined]  # a Sum
    assert [demo.output for demo in await selector.nearest({"question": "two and two"}, 3)] == [
        demo.output
        for demo in await sy.nearest([TRAIN[2], TRAIN[0]], embedder=embedder).nearest({"question": "two and two"}, 2)
    ]
    assert await sy.nearest([], embedder=embedder).nearest({"question": "x"}, 2) == []
    embedder.texts.clear()
    await selector.nearest({"question": "six"}, 1)
    assert embedder.texts == ["six"]

    model = Scripted('{"total":9}')

    @sy.step(model=model, demos=sy.knn(1, 2, selector=sy.nearest(TRAIN, embedder=embedder)))
    async def add(question: str) -> Sum:
        """Add."""
        ...

    await add("five and four")
    assert "five and three" in said(model.seen[0])
    assert "one and one" not in said(model.seen[0])


async def test_examples_whose_own_reasoning_ends_wrong_are_thrown_away() -> None:
    def say(request: sy.Request) -> str:
        if "step by step" in request.messages[-1].text:
            return f"thought of {request.messages[1].text}"
        question = request.messages[1].text
        if question == "two and two":
            return '{"total":5}' if request.temperature is None else '{"total":4}'
        return '{"total":2}' if question == "one and one" else "no idea"

    model = Scripted(say=say)

    @sy.step(model=model, strategy=sy.self_consistency(3), retries=0)
    async def add(question: str) -> Sum:
        """Add the numbers."""
        ...

    kept = await sy.reasoned(add, TRAIN)
    assert kept == [sy.Demo({"question": "one and one"}, Sum(total=2), "thought of one and one")]
    assert [demo.thought for demo in await sy.reasoned(add, TRAIN, tries=2)] == [
        "thought of one and one", "thought of two and two",
    ]  # fmt: skip
    assert len(await sy.reasoned(add, TRAIN[1:2], agrees=lambda found, wanted: found.total > wanted.total)) == 1


async def test_reasoning_may_be_bounded() -> None:
    model = Scripted("hm", '{"total":2}')
    bounded: Any = type(sy.chain_of_thought)(max_tokens=9)

    @sy.step(model=model, strategy=bounded, max_tokens=50)
    async def add(question: str) -> Sum:
        """Add."""
        ...

    await add("1+1")
    assert [request.max_tokens for request in model.seen] == [9, 50]


async def test_a_literal_answer_votes_under_shuffled_choices_with_a_knob() -> None:
    model = Scripted(say=lambda request: "B" if request.messages[-1].text.index("x") > 40 else "A")

    @sy.step(model=model, strategy=sy.shuffled_ensemble("options", sy.knob(1, 5)))
    async def pick(question: str, options: list[str]) -> Literal["A", "B"]:
        """Which one?"""
        ...

    assert await pick("?", ["x", "y"]) in {"A", "B"}
    await pick.using({"pick.strategy.n": 5})("?", ["x", "y"])
    assert len(model.seen) == 6
