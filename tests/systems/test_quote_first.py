from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import synthon as sy
from synthon import systems
from synthon.cli import main
from synthon.retrieval import Document
from synthon.retrieval.quotes import Quotes
from synthon.systems import ask_folder, quote_first
from synthon.systems.quote_first import index_path
from tests.retrieval.embedding import WordEmbedder

DOCUMENTS = {
    "bridge.txt": "The bridge was opened by Anna Berg in 1931. Ships pass below it.\r\nTolls were dropped later.",
    "cheese.md": "# Cheese\n\nCheese is kept at 12 degrees. The cellar is locked in winter.\n",
}
QUESTION = "Who opened the bridge?"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "documents"
    place.mkdir()
    for name, text in DOCUMENTS.items():
        (place / name).write_bytes(text.encode())
    return place


def test_the_systems_can_be_imported_without_the_extras() -> None:
    names = [f"synthon.systems.{path.stem}" for path in Path(systems.__file__).parent.glob("[a-z]*.py")]
    assert len(names) > 3
    extras = ["jinja2", "llama_cpp", "onnxruntime", "semchunk", "Stemmer", "tokenizers", "usearch"]
    code = f"import sys; sys.modules.update(dict.fromkeys({extras})); import {', '.join(names)}"
    subprocess.run([sys.executable, "-c", code], check=True)


async def opened(folder: Path, embedder: WordEmbedder) -> sy.Index:
    index = sy.Index(folder.parent / "index.db", embedder=embedder)
    await index.add(folder)
    return index


class Scripted:
    """A chat model that says one thing and counts."""

    def __init__(self, text: str) -> None:
        self.asked: list[sy.Request] = []
        self.model = sy.Journaled(sy.FunctionModel(self._say), price=sy.Price(1.0, 2.0))
        self._text = text

    def _say(self, request: sy.Request) -> sy.Completion:
        self.asked.append(request)
        return sy.Completion(self._text, usage=sy.Usage(input_tokens=10, output_tokens=5))


async def test_a_quote_is_the_characters_of_the_file(folder: Path) -> None:
    embedder = WordEmbedder()
    with await opened(folder, embedder) as index:
        answer = await quote_first(index, embedder)(QUESTION)
    assert answer.answer is None
    assert not answer.refused
    for quote in answer.quotes:
        assert (folder / quote.file).read_bytes().decode()[quote.start : quote.end] == quote.text


async def test_an_answer_that_keeps_to_the_quotes_is_shown(folder: Path) -> None:
    embedder, scripted = WordEmbedder(), Scripted("Anna Berg opened it in 1931.")
    with await opened(folder, embedder) as index:
        answer = await quote_first(index, embedder, scripted.model)(QUESTION)
    assert answer.answer == "Anna Berg opened it in 1931."
    assert len(scripted.asked) == 1
    assert "opened by Anna Berg" in scripted.asked[0].messages[-1].text


@pytest.mark.parametrize("said", ["Bob opened it.", "Anna Berg opened it in 1932.", "It was not opened by Anna Berg."])
async def test_an_answer_that_adds_something_is_withheld(folder: Path, said: str) -> None:
    embedder = WordEmbedder()
    with await opened(folder, embedder) as index:
        answer = await quote_first(index, embedder, Scripted(said).model)(QUESTION)
    assert answer.answer is None
    assert answer.quotes


async def test_what_the_documents_do_not_know_is_refused_before_a_model_is_asked(folder: Path) -> None:
    embedder, scripted, told = WordEmbedder(), Scripted("Lactase."), list[Quotes]()
    with await opened(folder, embedder) as index:
        program = quote_first(index, embedder, scripted.model, tell=told.append)
        answer = await program("Which enzyme splits lactose?")
    assert answer.refused
    assert (answer.answer, answer.quotes, scripted.asked, told) == (None, (), [], [])


async def test_asking_again_embeds_and_asks_nothing(folder: Path) -> None:
    embedder, scripted = WordEmbedder(), Scripted("Anna Berg opened it in 1931.")
    with await opened(folder, embedder) as index:
        program = quote_first(index, embedder, scripted.model)
        journal = sy.MemoryJournal()
        first = await sy.run(program, QUESTION, journal=journal, policy="cache")
        before = len(embedder.texts)
        assert await sy.run(program, QUESTION, journal=journal, policy="cache") == first
        assert len(scripted.asked) == 1
        assert len(embedder.texts) == before


