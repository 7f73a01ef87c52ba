"""Weights on this machine: where they lie, and that they are the ones we mean. Nothing here uses the network."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

from synthon.core.errors import MissingExtra, UserError
from synthon.weights.catalogue import CATALOGUE, Weights, WeightsFile

HUB = "hf:"


def models_folder() -> Path:
    """The user's model folder: `$SYNTHON_MODELS`, else `synthon/models` in the user's data folder."""
    if named := os.environ.get("SYNTHON_MODELS", ""):
        return Path(named).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "synthon" / "models"


def path_of(name: str | Weights, file: str = "") -> Path:
    """The model's file, its checksum verified; `file` names another than the main one.

    Args:
        name: a name of the catalogue, the path of a GGUF file, or `hf:organisation/repository/file.gguf`.

    Raises:
        MissingExtra: the file is not on this machine, or not the right one; names the command that fetches it.
        UserError: there is no such name, path or file.
    """
    if isinstance(name, str):
        if name.startswith(HUB):
            return _in_hub(name)
        if is_path(name):
            return _at(name)
    weights = named(name)
    wanted = weights.files[0] if not file else next((each for each in weights.files if each.name == file), None)
    if wanted is None:
        files = ", ".join(each.name for each in weights.files)
        raise UserError(f"The model {weights.name!r} has no file {file!r}. Ask for one of: {files}.")
    path = models_folder() / weights.name / wanted.name
    if not path.is_file():
        raise MissingExtra(
            f"The weights of {weights.name!r} are not in the model folder {str(models_folder())!r}, and nothing is "
            f"downloaded unasked. Run `synthon models fetch {weights.name}`."
        )
    if not is_whole(path, wanted):
        raise MissingExtra(
            f"The file {str(path)!r} is not the {weights.name!r} that was released: its sha256 is not "
            f"{wanted.sha256[:12]}.... Run `synthon models fetch {weights.name}`, which replaces it."
        )
    return path


def named(name: str | Weights) -> Weights:
    """The catalogue's entry of that name; an entry is its own.

    Raises:
        UserError: there is none.
    """
    if isinstance(name, Weights):
        return name
    for weights in CATALOGUE:
        if weights.name == name:
            return weights
    names = ", ".join(weights.name for weights in CATALOGUE)
    raise UserError(
        f"There is no model named {name!r}. Use one of {names}, the path of a .gguf file, or "
        "hf:organisation/repository/file.gguf."
    )


def is_here(weights: Weights) -> bool:
    """Whether all files are in the model folder, whole."""
    folder = models_folder() / weights.name
    return all((folder / file.name).is_file() and is_whole(folder / file.name, file) for file in weights.files)


def is_whole(path: Path, file: WeightsFile) -> bool:
    """Whether the file has its size and checksum."""
    return path.stat().st_size == file.size and digest_of(path) == file.sha256


def is_path(name: str) -> bool:
    """Whether a model's name is the path of a GGUF file."""
    return name.endswith(".gguf") and not name.startswith(HUB)


def adapter_at(path: str | Path) -> Path:
    """The file of a LoRA adapter.

    Raises:
        UserError: there is none.
    """
    found = Path(path).expanduser().absolute()
    if not found.is_file():
        msg = f"There is no adapter {str(found)!r}. Pass the path of a GGUF LoRA file, as finetune writes one."
        raise UserError(msg)
    return found


def digest_of(path: Path) -> str:
    """The file's sha256 in hex, noted beside it and believed for as long as size and time of change stay.

    The first reading costs about 0.6 s a gigabyte; where the note cannot be written, each costs that.
    """
    status = path.stat()
    stamp = [str(status.st_size), str(status.st_mtime_ns)]
    note = path.with_name(path.name + ".sha256")
    with contextlib.suppress(OSError, ValueError):
        digest, *known = note.read_text().split()
        if known == stamp:
            return digest
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    with contextlib.suppress(OSError):
        note.write_text(f"{found} {' '.join(stamp)}\n")
    return found


def hub_address(name: str) -> tuple[str, str]:
    """Repository and file of `hf:organisation/repository/file.gguf`; the file may lie in folders.

    Raises:
        UserError: it names no GGUF file.
    """
    organisation, _, rest = name.removeprefix(HUB).partition("/")
    repository, _, file = rest.partition("/")
    if not (organisation and repository and file.endswith(".gguf")):
        raise UserError(f"{name!r} names no GGUF file of the hub. Write hf:organisation/repository/file.gguf.")
    return f"{organisation}/{repository}", file


def _in_hub(name: str) -> Path:
    repository, file = hub_address(name)
    try:
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise MissingExtra(
            f"{name!r} needs the package 'huggingface_hub', which is missing. Run `pip install 'synthon[local]'`."
        ) from error
    found = try_to_load_from_cache(repository, file)
    if not isinstance(found, str):
        raise MissingExtra(
            f"The weights {name!r} are not on this machine, and nothing is downloaded unasked. "
            f"Run `synthon models fetch {name}`."
        )
    return Path(found)


def _at(name: str) -> Path:
    path = Path(name).expanduser().absolute()
    if not path.is_file():
        raise UserError(
            f"There is no model file {str(path)!r}. Pass the path of a GGUF file, or a name of the catalogue."
        )
    return path
