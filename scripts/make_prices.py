"""Writes src/agentrunner/llm/prices.json from the data in the PyPI package genai-prices. Run it to update:

    python scripts/make_prices.py

What it leaves out: models without a price for text in and out (of embeddings: in), models with a fee per request, and
the prices of batch, flex and priority service. Where a price depends on the hour or rises at a later date, the highest
is taken.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from genai_prices import types as source
from genai_prices.data import providers

TARGET = Path(__file__).parents[1] / "src" / "agentrunner" / "llm" / "prices.json"
MAKERS = (
    *("openai", "anthropic", "google", "x-ai", "mistral", "deepseek", "cohere", "meta", "moonshotai", "zai"),
    *("zhipuai", "minimax", "perplexity", "arcee", "voyageai"),
)
"""Who price their own models, in the order in which they are asked. All other providers host models of others."""
OPEN_WEIGHTS = ("gpt-oss",)
"""Listed under their maker, who does not serve them: what hosts charge counts."""
EMBEDDING = "embed"
"""Is in the names of models that make vectors; these have no output to be paid for."""
RATES = ("input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok")


def main() -> None:
    ranked = sorted(providers, key=lambda one: MAKERS.index(one.id) if one.id in MAKERS else len(MAKERS))
    lines = [line for one in ranked for model in one.models if sells(one.id, model) and (line := entry(one.id, model))]
    package = distribution("genai-prices")
    head = {
        "source": f"genai-prices {package.version}, https://github.com/pydantic/genai-prices",
        "date": datetime.now(UTC).date().isoformat(),
        "licence": licence(),
        "makers": list(MAKERS),
    }
    rows = ",\n".join(json.dumps(line, separators=(",", ":"), ensure_ascii=False) for line in lines)
    TARGET.write_text(f'{json.dumps(head, indent=0)[:-2]},\n"models": [\n{rows}\n]}}\n', encoding="utf-8")
    print(f"{TARGET.name}: {len(lines)} models, {TARGET.stat().st_size // 1000} KB")


def sells(provider: str, model: source.ModelInfo) -> bool:
    return provider not in MAKERS or not model.id.startswith(OPEN_WEIGHTS)


def entry(provider: str, model: source.ModelInfo) -> dict[str, Any] | None:
    prices = highest(model)
    if prices is None:
        return None
    line: dict[str, Any] = {"by": provider, "id": model.id, "match": clause(model.match), "usd": rates(prices, 0)}
    starts = sorted({tier.start for rate in RATES for tier in getattr(tiered(prices, rate), "tiers", ())})
    if starts:
        line["tiers"] = [[start, *rates(prices, start + 1)] for start in starts]
    if model.context_window:
        line["window"] = model.context_window
    return line


def highest(model: source.ModelInfo) -> source.ModelPrice | None:
    """Of the prices that hold now or may come to hold, that with the highest sum."""
    if isinstance(model.prices, source.ModelPrice):
        candidates = [model.prices]
    else:
        today = datetime.now(UTC).date()
        begun = [one for one in model.prices if starts_on(one) is not None and starts_on(one) <= today]
        always = [one for one in model.prices if one.constraint is None]
        current = begun[-1:] or always[-1:]
        others = [one for one in model.prices if one not in begun and one not in always]
        candidates = [one.prices for one in (*current, *others)]
    needed = ("input_mtok",) if EMBEDDING in model.id.lower() else ("input_mtok", "output_mtok")
    whole = [one for one in candidates if all(tiered(one, rate) is not None for rate in needed)]
    if not whole or any("requests_kcount" in vars(one) for one in whole):
        return None
    return max(whole, key=lambda one: (rates(one, 0)[0] or 0) + (rates(one, 0)[3] or 0))


def starts_on(price: source.ConditionalPrice) -> date | None:
    return price.constraint.start_date if isinstance(price.constraint, source.StartDateConstraint) else None


def tiered(prices: source.ModelPrice, rate: str) -> Any:
    return vars(prices).get(rate)


def rates(prices: source.ModelPrice, input_tokens: int) -> list[float | None]:
    """Input, cached input, written to the cache, output: US dollars per million tokens for a prompt of this length."""
    found: list[float | None] = []
    for rate in RATES:
        value = tiered(prices, rate)
        if isinstance(value, source.TieredPrices):
            reached = [tier.price for tier in value.tiers if input_tokens > tier.start]
            value = reached[-1] if reached else value.base
        found.append(None if value is None else round(float(value), 9))
    reasoning = vars(prices).get("output_reasoning_mtok")
    if reasoning is not None and found[3] is not None:
        found[3] = max(found[3], float(reasoning))
    return found


def clause(match: Any) -> list[Any]:
    """A clause as data: [operator, operand...]."""
    match match:
        case source.ClauseEquals(equals=text):
            return ["=", text.lower()]
        case source.ClauseStartsWith(starts_with=text):
            return ["^", text.lower()]
        case source.ClauseEndsWith(ends_with=text):
            return ["$", text.lower()]
        case source.ClauseContains(contains=text):
            return ["*", text.lower()]
        case source.ClauseRegex(regex=text):
            return ["~", text if isinstance(text, str) else text.pattern]
        case source.ClauseOr(or_=parts):
            return ["|", *map(clause, parts)]
        case source.ClauseAnd(and_=parts):
            return ["&", *map(clause, parts)]
    raise TypeError(f"unknown clause {match!r}")


def licence() -> str:
    package = distribution("genai-prices")
    for file in package.files or ():
        if file.name == "LICENSE":
            return " ".join(file.read_text().split())
    raise FileNotFoundError("the package genai-prices comes without its licence")


if __name__ == "__main__":
    main()
