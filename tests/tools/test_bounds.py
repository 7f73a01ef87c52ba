"""What a page, a file, a query or a server of somebody else's may not do to us."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import apsw
import duckdb
import pytest
from aiohttp import web
from yarl import URL

import synthon as sy
from synthon.tools import call_all, http_get, sql, workspace
from synthon.tools._hosts import entry_of, is_listed
from tests.tools.words import call, text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@asynccontextmanager
async def page(body: bytes, content_type: str) -> AsyncIterator[str]:
    """The host of a site that answers everything alike."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": content_type})

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_a_drawing_in_words_is_text_and_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text("<svg/>", encoding="utf-8")
    assert text(await workspace(tmp_path)[1].call({"path": "a.svg"})) == "<svg/>"
    async with page(b"<svg/>", "image/svg+xml") as host:
        assert await http_get([host])(f"http://{host}/") == "<svg/>"


@pytest.mark.parametrize("charset", ["punycode", "idna", "zip", "none-there-is"])
async def test_a_charset_that_is_none_is_read_as_utf_8(charset: str) -> None:
    body = "é".encode() * 20_000 + b"-" + b"ab" * 20_000
    async with page(body, f"text/html; charset={charset}") as host:
        assert await http_get([host])(f"http://{host}/") == body.decode()


async def test_folders_too_deep_to_walk_are_not_made(tmp_path: Path) -> None:
    tools = {tool.name: tool for tool in workspace(tmp_path)}
    deep = await tools["write_file"].call({"path": "a/" * 1_500 + "x", "text": ""})
    assert "goes through 1500 folders" in text(deep)
    await tools["write_file"](path="a/" * 32 + "x", text="")
    assert text(await tools["list_files"].call({})) == f"{'a/' * 32}x (0)"


async def test_an_empty_database_is_one_to_write_and_says_so() -> None:
    query = sql(":memory:")
    assert "read-only" not in query.description
    asked = ["CREATE TABLE t (x)", "INSERT INTO t VALUES (1)", "SELECT x FROM t"]
    results = await call_all([query], [call("sql", {"query": each}) for each in asked])
    assert text(results[-1]) == '{"columns":["x"],"rows":[[1]]}'
    assert query.effects == {"read", "write"}


async def test_a_query_of_few_but_slow_rows_is_stopped_in_time() -> None:
    slow = (
        "WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 60) "
        "SELECT sum(instr(zeroblob(200000 + i), zeroblob(100000) || x'01')) FROM c"
    )
    started = time.monotonic()
    assert "The query was stopped after 0.2 s." in text(await sql(":memory:", timeout_s=0.2).call({"query": slow}))
    assert time.monotonic() - started < 3  # all of its rows take longer than 10 s


async def test_a_query_waits_for_those_who_write(tmp_path: Path) -> None:
    place = _database("sqlite", tmp_path)
    query = sql(place, write=True)
    with closing(apsw.Connection(str(place))) as other:  # locks of the `sqlite3` module do not bind its own process
        other.execute("BEGIN EXCLUSIVE")
        waiting = asyncio.create_task(query("INSERT INTO t VALUES (8)"))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        other.execute("COMMIT")
        await waiting


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
@pytest.mark.parametrize("attempt", ["BEGIN", "COMMIT", "ROLLBACK", "begin transaction; -- so"])
async def test_a_query_is_a_transaction_of_its_own(engine: Any, attempt: str, tmp_path: Path) -> None:
    query = sql(_database(engine, tmp_path), engine=engine, write=True)
    assert "Each query is a transaction of its own" in text(await query.call({"query": attempt}))
    await query("INSERT INTO t VALUES (8)")
    assert await query("SELECT count(*) AS n FROM t") == '{"columns":["n"],"rows":[[8]]}'


async def test_a_savepoint_is_refused_too() -> None:
    for attempt in ("SAVEPOINT a", "RELEASE a", "ROLLBACK TO a"):
        assert "Each query is a transaction" in text(await sql(":memory:").call({"query": attempt}))


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
@pytest.mark.parametrize(
    "attempt",
    [
        "SELECT x FROM t; DELETE FROM t",
        "DELETE FROM t; SELECT x FROM t",
        "SELECT 'é;' AS a; SELECT 2 AS b",
        "-- all\n; DELETE FROM t /* ; */ ; /* then */ SELECT 1",
        "BEGIN; DELETE FROM t; COMMIT",
    ],
)
async def test_of_several_statements_none_is_run(engine: Any, attempt: str, tmp_path: Path) -> None:
    query = sql(_database(engine, tmp_path), engine=engine, write=True, max_rows=3)
    said = text(await query.call({"query": attempt}))
    assert "A query is one statement" in said or "Each query is a transaction" in said
    assert await query("SELECT count(*) AS n FROM t") == '{"columns":["n"],"rows":[[7]]}'


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
@pytest.mark.parametrize(
    "asked",
    ["SELECT 'é; -- a' AS x", "SELECT 'é; -- a' AS x ;", "/* ; */ SELECT 'é; -- a' AS x; -- so;\n /* ;; */ ; --"],
)
async def test_comments_and_semicolons_are_no_statements(engine: Any, asked: str, tmp_path: Path) -> None:
    query = sql(_database(engine, tmp_path), engine=engine)
    assert await query(asked) == '{"columns":["x"],"rows":[["é; -- a"]]}'


