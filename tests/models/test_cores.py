"""The cores a process may use are those it is bound to, or fewer where its container gets less of their time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from synthon.models.cores import cores

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("said", "most"),
    [("max 100000", 4), ("200000 100000", 2), ("150000 100000", 1), ("50000 100000", 1), ("900000 100000", 4), ("", 4)],
)
def test_a_quota_of_a_container_is_kept(tmp_path: Path, said: str, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    quota = tmp_path / "cpu.max"
    quota.write_text(said)
    assert cores(quota) == most
    assert cores(tmp_path / "none") == 4


def test_this_machine_says_at_least_one() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
