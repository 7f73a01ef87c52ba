"""A file system that forgets, at a power cut, what was written after the last sync.

    disk = ForgetfulDisk("cut-1")
    journal = SQLiteJournal(path, vfs=disk.name)
    ...
    disk.cut(folder)                    # writes to `folder` what a machine would find after losing power now

Pessimistic as POSIX allows: of a file only what came before its last xSync stays; a name that appeared or went stays
so only once the folder was synced, which SQLite does with the first sync of a new log or a delete with `syncdir`.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path

import apsw

LOGS = apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL | apsw.SQLITE_OPEN_SUPER_JOURNAL


@dataclass
class _Content:
    """A file without its name: what is safe, and what was written since, as (offset, bytes) or (size, None)."""

    safe: bytearray
    syncs_folder: bool
    unsynced: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for offset, written in self.unsynced:
            if written is None:
                del self.safe[offset:]
            else:
                self.safe.extend(bytes(max(0, offset - len(self.safe))))
                self.safe[offset : offset + len(written)] = written
        self.unsynced.clear()


class ForgetfulDisk(apsw.VFS):
    """Writes through to the real file system, and remembers what of it is safe. Files it finds are safe."""

    def __init__(self, name: str) -> None:
        super().__init__(name, "")
        self.name = name
        self.lock = threading.Lock()
        self._names: dict[str, _Content] = {}
        self._safe_names: dict[str, _Content] = {}

    def xOpen(  # noqa: N802 - SQLite's name
        self, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        with self.lock:
            content = self._names.get(path)
            if content is None:
                found = Path(path)
                if found.exists():
                    content = self._safe_names[path] = _Content(bytearray(found.read_bytes()), syncs_folder=False)
                else:
                    content = _Content(bytearray(), syncs_folder=bool(flags[0] & LOGS))
                self._names[path] = content
        return _File(self, content, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: FBT001, N802 - SQLite's
        super().xDelete(filename, syncdir)
        with self.lock:
            self._names.pop(filename, None)
            if syncdir:
                self.sync_folder()

    def sync_folder(self) -> None:
        self._safe_names = dict(self._names)

    def cut(self, folder: Path) -> None:
        """Write what is safe at this moment into `folder`."""
        with self.lock:
            kept = {Path(path).name: bytes(content.safe) for path, content in self._safe_names.items()}
        folder.mkdir(parents=True)
        for name, content in kept.items():
            (folder / name).write_bytes(content)


class _File(apsw.VFSFile):
    def __init__(
        self, disk: ForgetfulDisk, content: _Content, name: str | apsw.URIFilename | None, flags: list[int]
    ) -> None:
        super().__init__("", name, flags)
        self._disk, self._content = disk, content

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        with self._disk.lock:
            super().xWrite(data, offset)
            self._content.unsynced.append((offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        with self._disk.lock:
            super().xTruncate(newsize)
            self._content.unsynced.append((newsize, None))

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        super().xSync(flags)
        with self._disk.lock:
            self._content.sync()
            if self._content.syncs_folder:
                self._content.syncs_folder = False
                self._disk.sync_folder()
