"""Answer from documents, quotes first: verbatim sentences, then a short answer only if it holds up against them."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from synthon.core.budget import Budget
from synthon.core.errors import UserError
from synthon.core.program import Program, program
from synthon.core.recording import recorded
from synthon.core.running import new_id, run, span
from synthon.core.settings import knob
from synthon.core.step import step
from synthon.core.values import Message
from synthon.models import embedder, select
from synthon.retrieval import Index
from synthon.retrieval.clauses import clauses, keeps_to, speaks_to
from synthon.retrieval.quotes import Quote, Quotes, quote

if TYPE_CHECKING:
    from synthon.core.progress import Watch
    from synthon.core.protocols import Embedder, Model, Policy
    from synthon.core.values import JSON, Passage
    from synthon.retrieval.documents import Failed

#: Support below which the documents are said not to answer: loses 7 % of SQuAD's questions, refuses 78 % of those whose
#: paragraph is gone (benchmarks/rag_qa.py, which learns it again on half of its rows: 0.69 by seed 7).
THRESHOLD = 0.68
#: Lead of the first quote from which a small model's choice of a clause is shown: there the quote holds the gold answer
#: for 0.96 of SQuAD's questions, a third of which come that far and are spoken to.
LEAD = 1.15
#: A pattern for the model to go on with; its own words never come up.
_EXAMPLE = "Text: The bridge was opened by Anna Berg in 1931, after four years.\nQuestion: {}\nAnswer: {}\n\n"
_EXAMPLES = _EXAMPLE.format("Who opened the bridge?", "Anna Berg") + _EXAMPLE.format(
    "How long did the bridge take?", "four years"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """Quotes, best first, and a short answer where one holds up against them; `refused` says that nothing was found."""

    answer: str | None
    quotes: tuple[Quote, ...]
    refused: bool


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, its run, what its calls used, and the files not read; the keys of `synthon ask --json`."""

    answer: str | None
    quotes: tuple[Quote, ...]
    refused: bool
    run: str
    usage: dict[str, float]
    failed: tuple[Failed, ...] = ()

    def json(self) -> JSON:
        """The reply as JSON types."""
        plain: JSON = json.loads(json.dumps(asdict(self)))
        return plain


@step(temperature=0.0, max_tokens=120)
async def short_answer(question: str, quotes: list[str]) -> str:
    """Answer the question in one short sentence from the quotes alone, in their own words. Add nothing to them."""
    raise NotImplementedError


def quote_first(
    index: Index, embedder: Embedder, model: Model | None = None, *, tell: Callable[[Quotes], None] = lambda _: None
) -> Program[[str], Answer]:
    """A program `ask(question, *, k=5)` over an index.

    It quotes the documents, or refuses where their support is below `THRESHOLD`. Then `model` answers: one that can
    score chooses the likeliest of the best quote's clauses, and is asked only where that quote leads clearly; any other
    writes a sentence, which is shown only when it keeps to the quotes. Cost: one search, one embedding of some 25
    sentences, at most one model call; all but the search's own embedding are journaled.

    Args:
        embedder: the one the index was made with.
        model: None for quotes alone.
        tell: hears the quotes as soon as they are found.
    """

    @program
    async def ask(question: str, *, k: int = knob(5, 3, 8)) -> Answer:
        """Quote, then answer."""
        passages = await index.search(question, k=k)
        found = await _quoted(index, embedder, question, passages)
        if found.support < THRESHOLD:
            return Answer(None, (), refused=True)
        for each in found.quotes:
            _check(index, each)
        tell(found)
        texts = [each.text for each in found.quotes]
        if model is None:
            return Answer(None, found.quotes, refused=False)
        if "score" in model.capabilities:
            leads = found.lead >= LEAD and speaks_to(question, texts[0])
            text = await chosen(model, question, texts[0]) if leads else ""
        else:
            text = await short_answer.using(model=model)(question, texts)
        return Answer(text if keeps_to(text, texts, question) else None, found.quotes, refused=False)

    return ask


async def chosen(model: Model, question: str, text: str) -> str:
    """The clause of a quote that the model finds likeliest as the answer; free where there is only one.

    The embedded model's own sentences were wrong in 9 of 23 that kept to the quotes' words, its spans of a few words in
    half; clauses of a leading quote are nearly always right, so this is all it is trusted with.
    """
    plain = " ".join(text.split())
    options = clauses(question, plain)
    with span("short_answer", "step", {"question": question, "options": options}) as opened:
        prompt = (Message("user", f"{_EXAMPLES}Text: {plain}\nQuestion: {question}"), Message("assistant", "Answer:"))
        found = options[0]
        if len(options) > 1:
            found = (await select(model, prompt, [f" {option}" for option in options])).option.strip()
        opened.output = found
        return found


async def _quoted(index: Index, embedder: Embedder, question: str, passages: list[Passage]) -> Quotes:
    """The quotes, as a journaled call: asking again embeds nothing."""

    async def act() -> str:
        return json.dumps(asdict(await quote(question, passages, embedder)))

    given = [[each.document, each.start, each.end, each.score, each.text] for each in passages]
    arguments = {"question": question, "passages": given, "index": index.digest}
    row = json.loads(await recorded("quote", arguments, act, kind="search"))
    return Quotes(tuple(Quote(**each) for each in row["quotes"]), row["support"], row["lead"])


def _check(index: Index, found: Quote) -> None:
    """Hold a quote against the document it names.

    Raises:
        UserError: the document was changed between search and check.
    """
    if index.document(found.file).text[found.start : found.end] != found.text:
        msg = f"The document {found.file!r} changed while it was quoted at {found.start}:{found.end}. Ask again."
        raise UserError(msg)


async def ask_folder(
    path: str | Path,
    question: str,
    *,
    model: Model | None = None,
    k: int | None = None,
    policy: Policy = "cache",
    tell: Callable[[Quotes], None] = lambda _: None,
    progress: Watch | None = None,
) -> Reply:
    """Index a folder or file as far as it is new, then ask it; `synthon ask` prints this.

    The index lies in the user's cache (`$XDG_CACHE_HOME`, else `~/.cache`), one for each absolute path.

    Args:
        k: passages that are searched for sentences, at least 1; None takes the program's own default.

    Raises:
        UserError: nothing there can be indexed, or the question is blank.
        MissingExtra: the embedder or its weights are not on this machine.
    """
    try:  # no such user, a circle of links
        folder = await asyncio.to_thread(lambda: Path(path).expanduser().resolve())
    except (OSError, RuntimeError) as error:
        raise UserError(f"{str(path)!r} is no path: {error}. Pass a folder or a file.") from error
    used = embedder()
    with Index(index_path(folder), embedder=used) as index:
        added = await index.add(folder, progress=progress)
        if not len(index):
            msg = f"Nothing in {str(folder)!r} could be indexed: {added}. Pass a folder with readable documents."
            raise UserError(msg)
        asked = quote_first(index, used, model, tell=tell)
        budget = Budget(calls=1_000_000)  # to count, not to limit
        program_ = asked if k is None else asked.using(k=k)
        answer = await run(program_, question, run_id=(run_id := new_id()), policy=policy, budget=budget)
    usage = {**budget.spent._asdict(), "billed_usd": budget.billed_usd}
    return Reply(answer.answer, answer.quotes, answer.refused, run_id, usage, added.failed)


def index_path(folder: Path) -> Path:
    """Where the index of an absolute path lies."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:32]
    return cache / "synthon" / "indexes" / f"{digest}.db"
