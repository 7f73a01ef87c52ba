"""The index's one SQLite file: documents, chunks, word counts, vectors and metadata, changed together or not at all."""

from __future__ import annotations

import hashlib
import json
import threading
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import apsw
import numpy as np

from synthon.core.errors import UserError
from synthon.core.values import Passage
from synthon.documents.chunks import CUT_RULES
from synthon.retrieval.database import SCHEMA, SCHEMA_VERSION, connect, explained
from synthon.retrieval.documents import Document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from synthon.core.protocols import FloatArray


@dataclass(slots=True)
class Piece:
    """A chunk on its way into the store; `digest` is sha256 of the text that is embedded for it."""

    start: int
    end: int
    title: str
    embedded: str
    digest: bytes
    counts: Mapping[str, int]


@dataclass(slots=True)
class Entry:
    """A document on its way into the store.

    `stamp` decides whether it is unchanged; `origin` is the file it came from and `source` the folder (or file) that
    was added, both empty for documents given as values.
    """

    document: Document
    stamp: bytes
    origin: str = ""
    source: str = ""
    pieces: list[Piece] = field(default_factory=list)


class Known(NamedTuple):
    """What an `Entry` left in the store."""

    stamp: bytes
    origin: str
    source: str


@dataclass(frozen=True, slots=True)
class Rows:
    """All chunks, ordered by document id and start: the order that breaks ties."""

    version: int
    keys: NDArray[np.int64]
    documents: NDArray[np.int64]
    terms: NDArray[np.int32]
    counts: NDArray[np.int32]
    distinct: NDArray[np.int64]


