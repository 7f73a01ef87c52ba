"""Code and function calls in the one shape that all their spellings share."""

from __future__ import annotations

import ast
import json
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

Shape: TypeAlias = "str | Counter[str]"


class TreeError(ValueError):
    """A text is no Python, or a value no call."""


def shape_of(value: object) -> Shape:
    """Calls as a multiset, for their order does not count; any other code as its tree.

    Args:
        value: Python text, a call with `name` and `arguments` (a mapping, or JSON text), or a sequence of calls.

    Raises:
        TreeError: it is neither.
    """
    if isinstance(value, str):
        return _parsed(value)
    inner = getattr(value, "calls", value)
    if isinstance(inner, Sequence):
        shapes = [shape_of(each) for each in inner]
        if not all(isinstance(shape, Counter) for shape in shapes):
            raise TreeError(f"{value!r:.200} holds something that is no call.")
        return sum(map(Counter, shapes), Counter())
    return Counter([_call(inner)])


def _parsed(text: str) -> Shape:
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes that Python takes as they are
            return _shape(_Alike().visit(ast.parse(text.strip())))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise TreeError(f"The code is no Python: {type(error).__name__}: {error}.") from error


class _Alike(ast.NodeTransformer):
    """Numbers that are equal, keyword arguments in any order and texts with a u before them become the same."""

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        value = node.value
        return ast.Constant(int(value) if isinstance(value, float) and value.is_integer() else value)

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        node.keywords.sort(key=ast.dump)
        return node


def _shape(tree: ast.Module) -> Shape:
    calls: list[ast.expr] = []
    for node in tree.body:
        value = node.value if isinstance(node, ast.Expr) else None
        calls += value.elts if isinstance(value, ast.List | ast.Tuple) else [value] if value is not None else []
        if value is None or not all(isinstance(call, ast.Call) for call in calls):
            return ast.dump(_bare(tree))
    return Counter(_written(call) for call in calls if isinstance(call, ast.Call))


def _written(call: ast.Call) -> str:
    values = [_value(argument) for argument in call.args]
    named = sorted(f"{keyword.arg or '**'}={_value(keyword.value)}" for keyword in call.keywords)
    return f"{ast.unparse(call.func)}({', '.join([*values, *named])})"


def _value(node: ast.expr) -> str:
    try:
        return _plain(ast.literal_eval(node))
    except (ValueError, TypeError, RecursionError):
        return ast.unparse(node)


def _call(value: Any) -> str:
    """A call that was made as an object, in the words of one that was written."""
    is_mapping = isinstance(value, Mapping)
    name = value.get("name") if is_mapping else getattr(value, "name", None)
    arguments = value.get("arguments") if is_mapping else getattr(value, "arguments", None)
    if not isinstance(name, str):
        raise TreeError(f"{value!r:.200} is no call: it needs a name and arguments.")
    try:
        arguments = json.loads(arguments or "{}") if isinstance(arguments, str) else arguments or {}
        return f"{name}({', '.join(sorted(f'{key}={_plain(each)}' for key, each in arguments.items()))})"
    except (ValueError, AttributeError) as error:
        raise TreeError(f"{value!r:.200} is no call: it needs a name and arguments.") from error


def _plain(value: object) -> str:
    """A literal; numbers that are equal and lists and tuples that are equal look the same."""
    if isinstance(value, Mapping):
        return f"{{{', '.join(sorted(f'{_plain(key)}: {_plain(each)}' for key, each in value.items()))}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, set):
        return f"{{{', '.join(sorted(map(_plain, value)))}}}"
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        return repr(int(value))
    return repr(value)


def _bare(tree: ast.Module) -> ast.Module:
    """The tree without docstrings; a text that is all there is says something."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            alone = isinstance(node, ast.Module) and len(node.body) == 1
            first = node.body[0] if node.body and not alone else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                node.body = node.body[1:]
    return tree
