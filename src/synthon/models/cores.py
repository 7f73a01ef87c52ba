"""How much of this machine a process may use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")
#: Of cgroup v2 and v1: microseconds of computing (`max` or -1 where there is no limit) in so many of the clock.
_QUOTAS = ("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")


def cores(group: Path = _GROUP) -> int:
    """The cores that this process may use: those it may run on, or fewer where its container gets less of their time.

    Args:
        group: the folder in which Linux says so, as a container sees it.
    """
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for names in _QUOTAS:
        with suppress(OSError, ValueError):  # there is none
            time, period = map(int, " ".join((group / name).read_text(encoding="ascii") for name in names).split())
            found = max(1, min(found, time // period)) if time > 0 else found
    return found
