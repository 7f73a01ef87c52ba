"""How much of this machine a process may use."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


def cores(quota: Path = _QUOTA) -> int:
    """The cores that this process may use: those it may run on, or fewer where its container gets less of their time.

    Args:
        quota: where Linux says it (cgroup v2): microseconds of computing, or `max`, in so many of the clock.
    """
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # there is none
        time, period = quota.read_text(encoding="ascii").split()
        found = max(1, min(found, int(time) // int(period)))
    return found
