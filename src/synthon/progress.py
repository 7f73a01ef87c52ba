"""Draw progress on a terminal from the kernel's events."""

from __future__ import annotations

import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.progress import Task
    from rich.text import Text

    from synthon.core.progress import Progress, Watch


@contextmanager
def bar(label: str) -> Iterator[Watch]:
    """A watcher that draws a bar on stderr with rate, time left, failures and money billed; quiet if it is no terminal.

    The watcher may be called from any thread. The bar stays as it was when the block ends.
    """
    if not sys.stderr.isatty():
        yield _ignore
        return
    # rich takes 50 ms to load: only who sees the bar pays that
    from rich.console import Console  # noqa: PLC0415
    from rich.errors import LiveError  # noqa: PLC0415
    from rich.progress import BarColumn, ProgressColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.progress import Progress as Display  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    class Words(ProgressColumn):
        """The numbers beside the bar."""

        def render(self, task: Task) -> Text:
            return Text(_numbers(task.fields["event"], task.finished_speed or task.speed))

    class Label(ProgressColumn):
        """What is being done; never read as markup."""

        def render(self, task: Task) -> Text:
            return Text(task.description)

    display = Display(Label(), BarColumn(), Words(), TimeRemainingColumn(compact=True), console=Console(stderr=True))
    try:
        display.start()
    except LiveError:  # rich before 14.1 draws one display at a time: the outer one stays
        yield _ignore
        return
    task = display.add_task(label, total=None, event=None)
    furthest, order = 0, threading.Lock()

    def watch(event: Progress) -> None:
        nonlocal furthest
        with order:  # events of several threads overtake each other
            if event.done >= furthest:
                furthest = event.done
                named = event.label or label
                display.update(task, completed=event.done, total=event.total, description=named, event=event)

    try:
        yield watch
    finally:
        display.stop()


def _ignore(event: Progress) -> None:
    """Nobody watches."""


def _numbers(event: Progress | None, per_second: float | None) -> str:
    if event is None:
        return ""
    said = [f"{event.done:,}/{event.total:,}" if event.total is not None else f"{event.done:,}"]
    if per_second:
        said.append(f"{per_second:,.1f}/s" if per_second >= 1 else f"{60 * per_second:,.1f}/min")
    if event.failed:
        said.append(f"{event.failed:,} failed")
    if event.cost_usd is not None:
        said.append(f"${event.cost_usd:,.4f}")
    return "  ".join(said)


__all__ = ["bar"]
