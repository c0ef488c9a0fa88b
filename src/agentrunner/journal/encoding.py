"""Event payloads as compact JSON text, and back. It decides nothing about where the text is kept.

Text stays readable (no ASCII escapes) unless it holds lone surrogates, which no database and no UTF-8 file can store:
then the whole payload is written with escapes, so that it comes back exactly as it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from agentrunner.types import JSON

SUMMARY_GOAL_CHARS = 400
"""How much of a goal a listing can show; the whole of it stands in the event."""

SUMMARY_KEYS: Mapping[str, tuple[str, ...]] = {
    "session.created": ("goal", "strategy", "workspace"),
    "session.claimed": (),
    "session.forked": (),
    "session.finished": ("status", "reason", "steps", "spent_usd"),
    "completion.received": ("step", "spent_usd"),
}
"""What a listing shows of each type of event. It is copied beside the payload, so that listing never reads payloads."""


def encode(data: JSON) -> tuple[str, JSON]:
    """`data` as JSON text, and the value that this text stands for. NaN and the infinities, which JSON does not know,
    become null, as in JavaScript."""
    try:
        text = _dumps(data)
    except ValueError:
        data = cast(JSON, _finite(data))
        text = _dumps(data)
    if not _is_unicode(text):
        text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text, data


def decode(text: str) -> JSON:
    """The payload that `encode` wrote. Raises `ValueError` when it is not a JSON object."""
    value: object = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {type(value).__name__}")
    return cast(JSON, value)


def summary(type_: str, data: JSON) -> str:
    """What a listing shows of this event, as JSON text; empty for types that no listing shows."""
    keys = SUMMARY_KEYS.get(type_)
    if keys is None:
        return ""
    brief: JSON = {key: data[key] for key in keys if isinstance(data.get(key), str | int | float)}
    if isinstance(goal := brief.get("goal"), str):
        brief["goal"] = goal[:SUMMARY_GOAL_CHARS]
    return encode(brief)[0]


def now() -> str:
    """UTC, ISO 8601 with milliseconds and "Z"."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _dumps(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _finite(value: object) -> object:
    match value:
        case float() if not math.isfinite(value):
            return None
        case dict():
            items = cast(dict[object, object], value).items()
            return {_finite_key(key): _finite(item) for key, item in items}
        case list() | tuple():
            return [_finite(item) for item in cast(Sequence[object], value)]
        case _:
            return value


def _finite_key(key: object) -> Any:
    return str(key) if isinstance(key, float) else key
