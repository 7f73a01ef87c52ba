from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import apsw
import pytest

from synthon.core.errors import JournalError
from synthon.core.protocols import RunRecord, Span
from synthon.journal import SQLiteJournal, runs
from synthon.journal.schema import APPLICATION_ID, MIGRATIONS, connect, migrate
from tests.journal.rows import a_span

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def test_a_new_file_gets_the_newest_schema(path: Path) -> None:
    SQLiteJournal(path).close()
    with apsw.Connection(str(path)) as connection:
        assert connection.pragma("user_version") == len(MIGRATIONS)
        assert connection.pragma("application_id") == APPLICATION_ID
        for table, record in (("spans", Span), ("runs", RunRecord)):
            columns = {row[0] for row in connection.execute("SELECT name FROM pragma_table_info(?)", (table,))}
            assert columns == {"n", *(field.name for field in fields(record))}


def test_an_older_file_is_brought_up_to_date_and_keeps_its_rows(path: Path) -> None:
    with SQLiteJournal(path) as journal:
        journal.write(a_span())
    newer = (*MIGRATIONS, "ALTER TABLE spans ADD COLUMN mood TEXT DEFAULT 'calm'")
    connection = connect(path)
    migrate(connection, path, newer)
    assert connection.execute("SELECT id, mood FROM spans").fetchall() == [("s1", "calm")]
    migrate(connection, path, newer)
    connection.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    SQLiteJournal(path).close()
    connection = connect(path)
    with pytest.raises(apsw.SQLError, match="no such table"):
        migrate(connection, path, (*MIGRATIONS, "CREATE TABLE half (x); INSERT INTO nowhere VALUES (1)"))
    assert connection.pragma("user_version") == len(MIGRATIONS)
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'half'").get == 0
    connection.close()


def test_a_newer_file_is_refused_with_both_versions(path: Path) -> None:
    SQLiteJournal(path).close()
    with apsw.Connection(str(path)) as connection:
        connection.pragma("user_version", 99)
    with pytest.raises(JournalError, match=r"has schema version 99, this version of Synthon knows up to 3\. Upgrade"):
        SQLiteJournal(path)
    with pytest.raises(JournalError, match="has schema version 99"):
        runs(path)


def test_another_programs_database_is_left_alone(path: Path) -> None:
    with apsw.Connection(str(path)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(JournalError, match="is a database, but no journal of Synthon's"):
        SQLiteJournal(path)
    with apsw.Connection(str(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("Dear diary, " * 500)
    with pytest.raises(JournalError, match="cannot be opened: NotADBError"):
        SQLiteJournal(path)
    assert path.read_text().startswith("Dear diary")


def test_reading_a_file_whose_tables_were_never_made_says_what_to_do(path: Path) -> None:
    path.touch()
    with pytest.raises(JournalError, match=r"has schema version 0, .*Open it once for writing"):
        runs(path)
