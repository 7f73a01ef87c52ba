"""The cores a process may use are those it is bound to, or fewer where its container gets less of their time."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from synthon.models.cores import cores

if TYPE_CHECKING:
    from pathlib import Path


_SAID = [
    ("max 100000", 4),
    ("200000 100000", 2),
    ("150000 100000", 1),
    ("50000 100000", 1),
    ("900000 100000", 4),
    ("", 4),
]


@pytest.fixture(autouse=True)
def _four(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)


@pytest.mark.parametrize(("said", "most"), _SAID)
def test_a_quota_of_a_container_is_kept(tmp_path: Path, said: str, most: int) -> None:
    (tmp_path / "cpu.max").write_text(said)
    assert cores(tmp_path) == most
    assert cores(tmp_path / "none") == 4


@pytest.mark.parametrize(("said", "most"), [("-1 100000", 4), *_SAID[1:-1]])
def test_so_is_one_of_an_older_kernel(tmp_path: Path, said: str, most: int) -> None:
    (tmp_path / "cpu").mkdir()
    for name, number in zip(("quota", "period"), said.split(), strict=True):
        (tmp_path / "cpu" / f"cpu.cfs_{name}_us").write_text(f"{number}\n")
    assert cores(tmp_path) == most


def test_this_machine_says_at_least_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 1 <= cores() <= (os.cpu_count() or 1)
