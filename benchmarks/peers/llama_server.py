"""Builds llama.cpp's own server beside the libraries of the installed llama-cpp-python, and prints its path.

Reads {"version": of llama-cpp-python, "libraries": folder of its libllama, "folder": where to build} from stdin. The
source is that package's own; only the server is compiled (5 CPU minutes), so both sides of `benchmarks.forks` run the
same kernels.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path


def build(version: str, libraries: str, folder: Path) -> Path:
    """The server's executable, built if it is not there for these libraries.

    Raises:
        subprocess.CalledProcessError: the source cannot be had, or does not compile.
    """
    server, stamp = folder / "server" / "llama-server", folder / "built_for.txt"
    wanted = f"{version} {libraries}"
    if server.exists() and stamp.exists() and stamp.read_text() == wanted:
        return server
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as name:
        requirement = f"llama-cpp-python=={version}"
        options = ["--no-deps", "--no-binary", "llama-cpp-python", "-q", "-d", name]
        run(sys.executable, "-m", "pip", "download", *options, requirement)
        with tarfile.open(next(Path(name).glob("*.tar.gz"))) as archive:
            archive.extractall(name, filter="data")
        source = next(Path(name).glob("*/vendor/llama.cpp"))
        cmake = str(Path(sys.executable).with_name("cmake"))
        here = str(Path(__file__).with_name("llama_server"))
        paths = [f"-DSOURCE={source}", f"-DLIBRARIES={libraries}", "-DCMAKE_BUILD_TYPE=Release"]
        run(cmake, "-S", here, "-B", str(folder), *paths)
        run(cmake, "--build", str(folder), "--target", "llama-server", "-j", "2")
    stamp.write_text(wanted)
    return server


def run(*command: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        sys.stderr.buffer.write(done.stdout[-4_000:])
        done.check_returncode()


if __name__ == "__main__":
    question = json.load(sys.stdin)
    built = build(question["version"], question["libraries"], Path(question["folder"]))
    print(json.dumps({"server": str(built)}))
