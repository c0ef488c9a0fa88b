"""Looking into objects that may lack a part, or have null in its place."""

from __future__ import annotations

from typing import Any

from agentrunner.types import JSON


def object_in(data: JSON | None, name: str) -> JSON:
    """The object of this name; an empty one when there is none."""
    found: JSON | None = (data or {}).get(name)
    return found or {}


def list_in(data: JSON | None, name: str) -> list[Any]:
    """The list of this name; an empty one when there is none."""
    found: list[Any] | None = (data or {}).get(name)
    return found or []
