"""Programming tasks: what their text says of right programs, and inputs to tell programs apart by.

task.examples       # ["assert area(2, 3) == 6"]: the filter, read from the task's own text
task.probes         # ["area(3, 3)", "area(2, 4)"]: behaviour on inputs made from the examples'
task.hidden         # what decides in the end
"""

from __future__ import annotations

import ast
import doctest
import random
import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.datasets import rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROBES = 8
_SAYS = re.compile(r"\s*(?:==>|=>|==|=|->|➞|#\s*=>|#?\s*returns|(?:should|will) return|#)\s*(.+)")
_SCANNED = 400  # characters of a call


@dataclass(frozen=True, slots=True)
class Programming:
    """A function to write: its head and text, and the tests that nobody sees."""

    id: str
    prompt: str
    name: str
    hidden: str

    def program(self, code: str) -> str:
        """A whole program: the task's own head, whose function the answer defines anew."""
        return f"{self.prompt.rstrip()}\n    pass\n\n{code}"

    def tested(self, code: str) -> str:
        """The program with the hidden tests after it."""
        return f"{self.program(code)}\n{self.hidden}\ncheck({self.name})"

    @property
    def calls(self) -> list[tuple[str, str]]:
        """Calls in the text, each with the literal it is said to give."""
        return list(dict.fromkeys([*_doctests(self.prompt, self.name), *_said(self.prompt, self.name)]))

    @property
    def examples(self) -> list[str]:
        """The calls as assertions."""
        return [f"assert {call} == {value}" for call, value in self.calls]

    @property
    def probes(self) -> list[str]:
        """Calls with arguments near those of the examples; none where there are no examples."""
        generator = random.Random(self.id)
        found: dict[str, None] = {}
        for _ in range(4 * PROBES) if self.calls else ():
            tree = ast.parse(generator.choice(self.calls)[0], mode="eval")
            found[ast.unparse(ast.fix_missing_locations(_Changing(generator).visit(tree)))] = None
        return [each for each in found if each not in {call for call, _ in self.calls}][:PROBES]


def humaneval(data: Path, *, seed: int) -> list[Programming]:
    """Hand-written functions (Chen 2021, arXiv:2107.03374), in an order drawn by seed."""
    found = [
        Programming(str(row["task_id"]), str(row["prompt"]), str(row["entry_point"]), str(row["test"]))
        for row in rows(data / "humaneval" / "humaneval.jsonl")
    ]
    return random.Random(seed).sample(found, len(found))


def _doctests(text: str, name: str) -> Iterator[tuple[str, str]]:
    bare = re.sub(r"\"{3}|'{3}", "\n", text)  # the quotes that end the text are no part of an example
    with suppress(ValueError):
        for example in doctest.DocTestParser().get_examples(bare):
            if example.source.startswith(f"{name}(") and _is_literal(example.want):
                yield example.source.strip(), example.want.strip()


def _said(text: str, name: str) -> Iterator[tuple[str, str]]:
    """Calls followed by what they give, on one line: `f(1) == 2`, `f(1) ➞ 2`, `f(1) returns 2`."""
    for found in re.finditer(rf"\b{re.escape(name)}\(", text):
        call = _call(text[found.start() : found.start() + _SCANNED])
        said = _SAYS.match(text[found.start() + len(call) :].partition("\n")[0]) if call else None
        value = said[1].partition(" #")[0].strip().rstrip(".") if said else ""
        if _is_literal(value):
            yield " ".join(call.split()), value


def _call(text: str) -> str:
    """The call that a text begins with, up to its closing bracket; empty where its arguments are no literals."""
    for found in re.finditer(r"\)", text):
        with suppress(SyntaxError, ValueError):
            tree: Any = ast.parse(text[: found.end()], mode="eval").body
            if isinstance(tree, ast.Call) and not tree.keywords:
                for each in tree.args:
                    ast.literal_eval(each)
                return text[: found.end()]
    return ""


def _is_literal(text: str) -> bool:
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        ast.literal_eval(text.strip())
        return True
    return False


class _Changing(ast.NodeTransformer):
    """Changes numbers by a little, texts and lists by their order and length."""

    def __init__(self, generator: random.Random) -> None:
        self._generator = generator

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        value, draw = node.value, self._generator
        if isinstance(value, bool):
            return ast.Constant(draw.choice([True, False]))
        if isinstance(value, int):
            return ast.Constant(max(0, value + draw.randint(-2, 3)))
        if isinstance(value, float):
            return ast.Constant(round(value + draw.uniform(0, 2), 2))
        if isinstance(value, str) and value:
            signs = draw.sample(value, len(value)) if draw.random() < 0.5 else list(value) * draw.randint(1, 2)
            return ast.Constant("".join(signs))
        return node

    def visit_List(self, node: ast.List) -> ast.expr:
        inner = [self.visit(each) for each in node.elts]
        if len(inner) > 1 and self._generator.random() < 0.5:
            inner = self._generator.sample(inner, self._generator.randint(1, len(inner)))
        return ast.List(inner, ast.Load())


__all__ = ["Programming", "humaneval"]
