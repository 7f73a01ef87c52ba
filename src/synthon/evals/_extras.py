"""What only some evaluations need, loaded when one does."""

from __future__ import annotations

import importlib
from typing import Any

from synthon.core.errors import MissingExtra


def extra(module: str, what: str) -> Any:
    """A module of the extra `evals`.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        msg = f"{what} needs {module.partition('.')[0]!r}, which is not installed. Run: pip install 'synthon[evals]'"
        raise MissingExtra(msg) from error
