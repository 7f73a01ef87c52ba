"""Shapes a completion must have, as values; `decoding/` compiles them, the kernel only carries them."""

from __future__ import annotations

from synthon.core.light import dataclass


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the given texts, nothing else."""

    options: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Regex:
    """Text that matches the whole pattern (Python's `re` syntax, no look-around)."""

    pattern: str


@dataclass(frozen=True, slots=True)
class Schema:
    """JSON that fits a JSON schema (draft 2020-12), given as its canonical JSON text.

    Text, not a dict, so that the value is hashable and identity never depends on a caller's later changes.
    """

    json: str
    name: str = "output"


@dataclass(frozen=True, slots=True)
class Grammar:
    """Text derived by a context-free grammar in Lark's notation."""

    lark: str


Constraint = Choice | Regex | Schema | Grammar

__all__ = ["Choice", "Constraint", "Grammar", "Regex", "Schema"]
