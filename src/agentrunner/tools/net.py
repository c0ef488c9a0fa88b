"""The one HTTP client behind every tool that takes a URL. It reaches public addresses only and reads a bounded answer.

A host is resolved once, all its addresses are checked, and the connection goes to the checked address, with the Host
header and the TLS name of the URL; so a name that answers differently the second time gains nothing. Each redirect is
a new URL and is checked again. Proxies are not used: a proxy resolves names itself, and the check would be void."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import zlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from agentrunner.addresses import why_not_public
from agentrunner.certificates import trusting
from agentrunner.tools.threads import in_thread
from agentrunner.tools.urls import Url, UrlError, parse_url

if TYPE_CHECKING:
    import ssl

    import aiohttp

MAX_REDIRECTS = 5  # a login page or a shortener takes two or three
MAX_BYTES = 2 * 1024 * 1024  # after decompression; the longest Wikipedia articles are under 2 MiB of HTML
TOTAL_S = 20.0
CONNECT_S = 8.0  # leaves time for a second address
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PUBLIC_HEADERS = frozenset({"accept", "accept-language", "user-agent"})
_HEADERS = {
    "User-Agent": "Mozilla/5.0 (compatible; agentrunner)",
    "Accept": "text/markdown, text/html;q=0.9, text/plain;q=0.8, application/json;q=0.8, */*;q=0.5",
    "Accept-Encoding": "gzip",
}

Resolver = Callable[[str, int], Awaitable[list[str]]]


class FetchError(Exception):
    """Nothing was fetched. The text is for the model and says what to do instead."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer. `body` is decompressed; `cut` says that it was longer than the cap."""

    url: Url
    status: int
    reason: str
    content_type: str
    body: bytes
    cut: bool


async def resolve(host: str, port: int) -> list[str]:
    """All addresses of a name, as the system's resolver gives them."""
    found = await in_thread(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Client:
    """`allow_local` opens loopback and private addresses, for tests against a server on this machine."""

    def __init__(
        self,
        *,
        resolver: Resolver = resolve,
        allow_local: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        total_s: float = TOTAL_S,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._resolver = resolver
        self._allow_local = allow_local
        self._ssl_context = ssl_context
        self._total_s = total_s
        self._max_bytes = max_bytes

    async def get(self, address: str, headers: Mapping[str, str] | None = None) -> Page:
        """Fetch a URL, following redirects. Raises `UrlError` or `FetchError`."""
        import aiohttp

        try:
            async with asyncio.timeout(self._total_s):
                return await self._follow(parse_url(address), {**_HEADERS, **(headers or {})})
        except TimeoutError:
            raise FetchError(
                f"The page did not arrive within {self._total_s:g} s. Try another source, or the same once more later."
            ) from None
        except (aiohttp.ClientError, ValueError, OSError) as error:
            raise FetchError(f"The server could not be read ({type(error).__name__}). Try another source.") from None

    async def _follow(self, url: Url, headers: dict[str, str]) -> Page:
        for _ in range(MAX_REDIRECTS + 1):
            found = await self._once(url, headers)
            if isinstance(found, Page):
                return found
            try:
                following = parse_url(urljoin(str(url), found))
            except UrlError as error:
                raise FetchError(f"The page redirects to a place that cannot be fetched. {error}") from None
            if following.origin != url.origin:
                # What was meant for one server (cookies, keys) is not for the next.
                headers = {name: value for name, value in headers.items() if name.lower() in _PUBLIC_HEADERS}
                headers["Accept-Encoding"] = _HEADERS["Accept-Encoding"]
            url = following
        raise FetchError(f"The page redirected more than {MAX_REDIRECTS} times. Try another source.")

    async def _once(self, url: Url, headers: Mapping[str, str]) -> Page | str:
        """One request: the page, or where it redirects to."""
        import aiohttp
        import yarl

        addresses = await self._addresses(url)
        secure = url.scheme == "https"
        # One session per hop and no kept connections: a pool would know a connection by its address, and could send the
        # request for one name over the TLS session of another.
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True, ssl=self._ssl_context or trusting()),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(CONNECT_S, self._total_s)),
            auto_decompress=False,
        ) as session:
            for position, address in enumerate(addresses):
                try:
                    async with session.get(
                        yarl.URL(f"{url.scheme}://{url.netloc(address)}{url.target}", encoded=True),
                        headers={**headers, "Host": url.authority},
                        server_hostname=url.host if secure else None,
                        allow_redirects=False,
                    ) as response:
                        return await self._read(url, response)
                except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
                    if position + 1 == len(addresses):
                        raise
        raise FetchError("The server's name has no address. Check the spelling, or try another source.")

    async def _addresses(self, url: Url) -> list[str]:
        if url.address is not None:
            found = [url.host]
        else:
            try:
                found = await self._resolver(url.host, url.port)
            except OSError:
                raise FetchError(
                    "The server's name could not be resolved. Check the spelling, or try another."
                ) from None
        for text in found:
            why = why_not_public(ipaddress.ip_address(text))
            if why and not self._allow_local:
                raise FetchError(
                    f"The server's address is {why}; only public addresses can be fetched. Use another source."
                )
        return found[:2]  # a second one for a host whose first does not answer; more would eat the time

    async def _read(self, url: Url, response: aiohttp.ClientResponse) -> Page | str:
        if response.status in _REDIRECTS and "location" in response.headers:
            return response.headers["location"]
        body, cut = await self._body(response)
        kind = response.headers.get("content-type", "")
        return Page(url, response.status, response.reason or "", kind, body, cut)

    async def _body(self, response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
        """At most `max_bytes` of the decompressed body. Decompressed here, piece by piece: a kilobyte can hold a
        megabyte."""
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("identity", "", "gzip", "x-gzip"):
            raise FetchError("The server sent the page in a compression that was not asked for. Try another source.")
        unpack = zlib.decompressobj(31) if "gzip" in encoding else None  # 31: gzip header and checksum
        body = bytearray()
        async for piece in response.content.iter_chunked(16_384):
            if unpack is None:
                body += piece
            else:
                try:
                    body += unpack.decompress(piece, self._max_bytes + 1 - len(body))
                except zlib.error:
                    raise FetchError("The page's compression is broken. Try another source.") from None
            if len(body) > self._max_bytes:
                return bytes(body[: self._max_bytes]), True
        return bytes(body), False
