"""What sandboxed code may reach: the hosts that were allowed, how much of them, and what came of each try.

Names are compared whole, and resolved once; only the addresses that were checked are connected to.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from agentrunner.addresses import why_not_public
from agentrunner.errors import UsageError

from .inside.listen import HOST, PORT

MAX_REQUEST_BYTES = 64 << 20
"""Both ways together, heads included: a large package, not a mirror of them."""
MAX_SESSION_BYTES = 256 << 20
MAX_REMEMBERED = 1000
"""Requests between two looks at them; more than that is an attack or a bug, and is refused."""
LOOKUP_S = 10.0
_PORTS = (80, 443)
_HOST = re.compile(r"(?P<host>[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_-])?|\[[0-9a-f:.]{2,45}\])(:(?P<port>[0-9]{1,5}))?")

_PROXY = f"http://{HOST}:{PORT}"
_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
VARIABLES = {
    **dict.fromkeys(_NAMES, _PROXY),
    **dict.fromkeys(("NO_PROXY", "no_proxy"), "localhost,127.0.0.1,::1"),
}
"""How programs find the proxy; servers of their own they reach without it."""

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]


class Refused(Exception):
    """A request that is not carried out; the reason is for whoever sent it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


@dataclass(slots=True, eq=False)
class Request:
    """One request through the proxy. A tunnel that is still open may go on counting."""

    method: str = ""
    host: str = ""
    port: int = 0
    allowed: bool = False
    bytes: int = 0
    reason: str = ""
    """Why it was refused, or cut short."""
    open: bool = True


async def resolve(host: str, port: int) -> list[str]:
    """All addresses of a name, as the system's resolver gives them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def parse_hosts(names: Sequence[str]) -> frozenset[tuple[str, int]]:
    """From `name` (ports 80 and 443) or `name:port`. Raises `UsageError`."""
    allowed: set[tuple[str, int]] = set()
    for name in names:
        found = _HOST.fullmatch(_ascii(name))
        port = int(found["port"] or _PORTS[0]) if found else 0
        if not found or not 0 < port < 1 << 16:
            raise UsageError(f"{name!r} is not a host", "give a name, or name:port, as in api.example.org:8443")
        allowed.update((found["host"].strip("[]"), each) for each in ((port,) if found["port"] else _PORTS))
    return frozenset(allowed)


def _ascii(name: str) -> str:
    host, colon, port = name.strip().lower().partition(":") if name.count(":") == 1 else (name.strip().lower(), "", "")
    host = host.removesuffix(".")
    try:
        return (host if host.isascii() else host.encode("idna").decode()) + colon + port
    except UnicodeError:
        return ""


class Network:
    """The rules and the account of one sandbox. `on_request` is told of each request when it is over, on the event
    loop. `exempt`: addresses that may be reached although they are not public, for tests on this machine."""

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        on_request: Callable[[Request], None] | None = None,
        resolver: Resolver = resolve,
        exempt: Collection[str] = (),
        max_request_bytes: int = MAX_REQUEST_BYTES,
        max_session_bytes: int = MAX_SESSION_BYTES,
    ) -> None:
        self.hosts = tuple(hosts)
        self._allowed = parse_hosts(hosts)
        self._on_request = on_request
        self._resolver = resolver
        self._exempt = frozenset(exempt)
        self._max_request_bytes = max_request_bytes
        self._left_bytes = max_session_bytes
        self._seen: list[Request] = []

    def take(self) -> list[Request]:
        """What was asked for since the last call; what is still open is shown again by the next."""
        seen, self._seen = self._seen, [request for request in self._seen if request.open]
        return seen

    def begin(self) -> Request:
        request = Request()
        if len(self._seen) >= MAX_REMEMBERED:
            self._seen[-1].reason = f"more than {MAX_REMEMBERED} requests; the others were refused"
            raise Refused(429, "too many requests")
        self._seen.append(request)
        return request

    def end(self, request: Request, reason: str = "") -> None:
        request.open = False
        request.reason = request.reason or reason
        if self._on_request:
            self._on_request(request)

    def count(self, request: Request, count: int) -> bool:
        """Whether so many bytes more may pass."""
        if request.bytes + count > self._max_request_bytes:
            request.reason = f"cut after {request.bytes:,} bytes: a request may take {self._max_request_bytes:,}"
        elif count > self._left_bytes:
            request.reason = f"cut after {request.bytes:,} bytes: all that this session may transfer is used up"
        else:
            request.bytes += count
            self._left_bytes -= count
            return True
        return False

    async def addresses(self, request: Request) -> list[str]:
        """Where to connect to. Raises `Refused`."""
        host, port = request.host, request.port
        if (host, port) not in self._allowed:
            raise Refused(403, f"{host}:{port} is not among the hosts that may be reached ({', '.join(self.hosts)})")
        if self._left_bytes <= 0:
            raise Refused(403, "all that this session may transfer is used up")
        try:
            found = [str(ip_address(host))]
        except ValueError:
            found = await self._resolved(host, port)
        for text in found:
            if text not in self._exempt and (why := why_not_public(ip_address(text))):
                raise Refused(403, f"the address of {host} is {why}; only public addresses can be reached")
        request.allowed = True
        return found[:2]  # the second one for a host whose first does not answer

    async def _resolved(self, host: str, port: int) -> list[str]:
        try:
            found = list(await asyncio.wait_for(self._resolver(host, port), LOOKUP_S))
        except (OSError, UnicodeError, TimeoutError):
            found = []
        if not found:
            raise Refused(502, f"the name {host} could not be resolved")
        return found
