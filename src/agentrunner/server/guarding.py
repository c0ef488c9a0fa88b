"""Who is let in: a request's Host, Origin and key, and how many requests a key may make. It reads no body.

It is plain ASGI, so that answers which come bit by bit pass through it as they come.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import time
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

from agentrunner.server.faults import ApiError, bad
from agentrunner.server.keys import DEFAULT_OWNER
from agentrunner.server.requests import failure

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_READ = frozenset((b"host", b"origin", b"authorization", b"api-key"))
BURST_S = 10.0
"""Of requests may come at once: a key that was quiet may make up for so many seconds."""


@dataclass
class Policy:
    """`owner_for`: whose objects may be seen with a key; None: nobody's."""

    owner_for: Callable[[str | None], Awaitable[str | None]]
    hosts: Collection[str] = ()
    """Names under which this server may be called, beside those of this machine itself."""
    any_address: bool = False
    """Whether it may be called by any IP address: no page can make a browser believe that one is its own."""
    requests_per_minute: int = 0
    """Of one key; 0: as many as they like, as without keys."""
    clock: Callable[[], float] = time.monotonic
    _buckets: dict[str, tuple[float, float]] = field(default_factory=dict[str, tuple[float, float]])

    def takes_host(self, host: str) -> bool:
        """Whether this name, with or without a port, is one of ours: a page that makes its own name point here would
        otherwise speak for its visitor."""
        name = _name(host)
        if name in self.hosts or name == "localhost" or name.endswith(".localhost"):
            return True
        address = _address(name)
        return address is not None and (address.is_loopback or self.any_address)

    def takes_origin(self, origin: str) -> bool:
        """Whether a page from there may call: only pages of this machine, and of our own names."""
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and self.takes_host(parts.netloc)

    def spend(self, owner: str) -> None:
        """Count a request. Raises `ApiError` when there were too many."""
        if not self.requests_per_minute:
            return
        per_s = self.requests_per_minute / 60
        most = max(1.0, per_s * BURST_S)
        now = self.clock()
        left, since = self._buckets.get(owner, (most, now))
        left = min(most, left + (now - since) * per_s)
        if left < 1:
            self._buckets[owner] = (left, now)
            raise ApiError(
                429,
                f"Rate limit reached: this key may make {self.requests_per_minute} requests per minute.",
                code="rate_limit_exceeded",
                kind="requests",
                retry_after_s=(1 - left) / per_s,
            )
        self._buckets[owner] = (left - 1, now)


@lru_cache(256)
def _name(host: str) -> str:
    """Without its port; empty for what is no host. Almost all requests come to one of a few."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


@lru_cache(256)
def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def own_names() -> set[str]:
    """What this machine calls itself."""
    name = socket.gethostname().lower()
    return {name} if name else set()


class Guarding:
    """Lets requests in that `policy` allows, and says in `scope["state"]` whose they are (`owner`), and
    whether all of the body has come (`body_over`) and whether the answer has begun (`answered`)."""

    def __init__(self, app: ASGIApp, policy: Policy) -> None:
        self.app = app
        self.policy = policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = b"req_" + os.urandom(12).hex().encode()

        state: MutableMapping[str, Any] = scope.setdefault("state", {})
        state["answered"] = False

        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                state["answered"] = True
                added = [(b"x-request-id", request_id), (b"x-content-type-options", b"nosniff")]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        try:
            owner = await self._owner(scope)
        except ApiError as refused:
            await failure(refused)(scope, receive, named)
            return
        state["owner"] = owner
        state["body_over"] = False

        async def noted() -> Message:
            message = await receive()
            if not message.get("more_body"):
                state["body_over"] = True
            return message

        try:
            await self.app(scope, noted, named)
        except asyncio.CancelledError:
            # The server is being stopped, and this took longer than it waits. What began to be answered is cut.
            if not state["answered"]:
                stopping = ApiError(503, "The server is being stopped; send the request again.", kind="server_error")
                await failure(stopping)(scope, noted, named)

    async def _owner(self, scope: Scope) -> str:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"] if name in _READ}
        if not self.policy.takes_host(headers.get(b"host", "")):
            raise ApiError(
                403,
                f"This server is not called {headers.get(b'host', '')[:100]!r}; start it with --allow-host to give it"
                " another name.",
                code="host_not_allowed",
            )
        origin = headers.get(b"origin")
        if origin is not None and not self.policy.takes_origin(origin):
            raise ApiError(403, f"Pages of {origin[:100]!r} may not call this server.", code="origin_not_allowed")
        path: str = scope["path"]
        if path.startswith("/openai/") and not path.startswith("/openai/v1/"):
            query = parse_qsl(scope.get("query_string", b"").decode("latin-1"))
            if not any(name == "api-version" and value for name, value in query):
                raise bad("Missing required parameter: 'api-version'.", "api-version", "missing_required_parameter")
        secret = _secret(headers)
        owner = await self.policy.owner_for(secret)
        if owner is None:
            if not secret:
                raise ApiError(
                    401,
                    "You didn't provide an API key. You need to provide your API key in an Authorization header using"
                    " Bearer auth (i.e. Authorization: Bearer YOUR_KEY).",
                )
            shown = secret[:3] + "***" + secret[-4:] if len(secret) > 12 else "***"
            raise ApiError(401, f"Incorrect API key provided: {shown}.", code="invalid_api_key")
        if owner != DEFAULT_OWNER:
            self.policy.spend(owner)
        return owner


def _secret(headers: dict[bytes, str]) -> str | None:
    """The key, from where OpenAI's clients put it, or from where Azure's do."""
    scheme, _, token = headers.get(b"authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get(b"api-key") or None
