from __future__ import annotations

import datetime as dt

import pytest

import synthon as sy
from synthon.models.prices import price_of, price_table

OPENAI, ANTHROPIC = "https://api.openai.com/v1", "https://api.anthropic.com/v1"


def test_the_table_says_when_and_where_it_was_read() -> None:
    table = price_table()
    assert dt.date.fromisoformat(table["date"]) >= dt.date(2026, 11, 22)
    assert set(table["sources"]) == set(table["usd_per_million_tokens"])
    assert all(len(source) > 10 for source in table["sources"].values())


def test_every_row_is_a_price_whose_cache_is_no_dearer_than_its_input() -> None:
    for host, models in price_table()["usd_per_million_tokens"].items():
        for model in models:
            price = price_of(f"https://{host}", model)
            assert price is not None
            assert 0 < price.input_usd < price.output_usd
            assert 0 < (price.cached_usd or price.input_usd) <= price.input_usd


def test_a_snapshot_costs_what_its_family_costs_unless_it_is_listed_itself() -> None:
    assert price_of(OPENAI, "gpt-4o-2024-08-06") == price_of(OPENAI, "gpt-4o") == sy.Price(2.5, 10.0, 1.25)
    assert price_of(OPENAI, "gpt-4o-2024-05-13") == sy.Price(5.0, 15.0)
    assert price_of("https://API.anthropic.com/", "claude-haiku-4-5-20251001") == sy.Price(1.0, 5.0, 0.1, 1.25)


@pytest.mark.parametrize(
    ("base_url", "model"),
    [
        (OPENAI, "gpt-4o-audio-preview"),
        (OPENAI, "gpt-5.4"),
        (OPENAI, "claude-opus-5"),
        (ANTHROPIC, "claude-haiku-5-5"),
        ("http://127.0.0.1:8000/v1", "gpt-4o"),
        ("http://10.0.0.7/v1", "gpt-4o"),
        ("https://api.openai.com.evil.example/v1", "gpt-4o"),
        ("https://openrouter.ai/api/v1", "gpt-4o"),
    ],
)
def test_what_is_not_in_the_table_has_no_price(base_url: str, model: str) -> None:
    assert price_of(base_url, model) is None


def test_a_price_of_ones_own_wins() -> None:
    mine = sy.Price(7.0, 8.0)
    assert sy.openai("gpt-4o").price == sy.Price(2.5, 10.0, 1.25)
    assert sy.openai("gpt-4o", price=mine).price == mine
    assert sy.openai("gpt-4o", base_url="http://127.0.0.1/v1", price=mine).price == mine


def test_parts_are_billed_at_their_own_price() -> None:
    usage = sy.Usage(input_tokens=1_000, cached_tokens=2_000, cache_write_tokens=3_000, output_tokens=4_000)
    price = price_of(ANTHROPIC, "claude-opus-4-5")
    assert price is not None
    assert price.cost_usd(usage) == pytest.approx((5 + 2 * 0.5 + 3 * 6.25 + 4 * 25) / 1_000)
