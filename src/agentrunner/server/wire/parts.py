"""Objects as they come in JSON: their parts, which may be missing or null, and copies."""

from __future__ import annotations

from typing import Any, cast

from agentrunner.types import JSON


def object_in(data: JSON | None, name: str) -> JSON:
    """The object of this name; an empty one when there is none."""
    found: JSON | None = (data or {}).get(name)
    return found or {}


def list_in(data: JSON | None, name: str) -> list[Any]:
    """The list of this name; an empty one when there is none."""
    found: list[Any] | None = (data or {}).get(name)
    return found or []


def copied(data: Any) -> Any:
    """The same again, all the way down: what JSON can hold, without the precautions that `deepcopy` takes for more."""
    if isinstance(data, dict):
        return {name: copied(value) for name, value in cast(JSON, data).items()}
    return [copied(one) for one in cast(list[Any], data)] if isinstance(data, list) else data
