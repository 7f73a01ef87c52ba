"""Ask Python's own language reference, with quotes, a trace and a cache, on this machine alone."""

from __future__ import annotations

import asyncio
import os
import pydoc_data.topics
import sys
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import synthon as sy
from synthon.cli import main as synthon
from synthon.progress import bar
from synthon.systems import ask_folder

if TYPE_CHECKING:
    from synthon.systems import Reply

QUESTIONS = (
    "Since which Python version may a continue statement stand in the finally clause?",
    "Can a dictionary key be a list?",
    "What does the nonlocal statement do?",
    "Who won the football world championship in 2014?",
)


@sy.step
async def kind(question: str) -> Literal["statement", "expression", "type"]:
    """Say what part of the Python language the question is about."""
    ...


@sy.step(temperature=0.0, max_tokens=24)
async def keywords(question: str) -> str:
    """Give three keywords to look this question up in an index, separated by commas."""
    ...


@sy.program
async def sort(questions: list[str]) -> list[str]:
    """Two small steps for each question."""
    return [f"{await kind(question)}: {await keywords(question)}" for question in questions]


@dataclass(frozen=True)
class Counting:
    """A model that counts the requests which reach it."""

    model: sy.Model
    calls: list[sy.Request] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def identity(self) -> str:
        return self.model.identity

    @property
    def capabilities(self) -> frozenset[sy.Capability]:
        return self.model.capabilities

    async def complete(self, request: sy.Request, emit: sy.Emit = sy.discard) -> sy.Completion:
        self.calls.append(request)
        return await self.model.complete(request, emit)


def write_reference(folder: Path) -> int:
    """Python's language reference as one file a topic; returns how many."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pydoc_data.topics.topics.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return len(pydoc_data.topics.topics)


def show(question: str, reply: Reply, seconds: float) -> None:
    print(f"\n\033[1m{question}\033[0m   ({seconds:.1f} s, {reply.usage['calls']} model calls)")
    if reply.refused:
        print("  Not in the documents.")
    if reply.answer:
        print(f"  {reply.answer}")
    for quote in reply.quotes:
        text = " ".join(quote.text.split())
        print(textwrap.fill(f"“{text}”", 110, initial_indent="  > ", subsequent_indent="    ", break_on_hyphens=False))
        print(f"    {quote.file}, characters {quote.start}-{quote.end}")


async def rerun(model: sy.Journaled) -> None:
    """Change one step: only its calls reach the model again."""
    counting = Counting(model.model)
    program = sort.using(model=sy.Journaled(counting))
    changed = program.using({"keywords.instruction": "Name one Python keyword that the question is about."})
    asked = list(QUESTIONS[:3])
    journal = sy.MemoryJournal()
    print("\n\033[1mAsking again, and after a change of one of two steps\033[0m   (3 questions, 2 steps each)")
    for what, variant in (("first time", program), ("again", program), ("one step changed", changed)):
        before = len(counting.calls)
        await sy.run(variant, asked, journal=journal, policy="cache")
        print(f"  {what:<17} {len(counting.calls) - before} of 6 calls reached the model")


def main() -> int:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "synthon" / "demo" / "python-reference"
    count = write_reference(folder)
    print(f"Python's language reference, {count} topics, as files in {folder}")
    print("Indexing what is new (a minute the first time) ...", flush=True)
    model = sy.local()
    reply: Reply | None = None
    for question in QUESTIONS:
        started = time.perf_counter()
        with bar("indexing") as watch:
            reply = asyncio.run(ask_folder(folder, question, model=model, progress=watch))
        show(question, reply, time.perf_counter() - started)
        if question == QUESTIONS[0]:
            traced = reply.run
    print("\n\033[1mThe first question's run\033[0m   (synthon trace show)")
    synthon(["trace", "show", traced])
    asyncio.run(rerun(model))
    print(
        "\nWhere to go next:\n"
        f'  .venv/bin/synthon ask {folder} "your own question"      any folder of documents will do\n'
        "  .venv/bin/synthon trace list                            every run is kept; `synthon trace show RUN`\n"
        "  README.md, docs/ask.md                                  the same from Python, in 20 lines"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
