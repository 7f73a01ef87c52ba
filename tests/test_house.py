"""The house keeps its form: sizes, rooms and their signs, what importing costs, nothing that must not be in a file."""

from __future__ import annotations

import ast
import functools
import importlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "synthon"
CODE_FOLDERS = ("src", "tests", "benchmarks", "scripts")

FILE_LINES = 500
FUNCTION_LINES = 80
CORE_LINES = 3_400  # of code, __init__ aside: docs/decisions/0001, 0003, 0004, 0007, 0010, 0011, 0014 and 0019
SYSTEM_LINES = 200  # a file of systems/ or bridges/
STRATEGY_LINES = 150  # of code, of a file of strategies/
IMPORT_MODULES = 300

# DESIGN.md section 4 says what a room is about; a quarter more is still about that.
ROOM_LINES = {
    "cli": 600,  # docs/decisions/0004
    "ui": 800,
    "gateway": 1_500,
    "ops": 1_000,
    "scale": 400,
    "optimize": 2_400,  # docs/decisions/0019
    "evals": 1_500,
    "strategies": 1_200,  # docs/decisions/0019
    "retrieval": 1_800,
    "tools": 1_250,  # docs/decisions/0010
    "guards": 1_200,
    "models": 2_000,  # docs/decisions/0021
    "wrappers": 1_600,  # docs/decisions/0021
    "journal": 900,
    "runs": 400,  # docs/decisions/0021
    "weights": 500,  # docs/decisions/0021
    "documents": 700,  # docs/decisions/0021
    "engine": 1_100,
    "decoding": 2_100,  # docs/decisions/0015
    "progress": 100,
}
SLACK = 1.25

CORE_MAY_IMPORT = {"annotated_types", "pydantic", "pydantic_core", "synthon", "typing_extensions"}

# Written so that this file does not hold them itself.
REGISTRY_HOSTS = re.compile(
    r"\b(?:[\w-]+[.])*(?:pypi[.]org|pythonhosted[.]org|npmjs[.](?:org|com)|yarnpkg[.]com|proxy[.]golang[.]org"
    r"|(?:deb|security|archive|ftp)[.](?:debian[.]org|ubuntu[.]com)|anaconda[.]org|crates[.]io)\b"
)


@functools.cache
def tracked_files() -> tuple[Path, ...]:
    """Files under version control, and new ones not ignored."""
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


def python_files() -> Iterator[Path]:
    for path in tracked_files():
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in CODE_FOLDERS:
            yield path


def rooms_from_top() -> list[str]:
    """Every room of the design, in the order of the layers contract."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["id"] == "rooms")
    return [room.strip(" ()") for line in layers for room in line.split("|")]


def rooms() -> dict[str, Path]:
    """The rooms that hold something: name to the file with the sign."""
    found = {}
    for name in rooms_from_top()[1:]:  # `__main__` is a door, no room
        for path in (SOURCE / name / "__init__.py", SOURCE / f"{name}.py"):
            if path.is_file():
                found[name] = path
    return found


def files_of(room: str) -> list[Path]:
    single = SOURCE / f"{room}.py"
    return [single] if single.is_file() else sorted((SOURCE / room).rglob("*.py"))


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def code_lines(path: Path) -> int:
    """Lines that are neither blank nor a comment nor part of a docstring (docs/decisions/0001)."""
    source = path.read_text(encoding="utf-8")
    words: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            words |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    stripped = [(number, line.strip()) for number, line in enumerate(source.splitlines(), 1)]
    return sum(bool(line) and not line.startswith("#") and number not in words for number, line in stripped)


def sign(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n")[0]


def long_functions(source: str) -> list[str]:
    return [
        f"{node.name} (line {node.lineno})"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > FUNCTION_LINES
    ]


def exported(source: str) -> list[str] | None:
    """The names in `__all__`, None where there is none."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
                names: list[str] = ast.literal_eval(node.value)
                return list(names)
    return None


def runtime_imports(tree: ast.AST) -> Iterator[str]:
    """Top-level packages a file imports when it runs, not those for type checkers only."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in {"TYPE_CHECKING", "typing.TYPE_CHECKING"}:
            for branch in node.orelse:
                yield from runtime_imports(ast.Module(body=[branch], type_ignores=[]))
        elif isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0] if node.level == 0 else "synthon"
        else:
            yield from runtime_imports(node)


def tree_of_rooms() -> str:
    """The README's tree: rooms from top to bottom with their signs."""
    names = [(f"{name}.py" if path.stem == name else f"{name}/", sign(path)) for name, path in rooms().items()]
    width = max((len(name) for name, _ in names), default=0) + 2
    branches = [
        f"{'└──' if n == len(names) else '├──'} {name:<{width}}{text}" for n, (name, text) in enumerate(names, 1)
    ]
    return "\n".join(["```text", "src/synthon/", *branches, "```"])


def test_no_file_is_longer_than_an_idea() -> None:
    found = {str(path.relative_to(ROOT)): n for path in python_files() if (n := lines(path)) > FILE_LINES}
    assert not found, f"Split these; a file is one idea of at most {FILE_LINES} lines: {found}"


