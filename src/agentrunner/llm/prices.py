"""What tokens cost: a dated table by model name, and prices that a user gives. Knows nothing of budgets.

The table is `prices.json`, written by scripts/make_prices.py. Where a model is served by others than
its maker under the same name, the maker's price counts; where only by others, the highest of theirs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, cast

from agentrunner.types import Usage

_DATE_SUFFIX = re.compile(r"-(20\d\d)(\d\d)(\d\d)(?=-|:|$)")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens. A rate that is None is the input's. `tiers` are prices for prompts of more
    tokens than the number beside them, in rising order."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    cached_usd_per_mtok: float | None = None
    cache_write_usd_per_mtok: float | None = None
    tiers: tuple[tuple[int, Price], ...] = ()
    context_window: int | None = None

    @property
    def uncached_usd_per_mtok(self) -> float:
        """What an input token costs that did not come from the cache. Endpoints that charge for writing to it do so
        unasked, and `Usage` does not tell these tokens apart: so the higher rate counts."""
        return max(self.input_usd_per_mtok, self.cache_write_usd_per_mtok or 0.0)

    def cost(self, usage: Usage) -> float:
        """US dollars, never less than what is billed for this usage at these prices."""
        price = self.at(usage.input_tokens)
        cached = price.input_usd_per_mtok if price.cached_usd_per_mtok is None else price.cached_usd_per_mtok
        fresh = max(0, usage.input_tokens - usage.cached_tokens)
        return (
            fresh * price.uncached_usd_per_mtok
            + usage.cached_tokens * cached
            + usage.output_tokens * price.output_usd_per_mtok
        ) / 1_000_000

    def worst(self, input_tokens: int) -> tuple[float, float]:
        """The highest rates (input, output) that a prompt of up to this many tokens can be charged at."""
        reachable = (self, *(price for start, price in self.tiers if input_tokens > start))
        inputs = (max(one.uncached_usd_per_mtok, one.cached_usd_per_mtok or 0.0) for one in reachable)
        return max(inputs), max(one.output_usd_per_mtok for one in reachable)

    def at(self, input_tokens: int) -> Price:
        """The price that holds for a prompt of this length."""
        reached = [price for start, price in self.tiers if input_tokens > start]
        return reached[-1] if reached else self


@lru_cache(maxsize=256)
def price_of(model: str) -> Price | None:
    """The table's price of a model name, whatever the endpoint; None when the name is not known."""
    for name in _spellings(model.strip().lower()):
        hosts: dict[str, dict[str, Any]] = {}
        for row in _table()["models"]:
            if row["by"] not in hosts and _matches(row["match"], name):
                hosts[row["by"]] = row
        for maker in _table()["makers"]:
            if maker in hosts:
                return _price(hosts[maker])
        if hosts:
            return max(map(_price, hosts.values()), key=lambda price: sum(price.worst(1 << 62)))
    return None


def table_date() -> str:
    """When the table was made, ISO 8601."""
    return str(_table()["date"])


def _spellings(name: str) -> Iterator[str]:
    """The name, then without what providers put before it ("openai/", "models/"), each also with a dashed date. The
    shortest comes first: it is the maker's own name."""
    parts = name.split("/")
    for start in range(len(parts) - 1, -1, -1):
        short = "/".join(parts[start:])
        yield short
        if (dashed := _DATE_SUFFIX.sub(r"-\1-\2-\3", short)) != short:
            yield dashed


def _matches(clause: Sequence[Any], name: str) -> bool:
    operator, operand = clause[0], clause[1]
    match operator:
        case "=":
            return name == operand
        case "^":
            return name.startswith(operand)
        case "$":
            return name.endswith(operand)
        case "*":
            return operand in name
        case "~":
            return re.search(operand, name) is not None
        case "|":
            return any(_matches(part, name) for part in clause[1:])
        case _:
            return all(_matches(part, name) for part in clause[1:])


def _price(row: dict[str, Any]) -> Price:
    tiers = tuple((int(start), _rates(rates)) for start, *rates in row.get("tiers", ()))
    flat = _rates(row["usd"])
    return Price(
        flat.input_usd_per_mtok,
        flat.output_usd_per_mtok,
        flat.cached_usd_per_mtok,
        flat.cache_write_usd_per_mtok,
        tiers,
        row.get("window"),
    )


def _rates(rates: Sequence[float | None]) -> Price:
    given, cached, written, said = rates
    return Price(given or 0.0, said or 0.0, cached, written)


@cache
def _table() -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads(Path(__file__).with_name("prices.json").read_text(encoding="utf-8")))
