"""Files in one folder, and no way out of it."""

from __future__ import annotations

import base64
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from synthon.core.errors import UserError
from synthon.core.values import Image
from synthon.tools.function import FunctionTool, tool

_PICTURES = {f".{kind}": f"image/{kind}" for kind in ("png", "jpeg", "gif", "webp")} | {".jpg": "image/jpeg"}
_LISTED = 500
_DEPTH = 32  # of folders; a walk holds each one open
_APART = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe in the folder must not hold us up


@dataclass(frozen=True)
class _Folder:
    """A folder whose paths are followed without any symbolic link."""

    root: Path
    max_bytes: int
    max_total_bytes: int

    def list_files(self) -> str:
        """List all files in the workspace with their sizes in bytes."""
        found = [f"{path} ({size:,})".encode(errors="backslashreplace").decode() for path, size in self._files()]
        more = [f"[{len(found) - _LISTED:,} more]"] if len(found) > _LISTED else []
        return "\n".join(found[:_LISTED] + more) or "The workspace is empty."

    def read_file(self, path: str) -> str | Image:
        """Read a file of the workspace; a picture is shown as one."""
        with self._opened(path, os.O_RDONLY) as file, os.fdopen(os.dup(file), "rb") as stream:
            content = stream.read(self.max_bytes + 1)
        if len(content) > self.max_bytes:
            raise ValueError(f"{path!r} holds more than {self.max_bytes:,} bytes.")
        if picture := _PICTURES.get(PurePosixPath(path).suffix.lower()):
            return Image(base64.b64encode(content).decode(), picture)
        return content.decode(errors="replace")

    def write_file(self, path: str, text: str) -> str:
        """Write a file of the workspace, in place of what it held; folders on the way are made."""
        return self._put(path, text, 0)

    def append_file(self, path: str, text: str) -> str:
        """Add text to the end of a file of the workspace; a file that is not there is made."""
        return self._put(path, text, os.O_APPEND)

    def delete_file(self, path: str) -> str:
        """Delete a file of the workspace."""
        with self._parent(path) as (parent, name):
            try:
                os.unlink(name, dir_fd=parent)
            except FileNotFoundError:
                return f"There is no {path}."
        return f"{path} is deleted."

    def _put(self, path: str, text: str, append: int) -> str:
        content = text.encode(errors="replace")
        if len(content) > self.max_bytes:  # before a file and its folders are made
            raise ValueError(f"{path!r} would hold more than {self.max_bytes:,} bytes.")
        held = dict(self._files())
        if not append:
            held.pop(str(PurePosixPath(path)), None)
        if sum(held.values()) + len(content) > self.max_total_bytes:
            raise ValueError(f"The workspace would hold more than {self.max_total_bytes:,} bytes.")
        with self._opened(path, os.O_WRONLY | os.O_CREAT | append, make=True) as file:
            if append and os.fstat(file).st_size + len(content) > self.max_bytes:
                raise ValueError(f"{path!r} would hold more than {self.max_bytes:,} bytes.")
            if not append:
                os.ftruncate(file, 0)
            with os.fdopen(os.dup(file), "wb") as stream:
                stream.write(content)
        return f"{len(content):,} bytes are written to {path}."

    @contextmanager
    def _parent(self, path: str, *, make: bool = False) -> Iterator[tuple[int, str]]:
        """The open folder that holds a path's last name, and that name."""
        *folders, name = PurePosixPath(path).parts or ("",)
        if not name or path.startswith("/") or ".." in (*folders, name) or "\0" in path:
            raise ValueError(f"{path!r} is no path inside the workspace. Use relative paths without '..'.")
        if len(folders) > _DEPTH:
            raise ValueError(f"{path[:80]!r}... goes through {len(folders)} folders; at most {_DEPTH} can be.")
        here = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for folder in folders:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(folder, dir_fd=here)
                inner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | _APART, dir_fd=here)
                os.close(here)
                here = inner
            yield here, name
        finally:
            os.close(here)

    @contextmanager
    def _opened(self, path: str, flags: int, *, make: bool = False) -> Iterator[int]:
        with self._parent(path, make=make) as (parent, name):
            file = os.open(name, flags | _APART, 0o644, dir_fd=parent)
        try:
            found = os.fstat(file)
            if not stat.S_ISREG(found.st_mode):
                raise ValueError(f"{path!r} is no file.")
            if found.st_nlink > 1:
                raise ValueError(f"{path!r} is a hard link: the file has another name, maybe outside the workspace.")
            yield file
        finally:
            os.close(file)

    def _files(self) -> list[tuple[str, int]]:
        found = []
        for folder, _, names, here in os.fwalk(self.root, follow_symlinks=False):
            inside = PurePosixPath(folder).relative_to(self.root)
            sizes = [(str(inside / name), os.stat(name, dir_fd=here, follow_symlinks=False)) for name in names]
            found += [(name, entry.st_size) for name, entry in sizes if stat.S_ISREG(entry.st_mode)]
        return sorted(found)


def workspace(
    folder: str | Path, *, write: bool = True, max_bytes: int = 1_000_000, max_total_bytes: int = 50_000_000
) -> tuple[FunctionTool[..., Any], ...]:
    """Tools that list, read, write, append to and delete files in one folder.

    A path is followed folder by folder and no symbolic link in it is, nor is a file with hard links read or written, so
    none leads out, whoever made it and when. What is read is recorded as of this folder, and under `cache` too for the
    run that read it: another run looks again.

    Args:
        folder: it must exist.
        write: whether there are tools that change it.
        max_bytes: of one file, read or written.
        max_total_bytes: of all files together, after which nothing more is written.

    Raises:
        UserError: there is no such folder.
    """
    if not Path(folder).is_dir():
        raise UserError(f"sy.tools.workspace found no folder {str(folder)!r}. Make it first.")
    inside = _Folder(Path(folder).absolute(), max_bytes, max_total_bytes)
    reads = tool(effects={"read"}, max_bytes=max_bytes)
    once = tool(effects={"write"}, honours_key=True)  # done twice it is as done once
    made: list[FunctionTool[..., Any]] = [reads(inside.list_files), reads(inside.read_file)]
    if write:
        made += [once(inside.write_file), tool(inside.append_file), once(inside.delete_file)]
    return tuple(replace(each, identity=str(inside.root.resolve()), rows="own") for each in made)
