"""Prices: names as people and endpoints spell them, tiers, the highest rate, and a price that the user gives."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from agentrunner.llm import prices
from agentrunner.llm.prices import Price, price_of, table_date
from agentrunner.types import Usage

TABLE = Path(prices.__file__).with_name("prices.json")


@pytest.mark.parametrize(
    "name",
    [
        "gpt-5-mini",
        "GPT-5-mini",
        "openai/gpt-5-mini",
        "openrouter/openai/gpt-5-mini",
        "gpt-5-mini-2025-08-07",
        "gpt-5-mini-20250807",
    ],
)
def test_a_model_is_found_by_its_name_whatever_stands_around_it(name: str) -> None:
    price = price_of(name)
    assert price is not None
    assert (price.input_usd_per_mtok, price.cached_usd_per_mtok, price.output_usd_per_mtok) == (0.25, 0.025, 2.0)
    assert price.context_window == 400_000


@pytest.mark.parametrize("name", ["", "/", "my-own-model", "llama", "gpt-oss:20b", "x" * 10_000])
def test_an_unknown_name_has_no_price(name: str) -> None:
    assert price_of(name) is None


def test_the_makers_price_counts_and_among_hosts_the_highest() -> None:
    rows = json.loads(TABLE.read_text())["models"]
    hosts = [row["usd"] for row in rows if row["match"] == ["=", "gpt-oss-120b"]]
    found = price_of("gpt-oss-120b")
    assert found is not None
    assert found.input_usd_per_mtok >= max(usd[0] for usd in hosts)
    claude = price_of("claude-sonnet-4-5-20250929")
    assert claude is not None
    assert (claude.input_usd_per_mtok, claude.output_usd_per_mtok) == (3.0, 15.0)


def test_where_the_price_depends_on_the_hour_the_highest_is_in_the_table() -> None:
    price = price_of("deepseek-chat")
    assert price is not None
    assert price.input_usd_per_mtok == 0.27


def test_cached_tokens_cost_less_and_written_ones_more() -> None:
    price = Price(2.0, 10.0, cached_usd_per_mtok=0.5, cache_write_usd_per_mtok=2.5)
    assert price.cost(Usage(1_000_000, 400_000, 100_000)) == pytest.approx(0.6 * 2.5 + 0.4 * 0.5 + 1.0)
    assert Price(2.0, 10.0).cost(Usage(1_000_000, 400_000, 0)) == pytest.approx(2.0)


def test_a_long_prompt_is_charged_at_its_tier() -> None:
    price = Price(1.0, 2.0, tiers=((1000, Price(3.0, 4.0)), (2000, Price(2.0, 9.0))))
    assert price.cost(Usage(1000, 0, 1000)) == pytest.approx((1000 * 1 + 1000 * 2) / 1e6)
    assert price.cost(Usage(1001, 0, 1000)) == pytest.approx((1001 * 3 + 1000 * 4) / 1e6)
    assert price.worst(1000) == (1.0, 2.0)
    assert price.worst(1001) == (3.0, 4.0)
    assert price.worst(5000) == (3.0, 9.0)


@pytest.mark.parametrize("tokens", [1, 300_000, 5_000_000])
@pytest.mark.parametrize("name", ["gpt-5-mini", "gpt-5.4", "claude-sonnet-4-5", "gemini-2.5-pro", "gpt-6.1-sol"])
def test_no_usage_costs_more_than_the_worst_rates_say(name: str, tokens: int) -> None:
    price = price_of(name)
    assert price is not None
    worst_in, worst_out = price.worst(tokens)
    for given in (1, tokens // 2, tokens):
        for cached in (0, given):
            assert price.cost(Usage(given, cached, 1000)) <= (tokens * worst_in + 1000 * worst_out) / 1e6 + 1e-12


def test_the_table_is_small_dated_and_names_its_source() -> None:
    table = json.loads(TABLE.read_text())
    assert TABLE.stat().st_size < 400_000
    assert len(TABLE.read_text().splitlines()) >= len(table["models"])
    assert table["source"].startswith("genai-prices ")
    assert "MIT" in table["licence"]
    assert len(table_date()) == 10


@pytest.mark.parametrize("maker", ["openai", "anthropic", "x-ai", "mistral"])
@pytest.mark.parametrize("tokens", [10_000, 300_000])
def test_the_table_says_what_its_source_says(maker: str, tokens: int) -> None:
    source = json.loads(TABLE.read_text())["source"].split(",")[0]
    genai_prices = pytest.importorskip("genai_prices", reason="the source of the table is not installed")
    if source != (installed := f"genai-prices {version('genai-prices')}"):
        pytest.skip(f"the table is made from {source}, installed is {installed}")
    (provider,) = [one for one in genai_prices.data_snapshot.get_snapshot().providers if one.id == maker]
    usage = genai_prices.Usage(input_tokens=tokens, cache_read_tokens=tokens // 2, output_tokens=1_000)
    compared = 0
    for info in provider.models:
        mine = price_of(info.id)
        whole = isinstance(info.prices, genai_prices.types.ModelPrice) and mine is not None
        if not whole or not {"cache_read_mtok", "output_mtok"} <= vars(info.prices).keys():
            continue
        theirs = float(genai_prices.calc_price(usage, info.id, provider_id=maker).total_price)
        rates = mine.at(tokens)
        # Where writing to the cache has a price, it is taken for every token that was not read from it.
        written = tokens / 2 * (rates.uncached_usd_per_mtok - rates.input_usd_per_mtok) / 1e6
        assert mine.cost(Usage(tokens, tokens // 2, 1_000)) == pytest.approx(theirs + written), info.id
        compared += 1
    assert compared >= 5


def test_what_makes_vectors_costs_its_input_alone() -> None:
    price = price_of("text-embedding-3-small")
    assert price is not None
    assert price.cost(Usage(1_000_000, 0, 0)) == pytest.approx(0.02)
    assert price.worst(8_000) == (0.02, 0.0)
