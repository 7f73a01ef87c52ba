"""Evaluations as a picture: means with their intervals, and how long cases take."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, cast

from synthon.core.errors import UserError
from synthon.evals._extras import extra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from synthon.evals.evaluation import Evaluation
    from synthon.evals.statistics import Estimate

_FORMATS = (".png", ".svg", ".pdf")


def figure(width: float, height: float) -> Figure:
    """An empty figure, in inches; it belongs to no window."""
    return cast("Figure", extra("matplotlib.figure", "A plot").Figure(figsize=(width, height), layout="constrained"))


def checked(path: str | Path) -> None:
    """Refuse a path that no picture ends like.

    Raises:
        UserError: names those that do.
    """
    if Path(path).suffix.lower() not in _FORMATS:
        raise UserError(f"{str(path)!r} cannot be drawn: plots end in {', '.join(_FORMATS)}. Rename it.")


def plot(evaluations: Sequence[Evaluation], path: str | Path, *, by: str = "") -> None:
    """Write a picture as .png, .svg or .pdf: scores with 95 % intervals on the left, latencies on the right.

    Args:
        evaluations: one colour each.
        path: the file.
        by: a metadata key; its slices are drawn below the whole.

    Raises:
        UserError: another ending, no case has the key, or the file cannot be written.
        MissingExtra: what draws is not installed.
    """
    checked(path)
    rows = [_estimates(each, by) for each in evaluations]
    names = list(dict.fromkeys(name for row in rows for name in row))
    drawn = figure(10, 1.8 + 0.35 * len(names) * len(rows))
    scores, latencies = drawn.subplots(1, 2)
    for number, (each, row) in enumerate(zip(evaluations, rows, strict=True)):
        _scores(scores, each.name, row, [names.index(name) + 0.6 * (number + 0.5) / len(rows) for name in row])
        latencies.ecdf([measured.latency_s for measured in each.rows], label=_plain(each.name))
    scores.set_yticks([place + 0.3 for place in range(len(names))], [_plain(name) for name in names])
    scores.invert_yaxis()
    scores.set(xlabel="mean score, 95 % interval")
    latencies.set(xlabel="latency (s)", ylabel="share of cases", xlim=(0, None))
    latencies.legend(loc="lower right")
    saved(drawn, Path(path))


def saved(drawn: Figure, path: Path) -> None:
    """Write a figure, each letter in a font that has it; one that no font here has is a box.

    Raises:
        UserError: the file cannot be written.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from|Matplotlib currently does not support", UserWarning)
        drawn.draw_without_rendering()  # makes the labels of the axes
        texts = drawn.findobj(extra("matplotlib.text", "A plot").Text)
        families = _families({letter for each in texts for letter in map(ord, each.get_text())})
        for each in texts:
            each.set_fontfamily(families)
        try:
            drawn.savefig(path, dpi=150)
        except OSError as error:
            msg = f"{str(path)!r} cannot be written: {error}. Pass a path in a folder that is there."
            raise UserError(msg) from error


def _families(letters: set[int]) -> list[str]:
    """The user's fonts, then others of this machine that have what these lack."""
    fonts = extra("matplotlib.font_manager", "A plot")
    families: list[str] = list(fonts.FontProperties().get_family())
    missing = letters - {ord("\n")}
    for name in families:
        missing -= fonts.get_font(fonts.findfont(fonts.FontProperties(family=[name]))).get_charmap().keys()
    for font in sorted(fonts.fontManager.ttflist, key=lambda each: (each.style != "normal", each.name)):
        if missing and not font.name.startswith("Last Resort"):  # which has a box for every letter
            with suppress(OSError, RuntimeError):  # one of pictures, say, which cannot be read
                found = missing & fonts.get_font(font.fname).get_charmap().keys()
                families += [font.name] if found else []
                missing -= found
    return families


def _estimates(evaluation: Evaluation, by: str) -> dict[str, Estimate]:
    slices = evaluation.slices(by) if by else {}
    return {**evaluation.scores, **{f"{by} = {value}": estimate for value, estimate in slices.items()}}


def _scores(axes: Axes, name: str, row: dict[str, Estimate], heights: Sequence[float]) -> None:
    values = [each.value for each in row.values()]
    axes.errorbar(values, heights, xerr=arms(list(row.values())), fmt="o", capsize=3, label=_plain(name))


def arms(estimates: Sequence[Estimate]) -> list[list[float]]:
    """How far each interval reaches below and above its mean; where rounding says less than 0, it is 0.

    One without end reaches ten times as far as the largest number, so that it leaves the picture of these.
    """
    most = 10 * max((abs(each.value) for each in estimates), default=0.0) or 1.0
    return [
        [min(most, max(0.0, each.value - each.low)) for each in estimates],
        [min(most, max(0.0, each.high - each.value)) for each in estimates],
    ]


def _plain(label: str) -> str:
    """A label that is drawn as it is written, but for what no font has.

    Matplotlib reads what is between two dollars as a formula, and leaves what begins with _ out of a legend.
    """
    label = "".join(each if each.isprintable() or each == "\n" else "\ufffd" for each in label)
    return " " * label.startswith("_") + label.replace("$", r"\$")