async def test_a_statement_that_gives_too_many_rows_has_done_all_it_does(tmp_path: Path) -> None:
    query = sql(_database("sqlite", tmp_path), write=True, max_rows=2)
    assert "there are more rows" in await query("DELETE FROM t RETURNING x")
    assert await sql(tmp_path / "t.db")("SELECT count(*) AS n FROM t") == '{"columns":["n"],"rows":[[0]]}'
    await query("CREATE TRIGGER twice AFTER INSERT ON t BEGIN DELETE FROM t; INSERT INTO t VALUES (5); END;")
    await query("INSERT INTO t VALUES (1)")
    assert await query("SELECT x FROM t") == '{"columns":["x"],"rows":[[5]]}'


def _database(engine: str, folder: Path) -> Path:
    """A table `t` of the numbers below 7."""
    path = folder / "t.db"
    made: Any = sqlite3.connect(path, isolation_level=None) if engine == "sqlite" else duckdb.connect(str(path))
    with closing(made):
        made.execute("CREATE TABLE t (x INTEGER)")
        made.execute("INSERT INTO t VALUES (0), (1), (2), (3), (4), (5), (6)")
    return path


async def test_an_answer_of_a_database_has_a_size() -> None:
    query = sql(":memory:", engine="duckdb")
    assert len(await query("SELECT repeat('x', 5000000) AS much")) < 1_000_100


@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
@pytest.mark.parametrize("times", [2_000, 500_000])
async def test_a_page_that_is_cut_says_after_how_much(charset: str, times: int) -> None:
    async with page("é".encode(charset) * times, f"text/html; charset={charset}") as host:
        shown = text(await http_get([host], max_bytes=2_001).call({"url": f"http://{host}/"}))
        assert shown == f"{'é' * 1_000}\n[cut after 2,001 bytes]"


async def test_a_page_that_fits_is_whole() -> None:
    async with page("é".encode() * 1_000, "text/html; charset=utf-8") as host:
        assert text(await http_get([host], max_bytes=2_000).call({"url": f"http://{host}/"})) == "é" * 1_000


@pytest.mark.parametrize(
    ("entry", "listed", "others"),
    [
        ("example.org", "http://example.org/ https://EXAMPLE.org./ http://example.org:80/", "http://example.org:443/"),
        ("example.org", "https://example.org:443/", "http://example.org:8080/ http://www.example.org/ https://org/"),
        ("example.org.", "http://example.org/ http://example.org./", "http://example.org.evil.com/"),
        ("EXAMPLE.org:443", "https://example.org/ http://example.org:443/", "http://example.org/ https://a.org:443/"),
        ("example.org:80", "http://example.org/ https://example.org:80/", "https://example.org/"),
        ("example.org:8000", "http://example.org:8000/", "http://example.org/ http://example.org:800/"),
        ("[::1]:8000", "http://[::1]:8000/ http://[0:0:0::1]:8000/", "http://[::1]/ http://[::1:8000]/"),
        ("[::1]", "http://[::1]/ https://[::1]/", "http://[::1]:8000/ http://[::2]/"),
        ("::1:8000", "http://[::1:8000]/", "http://[::1]:8000/ http://[::1]/"),
        ("xn--mnchen-3ya.de", "http://münchen.de/ http://xn--mnchen-3ya.de/", "http://munchen.de/"),
        ("MÜNCHEN.de:443", "https://xn--mnchen-3ya.de/ https://münchen.de/", "http://münchen.de/"),
        ("*.münchen.de", "http://a.b.xn--mnchen-3ya.de/", "http://münchen.de/ http://amünchen.de/"),
        ("*.example.org:80", "http://a.example.org/", "https://a.example.org/ http://example.org/"),
        ("127.0.0.1:443", "https://127.0.0.1/", "http://127.0.0.1/ https://127.0.0.2/ http://127.0.0.1:4430/"),
    ],
)
def test_an_entry_lists_what_it_says_and_no_more(entry: str, listed: str, others: str) -> None:
    hosts = frozenset({entry_of(entry)})
    assert [url for url in listed.split() if not is_listed(URL(url), hosts)] == []
    assert [url for url in others.split() if is_listed(URL(url), hosts)] == []


async def test_an_address_of_ipv6_is_listed_in_brackets() -> None:
    get = http_get(["[::1]:1"], timeout_s=5)
    assert "is not on the list" in text(await get.call({"url": "http://[::1]:2/"}))
    assert "Cannot connect to host ::1:1" in text(await get.call({"url": "http://[::1]:1/"}))


@pytest.mark.parametrize(
    "hosts",
    [
        *("example.org", ["https://example.org/"], [""], ["*"], ["ex*mple.org"], ["example.org:99999"], ["a@b.org"]),
        *(["example.org:http"], ["example.org\n"], ["b.org#a"], ["[::1"], ["b.org?"], ["."], ["b\\a.org"]),
    ],
)
def test_what_is_no_list_of_hosts_is_refused_before_anything_is_asked(hosts: list[str]) -> None:
    with pytest.raises(sy.UserError, match="takes a list of hosts"):
        http_get(hosts)
