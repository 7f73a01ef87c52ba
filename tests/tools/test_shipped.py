"""The tools that come with the house: arithmetic, dates, code, SQL, pages, passages."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
import sqlite3
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import apsw
import duckdb
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

import synthon as sy
from synthon.retrieval import Document, Index
from synthon.tools import (
    calculator,
    calendar,
    effects_of,
    http_get,
    python,
    search,
    sql,
)
from tests.tools.confining import sandbox_of
from tests.tools.words import text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PNG = base64.b64decode("iVBORw0KGgo=")
today, days_between, date_after = calendar


# ------------------------------------------------------------------------------------------------- arithmetic


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("0.1 + 0.2", "0.3"),
        ("(12.5 + 3) * 4 ** 2 / 7", "35.428571428571428571428571428571428571428571428571"),
        ("2^10", "1024"),
        ("7 × 6 ÷ 2", "21"),
        ("-7 // 2", "-4"),
        ("-7 % 3", "2"),
        ("7 % -3", "-2"),
        ("7 // -2", "-4"),
        ("-6 % 3", "0"),
        ("5.5 % 0.1", "0"),
        ("-0.7 % 0.2", "0.1"),
        ("2 ** 100", "1267650600228229401496703205376"),
        ("sqrt(2) ** 2 - 2 < 1", None),
        ("round(sqrt(2), 3) + round(1.5)", "3.414"),
        ("floor(-1.5) + ceil(1.2) + abs(-3) + max(1, 2) + min(3, 4)", "8"),
        ("round(sin(pi / 2), 12)", "1"),
        ("round(ln(e) + log10(1000) + exp(0), 20)", "5"),
        ("+3", "3"),
        ("1e3", "1000"),
        ("-0", "0"),
        ("10 ** 60", "1E+60"),
        ("0.12345678901234567890123 * 1_0", "1.2345678901234567890123"),
        ("1e400", "1E+400"),
    ],
)
async def test_a_calculation_is_exact(expression: str, value: str | None) -> None:
    result = await calculator.call({"expression": expression})
    assert (text(result) if not result.is_error else None) == value


@pytest.mark.parametrize(
    "expression",
    [
        "1 / 0",
        "10 ** 10 ** 10",
        "9 ** 9 ** 9 ** 9",
        "sqrt(-1)",
        "ln(0)",
        "1 / ln(0)",
        "exp(log10(0 * 3))",
        "max(1, ln(0))",
        "1 +",
        "",
        "__import__('os')",
        "x",
        "'a' * 3",
        "True + 1",
        "[1][0]",
        "max()",
        "sqrt(1, 2, 3)",
        "max(1, key=2)",
        "sin(10 ** 400)",
        "(" * 150 + "1" + ")" * 150 + " +",
        "1" * 501,
        "-" * 490 + "1" + " and 1",
        "(1).real",
        "1j",
    ],
)
async def test_what_is_no_calculation_is_told_to_the_model(expression: str) -> None:
    result = await calculator.call({"expression": expression})
    assert result.is_error
    assert text(result).startswith("ValueError: ")


@pytest.mark.parametrize(
    "expression",
    [
        *(
            "10**60 % 7",
            "2**170 % 7",
            f"{'123456789' * 6}123 % 10",
            "10**55 // 3",
            "(10**60 + 1) % 10**30",
            "1 % 10**50",
        ),
        *("10**30 % 10**-30", "1e49 // 0.01"),
    ],
)
async def test_a_remainder_is_exact_or_none(expression: str) -> None:
    result = await calculator.call({"expression": expression})
    assert result.is_error
    assert "50 digits" in text(result)


@given(st.integers(-(10**50) + 1, 10**50 - 1), st.integers(-(10**50) + 1, 10**50 - 1).filter(bool))
async def test_the_longest_whole_numbers_divide_as_pythons(a: int, b: int) -> None:
    assert Decimal(await calculator(f"({a}) % ({b})")) == a % b
    assert Decimal(await calculator(f"({a}) // ({b})")) == a // b


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9).filter(bool))
async def test_whole_numbers_calculate_as_pythons(a: int, b: int) -> None:
    found = await calculator(f"({a}) // ({b}) * ({b}) + ({a}) % ({b})")
    assert Decimal(found) == a
    assert Decimal(await calculator(f"({a}) % ({b})")) == a % b


# ------------------------------------------------------------------------------------------------------ dates


async def test_dates() -> None:
    assert (await today()).startswith(dt.datetime.now(dt.UTC).date().isoformat()[:8])
    assert await days_between(dt.date(2024, 1, 1), dt.date(2025, 1, 1)) == 366
    assert text(await days_between.call({"first": "2024-03-01", "last": "2024-02-28"})) == "-2"
    assert text(await date_after.call({"date": "2024-01-31", "months": 1})) == "2024-02-29, Thursday"
    assert await date_after(dt.date(2024, 2, 29), years=1, days=1) == "2025-03-01, Saturday"
    assert await date_after(dt.date(2024, 1, 15), months=-13, weeks=1) == "2022-12-22, Thursday"
    assert (await date_after.call({"date": "31.1.2024"})).is_error
    assert (await date_after.call({"date": "2024-01-31", "years": 9_000})).is_error


async def test_a_resumed_run_has_the_day_it_had() -> None:
    journal = sy.MemoryJournal()

    async def program() -> str:
        return await today()

    first = await sy.run(program, run_id="r", journal=journal)
    assert await sy.run(program, run_id="r", journal=journal, policy="replay_only") == first


# ------------------------------------------------------------------------------------------------------- code


@pytest.mark.parametrize("name", ["monty", "bubblewrap"])
async def test_code_as_a_tool(name: str) -> None:
    run = python(sandbox_of(name))
    assert effects_of(run) == {"exec"}
    assert await run("print('so')\n6 * 7") == "so\n42"
    assert (await run("x = 1")).startswith("It ran and printed nothing.")
    failed = await run.call({"code": "print('so far')\n1 / 0"})
    assert failed.is_error
    assert "so far\n" in text(failed)
    assert "ZeroDivisionError" in text(failed)


# -------------------------------------------------------------------------------------------------------- SQL


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.db"
    with sqlite3.connect(path) as made:
        made.execute("CREATE TABLE item (name TEXT, price REAL, picture BLOB)")
        made.executemany("INSERT INTO item VALUES (?, ?, ?)", [(f"n{n}", n, b"\xff") for n in range(150)])
    made.close()
    return path


@pytest.fixture
def quack(tmp_path: Path) -> Path:
    path = tmp_path / "shop.duckdb"
    with duckdb.connect(str(path)) as made:
        made.execute("CREATE TABLE item AS SELECT 'n' || i AS name, i AS price FROM range(150) t(i)")
    return path


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


async def test_a_query_of_sqlite(shop: Path) -> None:
    query = sql(shop)
    assert effects_of(query) == {"read"}
    assert "CREATE TABLE item (name TEXT, price REAL, picture BLOB)" in query.description
    one = json.loads(await query("SELECT name, price, picture FROM item WHERE price = 3"))
    assert one == {"columns": ["name", "price", "picture"], "rows": [["n3", 3.0, "x'ff'"]]}
    many = await query("SELECT name FROM item")
    assert many.endswith("\n[there are more rows; 100 are shown]")
    assert json.loads(await query("SELECT name FROM item WHERE price < 0"))["rows"] == []
    assert json.loads(await query("PRAGMA table_info(item)"))["rows"][0][1] == "name"
    wrong = await query.call({"query": "SELECT colour FROM item"})
    assert wrong.is_error
    assert "no such column: colour" in text(wrong)


@pytest.mark.parametrize(
    "attempt",
    [
        "INSERT INTO item VALUES ('x', 1, NULL)",
        "DELETE FROM item",
        "DROP TABLE item",
        "CREATE TABLE x (y)",
        "CREATE TEMP TABLE x (y)",
        "ATTACH 'OUT' AS other",
        "VACUUM INTO 'OUT'",
        "PRAGMA writable_schema = 1",
        "PRAGMA journal_mode = DELETE",
        "PRAGMA temp_store_directory = '/'",
        "SELECT load_extension('OUT')",
        "SELECT readfile('/etc/passwd')",
        "SELECT writefile('OUT', 'x')",
        "SELECT randomblob(100000000)",
        "SELECT 1; DELETE FROM item",
        "CREATE VIRTUAL TABLE x USING fts5(y)",
        "SELECT edit('x')",
    ],
)
async def test_a_query_of_sqlite_changes_nothing_and_reaches_nothing_else(attempt: str, shop: Path) -> None:
    before = contents_of(shop.parent)
    result = await sql(shop).call({"query": attempt.replace("OUT", str(shop.parent / "out.db"))})
    assert result.is_error
    assert contents_of(shop.parent) == before


@pytest.mark.parametrize(
    "attempt",
    [
        "ATTACH 'OUT' AS other",
        "VACUUM INTO 'OUT'",
        "PRAGMA writable_schema = 1",
        "SELECT load_extension('OUT')",
        "CREATE VIRTUAL TABLE x USING fts5(y)",
    ],
)
async def test_one_that_may_write_writes_its_own_database_only(attempt: str, shop: Path) -> None:
    query = sql(shop, write=True)
    assert effects_of(query) == {"read", "write"}
    out = shop.parent / "out.db"
    assert (await query.call({"query": attempt.replace("OUT", str(out))})).is_error
    assert not out.exists()
    await query("DELETE FROM item WHERE price > 1")
    assert json.loads(await query("SELECT count(*) FROM item"))["rows"] == [[2]]
    connection = apsw.Connection(str(shop))
    assert connection.execute("SELECT count(*) FROM item").get == 2
    connection.close()


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
async def test_a_query_that_never_ends_is_stopped(engine: Any) -> None:
    query = sql(":memory:", engine=engine, timeout_s=0.3)
    endless = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT count(*) FROM r"
    result = await query.call({"query": endless})
    assert text(result) == "TimeoutError: The query was stopped after 0.3 s."
    assert json.loads(await query("SELECT 1 AS one")) == {"columns": ["one"], "rows": [[1]]}


async def test_a_query_of_duckdb(quack: Path) -> None:
    query = sql(quack, engine="duckdb")
    assert "CREATE TABLE item" in query.description
    assert json.loads(await query("SELECT sum(price) AS total FROM item")) == {"columns": ["total"], "rows": [[11175]]}
    assert (await query("FROM item")).endswith("[there are more rows; 100 are shown]")
    assert json.loads(await query("SELECT DATE '2024-02-29' AS day"))["rows"] == [["2024-02-29"]]


@pytest.mark.parametrize(
    "attempt",
    [
        "INSERT INTO item VALUES ('x', 1)",
        "COPY item TO 'OUT'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "ATTACH 'OUT' AS other",
        "SET enable_external_access = true",
        "SET lock_configuration = false",
        "INSTALL httpfs",
        "LOAD httpfs",
        "EXPORT DATABASE 'OUT'",
        "SELECT * FROM glob('/*')",
    ],
)
async def test_a_query_of_duckdb_changes_nothing_and_reaches_nothing_else(attempt: str, quack: Path) -> None:
    out = quack.parent / "out"
    result = await sql(quack, engine="duckdb").call({"query": attempt.replace("OUT", str(out))})
    assert result.is_error, text(result)
    assert not out.exists()


async def test_a_database_that_is_not_there_is_the_users_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(sy.UserError, match="no database at"):
        sql(tmp_path / "none.db")
    monkeypatch.setitem(__import__("sys").modules, "duckdb", None)
    with pytest.raises(sy.MissingExtra, match=r"pip install 'synthon\[duckdb\]'"):
        sql(":memory:", engine="duckdb")


# ------------------------------------------------------------------------------------------------------ pages


@asynccontextmanager
async def site() -> AsyncIterator[int]:
    """A site on loopback; its port."""

    async def page(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/picture":
                return web.Response(body=PNG, content_type="image/png")
            case "/long":
                return web.Response(text="é" * 2_000)
            case "/endless":
                reply = web.StreamResponse()
                await reply.prepare(request)
                while True:
                    await reply.write(b"x" * 65536)
            case "/slow":
                await asyncio.sleep(30)
            case "/away":
                raise web.HTTPFound(request.query["to"])
            case "/round":
                raise web.HTTPFound("/round")
            case "/missing":
                raise web.HTTPNotFound(text="no such page")
        return web.Response(text=f"hello {request.headers.get('Cookie', '')}", headers={"Set-Cookie": "a=b"})

    app = web.Application()
    app.router.add_get("/{any:.*}", page)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    server = web.TCPSite(runner, "127.0.0.1", 0)
    await server.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_a_page_of_a_listed_host() -> None:
    async with site() as port:
        get = http_get([f"127.0.0.1:{port}"], max_bytes=1_001, timeout_s=5)
        assert effects_of(get) == {"read", "egress"}
        assert f"127.0.0.1:{port}" in get.description
        assert await get(f"http://127.0.0.1:{port}/") == "hello "
        assert await get(f"http://127.0.0.1:{port}/away?to=/") == "hello "  # and its cookie is not sent back
        assert await get(f"http://127.0.0.1:{port}/picture") == sy.Image("iVBORw0KGgo=", "image/png")
        assert (await get(f"http://127.0.0.1:{port}/long")) == f"{'é' * 500}\n[cut after 1,001 bytes]"
        assert str(await get(f"http://127.0.0.1:{port}/endless")).startswith("xxx")
        missing = await get.call({"url": f"http://127.0.0.1:{port}/missing"})
        assert "answered 404 Not Found: no such page" in text(missing)
        around = await get.call({"url": f"http://127.0.0.1:{port}/round"})
        assert "redirected more than 5 times" in text(around)


async def test_a_slow_page_is_given_up() -> None:
    async with site() as port:
        get = http_get([f"127.0.0.1:{port}"], timeout_s=0.3)
        assert "No answer within 0.3 s." in text(await get.call({"url": f"http://127.0.0.1:{port}/slow"}))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "http://127.0.0.1/",
        "http://127.0.0.1:PORT@example.org/",
        "http://user:x@127.0.0.1:PORT/",
        "http://localhost:PORT/",
        "http://0.0.0.0:PORT/",
        "http://[::1]:PORT/",
        "http://[::ffff:127.0.0.1]:PORT/",
        "http://2130706433:PORT/",
        "http://0x7f000001:PORT/",
        "http://127.1:PORT/",
        "file:///etc/passwd",
        "ftp://127.0.0.1:PORT/",
        "//127.0.0.1:PORT/",
        "not an address",
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:PORT/away?to=http://localhost:PORT/",
        "http://127.0.0.1:PORT/away?to=file:///etc/passwd",
        "http://127.0.0.1:PORT/away?to=//example.org/",
        "http://private.localhost:PORT/",
        "http://localhost.:PORT/",
    ],
)
async def test_a_host_that_is_not_listed_is_not_asked_even_by_a_redirect(url: str) -> None:
    async with site() as port:
        get = http_get([f"127.0.0.1:{port}", "listed.example"], timeout_s=5)
        result = await get.call({"url": url.replace("PORT", str(port))})
        assert result.is_error
        assert "hello" not in text(result)
        assert "is not on the list" in text(result) or "cannot be fetched" in text(result), text(result)


async def test_a_listed_name_that_leads_to_a_private_address_is_not_asked_unless_that_is_listed_too() -> None:
    async with site() as port:
        get = http_get([f"localhost:{port}", f"*.localhost:{port}"])
        result = await get.call({"url": f"http://localhost:{port}/"})
        assert "has no public address" in text(result)
        get = http_get([f"LOCALHOST:{port}", f"127.0.0.1:{port}"])
        assert await get(f"http://localhost:{port}/") == "hello "


# --------------------------------------------------------------------------------------------------- passages


class Shelf:
    """A retriever of a test's own."""

    async def search(self, query: str, *, k: int, where: object = None) -> list[sy.Passage]:
        found = [sy.Passage("Bern is a city.", "a.md"), sy.Passage("So is Basel.", title="Cities"), sy.Passage("x")]
        return found[:k] if query == "city" else []