def test_no_function_runs_over_the_wall() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in python_files()
        for name in long_functions(path.read_text(encoding="utf-8"))
    ]
    assert not found, f"Over {FUNCTION_LINES} lines: {found}"


def test_the_kernel_is_read_in_an_hour() -> None:
    total = sum(map(code_lines, (path for path in files_of("core") if path.stem != "__init__")))
    assert 0 < total <= CORE_LINES, f"core/ has {total} lines of code; move something into a room above"


def test_a_room_stays_about_the_size_of_the_design() -> None:
    totals = {room: sum(map(code_lines, files_of(room))) for room in rooms() if room in ROOM_LINES}
    found = {room: (n, ROOM_LINES[room]) for room, n in totals.items() if n > ROOM_LINES[room] * SLACK}
    assert not found, f"Rooms that outgrew DESIGN.md section 4 (lines of code, planned): {found}"


@pytest.mark.parametrize("room", ["systems", "bridges"])
def test_a_system_from_the_literature_fits_in_a_small_file(room: str) -> None:
    found = {path.name: n for path in files_of(room) if (n := lines(path)) > SYSTEM_LINES}
    assert not found, f"A file of {room}/ has at most {SYSTEM_LINES} lines: {found}"


def test_a_strategy_fits_in_a_small_file() -> None:
    found = {path.name: n for path in files_of("strategies") if (n := code_lines(path)) > STRATEGY_LINES}
    assert not found, f"A file of strategies/ has at most {STRATEGY_LINES} lines of code: {found}"


def test_every_package_below_synthon_is_a_room_of_the_design() -> None:
    here = {path.stem for path in SOURCE.iterdir() if path.suffix == ".py" or any(path.glob("*.py"))}
    assert here - {"__init__"} <= set(rooms_from_top())
    assert (SOURCE / "py.typed").is_file()


@pytest.mark.parametrize("room", list(rooms()))
def test_a_room_has_a_sign_and_says_what_it_offers(room: str) -> None:
    path = rooms()[room]
    assert re.fullmatch(r"[A-Z].{8,110}\.", sign(path)), f"{path}: the first line of the docstring is the room's sign"
    names = exported(path.read_text(encoding="utf-8"))
    assert names, f"{path} has no literal __all__"
    assert names == sorted(set(names)), f"{path}: sort __all__ and name nothing twice"


def test_the_composition_root_sorts_its_names() -> None:
    synthon = importlib.import_module("synthon")  # here: a broken package must fail this test, not the whole file
    names = list(synthon.__all__)
    assert names == sorted(set(names))
    missing = [name for name in names if not hasattr(synthon, name)]
    assert not missing, f"synthon.__all__ names what is not there: {missing}"


def test_the_readme_shows_the_rooms_as_they_are() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"<!-- rooms -->\n(.*?)\n<!-- /rooms -->", readme, re.DOTALL)
    assert shown, "README.md has no <!-- rooms --> block"
    assert shown[1].strip() == tree_of_rooms(), f"Put this between the markers of README.md:\n{tree_of_rooms()}"


def test_the_kernel_imports_the_standard_library_and_pydantic_only() -> None:
    allowed = CORE_MAY_IMPORT | sys.stdlib_module_names
    found = {
        f"{path.name}: {name}"
        for path in files_of("core")
        for name in runtime_imports(ast.parse(path.read_text(encoding="utf-8")))
        if name not in allowed
    }
    assert not found


def test_importing_synthon_is_light() -> None:
    """Measured in a fresh interpreter without this one's coverage tracer."""
    program = "import sys, json, synthon; print(json.dumps(sorted(sys.modules)))"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("COV_", "COVERAGE_", "PYTEST_"))}
    printed = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=clean
    ).stdout
    modules = set(json.loads(printed))
    heavy = {"aiohttp", "apsw", "llama_cpp", "numpy", "onnxruntime", "rich", "tokenizers", "usearch"} & modules
    assert not heavy, f"import synthon must not load {heavy}; names of other rooms are lazy"
    assert len(modules) < IMPORT_MODULES


def test_no_file_names_a_registry() -> None:
    found = []
    for path in tracked_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {hit[0]}" for hit in REGISTRY_HOSTS.finditer(text)]
    assert not found, f"Name packages, never the host they come from: {found}"


def test_constraints_are_exact_pins_and_nothing_else() -> None:
    pins = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    odd = [line for line in pins if not re.fullmatch(r"[A-Za-z0-9._-]+==[\w.!+-]+", line)]
    assert pins
    assert not odd


def test_the_measuring_sticks_of_this_file_can_fail() -> None:
    assert long_functions("def f():\n" + "    x = 1\n" * FUNCTION_LINES) == ["f (line 1)"]
    assert long_functions("def f():\n" + "    x = 1\n" * (FUNCTION_LINES - 1)) == []
    assert exported("x = 1") is None
    assert exported("__all__: list[str] = ['b', 'a']") == ["b", "a"]
    guarded = "if TYPE_CHECKING:\n    import numpy\nelse:\n    import apsw\ndef f():\n    from rich import x\n"
    assert sorted(runtime_imports(ast.parse(guarded))) == ["apsw", "rich"]
    assert REGISTRY_HOSTS.search("https://files.python" + "hosted.org/x")
    assert not REGISTRY_HOSTS.search("https://huggingface.co/x")
