"""A bridge's names, each from the file it stands in, once the library on the other side is there."""

from __future__ import annotations

import importlib

from synthon.core.errors import MissingExtra


def loaded(package: str, name: str, file: str, *, library: str) -> object:
    """A name of `package`, from its `file`, which imports `library`.

    Raises:
        MissingExtra: the library is not installed.
    """
    try:
        importlib.import_module(library)
    except ImportError as error:
        extra = package.rpartition(".")[2]
        msg = f"{package}.{name} needs {library!r}, which is not installed. Run: pip install 'synthon[{extra}]'"
        raise MissingExtra(msg) from error
    found: object = getattr(importlib.import_module(f"{package}.{file}"), name)
    return found
