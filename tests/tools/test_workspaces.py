"""A folder that a model may work in, and that nothing leads out of."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING, Any

import pytest

import synthon as sy
from synthon.tools import FunctionTool, effects_of, workspace
from tests.tools.words import text

if TYPE_CHECKING:
    from pathlib import Path

PNG = base64.b64decode("iVBORw0KGgo=")


def files(folder: Path, **options: Any) -> dict[str, FunctionTool[..., Any]]:
    return {tool.name: tool for tool in workspace(folder, **options)}


async def test_files_of_a_workspace(tmp_path: Path) -> None:
    tools = files(tmp_path)
    assert text(await tools["list_files"].call({})) == "The workspace is empty."
    assert await tools["write_file"](path="a/b/note.txt", text="hé") == "3 bytes are written to a/b/note.txt."
    await tools["append_file"](path="a/b/note.txt", text="!")
    await tools["append_file"](path="new.txt", text="n")
    assert await tools["read_file"](path="a/b/note.txt") == "hé!"
    assert (tmp_path / "a/b/note.txt").read_text(encoding="utf-8") == "hé!"
    await tools["write_file"](path="a/b/note.txt", text="x")
    assert await tools["list_files"]() == "a/b/note.txt (1)\nnew.txt (1)"
    assert await tools["delete_file"](path="new.txt") == "new.txt is deleted."
    assert await tools["delete_file"](path="new.txt") == "There is no new.txt."
    assert not (tmp_path / "new.txt").exists()
    (tmp_path / "p.png").write_bytes(PNG)
    assert (await tools["read_file"].call({"path": "p.png"})).content == (sy.Image("iVBORw0KGgo=", "image/png"),)
    assert effects_of(tools["write_file"]) == {"write"}
    assert (await tools["read_file"].call({"path": "none"})).is_error


async def test_a_workspace_that_is_only_read_has_no_tool_that_writes(tmp_path: Path) -> None:
    assert set(files(tmp_path, write=False)) == {"list_files", "read_file"}
    with pytest.raises(sy.UserError, match="no folder"):
        workspace(tmp_path / "none")


async def test_no_path_leads_out_of_a_workspace(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "out"
    (inside / "real").mkdir(parents=True)
    outside.mkdir()
    (outside / "secret.txt").write_text("secret", encoding="utf-8")
    (inside / "link.txt").symlink_to(outside / "secret.txt")
    (inside / "dir").symlink_to(outside)
    (inside / "up").symlink_to("..")
    (inside / "real/loop").symlink_to(inside)
    (inside / "dangling").symlink_to(outside / "new.txt")
    os.mkfifo(inside / "pipe")
    tools = files(inside)
    paths = [
        *("../out/secret.txt", str(outside / "secret.txt"), "link.txt", "dir/secret.txt", "up/out/secret.txt", "dir"),
        *("real/../../out/secret.txt", "real/loop/link.txt", "dangling", "pipe", "", ".", "..", "/", "real", "a\0b"),
        *("./../out/secret.txt", "real/./../../out/secret.txt", "x" * 5_000, "dir/new/deep.txt", "//etc/passwd"),
    ]
    for path in paths:
        for name, extra in (("read_file", {}), ("write_file", {"text": "x"}), ("append_file", {"text": "x"})):
            result = await tools[name].call({"path": path, **extra})
            assert result.is_error, (name, path)
            assert "secret" not in text(result).replace("secret.txt", "")
        if path not in {"link.txt", "dangling", "pipe", "dir"}:  # a link itself may go, what it leads to may not
            assert (await tools["delete_file"].call({"path": path})).is_error or path.startswith("x"), path
    assert text(await tools["list_files"].call({})) == "The workspace is empty."
    await tools["delete_file"](path="link.txt")
    await tools["delete_file"](path="dir")
    assert sorted(path.name for path in outside.iterdir()) == ["secret.txt"]
    assert (outside / "secret.txt").read_text(encoding="utf-8") == "secret"


async def test_a_hard_link_leads_out_of_no_workspace(tmp_path: Path) -> None:
    inside, secret = tmp_path / "in", tmp_path / "secret.txt"
    inside.mkdir()
    secret.write_text("secret", encoding="utf-8")
    (inside / "link.txt").hardlink_to(secret)
    tools = files(inside)
    for name, extra in (("read_file", {}), ("write_file", {"text": "x"}), ("append_file", {"text": "x"})):
        assert "hard link" in text(await tools[name].call({"path": "link.txt", **extra}))
    await tools["delete_file"](path="link.txt")
    assert secret.read_text(encoding="utf-8") == "secret"


async def test_a_workspace_has_a_size(tmp_path: Path) -> None:
    tools = files(tmp_path, max_bytes=10, max_total_bytes=25)
    await tools["write_file"](path="a", text="x" * 10)
    for name, wanted in (("write_file", "x" * 11), ("append_file", "x")):
        result = await tools[name].call({"path": "a", "text": wanted})
        assert "would hold more than 10 bytes" in text(result)
    await tools["write_file"](path="b", text="x" * 10)
    assert "The workspace would hold more than 25" in text(
        await tools["write_file"].call({"path": "c", "text": "x" * 6})
    )
    assert (tmp_path / "a").read_text(encoding="utf-8") == "x" * 10
    for path in ("b", "./b", ".//b"):  # what it held counts no more
        await tools["write_file"](path=path, text="y" * 10)
    await tools["write_file"](path="c", text="y" * 5)
    assert (await tools["append_file"].call({"path": "c", "text": "y"})).is_error
    (tmp_path / "long").write_text("x" * 11, encoding="utf-8")
    assert "holds more than 10 bytes" in text(await tools["read_file"].call({"path": "long"}))
    for number in range(501):
        (tmp_path / f"n{number:03}").touch()
    assert (await tools["list_files"]()).endswith("\n[5 more]")


async def test_a_file_is_read_in_its_own_folder_as_it_is(tmp_path: Path) -> None:
    journal = sy.MemoryJournal()

    async def read(name: str) -> object:
        return await files(tmp_path / name)["read_file"]("note.txt")

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "note.txt").write_text(f"note of {name}", encoding="utf-8")
        assert await sy.run(read, name, run_id="first", journal=journal, policy="cache") == f"note of {name}"
    (tmp_path / "a/note.txt").write_text("changed", encoding="utf-8")
    assert await sy.run(read, "a", journal=journal, policy="cache") == "changed"
    assert await sy.run(read, "a", run_id="first", journal=journal, policy="cache") == "note of a"


async def test_a_name_that_is_no_text_is_listed_with_its_bytes(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("x", encoding="utf-8")
    assert text(await files(tmp_path)["list_files"].call({})) == "caf\\udce9.txt (1)"


@pytest.mark.parametrize("name", ["write_file", "append_file"])
async def test_what_is_too_long_leaves_no_file_and_no_folder(tmp_path: Path, name: str) -> None:
    result = await files(tmp_path, max_bytes=10)[name].call({"path": "new/long.txt", "text": "x" * 11})
    assert "would hold more than 10 bytes" in text(result)
    assert not (tmp_path / "new").exists()
