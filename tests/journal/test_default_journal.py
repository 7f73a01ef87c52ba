from __future__ import annotations

import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from synthon.core.errors import JournalError, UserError
from synthon.journal import SQLiteJournal, default_journal, default_path, runs
from tests.journal.rows import a_span


def wait_for_prune() -> None:
    for thread in threading.enumerate():
        if thread.name == "synthon-journal-prune":
            thread.join(30)


def test_it_lies_in_the_users_data_folder(home: Path) -> None:
    journal = default_journal()
    assert journal is not None
    assert journal.path == home / "data" / "synthon" / "journal.db" == default_path()
    assert stat.S_IMODE(journal.path.parent.stat().st_mode) == 0o700
    journal.close()


def test_without_a_data_folder_it_lies_below_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".local" / "share" / "synthon" / "journal.db"


def test_the_environment_names_another_file_or_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SYNTHON_JOURNAL", str(tmp_path / "deep" / "mine.db"))
    journal = default_journal()
    assert journal is not None
    assert journal.path == tmp_path / "deep" / "mine.db"
    journal.close()
    monkeypatch.setenv("SYNTHON_JOURNAL", "off")
    assert default_journal() is None


def test_it_is_opened_once_and_again_after_it_was_closed() -> None:
    first = default_journal()
    assert first is not None
    assert default_journal() is first
    first.close()
    second = default_journal()
    assert second is not None
    assert second is not first
    second.close()


def test_rows_older_than_the_days_kept_are_removed(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("SYNTHON_JOURNAL_DAYS", "10")
    path = home / "data" / "synthon" / "journal.db"
    path.parent.mkdir(parents=True)
    now, day = time.time(), 86_400
    with SQLiteJournal(path) as journal:
        for days in (12, 9):
            journal.write(a_span(f"{days}-days", run=f"{days}-days", start=now - days * day, end=now - days * day))
    opened = default_journal()
    assert opened is not None
    wait_for_prune()
    assert [run.id for run in runs(path)] == ["9-days"]
    opened.close()


@pytest.mark.parametrize(("kept", "days"), [("0", 4000), ("90", 90.5)])
def test_rows_are_kept_for_ever_on_request_and_until_a_day_is_over(
    kept: str, days: float, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("SYNTHON_JOURNAL_DAYS", kept)
    path = home / "data" / "synthon" / "journal.db"
    path.parent.mkdir(parents=True)
    with SQLiteJournal(path) as journal:
        journal.write(a_span(end=time.time() - days * 86_400))
    opened = default_journal()
    assert opened is not None
    wait_for_prune()
    assert len(runs(path)) == 1
    opened.close()


@pytest.mark.parametrize("days", ["soon", "-1", "nan", "inf"])
def test_a_wrong_number_of_days_is_refused(days: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNTHON_JOURNAL_DAYS", days)
    with pytest.raises(UserError, match=f"SYNTHON_JOURNAL_DAYS is '{days}', not a number of days"):
        default_journal()


def test_a_folder_that_cannot_be_made_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SYNTHON_JOURNAL", str(tmp_path / "file" / "journal.db"))
    with pytest.raises(JournalError, match=r"folder '.*file' cannot be made: .*Set SYNTHON_JOURNAL"):
        default_journal()


def test_importing_the_room_opens_no_file(home: Path) -> None:
    subprocess.run([sys.executable, "-c", "import synthon.journal"], check=True, timeout=60)
    assert not (home / "data").exists()
