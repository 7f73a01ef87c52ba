"""Where rows go when nobody says where: one journal per user, or none."""

from __future__ import annotations

import logging
import os
import threading
import time
from pathlib import Path

from synthon.core.errors import JournalError, UserError
from synthon.journal.sqlite import SQLiteJournal

log = logging.getLogger("synthon")
DAY = 86_400.0
PRUNER = "synthon-journal-prune"
_opened: dict[Path, SQLiteJournal] = {}
_known: dict[tuple[str, str, str], SQLiteJournal] = {}  # without those whose path depends on the working directory
_opening = threading.Lock()


def default_path() -> Path | None:
    """The file of the default journal: `$SYNTHON_JOURNAL`, else one in the user's data folder; None where it is off."""
    setting = _setting()
    return None if setting[0].lower() == "off" else _path(*setting).absolute()


def _setting() -> tuple[str, str, str]:
    get = os.environ.get
    return get("SYNTHON_JOURNAL", ""), get("XDG_DATA_HOME", ""), get("HOME", "")


def _path(named: str, data: str, _home: str) -> Path:
    if named:
        return Path(named).expanduser()
    return Path(data or Path.home() / ".local" / "share") / "synthon" / "journal.db"


def default_journal() -> SQLiteJournal | None:
    """The default journal, opened once per process and path; None where `SYNTHON_JOURNAL=off`.

    Rows older than `$SYNTHON_JOURNAL_DAYS` (90; 0 keeps all) are removed in the background, once they are a day over.

    Raises:
        JournalError: the file cannot be opened.
        UserError: `$SYNTHON_JOURNAL_DAYS` is no number of days.
    """
    if os.environ.get("SYNTHON_JOURNAL") == "off":
        return None
    setting = _setting()
    known = _known.get(setting)  # a step outside a program asks at every call
    if known is not None and not known.closed:
        return known
    path = default_path()
    if path is None:
        return None
    with _opening:
        journal = _opened.get(path)
        if journal is None or journal.closed:
            days = _retention_days()
            _make_folder(path.parent)
            journal = _opened[path] = SQLiteJournal(path)
            if days:
                # no hurry and maybe seconds of work: never in the way of the first call
                forget = threading.Thread(target=_forget_old, args=(journal, days), name=PRUNER, daemon=True)
                forget.start()
        if path == _path(*setting):
            _known[setting] = journal
        return journal


def _retention_days() -> float:
    text = os.environ.get("SYNTHON_JOURNAL_DAYS", "90")
    try:
        days = float(text)
    except ValueError:
        days = -1.0
    if not 0 <= days < float("inf"):
        msg = f"SYNTHON_JOURNAL_DAYS is {text!r}, not a number of days. Set it to 90, say, or to 0 to keep all rows."
        raise UserError(msg)
    return days


def _forget_old(journal: SQLiteJournal, days: float) -> None:
    before = time.time() - days * DAY
    try:
        oldest = journal.oldest()
        if oldest is not None and oldest < before - DAY:
            journal.prune(before)
    except JournalError:
        log.exception("old rows stay in the default journal")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        msg = (
            f"The default journal's folder {str(folder)!r} cannot be made: {type(error).__name__}: {error.strerror}. "
            "Set SYNTHON_JOURNAL to a file that may be written, or to 'off'."
        )
        raise JournalError(msg) from error
