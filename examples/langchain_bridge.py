"""A chain of LangChain's over our index and embedded model, and that chain as a part of a program.

There, one writes `retriever | prompt | model | parser` over an integration package and a vector store, and watches it
in LangSmith. Here, `lc.to_retriever` and `lc.to_model` put an `sy.Index` and any model of ours into the same chain, a
step of ours is one more runnable in it, and `lc.runnable` makes the whole a component that a program awaits: every
search and call in it is a row of the journal, so the second run of the same id asks nobody.

Enforced: the kind of a question is one of three, chosen by score; a run that is made again makes no call twice; nothing
is sent anywhere, whatever LANGSMITH_TRACING says. Not enforced: that the free text of a model of 135 million parameters
is right.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import synthon as sy
from synthon.bridges import langchain as lc
from synthon.retrieval import Document

NOTES = (
    Document("The storks came back to the village on the third of March.", "storks"),
    Document("The ferry to the island leaves at nine from the old pier.", "ferry"),
    Document("A ticket for the ferry costs four francs.", "tickets"),
)


@dataclass(frozen=True)
class Shown:
    """An answer, the kind of question it answers, and the calls each of the two runs made."""

    kind: str
    answer: str
    calls: tuple[int, int]


@sy.step
async def kind(question: str) -> Literal["place", "time", "price"]:
    """Say what the question asks for."""
    ...


def chain(index: sy.Index, model: sy.Model) -> Any:
    """LangChain's own retrieval chain, with our parts in it.

    Raises:
        MissingExtra: langchain-core is not installed.
    """
    retriever, chat = lc.to_retriever(index, k=1), lc.to_model(model)
    from langchain_core.output_parsers import StrOutputParser  # noqa: PLC0415 - known to be there by now
    from langchain_core.prompts import ChatPromptTemplate  # noqa: PLC0415 - same
    from langchain_core.runnables import RunnablePassthrough  # noqa: PLC0415 - same

    prompt = ChatPromptTemplate.from_template("{context}\nAnswer in one short sentence: {question}")
    found = {"context": retriever | (lambda documents: documents[0].page_content), "question": RunnablePassthrough()}
    answered = found | prompt | chat.bind(temperature=0.0, max_tokens=24) | StrOutputParser()
    return RunnablePassthrough.assign(kind=lc.to_runnable(kind.using(model=model))) | {
        "kind": lambda given: given["kind"],
        "answer": (lambda given: given["question"]) | answered,
    }


async def main(tell: Callable[[str], None] = print) -> Shown:
    """Ask the chain twice in one run, as after a kill."""
    with tempfile.TemporaryDirectory() as folder, sy.Index(Path(folder) / "notes.db", embedder="none") as index:
        await index.add(NOTES)
        ask = lc.runnable(chain(index, sy.local()), name="ask", record=False)

        @sy.program
        async def notes(question: str) -> Any:
            return await ask({"question": question})

        journal, calls = sy.MemoryJournal(), []
        for _ in range(2):
            before = len(journal.records)
            found = await sy.run(notes, "When does the ferry leave?", journal=journal, run_id="ferry")
            calls.append(sum(isinstance(row, sy.CallRecord) for row in journal.records[before:]))
            tell(f"{found['kind']}: {found['answer']} ({calls[-1]} searches and calls were made)")
    return Shown(found["kind"], found["answer"], (calls[0], calls[1]))


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except sy.MissingExtra as error:
        print(error)
