"""`Index`: documents in one file, found again by words and by meaning."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, SupportsFloat, get_args

from synthon.core.errors import UserError
from synthon.core.progress import Progress
from synthon.core.recording import recorded
from synthon.core.running import Defaults
from synthon.core.values import Passage
from synthon.documents.files import MAX_BYTES
from synthon.documents.parsing import PARSE_S, Parser
from synthon.models.embedders import embedder as packaged_embedder
from synthon.retrieval.adding import Report, find, list_folder, prepare
from synthon.retrieval.dense import EXACT_CHUNKS, checked, embedded, is_kept
from synthon.retrieval.documents import Document
from synthon.retrieval.filters import condition
from synthon.retrieval.fusion import WEIGHT
from synthon.retrieval.reranking import reranked
from synthon.retrieval.searching import Mode, Question, Snapshot
from synthon.retrieval.store import Store
from synthon.retrieval.words import RULES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from synthon.core.progress import Watch
    from synthon.core.protocols import Embedder, Filter, FloatArray
    from synthon.retrieval.adding import Found
    from synthon.retrieval.documents import Added
    from synthon.retrieval.reranking import Reranker
    from synthon.retrieval.store import Entry

#: Chunks written in one transaction; also how much work a kill can lose.
_BATCH_CHUNKS = 512
_EMBEDDED_AT_ONCE, _AT_ONCE = 64, 4  # texts a call, calls
_SMALL = 100  # a change of less than one part in so many
_CHUNK_CHARACTERS = range(100, 100_001)


class _Moved(Exception):
    """Documents changed while a search was embedded; it found `found` in those of `digest`."""

    def __init__(self, digest: str, found: str) -> None:
        super().__init__("the documents changed meanwhile; what was found is kept in the next row")
        self.digest, self.found = digest, found


class Index:
    """Documents, their chunks, words, vectors and metadata in one SQLite file; safe from any thread and event loop.

    `add` is incremental, `search` hybrid by default. An index keeps the embedder and the chunk size it was made with.

    Args:
        path: the file, made when it is not there.
        embedder: turns chunks and queries into vectors, or a packaged one's name, which is loaded when first needed;
            None takes MiniLM, "none" keeps no vectors: words only.
        chunk_characters: longest chunk, 100..100,000; None takes what the index was made with, else 1,000, which is
            about what the packaged embedder reads (256 tokens).
        max_bytes: a larger file is a failure.
        parse_s: so is a PDF, Word or HTML file that takes its parser longer, in seconds.
        exact_chunks: above this many, a usearch file beside the index gives the dense candidates.

    Raises:
        UserError: the file is no index, or was made with another chunk size.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        embedder: Embedder | str | None = None,
        chunk_characters: int | None = None,
        max_bytes: int = MAX_BYTES,
        parse_s: float = PARSE_S,
        exact_chunks: int = EXACT_CHUNKS,
    ) -> None:
        if chunk_characters is not None and chunk_characters not in _CHUNK_CHARACTERS:
            msg = f"Index(chunk_characters={chunk_characters!r}): it must be in 100..100,000; 1,000 is a good start."
            raise UserError(msg)
        if not (embedder is None or isinstance(embedder, str) or callable(getattr(embedder, "embed", None))):
            msg = (
                f"Index(embedder={embedder!r}): that embeds nothing. Pass an object with identity and embed(texts), "
                "a packaged embedder's name, or 'none' to search by words only."
            )
            raise UserError(msg)
        self._store = Store(Path(path))
        self._embedder = embedder
        self._max_bytes, self._parse_s, self._exact_chunks = max_bytes, parse_s, exact_chunks
        self._chunk_characters = int(self._store.pin("chunk_characters", chunk_characters or 1_000))
        if chunk_characters not in {None, self._chunk_characters}:
            msg = (
                f"The index {str(path)!r} has chunks of {self._chunk_characters} characters, not {chunk_characters}. "
                "Leave chunk_characters out, or index the documents again into a new file."
            )
            raise UserError(msg)
        self._snapshot: Snapshot | None = None
        self._digest: tuple[int, str] = (-1, "")
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Index({str(self._store.path)!r})"

    def close(self) -> None:
        """Close the file; the index cannot be used any more."""
        self._store.close()

    @property
    def digest(self) -> str:
        """sha256 of all that decides what a search finds: documents, chunk size, rules and embedder."""
        with self._store.state():
            version = self._store.version()
            if self._digest[0] != version:
                parts = [self._store.digest(), self._store.meta("embedder"), self._chunk_characters, RULES]
                self._digest = version, hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return self._digest[1]

    def documents(self) -> list[str]:
        """Ids of all documents, in order."""
        return self._store.ids()

    def document(self, id_: str) -> Document:
        """A document as it was indexed; a passage's text is `document.text[start:end]`.

        Raises:
            UserError: there is none of this id.
        """
        found = self._store.document(id_)
        if found is None:
            msg = f"No document {id_!r} in {self!r}. Its ids are listed by documents()."
            raise UserError(msg)
        return found

    def __len__(self) -> int:
        """Number of chunks."""
        return self._store.size()[1]

    # ------------------------------------------------------------------------------------------------- changes

    async def add(
        self, source: str | Path | Document | Iterable[Document], *, prefix: str = "", progress: Watch | None = None
    ) -> Added:
        """Index a folder, a file or documents; only what is new or changed is read, cut and embedded.

        A folder's documents have their path in it, after `prefix`, as id; adding the folder again removes those whose
        file is gone. Few documents are one transaction, many are one for every 512 chunks: after a kill the
        index holds whole documents only, and adding again continues. A file that cannot be read is in the
        answer's `failed`, and the rest is indexed. Without `progress` a bar is drawn on a terminal.

        Raises:
            UserError: no such folder, two documents with one id, or another embedder than the index was made with.
            MissingExtra: a format's parser, or the default embedder, is not installed.
        """
        embedder = await asyncio.to_thread(self._chosen_embedder)
        report, found = Report(), await asyncio.to_thread(find, source, prefix)
        report.ignored.extend(found.ignored)
        report.failed.extend(found.unlisted)
        watched = Defaults.watch("indexing") if progress is None else nullcontext(progress)
        with watched as watch, Parser(parse_s=self._parse_s) as parser:
            limits = self._chunk_characters, self._max_bytes
            entries = prepare(found, self._store, parser, limits, report)
            batch = await asyncio.to_thread(_next_batch, entries)
            while True:
                following = await asyncio.to_thread(_next_batch, entries) if batch else []
                made = await self._vectors(batch, embedder, report)
                await asyncio.to_thread(self._pin, embedder, made)
                removed = [] if following else await asyncio.to_thread(self._gone, found, report)
                await asyncio.to_thread(self._store.write, batch, made, removed)
                report.chunks += sum(len(entry.pieces) for entry in batch)
                watch(
                    Progress(report.done, len(found.items) + len(found.unlisted), len(report.failed), label="documents")
                )
                if not following:
                    break
                batch = following
        await asyncio.to_thread(self._settle, report.chunks)
        return report.final()

    async def remove(self, *ids: str) -> list[str]:
        """Delete documents with all that was made from them; returns the ids that were there."""
        if not all(isinstance(each, str) for each in ids):
            msg = (
                f"remove{ids!r}: ids are texts. Pass each as an argument of its own: remove('a', 'b'), or remove(*ids)."
            )
            raise UserError(msg)
        there = sorted(await asyncio.to_thread(self._store.known, ids))
        await asyncio.to_thread(self._store.write, [], {}, there)
        await asyncio.to_thread(self._settle, len(there))
        return there

    async def _vectors(self, batch: Sequence[Entry], embedder: Embedder | None, report: Report) -> dict[bytes, bytes]:
        """A vector for each piece's digest: kept ones where the same text was indexed before, new ones else."""
        if embedder is None:
            return {}
        texts = {piece.digest: piece.embedded for entry in batch for piece in entry.pieces}
        found = await asyncio.to_thread(self._store.known_vectors, list(texts))
        missing = [digest for digest in texts if digest not in found]
        dimension = await asyncio.to_thread(self._store.meta, "dimension")
        calls = [missing[start : start + _EMBEDDED_AT_ONCE] for start in range(0, len(missing), _EMBEDDED_AT_ONCE)]
        room = asyncio.Semaphore(_AT_ONCE)

        async def vectors_of(digests: Sequence[bytes]) -> FloatArray:
            async with room:
                return await embedded(embedder, [texts[digest] for digest in digests])

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(vectors_of(digests)) for digests in calls]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        for digests, matrix in zip(calls, (task.result() for task in tasks), strict=True):
            dimension = dimension or matrix.shape[1]
            self._check_dimension(dimension, matrix.shape[1])
            found.update((digest, row.astype("<f2").tobytes()) for digest, row in zip(digests, matrix, strict=True))
            report.embedded += len(digests)
        return found

    def _gone(self, found: Found, report: Report) -> list[str]:
        """Documents whose file is gone from this folder or could not be read; the former go to the report."""
        origins = found.origins
        missing = set(self._store.ids(f"{found.folder}/", found.prefix) if found.folder else ()) - origins.keys()
        if missing and found.folder:  # looked at again: another add may have indexed files that came meanwhile
            again = list_folder(found.folder, found.prefix)
            unlisted = tuple(each.id for each in again.unlisted)
            missing = {id_ for id_ in missing - again.origins.keys() if not id_.startswith(unlisted)}
        report.removed.extend(sorted(missing))
        failed = self._store.known(sorted({each.id for each in report.failed}))
        return [*missing, *(id_ for id_, known in failed.items() if known.origin == origins.get(id_))]

    def _settle(self, changed: int) -> None:
        """Tidy up after a change; a small one is left for the next search to catch up with, among others like it."""
        self._store.sweep()
        if len(self) > self._exact_chunks and (changed * _SMALL > len(self) or not is_kept(self._store)):
            with self._store.state():
                self._current().warm()

    # ------------------------------------------------------------------------------------------------ searches

    async def search(
        self,
        query: str,
        *,
        k: int = 5,
        where: Filter | None = None,
        mode: Mode | None = None,
        weight: float = WEIGHT,
        rerank: Reranker | None = None,
        depth: int = 10,
    ) -> list[Passage]:
        """The `k` best passages, best first; fewer only where fewer chunks fit the filter.

        Scores are comparable within one search only (in mode "dense" they are cosines). Chunks of equal score come by
        document id, then place. Cost: one embedding of the query, then memory speed. A search is a journaled call: the
        same search of the same documents is read from its row under `cache`, or when a run is resumed.

        Args:
            query: a question or keywords; not blank.
            k: at least 1.
            where: `{"type": "md", "year >=": 2020}`: all must hold; see `synthon.retrieval.filters.condition`.
            mode: "hybrid" (words and meaning, convex combination: the default), "rrf" (the two by reciprocal rank),
                "dense", or "bm25" (words only: the default without an embedder).
            weight: share of the dense side in "hybrid", 0..1.
            rerank: judges the first `depth` passages again, and its scores replace theirs. None leaves the order, which
                no model we measured bettered; see `synthon.retrieval.reranking.ModelReranker`.
            depth: at least 1; `k` if that is more.

        Raises:
            UserError: a blank query, k or depth < 1, a weight outside 0..1, a filter that makes no sense, or an
                embedder that is not the one the index was made with.
        """
        chosen: Mode = mode or ("bm25" if self._embedder == "none" else "hybrid")
        if chosen not in get_args(Mode):
            msg = f"search(mode={mode!r}): it is one of {', '.join(map(repr, get_args(Mode)))}."
            raise UserError(msg)
        kinds = ((query, str), (k, int), (depth, int), (weight, SupportsFloat))
        is_typed = all(isinstance(each, kind) for each, kind in kinds)
        if not is_typed or not query.strip() or min(k, depth) < 1 or not 0 <= weight <= 1:
            msg = f"search({query!r}, {k=}, {depth=}, {weight=}): give words to look for, k, depth >= 1, weight 0..1."
            raise UserError(msg)
        if rerank is not None and not callable(getattr(rerank, "scores", None)):
            msg = f"search(rerank={rerank!r}): that judges nothing. Pass a Reranker, as retrieval.cross_encoder()."
            raise UserError(msg)
        if where is not None:
            condition(where)  # what makes no sense is said before anything is recorded
        wanted = k if rerank is None else max(k, depth)
        question = Question(query, wanted, None if where is None else dict(where), chosen, float(weight))
        found = [Passage(**row) for row in json.loads(await self._rows(question))]
        return found if rerank is None else await reranked(rerank, query, found, k=k)

    async def _rows(self, question: Question) -> str:
        """A search's passages as JSON, journaled under the digest of the documents that they were found in."""

        async def ended() -> str:
            return moved.found

        digest, asked = await asyncio.to_thread(lambda: self.digest), asdict(question)
        try:
            act = partial(self._answer, question, digest)
            return await recorded("search", {"index": digest, **asked}, act, kind="search")
        except _Moved as error:
            moved = error
        return await recorded("search", {"index": moved.digest, **asked}, ended, kind="search")

    async def _answer(self, question: Question, digest: str) -> str:
        """A search's passages as JSON; with the index's digest, the question holds all that decides them.

        Raises:
            _Moved: the digest is another by now.
        """
        vector = None
        if question.mode != "bm25":
            embedder = await asyncio.to_thread(self._chosen_embedder)
            if embedder is None:
                msg = (
                    f"search(mode={question.mode!r}): {self!r} keeps no vectors (embedder='none'). "
                    "Search with mode='bm25', or index the documents into a new file with an embedder."
                )
                raise UserError(msg)
            vector = (await embedded(embedder, [question.query]))[0]
            self._check_dimension(await asyncio.to_thread(self._store.meta, "dimension"), len(vector))
        return await asyncio.to_thread(self._found, question, vector, digest)

    def _found(self, question: Question, vector: FloatArray | None, digest: str) -> str:
        with self._store.state():
            passages = self._store.passages(self._current().best(question, vector))
            present = self.digest
        found = json.dumps([asdict(passage) for passage in passages], ensure_ascii=False)
        if present != digest:
            raise _Moved(present, found)
        return found

    def _current(self) -> Snapshot:
        """The snapshot of the store's present state; called inside `state()`, so by one thread at a time."""
        version = self._store.version()
        if self._snapshot is None or self._snapshot.rows.version != version:
            self._snapshot = None  # the old one's memory goes before the new one's comes
            dimension = self._store.meta("dimension") or 0
            self._snapshot = Snapshot(self._store, int(dimension), self._exact_chunks)
        return self._snapshot

    def _chosen_embedder(self) -> Embedder | None:
        """The embedder, None for "none".

        Raises:
            UserError: the index was made with another, or it does not say which it is.
        """
        with self._lock:
            if self._embedder is None:
                self._embedder = packaged_embedder()
            elif isinstance(self._embedder, str) and self._embedder != "none":
                self._embedder = packaged_embedder(self._embedder)
            chosen = None if isinstance(self._embedder, str) else checked(self._embedder)
        self._check_embedder(self._store.meta("embedder"), "none" if chosen is None else chosen.identity)
        return chosen

    def _pin(self, embedder: Embedder | None, made: Mapping[bytes, bytes]) -> None:
        """Bind the index to an embedder that has shown that it works."""
        identity = "none" if embedder is None else embedder.identity
        self._check_embedder(self._store.pin("embedder", identity), identity)
        if made:
            dimension = len(next(iter(made.values()))) // 2
            self._check_dimension(self._store.pin("dimension", dimension), dimension)

    def _check_embedder(self, made_with: str | int | None, identity: str) -> None:
        if made_with not in {None, identity}:
            msg = (
                f"{self!r} was made with the embedder {made_with!r}, not {identity!r}: their vectors do not compare. "
                "Open it with the former, or index the documents again into a new file."
            )
            raise UserError(msg)

    def _check_dimension(self, there: str | int | None, dimension: int) -> None:
        if there not in {None, dimension}:
            msg = (
                f"{self!r} holds vectors of {there} numbers, the embedder gave {dimension}. Its identity should differ."
            )
            raise UserError(msg)


def _next_batch(entries: Iterator[Entry]) -> list[Entry]:
    """Whole documents with about 512 chunks together; empty at the end."""
    batch: list[Entry] = []
    chunks = 0
    for entry in entries:
        batch.append(entry)
        chunks += len(entry.pieces)
        if chunks >= _BATCH_CHUNKS:
            break
    return batch


__all__ = ["Index"]
