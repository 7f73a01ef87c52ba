"""Folders as they are: hostile and broken files each get their reason, and the rest is indexed."""

from __future__ import annotations

import errno
import io
import os
import socket
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from synthon.core.errors import UserError
from synthon.documents.parsing import ParseError, Parser
from synthon.retrieval import Added, Document, Index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with one good file."""
    place = tmp_path / "docs"
    place.mkdir()
    (place / "good.txt").write_text("The good file is found.")
    return place


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index(tmp_path / "i.db", embedder="none") as made:
        yield made


async def only_good(index: Index, added: Added) -> dict[str, str]:
    """Checks that the rest is indexed; gives the reasons of what is not."""
    assert added.added == ("good.txt",)
    assert [passage.text for passage in await index.search("good", k=1)] == ["The good file is found."]
    return {each.id: each.reason for each in added.failed}


async def test_files_without_readable_text_say_why(folder: Path, index: Index) -> None:
    (folder / "empty.txt").write_bytes(b"")
    (folder / "blank.md").write_text(" \n\n")
    (folder / "mark.md").write_text("\ufeff\n")
    (folder / "latin.txt").write_bytes("café".encode("latin-1"))
    (folder / "binary.py").write_bytes(b"text\0more")
    (folder / "half.txt").write_bytes("ok".encode("utf-16") + b"\x00")
    reasons = await only_good(index, await index.add(folder))
    assert "is empty" in reasons["empty.txt"]
    assert "holds no text" in reasons["blank.md"]
    assert "holds no text" in reasons["mark.md"]
    assert "not UTF-8 (byte 0xe9 at 3)" in reasons["latin.txt"]
    assert "NUL byte at 4" in reasons["binary.py"]
    assert "not UTF-16" in reasons["half.txt"]


async def test_a_line_of_500_mb_is_refused_without_being_read(folder: Path, index: Index) -> None:
    with (folder / "huge.txt").open("wb") as huge:
        huge.truncate(500 * 1024 * 1024)
    reasons = await only_good(index, await index.add(folder))
    assert "has 524,288,000 bytes, the limit is 33,554,432" in reasons["huge.txt"]


async def test_a_line_of_2_mb_without_a_space_is_cut(folder: Path, index: Index) -> None:
    (folder / "line.txt").write_text("x" * 2_000_000)
    added = await index.add(folder)
    assert added.added == ("good.txt", "line.txt")
    assert added.chunks == 2_001


async def test_links_pipes_and_sockets_are_not_followed_or_waited_for(folder: Path, index: Index) -> None:
    (folder / "loop").symlink_to(folder)
    (folder / "self.txt").symlink_to("self.txt")
    (folder / "password.txt").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.txt")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(folder, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{here}/socket.txt")  # the folder's own path may be too long for a socket
        os.close(here)
        added = await index.add(folder)
    reasons = await only_good(index, added)
    assert "no regular file" in reasons["pipe.txt"]
    assert set(reasons) == {"pipe.txt", "socket.txt"}
    assert set(added.ignored) == {"self.txt", "password.txt"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
async def test_a_file_that_may_not_be_read_says_so(folder: Path, index: Index) -> None:
    (folder / "secret.txt").write_text("secret")
    (folder / "secret.txt").chmod(0)
    assert "Permission denied" in (await only_good(index, await index.add(folder)))["secret.txt"]


def close(place: Path, monkeypatch: pytest.MonkeyPatch, *, names: bool = True) -> None:
    """Takes the permissions of a folder away, from root too; without `names` it can be listed still."""

    def checked(call: Callable[..., object], name: str) -> Callable[..., object]:
        def refusing(path: str | Path, *rest: object, **named: object) -> object:
            is_listed = names and name == "scandir" and Path(path) == place
            if is_listed or place in Path(path).parents:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return call(path, *rest, **named)

        return refusing

    for name in ("scandir", "stat", "lstat", "open"):
        monkeypatch.setattr(os, name, checked(getattr(os, name), name))


async def test_a_folder_that_may_not_be_read_says_so_and_what_was_indexed_of_it_stays(
    folder: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sub/below").mkdir(parents=True)
    (folder / "sub/below/kept.txt").write_text("kept")
    (folder / "gone.txt").write_text("gone")
    await index.add(folder)
    (folder / "gone.txt").unlink()
    close(folder / "sub", monkeypatch)
    added = await index.add(folder)
    assert (added.unchanged, added.removed) == (("good.txt",), ("gone.txt",))
    assert [each.id for each in added.failed] == ["sub/"]
    assert "cannot be listed: Permission denied" in added.failed[0].reason
    assert index.documents() == ["good.txt", "sub/below/kept.txt"]
    with pytest.raises(UserError, match="no permission to see it"):
        await index.add(folder / "sub/below")
    with pytest.raises(UserError, match="cannot be listed: Permission denied"):
        await index.add(folder / "sub")


async def test_files_that_are_listed_but_may_not_be_opened_fail_alone(
    folder: Path, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "sub").mkdir()
    (folder / "sub/secret.txt").write_text("secret")
    close(folder / "sub", monkeypatch, names=False)
    assert "Permission denied" in (await only_good(index, await index.add(folder)))["sub/secret.txt"]


async def test_a_path_that_is_not_utf_8_says_so(tmp_path: Path, index: Index) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    odd.mkdir()
    (odd / "a.md").write_text("hello")
    for source in (odd, odd / "a.md"):
        with pytest.raises(UserError, match=r"caf.udce9' has a path that is not UTF-8. Rename it"):
            await index.add(source)
    with pytest.raises(UserError, match=r"as an index: .* must be UTF-8: name another"):
        Index(odd / "i.db")
    with pytest.raises(UserError, match="must be UTF-8"):
        index.document("caf\udce9")


async def test_a_name_that_is_not_utf_8_says_so(folder: Path, index: Index) -> None:
    (folder / os.fsdecode(b"bad\xff.txt")).write_text("text")
    reasons = await only_good(index, await index.add(folder))
    assert list(reasons.values()) == ["has a name that is not UTF-8. Rename it."]
    str(await index.add(folder)).encode()


async def test_a_zip_bomb_and_damaged_documents_are_refused(folder: Path, index: Index) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b" " * 64 * 1024 * 1024)
    (folder / "bomb.docx").write_bytes(packed.getvalue())
    (folder / "damaged.docx").write_bytes(packed.getvalue()[:2_000])
    (folder / "damaged.pdf").write_bytes(b"%PDF-1.7\n1 0 obj\n<<")
    reasons = await only_good(index, await index.add(folder))
    assert "archive bomb" in reasons["bomb.docx"]
    assert "cannot be parsed" in reasons["damaged.docx"]
    assert "cannot be parsed" in reasons["damaged.pdf"]


@pytest.mark.slow
async def test_a_page_built_to_take_for_ever_is_given_up_and_the_next_is_read(folder: Path, tmp_path: Path) -> None:
    (folder / "deep.html").write_text("<div>" * 300_000 + "deep")
    (folder / "next.html").write_text("<h1>After</h1><p>The parser was started again.</p>")
    with Index(tmp_path / "i.db", embedder="none", parse_s=8) as index:
        added = await index.add(folder)
        assert (added.added, [each.id for each in added.failed]) == (("good.txt", "next.html"), ["deep.html"])
        assert [passage.document for passage in await index.search("parser started", k=1)] == ["next.html"]


def test_a_parser_that_takes_too_long_is_killed_and_replaced() -> None:
    with Parser(parse_s=0.001) as parser, pytest.raises(ParseError, match=r"longer than 0\.001 s"):
        parser.parse(b"<p>slow</p>", ".html")
    with Parser() as parser:
        assert parser.parse(b"<p>quick</p>", ".html").text == "quick"


async def test_web_pages_lose_what_is_no_content_and_keep_their_headings(folder: Path, index: Index) -> None:
    (folder / "page.html").write_text(
        "<html><head><title>The Guide</title><script>x()</script></head><body><nav>menu</nav><main>"
        "<h1>Install</h1><p>Run the command.</p><h2>On Linux</h2><p>Call <code>apt_get</code> first.</p></main>"
        "<footer>imprint</footer></body></html>"
    )
    await index.add(folder)
    document = index.document("page.html")
    assert document.title == "The Guide"
    assert document.text == "# Install\n\nRun the command.\n\n## On Linux\n\nCall `apt_get` first."
    assert [each.title for each in await index.search("apt_get", k=1)] == ["The Guide > Install > On Linux"]


async def test_word_files_are_read_with_their_headings(folder: Path, index: Index) -> None:
    docx = pytest.importorskip("docx")
    made = docx.Document()
    made.add_heading("Policy", 1)
    made.add_paragraph("Refunds take five days.")
    made.save(folder / "policy.docx")
    await index.add(folder)
    assert index.document("policy.docx").text == "# Policy\n\nRefunds take five days."
    assert [each.title for each in await index.search("refunds", k=1)] == ["Policy"]


async def test_pdf_files_are_read(folder: Path, index: Index) -> None:
    (folder / "note.pdf").write_bytes(small_pdf("Refunds take five days."))
    await index.add(folder)
    found = await index.search("refunds", k=1)
    assert [each.document for each in found] == ["note.pdf"]
    assert "Refunds take five days." in found[0].text


def small_pdf(text: str) -> bytes:
    """A page with one line of text."""
    stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources 6 0 R >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Font << /F1 5 0 R >> >>",
    ]
    found, places = bytearray(b"%PDF-1.4\n"), []
    for number, each in enumerate(objects, 1):
        places.append(len(found))
        found += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = len(found)
    found += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    found += b"".join(b"%010d 00000 n \n" % place for place in places)
    found += b"trailer\n<< /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, table)
    return bytes(found)


async def test_positions_count_in_the_file_itself_whatever_its_line_ends(folder: Path, index: Index) -> None:
    data = "\ufeff# Heading\r\n\r\nSome text\r\nwith lines.\r\n"
    (folder / "windows.md").write_bytes(data.encode())
    await index.add(folder)
    passage = (await index.search("text lines", k=1))[0]
    assert (passage.document, passage.title) == ("windows.md", "Heading")
    assert data[passage.start : passage.end] == passage.text == data.strip("\ufeff\r\n")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
async def test_a_mark_says_how_a_text_is_encoded(folder: Path, index: Index, encoding: str) -> None:
    (folder / "wide.md").write_bytes("\ufeff# Café\n\nSome words.".encode(encoding))
    await index.add(folder)
    assert index.document("wide.md").text == "# Café\n\nSome words."


async def test_what_was_cut_under_other_rules_is_indexed_again(folder: Path, index: Index) -> None:
    with pytest.MonkeyPatch.context() as before:
        before.setattr("synthon.retrieval.adding._RULES", "chunks-1")
        before.setattr("synthon.retrieval.store.CUT_RULES", "chunks-1")
        await index.add(folder)
        digest = index.digest
    assert (await index.add(folder)).changed == ("good.txt",)
    assert index.digest != digest  # else a search would be answered from the row of before


async def test_hidden_and_tool_folders_and_other_kinds_are_left_out(folder: Path, index: Index) -> None:
    for name in (".git", "node_modules", "env"):
        (folder / name).mkdir()
        (folder / name / "x.txt").write_text("hidden")
    (folder / "env/pyvenv.cfg").write_text("")
    (folder / "picture.png").write_bytes(b"\x89PNG")
    (folder / "README").write_text("read me")
    added = await index.add(folder)
    assert (added.added, added.ignored) == (("README", "good.txt"), ("picture.png",))


async def test_a_file_that_can_no_longer_be_read_leaves_the_index(folder: Path, index: Index) -> None:
    await index.add(folder)
    (folder / "good.txt").write_bytes(b"\xff")
    assert [each.id for each in (await index.add(folder)).failed] == ["good.txt"]
    assert index.documents() == []


async def test_two_folders_with_one_name_need_a_prefix(tmp_path: Path, folder: Path, index: Index) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "good.txt").write_text("Another good file.")
    await index.add(folder)
    assert "has the same id. Add this folder with a prefix=" in (await index.add(other)).failed[0].reason
    assert (await index.add(other, prefix="other/")).added == ("other/good.txt",)
    (other / "good.txt").unlink()
    assert (await index.add(other, prefix="other/")).removed == ("other/good.txt",)
    assert index.document("good.txt").text == "The good file is found."


async def test_a_single_file_can_be_added(folder: Path, index: Index) -> None:
    assert (await index.add(folder / "good.txt")).added == ("good.txt",)
    assert (await index.add(str(folder / "good.txt"))).unchanged == ("good.txt",)


async def test_a_link_given_as_a_file_is_refused_with_where_it_leads(folder: Path, index: Index) -> None:
    (folder / "password.txt").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match=r"is a link, .*Pass where it leads: '/etc/passwd'"):
        await index.add(folder / "password.txt")
    assert index.documents() == []


async def test_a_single_file_that_can_no_longer_be_read_leaves_the_index(folder: Path, index: Index) -> None:
    await index.add(folder / "good.txt")
    (folder / "good.txt").write_bytes(b"")
    assert [each.id for each in (await index.add(folder / "good.txt")).failed] == ["good.txt"]
    assert index.documents() == []


async def test_a_file_of_a_folder_that_is_added_alone_still_goes_with_its_folder(folder: Path, index: Index) -> None:
    await index.add(folder)
    assert (await index.add(folder / "good.txt")).unchanged == ("good.txt",)
    (folder / "good.txt").write_text("Changed.")
    assert (await index.add(folder / "good.txt")).changed == ("good.txt",)
    (folder / "good.txt").unlink()
    assert (await index.add(folder)).removed == ("good.txt",)
    assert index.documents() == []


async def test_a_part_of_a_folder_that_is_added_by_itself_goes_with_both(folder: Path, index: Index) -> None:
    (folder / "bank").mkdir()
    for name in "abc":
        (folder / "bank" / f"{name}.txt").write_text(f"Text {name}.")
    await index.add(folder)
    part = folder / "bank"
    assert len((await index.add(part, prefix="bank/")).unchanged) == 3
    (part / "a.txt").unlink()
    assert (await index.add(folder)).removed == ("bank/a.txt",)
    (part / "b.txt").unlink()
    assert (await index.add(part, prefix="bank/")).removed == ("bank/b.txt",)
    assert index.documents() == ["bank/c.txt", "good.txt"]


async def test_a_file_that_fails_leaves_alone_what_another_place_has_under_its_id(
    tmp_path: Path, folder: Path, index: Index
) -> None:
    await index.add(folder)
    (tmp_path / "good.txt").write_text("Another good file.")
    assert "has the same id" in (await index.add(tmp_path / "good.txt")).failed[0].reason
    await index.add(Document("A value.", "value.txt"))
    (tmp_path / "value.txt").write_bytes(b"")
    assert "is empty" in (await index.add(tmp_path / "value.txt")).failed[0].reason
    assert index.documents() == ["good.txt", "value.txt"]


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (Document(" ", "x"), "holds no text"),
        (Document("a\ud800", "x"), "cannot be stored"),
        (Document("a", "x", metadata={"y": float("nan")}), "cannot be stored"),
        (Document("a", "x", metadata={"y": 2**63}), "no text, number (64 bits)"),
        (Document("a", "x", metadata={"y": [1]}), "metadata that is no text, number"),  # type: ignore[dict-item]
    ],
)
async def test_a_document_that_cannot_be_kept_fails_alone_and_its_old_version_goes(
    index: Index, document: Document, reason: str
) -> None:
    await index.add(Document("before", "x"))
    added = await index.add([document, Document("fine", "y")])
    assert reason in added.failed[0].reason
    assert (added.added, index.documents()) == (("y",), ["y"])
    assert str(added).startswith("1 added, 1 failed\n  x: ")