async def test_a_changed_document_is_read_again(folder: Path) -> None:
    embedder = WordEmbedder()
    with await opened(folder, embedder) as index:
        program = quote_first(index, embedder)
        journal = sy.MemoryJournal()
        await sy.run(program, QUESTION, journal=journal, policy="cache")
        (folder / "bridge.txt").write_text("The bridge was opened by Bo Carl in 1931.")
        await index.add(folder)
        answer = await sy.run(program, QUESTION, journal=journal, policy="cache")
    assert "Bo Carl" in answer.quotes[0].text


async def test_a_document_changed_between_search_and_quote_is_quoted_right_when_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder, journal = WordEmbedder(), sy.MemoryJournal()
    with sy.Index(tmp_path / "index.db", embedder=embedder) as index:
        await index.add(Document("The bridge was opened by Anna Berg.", "bridge"))
        search = index.search

        async def overtaken(query: str, *, k: int) -> list[sy.Passage]:
            found = await search(query, k=k)
            await index.add(Document("The bridge was opened by Anna Borg.", "bridge"))
            return found

        monkeypatch.setattr(index, "search", overtaken)
        with pytest.raises(sy.UserError, match="changed while it was quoted"):
            await sy.run(quote_first(index, embedder), QUESTION, journal=journal, policy="cache")
        answer = await sy.run(quote_first(index, embedder), QUESTION, journal=journal, policy="cache")
    assert [quote.text for quote in answer.quotes] == ["The bridge was opened by Anna Borg."]


async def test_k_is_a_knob_of_the_program(folder: Path) -> None:
    embedder = WordEmbedder()
    with await opened(folder, embedder) as index:
        program = quote_first(index, embedder, Scripted("").model)
        assert {"ask.k", "short_answer.instruction"} <= set(program.parts().settings)
        answer = await program.using(k=1)(QUESTION)
    assert {quote.file for quote in answer.quotes} == {"bridge.txt"}


def test_an_index_lies_in_the_cache_one_for_each_absolute_path(folder: Path) -> None:
    path = index_path(folder)
    assert path.is_relative_to(os.environ["XDG_CACHE_HOME"])
    assert path != index_path(folder / "..")


@pytest.mark.engine
def test_the_command_line_quotes_answers_and_refuses(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", str(folder), QUESTION, "--json"]) == 0
    reply = json.loads(capsys.readouterr().out)
    assert set(reply) == {"answer", "quotes", "refused", "run", "usage", "failed"}
    assert reply["quotes"][0]["text"] == "The bridge was opened by Anna Berg in 1931."
    assert not reply["refused"]
    assert reply["answer"] is None or reply["answer"] in DOCUMENTS["bridge.txt"]
    assert [each.name for each in folder.iterdir() if each.name not in DOCUMENTS] == []
    assert main(["ask", str(folder), "Which enzyme splits lactose?", "--model", "none"]) == 0
    assert capsys.readouterr().out == "Not in the documents.\n"
    assert main(["ask", str(folder), QUESTION, "--model", "none"]) == 0
    assert "bridge.txt, characters 0-43" in capsys.readouterr().out


@pytest.mark.engine
async def test_a_folder_without_text_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(sy.UserError, match="could be indexed"):
        await ask_folder(tmp_path, QUESTION)


def test_a_base_url_needs_a_served_model(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", str(folder), QUESTION, "--base-url", "http://127.0.0.1:1"]) == 1
    assert "goes with --model openai:NAME" in capsys.readouterr().err


def test_files_that_cannot_be_read_are_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "latin.txt").write_bytes(QUESTION.encode() + "é".encode("latin-1"))
    assert main(["ask", str(folder), QUESTION, "--model", "none", "--json"]) == 0
    out, err = capsys.readouterr()
    assert [each["id"] for each in json.loads(out)["failed"]] == ["latin.txt"]
    assert err.startswith("synthon: not read: latin.txt is not UTF-8")


def test_letters_that_a_terminal_lacks_are_escaped(folder: Path) -> None:
    command = [sys.executable, "-m", "synthon", "ask", str(folder), QUESTION, "--model", "none"]
    done = subprocess.run(command, capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert b"\\u201cThe bridge was opened by Anna Berg in 1931." in done.stdout


def test_a_folder_of_nobodys_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "~nobody-is-called-so/x", QUESTION, "--model", "none"]) == 1
    assert "is no path: Could not determine home directory" in capsys.readouterr().err
