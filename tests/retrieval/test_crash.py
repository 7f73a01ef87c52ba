"""Kill -9 while an index is filled: it opens again whole, and adding again continues."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import apsw

from synthon.retrieval import Document, Index
from tests.retrieval.embedding import WordEmbedder

DOCUMENTS = 1_500

_ADD = """
import asyncio, itertools, os, signal, sys
import apsw
from synthon.retrieval import Document, Index
from tests.retrieval.embedding import WordEmbedder
inserted = itertools.count(1)
def kill(kind, database, table, row):
    if kind == apsw.SQLITE_INSERT and table == "documents" and next(inserted) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
apsw.connection_hooks.append(lambda connection: connection.set_update_hook(kill))
documents = [Document(f"Document {n} is about thing {n % 97}. " * 30, f"{n:05}") for n in range(int(sys.argv[2]))]
with Index(sys.argv[1], embedder=WordEmbedder()) as index:
    asyncio.run(index.add(documents))
"""


def killed_at(path: Path, inserted: int) -> None:
    """Add until as many documents are inserted: the last has no chunks yet, and its transaction no end."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "src")])}
    command = [sys.executable, "-c", _ADD, str(path), str(DOCUMENTS), str(inserted)]
    assert subprocess.run(command, env=environment, check=False).returncode == -signal.SIGKILL


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
    path, kept = tmp_path / "i.db", list[int]()
    for inserted in (10, 700, 700):
        killed_at(path, inserted)
        assert half_documents(path) == 0
        with Index(path, embedder=WordEmbedder()) as index:
            kept.append(len(index.documents()))
    assert kept == [0, 512, 1_024]
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
