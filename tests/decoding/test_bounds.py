"""What takes too long is given up, few such things are at work at once, and others are not kept waiting."""

from __future__ import annotations

import functools
import operator
import subprocess
import sys
import threading
import time

import pytest

import synthon as sy
from synthon.core.errors import SchemaTooLarge
from synthon.core.output import schema
from synthon.decoding import Vocabulary, compiled, schemas, soundness, unmet
from synthon.decoding.schemas import MAX_LATE, within


def letters() -> Vocabulary:
    tokens = [*(bytes([byte]) for byte in range(256)), b"<end>"]
    return Vocabulary(tokens, ends=frozenset({256}), eos=256, control=frozenset({256}), tokenize=list)


def test_few_of_those_that_take_too_long_are_at_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemas, "_late", [])  # those that other tests left behind
    go_on = threading.Event()
    try:
        for _ in range(MAX_LATE):
            with pytest.raises(SchemaTooLarge, match="takes longer"):
                within(time.monotonic() + 0.05, go_on.wait)
        with pytest.raises(SchemaTooLarge, match="still being compiled"):
            within(time.monotonic() + 5, threading.active_count)
    finally:
        go_on.set()
    until = time.monotonic() + 30
    while time.monotonic() < until:
        try:
            assert within(time.monotonic() + 30, lambda: "made") == "made"
            break
        except SchemaTooLarge:
            time.sleep(0.05)
    else:
        pytest.fail("those that had ended were counted on")


def test_what_was_refused_after_a_long_time_is_refused_at_once_for_a_while() -> None:
    vocabulary, tries = letters(), list[str]()

    def refused(key: str, wait_s: float) -> None:
        def make() -> None:
            tries.append(key)
            time.sleep(wait_s)
            raise SchemaTooLarge(f"{key} is too large.")

        with pytest.raises(SchemaTooLarge, match=f"{key} is too large"):
            vocabulary.kept(key, make)

    for key, wait_s in (("slow", 1.2), ("slow", 0.0), ("quick", 0.0), ("quick", 0.0)):
        refused(key, wait_s)
    assert tries == ["slow", "quick", "quick"]


def test_of_many_patterns_for_one_text_a_mask_holds_some_and_the_check_all() -> None:
    shape = schema({"type": "string", "allOf": [{"pattern": f"a.{{{n}}}b"} for n in range(1, 30)]})
    compiled(shape, letters())
    how = [row.how for row in soundness(shape) if row.keyword == "pattern"]
    assert len(how) == 29
    assert how.count("checked") >= 17
    assert "does not match" in unmet(shape, '"axb axxb"')
    assert unmet(shape, f'"{"a" * 30}{"b" * 30}"') == ""


BRANCHES = """
import time
from synthon.core.output import schema
from synthon.decoding import soundness

numbers = {"oneOf": [{"const": number} for number in range(64)]}
branch = {"type": "object", "properties": {"a": numbers, "b": numbers}, "required": ["a", "b"]}
began = time.process_time()
rows = soundness(schema({"oneOf": [branch] * 40}))
assert {row.how for row in rows if row.keyword == "oneOf"} == {"enforced", "checked"}
assert soundness(schema({"oneOf": [branch] * 41}))
print(time.process_time() - began)
"""


def test_branches_are_compared_up_to_a_bound_for_all_of_a_schema() -> None:
    """In a process of its own: what tests before this one gave up may be at work for long."""
    done = subprocess.run([sys.executable, "-c", BRANCHES], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 4


def test_whether_predicates_contradict_each_other_is_told_in_bounded_time() -> None:
    parts = [sy.regex(f"(a|b)*a(a|b){{{number}}}") for number in range(5, 25)]
    began = time.monotonic()
    with pytest.raises(SchemaTooLarge):
        compiled(functools.reduce(operator.and_, parts), letters())
    assert time.monotonic() - began < 6
