"""A program's accepted answers as chats that a model can be trained on."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from synthon.core.errors import Unsupported, UserError
from synthon.core.identity import adapter
from synthon.core.settings import entered
from synthon.core.values import Message, Text
from synthon.evals.evaluating import opened
from synthon.optimize.learning import Teacher, fitting, labelled, refuse_namesakes

if TYPE_CHECKING:
    from synthon.core.budget import Budget
    from synthon.core.constraints import Layout
    from synthon.core.program import Program
    from synthon.core.protocols import AnyJournal
    from synthon.core.render import Demo
    from synthon.core.settings import Settings
    from synthon.core.step import Step
    from synthon.evals import Case, Metric

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    Attributes:
        files: by step, JSON lines: `{"messages": [{"role", "content"}, ...]}`, the assistant's turn last.
        examples: lines in each.
        rows: training rows, and `accepted` those whose answers were taken.
        repeated: examples left out because an equal one was there.
        unfit: answers left out because they are not of their step's own type, as those of a strategy's own questions.
    """

    files: Mapping[str, Path]
    examples: Mapping[str, int]
    rows: int
    accepted: int
    repeated: int
    unfit: int

    def __str__(self) -> str:
        told = ", ".join(f"{count} of {name!r}" for name, count in self.examples.items())
        left = f"{self.repeated} repeated, {self.unfit} unfit left out"
        return f"{told}; from {self.accepted} of {self.rows} rows; {left}"


async def export(
    program: Program[P, T] | Step[P, T],
    train: Sequence[Case[Any]],
    path: str | Path,
    *,
    metric: Metric[Any, T],
    teacher: Callable[..., Awaitable[object]] | None = None,
    journal: AnyJournal | None = None,
    budget: Budget | None = None,
    accept: float = 1.0,
    workers: int = 8,
) -> Exported:
    """Write what a program's steps should answer as chats, one file a step, in the form that trainers read.

    A program of one step that takes the rows' inputs and gives their answers needs no run: rows are examples. Any other
    is run on all rows, and of those that the metric accepts each step's inputs and output are kept (BootstrapFinetune,
    Khattab 2023, arXiv:2310.03714). The messages are those that the step sends under the program's settings, with its
    demonstrations, whoever gave the answer.

    Args:
        program: whose steps will be asked like that.
        train: rows; none of them may be in validation or test sets.
        path: of the folder; it is made, and a step's file in it replaced.
        metric: of the whole.
        teacher: gives the answers in place of the program, say `program.using(model=larger)`; then it is always run.
        journal: or the path of one; the default one, or one in memory.
        budget: of the run.
        accept: a row is kept from this score on.
        workers: rows at once.

    Raises:
        UserError: no row gave an example.
        Unsupported: a step's messages hold images.
    """
    parts = program.parts()
    refuse_namesakes(parts)
    found = labelled(program, parts, train) if teacher is None and len(parts.steps) == 1 else {}
    accepted = sum(map(len, found.values()))
    if not found:
        with opened(journal) as kept:
            asked = Teacher(teacher or program, metric, kept, budget, accept, workers)
            found, accepted = await asked.accepted(train)
    dropped: Counter[str] = Counter()
    chats: dict[str, dict[str, None]] = {}
    for step in parts.steps:
        for demo in found.get(step.name, ()):
            line = await _chat(step, demo, program.settings)
            lines = chats.setdefault(step.name, {})
            dropped["unfit" if line is None else "repeated"] += line is None or line in lines
            lines.update({} if line is None else {line: None})
    chats = {name: lines for name, lines in chats.items() if lines}
    if not chats:
        msg = (
            f"No row of {len(train)} gave an example of {program.name!r}: the metric accepted {accepted} with "
            f"accept={accept!r}. Lower accept=, pass a better teacher=, or more rows."
        )
        raise UserError(msg)
    counts = {name: len(lines) for name, lines in chats.items()}
    files = _written(Path(path), chats)
    return Exported(files, counts, len(train), accepted, dropped["repeated"], dropped["unfit"])


def _written(folder: Path, chats: Mapping[str, Mapping[str, None]]) -> dict[str, Path]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{str(folder)!r} cannot be the folder: {error}. Pass one, there or not.") from error
    files = {name: folder / f"{name}.jsonl" for name in chats}
    for name, lines in chats.items():
        files[name].write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return files


async def _chat(step: Step[..., Any], demo: Demo, settings: Settings) -> str | None:
    """One line: what the step sends for these inputs, and this output as its model should write it."""
    values = fitting(step, demo.output)
    if not values:
        return None
    talks = {name: adapter(list[Message]).validate_python(demo.inputs[name]) for name in step.talks}
    with entered(settings):
        messages = (await step.explain(**{**demo.inputs, **talks})).messages
        answer = step.output.written(values[0], cast("Layout", step.setting("layout")))
    turns = [{"role": turn.role, "content": _text(step, turn)} for turn in messages]
    return json.dumps({"messages": [*turns, {"role": "assistant", "content": answer}]}, ensure_ascii=False)


def _text(step: Step[..., Any], turn: Message) -> str:
    if isinstance(turn.content, str) or all(isinstance(part, Text) for part in turn.content):
        return turn.text
    kinds = sorted({type(part).__name__ for part in turn.content})
    msg = f"Step {step.name!r} sends {', '.join(kinds)}, and only texts can be exported. Train it elsewhere."
    raise Unsupported(msg)


__all__ = ["Exported", "export"]
