"""Reads the token counts that endpoints report, in the shapes they use. A count that cannot be right counts as none."""

from __future__ import annotations

from typing import Any, cast

from agentrunner.types import JSON, Usage


def read_usage(value: object) -> Usage | None:
    """None unless both the input and the output are there: half a bill settles nothing."""
    if not isinstance(value, dict):
        return None
    usage = cast("JSON", value)
    given = _count(usage, "prompt_tokens", "input_tokens")
    said = _count(usage, "completion_tokens", "output_tokens")
    if not given or said is None:
        return None
    cached = _count(_details(usage, "prompt_tokens_details", "input_tokens_details"), "cached_tokens")
    if cached is None:
        cached = _count(usage, "prompt_cache_hit_tokens", "cache_read_input_tokens")
    reasoning = _count(_details(usage, "completion_tokens_details", "output_tokens_details"), "reasoning_tokens") or 0
    return Usage(
        given,
        min(cached or 0, given),
        _with_reasoning(said, reasoning, _count(usage, "total_tokens"), given),
        reasoning,
    )


def _with_reasoning(said: int, reasoning: int, total: int | None, given: int) -> int:
    """Output with its reasoning. Some endpoints leave it out of the count, which the total or its size gives away."""
    left_out = reasoning > said or (total is not None and total >= given + said + reasoning)
    return said + reasoning if left_out else said


def _details(usage: JSON, *names: str) -> JSON:
    for name in names:
        if isinstance(usage.get(name), dict):
            return cast("JSON", usage[name])
    return {}


def _count(source: JSON, *names: str) -> int | None:
    for name in names:
        value: Any = source.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53:
            return value
    return None
