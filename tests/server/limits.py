"""Bodies that reach a limit or pass it, and what has to come of both."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import httpx2
import pytest

JSON = dict[str, Any]
Limit = tuple[str, str, int, int, Callable[[int], JSON]]
"""A path, the field, a number at its limit, one past it, and the body with such a number."""

ASSISTANT, THREAD, STORE = "/assistants/{assistant}", "/threads/{thread}", "/vector_stores/{store}"
MESSAGES, RUNS, WITH_THREAD = "/threads/{thread}/messages", "/threads/{thread}/runs", "/threads/runs"


def function(name: str) -> JSON:
    return {"type": "function", "function": {"name": name}}


def message(**more: Any) -> JSON:
    return {"role": "user", "content": "x"} | more


def run(**more: Any) -> JSON:
    return {"assistant_id": "{assistant}"} | more


def pairs(count: int) -> JSON:
    return {str(n): "" for n in range(count)}


def unused(days: int) -> JSON:
    return {"anchor": "last_active_at", "days": days}


def chunking(size: int, overlap: int) -> JSON:
    return {"type": "static", "static": {"max_chunk_size_tokens": size, "chunk_overlap_tokens": overlap}}


MADE: dict[str, tuple[str, JSON]] = {
    "assistant": ("/assistants", {"model": "m"}),
    "thread": ("/threads", {}),
    "store": ("/vector_stores", {}),
    "message": (MESSAGES, message()),
    "run": (RUNS, run()),
}
"""Where an object of each kind is made, and of what."""


def reached_but_not_passed(http: httpx2.Client, path: str, param: str, good: JSON, bad: JSON) -> None:
    answer = http.post(path, json=good)
    assert answer.status_code == 200, answer.text[:500]
    answer = http.post(path, json=bad)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param), error
    assert error["message"]
    assert error["code"]


def each_is_reached_but_not_passed(limits: Sequence[Limit]) -> Callable[..., None]:
    """A test with a case for each of these."""

    @pytest.mark.parametrize(
        ("path", "param", "limit", "past", "body"), limits, ids=[f"{p} {name} {n}" for p, name, n, _, _ in limits]
    )
    def test(
        http: httpx2.Client,
        fill: Callable[[Any], Any],
        path: str,
        param: str,
        limit: int,
        past: int,
        body: Callable[[int], JSON],
    ) -> None:
        reached_but_not_passed(http, fill(path), param, fill(body(limit)), fill(body(past)))

    return test
