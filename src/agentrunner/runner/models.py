"""Which model answers, at which price: an endpoint, or a script."""

import contextlib
import importlib
import ipaddress
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from agentrunner.errors import UsageError
from agentrunner.runner.rehearsal import packaged_script
from agentrunner.types import Budget, Event, Model, Session

if TYPE_CHECKING:
    from agentrunner.config import Settings
    from agentrunner.guard.ledger import Rates
    from agentrunner.llm import Pool

OPENAI_URL = "https://api.openai.com/v1"
_NEEDED = ("aiohttp", "tenacity")
DEFAULT_WINDOW = 128_000
"""Tokens; for models that the price table does not know. What does not fit is noticed by the endpoint's refusal."""


def scripted(settings: "Settings") -> bool:
    """Whether a script answers instead of an endpoint."""
    return settings.dry_run or settings.script is not None


def is_local(base_url: str | None) -> bool:
    """Whether an endpoint is on this machine or a private network: such ones need no key, and unknown names cost 0."""
    host = urlsplit(base_url or OPENAI_URL).hostname or ""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_private


def warm_up(settings: "Settings") -> None:
    """Import what requests need in the background: work that other preparations can hide."""
    if not scripted(settings):
        threading.Thread(target=_import_all, daemon=True, name="warm up").start()


def _import_all() -> None:
    for name in _NEEDED:
        with contextlib.suppress(ImportError):  # whoever truly needs it says so
            importlib.import_module(name)


def check_key(settings: "Settings") -> None:
    """Raise `UsageError` when a public endpoint would be asked without a key."""
    if not scripted(settings) and settings.api_key is None and not is_local(settings.base_url):
        raise UsageError(
            f"no key for {settings.base_url or OPENAI_URL}",
            "set OPENAI_API_KEY, or give --base-url of a local endpoint, or try it with --dry-run",
        )


def check_script(settings: "Settings") -> None:
    """Raise `UsageError` for a script that cannot be used."""
    if scripted(settings):
        from agentrunner.llm.script_format import load_script

        load_script(settings.script or packaged_script(settings.strategy))


def rates_of(settings: "Settings") -> tuple["Rates | None", str]:
    """The price of an answer (None: nothing is charged), and a remark. Raises `UsageError` for an unknown price."""
    from agentrunner.config import parse_price
    from agentrunner.llm.prices import Price, price_of, table_date

    if settings.price:
        return Price(*parse_price(settings.price)), ""
    if scripted(settings):
        return None, ""
    price = price_of(settings.model)
    if price is not None or settings.allow_unpriced:
        return price, ""
    if is_local(settings.base_url):
        return None, f"the price of {settings.model!r} is not known; at this endpoint it counts as 0"
    raise UsageError(
        f"the price of {settings.model!r} is not known (the table is of {table_date()}), so --max-cost cannot be held",
        "give --price IN,OUT in US dollars per million tokens, or --allow-unpriced to go without a cost limit",
    )


def unpriced(settings: "Settings", rates: "Rates | None") -> bool:
    """Whether nobody knows what answers cost."""
    asks = settings.allow_unpriced and not scripted(settings) and not is_local(settings.base_url)
    return rates is None and asks


def budget_of(settings: "Settings", rates: "Rates | None") -> Budget:
    usd = None if unpriced(settings, rates) else settings.max_cost
    return Budget(settings.max_steps, usd, settings.max_tokens, settings.max_time)


def context_tokens(settings: "Settings") -> int:
    """Prompt size at which a conversation is compacted."""
    from agentrunner.llm.prices import price_of

    window = settings.context_window
    if window is None:
        price = price_of(settings.model)
        window = price.context_window if price and price.context_window else DEFAULT_WINDOW
    return int(window * settings.context_share)


def open_model(
    settings: "Settings", session: Session, past: Sequence[Event], *, stream: bool, pool: "Pool | None" = None
) -> Model:
    if scripted(settings):
        from agentrunner.llm.script_format import load_script
        from agentrunner.llm.scripted import ScriptedModel

        path = Path(settings.script) if settings.script else packaged_script(session.strategy)
        model = ScriptedModel(
            load_script(path), goal=session.goal, file=session.files[0] if session.files else "", source=str(path)
        )
        model.replay(past)
        return model
    arguments: dict[str, Any] = {
        "protocol": session.protocol,
        "json_instructions": session.render("json_protocol", tools=session.tools),
        "stream": stream,
        "base_url": settings.base_url,
        "api_key": settings.api_key.get_secret_value() if settings.api_key else None,
        "texts": thoughts_texts(session.prompts),
        "learned": _learned(past),
        "api_version": settings.api_version,
        "pool": pool,
    }
    if settings.api == "responses":
        from agentrunner.llm.responses import ResponsesModel

        return ResponsesModel(settings.model, **arguments)
    from agentrunner.llm.chat import ChatModel

    return ChatModel(settings.model, **arguments)


def thoughts_texts(prompts: Mapping[str, str]) -> dict[str, str]:
    """The descriptions of `thoughts` and its fields, from lines "field: text"."""
    lines = (line.partition(":") for line in prompts["thoughts"].splitlines() if ":" in line)
    texts = {name.strip(): text.strip() for name, _, text in lines}
    return {name if name == "thoughts" else f"thoughts.{name}": text for name, text in texts.items()}


def _learned(past: Sequence[Event]) -> dict[str, str]:
    for event in reversed(past):
        if event.type == "completion.received":
            return dict(event.data["_learned"])
    return {}
