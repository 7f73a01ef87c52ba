"""The benchmark of strategies replays recordings from the journal alone, and compares arms row by row."""

from __future__ import annotations

from dataclasses import replace

import synthon as sy
from benchmarks.questions import Problem, Problems, Recording
from benchmarks.solving import decision, letter, number, right_by_itself, wrong_by_itself
from benchmarks.strategies import Live, Said, Task, ask, replayed
from synthon.core.settings import MODEL, entered

ROWS = [
    Recording("t/0", "Two and two?", "Two and two make four. So the ", "4", "4"),
    Recording("t/1", "Two and two?", "Two and two make five. So the ", "5", "4"),
]
SUMS = Problems("gsm8k", tuple(Problem(f"{n} + {n}?", 2.0 * n) for n in range(3)), (Problem("9 + 9?", 18.0),))


async def test_a_replay_reads_everything_from_the_journal() -> None:
    for strategy in (sy.predict, sy.chain_of_thought):
        right, calls = await replayed(ROWS, strategy, sy.MemoryJournal())
        assert right == [True, False]
        assert calls == 0


async def test_a_row_counts_its_calls_and_tokens_and_what_does_not_fit_is_wrong() -> None:
    used = sy.Usage(input_tokens=7, output_tokens=3)
    model = sy.FunctionModel(lambda _request: sy.Completion('{"value": 2}', used))
    step = replace(number, strategy=sy.self_consistency(3, of=sy.predict, early_stop=False))
    assert await ask(step, model, SUMS.asked[1]) == Said(2.0, is_right=True, calls=3, tokens=9, prompt_tokens=21)
    silent = sy.FunctionModel(lambda _request: sy.Completion("no idea", used))
    assert await ask(number, silent, SUMS.asked[1]) == Said(None, is_right=False, calls=2, tokens=6, prompt_tokens=14)


def test_gains_and_saved_votes_are_over_the_rows_that_both_arms_have() -> None:
    def said(answer: float, calls: int) -> Said:
        return Said(answer, is_right=answer == 0, calls=calls, tokens=5, prompt_tokens=10)

    task = Task(SUMS, number, 8)
    live = Live(sy.FunctionModel(lambda _request: ""), sy.MemoryJournal(), [task], 0.0)
    live.found = {
        ("gsm8k", "predict"): [said(1, 1), said(1, 1), said(0, 1)],
        ("gsm8k", "chain_of_thought"): [said(0, 2), said(1, 2)],
        ("gsm8k", "self_consistency"): [said(0, 10), said(1, 10)],
        ("gsm8k", "early_stop"): [said(0, 6), said(2, 10)],
    }
    measures = live.measures()
    assert measures["live.function.gain.chain_of_thought_over_predict"].value == 0.5
    assert measures["live.function.gain.chain_of_thought_over_predict"].n == 2
    assert abs(measures["live.function.early_stop.saved"].value - 0.2) < 1e-9
    assert measures["live.function.early_stop.same"].value == 0.5
    assert measures["live.function.predict.calls"].value == 1
    assert "live.function.gain.refine_over_predict" not in measures


async def test_choices_are_shown_under_their_letters() -> None:
    told = await letter.explain("Which is red?", ["blood", "grass"])
    assert told.messages[-1].text == "Which is red?\nA. blood\nB. grass"


async def test_a_model_judges_its_own_answers() -> None:
    def scored(request: sy.Request) -> sy.Completion:
        is_four = "proposed_answer: 4.0" in request.messages[-1].text
        if not request.continuations:
            return sy.Completion("It is too large.")
        return sy.Completion(
            scores=tuple(sy.Score(-1.0 if (text == "true") == is_four else -2.0, 1) for text in request.continuations)
        )

    model = sy.FunctionModel(scored, capabilities=frozenset({"chat", "score"}))
    with entered({MODEL: model}):
        assert await right_by_itself(4.0, "2 + 2?") > 0.5
        assert await right_by_itself(5.0, "2 + 2?") < 0.5
        assert await wrong_by_itself(4.0, "2 + 2?") is None
        assert await wrong_by_itself(5.0, "2 + 2?") == "It is too large."


def test_each_set_has_the_arms_that_go_with_its_answers() -> None:
    choices = Problems("mmlu", (Problem("Which?", "A", ("x", "y")),), ())
    assert "shuffled_ensemble" in Task(choices, letter, 8).arms(0.6)
    assert "shuffled_ensemble" not in Task(replace(SUMS, name="strategyqa"), decision, 8).arms(0.6)
