"""The benchmark of programs judges the same samples in every arm, under the sandbox."""

from __future__ import annotations

import synthon as sy
from benchmarks.humaneval import ARMS, Outcome, measures_of, outcome
from benchmarks.programs import Programming

TASK = Programming(
    "t/1",
    'def double(n: int) -> int:\n    """Twice.\n    >>> double(2)\n    4\n    """\n',
    "double",
    "def check(f):\n    assert f(5) == 10\n",
)
WRONG, LUCKY, RIGHT, ALSO = "return n", "return 2**n", "return n * 2", "return n + n"  # of equals the first in order


def model(*bodies: str) -> sy.Journaled:
    """Says these in turn, by temperature and sample; finds programs that multiply by two likely to be right."""

    def answer(request: sy.Request) -> sy.Completion:
        if request.continuations:
            likes = RIGHT in request.messages[-1].text
            scores = [-1.0 if (each == "true") == likes else -3.0 for each in request.continuations]
            return sy.Completion(scores=tuple(sy.Score(each, 1) for each in scores))
        at = {0.6: 0, 0.8: 1, 1.0: 2}[request.temperature or 0.6] + 3 * request.sample
        return sy.Completion(f"```python\ndef double(n):\n    {bodies[at]}\n```", sy.Usage(output_tokens=10))

    return sy.Journaled(sy.FunctionModel(answer, capabilities=frozenset({"chat", "score"})))


async def test_all_arms_pick_from_the_same_samples() -> None:
    found = await outcome(TASK, model(WRONG, WRONG, LUCKY, RIGHT, ALSO), sy.MemoryJournal())
    assert found.samples == (False, False, False, True, True)
    assert found.picks.keys() == ARMS.keys()
    assert found.picks["picked"]  # the lucky one passes the example too, but behaves otherwise
    assert not found.picks["filter"]
    assert found.picks["without_rank"]
    assert found.picks["rank"]
    assert not found.picks["without_cluster"] or found.picks["rank"]
    assert (found.calls, found.tokens) == (5, 50)


def test_a_pick_is_compared_with_what_a_random_sample_is_worth() -> None:
    picks = dict.fromkeys(ARMS, True)
    found = dict(
        measures_of([Outcome((True, False), picks, 2, 9), Outcome((False, False), picks | {"rank": False}, 2, 9)])
    )
    assert found["sample"].value == 0.25
    assert found["any"].value == 0.5
    assert found["picked"].value == 1
    assert found["gain.picked_over_sample"].value == 0.75
    assert found["gain.rank_over_sample"].value == 0.25
    assert found["gain.filter"].value == 0
