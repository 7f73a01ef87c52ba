"""Arithmetic that is exact where a pocket calculator's is."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, DecimalException, InvalidOperation, localcontext
from functools import partial

from synthon.tools.function import tool

_DIGITS = 50
_CHARACTERS = 500
_CONSTANTS = {
    "pi": Decimal("3.1415926535897932384626433832795028841971693993751"),
    "e": Decimal(1).exp(Context(_DIGITS)),
}


def _floor(number: Decimal) -> Decimal:
    return number.to_integral_value(ROUND_FLOOR)


def _divided(a: Decimal, b: Decimal) -> tuple[Decimal, Decimal]:
    """Quotient and remainder as Python's: the one is rounded down, the other has the sign of `b`."""
    if max(a.adjusted(), b.adjusted()) >= _DIGITS:  # it may have been rounded, and then its remainder is anything
        raise ValueError(f"% and // are exact or nothing, and take no number of more than {_DIGITS} digits.")
    whole, rest = divmod(a, b)
    return (whole - 1, rest + b) if rest and rest.is_signed() != b.is_signed() else (whole, rest)


def _of_floats(function: Callable[[float], float], number: Decimal) -> Decimal:
    return Decimal(repr(function(float(number))))


_OPERATORS: dict[type[ast.operator | ast.unaryop], Callable[..., Decimal]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: lambda a, b: _divided(a, b)[0],
    ast.Mod: lambda a, b: _divided(a, b)[1],
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_FUNCTIONS: dict[str, Callable[..., Decimal]] = {
    **{name: partial(_of_floats, getattr(math, name)) for name in ("atan", "cos", "sin", "tan")},
    **{name: getattr(Decimal, name) for name in ("exp", "ln", "log10", "sqrt")},
    "abs": abs,
    "ceil": partial(Decimal.to_integral_value, rounding=ROUND_CEILING),
    "floor": _floor,
    "max": max,
    "min": min,
    "round": lambda a, places=0: Decimal(round(a, int(places))),
}


@tool(effects=())
def calculator(expression: str) -> str:
    """Work out an arithmetic expression, e.g. "(12.5 + 3) * 4 ** 2 / 7".

    It may hold numbers, + - * / // % **, parentheses, pi, e, and the functions abs, ceil, exp, floor, ln, log10, max,
    min, round, sqrt, sin, cos, tan, atan (angles in radians).
    """
    if len(expression) > _CHARACTERS:
        raise ValueError(f"An expression may have {_CHARACTERS} characters, this one has {len(expression)}.")
    text = expression.strip().replace("^", "**").replace("×", "*").replace("÷", "/")
    try:
        with localcontext(Context(prec=_DIGITS, Emax=9999, Emin=-9999)):
            found = (_value(_exact(text)) + 0).normalize()  # the sum makes -0 a 0
            return f"{found:f}" if -_DIGITS < found.adjusted() < _DIGITS else str(found)
    except SyntaxError as error:
        raise ValueError(f"{expression!r} is no arithmetic expression: {error.msg}.") from error
    except (DecimalException, OverflowError, RecursionError, TypeError) as error:
        raise ValueError(f"{expression!r} has no value in {_DIGITS} digits: {type(error).__name__}.") from error


def _exact(text: str) -> ast.expr:
    """The expression, its fractions as they are written: a float would have lost what it cannot hold."""
    tree = ast.parse(text, mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and type(node.value) is float:
            node.value = Decimal(ast.get_source_segment(text, node) or "")  # type: ignore[assignment]  # nobody else reads it
    return tree.body


def _value(node: ast.AST) -> Decimal:
    if isinstance(node, ast.Constant) and type(node.value) in {int, Decimal}:
        return Decimal(node.value)  # type: ignore[arg-type]  # either
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left), _value(node.right))
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.operand))
    name = getattr(getattr(node, "func", None), "id", "")
    if isinstance(node, ast.Call) and name in _FUNCTIONS and not node.keywords:
        found = _FUNCTIONS[name](*map(_value, node.args))
        if not found.is_finite():  # a logarithm of 0
            raise InvalidOperation
        return found
    raise ValueError(f"{ast.unparse(node)!r} is no part of an arithmetic expression.")
