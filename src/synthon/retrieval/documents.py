"""What goes into an index and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from synthon.documents.chunks import Form


@dataclass(frozen=True, slots=True)
class Document:
    """A text to index under an id of your own; adding the id again replaces what was there.

    `metadata` is what filters see; `form` says where headings are looked for. Character positions of passages count in
    `text`, exactly as given.
    """

    text: str
    id: str
    title: str = ""
    metadata: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    form: Form = "plain"


@dataclass(frozen=True, slots=True)
class Failed:
    """A file or document that is not in the index, and why; `reason` says what to do.

    An id that ends in "/" is a folder that cannot be listed: what was indexed of it before stays.
    """

    id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Added:
    """What an `add` did, by document id. A failed document's earlier version is no longer in the index.

    `chunks` counts those written, `embedded` the texts that had to be embedded for them: fewer where the same text was
    in the index before. `ignored` are files of a kind that holds no text to index (pictures, archives, ...) and links.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    failed: tuple[Failed, ...] = ()
    ignored: tuple[str, ...] = ()
    chunks: int = 0
    embedded: int = 0

    def __str__(self) -> str:
        counts = {
            "added": self.added, "changed": self.changed, "unchanged": self.unchanged, "removed": self.removed,
            "failed": self.failed, "ignored": self.ignored,
        }  # fmt: skip
        head = ", ".join(f"{len(rows)} {name}" for name, rows in counts.items() if rows) or "nothing to add"
        return "\n".join([head, *(f"  {each.id}: {each.reason}" for each in self.failed)])


__all__ = ["Added", "Document", "Failed"]
