"""Every ```python block of the README and of docs/ runs; the blocks of one page share their names, as a reader does."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

import synthon as sy
from synthon.optimize import plan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _pytest.mark import ParameterSet

ROOT = Path(__file__).resolve().parent.parent
FENCE = re.compile(r"^(?P<indent> *)```python *\n(?P<code>.*?)^(?P=indent)``` *$", re.MULTILINE | re.DOTALL)


def pages() -> list[ParameterSet]:
    """README and docs/; a page whose code loads the embedded model joins the engine's tests."""
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [
        pytest.param(
            page,
            id=page.relative_to(ROOT).as_posix(),
            marks=[pytest.mark.engine] if "sy.local(" in "".join(blocks(page.read_text(encoding="utf-8"))) else [],
        )
        for page in found
    ]


def blocks(text: str) -> Iterator[str]:
    """Each block padded with empty lines, so that a traceback names the line of the page."""
    for found in FENCE.finditer(text):
        lines = [line.removeprefix(found["indent"]) for line in found["code"].splitlines(keepends=True)]
        yield "\n" * text.count("\n", 0, found.start("code")) + "".join(lines)


def run_page(page: Path, module: ModuleType) -> None:
    with asyncio.Runner() as runner:  # blocks that await share one loop; the others run outside it, as in a script
        for source in blocks(page.read_text(encoding="utf-8")):
            code = compile(source, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
            result = eval(code, module.__dict__)  # noqa: S307 - our own pages
            if inspect.iscoroutine(result):
                runner.run(result)


@pytest.mark.parametrize("page", pages())
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # dataclasses and pydantic look their module up
    run_page(page, module)


def test_the_reference_lists_every_public_name() -> None:
    page = (ROOT / "docs" / "reference" / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"\[`(\w+)`\]\[synthon\.[\w.]+\]", page)  # that each leads somewhere, the site's build checks
    assert sorted(listed) == sorted(name for name in sy.__all__ if not name.startswith("__"))


def test_a_broken_block_is_named_by_its_line(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\nx = 1\n```\n\ntext\n\n```python\nx.no_such_name\n```\n", encoding="utf-8")
    with pytest.raises(AttributeError, match="no_such_name") as caught:
        run_page(page, ModuleType("page"))
    assert caught.traceback[-1].lineno + 1 == 10


@pytest.mark.engine
async def test_the_designs_example_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType("design")
    monkeypatch.setitem(sys.modules, "design", module)
    defined, _, search = next(blocks((ROOT / "DESIGN.md").read_text(encoding="utf-8"))).partition("run = await")
    exec(compile(defined, "DESIGN.md", "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - our own page
    budget = eval(re.findall(r"budget=(sy\.Budget\(.*?\))", search)[0], module.__dict__)  # noqa: S307 - same
    rows = [sy.Case({"message": f"I lost card {number}"}, "card") for number in range(8)]
    planned = await plan(module.support, rows[:4], rows[4:], metric=sy.metrics.exact_match, budget=budget)
    assert planned.refused == ""
    assert planned.dearest.unpriced == ""