class Store:
    """The file. Every method is safe from any thread; each read sees one committed state.

    Raises:
        UserError: the file is no index, or one written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reading, self._writing = threading.RLock(), threading.RLock()
        self._known_terms: dict[str, int] = {}
        with explained(path):
            self._writer = connect(path)
            if not self._writer.execute("SELECT count(*) FROM sqlite_schema").get:
                self._make_tables()
            self._reader = connect(path)
        if (found := self.meta("schema")) != SCHEMA_VERSION:
            msg = (
                f"The index {str(path)!r} has schema {found!r}, this version of Synthon reads {SCHEMA_VERSION}. "
                "Index the documents again into a new file."
            )
            raise UserError(msg)

    def _make_tables(self) -> None:
        with self._transaction():
            for statement in filter(str.strip, SCHEMA.split(";")):
                self._writer.execute(statement)
            first = {"schema": SCHEMA_VERSION, "id": uuid.uuid4().hex, "version": 0}
            self._writer.executemany("INSERT OR IGNORE INTO meta VALUES (?, ?)", list(first.items()))

    def close(self) -> None:
        with self._reading, self._writing:
            self._reader.close()
            self._writer.close()

    @contextmanager
    def state(self) -> Iterator[apsw.Connection]:
        """One committed state for all reads inside."""
        with self._reading, explained(self.path):
            nested = self._reader.in_transaction
            if not nested:
                self._reader.execute("BEGIN")
            try:
                yield self._reader
            finally:
                if not nested and self._reader.in_transaction:
                    self._reader.execute("COMMIT")

    def meta(self, name: str) -> str | int | None:
        with self.state() as reader:
            found = reader.execute("SELECT value FROM meta WHERE name = ?", (name,)).get
        return found if isinstance(found, str | int) else None

    def pin(self, name: str, value: str | int) -> str | int:
        """Set a property of the index if it has none; returns the one that holds."""
        if (there := self.meta(name)) is not None:
            return there
        with self._transaction():
            self._writer.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (name, value))
        found = self.meta(name)
        return value if found is None else found

    def version(self) -> int:
        """Grows with every change, in whatever process."""
        return int(self.meta("version") or 0)

    # ------------------------------------------------------------------------------------------------- reads

    def size(self) -> tuple[int, int]:
        """Numbers of documents and of chunks."""
        with self.state() as reader:
            found = reader.execute("SELECT (SELECT count(*) FROM documents), (SELECT count(*) FROM chunks)").get
        return int(found[0]), int(found[1])

    def known(self, ids: Sequence[str]) -> dict[str, Known]:
        """Those of the documents that are there."""
        query = "SELECT stamp, origin, source FROM documents WHERE id = ?"
        with self.state() as reader:
            found = ((each, reader.execute(query, (each,)).get) for each in ids)
            return {each: Known(bytes(row[0]), str(row[1]), str(row[2])) for each, row in found if row is not None}

    def ids(self, folder: str = "", prefix: str = "") -> list[str]:
        """Ids of all documents, or of those whose file is in a folder and came with it, in order."""
        rest, values = "substr(id, length(?2) + 1)", (folder, prefix) if folder else ()
        where = f"WHERE source <> '' AND id = ?2 || {rest} AND origin = ?1 || {rest}" if folder else ""
        with self.state() as reader:
            return [str(row[0]) for row in reader.execute(f"SELECT id FROM documents {where} ORDER BY id", values)]  # noqa: S608

    def document(self, id_: str) -> Document | None:
        with self.state() as reader:
            key = reader.execute("SELECT key FROM documents WHERE id = ?", (id_,)).get
            return None if key is None else self._by_key(reader, int(key))

    def digest(self) -> str:
        """sha256 over all documents' ids, titles, texts, metadata and rules; the order of adding means nothing."""
        total = hashlib.sha256()
        with self.state() as reader:
            for row in reader.execute("SELECT digest FROM documents ORDER BY id"):
                total.update(row[0])
        return total.hexdigest()

    def rows(self) -> Rows:
        """Every chunk's place and word counts."""
        with self.state() as reader:
            found = list(
                reader.execute(
                    "SELECT c.key, c.document, c.terms, c.counts FROM chunks c JOIN documents d ON d.key = c.document "
                    "ORDER BY d.id, c.start"
                )
            )
            version = self.version()
        return Rows(
            version,
            np.array([row[0] for row in found], np.int64),
            np.array([row[1] for row in found], np.int64),
            np.frombuffer(b"".join(row[2] for row in found), "<i4"),
            np.frombuffer(b"".join(row[3] for row in found), "<u2").astype(np.int32),
            np.array([len(row[2]) // 4 for row in found], np.int64),
        )

    def term_keys(self, terms: Sequence[str]) -> list[int]:
        """Numbers of the terms that occur; the order follows the terms' spelling."""
        with self.state() as reader:
            found = (reader.execute("SELECT key FROM terms WHERE term = ?", (term,)).get for term in sorted(terms))
            return [int(key) for key in found if key is not None]

    def vectors(self, keys: Sequence[int] | NDArray[np.int64], dimension: int) -> FloatArray:
        """Vectors of the chunks in the order given, shape (len(keys), dimension)."""
        query = "SELECT v.vector FROM chunks c JOIN vectors v ON v.key = c.vector WHERE c.key = ?"
        matrix = np.empty((len(keys), dimension), np.float32)
        with self.state() as reader:
            for row, key in enumerate(keys):
                matrix[row] = np.frombuffer(reader.execute(query, (int(key),)).get, "<f2")
        return matrix

    def passages(self, found: Sequence[tuple[int, float]]) -> list[Passage]:
        """The chunks of these keys, with the scores given."""
        query = "SELECT document, start, stop, title FROM chunks WHERE key = ?"
        texts: dict[int, Document] = {}
        passages: list[Passage] = []
        with self.state() as reader:
            for key, score in found:
                owner, start, stop, title = reader.execute(query, (key,)).get
                if owner not in texts:
                    texts[owner] = self._by_key(reader, owner)
                document = texts[owner]
                # cut here: SQLite's substr ends at a NUL
                text = document.text[start:stop]
                passages.append(Passage(text, document.id, start, stop, score, title, document.metadata))
        return passages

    def _by_key(self, reader: apsw.Connection, key: int) -> Document:
        row = reader.execute("SELECT text, id, title, metadata, form FROM documents WHERE key = ?", (key,)).get
        return Document(row[0], row[1], row[2], json.loads(row[3]), row[4])

    def known_vectors(self, digests: Sequence[bytes]) -> dict[bytes, bytes]:
        """Vectors already kept for these texts."""
        query = "SELECT vector FROM vectors WHERE digest = ?"
        with self.state() as reader:
            found = {digest: reader.execute(query, (digest,)).get for digest in digests}
        return {digest: bytes(vector) for digest, vector in found.items() if vector is not None}

    # ------------------------------------------------------------------------------------------------ writes

    def write(self, entries: Sequence[Entry], vectors: Mapping[bytes, bytes], removed: Sequence[str] = ()) -> None:
        """Replace the entries' documents and drop the removed ones, in one transaction.

        `vectors` holds one for each piece's digest (float16, little-endian), or is empty for an index without.
        """
        if not entries and not removed:
            return
        with self._transaction():
            self._writer.execute("UPDATE meta SET value = value + 1 WHERE name = 'version'")
            for id_ in (*removed, *(entry.document.id for entry in entries)):
                self._drop(id_)
            self._writer.executemany(
                "INSERT OR IGNORE INTO vectors (digest, vector) VALUES (?, ?)", list(vectors.items())
            )
            for entry in entries:
                self._insert(entry, with_vectors=bool(vectors))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A write transaction from its start; apsw's own waits for other writers with the interpreter's lock held."""
        with self._writing, explained(self.path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._writer.execute("COMMIT")
            except BaseException:
                self._known_terms.clear()  # numbers given inside the transaction are void
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise

    def sweep(self) -> None:
        """Delete vectors that no chunk uses any more."""
        with self._transaction():
            self._writer.execute(
                "DELETE FROM vectors WHERE NOT EXISTS (SELECT 1 FROM chunks WHERE chunks.vector = vectors.key)"
            )

    def _drop(self, id_: str) -> None:
        key = self._writer.execute("SELECT key FROM documents WHERE id = ?", (id_,)).get
        if key is not None:
            for statement in (
                "DELETE FROM chunks WHERE document = ?",
                "DELETE FROM fields WHERE document = ?",
                "DELETE FROM documents WHERE key = ?",
            ):
                self._writer.execute(statement, (key,))

    def _insert(self, entry: Entry, *, with_vectors: bool) -> None:
        document = entry.document
        metadata = json.dumps(dict(document.metadata), sort_keys=True, ensure_ascii=False)
        plain = [document.id, document.title, document.text, metadata, document.form]
        digest = hashlib.sha256(json.dumps([CUT_RULES, *plain]).encode()).digest()
        self._writer.execute(
            "INSERT INTO documents (id, title, text, metadata, form, digest, stamp, origin, source) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*plain, digest, entry.stamp, entry.origin, entry.source),
        )
        key = self._writer.last_insert_rowid()
        self._writer.executemany(
            "INSERT INTO fields VALUES (?, ?, ?)", [(name, value, key) for name, value in document.metadata.items()]
        )
        vector = "(SELECT key FROM vectors WHERE digest = ?)" if with_vectors else "nullif(?, '')"
        self._writer.executemany(
            "INSERT INTO chunks (document, start, stop, title, vector, terms, counts) "  # noqa: S608  # no outside text
            f"VALUES (?, ?, ?, ?, {vector}, ?, ?)",
            [
                (key, piece.start, piece.end, piece.title, piece.digest if with_vectors else "", *self._packed(piece))
                for piece in entry.pieces
            ],
        )

    def _packed(self, piece: Piece) -> tuple[bytes, bytes]:
        numbers = [self._number(term) for term in piece.counts]
        counts = np.minimum(np.array(list(piece.counts.values()), np.int64), 65_535)
        return np.array(numbers, "<i4").tobytes(), counts.astype("<u2").tobytes()

    def _number(self, term: str) -> int:
        if term not in self._known_terms:
            found = self._writer.execute("SELECT key FROM terms WHERE term = ?", (term,)).get
            if found is None:
                self._writer.execute("INSERT INTO terms (term) VALUES (?)", (term,))
                found = self._writer.last_insert_rowid()
            self._known_terms[term] = int(found)
        return self._known_terms[term]


__all__ = ["Entry", "Known", "Piece", "Rows", "Store"]
