"""A model that writes instructions is asked with what went wrong, and its words are kept where they help."""

from __future__ import annotations

import random
from typing import Literal

import pytest

import synthon as sy
from synthon.evals import Case, Cases
from synthon.optimize import Optimization
from tests.optimize.programs import chance, right, rows

TRAIN, VALIDATION = rows(30), rows(40, 1000)


def obedient(request: sy.Request) -> str:
    """Does what its instruction says, and says yes where it says nothing."""
    if "vowel a" not in request.messages[0].text:
        return "yes"
    return "yes" if "a" in request.messages[-1].text else "no"


class Writer:
    """Proposes the right instruction at its `good`-th reflection, useless ones before."""

    def __init__(self, good: int) -> None:
        self.good, self.asked = good, list[str]()

    def __call__(self, request: sy.Request) -> str:
        self.asked.append(request.messages[-1].text)
        if len(self.asked) < self.good:
            return f"Try this:\n```\nSay yes or no, idea {len(self.asked)}.\n```"
        return "```text\nAnswer yes if the text holds the vowel a, else no.\n```"


async def searched(writer: Writer, calls: int = 500, method: str = "reflective") -> Optimization[[str], str]:
    @sy.step(model=sy.Journaled(sy.FunctionModel(obedient)), temperature=0.0)
    async def label(text: str) -> str:
        """Label the text."""
        ...

    return await sy.optimize(
        label, TRAIN, VALIDATION, metric=right, budget=sy.Budget(calls=calls), journal=sy.MemoryJournal(),
        proposer=sy.Journaled(sy.FunctionModel(writer, name="writer")), method=method, embedder="wordllama-256",
    )  # fmt: skip


async def test_an_instruction_that_helps_is_found_and_kept() -> None:
    writer = Writer(good=3)
    run = await searched(writer)
    best = run.best()
    assert best.quality.value == 1.0
    assert "vowel a" in best.changes
    assert "idea" not in str(run.front[0].changes)
    assert "-Label the text." in best.diff(run.program).replace("- ", "-")
    assert "Wanted: " in writer.asked[0]
    assert "It answered: " in writer.asked[0]
    assert "Label the text." in writer.asked[0]


@pytest.mark.parametrize("form", ["{}", "```\n{}", "Try this:\n```text\n{}\n", "```{}```"])
async def test_an_instruction_without_fences_or_whose_end_was_cut_off_is_one(form: str) -> None:
    class Loose(Writer):
        def __call__(self, request: sy.Request) -> str:
            return form.format(super().__call__(request).strip("`").removeprefix("text").strip())

    run = await searched(Loose(good=1))
    assert run.best().quality.value == 1.0
    assert run.best().changes == "label.instruction=Answer yes if the text holds the vowel a, else no."


async def test_a_writer_that_fails_once_it_has_written_ends_no_search(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Writer):
        def __call__(self, request: sy.Request) -> str:
            if len(self.asked) in fails:
                self.asked.append("")
                raise sy.ProviderError("The model is overloaded.", status=503)
            return super().__call__(request)

    fails = {1, 2}
    run = await searched(Failing(good=4))
    assert run.best().quality.value == 1.0
    assert "wrote no instruction for label: ProviderError: The model is overloaded." in caplog.text
    fails = {0}  # a wrong key: nothing was ever written
    with pytest.raises(sy.ProviderError, match="overloaded"):
        await searched(Failing(good=4))


async def test_words_that_help_nothing_end_the_search_early() -> None:
    writer = Writer(good=10**6)
    run = await searched(writer)
    assert len(writer.asked) <= 6
    assert run.best().changes == "as it is"
    assert (run.methods, run.why) == (("reflective",), "it was asked for")


async def test_values_are_searched_before_words_and_both_count_against_the_budget() -> None:
    writer = Writer(good=2)
    run = await searched(writer, 300, "auto")
    assert run.methods == ("racing", "reflective")
    assert "values first" in run.why
    assert run.budget.spent.calls <= 300
    assert run.best().quality.value == 1.0


async def test_a_method_that_asks_no_proposer_says_so() -> None:
    writer = Writer(good=1)
    run = await searched(writer, 60, "random")
    assert not writer.asked
    assert run.why == "it was asked for; auto and reflective alone ask a proposer, so no instruction was written"


async def learnt(
    method: str, wrong: float, calls: int = 400
) -> tuple[Writer, Optimization[[str], Literal["yes", "no"]]]:
    """A closed question that examples answer without a model in nine of ten rows, and a model in `1 - wrong`."""
    writer = Writer(good=1)

    def answer(request: sy.Request) -> str:
        told = request.messages[-1].text
        is_right = chance(told) >= wrong or "vowel a" in request.messages[0].text
        return "yes" if ("a" in told.split()[-1]) == is_right else "no"

    @sy.step(model=sy.Journaled(sy.FunctionModel(answer), price=sy.Price(1, 1)), temperature=0.0)
    async def label(text: str) -> Literal["yes", "no"]:
        """Label the text."""
        ...

    def row(number: int) -> Case[str]:
        word = "".join(random.Random(number).choices("abcdefgh", k=6))
        is_plain = chance(number, "plain") < 0.9
        return Case({"text": f"{'fruit apple' if ('a' in word) == is_plain else 'car engine'} {word}"},
                    "yes" if "a" in word else "no")  # fmt: skip

    cases = Cases(row(number) for number in range(80))
    run = await sy.optimize(
        label, cases[:40], cases[40:], metric=right, budget=sy.Budget(calls=calls), journal=sy.MemoryJournal(),
        proposer=sy.Journaled(sy.FunctionModel(writer, name="writer"), price=sy.Price(1, 1)), method=method,
        embedder="wordllama-256", watch=lambda _: None,
    )  # fmt: skip
    return writer, run


async def test_words_are_written_also_where_an_answer_without_a_model_leads() -> None:
    writer, run = await learnt("auto", 0.5)
    assert any(run.history.is_free(point) for point in run.history.rows)
    assert writer.asked
    assert run.best().quality.value == 1.0
    assert "vowel a" in run.best().changes


async def test_a_program_that_is_mostly_right_is_bettered_by_the_rows_that_are_not() -> None:
    writer, run = await learnt("reflective", 0.08)
    assert len(writer.asked) == 1
    assert run.best().quality.value == 1.0
