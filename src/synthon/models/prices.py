"""List prices that ship with Synthon: dated, never fetched; what is not in the table has no price."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import TypedDict, cast

from synthon.core.values import Price
from synthon.models._http import host_of, normalised

_SNAPSHOT = re.compile(r"-(?:\d{4}-\d{2}-\d{2}|20\d{6})$")


class _Table(TypedDict):
    date: str
    note: str
    sources: dict[str, str]
    usd_per_million_tokens: dict[str, dict[str, list[float | None]]]


@cache
def price_table() -> _Table:
    """The table with its date, note and sources: by host and model [input, output, cached, cache write]."""
    return cast("_Table", json.loads((files("synthon.models") / "prices.json").read_text("utf-8")))


def price_of(base_url: str, model: str) -> Price | None:
    """The list price of a model at a provider's own endpoint, None where the table has none.

    A dated snapshot costs what its family costs unless it is listed itself. Loopback, private and reselling
    endpoints are not in the table: what they charge is theirs to say (`price=`).
    """
    models = price_table()["usd_per_million_tokens"].get(host_of(normalised(base_url)), {})
    row = models.get(model) or models.get(_SNAPSHOT.sub("", model))
    if row is None:
        return None
    input_usd, output_usd, *rest = row
    return Price(cast("float", input_usd), cast("float", output_usd), *rest)
