"""Says in a tool's result what its code asked the sandbox's proxy for. It decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from agentrunner.sandbox.network import Request

_MOST_LINES = 20
"""A package installation makes a dozen requests; what is more would push the output out of sight."""


def network_lines(requests: Sequence[Request]) -> list[str]:
    """One line for each request, at most twenty."""
    lines = [_line(request) for request in requests[:_MOST_LINES]]
    rest = requests[_MOST_LINES:]
    if rest:
        refused = sum(1 for request in rest if not request.allowed)
        lines.append(f"network: {len(rest)} more requests, {refused} of them refused")
    return lines


def _line(request: Request) -> str:
    what = f"{request.method} {request.host}:{request.port}" if request.host else "a request"
    if not request.allowed:
        return f"network: {what} refused: {request.reason}"
    parts = [f"network: {what}", f"{request.bytes:,} bytes", *([request.reason] if request.reason else [])]
    return ", ".join([*parts, *(["still open"] if request.open else [])])
