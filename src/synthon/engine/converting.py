"""The same weights in other numbers: some are read several times as fast, some take less memory."""

from __future__ import annotations

import ctypes
import tempfile
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from synthon.core.errors import UserError
from synthon.core.progress import Progress
from synthon.engine.binding import library, reason

if TYPE_CHECKING:
    from synthon.core.progress import Watch

_PREFIXES = ("LLAMA_FTYPE_MOSTLY_", "LLAMA_FTYPE_ALL_")
_LOOK_S = 0.1


def kinds() -> dict[str, int]:
    """The kinds of numbers that weights can be written in (`q8_0`, `f16`, `q4_k_m`, ...), with llama.cpp's number."""
    found = vars(library())
    return {
        name.removeprefix(prefix).lower(): found[name]
        for prefix in _PREFIXES
        for name in sorted(found)
        if name.startswith(prefix)
    }


def convert(path: Path, kind: str, target: Path, *, watch: Watch | None = None) -> Path:
    """Write a model's weights in other numbers.

    Fewer bits than the file has lose quality. More bits add none, but may be computed with faster.

    Args:
        path: of a GGUF file.
        kind: one of `kinds()`.
        target: the file to write; it is there once it is whole.
        watch: is told megabytes.

    Raises:
        UserError: there is no such kind, the target is there already or in no folder, or llama.cpp cannot do it, and
            why.
    """
    number = kinds().get(kind.lower())
    if number is None:
        raise UserError(f"Weights cannot be written as {kind!r}. Use one of {', '.join(kinds())}.")
    if target.exists() or not target.parent.is_dir():
        why = "is there already" if target.exists() else "is in no folder"
        raise UserError(f"The file {str(target)!r} {why}. Name another.")
    # a folder of its own: what was interrupted may be yet to open its file
    with tempfile.TemporaryDirectory(dir=target.parent, ignore_cleanup_errors=True) as folder:
        part = Path(folder) / target.name
        _write(path, number, part, watch or (lambda _: None))
        return part.rename(target)


def _write(path: Path, number: int, part: Path, watch: Watch) -> None:
    c = library()
    how = c.llama_model_quantize_default_params()
    how.ftype, how.allow_requantize, how.nthread = number, True, 0
    codes: list[int] = []
    make = partial(c.llama_model_quantize, str(path).encode(), str(part).encode(), ctypes.byref(how))
    thread = threading.Thread(target=lambda: codes.append(make()), daemon=True)  # so that Ctrl-C does not wait for it
    thread.start()
    while thread.is_alive():
        thread.join(_LOOK_S)
        watch(Progress(part.stat().st_size // 1_000_000 if part.exists() else 0, None))
    if codes != [0]:
        raise UserError(
            f"The weights {str(path)!r} cannot be written so: {reason()}. Use another kind, or a GGUF file of a text "
            "model that llama.cpp knows."
        )


__all__ = ["convert", "kinds"]