async def test_search_tells_passages_with_numbers() -> None:
    find = search(Shelf(), k=3, name="manual", description="Search the manual.")
    assert (find.name, find.description) == ("manual", "Search the manual.")
    assert await find("city") == "[1] (a.md) Bern is a city.\n\n[2] (Cities) So is Basel.\n\n[3] x"
    assert await find("none") == "Nothing was found. Try other words."


async def test_search_answers_from_the_index_as_it_is(tmp_path: Path) -> None:
    index, journal = Index(tmp_path / "a.db", embedder="none"), sy.MemoryJournal()

    async def found() -> str:
        return await search(index, k=1)("code")

    for code in ("1111", "2222"):
        await index.add(Document(f"The code is {code}.", "a"))
        assert await sy.run(found, journal=journal, policy="cache") == f"[1] (a) The code is {code}."
    assert await sy.run(found, journal=journal, policy="cache") == "[1] (a) The code is 2222."
    spans = [row for row in journal.records if isinstance(row, sy.Span) and row.kind == "tool"]
    assert [(span.name, span.inputs) for span in spans] == [("search", '{"query":"code"}')] * 3


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
async def test_a_query_is_answered_by_its_own_database_as_it_is(tmp_path: Path, engine: Any) -> None:
    module, journal = {"sqlite": sqlite3, "duckdb": duckdb}[engine], sy.MemoryJournal()

    def fill(name: str, word: str) -> None:
        with closing(module.connect(str(tmp_path / name))) as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS t (x TEXT)")
            connection.execute("INSERT INTO t VALUES (?)", [word])
            connection.commit()

    async def asked(name: str) -> list[Any]:
        rows: list[Any] = json.loads(await sql(tmp_path / name, engine=engine)("SELECT x FROM t"))["rows"]
        return rows

    fill("a.db", "a")
    fill("b.db", "b")
    assert await sy.run(asked, "a.db", run_id="first", journal=journal, policy="cache") == [["a"]]
    assert await sy.run(asked, "b.db", journal=journal, policy="cache") == [["b"]]
    assert await sy.run(asked, "b.db", run_id="first", journal=journal, policy="cache") == [["b"]]
    fill("a.db", "more")
    assert await sy.run(asked, "a.db", journal=journal, policy="cache") == [["a"], ["more"]]
    assert await sy.run(asked, "a.db", run_id="first", journal=journal, policy="cache") == [["a"]]


@pytest.mark.parametrize("engine", ["sqlite", "duckdb"])
@pytest.mark.parametrize("query", ["", " ; ", "-- nothing"])
async def test_a_query_of_nothing_finds_nothing(engine: Any, query: str) -> None:
    assert json.loads(await sql(":memory:", engine=engine)(query)) == {"columns": [], "rows": []}
