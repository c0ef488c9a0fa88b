"""The connection to one endpoint: bytes out, JSON or a stream of JSON back, every failure a `ModelError`.

Plain HTTP with a body that is serialised already; an SDK would validate every message again on every call, and takes
longer to import than everything else together. One call is one request; retries are the engine's business.
"""

from __future__ import annotations

import asyncio
import io
import os
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from agentrunner.certificates import trusting
from agentrunner.errors import ModelError, UsageError
from agentrunner.llm import failures
from agentrunner.llm.lenient import loads
from agentrunner.llm.streams import StreamError, events
from agentrunner.llm.target import Target, address, headers
from agentrunner.types import JSON

if TYPE_CHECKING:
    import aiohttp
    import yarl

Stream = AsyncIterator[JSON | None] | JSON
MAX_CONNECTIONS = 1000
"""At once; as many as branches of a session may ask side by side."""
CONNECT_TIMEOUT_S = 15.0
"""A listening endpoint accepts within a second; this leaves room for a slow network, and for DNS."""
LARGE_BYTES = 1024 * 1024
MAX_HEADER_BYTES = 64 * 1024
"""Some endpoints explain themselves in headers, at length."""


class Pool:
    """Connections that the models of many sessions share. Belongs to one event loop; made at first use."""

    def __init__(self) -> None:
        self._connector: aiohttp.TCPConnector | None = None

    def connector(self) -> aiohttp.TCPConnector:
        if self._connector is None:
            self._connector = _connector()
        return self._connector

    async def aclose(self) -> None:
        connector, self._connector = self._connector, None
        if connector is not None:
            await connector.close()


class Connection:
    """Made at first use, since importing what it needs takes a while. Belongs to one event loop. What a `pool` keeps
    open stays open for others."""

    def __init__(self, target: Target, api_key: str | None, pool: Pool | None = None) -> None:
        self.target = target
        self._key = (api_key or "").strip() or None
        if self._key is not None and not (self._key.isascii() and self._key.isprintable()):
            raise UsageError("the API key holds characters that no key has", "copy it again, without quotes or blanks")
        self._pool = pool
        self._http: aiohttp.ClientSession | None = None
        self._proxy: str | None = None
        self._addresses: dict[str, yarl.URL] = {}

    async def post(self, path: str, body: bytes, timeout_s: float) -> JSON:
        """The JSON object of the answer."""
        async with self._answer(path, body, timeout_s) as response:
            return await self._object(response)

    @asynccontextmanager
    async def stream(self, path: str, body: bytes, timeout_s: float) -> AsyncGenerator[Stream]:
        """The events of a streamed answer, with None for [DONE]; or the whole answer, from an endpoint that sends it in
        one piece though a stream was asked for."""
        async with self._answer(path, body, timeout_s) as response:
            kind = response.headers.get("content-type", "")
            if "json" in kind:
                yield await self._object(response)
            elif "html" in kind:
                raise failures.not_an_answer(response.status, await _text(response), self._url(path), self._key)
            else:
                yield events(response.content.iter_any())

    async def aclose(self) -> None:
        if self._http is not None:
            await self._http.close()

    @asynccontextmanager
    async def _answer(self, path: str, body: bytes, timeout_s: float) -> AsyncGenerator[aiohttp.ClientResponse]:
        if self._http is None:
            await asyncio.to_thread(_import)
        import aiohttp

        connect = aiohttp.ClientTimeout(connect=min(timeout_s, CONNECT_TIMEOUT_S))
        # aiohttp warns of long bodies that are given as bytes.
        data = body if len(body) < LARGE_BYTES else io.BytesIO(body)
        try:
            # Except for connecting there is one timeout, around the whole.
            async with (
                asyncio.timeout(timeout_s),
                self._open().post(
                    self._address(path), data=data, proxy=self._proxy, timeout=connect, allow_redirects=False
                ) as response,
            ):
                if not 200 <= response.status < 300:
                    raise failures.from_answer(response.status, response.headers, await _text(response), self._key)
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._lost(error, timeout_s) from error
        except StreamError as error:
            raise ModelError(str(error), "unknown") from error

    def _open(self) -> aiohttp.ClientSession:
        if self._http is None:
            import aiohttp

            self._proxy = _proxy_of(self.target.base_url)
            self._http = aiohttp.ClientSession(
                connector=_connector() if self._pool is None else self._pool.connector(),
                connector_owner=self._pool is None,
                headers=headers(self.target, self._key, os.environ),
                cookie_jar=aiohttp.DummyCookieJar(),
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
            )
        return self._http

    def _address(self, path: str) -> yarl.URL:
        if path not in self._addresses:
            import yarl

            try:
                self._addresses[path] = yarl.URL(address(self.target, path), encoded=True)
            except ValueError as error:
                raise self._unusable(error) from error
        return self._addresses[path]

    async def _object(self, response: aiohttp.ClientResponse) -> JSON:
        text = await _text(response)
        try:
            data: object = loads(text)
        except ValueError:
            data = None
        if not isinstance(data, dict):
            raise failures.not_an_answer(response.status, text, str(response.url), self._key)
        return cast("JSON", data)

    def _url(self, path: str) -> str:
        return self.target.base_url + path

    def _lost(self, cause: BaseException, timeout_s: float) -> ModelError:
        import aiohttp

        url = self.target.base_url
        if isinstance(cause, aiohttp.InvalidURL):
            return self._unusable(cause)
        if isinstance(cause, aiohttp.ClientConnectorCertificateError):
            said = failures.one_line(str(cause.certificate_error), self._key)
            return ModelError(f"the certificate of {url} is not trusted: {said}", "refused")
        if isinstance(cause, aiohttp.ConnectionTimeoutError):
            return ModelError(f"no connection to {url}: timed out", "busy")
        if isinstance(cause, aiohttp.ClientConnectorError):
            # Nothing was sent, so nothing was billed.
            said = failures.one_line(str(cause.os_error), self._key)
            return ModelError(f"no connection to {url}: {said or type(cause.os_error).__name__}", "busy")
        if isinstance(cause, aiohttp.ClientHttpProxyError):
            return ModelError(f"the proxy does not connect to {url}: it answered {cause.status}", "refused")
        if isinstance(cause, TimeoutError):
            return ModelError(f"no answer from {url} within {timeout_s:.0f} s", "unknown")
        said = failures.one_line(str(cause), self._key)
        return ModelError(f"the connection to {url} was lost: {said or type(cause).__name__}", "unknown")

    def _unusable(self, cause: ValueError) -> ModelError:
        said = failures.one_line(str(cause), self._key)
        return ModelError(f"the base URL {self.target.base_url!r} cannot be used: {said}", "refused")


def _import() -> None:
    import aiohttp  # noqa: F401  # pyright: ignore[reportUnusedImport]


def _connector() -> aiohttp.TCPConnector:
    import aiohttp

    return aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=trusting())


def _proxy_of(url: str) -> str | None:
    """What the variables `https_proxy`, `all_proxy`, `no_proxy` and their like say about this address."""
    found = urllib.request.getproxies()
    parts = urlsplit(url)
    if not found or urllib.request.proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    return found.get(parts.scheme) or found.get("all")


async def _text(response: aiohttp.ClientResponse) -> str:
    return (await response.read()).decode("utf-8", "replace")
