"""The two libraries this room stands on, asked for where they are needed."""

from __future__ import annotations

import importlib
from types import ModuleType

from synthon.core.errors import MissingExtra


def llguidance() -> ModuleType:
    """The engine of masks.

    Raises:
        MissingExtra: it is not installed.
    """
    return _imported("llguidance", "Masks are made")


def jsonschema_rs() -> ModuleType:
    """The validator of JSON schemas.

    Raises:
        MissingExtra: it is not installed.
    """
    return _imported("jsonschema_rs", "JSON is checked against schemas")


def _imported(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        msg = f"{what} by {name!r}, which is not installed. Run: pip install 'synthon[local]'"
        raise MissingExtra(msg) from error


__all__ = ["jsonschema_rs", "llguidance"]
