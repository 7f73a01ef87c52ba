"""A verdict is right as often as it says."""

from __future__ import annotations

import numpy as np
import pytest

import synthon as sy
from synthon.optimize.certificate import certificate, without_luck
from synthon.optimize.certifying import certify
from tests.optimize.programs import System, right, rows


def outcomes(n: int, gain: float, discordant: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two programs: so many cases differ, and so much more often for the first."""
    generator = np.random.default_rng(seed)
    kind = generator.choice(4, n, p=[(discordant + gain) / 2, (discordant - gain) / 2, 0.5, 0.5 - discordant])
    return np.isin(kind, (0, 2)).astype(float), np.isin(kind, (1, 2)).astype(float)


def test_no_gain_is_rarely_called_one_and_a_planted_one_is_mostly_found() -> None:
    null = [certificate(*outcomes(600, 0.0, 0.2, seed)).verdict for seed in range(200)]
    assert null.count("better") <= 13
    planted = [certificate(*outcomes(600, 0.06, 0.2, seed)).verdict for seed in range(200)]
    assert planted.count("better") >= 160
    worse = [certificate(*outcomes(600, -0.06, 0.2, seed)).verdict for seed in range(50)]
    assert worse.count("worse") >= 35
    assert "better" not in worse


def test_the_smallest_gain_that_is_likely_found_is_said() -> None:
    found = certificate(*outcomes(600, 0.0, 0.2, 0))
    assert 0.05 < found.detectable < 0.065
    few = certificate([1.0, 0.5, 0.0], [0.0, 0.25, 0.0])
    assert few.verdict == "no real gain"
    assert few.detectable == np.inf
    assert "so few cases can show nothing" in str(few)
    ten = certificate([1.0, 0.5, 0.0, 1.0, 0.25] * 2, [0.0, 0.25, 0.0, 1.0, 0.5] * 2)
    assert 0.2 < ten.detectable < 1


def test_no_scores_are_no_certificate() -> None:
    with pytest.raises(sy.UserError, match="asked of no scores"):
        certificate([], [])


def test_each_further_look_at_the_same_rows_is_judged_more_strictly() -> None:
    once, often = (certificate(*outcomes(600, 0.05, 0.2, 4), looks=looks) for looks in (1, 3))
    assert once.verdict == "better"
    assert often.verdict == "no real gain"
    assert often.p == pytest.approx(6 * once.p)  # 3 * 4 over 1 * 2
    assert often.gain.high - often.gain.low > once.gain.high - once.gain.low
    assert "over 3 looks" in str(often)


@pytest.mark.parametrize("looks", [22, 40])
def test_a_large_gain_of_any_scores_is_found_at_a_late_look_too(looks: int) -> None:
    generator = np.random.default_rng(1)
    scores = generator.uniform(0.0, 0.4, (2, 60))
    assert certificate(scores[0] + 0.5, scores[1], looks=looks).verdict == "better"
    assert certificate(scores[0] + 0.02, scores[1], looks=looks).verdict == "no real gain"


def test_however_often_the_same_rows_are_asked_few_test_sets_give_a_false_verdict() -> None:
    generator, n, false = np.random.default_rng(3), 200, 0
    for _ in range(200):
        baseline = (generator.random(n) < 0.5).astype(float)
        programs = [np.where(generator.random(n) < 0.2, 1 - baseline, baseline) for _ in range(8)]
        verdicts = [certificate(each, baseline, looks=look).verdict for look, each in enumerate(programs, 1)]
        false += any(verdict != "no real gain" for verdict in verdicts)
    assert false <= 10  # of 200, at a level of 5 in 100; p-values times the number of the look gave 17


def test_the_luck_of_the_pick_is_taken_off() -> None:
    generator = np.random.default_rng(0)
    table = (generator.random((40, 60)) < 0.5).astype(float)  # forty programs, none better than a coin
    assert table.mean(axis=1).max() > 0.6
    assert without_luck(table) < 0.56
    assert without_luck(table[:1]) == table[0].mean()
    picked = table.mean(axis=1).argmax()
    few = np.where(np.arange(60) % 4 < 3, table, np.nan)  # the others were measured on three rows of four
    few[picked] = table[picked]
    assert without_luck(few) < 0.56


async def test_looks_are_counted_in_the_journal_and_shared_rows_are_told() -> None:
    system, journal, test = System(), sy.MemoryJournal(), rows(50)
    other = [system.program.using({"label.model": model}) for model in (system.small.model(1), system.large.model(30))]
    known = {"training": rows(20), "validation": rows(20, 500)}
    looks = []
    for program in (other[0], other[1], other[1]):
        found = await certify(program, test, against=system.program, metric=right, journal=journal, known=known)
        looks.append(found.looks)
        (warning,) = found.warnings
        assert warning.startswith("training: 20 pairs of cases with the same inputs")
    assert looks == [1, 2, 2]
    again = await certify(other[1], (row for row in test), against=system.program, metric=right, journal=journal)  # type: ignore[arg-type] # rows once
    assert (again.looks, again.gain.n) == (2, 50)
    with pytest.raises(sy.UserError, match="no test rows"):
        await certify(other[0], [], against=system.program, metric=right)


async def says_yes_to_few(text: str) -> str:
    return "yes" if int(text) < 8 else "no"


async def says_no(text: str) -> str:
    return "no"


def numbered(n: int) -> list[sy.Case[str]]:
    return [sy.Case({"text": str(at)}, "yes" if at < 8 else "no") for at in range(n)]


async def test_every_number_of_a_certificate_has_its_interval() -> None:
    system = System()
    large = system.program.using({"label.model": system.large.model(30)})
    exact = sy.metrics.exact_match
    found = await certify(large, rows(30), against=system.program, metric=exact, journal=sy.MemoryJournal())
    ours, theirs = found.costs["usd a call"]
    assert ours is not None
    assert theirs is not None
    assert theirs.value < ours.value == pytest.approx((ours.low + ours.high) / 2, rel=0.1)
    shown = str(found).splitlines()
    assert [line.count("[") for line in shown if "baseline" in line] == [2, 2, 2, 2]
    unpriced = await certify(says_no, numbered(4), against=large, metric=exact, journal=sy.MemoryJournal())
    assert unpriced.costs["tokens in a call"][0] is not None
    one = await certify(says_yes_to_few, numbered(1), against=says_no, metric=exact, journal=sy.MemoryJournal())
    assert str(one).startswith("no real gain: +1.000 [-1.000, +1.000] on 1 held-out cases")
    assert "nan" not in str(one)


async def test_rows_that_come_again_are_no_further_proof() -> None:
    six, exact = numbered(10)[4:], sy.metrics.exact_match  # four of them differ
    renamed = [sy.Case(case.inputs, case.expected, {"copy": 1}, id=f"copy of {case.id}") for case in six]
    once = await certify(says_yes_to_few, six, against=says_no, metric=exact, journal=sy.MemoryJournal())
    often = await certify(
        says_yes_to_few, [*six * 4, *renamed], against=says_no, metric=exact, journal=sy.MemoryJournal()
    )
    assert (often.verdict, often.p, often.gain) == ("no real gain", once.p, once.gain)
    assert often.gain.n == 6
    assert (once.warnings, often.warnings) == ((), ("24 rows are repeated; each was judged once",))


async def test_another_order_of_the_rows_is_the_same_look() -> None:
    cases, journal = numbered(30), sy.MemoryJournal()
    looks = [
        await certify(says_yes_to_few, order, against=says_no, metric=sy.metrics.exact_match, journal=journal)
        for order in (cases, cases[::-1], cases[5:] + cases[:5], cases * 2)
    ]
    assert [each.looks for each in looks] == [1, 1, 1, 1]
    other = await certify(says_no, cases, against=says_no, metric=sy.metrics.exact_match, journal=journal)
    assert other.looks == 2
