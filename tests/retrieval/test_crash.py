"""Kill -9 while an index is filled: it opens again whole, and adding again continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import apsw

from synthon.retrieval import Document, Index
from tests.retrieval.embedding import WordEmbedder

DOCUMENTS = 1_500

_ADD = """
import asyncio, sys
from synthon.retrieval import Document, Index
from tests.retrieval.embedding import WordEmbedder
documents = [Document(f"Document {n} is about thing {n % 97}. " * 30, f"{n:05}") for n in range(int(sys.argv[2]))]
with Index(sys.argv[1], embedder=WordEmbedder()) as index:
    print("started", flush=True)
    asyncio.run(index.add(documents))
"""


def killed_after(path: Path, delay_s: float) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])}
    command = [sys.executable, "-c", _ADD, str(path), str(DOCUMENTS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay_s)
        process.send_signal(signal.SIGKILL)


def half_documents(path: Path) -> int:
    """Documents whose chunks or fields are not all there, and chunks without a document or a vector."""
    database = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    assert database.execute("PRAGMA integrity_check").get == "ok"
    found = database.execute(
        "SELECT (SELECT count(*) FROM documents d WHERE (SELECT max(stop) FROM chunks WHERE document = d.key) IS NOT "
        "length(rtrim(d.text))) + (SELECT count(*) FROM chunks WHERE document NOT IN (SELECT key FROM documents) "
        "OR vector NOT IN (SELECT key FROM vectors) OR vector IS NULL)"
    ).get
    database.close()
    return int(found)


async def test_a_killed_add_leaves_whole_documents_and_continues(tmp_path: Path) -> None:
    path, kept = tmp_path / "i.db", [0]
    for delay_s in (0.3, 0.5, 0.7):
        killed_after(path, delay_s)
        assert half_documents(path) == 0
        with Index(path, embedder=WordEmbedder()) as index:
            kept.append(len(index.documents()))
    assert kept == sorted(kept)
    embedder = WordEmbedder()
    documents = [Document(f"Document {n} is about thing {n % 97}. " * 30, f"{n:05}") for n in range(DOCUMENTS)]
    with Index(path, embedder=embedder) as index:
        added = await index.add(documents)
        assert len(added.unchanged) == kept[-1]
        assert len(added.added) == DOCUMENTS - kept[-1]
        digest = index.digest
    with Index(tmp_path / "whole.db", embedder=embedder) as index:
        await index.add(documents)
        assert index.digest == digest
