"""How far long work has come, as plain events; another room draws them."""

from __future__ import annotations

from collections.abc import Callable

from synthon.core.light import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """One report: rows done of `total` (None where unknown), how many failed, dollars billed so far."""

    done: int
    total: int | None
    failed: int = 0
    cost_usd: float | None = None
    label: str = ""


Watch = Callable[[Progress], None]
"""What is told how far long work has come; a bar on a terminal, or a function of yours."""
