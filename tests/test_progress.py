"""The bar on a real (pseudo) terminal, and silence elsewhere."""

from __future__ import annotations

import os
import pty
import re
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from synthon import Progress
from synthon.progress import bar

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def terminal() -> Iterator[list[str]]:
    """Stderr is a terminal of 120 columns meanwhile; the list's one item is what it was sent, without colours."""
    leader, follower = pty.openpty()
    written, seen = bytearray(), [""]

    def read() -> None:
        while True:
            try:
                piece = os.read(leader, 65_536)
            except OSError:  # Linux's end of file on a terminal
                return
            written.extend(piece)

    reader = threading.Thread(target=read)
    reader.start()
    with pytest.MonkeyPatch.context() as patch, os.fdopen(follower, "w") as stderr:
        patch.setattr(sys, "stderr", stderr)
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", "120")
        yield seen
    reader.join()
    os.close(leader)
    seen[0] = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode()).replace("\r", "\n")


def last(seen: str, label: str) -> str:
    return [line for line in seen.splitlines() if line.startswith(label)][-1]


def test_a_terminal_sees_count_failures_and_money() -> None:
    with terminal() as seen, bar("rows [red]") as watch:
        watch(Progress(3, 10))
        watch(Progress(1_000, 1_000, failed=2, cost_usd=0.25))
    line = last(seen[0], "rows [red]")
    assert "1,000/1,000" in line
    assert "2 failed" in line
    assert "$0.2500" in line


def test_events_that_arrive_late_do_not_turn_the_bar_back() -> None:
    with terminal() as seen, bar("rows") as watch:
        threads = [threading.Thread(target=watch, args=(Progress(done, 10),)) for done in (10, 4, 7)]
        for thread in threads:
            thread.start()
            thread.join()
    assert "10/10" in last(seen[0], "rows")


def test_a_bar_inside_a_bar_leaves_the_outer_one_alone() -> None:
    with terminal() as seen, bar("outer") as outer:
        with bar("inner") as inner:
            inner(Progress(5, None, label="renamed"))
        outer(Progress(2, 2))
    assert "2/2" in last(seen[0], "outer")


def test_an_event_may_rename_the_bar_and_need_not_know_the_end() -> None:
    with terminal() as seen, bar("rows") as watch:
        watch(Progress(5, None, label="renamed"))
    assert re.search(r" 5 ", last(seen[0], "renamed"))


def test_elsewhere_nothing_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    with bar("rows") as watch:
        watch(Progress(1, 2, failed=1, cost_usd=1.0))
    assert capfd.readouterr() == ("", "")
