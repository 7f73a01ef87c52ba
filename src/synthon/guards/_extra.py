"""The optional libraries of the validators."""

from __future__ import annotations

import importlib
from types import ModuleType

from synthon.core.errors import MissingExtra


def needed(module: str, what: str) -> ModuleType:
    """An optional library, loaded when a validator first judges.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        msg = f"{what} needs {module!r}, which is not installed. Run: pip install 'synthon[guards]'"
        raise MissingExtra(msg) from error


__all__ = ["needed"]
